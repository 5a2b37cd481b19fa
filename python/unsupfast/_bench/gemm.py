"""Matrix products against PyTorch and NumPy, and what sampling adds to a half-step."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import harness
from .harness import BENCH_HINT, Contender, Result

__all__ = ["add_arguments", "run"]

# (m, k, n): a large mini-batch, a small one, and the size at which everybody is at his best.
SHAPES = ((1024, 784, 512), (100, 784, 500), (2048, 2048, 2048))
SAMPLING_TARGET = 0.10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``unsupfast bench gemm``."""
    parser.add_argument("--what", nargs="+", choices=("gemm", "sampling"), default=["gemm"])
    parser.add_argument(
        "--transposed", action="store_true", help="A'B and AB' as well as AB (the peers too)"
    )
    parser.add_argument("--only-peers", action="store_true", help="leave this package out")


def run(args: argparse.Namespace, threads: int, say: Callable[[str], None]) -> list[Result]:
    """Run the suites asked for and return their results."""
    results = []
    options = {"rounds": args.rounds, "turn_seconds": args.turn_seconds, "progress": say}
    cases = [(False, False)] + [(True, False), (False, True)] * args.transposed
    if "gemm" in args.what:
        for m, k, n in SHAPES:
            for ta, tb in cases:
                title = f"{'A^T' if ta else 'A'} {'B^T' if tb else 'B'}, {m}x{k}x{n}"
                contenders = list(_products(m, k, n, ta, tb, threads, not args.only_peers))
                result = harness.measure(contenders, title=title, unit="products", **options)
                result.info.update(m=m, k=k, n=n, transpose_a=ta, transpose_b=tb)
                results.append(result)
                print(harness.format_result(result) + "\n", flush=True)
    if "sampling" in args.what and not args.only_peers:
        for batch in (100, 1024):
            result = _sampling(batch, options)
            results.append(result)
            print(harness.format_result(result))
            cost = result.info.get("sampling_cost")
            if cost is not None:
                print(f"  sampling adds {cost:.1%} to a half-step (target {SAMPLING_TARGET:.0%})")
            print(flush=True)
    return results


def _products(
    m: int, k: int, n: int, ta: bool, tb: bool, threads: int, ours: bool
) -> Iterator[Contender]:
    generator = np.random.default_rng(0)
    a = generator.standard_normal((k, m) if ta else (m, k), dtype=np.float32)
    b = generator.standard_normal((n, k) if tb else (k, n), dtype=np.float32)
    flops = 2.0 * m * k * n

    def contender(
        name: str, setup: Callable[[], Callable[[], Any]], precision: str = "float32"
    ) -> Contender:
        mine = name.startswith("unsupfast")
        return Contender(name, name, setup, 1.0, flops, precision, mine)

    if ours:
        for precision, short in (("float32", "f32"), ("bfloat16", "bf16")):

            def setup_ours(precision: str = precision) -> Callable[[], Any]:
                module = _core()
                return lambda: module.matmul(
                    a, b, precision=precision, transpose_a=ta, transpose_b=tb
                )

            def setup_packed(precision: str = precision) -> Callable[[], Any]:
                product = _core().PackedProduct(b.T if tb else b, precision)
                x, out = (a.T if ta else a), np.empty((m, n), np.float32)
                return lambda: product.multiply(x, out)

            yield contender(f"unsupfast {short}", setup_ours, precision)
            # the right operand packed before, as trained weights are
            yield contender(f"unsupfast {short} packed", setup_packed, precision)

    def setup_numpy() -> Callable[[], Any]:
        out = np.empty((m, n), np.float32)
        x, y = (a.T if ta else a), (b.T if tb else b)
        return lambda: np.dot(x, y, out=out)

    yield contender("NumPy f32", setup_numpy)

    for precision, short in (("float32", "f32"), ("bfloat16", "bf16")):

        def setup_torch(precision: str = precision) -> Callable[[], Any]:
            try:
                import torch
            except ImportError as error:
                raise ImportError(f"PyTorch is not installed; {BENCH_HINT}") from error
            torch.set_num_threads(threads)
            dtype = getattr(torch, precision)
            x, y = torch.from_numpy(a).to(dtype), torch.from_numpy(b).to(dtype)
            x, y = (x.t() if ta else x), (y.t() if tb else y)
            out = torch.empty(m, n, dtype=dtype)

            def call() -> None:
                with torch.inference_mode():
                    torch.mm(x, y, out=out)

            return call

        yield contender(f"PyTorch {short}", setup_torch, precision)


def _core() -> Any:
    module = harness.core()
    if module is None:
        raise ImportError("unsupfast._core is not built")
    return module


def ours_half_step(v: np.ndarray, W: np.ndarray, precision: str, sample: bool) -> Callable[[], Any]:
    """Return a function that computes v W, or samples of Bernoulli(sigmoid(v W))."""
    product = _core().PackedProduct(W, precision)
    out = np.empty((v.shape[0], W.shape[1]), np.float32)
    return lambda: product.half_step(v, out, 0) if sample else product.multiply(v, out)


def _sampling(batch: int, options: dict[str, Any]) -> Result:
    generator = np.random.default_rng(0)
    # No zeros to skip: the cost is stated against the dense product.
    v = generator.random((batch, 784), np.float32) + 0.1
    W = generator.normal(0.0, 0.1, (784, 500)).astype(np.float32)
    contenders = []
    for precision, short in (("float32", "f32"), ("bfloat16", "bf16")):
        for sample in (False, True):

            def setup(precision: str = precision, sample: bool = sample) -> Callable[[], Any]:
                return ours_half_step(v, W, precision, sample)

            name = f"unsupfast {short}, {'sampled' if sample else 'product'}"
            flops = 2.0 * batch * 784 * 500
            contenders.append(Contender(name, name, setup, batch, flops, precision, True))
    title = f"half-step 784x500, batch {batch}, with and without sampling"
    result = harness.measure(contenders, title=title, **options)
    rates = {row["name"]: row["rate_median"] for row in result.rows}
    plain, sampled = (rates.get(f"unsupfast f32, {kind}") for kind in ("product", "sampled"))
    if plain and sampled:
        result.info["sampling_cost"] = plain / sampled - 1.0
    return result

"""What benchmarks on a GPU need beside those on the CPU: recorded peers, ceilings, annealing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from .. import _core
from .harness import BENCH_HINT, Contender
from .peers import RBMProblem

__all__ = ["ais_contenders", "ceiling", "recorded", "synchronised"]


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"PyTorch is not installed; {BENCH_HINT}") from error
    torch.backends.cuda.matmul.allow_tf32 = False  # float32 means float32 for everybody
    return torch


def synchronised(call: Callable[[], Any]) -> Any:
    """A call of ours that returns when the GPU has done it."""

    def done() -> None:
        call()
        _core.gpu_synchronize(0)

    return done


def recorded(torch: Any, body: Callable[[], None], warm_up: int = 3) -> Callable[[], None]:
    """`body` as a CUDA graph that is replayed: PyTorch without the cost of its launches."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_up):
            body()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()

    def call() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return call


@cache
def ceiling(precision: str, seconds: float = 0.0) -> float | None:
    """FLOP/s that PyTorch's cuBLAS reaches on random 8192 x 8192 matrices."""
    torch = _torch()
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(6):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(3):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 3 * 2.0 * n**3 / (time.perf_counter() - start))
    return best


# ------------------------------------------------------------------------------------- annealing


def ais_contenders(problem: RBMProblem, chains: int, temperatures: int) -> Iterator[Contender]:
    """Annealed importance sampling: this package's kernel, and PyTorch's graph of 100 temperatures.

    A unit of work is a chain through one temperature.
    """
    units = float(chains * temperatures)
    for precision, short in (("bfloat16", "bf16"), ("float32", "f32")):
        yield Contender(
            f"unsupfast {short}",
            f"unsupfast {short}",
            partial(_our_ais, problem, chains, temperatures, precision),
            units,
            precision=precision,
            ours=True,
        )
    for precision, short in (("bfloat16", "bf16"), ("float32", "f32")):
        for compiled in (False, True):
            yield Contender(
                f"PyTorch {'compile' if compiled else 'eager'} graph {short}",
                f"PyTorch {short}",
                partial(_torch_ais, problem, chains, temperatures, precision, compiled),
                units,
                precision=precision,
            )


def _our_ais(problem: RBMProblem, chains: int, temperatures: int, precision: str) -> Any:
    import unsupfast as uf

    model = uf.RBM(problem.W.shape[1], precision=precision, device="cuda", n_iter=1)
    model.partial_fit(problem.X[: problem.batch])
    model.components_ = np.ascontiguousarray(problem.W.T)
    model.intercept_visible_, model.intercept_hidden_ = problem.b.copy(), problem.c.copy()
    core = model._synced_core()
    start = (np.random.default_rng(0).random((chains, len(problem.b))) < 0.13).astype(np.float32)
    betas = np.linspace(0.0, 1.0, temperatures + 1)
    return lambda: core.anneal(start, betas, problem.b, 1)


def _torch_ais(
    problem: RBMProblem, chains: int, temperatures: int, precision: str, compiled: bool
) -> Callable[[], None]:
    torch = _torch()
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    block = 100
    W = torch.from_numpy(problem.W).cuda().to(dtype)
    b, c = (torch.from_numpy(x).cuda() for x in (problem.b, problem.c))
    base = b.clone()
    v = (torch.rand(chains, len(b), device="cuda") < 0.13).to(dtype)
    weight = torch.zeros(chains, device="cuda", dtype=torch.float64)
    betas = torch.linspace(0, 1, temperatures + 1, device="cuda")
    window = torch.zeros(block + 1, device="cuda")

    def step(v: Any, weight: Any, start: Any, to: Any) -> tuple[Any, Any]:
        x = (v @ W).float() + c
        gain = torch.nn.functional.softplus(to * x) - torch.nn.functional.softplus(start * x)
        weight = weight + gain.sum(1) + (to - start) * (v.float() @ (b - base))
        h = (torch.rand_like(x) < torch.sigmoid(to * x)).to(dtype)
        y = to * ((h @ W.t()).float() + b) + (1 - to) * base
        return (torch.rand_like(y) < torch.sigmoid(y)).to(dtype), weight

    if compiled:
        torch._dynamo.reset()
        step = torch.compile(step, mode="max-autotune-no-cudagraphs", dynamic=False)

    def body() -> None:
        state, total = v, weight
        for i in range(block):
            state, total = step(state, total, window[i], window[i + 1])
        v.copy_(state)
        weight.copy_(total)

    with torch.no_grad():
        replay = recorded(torch, body, warm_up=1)

    def call() -> None:
        for first in range(0, temperatures, block):
            window.copy_(betas[first : first + block + 1])
            replay()

    return call

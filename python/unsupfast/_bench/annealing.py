"""Annealed importance sampling of an RBM, as this package and PyTorch do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from . import gpu
from .harness import Contender
from .peers import RBMProblem

__all__ = ["contenders"]


def contenders(
    problem: RBMProblem, chains: int, temperatures: int, threads: int, device: str
) -> Iterator[Contender]:
    """This package, and PyTorch's forms: on a GPU a CUDA graph of 100 temperatures.

    A unit of work is a chain through one temperature: two products and two draws.
    """
    units = float(chains * temperatures)
    flops = units * 4.0 * problem.W.size
    for precision, short in (("bfloat16", "bf16"), ("float32", "f32")):
        yield Contender(
            f"unsupfast {short}",
            f"unsupfast {short}",
            partial(_ours, problem, chains, temperatures, precision, device),
            units,
            flops,
            precision=precision,
            ours=True,
        )
    for precision, short in (("bfloat16", "bf16"), ("float32", "f32")):
        for compiled in (False, True):
            yield Contender(
                f"PyTorch {'compile' if compiled else 'eager'} {short}",
                f"PyTorch {short}",
                partial(
                    _torch, problem, chains, temperatures, precision, compiled, threads, device
                ),
                units,
                flops,
                precision=precision,
            )


def _ours(
    problem: RBMProblem, chains: int, temperatures: int, precision: str, device: str
) -> Callable[[], Any]:
    import unsupfast as uf

    model = uf.RBM(problem.W.shape[1], precision=precision, device=device, n_iter=1)
    model.partial_fit(problem.X[: problem.batch])
    model.components_ = np.ascontiguousarray(problem.W.T)
    model.intercept_visible_, model.intercept_hidden_ = problem.b.copy(), problem.c.copy()
    core = model._synced_core()
    start = (np.random.default_rng(0).random((chains, len(problem.b))) < 0.13).astype(np.float32)
    betas = np.linspace(0.0, 1.0, temperatures + 1)
    return lambda: core.anneal(start, betas, problem.b, 1)


def _torch(
    problem: RBMProblem,
    chains: int,
    temperatures: int,
    precision: str,
    compiled: bool,
    threads: int,
    device: str,
) -> Callable[[], None]:
    torch = gpu.import_torch()
    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    block = 100
    W = torch.from_numpy(problem.W).to(device).to(dtype)
    b, c = (torch.from_numpy(x).to(device) for x in (problem.b, problem.c))
    base = b.clone()
    v = (torch.rand(chains, len(b), device=device) < 0.13).to(dtype)
    weight = torch.zeros(chains, device=device, dtype=torch.float64)
    betas = torch.linspace(0, 1, temperatures + 1, device=device)
    window = torch.zeros(block + 1, device=device)

    def step(v: Any, weight: Any, start: Any, to: Any) -> tuple[Any, Any]:
        x = (v @ W).float() + c
        gain = torch.nn.functional.softplus(to * x) - torch.nn.functional.softplus(start * x)
        weight = weight + gain.sum(1) + (to - start) * (v.float() @ (b - base))
        h = (torch.rand_like(x) < torch.sigmoid(to * x)).to(dtype)
        y = to * ((h @ W.t()).float() + b) + (1 - to) * base
        return (torch.rand_like(y) < torch.sigmoid(y)).to(dtype), weight

    if compiled:
        torch._dynamo.reset()
        tuned = "default" if device == "cpu" else "max-autotune-no-cudagraphs"
        step = torch.compile(step, mode=tuned, dynamic=False)

    def body() -> None:
        state, total = v, weight
        for i in range(block):
            state, total = step(state, total, window[i], window[i + 1])
        v.copy_(state)
        weight.copy_(total)

    with torch.no_grad():
        replay = body if device == "cpu" else gpu.recorded(torch, body, warm_up=1)

    def call() -> None:
        with torch.no_grad():
            for first in range(0, temperatures, block):
                window.copy_(betas[first : first + block + 1])
                replay()

    return call

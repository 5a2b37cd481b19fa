"""What benchmarks on a GPU need beside those on the CPU: recorded peers, and the ceiling."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

from .. import _core
from .harness import BENCH_HINT

__all__ = ["ceiling", "import_torch", "recorded", "synchronised"]


def import_torch() -> Any:
    """PyTorch, with float32 that means float32 on a GPU too; an ImportError says how to get it."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"PyTorch is not installed; {BENCH_HINT}") from error
    torch.backends.cuda.matmul.allow_tf32 = False
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
    torch = import_torch()
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

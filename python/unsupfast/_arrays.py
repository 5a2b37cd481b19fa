"""Arrays on either device: NumPy's, and ``_core.GpuArray``; what the two do not share.

Operations of the compiled module run where their arguments lie. What is made here is made where
`like` lies, with its dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core

__all__ = [
    "assign",
    "broadcast",
    "contiguous",
    "copy",
    "full",
    "gpu_of",
    "is_gpu",
    "numpy",
    "put",
    "repeat_rows",
    "reshape",
    "take_rows",
    "zeros",
]

GpuArray = _core.GpuArray


def is_gpu(x: Any) -> bool:
    return isinstance(x, GpuArray)


def gpu_of(x: Any) -> int:
    """The number of the GPU that x lies on; -1: the CPU."""
    return x.gpu if isinstance(x, GpuArray) else -1


def put(x: Any, gpu: int) -> Any:
    """x on a GPU or (-1) on the CPU; x itself where it is there."""
    if gpu_of(x) == gpu:
        return x
    x = numpy(x)
    return x if gpu < 0 else _core.to_gpu(x, gpu)


def numpy(x: Any) -> np.ndarray:
    """x on the CPU."""
    return x.numpy() if isinstance(x, GpuArray) else x


def contiguous(x: Any, dtype: Any = None) -> Any:
    """x in C order (and of a dtype, on the CPU)."""
    return x.contiguous() if isinstance(x, GpuArray) else np.ascontiguousarray(x, dtype)


def copy(x: Any) -> Any:
    return x.copy() if isinstance(x, GpuArray) else np.array(x)


def assign(to: Any, x: Any) -> None:
    """Overwrites all of a contiguous array with x, which may lie elsewhere."""
    if not isinstance(to, GpuArray):
        to[...] = numpy(x)
        return
    if not isinstance(x, GpuArray):
        x = _core.to_gpu(np.broadcast_to(np.asarray(x, to.dtype), to.shape), to.gpu)
    if to.size:
        to.reshape(to.size)[:] = x.reshape(to.size)


def zeros(shape: Sequence[int], like: Any) -> Any:
    if isinstance(like, GpuArray):
        return _core.gpu_zeros(tuple(shape), like.dtype, like.gpu)
    return np.zeros(shape, like.dtype)


def full(shape: Sequence[int], number: float, like: Any) -> Any:
    if isinstance(like, GpuArray):
        return _core.gpu_full(tuple(shape), number, like.dtype, like.gpu)
    return np.full(shape, number, like.dtype)


def reshape(x: Any, shape: Sequence[int]) -> Any:
    return x.reshape(tuple(shape)) if isinstance(x, GpuArray) else np.reshape(x, shape)


def broadcast(x: Any, shape: Sequence[int]) -> Any:
    """A view of x with axes of one element repeated."""
    return x.broadcast_to(tuple(shape)) if isinstance(x, GpuArray) else np.broadcast_to(x, shape)


def repeat_rows(x: Any, times: int) -> Any:
    """Every row of a matrix several times, one after the other."""
    m, n = x.shape
    return reshape(broadcast(x[:, None, :], (m, times, n)), (m * times, n))


def take_rows(x: Any, index: Any) -> Any:
    """Rows of a matrix of numbers."""
    return _core.take_rows(x, index, x.shape[1])[0] if isinstance(x, GpuArray) else x[index]

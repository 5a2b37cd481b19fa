"""The compiled module as tests call it, with every array on a GPU.

Arrays are copied there (in the layout they have), results back, and what a kernel changed in place
into the array that was given.
"""

import numpy as np

from unsupfast import _core

__all__ = ["CHAINS", "GPU", "NO_GPU", "OnGpu"]

_gpus, NO_GPU = _core.gpus()
GPU = bool(_gpus) and not _gpus[0]["reason"]
CHAINS = GPU and _gpus[0]["capability"] == "9.0"  # in one kernel: on Hopper alone
NO_GPU = NO_GPU or (_gpus[0]["reason"] if _gpus else "")


def copy_to_gpu(x):
    """A GpuArray in the memory layout of x."""
    if x.flags.c_contiguous or x.ndim != 2 or not x.size:
        return _core.to_gpu(x)
    if x.flags.f_contiguous:
        return _core.to_gpu(np.ascontiguousarray(x.T)).T
    if min(x.strides) < 0:
        return _core.to_gpu(np.ascontiguousarray(x[::-1, ::-1]))[::-1, ::-1]
    step = 1 if x.strides[1] == x.itemsize else 3
    spread = np.full((2 * x.shape[0], step * x.shape[1]), np.nan, x.dtype)
    spread[::2, ::step] = x
    return _core.to_gpu(spread)[::2, ::step]


class OnGpu:
    """Stands for the module, or for an object it made."""

    def __init__(self, target=_core, known=None):
        self.target = target
        self.known = {} if known is None else known  # id -> (array, its copy on the GPU, values)

    def __getattr__(self, name):
        member = getattr(self.target, name)
        if name in ("Rbm", "uniforms"):  # which make arrays without being given any
            return lambda *args, **options: self.back(member(*args, **options, gpu=0))
        on_cpu = name in ("catalogue", "get_isa", "get_num_threads", "set_num_threads")
        if on_cpu or not callable(member) or isinstance(self.target, _core.Rbm):
            return member  # a machine takes and gives arrays of the CPU

        def call(*args, **options):
            args, options = self.to(args), {name: self.to(x) for name, x in options.items()}
            result = self.back(member(*args, **options))
            for x, copy, _ in list(self.known.values()):
                if x.flags.writeable:
                    x[...] = copy.numpy()
                self.known[id(x)] = (x, copy, x.copy())
            return result

        return call

    def to(self, x):
        if isinstance(x, np.ndarray):
            found = self.known.get(id(x))
            if found is None or found[0] is not x or found[2].tobytes() != x.tobytes():
                found = self.known[id(x)] = (x, copy_to_gpu(x), x.copy())
            return found[1]
        if isinstance(x, (tuple, list)):
            return type(x)(self.to(e) for e in x)
        return x.target if isinstance(x, OnGpu) else x

    def back(self, y):
        if isinstance(y, _core.GpuArray):
            return y.numpy()
        if isinstance(y, (tuple, list)):
            return type(y)(self.back(e) for e in y)
        if isinstance(y, dict):
            return {name: self.back(e) for name, e in y.items()}
        if type(y).__module__ == _core.__name__:
            return OnGpu(y, self.known)
        return y

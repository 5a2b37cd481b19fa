"""Where a model trains: the argument ``device`` of every estimator."""

from __future__ import annotations

import re

from .. import _core

__all__ = ["CPU", "check_device", "gpu_number"]

CPU = -1


def check_device(device) -> None:
    """Raises unless `device` is "auto", "cpu", "cuda" or "cuda:<number>"."""
    if not isinstance(device, str):
        raise TypeError(f"device is {device!r}; expected a string")
    if device not in ("auto", "cpu") and not re.fullmatch(r"cuda(:\d+)?", device):
        raise ValueError(f"device is {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:<number>'")


def gpu_number(device: str, only_cpu: str | None = None) -> int:
    """The GPU that `device` means, or :data:`CPU`.

    Parameters
    ----------
    device : str
        "auto" is the first GPU where there is one that can be used, else the CPU.
    only_cpu : str or None
        What of the model does not run on a GPU; "auto" is the CPU then.

    Raises
    ------
    RuntimeError
        If the GPU cannot be used, saying why.
    ValueError
        If a GPU is asked for and the model does not run there.
    """
    check_device(device)
    if device == "cpu":
        return CPU
    gpus, reason = _core.gpus()
    if device == "auto":
        usable = bool(gpus) and not gpus[0]["reason"] and gpus[0]["name"] != "simulated GPU"
        return 0 if usable and only_cpu is None else CPU
    if only_cpu is not None:
        raise ValueError(f"device is {device!r}; {only_cpu} needs device='cpu'")
    number = int(device.partition(":")[2] or 0)
    if number >= len(gpus):
        raise RuntimeError(reason or f"device is {device!r}; there are {len(gpus)} GPUs")
    if gpus[number]["reason"]:
        raise RuntimeError(gpus[number]["reason"])
    return number

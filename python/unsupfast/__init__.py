"""Unsupervised neural networks with hand-written kernels, in scikit-learn's manners."""

from __future__ import annotations

from . import datasets, plot
from ._build import build_info, get_num_threads, set_num_threads
from .io import load
from .models.rbm import RBM, BernoulliRBM
from .training import DivergenceError, Event

__version__: str = build_info()["version"]

__all__ = [
    "RBM",
    "BernoulliRBM",
    "DivergenceError",
    "Event",
    "__version__",
    "build_info",
    "datasets",
    "get_num_threads",
    "load",
    "plot",
    "set_num_threads",
]

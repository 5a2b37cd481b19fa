"""Greedy layer-wise training: every layer a model of what the layer below makes of the data.

Written once for deep belief networks, auto-encoders and classifiers; they say how a layer is fitted
and what it makes of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import _core
from ._stream import MappedStream, is_stream

__all__ = ["Sampled", "coded", "train_layers"]

_CHUNK_ROWS = 4096


def train_layers(
    count: int, X: Any, fit: Callable[[int, Any], None], code: Callable[[int, Any], Any]
) -> None:
    """Trains layers from the lowest to the highest.

    Parameters
    ----------
    count : int
    X : array, CSR matrix, or iterable of those
        What the first layer is trained on.
    fit : callable
        Given the number of a layer, from 0, and what to train it on.
    code : callable
        Given the same of a layer that is trained: what the next one is trained on. It takes the
        place of what came before, which nothing here holds on to.
    """
    for i in range(count):
        fit(i, X)
        if i + 1 < count:
            X = code(i, X)


def coded(X: Any, function: Callable[[Any], np.ndarray], extra: int = 0) -> Any:
    """What a function makes of rows: of an array in one new array, of a stream batch after batch.

    Parameters
    ----------
    X : array, CSR matrix, or iterable of those
    function : callable
        Of a bounded number of rows.
    extra : int, default=0
        Columns of zeros that an array gets at the right, for the caller to fill.
    """
    if is_stream(X):
        return MappedStream(X, function)
    n, out = X.shape[0], None
    for start in range(0, n, _CHUNK_ROWS):
        part = function(X[start : start + _CHUNK_ROWS])
        if out is None:
            out = np.zeros((n, part.shape[1] + extra), part.dtype)
        out[start : start + _CHUNK_ROWS, : part.shape[1]] = part
    return out


class Sampled:
    """Binary states drawn from mean activities: a stream, with other draws in every pass.

    Parameters
    ----------
    activities : array, or iterable of arrays
        Probabilities. The rows of an array come in a new random order.
    seed : sequence of int
    passes : int, default=0
        Passes made before: what a training that is resumed had seen.
    """

    def __init__(self, activities: Any, seed: list[int], passes: int = 0):
        self._activities, self._seed, self._passes = activities, seed, passes

    def __iter__(self) -> Iterator[np.ndarray]:
        seeds = np.random.SeedSequence([*self._seed, self._passes])
        self._passes += 1
        names = {"seed": int(seeds.generate_state(1, np.uint64)[0])}
        if is_stream(self._activities):
            for step, p in enumerate(self._activities):
                yield _states(p, np.arange(len(p)), step=step, **names)
            return
        order = np.random.default_rng(seeds).permutation(len(self._activities))
        for start in range(0, len(order), _CHUNK_ROWS):
            yield _states(self._activities, order[start : start + _CHUNK_ROWS], **names)


def _states(p: np.ndarray, index: np.ndarray, **names: int) -> np.ndarray:
    """States of the units whose probabilities are those rows."""
    return _core.take_rows(p, index, p.shape[1], "bernoulli", **names)[1]

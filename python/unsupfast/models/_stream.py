"""Training on iterables of batches, in bounded memory: the same for every estimator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..readers import stream_batches
from ..training import Progress

__all__ = ["BLOCK_BATCHES", "ChainedStream", "MappedStream", "Stream", "is_stream", "train_epoch"]

# Mini-batches that a stream is shuffled within.
BLOCK_BATCHES = 64
_CHAINED_ROWS = 4096


def is_stream(X: Any) -> bool:
    """Whether X is an iterable of batches rather than a batch."""
    return (
        isinstance(X, Iterable)
        and not isinstance(X, (list, tuple, str, bytes, dict))
        and not sp.issparse(X)
        and not hasattr(X, "__array__")
        and not hasattr(X, "shape")
    )


class Stream:
    """Blocks of mini-batches of an iterable, read anew at every iteration.

    Parameters
    ----------
    batches : iterable of array or sparse matrix
    batch_size : int
        Rows of a mini-batch; a block has 64 of them.
    passes : int
        How often it will be read.
    why : str
        What asks for so many passes, for the error message.

    Attributes
    ----------
    head : array or sparse matrix
        The first block; the first iteration does not read it again.
    """

    def __init__(self, batches: Iterable[Any], batch_size: int, passes: int, why: str):
        if iter(batches) is batches and passes > 1:
            raise ValueError(
                f"X is an iterator, which can be read once only, but {why}; expected n_iter=1 and "
                "no pre-training, or an iterable that can be read again"
            )
        self._batches, self._rows = batches, batch_size * BLOCK_BATCHES
        self._rest: Iterator[Any] | None = stream_batches(batches, self._rows)
        head = next(self._rest, None)
        if head is None:
            raise ValueError("X is an iterable without any batch; expected at least one")
        self.head = head

    def __iter__(self) -> Iterator[Any]:
        rest, self._rest = self._rest, None
        if rest is not None:
            return itertools.chain([self.head], rest)
        return stream_batches(self._batches, self._rows)


class MappedStream:
    """A function of every batch of an iterable."""

    def __init__(self, batches: Iterable[Any], function: Callable[[Any], Any]):
        self._batches, self._function = batches, function

    def __iter__(self) -> Iterator[Any]:
        return map(self._function, self._batches)


class ChainedStream:
    """The rows of several sources one after the other, a block at a time.

    Parameters
    ----------
    sources : sequence of array, CSR matrix, or iterable of those
    check : callable
        Of every block of an iterable.
    """

    def __init__(self, sources: Sequence[Any], check: Callable[[Any], Any]):
        self._sources, self._check = sources, check

    def __iter__(self) -> Iterator[Any]:
        for source in self._sources:
            if is_stream(source):
                yield from map(self._check, source)
            else:
                yield from stream_batches(source, _CHAINED_ROWS, dtype=None)


def train_epoch(
    model: Any, stream: Stream, epoch: int, train_rows: Callable[[Any, Any, int, Any], None]
) -> None:
    """One pass over a stream, every block of it in an order of its own.

    Parameters
    ----------
    model : estimator
    stream : Stream
    epoch : int
        From 1.
    train_rows : callable
        Given the rows of a block, their order, the number of the block, and a progress callback or
        None.
    """
    with Progress(model.verbose > 1, epoch, model.n_iter, None) as progress:
        for block, X in enumerate(stream):
            X = model._validate(X, reset=False)
            order = np.arange(X.shape[0])
            if model.shuffle:
                order = np.random.default_rng([model._seed, 2, epoch, block]).permutation(order)
            train_rows(X, order, block, progress)
            if progress is not None:
                progress.advance()

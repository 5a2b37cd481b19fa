"""Learning from samples that Gibbs steps draw: how a compiled machine is put through epochs."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from .. import _core
from ..io import load_state
from ..training import DivergenceError, Progress, schedule_value
from ._arguments import check_row_weight
from ._device import is_too_large
from ._epochs import TrainedInEpochs
from ._stream import BLOCK_BATCHES, Stream, train_epoch

__all__ = ["GibbsTraining"]

_MAX_GIBBS_STEPS = 1_000_000


class GibbsTraining(TrainedInEpochs):
    """Epochs over arrays and streams, single updates, and resuming, of one compiled machine.

    ``_trained`` names the attributes that an epoch changes: arrays in them are replaced, never
    written in place, so references are copies.
    """

    learning_rate: Any
    momentum: Any
    k: Any
    random_state: Any
    _trained: tuple[str, ...]
    _monitor_rows = 1000  # that the measures of the history are taken on

    # What an estimator says.
    _validate: Any  # X checked
    _check_units: Any  # refuses layers that don't fit the data or the other arguments
    _initialise: Any  # before training, given n_features, dtype, and a RandomState
    _meet: Any  # takes over what training needs to know of the data, or of the first of them
    _options: Any  # of the compiled training in an epoch, with mini-batches of a size
    _load_core: Any  # a compiled machine with parameters and all that training carries along
    _store_core: Any  # takes those back
    _update: Any  # trains it on rows; where that diverged, the mini-batch and the tensor, else None
    _dtype: Any  # of parameters
    _rows: Any  # X as the compiled code takes rows
    _gpu: Any  # the GPU to train on, or -1
    _measure: Any  # the metrics of an epoch, on rows and by what _validate_rows returns
    _validate_rows: Any
    _set_state: Any  # takes over a file
    _components_shape: Any  # for n_features

    def _check_states(self, X: Any) -> None:
        """Refuses values that the visible units don't have."""

    def _begin(self, X: Any) -> None:
        """What comes before the first epoch on rows, or on batches."""

    # ------------------------------------------------------------------ arguments

    def _gibbs_steps(self, epoch: int) -> int:
        k = schedule_value(self.k, epoch, "k")
        if not 1 <= k <= _MAX_GIBBS_STEPS or k != int(k):
            raise ValueError(
                f"k is {k:g} in epoch {epoch}; expected an integer from 1 to {_MAX_GIBBS_STEPS}"
            )
        return int(k)

    def _rates(self, epoch: int) -> tuple[float, float]:
        """Learning rate and momentum."""
        rate = self._positive("learning_rate", epoch)
        momentum = schedule_value(self.momentum, epoch, "momentum")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum} in epoch {epoch}; expected a value in [0, 1)")
        return rate, momentum

    # ------------------------------------------------------------------ training

    def _snapshot(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._trained}

    def _restore(self, saved: dict[str, Any]) -> None:
        self.__dict__.update(saved)

    def _train_rows(
        self, X, order, row_weight, epoch: int, batch_size: int, tick=None, batches_before: int = 0
    ) -> None:
        """One pass over rows `order` of X; the attributes follow, also when it is interrupted."""
        core = self._load_core()
        try:
            options = self._options(epoch, batch_size)
            diverged = self._update(core, self._rows(X), order, row_weight, options, tick)
        except BaseException:
            self._store_core(core)
            raise
        if diverged is not None:
            batch, tensor = diverged
            raise DivergenceError(
                f"training diverged: the {tensor} are not finite after mini-batch "
                f"{batches_before + batch + 1} of "
                f"epoch {epoch + 1}; the model keeps its state from before that epoch. Lower "
                f"learning_rate (now {self._rates(epoch)[0]:g}) or scale the data."
            )
        self._store_core(core)

    def _fit_rows(self, X, missing: Any = None, row_weight: Any = None):
        """Trains on checked rows, which are all units of the visible layer."""
        self._initialise(X.shape[1], X.dtype, check_random_state(self.random_state))
        self._meet(X, missing)
        if self.resume is not None:
            self._resume(self.resume, X.shape[1], X.dtype)
        else:
            self._begin(X)
        if missing is not None:
            missing.start(self)
        known, held_out = self._split(X.shape[0])

        def train(epoch: int) -> None:
            order = self._order(known, epoch)
            if missing is not None:
                missing.redraw(self, epoch)
            with Progress(self.verbose > 1, epoch, self.n_iter, len(order)) as progress:
                rows = there if missing is None else self._resident(X)
                self._train_rows(rows, order, row_weight, epoch - 1, self.batch_size, progress)

        there = self._resident(X) if missing is None else None
        monitor = self._monitored_rows(X, known)
        validate = None if held_out is None else functools.partial(self._validate_rows, X, held_out)
        self._run(train, lambda epoch: self._measure(monitor, validate))
        return self

    def _monitored_rows(self, X, rows):
        return X[rows[: self._monitor_rows]]

    def _resident(self, X) -> Any:
        """X on the GPU that trains, copied once; X itself on the CPU, or if it is too much."""
        gpu = self._gpu()
        if gpu < 0:
            return X
        rows = self._rows(X)
        if is_too_large(rows, gpu):
            return X
        if isinstance(rows, tuple):
            return tuple(_core.to_gpu(part, gpu) for part in rows)
        return _core.to_gpu(rows, gpu)

    def _fit_stream(self, batches: Iterable[Any], row_weight: Any = None):
        for name, value in (
            ("row_weight", row_weight),
            ("validation_fraction", self.validation_fraction),
        ):
            if value is not None:
                raise ValueError(
                    f"{name} is not supported for an iterable of batches; expected None"
                )
        stream = Stream(batches, self.batch_size, self.n_iter, f"n_iter is {self.n_iter}")
        head = self._validate(stream.head, reset=True)
        self._check_units(head.shape[1])
        self._initialise(head.shape[1], head.dtype, check_random_state(self.random_state))
        self._meet(head)
        if self.resume is not None:
            self._resume(self.resume, head.shape[1], head.dtype)
        else:
            self._begin(batches)
        monitor = head[: self._monitor_rows]

        def rows(epoch: int, X, order, block: int, tick) -> None:
            self._check_states(X)
            before = block * BLOCK_BATCHES
            self._train_rows(X, order, None, epoch - 1, self.batch_size, tick, before)

        self._run(
            lambda epoch: train_epoch(self, stream, epoch, functools.partial(rows, epoch)),
            lambda epoch: self._measure(monitor),
        )
        return self

    def _update_once(self, X, row_weight: Any, first: bool):
        """One update on checked rows, which are all units of the visible layer."""
        if first:
            self.random_state_ = check_random_state(self.random_state)
            self._initialise(X.shape[1], X.dtype, self.random_state_)
            self._meet(X)
        if row_weight is not None:
            row_weight = check_row_weight(row_weight, X, self._dtype)
        before = dict(self.__dict__)
        try:
            self._train_rows(X, np.arange(X.shape[0]), row_weight, self.n_iter_, X.shape[0])
        except DivergenceError:
            self.__dict__.update(before)
            raise
        return self

    def _resume(self, path: Any, n_features: int, dtype: Any) -> None:
        tensors, meta, _ = load_state(path)
        shape, found = self._components_shape(n_features), tensors.get("components")
        if found is None or found.shape != shape or found.dtype != dtype:
            got = "no components" if found is None else f"{found.shape} {found.dtype}"
            raise ValueError(
                f"resume: {path} holds {got}; expected components of shape {shape} {dtype}"
            )
        self._set_state(tensors, meta)

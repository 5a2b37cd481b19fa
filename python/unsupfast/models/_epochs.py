"""What estimators that train in epochs share: the arguments of the loop, the split, the order."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from ..io import save_model
from ..training import Plan, run_epochs, schedule_value
from ._arguments import check_bool, check_callables, check_integer, check_path, check_real
from ._device import check_device

__all__ = ["TrainedInEpochs"]

_CHECKED_EPOCHS = 10_000


class TrainedInEpochs:
    """Goes through epochs, in the terms of :class:`unsupfast.RBM`."""

    batch_size: int
    n_iter: int
    shuffle: bool
    validation_fraction: float | None = None
    patience: int | None = None
    callbacks: Any
    checkpoint: Any
    checkpoint_every: int
    resume: Any
    verbose: int
    history_: dict[str, list[float]]
    n_iter_: int
    _seed: int
    _best_state: Any = None

    # What an estimator says.
    _snapshot: Any  # a copy of the state that training changes
    _restore: Any  # puts it back
    _reported: Any  # what is printed of an epoch's metrics

    # ------------------------------------------------------------------ arguments

    def _check_epochs(self) -> None:
        for name, low in (("batch_size", 1), ("n_iter", 0), ("checkpoint_every", 1)):
            check_integer(self, name, low)
        check_bool(self, "shuffle")
        if not isinstance(self.verbose, (numbers.Integral, np.bool_)):
            raise TypeError(f"verbose is {self.verbose!r}; expected an integer or a bool")
        for name in ("checkpoint", "resume"):
            check_path(self, name)
        check_callables(self, "callbacks")
        check_device(self)
        if self.validation_fraction is not None:
            check_real(self, "validation_fraction", 0, 1, above=True, below=True)
        if self.patience is not None:
            check_integer(self, "patience", 1)
            if self.validation_fraction is None:
                raise ValueError("patience needs validation_fraction: there is no held-out score")

    def _check_schedules(self, *values: Callable[[int], Any]) -> None:
        """Walks through schedules now: an error in the tenth epoch would be a late one."""
        for epoch in range(max(1, min(self.n_iter, _CHECKED_EPOCHS))):
            for value in values:
                value(epoch)

    def _positive(self, name: str, epoch: int) -> float:
        """The value of a schedule in an epoch, from 0."""
        value = schedule_value(getattr(self, name), epoch, name)
        if value <= 0:
            raise ValueError(f"{name} is {value} in epoch {epoch}; expected a positive number")
        return value

    # ------------------------------------------------------------------ rows

    def _split(self, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The rows to train on out of n, and those held out."""
        if self.validation_fraction is None:
            return np.arange(n), None
        held_out = math.ceil(self.validation_fraction * n)
        if not 0 < held_out < n:
            raise ValueError(
                f"validation_fraction is {self.validation_fraction}, which leaves no rows to "
                f"train on out of n_samples = {n}"
            )
        mixed = np.random.default_rng([self._seed, 1]).permutation(n)
        return np.sort(mixed[held_out:]), np.sort(mixed[:held_out])

    def _order(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """The rows as an epoch (from 1) visits them."""
        if not self.shuffle:
            return rows
        return np.random.default_rng([self._seed, 2, epoch]).permutation(rows)

    # ------------------------------------------------------------------ the loop

    def _run(
        self, train: Callable[[int], None], measure: Callable[[int], dict[str, float]]
    ) -> None:
        """The epochs that are left, through the common loop."""

        def report(event: Any) -> None:
            print(
                f"[{type(self).__name__}] Iteration {event.epoch}, "
                f"{self._reported(event.metrics)}, time = {event.metrics['seconds']:.2f}s"
            )

        def measured(epoch: int) -> dict[str, float]:
            self.n_iter_ = epoch
            return measure(epoch)

        run_epochs(
            Plan(
                model=self,
                epochs=range(self.n_iter_ + 1, self.n_iter + 1),
                train=train,
                measure=measured,
                snapshot=self._snapshot,
                restore=self._restore,
                remember=lambda best: self.__dict__.update(_best_state=best),
                best_state=self._best_state,
                save=None if self.checkpoint is None else lambda: save_model(self, self.checkpoint),
                save_every=self.checkpoint_every,
                history=self.history_,
                monitor="validation_score" if self.patience is not None else None,
                patience=self.patience,
                callbacks=[*([report] if self.verbose else []), *(self.callbacks or ())],
            )
        )

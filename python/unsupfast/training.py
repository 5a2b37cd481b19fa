"""The one training loop: epochs, history, callbacks, early stopping, checkpoints, interruption.

A model hands its own pieces to :func:`run_epochs` (how to train an epoch, how to measure, how to
copy and restore its state, how to save itself); what happens around them is the same for all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["DivergenceError", "Event", "schedule_value"]


class DivergenceError(FloatingPointError):
    """Training produced a non-finite value; the model holds the state before that epoch."""


@dataclass(frozen=True)
class Event:
    """What a callback is given after every epoch.

    Attributes
    ----------
    model : object
        The estimator, with its learned attributes up to date.
    epoch : int
        Epochs done, from 1.
    metrics : mapping of str to float
        The row just added to ``history_``.
    """

    model: Any
    epoch: int
    metrics: Mapping[str, float]


Callback = Callable[[Event], Any]


@dataclass
class Plan:
    """What a model asks of :func:`run_epochs`.

    Attributes
    ----------
    model : the estimator, given to callbacks.
    epochs : range of epoch numbers still to run, from 1.
    train : trains one epoch (number); may raise DivergenceError or KeyboardInterrupt.
    measure : metrics after an epoch, given its number.
    snapshot, restore : copy the state that training changes, and put it back.
    remember : told the state of the best epoch so far, for the model to save with checkpoints.
    best_state : that state, from the checkpoint that is resumed.
    save : write a checkpoint, or None.
    history : dict of lists, extended in place by one value per metric and epoch.
    monitor : metric for early stopping; larger is better.
    patience : epochs without improvement before stopping, or None.
    """

    model: Any
    epochs: range
    train: Callable[[int], None]
    measure: Callable[[int], dict[str, float]]
    snapshot: Callable[[], Any]
    restore: Callable[[Any], None]
    remember: Callable[[Any], None]
    best_state: Any = None
    save: Callable[[], None] | None = None
    save_every: int = 1
    history: dict[str, list[float]] = field(default_factory=dict)
    monitor: str | None = None
    patience: int | None = None
    callbacks: Iterable[Callback] = ()


def schedule_value(value: Any, epoch: int, name: str) -> float:
    """The value of a hyper-parameter in an epoch.

    Parameters
    ----------
    value : float, sequence of float, or callable
        A constant; one value per epoch (the last one holds on); or a function of the epoch from 0.
    epoch : int
        Epoch, from 0.
    name : str
        For the error message.
    """
    if callable(value):
        value = value(epoch)
    elif isinstance(value, (list, tuple, np.ndarray)):
        if len(value) == 0:
            raise ValueError(f"{name} is an empty sequence; expected at least one value")
        value = value[min(epoch, len(value) - 1)]
    if isinstance(value, (str, bytes, bool)):
        raise TypeError(f"{name} gave {value!r} for epoch {epoch}; expected a number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} gave {value!r} for epoch {epoch}; expected a number, a sequence of numbers "
            "or a function of the epoch"
        ) from None
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number} in epoch {epoch}; expected a finite number")
    return number


def run_epochs(plan: Plan) -> None:
    """Runs the plan; on divergence the state before the epoch is put back."""
    best, waited = -math.inf, 0
    for score in plan.history.get(plan.monitor or "", ()):  # of the epochs before a resumption
        best, waited = (score, 0) if score > best else (best, waited + 1)
    best_state = plan.best_state
    epochs = plan.epochs if plan.patience is None or waited < plan.patience else range(0)
    for epoch in epochs:
        before = plan.snapshot()
        begin = time.perf_counter()
        try:
            plan.train(epoch)
        except DivergenceError:
            plan.restore(before)
            raise
        seconds = time.perf_counter() - begin
        metrics = {"epoch": float(epoch), "seconds": seconds, **plan.measure(epoch)}
        for name, value in metrics.items():
            if not math.isfinite(value):
                plan.restore(before)
                raise DivergenceError(
                    f"training diverged: {name} is {value} after epoch {epoch}; the model keeps "
                    "its state from before that epoch. Lower learning_rate or scale the data."
                )
        for key, value in metrics.items():
            plan.history.setdefault(key, []).append(value)
        stop = False
        if plan.patience is not None and plan.monitor is not None:
            if metrics[plan.monitor] > best:
                best, best_state, waited = metrics[plan.monitor], plan.snapshot(), 0
                plan.remember(best_state)
            else:
                waited += 1
                stop = waited >= plan.patience
        if plan.save is not None and epoch % plan.save_every == 0:
            plan.save()
        for callback in plan.callbacks:
            stop = callback(Event(plan.model, epoch, metrics)) is True or stop
        if stop:
            break
    if best_state is not None:
        plan.restore(best_state)


class Progress:
    """A tqdm bar over the rows of an epoch (None: of unknown number), or nothing."""

    def __init__(self, shown: bool, epoch: int, n_epochs: int, rows: int | None):
        self._bar, self._before = None, 0
        if shown:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=rows, desc=f"epoch {epoch}/{n_epochs}", unit="rows", leave=False)

    def __enter__(self):
        return self if self._bar is not None else None

    def __call__(self, done: int) -> None:
        """Rows done, of the block being trained on."""
        assert self._bar is not None
        self._bar.update(self._before + done - self._bar.n)

    def advance(self) -> None:
        """The next block begins."""
        assert self._bar is not None
        self._before = self._bar.n

    def __exit__(self, *error) -> None:
        if self._bar is not None:
            self._bar.close()

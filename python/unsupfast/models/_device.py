"""Training on a GPU: where a model computes, and how its steps are told to a GPU.

A step takes what changes from one to the next (the rows of the mini-batch, the names of its random
numbers, the rate) from the GPU's memory, where the whole epoch is written down before it begins.
So steps follow each other without a word from the CPU, and one that was recorded can be done again
for the next.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _arrays, _core
from ..optim import Minimizer
from ..training import DivergenceError

__all__ = ["Draw", "Moment", "Session", "check_device", "choose_gpu", "is_too_large"]

# Multiplications of a mini-batch by weights from which "auto" is a GPU: less is done on the CPU
# before a GPU has started.
_WORTH_IT = 1 << 24
_LOOKS = 100  # steps after which a GPU is asked whether all is finite
_EAGER = 2  # steps of a kind before one is recorded: what a first step makes is there then
_HEAD = 8  # numbers of a step before those of its rows


@dataclass
class Draw:
    """Names the random numbers of a mini-batch."""

    seed: int
    step: int
    clock: Any = None  # an array on a GPU whose one number is added to step

    def names(self, stream: int) -> dict[str, Any]:
        step = self.step & 0xFFFFFFFF
        return {"seed": self.seed, "step": step, "stream": stream, "clock": self.clock}


@dataclass
class Moment:
    """What is different in every step."""

    index: Any  # numbers of the mini-batch's rows
    draw: Draw  # of the model
    noise: Draw  # of corruption
    rate: float
    live: Any = None  # what the optimiser and
    live_average: Any = None  # the running average read when the step is done; see Optimizer.begin
    flag: Any = None


def check_device(owner: Any) -> None:
    value = owner.device
    if not isinstance(value, str) or not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", value):
        raise ValueError(
            f"device is {value!r}; expected 'auto', 'cpu', 'cuda' or a GPU by its number: 'cuda:1'"
        )
    choose_gpu(value, 0)


def choose_gpu(device: str, work: float) -> int:
    """The GPU that a device means, -1 for the CPU.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:0", "cuda:1", ...}
        "auto" is the first GPU where it can be used and the work is worth it.
    work : float
        Multiplications of a mini-batch.
    """
    if device == "cpu" or (device == "auto" and work < _WORTH_IT):
        return -1
    gpu = int(device.partition(":")[2] or 0)
    known, reason = _core.gpus()
    if gpu < len(known):
        reason = known[gpu]["reason"]
        if not reason:
            return gpu
    if device == "auto":
        return -1
    reason = reason or f"there is no GPU {gpu}, only {len(known)}"
    raise ValueError(f"device is {device!r}, but {reason}; expected 'auto' or 'cpu' here")


class Session:
    """The data of a training and, on a GPU, its recorded steps.

    Parameters
    ----------
    gpu : int
        -1: the CPU.
    """

    def __init__(self, gpu: int):
        self.gpu = gpu
        self.rows: Any = None
        self.targets: Any = None
        self._source: tuple[Any, Any] | None = None
        self._apart = False  # whether the data stay on the CPU: too many for the GPU
        # what goes there meanwhile, by its kind: an array is good until the next of its kind
        self._feeds = collections.defaultdict[str, Any](functools.partial(_core.Feed, gpu))
        self._graphs: dict[Any, Any] = {}  # kind of step -> how often it was done, or its graph
        self._recordable = gpu >= 0 and _core.can_record()
        self._now: Any = None  # the step under way, where recorded ones look for it
        self._names: list[str] = []  # of what steps measure,
        self._totals: Any = None  # and its sums over the epoch
        self._clear()
        if gpu >= 0:
            self._flag = _core.gpu_zeros((1,), np.int32, gpu)

    def begin(self, model: Any, X: Any, y: Any, order: Any, epoch: int, size: int, block: int):
        """Begins an epoch over rows `order` of X, in mini-batches of `size`; or goes on with it.

        Waits for nothing: while the GPU trains on a stream's block, the next is read and travels.
        """
        self._take(model, X, y)
        self._model, self._order, self._epoch, self._size = model, order, epoch, size
        self._rate = model._rate(epoch)
        self._noise_seed = (model._seed + block) & (2**64 - 1)  # rows of blocks: the same numbers
        self._first = model._optimizer_state.step_count
        self._count += len(order)
        if self.gpu < 0 or not len(order):
            return
        self._table = self._feeds["programme"].put(self._programme())
        if self._now is None or self._now.size != self._table.shape[1]:
            self._graphs, self._now = {}, self._table[0].copy()

    def _take(self, model: Any, X: Any, y: Any) -> None:
        """Puts the data where they are trained on, in the place of data of the same kind."""
        if self._source is not None and self._source[0] is X and self._source[1] is y:
            return
        rows = model._rows(X)
        # a stream's block is there three times: two of its kind are on the way
        copies = 1 if self._source is None else 3
        apart = self.gpu >= 0 and is_too_large(rows, self.gpu, copies)
        if apart != self._apart:
            self._graphs = {}
        self._apart = apart
        if self.gpu < 0 or self._apart:
            self.rows, self.targets = rows, y
        elif y is None and _alike(self.rows, rows):  # a stream's next block
            # recorded steps read from where the rows of before are
            _arrays.assign(self.rows, self._feeds["block"].put(rows))
        else:
            self._graphs = {}
            put = _core.to_gpu
            on_gpu = [put(part, self.gpu) for part in (rows if isinstance(rows, tuple) else [rows])]
            self.rows = tuple(on_gpu) if isinstance(rows, tuple) else on_gpu[0]
            self.targets = y if y is None else put(y, self.gpu)
        self.columns, self._source = X.shape[1], (X, y)

    def take(self, corruption: tuple[str, float], moment: Moment) -> tuple[Any, Any, Any]:
        """The mini-batch of a step: rows, the same corrupted, and targets."""
        x, noisy = _core.take_rows(
            self.rows, moment.index, self.columns, *corruption, **moment.noise.names(0)
        )
        y = None if self.targets is None else _arrays.take_rows(self.targets, moment.index)
        if self._apart:
            y = None if y is None else self._feeds["targets"].put(y)
            on_gpu = self._feeds["rows"].put(x)
            x, noisy = on_gpu, on_gpu if noisy is x else self._feeds["noisy"].put(noisy)
        return x, noisy, y

    def _programme(self) -> np.ndarray:
        """Every step of the epoch, as :meth:`_moment` reads it: a row of int64."""
        order, size = self._order, self._size
        count = -(-len(order) // size)
        table = np.zeros((count, _HEAD + size), np.int64)
        done = self._first + np.arange(count)
        table[:, 0], table[:, 1] = done & 0xFFFFFFFF, self._epoch & 0xFFFFFFFF
        numbers = table[:, 2:_HEAD].view(np.float64)
        optimizer = self._model._optimizer_state
        numbers[:, :3] = optimizer.live_numbers(self._rate, done + 1.0)
        numbers[:, 3] = 1 - self._model._average_decay(done + 1)
        rows = np.zeros(count * size, np.int64)
        rows[: len(order)] = order
        table[:, _HEAD:] = rows.reshape(count, size)
        return table

    def _moment(self, number: int, count: int, step: Any) -> Moment:
        """Step `number` of the epoch; on a GPU, as `step` (a row of the programme) has it."""
        seed = self._model._seed
        start = number * self._size
        index, noise = self._order[start : start + count], Draw(self._noise_seed, self._epoch)
        if step is None:
            return Moment(index, Draw(seed, self._first + number), noise, self._rate)
        if not self._apart:
            index, noise = step[_HEAD : _HEAD + count], Draw(self._noise_seed, 0, step[1:2])
        return Moment(
            index,
            Draw(seed, 0, step[0:1]),
            noise,
            self._rate,
            step[2:5],
            step[5:8],
            self._flag,
        )

    def step(self, number: int) -> None:
        """Does step `number` of the epoch, from 0.

        Raises
        ------
        DivergenceError
            If a parameter or the loss is not finite; on a GPU some steps later.
        """
        count = min(self._size, len(self._order) - number * self._size)
        self.batches += 1
        if self.gpu < 0:
            values = self._model._update(self, self._moment(number, count, None))
            for name, value in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + float(value) * count
            return
        noise = None if self._model._corruption()[0] == "none" else self._noise_seed
        kind = (count, noise, *self._model._constants())
        known = self._graphs.get(kind, 0)
        if known == _EAGER and self._recordable:
            known = self._graphs[kind] = self._record(number, count) or 0
        if isinstance(known, int):
            self._graphs[kind] = min(known + 1, _EAGER)
            self._do(number, count, self._table[number])
        else:
            self._now[:] = self._table[number]
            known.replay()
        self._model._optimizer_state.step_count = self._first + number + 1
        if self.batches % _LOOKS == 0:
            self._look()

    def _do(self, number: int, count: int, step: Any) -> None:
        values = self._model._update(self, self._moment(number, count, step))
        if not isinstance(next(iter(values.values())), _arrays.GpuArray):  # line searches
            for name, value in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + float(value) * count
            return
        self._names = list(values)
        if self._totals is None or len(self._totals) != len(values):
            self._totals = _core.gpu_zeros((len(values),), np.float64, self.gpu)
        _core.tally(self._totals, list(values.values()), float(count))

    def _record(self, number: int, count: int) -> Any:
        """A graph of a step; None where it can't be recorded."""
        if self._apart or isinstance(self._model._optimizer_state, Minimizer):
            self._recordable = False
            return None
        graph = _core.Graph(self.gpu)
        try:
            self._do(number, count, self._now)
        except BaseException as error:
            with contextlib.suppress(RuntimeError):
                graph.finish()  # or what follows would be recorded
            if not isinstance(error, RuntimeError) or "be recorded" not in str(error):
                raise
            self._recordable = False  # a loss that reads from the GPU
            return None
        graph.finish()
        return graph

    def _look(self) -> None:
        """Waits for the GPU, and stops training where something is not finite."""
        finite = not self._flag.numpy()[0]
        if self._names:
            totals = self._totals.numpy()
            finite = finite and bool(np.isfinite(totals).all())
            self._sums.update(zip(self._names, totals.tolist(), strict=True))
        if not finite:
            self._flag = _core.gpu_zeros((1,), np.int32, self.gpu)
            self._graphs = {}
            raise DivergenceError("a parameter or the loss is not finite")

    def means(self) -> dict[str, float]:
        """Ends an epoch; what its steps measured, by row."""
        if self.gpu >= 0 and self.batches:
            self._look()
        means = {name: value / self._count for name, value in self._sums.items()}
        self._clear()
        return means

    def _clear(self) -> None:
        self.batches = self._count = 0  # and rows, of the epoch so far
        self._sums: dict[str, float] = {}
        if self._totals is not None:
            _arrays.assign(self._totals, _arrays.zeros(self._totals.shape, self._totals))


def is_too_large(rows: Any, gpu: int, copies: int = 1) -> bool:
    """Whether rows of data (an array, or a CSR tuple) stay on the CPU: half a GPU is for them."""
    parts = rows if isinstance(rows, tuple) else (rows,)
    return copies * sum(part.nbytes for part in parts) > _core.gpus()[0][gpu]["memory"] // 2


def _alike(known: Any, rows: Any) -> bool:
    """Whether rows fit into the memory of others."""
    if isinstance(rows, tuple) or not isinstance(known, _arrays.GpuArray):
        return False
    return known.shape == rows.shape and known.dtype == rows.dtype

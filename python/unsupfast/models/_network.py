"""What the estimators made of dense layers share: arguments, mini-batches, training, files.

A model says how its network is built (:meth:`NetworkEstimator._build`) and what the loss of a
mini-batch is (:meth:`NetworkEstimator._loss`); everything around that is here, and the epochs are
those of :mod:`unsupfast.training`.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from .. import _arrays, _core, nn
from ..autograd import Tensor, grad
from ..io import load_state
from ..ops import ACTIVATIONS
from ..optim import Minimizer, Optimizer, Schedule, clip_factor, make_optimizer
from ..training import DivergenceError, Progress
from ._arguments import check_option, check_real, checked_rows
from ._device import Draw, Moment, Session, choose_gpu
from ._epochs import TrainedInEpochs
from ._rbm_core import seed_from
from ._saved import Saved
from ._stream import MappedStream, Stream, is_stream, train_epoch

__all__ = ["Draw", "NetworkEstimator"]

_CHUNK_ROWS = 4096


class NetworkEstimator(TrainedInEpochs, Saved, BaseEstimator):
    """Fits a network by stochastic gradients; see the estimators for the parameters."""

    activation: str
    optimizer: Any
    learning_rate: Any
    momentum: float
    weight_decay: float
    clip_norm: float | None
    clip_value: float | None
    ema: float | None
    precision: str
    device: str
    random_state: Any

    network_: Any  # a Module
    n_features_in_: int
    _on_gpu = True  # whether `_loss` computes there
    _noisy_loss = False  # whether `_loss` draws noise that a line search would fit

    # ------------------------------------------------------------------ what a model says

    def _build(self, n_features: int, dtype: Any, rng: np.random.Generator) -> nn.Module:
        raise NotImplementedError

    def _loss(self, x: Any, noisy: Any, y: Any, draw: Draw) -> tuple[Any, dict]:
        """Mean loss of a mini-batch (a tensor), and other quantities to average (single numbers,
        where the data lie)."""
        raise NotImplementedError

    def _validation_loss(self, X: Any, y: Any) -> float:
        raise NotImplementedError

    def _constants(self) -> tuple[Any, ...]:
        """What `_loss` takes for a constant, though another epoch may have another."""
        return ()

    def _settle(self, X: Any) -> None:
        """Settles what "auto" means, before the network is built."""

    def _check_values(self, X: Any) -> None:
        """Refuses values that the loss is not defined for."""

    def _pretrain(self, X: Any) -> None:
        """Replaces the initial weights; `X` may be a stream."""

    # ------------------------------------------------------------------ arguments

    def _check_parameters(self) -> None:
        self._check_epochs()
        check_option(self, "activation", ACTIVATIONS)
        check_option(self, "precision", ("auto", "float32", "float64", "bfloat16"))
        check_real(self, "weight_decay", 0)
        check_real(self, "momentum", 0, 1, below=True)
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                check_real(self, name, 0, above=True)
        if self.ema is not None:
            check_real(self, "ema", 0, 1, above=True, below=True)
        if isinstance(self._new_optimizer(), Minimizer):
            self._check_line_searches()
        if not isinstance(self.learning_rate, Schedule):
            self._check_schedules(self._rate)

    def _check_line_searches(self) -> None:
        if self._noisy_loss:
            raise ValueError(
                f"optimizer is {self.optimizer!r}, whose line searches need a loss without noise; "
                f"that of {type(self).__name__} draws codes. Use 'adam' or another of the others"
            )
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; expected None with optimizer "
                    f"{self.optimizer!r}, whose line searches choose the length of steps"
                )

    def _rate(self, epoch: int) -> float:
        """The learning rate of an epoch, from 0."""
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate.rate(epoch, getattr(self, "history_", {}))
        return self._positive("learning_rate", epoch)

    def _new_optimizer(self) -> Optimizer:
        return make_optimizer(
            self.optimizer, momentum=self.momentum, weight_decay=self.weight_decay
        )

    def _validate(self, X: Any, *, reset: bool) -> Any:
        dtypes: Any = (np.float64, np.float32)
        if not reset:
            dtypes = self._dtype
        elif self.precision in ("float32", "bfloat16"):
            dtypes = np.float32
        elif self.precision == "float64":
            dtypes = np.float64
        return checked_rows(self, X, dtypes, reset=reset)

    @property
    def _bf16(self) -> bool:
        return self.precision == "bfloat16"

    # ------------------------------------------------------------------ rows

    @staticmethod
    def _rows(X: Any) -> Any:
        """X as the compiled code takes rows."""
        if sp.issparse(X):
            return (
                X.indptr.astype(np.int64, copy=False),
                X.indices.astype(np.int32, copy=False),
                X.data,
            )
        return X

    def _weights(self) -> int:
        return sum(math.prod(p.shape) for p in self.network_.parameters())

    def _network_for(self, rows: int) -> tuple[Any, int]:
        """The network where so many rows are best put through it, and the GPU (-1: the CPU)."""
        gpu = _arrays.gpu_of(self.network_.parameters()[0].data)  # while it is being trained
        if gpu < 0:
            gpu = choose_gpu(self.device, min(rows, _CHUNK_ROWS) * self._weights())
        return self.network_.copy_on(gpu), gpu

    def _by_chunks(self, X: Any, function: Callable[[Any, Any], Any]) -> np.ndarray:
        """`function` of the network and dense row blocks of X, as one array."""
        rows, n = self._rows(X), X.shape[0]
        network, gpu = self._network_for(n)
        if isinstance(rows, tuple):
            rows = tuple(_arrays.put(part, gpu) for part in rows)
        parts = []
        for start in range(0, n, _CHUNK_ROWS):
            stop = min(n, start + _CHUNK_ROWS)
            if isinstance(rows, tuple):
                index = _arrays.put(np.arange(start, stop), gpu)
                block = _core.take_rows(rows, index, X.shape[1])[0]
            else:
                block = _arrays.put(np.ascontiguousarray(rows[start:stop]), gpu)
            part = function(network, block)
            parts.append(_arrays.numpy(part.data if isinstance(part, Tensor) else part))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    # ------------------------------------------------------------------ training

    def _initialise(self, X: Any, rng: np.random.RandomState) -> None:
        self._dtype = np.dtype(X.dtype)
        self._seed = seed_from(rng)
        self._settle(X)
        self._check_values(X)
        self.network_ = self._build(X.shape[1], X.dtype, np.random.default_rng([self._seed, 0]))
        self._reset_training()

    def _reset_training(self) -> None:
        self._optimizer_state = self._new_optimizer()
        self._average: dict[str, np.ndarray] | None = None
        self._best_state: dict[str, Any] | None = None
        self.n_iter_ = 0
        self.history_ = {}

    @contextlib.contextmanager
    def _training(self, gpu: int) -> Iterator[None]:
        """Keeps everything that training changes on a GPU (-1: the CPU) meanwhile."""
        self._session = Session(gpu)
        self._move(gpu)
        try:
            yield
        finally:
            del self._session
            self._move(-1)

    def _move(self, gpu: int) -> None:
        self.network_.move(gpu)
        self._optimizer_state.move(gpu)
        if self._average is not None:
            self._average = {name: _arrays.put(a, gpu) for name, a in self._average.items()}
        if self._best_state is not None and gpu < 0:
            self._best_state = _on_cpu(self._best_state)

    def _update(self, session: Session, moment: Moment) -> dict[str, Any]:
        """One step on a mini-batch; what it measured before that."""
        x, noisy, y = session.take(self._corruption(), moment)
        optimizer, parameters = self._optimizer_state, self._parameters
        if isinstance(optimizer, Minimizer):
            return self._search(optimizer, lambda: self._loss(x, noisy, y, moment.draw))
        loss, extras = self._loss(x, noisy, y, moment.draw)
        options = {"limit": self.clip_value or 0.0, "live": moment.live, "flag": moment.flag}
        if self.clip_norm is None:
            descent = optimizer.begin(parameters, moment.rate, **options)
            grad(loss, parameters, consumer=descent)
        else:
            gradients = grad(loss, parameters)
            scale = clip_factor(gradients, self.clip_norm)
            descent = optimizer.begin(parameters, moment.rate, scale, **options)
            for i, g in enumerate(gradients):
                descent(i, g)
        if not descent.finish():
            raise DivergenceError("a parameter or the loss is not finite")
        if moment.flag is None and not math.isfinite(float(loss.data)):
            raise DivergenceError("a parameter or the loss is not finite")
        if self.ema is not None:
            self._follow(moment)
        return {"loss": loss.data, **extras}

    def _search(
        self, optimizer: Minimizer, loss_of: Callable[[], tuple[Any, dict]]
    ) -> dict[str, float]:
        """One update by line searches; what was measured before it."""
        first: list[dict[str, float]] = []

        def evaluate() -> tuple[float, list[Any]]:
            loss, extras = loss_of()
            if not first:
                first.append({"loss": float(loss.data), **{k: float(v) for k, v in extras.items()}})
            return float(loss.data), grad(loss, self._parameters)

        finite = optimizer.minimize(self._parameters, evaluate)
        if not finite or not math.isfinite(first[0]["loss"]):
            raise DivergenceError("a parameter or the loss is not finite")
        if self.ema is not None:
            self._follow()
        return first[0]

    def _average_decay(self, steps: Any) -> Any:
        """The decay of the running average of the parameters in steps of these numbers, from 1."""
        # the average forgets its start: early steps count with 1 / t
        return np.minimum(float(self.ema or 0.0), 1 - 1 / (steps + 1.0))

    def _follow(self, moment: Moment | None = None) -> None:
        """Moves the running average of the parameters (Polyak and Juditsky, 1992)."""
        if self._average is None:
            self._average = self.network_.get_state()
            return
        # average -= rate (average - p): a step along -p of what decays by itself
        rate = 1 - float(self._average_decay(self._optimizer_state.step_count))
        live = {} if moment is None else {"live": moment.live_average, "flag": moment.flag}
        _core.Step("sgd", rate, scale=-1.0, **live).apply(
            [
                ((self._average[name], None, None, 1.0), p.data)
                for name, p in self.network_.named_parameters()
            ]
        )

    @property
    def _parameters(self) -> list[nn.Parameter]:
        cached = self.__dict__.get("_parameter_list")
        if cached is None or cached[0] is not self.network_:
            cached = self._parameter_list = (self.network_, self.network_.parameters())
        return cached[1]

    def _corruption(self) -> tuple[str, float]:
        return "none", 0.0

    def _train_rows(
        self, X, y, order, epoch: int, batch_size: int, tick=None, block: int | None = None
    ) -> dict[str, float]:
        """One pass over rows `order`; returns the means over it, of a stream's block nothing yet:
        :meth:`_means` has those of the epoch, and waits for a GPU.
        """
        with contextlib.ExitStack() as stack:
            if not hasattr(self, "_session"):
                stack.enter_context(self._training(-1))
            session = self._session
            session.begin(self, X, y, order, epoch, batch_size, block or 0)
            with self._naming_divergence(epoch):
                for number, start in enumerate(range(0, len(order), batch_size)):
                    session.step(number)
                    if tick is not None:
                        tick(min(start + batch_size, len(order)))
            return self._means(epoch) if block is None else {}

    def _means(self, epoch: int) -> dict[str, float]:
        """Ends an epoch; the means over its rows."""
        with self._naming_divergence(epoch):
            return self._session.means()

    @contextlib.contextmanager
    def _naming_divergence(self, epoch: int) -> Iterator[None]:
        """Says where training diverged, and what may help."""
        try:
            yield
        except DivergenceError as error:
            raise DivergenceError(
                f"training diverged: {error} after mini-batch {self._session.batches} of epoch "
                f"{epoch + 1}; the model keeps its state from before that epoch. Lower "
                f"learning_rate (now {self._rate(epoch):g}), set clip_norm, or scale the data."
            ) from None

    def _snapshot(self) -> dict[str, Any]:
        optimizer = self._optimizer_state
        return {
            "network": self.network_.get_state(),
            "optimizer": {name: _arrays.copy(a) for name, a in optimizer.get_state().items()},
            "step_count": optimizer.step_count,
            "average": None
            if self._average is None
            else {name: _arrays.copy(a) for name, a in self._average.items()},
            "n_iter": self.n_iter_,
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.network_.set_state(saved["network"])
        self._optimizer_state.set_state(saved["optimizer"], saved["step_count"])
        self._average = saved["average"]
        self.n_iter_ = saved["n_iter"]

    def _fit_unlabelled(self, X):
        """Trains on an array, a matrix or a stream, once parameters are checked."""
        if is_stream(X):
            return self._fit_stream(X)
        return self._fit(self._validate(X, reset=True))

    def _fit(self, X, y=None):
        """Trains on checked arguments; `X` is validated, `y` as :meth:`_loss` wants it."""
        rng = check_random_state(self.random_state)
        self._initialise(X, rng)
        if self.resume is not None:
            self._resume(self.resume)
        else:
            self._pretrain(X)
        self._train(X, y)
        return self

    def _train(self, X, y=None) -> None:
        """The epochs that are left, through the common loop."""
        rows, held_out = self._split(X.shape[0])

        def train(epoch: int) -> dict[str, float]:
            order = self._order(rows, epoch)
            with Progress(self.verbose > 1, epoch, self.n_iter, len(order)) as tick:
                return self._train_rows(X, y, order, epoch - 1, self.batch_size, tick)

        def validate(held_out: np.ndarray) -> float:
            # a part at a time: held-out rows of a mapped file may be more than memory holds
            total = 0.0
            for start in range(0, len(held_out), _CHUNK_ROWS):
                part = held_out[start : start + _CHUNK_ROWS]
                target = None if y is None else y[part]
                total += self._validation_loss(X[part], target) * len(part)
            return total / len(held_out)

        self._run_means(train, None if held_out is None else functools.partial(validate, held_out))

    def _fit_stream(self, batches: Iterable[Any]):
        """As :meth:`_fit`, on an iterable of batches, in memory for one block of them."""
        if self.validation_fraction is not None:
            raise ValueError(
                "validation_fraction is not supported for an iterable of batches; expected None"
            )
        passes, why = self.n_iter, f"n_iter is {self.n_iter}"
        pretrain = getattr(self, "pretrain", None) if self.resume is None else None
        if pretrain is not None:
            passes, why = passes + 1, f"pretrain is {pretrain!r}"
        stream = Stream(batches, self.batch_size, passes, why)
        head = self._validate(stream.head, reset=True)
        self._initialise(head, check_random_state(self.random_state))
        if self.resume is not None:
            self._resume(self.resume)
        else:
            self._pretrain(MappedStream(stream, self._checked_block))

        def train(epoch: int) -> dict[str, float]:
            def rows(X, order, block: int, tick) -> None:
                self._check_values(X)
                self._train_rows(X, None, order, epoch - 1, self.batch_size, tick, block)

            train_epoch(self, stream, epoch, rows)
            return self._means(epoch - 1)

        self._run_means(train, None)
        return self

    def _checked_block(self, X: Any) -> Any:
        X = self._validate(X, reset=False)
        self._check_values(X)
        return X

    def _run_means(self, train: Callable[[int], dict[str, float]], validate: Any) -> None:
        """The epochs that are left: `train` returns the means of one."""
        means: dict[str, float] = {}

        def train_one(epoch: int) -> None:
            means.clear()
            means.update(train(epoch))

        def measure(epoch: int) -> dict[str, float]:
            metrics = {**means, "learning_rate": self._rate(epoch - 1)}
            if validate is not None:
                value = validate()
                metrics["validation_loss"], metrics["validation_score"] = value, -value
            return metrics

        gpu = choose_gpu(self.device, self.batch_size * self._weights()) if self._on_gpu else -1
        with self._training(gpu):
            self._run(train_one, measure)
            if self._average is not None:
                self.network_.set_state(self._average)

    def _reported(self, metrics: Any) -> str:
        names = ("loss", "validation_loss")
        return ", ".join(f"{name} = {metrics[name]:.4f}" for name in names if name in metrics)

    def _partial_fit(self, X, y=None):
        """One update on the mini-batch X."""
        self._check_values(X)
        # "auto" is the CPU: one step is less work than what it needs and makes has way to a GPU
        gpu = -1 if self.device == "auto" else choose_gpu(self.device, math.inf)
        with self._training(gpu):
            before = self._snapshot()
            try:
                means = self._train_rows(X, y, np.arange(X.shape[0]), self.n_iter_, X.shape[0])
            except DivergenceError:
                self._restore(before)
                raise
        self.history_.setdefault("loss", []).append(means.get("loss", math.nan))
        return self

    # ------------------------------------------------------------------ files

    def _settings(self) -> dict[str, Any]:
        """What :meth:`_settle` settled."""
        return {}

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        state = self._snapshot()
        best = self._best_state or {}
        tensors: dict[str, np.ndarray] = {}
        for prefix, saved in (("", state), ("best.", best)):
            for part in ("network", "optimizer", "average"):
                for name, a in (saved.get(part) or {}).items():
                    tensors[f"{prefix}{part}.{name}"] = _arrays.numpy(a)
        meta = {
            **self._description(),
            "settings": self._settings(),
            "seed": str(self._seed),
            "dtype": self._dtype.name,
            "n_features": self.n_features_in_,
            "n_iter": self.n_iter_,
            "step_count": self._optimizer_state.step_count,
            "history": self.history_,
            "best": {k: best[k] for k in ("step_count", "n_iter") if k in best},
        }
        return tensors, meta

    def _set_state(self, tensors, meta) -> None:
        def part(prefix: str) -> dict[str, np.ndarray]:
            return {
                name[len(prefix) :]: np.array(a)
                for name, a in tensors.items()
                if name.startswith(prefix)
            }

        for name, a in tensors.items():
            if not np.isfinite(a).all():
                raise ValueError(f"tensor {name!r} of the file has values that are not finite")
        self._seed, self._dtype = int(meta["seed"]), np.dtype(meta["dtype"])
        self.__dict__.update(meta["settings"])
        self.n_features_in_ = int(meta["n_features"])
        self._set_names(meta)
        rng = np.random.default_rng([self._seed, 0])
        self.network_ = self._build(self.n_features_in_, self._dtype, rng)
        self._optimizer_state = self._new_optimizer()
        self._restore(
            {
                "network": part("network."),
                "optimizer": part("optimizer."),
                "step_count": int(meta["step_count"]),
                "average": part("average.") or None,
                "n_iter": int(meta["n_iter"]),
            }
        )
        self._best_state = None
        if meta["best"]:
            self._best_state = {
                "network": part("best.network."),
                "optimizer": part("best.optimizer."),
                "average": part("best.average.") or None,
                **meta["best"],
            }
        self.history_ = dict(meta["history"])

    def _resume(self, path) -> None:
        tensors, meta, _ = load_state(path)
        found = (meta.get("n_features"), meta.get("dtype"))
        if found != (self.n_features_in_, self._dtype.name):
            raise ValueError(
                f"resume: {path} holds a model of {found[0]} features in {found[1]}; expected "
                f"{self.n_features_in_} in {self._dtype.name}"
            )
        try:
            self._set_state(tensors, meta)
        except (KeyError, ValueError) as error:
            raise ValueError(f"resume: {path} does not fit this model: {error}") from None

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_parameter_list", None)
        state.pop("_session", None)
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _on_cpu(state: Any) -> Any:
    """What :meth:`NetworkEstimator._snapshot` made, with arrays on the CPU."""
    if isinstance(state, dict):
        return {name: _on_cpu(value) for name, value in state.items()}
    return _arrays.numpy(state)

"""How an RBM estimator is trained: arguments, epochs over arrays and streams, resuming."""

from __future__ import annotations

import functools
import numbers
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from .. import _core
from ..io import load_state, save_model
from ..training import DivergenceError, Plan, Progress, run_epochs, schedule_value
from ..units import Layer
from ._device import check_device
from ._missing import Missing
from ._pseudo_likelihood import Variables
from ._rbm_core import RBMCore, concatenated, seed_from
from ._standard import column_scales
from ._stream import BLOCK_BATCHES, Stream, is_stream, train_epoch

__all__ = ["RBMTraining", "check_row_weight"]

# Rows that the measures of the history are taken on.
_MONITOR_ROWS = 1000
_MONITOR_STATES = 200_000
_MAX_GIBBS_STEPS = 1_000_000
_CHECKED_EPOCHS = 10_000
_FIRST_MOMENT = 0.9  # Adam's, where momentum is not given
_FAST_RATE = 0.02  # of fast weights; about the learning rates that Tieleman and Hinton (2009) used


class RBMTraining(RBMCore):
    """Fitting, in the terms of :class:`unsupfast.RBM`, which documents the parameters."""

    learning_rate: Any
    momentum: Any
    k: Any
    n_iter: int
    verbose: int
    random_state: Any
    optimizer: str
    n_temperatures: int
    temperatures_: np.ndarray
    swap_rates_: np.ndarray
    clip_norm: float | None
    max_norm: float | None
    weight_decay: float
    l1: float
    centering: bool
    sparsity_target: float | None
    sparsity_cost: float
    selectivity_target: float | None
    selectivity_cost: float
    learn_sigma: bool
    shuffle: bool
    validation_fraction: float | None
    patience: int | None
    callbacks: Any
    checkpoint: Any
    checkpoint_every: int
    resume: Any
    # classes of the rows that are trained on, -1 where unknown
    _labels: np.ndarray | None = None

    _trained: tuple[str, ...] = (  # the attributes that an epoch changes
        "components_",
        "intercept_visible_",
        "intercept_hidden_",
        "log_variance_",
        "shape_hidden_",
        "shape_visible_",
        "h_samples_",
        "temperatures_",
        "swap_rates_",
        "_imputed",
        "_optimizer",
        "_updates",
        "_step",
        "n_iter_",
    )

    # ------------------------------------------------------------------ arguments

    def _check_parameters(self) -> None:
        def integer(name, low):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or isinstance(value, bool):
                raise TypeError(f"{name} is {value!r}; expected an integer")
            if value < low:
                raise ValueError(f"{name} is {value}; expected at least {low}")

        def option(name, allowed):
            value = getattr(self, name)
            if value not in allowed:
                expected = ", ".join(map(repr, allowed))
                raise ValueError(f"{name} is {value!r}; expected one of {expected}")

        def real(name, low, high=np.inf, *, open_low=False, open_high=False):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or isinstance(value, bool):
                raise TypeError(f"{name} is {value!r}; expected a number")
            ok = (low < value if open_low else low <= value) and (
                value < high if open_high else value <= high
            )
            if not (ok and np.isfinite(float(value))):
                raise ValueError(
                    f"{name} is {value}; expected a value in "
                    f"{'(' if open_low else '['}{low}, {high}{')' if open_high else ']'}"
                )

        for name, low in (("n_components", 1), ("batch_size", 1), ("n_iter", 0)):
            integer(name, low)
        integer("checkpoint_every", 1)
        option("method", ("pcd", "cd", "fpcd", "pt"))
        option("optimizer", ("sgd", "adam"))
        integer("n_temperatures", 2)
        for name in ("clip_norm", "max_norm"):
            if getattr(self, name) is not None:
                real(name, 0, open_low=True)
        option("precision", ("auto", "float32", "float64", "bfloat16", "int16"))
        check_device(self)
        for name in ("centering", "learn_sigma", "shuffle"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} is {getattr(self, name)!r}; expected True or False")
        if not isinstance(self.verbose, (numbers.Integral, np.bool_)):
            raise TypeError(f"verbose is {self.verbose!r}; expected an integer or a bool")
        for name in ("checkpoint", "resume"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, bytes, os.PathLike)):
                raise TypeError(f"{name} is {value!r}; expected a path or None")
        if self.callbacks is not None and (
            not isinstance(self.callbacks, Iterable) or not all(map(callable, self.callbacks))
        ):
            raise TypeError(f"callbacks is {self.callbacks!r}; expected callables in a sequence")
        for name in ("weight_decay", "l1", "sparsity_cost"):
            real(name, 0)
        real("selectivity_cost", 0, 1)
        for name in ("sparsity_target", "selectivity_target"):
            if getattr(self, name) is not None:
                real(name, 0, 1, open_low=True, open_high=True)
        if self.validation_fraction is not None:
            real("validation_fraction", 0, 1, open_low=True, open_high=True)
        if self.patience is not None:
            integer("patience", 1)
            if self.validation_fraction is None:
                raise ValueError("patience needs validation_fraction: there is no held-out score")
        # Schedules are walked through now: an error in the tenth epoch would be a late one.
        for epoch in range(max(1, min(self.n_iter, _CHECKED_EPOCHS))):
            self._rates(epoch)
            self._gibbs_steps(epoch)

    def _gibbs_steps(self, epoch: int) -> int:
        k = schedule_value(self.k, epoch, "k")
        if not 1 <= k <= _MAX_GIBBS_STEPS or k != int(k):
            raise ValueError(
                f"k is {k:g} in epoch {epoch}; expected an integer from 1 to {_MAX_GIBBS_STEPS}"
            )
        return int(k)

    def _rates(self, epoch: int) -> tuple[float, float]:
        rate = schedule_value(self.learning_rate, epoch, "learning_rate")
        momentum = schedule_value(self.momentum, epoch, "momentum")
        if rate <= 0:
            raise ValueError(
                f"learning_rate is {rate} in epoch {epoch}; expected a positive number"
            )
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum} in epoch {epoch}; expected a value in [0, 1)")
        return rate, momentum

    def _check_units(self, n_features: int) -> None:
        """Refuses layers that don't fit the data or the other arguments."""
        visible = self._layer_of(n_features)
        hidden = Layer.of(self.hidden, self.n_components, "hidden")
        if hidden.has("multinomial"):
            raise ValueError("hidden has ReplicatedSoftmax units; expected them in visible only")
        if sum(unit.kind == "multinomial" for unit, _ in visible.parts) > 1:
            raise ValueError("visible has several parts of ReplicatedSoftmax units; expected one")
        if self.centering and visible.has("multinomial"):
            raise ValueError(
                "centering is True, but visible has ReplicatedSoftmax units, whose rows add up to "
                "different numbers; expected False"
            )
        for name, wanted in (
            ("sparsity_target", self.sparsity_target is not None),
            ("selectivity_target", self.selectivity_target is not None),
            ("precision", self.precision == "int16"),
        ):
            if wanted and not hidden.is_all("bernoulli"):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, which needs Bernoulli hidden units; "
                    f"hidden is {self.hidden!r}"
                )

    # ------------------------------------------------------------------ training

    def _initialise(self, n_features: int, dtype, rng: np.random.RandomState) -> None:
        self.components_ = np.asarray(
            rng.normal(0, self._initial_deviation(n_features), (self.n_components, n_features)),
            order="F",
            dtype=dtype,
        )
        self._n_features_out = self.n_components
        self.intercept_hidden_ = np.zeros(self.n_components, dtype)
        self.intercept_visible_ = np.zeros(n_features, dtype)
        self.log_variance_ = np.zeros(n_features, dtype)
        self.offset_, self.scale_ = np.zeros(n_features, dtype), np.ones(n_features, dtype)
        self.shape_hidden_ = np.zeros((2, self.n_components), dtype)
        self.shape_visible_ = np.zeros((2, n_features), dtype)
        levels = self.n_temperatures if self.method == "pt" else 1
        self.h_samples_ = np.zeros((self.batch_size * levels, self.n_components), dtype)
        self.temperatures_ = np.linspace(0, 1, levels) if levels > 1 else np.ones(1)
        self.swap_rates_ = np.zeros(levels - 1)
        self._updates = 0
        self._chain_totals = self._imputed = None
        self._start_draws(rng)
        if not self._hidden_layer.is_all("bernoulli"):
            draws = np.random.default_rng([self._seed, 5])
            self.h_samples_ += self._hidden_layer.sample(np.zeros(self.h_samples_.shape), draws)
        self._step = 0
        self._optimizer = None
        self._best_state = None
        self.n_iter_ = 0
        self.history_: dict[str, list[float]] = {}

    def _initial_deviation(self, n_features: int) -> float:
        return 0.01

    def _start_draws(self, rng: np.random.RandomState) -> None:
        self._seed = seed_from(rng)

    def _uniforms(self) -> Any:
        """A function that returns the next n uniforms of training; None means Philox."""
        return None

    def _load_core(self) -> Any:
        """A compiled machine holding parameters and everything training carries along."""
        core = self._synced_core(training=True)
        core.set_chains(np.ascontiguousarray(self.h_samples_, self.components_.dtype))
        if self._chain_totals is not None:
            core.set_chain_totals(self._chain_totals)
        core.seed, core.step, core.updates = self._seed, self._step, self._updates
        core.swaps = []
        if self._optimizer is None:
            fresh = {name: np.zeros_like(old) for name, old in core.get_state().items()}
            mean = self._enter(self._data_mean)
            fresh["visible_offset"] = np.ascontiguousarray(mean, self.components_.dtype)
            self._optimizer = fresh
        core.set_state(self._optimizer)
        return core

    def _store_core(self, core) -> None:
        (
            self.components_,
            self.intercept_visible_,
            self.intercept_hidden_,
            self.log_variance_,
        ) = core.get_parameters()
        self.shape_visible_, self.shape_hidden_ = core.get_shapes()
        self.h_samples_ = core.get_chains()
        self._optimizer, self._step = core.get_state(), core.step
        self._updates = core.updates
        if self.method == "pt" and len(core.swaps):
            made, tried = np.reshape(core.swaps, (-1, 2)).T
            if tried.all():
                self.swap_rates_ = made / tried
                self.temperatures_ = _respaced(self.temperatures_, self.swap_rates_)

    def _options(self, epoch: int, batch_size: int) -> Any:
        options = _core.TrainOptions()
        options.batch_size = batch_size
        options.k = self._gibbs_steps(epoch)
        options.persistent = self.method != "cd"
        options.learning_rate, options.momentum = self._rates(epoch)
        options.adam = self.optimizer == "adam"
        if options.adam and self.momentum == 0:
            options.momentum = _FIRST_MOMENT
        options.clip_norm, options.max_norm = self.clip_norm or 0.0, self.max_norm or 0.0
        if self.method == "fpcd":
            options.fast_rate = _FAST_RATE
        if self.method == "pt":
            options.temperatures = self.temperatures_.tolist()
            options.base_bias = self._base_bias().tolist()
        options.l2, options.l1 = self.weight_decay, self.l1
        options.centering = self.centering
        options.sparsity_target = -1.0 if self.sparsity_target is None else self.sparsity_target
        options.sparsity_cost = self.sparsity_cost
        if self.selectivity_target is not None:
            options.selectivity_target = self.selectivity_target
            options.selectivity_cost = self.selectivity_cost
        options.learn_sigma = self.learn_sigma
        if self._is_scaled:
            options.offset, options.scale = self.offset_.tolist(), self.scale_.tolist()
        return options

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

    def _update(self, core, rows, order, row_weight, options, tick) -> Any:
        return core.train(rows, order, row_weight, options, tick, self._uniforms(), self._labels)

    def _begin(self, X) -> None:
        """What comes before the first epoch on rows, or on batches."""

    def fit(self, X, y=None, row_weight=None):
        """Fit the model to X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or iterable of those
            Training data; a memory-mapped float32 or float64 array is read as it is needed. CSR is
            computed sparse. An iterable is read once per epoch and shuffled within blocks of 64
            mini-batches.
        y : ignored
        row_weight : array-like of shape (n_samples,) or None, default=None
            Non-negative weight of each row in its mini-batch. Equivalent to repeating rows only in
            expectation, which is why it is not called ``sample_weight``: scikit-learn promises that
            to be exact.

        Returns
        -------
        self : RBM

        Raises
        ------
        ValueError, TypeError
            For bad arguments, naming the argument.
        DivergenceError
            If a parameter stops being finite; the state before that epoch is kept.
        """
        self._check_parameters()
        if is_stream(X):
            return self._fit_stream(X, row_weight)
        X = self._validate(X, reset=True, missing=True)
        if row_weight is not None:
            row_weight = check_row_weight(row_weight, X, X.dtype)
        return self._fit_rows(*self._checked_rows(X), row_weight)

    def _fit_rows(self, X, missing: Missing | None, row_weight):
        """Trains on checked rows, which are all units of the visible layer."""
        rng = check_random_state(self.random_state)
        self._initialise(X.shape[1], X.dtype, rng)
        self._meet(X, missing)
        if self.resume is not None:
            self._resume(self.resume, X.shape[1], X.dtype)
        else:
            self._begin(X)
        if missing is not None:
            missing.start(self)

        rows, held_out = np.arange(X.shape[0]), None
        if self.validation_fraction is not None:
            n_held_out = int(np.ceil(self.validation_fraction * len(rows)))
            if not 0 < n_held_out < len(rows):
                raise ValueError(
                    f"validation_fraction is {self.validation_fraction}, which leaves no rows to "
                    f"train on out of n_samples = {len(rows)}"
                )
            mixed = np.random.default_rng([self._seed, 1]).permutation(len(rows))
            rows, held_out = np.sort(mixed[n_held_out:]), np.sort(mixed[:n_held_out])

        def train(epoch: int) -> None:
            order = rows
            if self.shuffle:
                order = np.random.default_rng([self._seed, 2, epoch]).permutation(rows)
            if missing is not None:
                missing.redraw(self, epoch)
            with Progress(self.verbose > 1, epoch, self.n_iter, len(order)) as progress:
                self._train_rows(there, order, row_weight, epoch - 1, self.batch_size, progress)

        there = X if missing is not None else self._resident(X)
        monitor = self._monitored_rows(X, rows)
        validate = None if held_out is None else functools.partial(self._validate_rows, X, held_out)
        self._run(train, lambda epoch: self._measure(monitor, validate))
        return self

    def _mean_of(self, X) -> np.ndarray:
        return _mean_row(X)

    def _resident(self, X) -> Any:
        """X on the GPU that trains, copied once for all epochs; X itself on the CPU."""
        gpu = self._gpu()
        if gpu < 0:
            return X
        rows = self._rows(X)
        if isinstance(rows, tuple):
            return tuple(_core.to_gpu(part, gpu) for part in rows)
        return _core.to_gpu(rows, gpu)

    def _checked_rows(self, X) -> tuple[Any, Missing | None]:
        """Rows that the units can have, and what is missing of them (then X is a filled copy)."""
        self._check_units(X.shape[1])
        layer = self._layer_of(X.shape[1])
        missing = Missing.of(X, layer)
        if missing is None:
            layer.check(X, "X")
            return X, None
        return missing.X, missing

    def _meet(self, X, missing: Missing | None = None) -> None:
        """Takes over what training needs to know of the data, or of the first of them."""
        layer = self._visible_layer
        self._data_mean = self._mean_of(X) if missing is None else missing.mean
        self.offset_, self.scale_ = column_scales(X, layer, missing)
        # words start with their frequencies, which all hidden units would have to learn otherwise
        field = layer.field_of_mean(self._data_mean.astype(np.float64))
        of_words = layer.mask("multinomial")
        self.intercept_visible_[of_words] = field[of_words]
        # chains of counts get the lengths of rows
        if layer.has("multinomial"):
            rows = np.random.default_rng([self._seed, 6]).integers(X.shape[0], size=self.batch_size)
            # the same at every temperature: chains that exchange states have the same lengths
            totals = np.tile(layer.totals(X[np.sort(rows)]), len(self.temperatures_))
            self._chain_totals = totals.astype(X.dtype)

    def _run(self, train, measure) -> None:
        """The epochs that are left, through the common loop."""

        def report(event) -> None:
            print(
                f"[{type(self).__name__}] Iteration {event.epoch}, "
                f"{self._reported(event.metrics)}, time = {event.metrics['seconds']:.2f}s"
            )

        def measured(epoch: int) -> dict[str, float]:
            self.n_iter_ = epoch
            return measure(epoch)

        callbacks = []
        if self.verbose:
            callbacks.append(report)
        callbacks.extend(self.callbacks or ())
        run_epochs(
            Plan(
                model=self,
                epochs=range(self.n_iter_ + 1, self.n_iter + 1),
                train=train,
                measure=measured,
                # arrays are replaced, never written in place, so references are enough
                snapshot=lambda: {name: getattr(self, name) for name in self._trained},
                restore=lambda saved: self.__dict__.update(saved),
                remember=lambda best: self.__dict__.update(_best_state=best),
                best_state=self._best_state,
                save=None if self.checkpoint is None else lambda: save_model(self, self.checkpoint),
                save_every=self.checkpoint_every,
                history=self.history_,
                monitor="validation_score" if self.patience is not None else None,
                patience=self.patience,
                callbacks=callbacks,
            )
        )

    def _reported(self, metrics) -> str:
        # for Bernoulli visibles the line that scikit-learn's BernoulliRBM prints
        if "pseudo_log_likelihood" in metrics:
            return f"pseudo-likelihood = {metrics['pseudo_log_likelihood']:.2f}"
        return f"reconstruction error = {metrics['reconstruction_error']:.4f}"

    def _measure(self, X, validate=None) -> dict[str, float]:
        metrics: dict[str, float] = {}
        if self._has_pseudo_likelihood():
            metrics["pseudo_log_likelihood"] = self._monitored_likelihood(X)
        else:
            metrics["reconstruction_error"] = float(self._row_errors(X).mean(dtype=np.float64))
        if validate is not None:
            energy, score = validate()
            metrics["free_energy_gap"] = energy - float(self._free_energy(X).mean(dtype=np.float64))
            if self._has_pseudo_likelihood():
                metrics["validation_pseudo_log_likelihood"] = score
            else:
                metrics["validation_reconstruction_error"] = -score
            metrics["validation_score"] = score
        return metrics

    def _validate_rows(self, X, rows) -> tuple[float, float]:
        """Mean free energy and score of rows of X, of which a bounded number is in memory."""
        draw = self._drawn_variables(len(rows), X.shape[1])

        def both(positions: np.ndarray) -> np.ndarray:
            part = X[rows[positions]]
            if self._has_pseudo_likelihood():
                score = self._likelihood_of(part, draw[positions])
            else:
                score = -self._row_errors(part)
            return np.stack([self._free_energy(part), score], axis=1)

        energy, score = concatenated(np.arange(len(rows)), both).mean(axis=0, dtype=np.float64)
        return float(energy), float(score)

    def _monitored_rows(self, X, rows):
        return X[rows[:_MONITOR_ROWS]]

    def _monitored_likelihood(self, X) -> float:
        if not self._flips():  # a word has thousands of states
            X = X[: max(1, _MONITOR_STATES // Variables(self).most_states)]
        return float(self._likelihood_of(X, self._drawn_variables(*X.shape)).mean())

    def _drawn_variables(self, n_rows: int, n_features: int) -> np.ndarray:
        # Every epoch takes the same variables: what changes is the model, not the draw.
        high = n_features if self._flips() else 2**63
        return np.random.default_rng([self._seed, 3]).integers(high, size=n_rows)

    def _row_errors(self, X) -> np.ndarray:
        """Mean squared error of each row's reconstruction, columns in units of their scale."""
        dense = X.toarray() if sp.issparse(X) else X
        scale = self.scale_ if self._is_scaled else 1
        return (((self._reconstruct(X) - dense) / scale) ** 2).mean(axis=1)

    def _fit_stream(self, batches: Iterable[Any], row_weight):
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
        monitor = head[:_MONITOR_ROWS]

        def rows(epoch: int, X, order, block: int, tick) -> None:
            self._visible_layer.check(X, "X")
            before = block * BLOCK_BATCHES
            self._train_rows(X, order, None, epoch - 1, self.batch_size, tick, before)

        self._run(
            lambda epoch: train_epoch(self, stream, epoch, functools.partial(rows, epoch)),
            lambda epoch: self._measure(monitor),
        )
        return self

    def partial_fit(self, X, y=None, row_weight=None):
        """One update on the mini-batch X, as scikit-learn's BernoulliRBM does.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : ignored
        row_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        self : RBM
        """
        self._check_parameters()
        first = not hasattr(self, "components_")
        X = self._validate(X, reset=first)
        self._check_units(X.shape[1])
        self._layer_of(X.shape[1]).check(X, "X")
        return self._update_once(X, row_weight, first)

    def _update_once(self, X, row_weight, first: bool):
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

    def _resume(self, path, n_features: int, dtype) -> None:
        tensors, meta, _ = load_state(path)
        shape = (self.n_components, n_features)
        found = tensors.get("components")
        if found is None or found.shape != shape or found.dtype != dtype:
            got = "no components" if found is None else f"{found.shape} {found.dtype}"
            raise ValueError(
                f"resume: {path} holds {got}; expected components of shape {shape} {dtype}"
            )
        self._set_state(tensors, meta)


def _respaced(betas: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Inverse temperatures between which exchanges would fail equally often, half way there.

    Failures add up along the path whatever the ladder: S. Syed, A. Bouchard-Cote, G. Deligiannidis,
    A. Doucet, "Non-reversible parallel tempering", JRSS B 84, 2022.
    """
    failures = np.concatenate([[0.0], np.cumsum(np.maximum(1 - rates, 1e-3))])
    even = np.interp(np.linspace(0, failures[-1], len(betas)), failures, betas)
    out = 0.5 * (betas + even)
    out[0], out[-1] = 0.0, 1.0
    return out


def check_row_weight(row_weight, X, dtype) -> np.ndarray:
    # Our own check: what scikit-learn's refuses differs between its versions.
    try:
        weight = np.array(row_weight, dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"row_weight is not an array of numbers: {error}") from None
    if weight.shape != (X.shape[0],):
        raise ValueError(f"row_weight has shape {weight.shape}; expected ({X.shape[0]},)")
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError("row_weight has NaN, infinite or negative values; expected none below 0")
    if not weight.any():
        raise ValueError("row_weight is zero everywhere; expected a positive weight somewhere")
    return weight


def _mean_row(X) -> np.ndarray:
    """The mean of the rows, the same to the bit for dense and sparse rows."""
    if sp.issparse(X):
        total = np.bincount(X.indices, weights=X.data, minlength=X.shape[1])
    else:
        total = X.sum(axis=0, dtype=np.float64)
    return (total / X.shape[0]).astype(X.dtype)

"""How an RBM estimator is trained: arguments, what an epoch changes, what is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from .. import _core
from ..units import Layer
from ._arguments import check_bool, check_integer, check_option, check_real, check_row_weight
from ._gibbs_training import GibbsTraining
from ._missing import Missing
from ._pseudo_likelihood import Variables
from ._rbm_core import RBMCore, concatenated, seed_from
from ._standard import column_scales
from ._stream import is_stream

__all__ = ["RBMTraining"]

_MONITOR_STATES = 200_000
_FIRST_MOMENT = 0.9  # Adam's, where momentum is not given
_FAST_RATE = 0.02  # of fast weights; about the learning rates that Tieleman and Hinton (2009) used


class RBMTraining(GibbsTraining, RBMCore):
    """Fitting, in the terms of :class:`unsupfast.RBM`, which documents the parameters."""

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
        self._check_epochs()
        check_integer(self, "n_components", 1)
        check_integer(self, "n_temperatures", 2)
        check_option(self, "method", ("pcd", "cd", "fpcd", "pt"))
        check_option(self, "optimizer", ("sgd", "adam"))
        check_option(self, "precision", ("auto", "float32", "float64", "bfloat16", "int16"))
        for name in ("centering", "learn_sigma"):
            check_bool(self, name)
        for name in ("clip_norm", "max_norm"):
            if getattr(self, name) is not None:
                check_real(self, name, 0, above=True)
        for name in ("weight_decay", "l1", "sparsity_cost"):
            check_real(self, name, 0)
        check_real(self, "selectivity_cost", 0, 1)
        for name in ("sparsity_target", "selectivity_target"):
            if getattr(self, name) is not None:
                check_real(self, name, 0, 1, above=True, below=True)
        self._check_schedules(self._rates, self._gibbs_steps)

    def _check_states(self, X: Any) -> None:
        self._visible_layer.check(X, "X")

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

    def _update(self, core, rows, order, row_weight, options, tick) -> Any:
        return core.train(rows, order, row_weight, options, tick, self._uniforms(), self._labels)

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

    def _mean_of(self, X) -> np.ndarray:
        return _mean_row(X)

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

    def _components_shape(self, n_features: int) -> tuple[int, ...]:
        return self.n_components, n_features


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


def _mean_row(X) -> np.ndarray:
    """The mean of the rows, the same to the bit for dense and sparse rows."""
    if sp.issparse(X):
        total = np.bincount(X.indices, weights=X.data, minlength=X.shape[1])
    else:
        total = X.sum(axis=0, dtype=np.float64)
    return (total / X.shape[0]).astype(X.dtype)

"""Restricted Boltzmann machine."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from .. import _core
from ..datasets import stream_batches
from ..io import load_state, register_model, save_model
from ..likelihood import Estimate, Machine, annealed_log_partition
from ..training import DivergenceError, Plan, run_epochs, schedule_value

__all__ = ["RBM", "BernoulliRBM"]

# Rows that the pseudo-likelihood of the history is measured on.
_MONITOR_ROWS = 1000
# Rows per call of the compiled code, so that batched inference needs bounded memory.
_CHUNK_ROWS = 8192
# Mini-batches that a stream is shuffled within.
_STREAM_BATCHES = 64
_OPTIMIZER = ("velocity", "bias_velocity", "visible_offset", "hidden_offset")


def _seed_from(rng: np.random.RandomState) -> int:
    high, low = rng.randint(0, 2**32, size=2, dtype=np.uint64)
    return int(high) << 32 | int(low)


class RBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Restricted Boltzmann machine with Bernoulli hidden units.

    Bernoulli visibles: ``E(v, h) = -a'v - b'h - v'W h``. Gaussian visibles:
    ``E(v, h) = sum_i (v_i - a_i)^2 / (2 s_i^2) - b'h - (v / s^2)'W h``. Trained by contrastive
    divergence [1]_ or persistent contrastive divergence [2]_, optionally with the centred
    gradient [3]_.

    The first six parameters are those of :class:`sklearn.neural_network.BernoulliRBM`, with the same
    names and defaults.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    learning_rate : float, sequence of float or callable, default=0.1
        Step on the gradient of the mean log-likelihood. A sequence gives one value per epoch (the last
        one holds on); a callable is given the epoch from 0.
    batch_size : int, default=10
        Rows per mini-batch; also the number of persistent chains.
    n_iter : int, default=10
        Epochs.
    verbose : int, default=0
        1 prints a line per epoch; 2 adds a progress bar.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights, the order of the rows, and all sampling.
    method : {"pcd", "cd"}, default="pcd"
        Where the model's samples come from: chains that persist, or ``k`` steps from the data.
    k : int, sequence of int or callable, default=1
        Gibbs steps per update; a schedule like ``learning_rate``.
    visible : {"bernoulli", "gaussian"}, default="bernoulli"
        Visible units. Bernoulli takes values in [0, 1] as probabilities; values outside are not
        refused, as in scikit-learn, but have no probabilistic meaning. Gaussian units learn one
        variance per unit, bounded to [exp(-7), exp(4)]; standardise the data.
    momentum : float, sequence or callable, default=0.0
        In [0, 1).
    weight_decay, l1 : float, default=0.0
        L2 and L1 penalties on the weights, in units of the gradient.
    centering : bool, default=False
        Use the centred gradient: less dependent on the mean of the data, better conditioned.
    sparsity_target : float or None, default=None
        Desired mean activity of hidden units, in (0, 1).
    sparsity_cost : float, default=0.1
        Weight of the push towards it.
    learn_sigma : bool, default=True
        Learn the variances of Gaussian visibles (otherwise they stay 1).
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Precision of the arithmetic. "auto" is that of X: float32 stays float32, all else becomes
        float64, which is several times slower. "bfloat16" rounds the factors of each product and
        keeps float32 weights and sums.
    device : {"auto", "cpu"}, default="auto"
        Where to compute.
    shuffle : bool, default=True
        Visit the rows in a new random order every epoch.
    validation_fraction : float or None, default=None
        Share of the rows held out to measure ``validation_pseudo_log_likelihood`` and
        ``free_energy_gap`` (mean free energy of held-out minus training rows; a growing gap is
        overfitting).
    patience : int or None, default=None
        Stop after so many epochs without a better held-out score, and keep the best epoch's state.
        Needs ``validation_fraction``.
    callbacks : iterable of callable or None, default=None
        Each is called with an :class:`unsupfast.Event` after every epoch; returning True stops.
    checkpoint : path or None, default=None
        File to write the whole state of training to, every ``checkpoint_every`` epochs.
    checkpoint_every : int, default=1
    resume : path or None, default=None
        A checkpoint to continue from: the result is bitwise that of an uninterrupted run.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Weights.
    intercept_hidden_ : ndarray of shape (n_components,)
    intercept_visible_ : ndarray of shape (n_features,)
    log_variance_ : ndarray of shape (n_features,)
        Log variances of Gaussian visibles (zeros for Bernoulli).
    h_samples_ : ndarray of shape (batch_size, n_components)
        States of the persistent chains.
    history_ : dict of str to list
        One value per epoch: ``epoch``, ``seconds``, ``pseudo_log_likelihood`` (nats per sample, on up
        to 1000 training rows; Bernoulli) or ``reconstruction_error`` (mean squared; Gaussian), and the
        held-out measures.
    n_iter_ : int
        Epochs done.
    n_features_in_ : int

    References
    ----------
    .. [1] G. Hinton. "Training products of experts by minimizing contrastive divergence". Neural
           Computation 14, 2002.
    .. [2] T. Tieleman. "Training restricted Boltzmann machines using approximations to the likelihood
           gradient". ICML 2008.
    .. [3] J. Melchior, A. Fischer, L. Wiskott. "How to center deep Boltzmann machines". JMLR 17, 2016.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=np.float32)
    >>> uf.RBM(2, random_state=0).fit_transform(X).shape
    (4, 2)
    """

    def __init__(
        self,
        n_components=256,
        *,
        learning_rate=0.1,
        batch_size=10,
        n_iter=10,
        verbose=0,
        random_state=None,
        method="pcd",
        k=1,
        visible="bernoulli",
        momentum=0.0,
        weight_decay=0.0,
        l1=0.0,
        centering=False,
        sparsity_target=None,
        sparsity_cost=0.1,
        learn_sigma=True,
        precision="auto",
        device="auto",
        shuffle=True,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
    ):
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.method = method
        self.k = k
        self.visible = visible
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.l1 = l1
        self.centering = centering
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.learn_sigma = learn_sigma
        self.precision = precision
        self.device = device
        self.shuffle = shuffle
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume

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
        option("method", ("pcd", "cd"))
        option("visible", ("bernoulli", "gaussian"))
        option("precision", ("auto", "float32", "float64", "bfloat16"))
        option("device", ("auto", "cpu"))
        for name in ("weight_decay", "l1", "sparsity_cost"):
            real(name, 0)
        if self.sparsity_target is not None:
            real("sparsity_target", 0, 1, open_low=True, open_high=True)
        if self.validation_fraction is not None:
            real("validation_fraction", 0, 1, open_low=True, open_high=True)
        if self.patience is not None:
            integer("patience", 1)
            if self.validation_fraction is None:
                raise ValueError("patience needs validation_fraction: there is no held-out score")
        self._rates(0)
        self._gibbs_steps(0)

    def _gibbs_steps(self, epoch: int) -> int:
        k = schedule_value(self.k, epoch, "k")
        if k < 1 or k != int(k):
            raise ValueError(f"k is {k:g} in epoch {epoch}; expected an integer of at least 1")
        return int(k)

    def _rates(self, epoch: int) -> tuple[float, float]:
        rate = schedule_value(self.learning_rate, epoch, "learning_rate")
        momentum = schedule_value(self.momentum, epoch, "momentum")
        if rate <= 0:
            raise ValueError(f"learning_rate is {rate} in epoch {epoch}; expected a positive number")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum} in epoch {epoch}; expected a value in [0, 1)")
        return rate, momentum

    def _input_dtypes(self) -> Any:
        if self.precision in ("float32", "bfloat16"):
            return np.float32
        return np.float64 if self.precision == "float64" else (np.float64, np.float32)

    def _validate(self, X, *, reset: bool):
        """X checked, in a dtype that we compute in, C-contiguous or canonical CSR."""
        X = validate_data(
            self, X, accept_sparse="csr", reset=reset, dtype=self._input_dtypes(), order="C"
        )
        if sp.issparse(X) and not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        return X

    # ------------------------------------------------------------------ the compiled machine

    def _new_core(self) -> Any:
        dtype = self.components_.dtype
        precision = "bfloat16" if self.precision == "bfloat16" else dtype.name
        hiddens, visibles = self.components_.shape
        return _core.Rbm(visibles, hiddens, self.visible == "gaussian", dtype.name, precision)

    def _synced_core(self) -> Any:
        """The compiled machine with the parameters of this estimator's attributes."""
        dtype = self.components_.dtype
        shape = self.components_.shape
        cached = self.__dict__.get("_core_cache")
        key = (shape, dtype.name, self.precision, self.visible)
        if cached is None or cached[0] != key:
            cached = (key, self._new_core())
            self._core_cache = cached
        log_variance = getattr(self, "log_variance_", None)
        cached[1].set_parameters(
            self.components_,
            np.ascontiguousarray(self.intercept_visible_, dtype),
            np.ascontiguousarray(self.intercept_hidden_, dtype),
            None if log_variance is None else np.ascontiguousarray(log_variance, dtype),
        )
        return cached[1]

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_core_cache", None)
        return state

    def _rows(self, X) -> Any:
        """X as the compiled code takes rows: an array, or a CSR tuple."""
        dtype = self.components_.dtype
        if sp.issparse(X):
            return (
                X.indptr.astype(np.int64, copy=False),
                X.indices.astype(np.int32, copy=False),
                np.ascontiguousarray(X.data, dtype),
            )
        return np.ascontiguousarray(X, dtype)

    def _by_chunks(self, X, function) -> np.ndarray:
        core = self._synced_core()
        n = X.shape[0]
        if n <= _CHUNK_ROWS:
            return function(core, self._rows(X))
        parts = [
            function(core, self._rows(X[i : i + _CHUNK_ROWS])) for i in range(0, n, _CHUNK_ROWS)
        ]
        return np.concatenate(parts)

    # ------------------------------------------------------------------ training

    def _initialise(self, n_features: int, dtype, rng: np.random.RandomState) -> None:
        self.components_ = np.asarray(
            rng.normal(0, 0.01, (self.n_components, n_features)), order="F", dtype=dtype
        )
        self._n_features_out = self.n_components
        self.intercept_hidden_ = np.zeros(self.n_components, dtype)
        self.intercept_visible_ = np.zeros(n_features, dtype)
        self.log_variance_ = np.zeros(n_features, dtype)
        self.h_samples_ = np.zeros((self.batch_size, self.n_components), dtype)
        self._seed = _seed_from(rng)
        self._step = 0
        self._optimizer: dict[str, np.ndarray] | None = None
        self.n_iter_ = 0
        self.history_: dict[str, list[float]] = {}

    def _load_core(self) -> Any:
        """A compiled machine holding parameters and everything training carries along."""
        core = self._synced_core()
        core.set_chains(np.ascontiguousarray(self.h_samples_, self.components_.dtype))
        core.seed, core.step = self._seed, self._step
        if self._optimizer is None:
            fresh = self._new_core().get_state()
            fresh["visible_offset"] = np.ascontiguousarray(
                self._data_mean, self.components_.dtype
            )
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
        self.h_samples_ = core.get_chains()
        self._optimizer, self._step = core.get_state(), core.step

    def _options(self, epoch: int, batch_size: int) -> Any:
        options = _core.TrainOptions()
        options.batch_size = batch_size
        options.k = self._gibbs_steps(epoch)
        options.persistent = self.method == "pcd"
        options.learning_rate, options.momentum = self._rates(epoch)
        options.l2, options.l1 = self.weight_decay, self.l1
        options.centering = self.centering
        options.sparsity_target = -1.0 if self.sparsity_target is None else self.sparsity_target
        options.sparsity_cost = self.sparsity_cost
        options.learn_sigma = self.learn_sigma
        return options

    def _train_rows(self, X, order, row_weight, epoch: int, batch_size: int, tick=None) -> None:
        """One pass over rows `order` of X; the attributes follow, also when it is interrupted."""
        core = self._load_core()
        try:
            diverged = core.train(
                self._rows(X), order, row_weight, self._options(epoch, batch_size), tick
            )
        except BaseException:
            self._store_core(core)
            raise
        if diverged is not None:
            batch, tensor = diverged
            raise DivergenceError(
                f"training diverged: the {tensor} are not finite after mini-batch {batch + 1} of epoch "
                f"{epoch + 1}; the model keeps its state from before that epoch. Lower learning_rate "
                f"(now {self._rates(epoch)[0]:g}) or scale the data."
            )
        self._store_core(core)

    def fit(self, X, y=None, row_weight=None):
        """Fit the model to X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or iterable of such batches
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
        if _is_stream(X):
            return self._fit_stream(X, row_weight)
        X = self._validate(X, reset=True)
        if row_weight is not None:
            row_weight = _check_sample_weight(
                row_weight, X, dtype=X.dtype, ensure_non_negative=True
            )
        rng = check_random_state(self.random_state)
        self._initialise(X.shape[1], X.dtype, rng)
        self._data_mean = np.asarray(X.mean(axis=0), dtype=X.dtype).ravel()
        if self.resume is not None:
            self._resume(self.resume, X.shape[1], X.dtype)

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
            with _Progress(self.verbose > 1, epoch, self.n_iter, len(order)) as progress:
                self._train_rows(X, order, row_weight, epoch - 1, self.batch_size, progress)

        monitor = X[rows[:_MONITOR_ROWS]]
        validation = None if held_out is None else X[held_out]
        self._run(train, lambda epoch: self._measure(monitor, validation, epoch), X=X)
        return self

    def _run(self, train, measure, X=None) -> None:
        """The epochs that are left, through the common loop."""

        def report(event) -> None:
            # for Bernoulli visibles the line that scikit-learn's BernoulliRBM prints
            if "pseudo_log_likelihood" in event.metrics:
                score = f"pseudo-likelihood = {event.metrics['pseudo_log_likelihood']:.2f}"
            else:
                score = f"reconstruction error = {event.metrics['reconstruction_error']:.4f}"
            print(
                f"[{type(self).__name__}] Iteration {event.epoch}, {score}, "
                f"time = {event.metrics['seconds']:.2f}s"
            )

        def finished(event) -> None:
            self.n_iter_ = event.epoch

        callbacks = [finished]
        if self.verbose:
            callbacks.append(report)
        callbacks.extend(self.callbacks or ())
        state = (
            "components_",
            "intercept_visible_",
            "intercept_hidden_",
            "log_variance_",
            "h_samples_",
            "_optimizer",
            "_step",
            "n_iter_",
        )
        done = self.n_iter_

        def save() -> None:
            self.n_iter_ = len(self.history_["epoch"]) if self.history_ else done
            save_model(self, self.checkpoint)

        run_epochs(
            Plan(
                model=self,
                epochs=range(done + 1, self.n_iter + 1),
                train=train,
                measure=measure,
                # arrays are replaced, never written in place, so references are enough
                snapshot=lambda: {name: getattr(self, name) for name in state},
                restore=lambda saved: self.__dict__.update(saved),
                save=save if self.checkpoint is not None else None,
                save_every=self.checkpoint_every,
                history=self.history_,
                monitor="validation_score" if self.patience is not None else None,
                patience=self.patience,
                callbacks=callbacks,
            )
        )

    def _measure(self, X, validation, epoch: int) -> dict[str, float]:
        rng = np.random.RandomState(self._seed % 2**32)
        metrics: dict[str, float] = {}
        if self.visible == "bernoulli":
            metrics["pseudo_log_likelihood"] = float(self._pseudo_likelihood(X, rng).mean())
        else:
            metrics["reconstruction_error"] = self._reconstruction_error(X)
        if validation is not None:
            gap = self._free_energy(validation).mean() - self._free_energy(X).mean()
            metrics["free_energy_gap"] = float(gap)
            if self.visible == "bernoulli":
                score = float(self._pseudo_likelihood(validation, rng).mean())
                metrics["validation_pseudo_log_likelihood"] = score
            else:
                score = -self._reconstruction_error(validation)
                metrics["validation_reconstruction_error"] = -score
            metrics["validation_score"] = score
        return metrics

    def _reconstruction_error(self, X) -> float:
        dense = X.toarray() if sp.issparse(X) else X
        return float(np.mean((self._reconstruct(X) - dense) ** 2))

    def _fit_stream(self, stream: Iterable[Any], row_weight):
        for name, value in (
            ("row_weight", row_weight),
            ("validation_fraction", self.validation_fraction),
        ):
            if value is not None:
                raise ValueError(f"{name} is not supported for an iterable of batches; expected None")
        if iter(stream) is stream and self.n_iter > 1:
            raise ValueError(
                "X is an iterator, which can be read once only, but n_iter is "
                f"{self.n_iter}; expected n_iter=1 or an iterable that can be read again"
            )
        size = self.batch_size * _STREAM_BATCHES
        rng = check_random_state(self.random_state)
        first: dict[str, Any] = {}

        def train(epoch: int) -> None:
            for block, X in enumerate(stream_batches(stream, size)):
                X = self._validate(X, reset=not first)
                if not first:
                    self._data_mean = np.asarray(X.mean(axis=0), dtype=X.dtype).ravel()
                    self._initialise(X.shape[1], X.dtype, rng)
                    if self.resume is not None:
                        self._resume(self.resume, X.shape[1], X.dtype)
                    first["X"] = X[:_MONITOR_ROWS]
                order = np.arange(X.shape[0])
                if self.shuffle:
                    order = np.random.default_rng([self._seed, 2, epoch, block]).permutation(order)
                self._train_rows(X, order, None, epoch - 1, self.batch_size)
            if not first:
                raise ValueError("X is an iterable without any batch; expected at least one")

        # parameters are created at the first block; these are placeholders for the common loop
        self._initialise(1, np.float32, np.random.RandomState(0))
        self._run(train, lambda epoch: self._measure(first["X"], None, epoch))
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
        if first:
            self.random_state_ = check_random_state(self.random_state)
            self._initialise(X.shape[1], X.dtype, self.random_state_)
            self._data_mean = np.asarray(X.mean(axis=0), dtype=X.dtype).ravel()
        dtype = self.components_.dtype
        if row_weight is not None:
            row_weight = _check_sample_weight(
                row_weight, X, dtype=dtype, ensure_non_negative=True
            )
        before = dict(self.__dict__)
        try:
            self._train_rows(X, np.arange(X.shape[0]), row_weight, self.n_iter_, X.shape[0])
        except DivergenceError:
            self.__dict__.update(before)
            raise
        return self

    # ------------------------------------------------------------------ the layers

    def _mean_hiddens(self, v):
        """P(h=1|v) of shape (n_samples, n_components), or (n_components,) for one row."""
        return _rowwise(v, lambda X: self._by_chunks(X, _hidden("mean")))

    def _sample_hiddens(self, v, rng):
        """Boolean states drawn from P(h|v) with a NumPy RandomState."""
        seed = _seed_from(rng)
        return _rowwise(v, lambda X: self._synced_core().hidden_given_visible(
            self._rows(X), "sample", seed)) > 0.5

    def _sample_visibles(self, h, rng):
        """States drawn from P(v|h) with a NumPy RandomState: boolean, or real for Gaussian units."""
        seed = _seed_from(rng)
        v = _rowwise(h, lambda H: self._synced_core().visible_given_hidden(
            self._rows(H), "sample", seed))
        return v > 0.5 if self.visible == "bernoulli" else v

    def _free_energy(self, v):
        """F(v) = -log sum_h exp(-E(v, h)), of shape (n_samples,)."""
        log_z = self._by_chunks(v, _hidden("log_partition"))
        if self.visible == "bernoulli":
            return -safe_sparse_dot(v, self.intercept_visible_) - log_z
        deviation = (v.toarray() if sp.issparse(v) else v) - self.intercept_visible_
        return 0.5 * (deviation**2 * np.exp(-self.log_variance_)).sum(axis=1) - log_z

    def _reconstruct(self, X):
        def both(core, rows):
            return core.visible_given_hidden(core.hidden_given_visible(rows, "mean"), "mean")

        return self._by_chunks(X, both)

    def transform(self, X):
        """Hidden activities P(h=1|v=X).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        H : ndarray of shape (n_samples, n_components)
        """
        check_is_fitted(self)
        return self._mean_hiddens(self._validate(X, reset=False))

    def inverse_transform(self, H):
        """Mean of the visible layer given hidden activities.

        Parameters
        ----------
        H : array-like of shape (n_samples, n_components)

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        H = np.ascontiguousarray(H, self.components_.dtype)
        if H.ndim != 2 or H.shape[1] != self.components_.shape[0]:
            raise ValueError(
                f"H has shape {H.shape}; expected (n_samples, {self.components_.shape[0]})"
            )
        return self._by_chunks(H, lambda core, rows: core.visible_given_hidden(rows, "mean"))

    def reconstruct(self, X):
        """Mean of the visible layer given the mean hidden activities of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        return self._reconstruct(self._validate(X, reset=False))

    def gibbs(self, v):
        """One Gibbs step: hidden states given v, then visible states given those.

        Parameters
        ----------
        v : array-like of shape (n_samples, n_features)

        Returns
        -------
        v_new : ndarray of shape (n_samples, n_features)
            Boolean, or real for Gaussian visibles.
        """
        check_is_fitted(self)
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        h = self._sample_hiddens(v, self.random_state_)
        return self._sample_visibles(h, self.random_state_)

    def sample(self, n_samples=1, steps=1000, *, clamp=None, mean=False, random_state=None):
        """Draw from the model by Gibbs sampling.

        Parameters
        ----------
        n_samples : int, default=1
        steps : int, default=1000
            Gibbs steps from states drawn at the mean of the training data.
        clamp : array of shape (n_features,) or (n_samples, n_features), or None
            Values to hold fixed, NaN where free: samples of the conditional distribution.
        mean : bool, default=False
            Return the conditional means of the last step, not the states.
        random_state : int, RandomState instance or None, default=None
            None means that of the estimator.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        for name, value in (("n_samples", n_samples), ("steps", steps)):
            if not isinstance(value, numbers.Integral) or value < 0:
                raise ValueError(f"{name} is {value!r}; expected a non-negative integer")
        rng = check_random_state(self.random_state if random_state is None else random_state)
        dtype, n_features = self.components_.dtype, self.components_.shape[1]
        generator = np.random.default_rng(_seed_from(rng))
        start = self._machine().sample_base(n_samples, self._base_bias(), generator).astype(dtype)
        mask = None
        if clamp is not None:
            values = np.asarray(clamp, dtype=dtype)
            if values.shape not in ((n_features,), (n_samples, n_features)):
                raise ValueError(
                    f"clamp has shape {values.shape}; expected ({n_features},) or "
                    f"({n_samples}, {n_features}), with NaN where a unit is free"
                )
            held = ~np.isnan(np.broadcast_to(values, start.shape))
            start[held] = np.broadcast_to(values, start.shape)[held]
            mask = held.astype(np.uint8)
        states, means = self._synced_core().gibbs(start, steps, mask, _seed_from(rng))
        return means if mean else states

    # ------------------------------------------------------------------ likelihood

    def _pseudo_likelihood(self, v, rng) -> np.ndarray:
        # The feature to flip is a hash of the row and the seed, not of the row's position: scores do
        # not depend on which other rows are scored with it.
        rows = np.arange(v.shape[0])
        log_z = self._by_chunks(v, _hidden("log_partition")).astype(np.float64)
        index = (rows, (_mix(log_z.view(np.uint64) ^ np.uint64(_seed_from(rng))) % v.shape[1]).astype(int))
        if sp.issparse(v):
            change = 1 - 2 * np.asarray(v[index], dtype=self.components_.dtype).ravel()
            flipped = sp.csr_array(v) + sp.csr_array((change, index), shape=v.shape)
            flipped.sum_duplicates()
        else:
            flipped = np.array(v, dtype=self.components_.dtype)
            flipped[index] = 1 - flipped[index]
        difference = self._free_energy(flipped) - self._free_energy(v)
        return -v.shape[1] * np.logaddexp(0, -difference)

    def score_samples(self, X):
        """A score of each row that is larger for rows more like the training data.

        Bernoulli visibles: the stochastic pseudo-likelihood, with one feature of the row flipped, as
        in scikit-learn; which one depends on the row and on ``random_state``. Gaussian visibles: minus
        the free energy, that is the log density up to log Z.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Binary values for Bernoulli visibles.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Nats.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        if self.visible == "gaussian":
            return -self._free_energy(X)
        return self._pseudo_likelihood(X, check_random_state(self.random_state))

    def pseudo_log_likelihood(self, X, *, exact=False) -> float:
        """Mean pseudo-log-likelihood, nats per sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        exact : bool, default=False
            Flip every feature of every row (n_features passes) instead of one drawn at random.
        """
        check_is_fitted(self)
        if self.visible != "bernoulli":
            raise ValueError(
                f"pseudo_log_likelihood needs visible='bernoulli'; this model has {self.visible!r}"
            )
        if not exact:
            return float(self.score_samples(X).mean())
        X = self._validate(X, reset=False)
        v = X.toarray() if sp.issparse(X) else np.array(X)
        energy, total = self._free_energy(v), 0.0
        for i in range(v.shape[1]):
            v[:, i] = 1 - v[:, i]
            total -= np.logaddexp(0, energy - self._free_energy(v)).mean()
            v[:, i] = 1 - v[:, i]
        return float(total)

    def free_energy(self, X):
        """Free energy ``F(v) = -log sum_h exp(-E(v, h))``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        F : ndarray of shape (n_samples,)
            Nats; ``log p(v) = -F(v) - log Z``.
        """
        check_is_fitted(self)
        return self._free_energy(self._validate(X, reset=False))

    def _machine(self) -> Machine:
        return Machine(
            self.components_.T.astype(np.float64),
            self.intercept_visible_.astype(np.float64),
            self.intercept_hidden_.astype(np.float64),
            self.log_variance_.astype(np.float64) if self.visible == "gaussian" else None,
        )

    def _base_bias(self) -> np.ndarray:
        # logits of the mean of the data, kept away from 0 and 1: annealing starts near the data
        p = np.clip(self._data_mean.astype(np.float64), 0.005, 0.995)
        return np.log(p / (1 - p))

    def log_partition(
        self,
        method="ais",
        *,
        n_chains=100,
        n_temperatures=10_000,
        start=None,
        random_state=None,
    ) -> Estimate:
        """Log of the partition function.

        Parameters
        ----------
        method : {"ais", "reverse_ais", "exact"}, default="ais"
            Annealed importance sampling from the base-rate machine (a stochastic lower bound), the
            reverse from samples of the model (a stochastic upper bound), or enumeration of the smaller
            layer (at most 22 units).
        n_chains : int, default=100
        n_temperatures : int, default=10000
        start : array-like of shape (n_chains, n_features) or None, default=None
            For "reverse_ais": samples of the model. None draws them exactly where a layer can be
            enumerated, else runs 5000 Gibbs steps, which is approximate.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        Estimate
            ``value`` and 95 % ``interval`` in nats.
        """
        check_is_fitted(self)
        machine = self._machine()
        if method == "exact":
            value = machine.log_partition()
            return Estimate(value, (value, value), "exact")
        if method not in ("ais", "reverse_ais"):
            raise ValueError(f"method is {method!r}; expected 'ais', 'reverse_ais' or 'exact'")
        for name, count in (("n_chains", n_chains), ("n_temperatures", n_temperatures)):
            if not isinstance(count, numbers.Integral) or count < 1:
                raise ValueError(f"{name} is {count!r}; expected a positive integer")
        rng = check_random_state(self.random_state if random_state is None else random_state)
        generator = np.random.default_rng(_seed_from(rng))
        if method == "reverse_ais" and start is None:
            if machine.enumerable():
                start = machine.sample_exact(n_chains, generator)
            else:
                start = self.sample(n_chains, 5000, random_state=rng)
        return annealed_log_partition(
            self._synced_core(),
            machine,
            reverse=method == "reverse_ais",
            start=start,
            base_bias=self._base_bias() if self.visible == "bernoulli"
            else machine.visible_bias,
            n_chains=n_chains,
            n_temperatures=n_temperatures,
            dtype=self.components_.dtype,
            rng=generator,
        )

    def log_likelihood(self, X, method="ais", **options) -> Estimate:
        """Mean log-likelihood of X, nats per sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        method, **options
            As for :meth:`log_partition`.

        Returns
        -------
        Estimate
        """
        mean = -float(np.mean(self.free_energy(X), dtype=np.float64))
        log_z = self.log_partition(method, **options)
        low, high = log_z.interval
        return Estimate(mean - log_z.value, (mean - high, mean - low), log_z.method)

    # ------------------------------------------------------------------ files

    def save(self, path) -> None:
        """Write the model, with everything needed to go on training, to a safetensors file."""
        check_is_fitted(self)
        save_model(self, path)

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors = {
            "components": np.ascontiguousarray(self.components_),
            "intercept_hidden": self.intercept_hidden_,
            "intercept_visible": self.intercept_visible_,
            "log_variance": self.log_variance_,
            "h_samples": self.h_samples_,
            "data_mean": self._data_mean,
        }
        for name, value in (self._optimizer or {}).items():
            tensors[f"optimizer.{name}"] = value
        # Not the paths: a file from elsewhere must not name what the next fit reads or writes.
        parameters = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if isinstance(value, (bool, int, float, str, type(None)))
            and name not in ("checkpoint", "resume")
        }
        meta = {
            "parameters": parameters,
            "seed": str(self._seed),
            "step": self._step,
            "n_iter": self.n_iter_,
            "history": self.history_,
        }
        if hasattr(self, "feature_names_in_"):
            meta["feature_names"] = [str(name) for name in self.feature_names_in_]
        return tensors, meta

    def _set_state(self, tensors, meta) -> None:
        components = np.asarray(tensors["components"])
        hiddens, visibles = components.shape
        chains = tensors["h_samples"].shape[0]
        packed = _core.Rbm(visibles, hiddens, False, components.dtype.name, components.dtype.name)
        shapes = {
            "components": (hiddens, visibles),
            "intercept_hidden": (hiddens,),
            "intercept_visible": (visibles,),
            "log_variance": (visibles,),
            "data_mean": (visibles,),
            "h_samples": (chains, hiddens),
            **{f"optimizer.{name}": x.shape for name, x in packed.get_state().items()},
        }
        for name, shape in shapes.items():
            if name not in tensors:
                if name.startswith("optimizer."):
                    continue
                raise ValueError(f"the file has no tensor {name!r}")
            tensor = tensors[name]
            if tensor.shape != shape or tensor.dtype != components.dtype:
                raise ValueError(
                    f"tensor {name!r} of the file is {tensor.shape} {tensor.dtype}; expected "
                    f"{shape} {components.dtype}"
                )
            if not np.isfinite(tensor).all():
                raise ValueError(f"tensor {name!r} of the file has values that are not finite")
        self.components_ = components
        self.intercept_hidden_ = np.array(tensors["intercept_hidden"])
        self.intercept_visible_ = np.array(tensors["intercept_visible"])
        self.log_variance_ = np.array(tensors["log_variance"])
        self.h_samples_ = np.array(tensors["h_samples"])
        self._data_mean = np.array(tensors["data_mean"])
        self._optimizer = {
            name: np.array(tensors[f"optimizer.{name}"])
            for name in _OPTIMIZER
            if f"optimizer.{name}" in tensors
        } or None
        self._seed, self._step = int(meta["seed"]), int(meta["step"])
        self.n_iter_, self.history_ = int(meta["n_iter"]), dict(meta["history"])
        self.n_features_in_ = visibles
        self._n_features_out = hiddens
        if "feature_names" in meta:
            self.feature_names_in_ = np.array(meta["feature_names"], dtype=object)

    @classmethod
    def _from_state(cls, tensors, meta):
        model = cls(**meta["parameters"])
        model._set_state(tensors, meta)
        return model

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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class BernoulliRBM(RBM):
    """:class:`RBM` under the name and with exactly the parameters of scikit-learn's class.

    Changing ``from sklearn.neural_network import BernoulliRBM`` to
    ``from unsupfast import BernoulliRBM`` is the whole port: persistent contrastive divergence over the
    rows in their order.

    Parameters
    ----------
    n_components, learning_rate, batch_size, n_iter, verbose, random_state
        As for :class:`RBM`.
    """

    def __init__(
        self,
        n_components=256,
        *,
        learning_rate=0.1,
        batch_size=10,
        n_iter=10,
        verbose=0,
        random_state=None,
    ):
        super().__init__(
            n_components,
            learning_rate=learning_rate,
            batch_size=batch_size,
            n_iter=n_iter,
            verbose=verbose,
            random_state=random_state,
            shuffle=False,
        )


register_model(RBM)
register_model(BernoulliRBM)


def _is_stream(X) -> bool:
    return (
        isinstance(X, Iterable)
        and not isinstance(X, (list, tuple, str, bytes, dict))
        and not sp.issparse(X)
        and not hasattr(X, "__array__")
        and not hasattr(X, "shape")
    )


def _hidden(what: str):
    return lambda core, rows: core.hidden_given_visible(rows, what)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): well-mixed bits of 64-bit words."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _rowwise(x, function):
    """Applies a function of two-dimensional rows to rows or to a single one."""
    if sp.issparse(x):
        return function(sp.csr_array(x))
    x = np.asarray(x)
    return function(x[None])[0] if x.ndim == 1 else function(x)


class _Progress:
    """A tqdm bar over the rows of an epoch, or nothing."""

    def __init__(self, shown: bool, epoch: int, n_epochs: int, rows: int):
        self._bar = None
        if shown:
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=rows, desc=f"epoch {epoch}/{n_epochs}", unit="rows", leave=False
            )

    def __enter__(self):
        return self if self._bar is not None else None

    def __call__(self, done: int) -> None:
        assert self._bar is not None
        self._bar.update(done - self._bar.n)

    def __exit__(self, *error) -> None:
        if self._bar is not None:
            self._bar.close()

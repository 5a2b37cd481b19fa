"""Convolutional restricted Boltzmann machine."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import _core
from ..io import register_model
from ..likelihood import Estimate, estimate_log_partition
from ._arguments import check_integer, check_option, check_real
from ._conv_machine import ConvMachine
from ._device import choose_gpu
from ._gibbs_training import GibbsTraining
from ._rbm_core import checked_states, concatenated, seed_from
from ._saved import Saved, check_tensor
from ._stream import is_stream

__all__ = ["ConvRBM"]

_CHUNK_VALUES = 1 << 24  # detection units of a call of the compiled code
_LEARNED = ("components_", "intercept_hidden_", "intercept_visible_", "v_samples_")
_CARRIED = ("velocity", "visible_velocity", "hidden_velocity", "activity")


class ConvRBM(
    GibbsTraining, Saved, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Convolutional restricted Boltzmann machine with probabilistic max-pooling [1]_.

    Every filter is laid upon every place of the image where it fits, and has a detection unit
    there. In each block of ``pool`` x ``pool`` neighbours of a filter's map at most one detection
    unit is on; the block's pooling unit is on if one of them is. With the correlation ``w_k * v``
    of filter k and image,

    ``E(v, h) = -sum_k h_k . (w_k * v) - sum_k b_k sum h_k - sum_c a_c sum v_c``

    for Bernoulli visibles, and ``(v - a)^2 / 2`` instead of ``-a v`` for Gaussian ones. Rows of X
    are images: pixels row after row, the channels of a pixel side by side.

    Parameters
    ----------
    n_filters : int, default=24
    filter_size : int or (int, int), default=11
        Rows and columns of a filter.
    pool : int, default=2
        Side of a pooling block; it must divide the sides of the map of detection units,
        ``image - filter_size + 1``. 1: no pooling.
    visible : {"bernoulli", "gaussian"}, default="bernoulli"
        Bernoulli visibles take values in [0, 1], as probabilities. Gaussian ones have unit
        variance; standardise (or whiten) the data.
    image_shape : (int, int), (int, int, int) or None, default=None
        Rows, columns and channels (default 1). None: one channel, square if the number of columns
        of X is a square, else a single row.
    method : {"cd", "pcd"}, default="cd"
        Where the model's samples come from: ``k`` Gibbs steps from the data [2]_, or chains that
        persist [3]_.
    k : int, sequence of int or callable, default=1
        Gibbs steps per update; a schedule like ``learning_rate``.
    learning_rate : float, sequence of float or callable, default=0.2
        Step on the gradient of the mean log-likelihood, divided by the number of positions of a
        filter: its entries are then as large as those of a dense machine's. A sequence gives one
        value per epoch (the last one holds on); a callable is given the epoch from 0.
    momentum : float, sequence or callable, default=0.5
        In [0, 1).
    weight_decay : float, default=0.0
        L2 penalty on the filters, in units of the gradient.
    sparsity_target : float or None, default=0.02
        Desired mean activity of detection units, in (0, 1): filters overlap, so that the machine is
        overcomplete, and without it they learn little more than single pixels [1]_. Hidden biases
        start where that is the activity without an image.
    sparsity_cost : float, default=1.0
        Weight of the push towards it, on the hidden biases, as in [1]_.
    batch_size : int, default=50
        Images per mini-batch; also the number of persistent chains.
    n_iter : int, default=10
        Epochs.
    shuffle : bool, default=True
        Visit the rows in a new random order every epoch.
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        As in :class:`unsupfast.RBM`.
    device : {"auto", "cpu", "cuda", "cuda:<number>"}, default="auto"
        Where to train and compute, as in :class:`unsupfast.RBM`.
    callbacks : iterable of callable or None, default=None
        Each is called with an :class:`unsupfast.Event` after every epoch; returning True stops.
    checkpoint : path or None, default=None
        File to write the whole state of training to, every ``checkpoint_every`` epochs.
    checkpoint_every : int, default=1
    resume : path or None, default=None
        A checkpoint to continue from: the result is bitwise that of an uninterrupted run.
    verbose : int, default=0
        1 prints a line per epoch; 2 adds a progress bar.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial filters, the order of the rows, and all sampling.

    Attributes
    ----------
    components_ : ndarray of shape (n_filters, rows * columns * channels)
        Filters, each laid out as images are.
    intercept_hidden_ : ndarray of shape (n_filters,)
    intercept_visible_ : ndarray of shape (channels,)
    v_samples_ : ndarray of shape (batch_size, n_features)
        Visible states of the persistent chains.
    image_shape_, filter_shape_, detection_shape_, pooling_shape_ : tuple of int
        Rows, columns and channels (filters) of images, filters and both hidden layers.
    history_ : dict of str to list
        One value per epoch: ``epoch``, ``seconds``, ``reconstruction_error`` (mean squared, on up
        to 500 training rows) and ``activity`` (mean of detection units over the last mini-batches).
    n_iter_ : int
        Epochs done.
    n_features_in_ : int

    References
    ----------
    .. [1] H. Lee, R. Grosse, R. Ranganath, A. Ng. "Convolutional deep belief networks for scalable
           unsupervised learning of hierarchical representations". ICML 2009.
    .. [2] G. Hinton. "Training products of experts by minimizing contrastive divergence". Neural
           Computation 14, 2002.
    .. [3] T. Tieleman. "Training restricted Boltzmann machines using approximations to the
           likelihood gradient". ICML 2008.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.random.default_rng(0).integers(0, 2, (20, 8 * 8)).astype(np.float32)
    >>> rbm = uf.ConvRBM(4, 3, pool=2, n_iter=2, random_state=0).fit(X)
    >>> rbm.pooling_shape_, rbm.transform(X).shape
    ((3, 3, 4), (20, 36))

    Its pooling units are the image of the next machine of a convolutional deep belief network:

    >>> from sklearn.pipeline import make_pipeline
    >>> second = uf.ConvRBM(6, 2, pool=1, image_shape=(3, 3, 4), n_iter=2, random_state=0)
    >>> make_pipeline(rbm, second).fit_transform(X).shape
    (20, 24)
    """

    components_: np.ndarray
    intercept_hidden_: np.ndarray
    intercept_visible_: np.ndarray
    v_samples_: np.ndarray
    image_shape_: tuple[int, int, int]
    filter_shape_: tuple[int, int, int]
    detection_shape_: tuple[int, int, int]
    pooling_shape_: tuple[int, int, int]
    _data_mean: np.ndarray
    _carried: dict[str, np.ndarray]
    _step: int
    _monitor_rows = 500
    _trained = (*_LEARNED, "_carried", "_step", "n_iter_")

    def __init__(
        self,
        n_filters=24,
        filter_size=11,
        *,
        pool=2,
        visible="bernoulli",
        image_shape=None,
        method="cd",
        k=1,
        learning_rate=0.2,
        momentum=0.5,
        weight_decay=0.0,
        sparsity_target=0.02,
        sparsity_cost=1.0,
        batch_size=50,
        n_iter=10,
        shuffle=True,
        precision="auto",
        device="auto",
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
        verbose=0,
        random_state=None,
    ):
        self.n_filters = n_filters
        self.filter_size = filter_size
        self.pool = pool
        self.visible = visible
        self.image_shape = image_shape
        self.method = method
        self.k = k
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.shuffle = shuffle
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.verbose = verbose
        self.random_state = random_state

    # ------------------------------------------------------------------ arguments

    def _check_parameters(self) -> None:
        self._check_epochs()
        for name in ("n_filters", "pool"):
            check_integer(self, name, 1)
        check_option(self, "visible", ("bernoulli", "gaussian"))
        check_option(self, "method", ("cd", "pcd"))
        check_option(self, "precision", ("auto", "float32", "float64", "bfloat16"))
        for name in ("weight_decay", "sparsity_cost"):
            check_real(self, name, 0)
        if self.sparsity_target is not None:
            check_real(self, "sparsity_target", 0, 1, above=True)
        self._check_schedules(self._rates, self._gibbs_steps)

    def _options(self, epoch: int, batch_size: int) -> Any:
        options = _core.ConvOptions()
        options.batch_size = batch_size
        options.persistent = self.method == "pcd"
        options.k = self._gibbs_steps(epoch)
        options.learning_rate, options.momentum = self._rates(epoch)
        options.l2 = self.weight_decay
        options.sparsity_target = -1.0 if self.sparsity_target is None else self.sparsity_target
        options.sparsity_cost = self.sparsity_cost
        return options

    def _check_units(self, n_features: int) -> None:
        """The shapes of all layers, or what does not fit."""
        shape = self.image_shape
        if shape is None:
            side = math.isqrt(n_features)
            shape = (side, side) if side * side == n_features else (1, n_features)
        height, width, *rest = _sizes("image_shape", shape, (2, 3))
        image = height, width, rest[0] if rest else 1
        if math.prod(image) != n_features:
            raise ValueError(
                f"X has {n_features} columns; expected {math.prod(image)}, the pixels of "
                f"image_shape = {self.image_shape}"
            )
        size = self.filter_size
        rows, cols = (
            _sizes("filter_size", size, (2,))
            if isinstance(size, (tuple, list))
            else 2 * _sizes("filter_size", (size,), (1,))
        )
        if rows > image[0] or cols > image[1]:
            raise ValueError(
                f"filter_size is {size}; expected filters no larger than the image of {image[0]} x "
                f"{image[1]} pixels"
            )
        detection = image[0] - rows + 1, image[1] - cols + 1
        if detection[0] % self.pool or detection[1] % self.pool:
            raise ValueError(
                f"pool is {self.pool}; expected a divisor of the sides of the maps of detection "
                f"units, which are {detection[0]} x {detection[1]}"
            )
        self.image_shape_, self.filter_shape_ = image, (rows, cols, image[2])
        self.detection_shape_ = (*detection, self.n_filters)
        self.pooling_shape_ = (
            detection[0] // self.pool,
            detection[1] // self.pool,
            self.n_filters,
        )

    def _input_dtypes(self) -> Any:
        if self.precision in ("float32", "bfloat16"):
            return np.float32
        return np.float64 if self.precision == "float64" else (np.float64, np.float32)

    def _validate(self, X, *, reset: bool):
        dtype = getattr(X, "dtype", None)
        if isinstance(dtype, np.dtype) and not dtype.isnative:
            X = X.astype(dtype.newbyteorder("="))
        X = validate_data(self, X, reset=reset, dtype=self._input_dtypes(), order="C")
        if self.visible == "bernoulli" and (X.min() < 0 or X.max() > 1):
            bad = X[(X < 0) | (X > 1)][0]
            raise ValueError(
                f"X has the value {bad:g}; expected values in [0, 1] for visible='bernoulli' "
                "(visible='gaussian' takes any)"
            )
        return X

    # ------------------------------------------------------------------ the compiled machine

    @property
    def _dtype(self) -> Any:
        return self.components_.dtype

    def _synced_core(self) -> Any:
        """A compiled machine with the parameters, made when they are not those of the last one."""
        key = (
            self.components_,
            self.intercept_visible_,
            self.intercept_hidden_,
            self.precision,
            self._gpu(),
        )
        cached = self.__dict__.get("_core_cache")
        if cached is not None and all(a is b for a, b in zip(cached[0], key, strict=True)):
            return cached[1]
        core = self._new_core()
        self._core_cache = (key, core)
        return core

    def _new_core(self) -> Any:
        dtype = self.components_.dtype.name
        precision = "bfloat16" if self.precision == "bfloat16" else dtype
        core = _core.ConvRbm(
            self.image_shape_,
            len(self.components_),
            self.filter_shape_[:2],
            self.pool,
            self.visible,
            dtype,
            precision,
            self._gpu(),
        )
        core.set_parameters(self.components_, self.intercept_visible_, self.intercept_hidden_)
        return core

    def _gpu(self) -> int:
        """The GPU this model trains on, or -1 for the CPU."""
        positions = math.prod(self.detection_shape_[:2])
        return choose_gpu(self.device, self.batch_size * positions * self.components_.size)

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_core_cache", None)
        return state

    def _by_chunks(self, X, function, dtype=None) -> np.ndarray:
        core = self._synced_core()
        rows = max(1, _CHUNK_VALUES // math.prod(self.detection_shape_))

        def part(rows):
            return function(core, np.ascontiguousarray(rows, self.components_.dtype))

        return concatenated(X, part, rows)

    def _machine(self) -> ConvMachine:
        return ConvMachine(
            self.components_.reshape(-1, *self.filter_shape_).astype(np.float64),
            self.intercept_visible_.astype(np.float64),
            self.intercept_hidden_.astype(np.float64),
            self.image_shape_,
            self.pool,
            self.visible == "gaussian",
        )

    # ------------------------------------------------------------------ training

    def _initialise(self, n_features: int, dtype, rng: np.random.RandomState) -> None:
        self._check_units(n_features)
        taps, channels = math.prod(self.filter_shape_), self.image_shape_[2]
        self.components_ = rng.normal(0, 0.01, (self.n_filters, taps)).astype(dtype)
        # Detection units start at the activity wanted: pushed there from above, filters die out.
        start, units = self.sparsity_target, self.pool**2
        bias = 0.0 if start is None or start * units >= 1 else math.log(start / (1 - units * start))
        self.intercept_hidden_ = np.full(self.n_filters, bias, dtype)
        self.intercept_visible_ = np.zeros(channels, dtype)
        self._n_features_out = math.prod(self.pooling_shape_)
        self._seed, self._step = seed_from(rng), 0
        self._carried = self._new_core().get_state()
        self.n_iter_, self.history_ = 0, {}

    def _meet(self, X, missing=None) -> None:
        pixels = X.reshape(-1, self.image_shape_[2])
        self._data_mean = pixels.mean(axis=0, dtype=np.float64).astype(X.dtype)
        draws = np.random.default_rng([self._seed, 5])
        chains = self._machine().sample_base(self.batch_size, self._base_bias(), draws)
        self.v_samples_ = chains.astype(X.dtype)

    def _rows(self, X) -> Any:
        return X

    def _load_core(self) -> Any:
        core = self._new_core()
        core.set_state(self._carried)
        core.set_chains(np.ascontiguousarray(self.v_samples_))
        core.seed, core.step = self._seed, self._step
        return core

    def _store_core(self, core) -> None:
        self.components_, self.intercept_visible_, self.intercept_hidden_ = core.get_parameters()
        self.v_samples_, self._carried = core.get_chains(), core.get_state()
        self._step = core.step

    def _update(self, core, rows, order, row_weight, options, tick) -> Any:
        return core.train(rows, order, options, tick)

    def _measure(self, X, validate=None) -> dict[str, float]:
        error = float(((self._reconstruct(X) - X) ** 2).mean(dtype=np.float64))
        activity = float(self._carried["activity"].mean(dtype=np.float64))
        return {"reconstruction_error": error, "activity": activity}

    def _reported(self, metrics) -> str:
        shown = (f"{name} = {metrics[name]:.4f}" for name in ("reconstruction_error", "activity"))
        return ", ".join(shown).replace("_", " ")

    def _components_shape(self, n_features: int) -> tuple[int, ...]:
        return self.components_.shape

    def fit(self, X, y=None):
        """Fit the model to X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or iterable of those
            Images. An iterable is read once per epoch and shuffled within blocks of 64
            mini-batches.
        y : ignored

        Returns
        -------
        self : ConvRBM

        Raises
        ------
        ValueError, TypeError
            For bad arguments, naming the argument.
        DivergenceError
            If a parameter stops being finite; the state before that epoch is kept.
        """
        self._check_parameters()
        if is_stream(X):
            return self._fit_stream(X)
        return self._fit_rows(self._validate(X, reset=True))

    def partial_fit(self, X, y=None):
        """One update on the mini-batch X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : ConvRBM
        """
        self._check_parameters()
        first = not hasattr(self, "components_")
        X = self._validate(X, reset=first)
        X = np.ascontiguousarray(X, X.dtype if first else self._dtype)
        return self._update_once(X, None, first)

    # ------------------------------------------------------------------ the layers

    def transform(self, X, layer="pooling"):
        """Mean hidden activities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        layer : {"pooling", "detection"}, default="pooling"

        Returns
        -------
        H : ndarray of shape (n_samples, n_hidden)
            Images of shape ``pooling_shape_`` or ``detection_shape_``, a row each: probabilities
            that a unit is on.
        """
        check_is_fitted(self)
        if layer not in ("pooling", "detection"):
            raise ValueError(f"layer is {layer!r}; expected 'pooling' or 'detection'")
        X = self._validate(X, reset=False)
        what = "pooled" if layer == "pooling" else "mean"
        return self._by_chunks(X, lambda core, rows: core.hidden_given_visible(rows, what))

    def reconstruct(self, X):
        """Mean of the visible layer given the mean activities of the detection units of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        return self._reconstruct(self._validate(X, reset=False))

    def _reconstruct(self, X):
        def both(core, rows):
            return core.visible_given_hidden(core.hidden_given_visible(rows, "mean"), "mean")

        return self._by_chunks(X, both)

    def gibbs(self, v):
        """One Gibbs step: hidden states given v, then visible states given those.

        Parameters
        ----------
        v : array-like of shape (n_samples, n_features)

        Returns
        -------
        v_new : ndarray of shape (n_samples, n_features)
            Boolean for Bernoulli visibles.
        """
        check_is_fitted(self)
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        v = checked_states(v, "v", self.components_.dtype, self.n_features_in_)
        core = self._synced_core()
        new, _ = core.gibbs(
            np.ascontiguousarray(np.atleast_2d(v)), 1, seed_from(self.random_state_)
        )
        new = new.reshape(v.shape)
        return new > 0.5 if self.visible == "bernoulli" else new

    def sample(self, n_samples=1, steps=1000, *, mean=False, start=None, random_state=None):
        """Draw from the model by Gibbs sampling.

        Parameters
        ----------
        n_samples : int, default=1
        steps : int, default=1000
            Gibbs steps.
        mean : bool, default=False
            Return the conditional means of the last step, not the states.
        start : array-like of shape (n_samples, n_features) or None, default=None
            Visible states to start from. None draws every pixel at the mean of the training data.
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
        if start is None:
            generator = np.random.default_rng(seed_from(rng))
            start = self._machine().sample_base(n_samples, self._base_bias(), generator)
        start = checked_states(start, "start", self.components_.dtype, self.n_features_in_)
        if start.shape != (n_samples, self.n_features_in_):
            raise ValueError(
                f"start has shape {start.shape}; expected ({n_samples}, {self.n_features_in_})"
            )
        core = self._synced_core()
        states, means = core.gibbs(np.ascontiguousarray(start), steps, seed_from(rng))
        return means if mean else states

    # ------------------------------------------------------------------ likelihood

    def free_energy(self, X):
        """Free energy ``F(v) = -log sum_h exp(-E(v, h))``, in closed form.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        F : ndarray of shape (n_samples,)
            Nats; ``log p(v) = -F(v) - log Z``.
        """
        check_is_fitted(self)
        return self._free_energy(self._validate(X, reset=False))

    def _free_energy(self, X):
        log_z = self._by_chunks(
            X, lambda core, rows: core.hidden_given_visible(rows, "log_partition")
        )
        machine = self._machine()
        own = concatenated(X, lambda rows: machine.visible_log_weight(rows.astype(np.float64)))
        return (-own).astype(log_z.dtype) - log_z

    def score_samples(self, X):
        """Minus the free energy: the log density of each row up to log Z.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Nats.
        """
        return -self.free_energy(X)

    def _base_bias(self) -> np.ndarray:
        # at which pixels have the mean of the data's: annealing starts near them
        mean = self._data_mean.astype(np.float64)
        return mean if self.visible == "gaussian" else logit(np.clip(mean, 1e-3, 1 - 1e-3))

    def log_partition(
        self, method="ais", *, n_chains=100, n_temperatures=10_000, start=None, random_state=None
    ) -> Estimate:
        """Log of the partition function.

        Parameters
        ----------
        method : {"ais", "reverse_ais", "exact"}, default="ais"
            Annealed importance sampling from the machine without filters (a stochastic lower
            bound), the reverse from samples of the model (a stochastic upper bound), or enumeration
            of the smaller layer (at most 2^22 joint states).
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
        rng = check_random_state(self.random_state if random_state is None else random_state)
        generator = np.random.default_rng(seed_from(rng))
        if start is not None:
            start = np.atleast_2d(checked_states(start, "start", np.float64, self.n_features_in_))
        return estimate_log_partition(
            self._synced_core(),
            self._machine(),
            method,
            start=start,
            equilibrium=lambda: self.sample(n_chains, 5000, random_state=rng),
            base_bias=self._base_bias(),
            n_chains=n_chains,
            n_temperatures=n_temperatures,
            dtype=self.components_.dtype,
            rng=generator,
        )

    def log_likelihood(self, X, method="ais", **options) -> Estimate:
        """Mean log-likelihood of X, nats per sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
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

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors = {name.rstrip("_"): getattr(self, name) for name in _LEARNED}
        tensors["data_mean"] = self._data_mean
        tensors.update({f"carried.{name}": self._carried[name] for name in _CARRIED})
        meta = {
            **self._description(),
            "image_shape": list(self.image_shape_),
            "seed": str(self._seed),
            "step": self._step,
            "n_iter": self.n_iter_,
            "history": self.history_,
        }
        return tensors, meta

    def _set_state(self, tensors, meta) -> None:
        image = tuple(int(n) for n in meta["image_shape"])
        n_features = math.prod(image)
        self._check_units(n_features)
        if self.image_shape_ != image:
            raise ValueError(
                f"the file holds images of shape {image}; expected {self.image_shape_}"
            )
        taps, channels = math.prod(self.filter_shape_), image[2]
        chains = tensors["v_samples"].shape[0] if "v_samples" in tensors else 0
        shapes = {
            "components": (self.n_filters, taps),
            "intercept_hidden": (self.n_filters,),
            "intercept_visible": (channels,),
            "v_samples": (chains, n_features),
            "data_mean": (channels,),
            "carried.velocity": (self.n_filters * taps,),
            "carried.visible_velocity": (channels,),
            "carried.hidden_velocity": (self.n_filters,),
            "carried.activity": (self.n_filters,),
        }
        for name, shape in shapes.items():
            check_tensor(tensors, name, shape, tensors["components"].dtype)
        for name in _LEARNED:
            setattr(self, name, np.array(tensors[name.rstrip("_")]))
        self._data_mean = np.array(tensors["data_mean"])
        self._carried = {name: np.array(tensors[f"carried.{name}"]) for name in _CARRIED}
        self._seed, self._step = int(meta["seed"]), int(meta["step"])
        self.n_iter_, self.history_ = int(meta["n_iter"]), dict(meta["history"])
        self.n_features_in_ = n_features
        self._n_features_out = math.prod(self.pooling_shape_)
        self._set_names(meta)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _sizes(name: str, value: Any, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """value as a tuple of positive integers, so many as are allowed."""
    if not isinstance(value, (tuple, list)) or not all(
        isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in value
    ):
        raise TypeError(f"{name} is {value!r}; expected integers")
    if len(value) not in lengths or min(value) < 1:
        wanted = " or ".join(map(str, lengths))
        raise ValueError(f"{name} is {value!r}; expected {wanted} positive numbers")
    return tuple(int(n) for n in value)


register_model(ConvRBM)

"""Deep Boltzmann machine."""

from __future__ import annotations

import itertools
import numbers
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy import special
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import _core
from ..io import load_state, register_model
from ..likelihood import Estimate, Machine, estimate_log_partition
from ..units import Bernoulli, Layer
from ._arguments import check_integer, check_real, check_widths
from ._dbm_start import check_pretrain, pretrained
from ._device import choose_gpu
from ._rbm_core import clamped, concatenated, seed_from
from ._rbm_training import RBMTraining
from ._saved import check_tensor
from ._stream import is_stream

__all__ = ["DBM"]

_ROWS = 1024  # at a time: their means, of all layers, stay small
_EQUILIBRIUM = 5000  # Gibbs steps from base-rate states to samples of the model
_UNKNOWN_UNITS = {"multinomial": "ReplicatedSoftmax", "drelu": "DoubleReLU"}


class DBM(RBMTraining):
    """Deep Boltzmann machine: layers of units, each joined to the next without direction [1]_.

    ``E(x_0 .. x_L) = -sum_i b_i'x_i - sum_i x_i'W_i x_{i+1}`` for Bernoulli units, x_0 the data.
    Hidden units given the data are approximated by mean field, the fixed point that maximises a
    lower bound of the likelihood; the model's states come from Gibbs chains that persist,
    of even and odd layers in turn. The gradient is centred by default, with which no pre-training
    is needed [2]_.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(500, 1000)
        Widths of the hidden layers, from the lowest; any number of them.
    learning_rate : float, sequence of float or callable, default=0.01
        Step on the gradient of the bound, by epoch, as for :class:`unsupfast.RBM`. Persistent
        chains need it to fall towards the end.
    batch_size : int, default=100
        Rows per mini-batch; also the number of persistent chains.
    n_iter : int, default=10
        Epochs.
    k : int, sequence of int or callable, default=5
        Gibbs steps of the chains per update.
    mean_field_iter : int, default=10
        Largest number of sweeps through the hidden layers.
    mean_field_tol : float, default=1e-3
        A row's sweeps end when none of its mean activities changes by more.
    visible : kind of units, default="bernoulli"
        As for :class:`unsupfast.RBM`, but for double rectified units and counts. Hidden units are
        Bernoulli.
    momentum, weight_decay, sparsity_target, sparsity_cost, learn_sigma
        As for :class:`unsupfast.RBM`; defaults: 0.0, 0.0, None, 0.1, True.
    centering : bool, default=True
        Use the centred gradient.
    pretrain : {None, "rbm"}, RBM, or sequence of RBM, default=None
        Start from machines trained greedily, layer by layer. What comes into the hidden units of
        the lowest, and into the visible ones of the highest, is doubled, in place of the layer
        that is missing there; weights of those between are halved in the end [1]_. "rbm": by CD-1;
        an RBM, or one for each layer: as those say, copied, with the layer's width and a seed of
        the layer's.
    pretrain_iter : int, default=10
        Epochs of "rbm", for each layer.
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        As for :class:`unsupfast.RBM`.
    device : {"auto", "cpu", "cuda", "cuda:<number>"}, default="auto"
        As for :class:`unsupfast.RBM`; machines of "rbm" train there too.
    shuffle, validation_fraction, patience, callbacks, checkpoint, checkpoint_every, resume, \
verbose, random_state
        As for :class:`unsupfast.RBM`. The held-out score is the reconstruction's. A checkpoint is
        of the training of all layers together, not of pre-training.

    Attributes
    ----------
    components_ : list of ndarray
        Weights between each layer and the one above: (units above, units below).
    intercepts_ : list of ndarray
        Biases of every layer, the visible one first.
    log_variance_ : ndarray of shape (n_features,)
        Log variances of Gaussian visibles (zeros for others).
    h_samples_ : ndarray of shape (batch_size, units of odd layers)
        States of the persistent chains: of layers 1, 3, ... side by side.
    history_ : dict of str to list
        One value per epoch: ``epoch``, ``seconds``, ``reconstruction_error`` (mean squared, on up
        to 1000 training rows), ``mean_field_sweeps`` (of a row, on average), and the held-out
        measures ``free_energy_gap`` (of the variational free energy) and
        ``validation_reconstruction_error``.
    n_iter_ : int
        Epochs done.
    n_features_in_ : int

    References
    ----------
    .. [1] R. Salakhutdinov, G. Hinton. "Deep Boltzmann machines". AISTATS 2009.
    .. [2] G. Montavon, K.-R. Mueller. "Deep Boltzmann machines and the centering trick". Neural
           Networks: Tricks of the Trade, 2nd ed., 2012.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=np.float32)
    >>> dbm = uf.DBM((3, 2), random_state=0).fit(X)
    >>> dbm.transform(X).shape, dbm.transform(X, layer=1).shape, dbm.sample(5, 10).shape
    ((4, 2), (4, 3), (5, 3))
    """

    # What of RBM's parameters a deep machine has no choice of.
    n_components = 1
    method = "pcd"
    optimizer = "sgd"
    n_temperatures = 2
    clip_norm = max_norm = None
    l1 = selectivity_cost = 0.0
    selectivity_target = None
    hidden = "bernoulli"

    components_: list[np.ndarray]  # type: ignore[assignment]
    intercepts_: list[np.ndarray]
    _may_miss = False
    _trained = (
        "components_",
        "intercepts_",
        "log_variance_",
        "h_samples_",
        "_optimizer",
        "_step",
        "n_iter_",
    )

    def __init__(
        self,
        hidden_layer_sizes=(500, 1000),
        *,
        learning_rate=0.01,
        batch_size=100,
        n_iter=10,
        k=5,
        mean_field_iter=10,
        mean_field_tol=1e-3,
        visible="bernoulli",
        momentum=0.0,
        weight_decay=0.0,
        centering=True,
        sparsity_target=None,
        sparsity_cost=0.1,
        learn_sigma=True,
        pretrain=None,
        pretrain_iter=10,
        precision="auto",
        device="auto",
        shuffle=True,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.k = k
        self.mean_field_iter = mean_field_iter
        self.mean_field_tol = mean_field_tol
        self.visible = visible
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.centering = centering
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.learn_sigma = learn_sigma
        self.pretrain = pretrain
        self.pretrain_iter = pretrain_iter
        self.precision = precision
        self.device = device
        self.shuffle = shuffle
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.verbose = verbose
        self.random_state = random_state

    # ------------------------------------------------------------------ arguments

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_widths("hidden_layer_sizes", self.hidden_layer_sizes)
        check_integer(self, "mean_field_iter", 1)
        check_real(self, "mean_field_tol", 0)
        check_integer(self, "pretrain_iter", 1)
        if self.precision == "int16":
            raise ValueError(
                "precision is 'int16', but mean activities are no bits; expected 'auto', "
                "'float32', 'float64' or 'bfloat16'"
            )
        check_pretrain(self)

    def _check_units(self, n_features: int) -> None:
        layer = Layer.of(self.visible, n_features, "visible")
        for kind, name in _UNKNOWN_UNITS.items():
            if layer.has(kind):
                raise ValueError(f"visible has {name} units, which a DBM does not have")

    # ------------------------------------------------------------------ layers

    @property
    def _dtype(self) -> Any:
        return self.components_[0].dtype

    @property
    def _widths(self) -> list[int]:
        """Of all layers, the visible one first."""
        return [len(b) for b in self.intercepts_]

    @property
    def _visible_layer(self) -> Layer:
        return Layer.of(self.visible, len(self.intercepts_[0]), "visible")

    def _gpu(self) -> int:
        return choose_gpu(self.device, self.batch_size * sum(w.size for w in self.components_))

    def _of_parity(self, parity: int) -> list[int]:
        """The numbers of the even (0) or the odd (1) layers."""
        return list(range(parity, len(self.intercepts_), 2))

    def _joined_bias(self, parity: int) -> np.ndarray:
        """Biases of the layers of one parity side by side, in float64."""
        return np.concatenate(self.intercepts_[parity::2], dtype=np.float64)

    def _machine(self, total: int = 1) -> Machine:
        """The one restricted machine that the even and the odd layers are together, in float64."""
        widths, evens, odds = self._widths, self._of_parity(0), self._of_parity(1)
        blocks = {(i, j): np.zeros((widths[i], widths[j])) for i in evens for j in odds}
        for i, w in enumerate(self.components_):
            blocks[(i + 1, i) if i % 2 else (i, i + 1)] = (w if i % 2 else w.T).astype(np.float64)
        n_features, n_even, n_odd = widths[0], sum(widths[::2]), sum(widths[1::2])
        visible = self._visible_layer.parts
        if n_even > n_features:
            visible = (*visible, (Bernoulli(), slice(n_features, n_even)))
        return Machine(
            np.block([[blocks[i, j] for j in odds] for i in evens]),
            self._joined_bias(0),
            self._joined_bias(1),
            Layer(visible),
            Layer(((Bernoulli(), slice(0, n_odd)),)),
            np.pad(np.asarray(self.log_variance_, np.float64), (0, n_even - n_features)),
        )

    def _synced_core(self, training: bool = False) -> Any:
        precision = self.precision if self.precision == "bfloat16" else self._dtype.name
        layers = [self._visible_layer.core(), *([("bernoulli", n, 1)] for n in self._widths[1:])]
        key = (layers, self._dtype.name, precision, self._gpu())
        cached: Any = self.__dict__.get("_core_cache")
        if cached is None or cached[0] != key:
            cached = (key, _core.Dbm(*key))
            self.__dict__["_core_cache"] = cached
        core = cached[1]
        for i, weights in enumerate(self.components_):
            lower, upper = (
                np.ascontiguousarray(b, self._dtype) for b in self.intercepts_[i : i + 2]
            )
            spread = self.log_variance_ if i == 0 else np.zeros_like(lower)
            core.set_link(i, weights, lower, upper, np.ascontiguousarray(spread, self._dtype))
        return core

    # ------------------------------------------------------------------ training

    def _initialise(self, n_features: int, dtype, rng: np.random.RandomState) -> None:
        widths = [n_features, *check_widths("hidden_layer_sizes", self.hidden_layer_sizes)]
        self.components_ = [
            np.asarray(rng.normal(0, 0.01, (above, below)), order="F", dtype=dtype)
            for below, above in itertools.pairwise(widths)
        ]
        self._n_features_out = widths[-1]
        self.intercepts_ = [np.zeros(n, dtype) for n in widths]
        self.log_variance_ = np.zeros(n_features, dtype)
        self.h_samples_ = np.zeros((self.batch_size, sum(widths[1::2])), dtype)
        self.temperatures_ = np.ones(1)
        self._imputed = self._optimizer = self._best_state = None
        self._start_draws(rng)
        self._step = self.n_iter_ = 0
        self.history_ = {}

    def _meet(self, X, missing=None) -> None:
        self._data_mean = self._mean_of(X) if missing is None else missing.mean

    # Gaussian visibles take data as they are, also where machines of pre-training standardise them
    _is_scaled = False

    def _begin(self, X) -> None:
        """Visible biases at the data's mean, or all that pre-training says."""
        mean = self._data_mean.astype(np.float64)
        self.intercepts_[0] = self._visible_layer.field_of_mean(mean).astype(self._dtype)
        if self.pretrain is None:
            return
        if is_stream(X) and iter(X) is X:
            raise ValueError(
                "X is an iterator, which can be read once only, but pretrain is "
                f"{self.pretrain!r}; expected an iterable that can be read again"
            )
        self.components_, self.intercepts_, self.log_variance_ = pretrained(self, X)

    def _load_core(self) -> Any:
        core = self._synced_core(training=True)
        core.set_chains(np.ascontiguousarray(self.h_samples_, self._dtype))
        core.seed, core.step, core.rows, core.sweeps = self._seed, self._step, 0, 0
        if self._optimizer is None:
            fresh = {name: np.zeros_like(old) for name, old in core.get_state().items()}
            fresh["visible_offset.0"] = np.ascontiguousarray(self._data_mean, self._dtype)
            self._optimizer = fresh
        core.set_state(self._optimizer)
        return core

    def _store_core(self, core) -> None:
        links = [core.get_link(i) for i in range(len(self.components_))]
        self.components_ = [weights for weights, *_ in links]
        self.intercepts_ = [links[0][1], *(upper for _, _, upper, _ in links)]
        self.log_variance_ = links[0][3]
        self.h_samples_ = core.get_chains()
        self._optimizer, self._step = core.get_state(), core.step
        before = self.__dict__.get("_sweeps", (0, 0))
        self._sweeps = (before[0] + core.sweeps, before[1] + core.rows)

    def _update(self, core, rows, order, row_weight, options, tick) -> Any:
        return core.train(
            rows, order, row_weight, options, self.mean_field_tol, self.mean_field_iter, tick
        )

    def _measure(self, X, validate=None) -> dict[str, float]:
        sweeps, rows = self.__dict__.pop("_sweeps", (0, 0))
        made = {"mean_field_sweeps": sweeps / max(1, rows)}
        return {**super()._measure(X, validate), **made}

    def _has_pseudo_likelihood(self) -> bool:
        return False  # features are not flipped: hidden layers have no closed form

    # ------------------------------------------------------------------ mean field

    def _mean_field(self, X) -> tuple[np.ndarray, np.ndarray]:
        """Means of the hidden layers side by side, and what the odd ones add to the bound."""
        core = self._synced_core()
        tol, most = self.mean_field_tol, self.mean_field_iter

        def part(rows: Any) -> np.ndarray:
            means, sums, _ = core.mean_field(self._rows(rows), tol, most)
            return np.column_stack([means, sums])

        both = concatenated(X, part, _ROWS)
        return both[:, :-1], both[:, -1]

    def _hidden_layers(self, means: np.ndarray) -> list[np.ndarray]:
        return np.split(means, np.cumsum(self._widths[1:-1]), axis=1)

    def _free_energy(self, X) -> np.ndarray:
        """The variational free energy: minus the bound, up to log Z.

        With the odd layers at their best given the even ones, what they add is their log partition
        function.
        """
        means, sums = self._mean_field(X)
        bound = sums.astype(np.float64)
        layers = self._hidden_layers(means)
        for i in self._of_parity(0)[1:]:
            mu = layers[i - 1].astype(np.float64)
            bound += mu @ self.intercepts_[i] + (special.entr(mu) + special.entr(1 - mu)).sum(
                axis=1
            )
        return -(bound + concatenated(X, self._visible_log_weight, _ROWS))

    def _visible_log_weight(self, X) -> np.ndarray:
        rows = np.asarray(X.toarray() if sp.issparse(X) else X, np.float64)
        nothing = np.zeros((rows.shape[1], 0))
        machine = Machine(
            nothing,
            self.intercepts_[0].astype(np.float64),
            np.zeros(0),
            self._visible_layer,
            self._visible_layer,
            self.log_variance_.astype(np.float64),
        )
        return machine.visible_log_weight(rows)

    def mean_field(self, X):
        """Mean activities of all hidden layers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        means : list of ndarray of shape (n_samples, n_hidden)
            From the lowest layer.
        """
        check_is_fitted(self)
        return self._hidden_layers(self._mean_field(self._validate(X, reset=False))[0])

    def transform(self, X, layer=None):
        """Mean activities of a hidden layer, by mean field.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        layer : int or None, default=None
            Which one, from 1; None is the top one.

        Returns
        -------
        H : ndarray of shape (n_samples, n_hidden)
        """
        check_is_fitted(self)
        depth = len(self.components_)
        if layer is None:
            layer = depth
        if not isinstance(layer, numbers.Integral) or isinstance(layer, bool):
            raise TypeError(f"layer is {layer!r}; expected an integer or None")
        if not 1 <= int(layer) <= depth:
            raise ValueError(f"layer is {layer}; expected one from 1 to {depth}")
        return np.ascontiguousarray(self.mean_field(X)[int(layer) - 1])

    def reconstruct(self, X):
        """Mean of the visible layer given the mean activities of the lowest hidden layer for X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        return self._reconstruct(self._validate(X, reset=False))

    def _reconstruct(self, X) -> np.ndarray:
        first = self._hidden_layers(self._mean_field(X)[0])[0]
        field = first @ self.components_[0] + self.intercepts_[0]
        return self._visible_layer.mean(field).astype(self._dtype)

    def score_samples(self, X):
        """Lower bound of the log-likelihood of each row, up to log Z, which is the same for all.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Nats: ``E_q[-E(x, h)] + H(q)`` with q of mean field.
        """
        check_is_fitted(self)
        return -self._free_energy(self._validate(X, reset=False))

    # ------------------------------------------------------------------ sampling

    def _base_bias(self) -> np.ndarray:
        """Fields of the even layers at which their units have the data's means."""
        fields = [self._visible_layer.field_of_mean(self._data_mean.astype(np.float64))]
        for i in self._of_parity(0)[1:]:
            mean = (self._optimizer or {}).get(f"hidden_offset.{i - 1}")
            if mean is None:
                mean = np.full(self._widths[i], 0.5)
            fields.append(Bernoulli().field_of_mean(mean.astype(np.float64)))
        return np.concatenate(fields)

    def _chains(self, n: int, rng: np.random.RandomState) -> np.ndarray:
        """States of the even layers that chains start from."""
        generator = np.random.default_rng(seed_from(rng))
        return self._machine().sample_base(n, self._base_bias(), generator).astype(self._dtype)

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
        V, start = self._widths[0], self._chains(n_samples, rng)
        mask = clamped(clamp, start[:, :V])
        states, means = self._synced_core().gibbs(start, steps, mask, seed_from(rng))
        return means if mean and steps else np.ascontiguousarray(states[:, :V])

    # ------------------------------------------------------------------ likelihood

    def log_partition(
        self, method="ais", *, n_chains=100, n_temperatures=10_000, random_state=None
    ) -> Estimate:
        """Log of the partition function.

        Parameters
        ----------
        method : {"ais", "reverse_ais", "exact"}, default="ais"
            Annealed importance sampling of the even layers (the visible one among them), the odd
            ones summed over, from units that are independent (a stochastic lower bound); the
            reverse from samples of the model (a stochastic upper bound); or enumeration of all even
            or all odd layers, whichever have fewer joint states (at most 2^22).
        n_chains : int, default=100
        n_temperatures : int, default=10000
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        Estimate
            ``value`` and 95 % ``interval`` in nats.
        """
        check_is_fitted(self)
        rng = check_random_state(self.random_state if random_state is None else random_state)
        generator, core = np.random.default_rng(seed_from(rng)), self._synced_core()

        def equilibrium() -> np.ndarray:
            chains = self._chains(n_chains, rng)
            return core.gibbs(chains, _EQUILIBRIUM, None, seed_from(rng))[0]

        return estimate_log_partition(
            core,
            self._machine(),
            method,
            equilibrium=equilibrium,
            base_bias=self._base_bias(),
            n_chains=n_chains,
            n_temperatures=n_temperatures,
            dtype=self._dtype,
            rng=generator,
        )

    def log_likelihood(self, X, method="ais", **options) -> Estimate:
        """Variational lower bound of the mean log-likelihood of X, or its exact value.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        method, **options
            As for :meth:`log_partition`. "exact" is the log-likelihood itself: it enumerates the
            hidden layers too, for every row. With the others the bound's gap to it is that of mean
            field.

        Returns
        -------
        Estimate
            Nats per sample. The interval covers the error of log Z.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        if method == "exact":
            own = concatenated(X, self._exact_log_weights, _ROWS)
        else:
            own = -self._free_energy(X)
        mean = float(np.mean(own, dtype=np.float64))
        log_z = self.log_partition(method, **options)
        low, high = log_z.interval
        return Estimate(mean - log_z.value, (mean - high, mean - low), log_z.method)

    def _exact_log_weights(self, X) -> np.ndarray:
        """log sum_h exp(-E(x, h)) of each row."""
        rows = np.asarray(X.toarray() if sp.issparse(X) else X, np.float64)
        machine, n = self._machine(), self._widths[0]
        lower, upper = machine.weights[:n], machine.weights[n:]
        field = (rows * np.exp(-machine.log_variance[:n])) @ lower + machine.hidden_bias
        own = self._visible_log_weight(rows)
        if not len(upper):
            return own + machine.hidden.log_partition(field)
        # Given the row, the hidden layers are a machine of the even and the odd ones.
        given = replace(
            machine,
            weights=upper,
            visible_bias=machine.visible_bias[n:],
            visible=Layer(((Bernoulli(), slice(0, len(upper))),)),
            log_variance=np.zeros(len(upper)),
        )
        return own + [replace(given, hidden_bias=bias).log_partition() for bias in field]

    # ------------------------------------------------------------------ files

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors: dict[str, np.ndarray] = {"data_mean": self._data_mean}

        def add(prefix: str, state: Any) -> None:
            for i, w in enumerate(state["components_"]):
                tensors[f"{prefix}components.{i}"] = np.ascontiguousarray(w)
            for i, b in enumerate(state["intercepts_"]):
                tensors[f"{prefix}intercepts.{i}"] = b
            tensors[f"{prefix}log_variance"] = state["log_variance_"]
            tensors[f"{prefix}h_samples"] = np.ascontiguousarray(state["h_samples_"])

        add("", self.__dict__)
        best = self._best_state or {}
        if best:
            add("best.", best)
        for name, value in (self._optimizer or {}).items():
            tensors[f"optimizer.{name}"] = value
        meta = {
            **self._description(),
            "widths": self._widths,
            "seed": str(self._seed),
            "step": self._step,
            "n_iter": self.n_iter_,
            "history": self.history_,
            "best": {name: best[name] for name in ("_step", "n_iter_") if name in best},
        }
        return tensors, meta

    def _set_state(self, tensors, meta) -> None:
        widths = [int(n) for n in meta["widths"]]
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"the file has layers of {widths} units")
        data_mean = tensors["data_mean"]
        chains = tensors["h_samples"].shape[:1] if "h_samples" in tensors else (0,)

        def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
            return np.array(check_tensor(tensors, name, shape, data_mean.dtype))

        def state(prefix: str) -> dict[str, Any]:
            return {
                "components_": [
                    tensor(f"{prefix}components.{i}", (above, below))
                    for i, (below, above) in enumerate(itertools.pairwise(widths))
                ],
                "intercepts_": [
                    tensor(f"{prefix}intercepts.{i}", (n,)) for i, n in enumerate(widths)
                ],
                "log_variance_": tensor(f"{prefix}log_variance", (widths[0],)),
                "h_samples_": tensor(f"{prefix}h_samples", (*chains, sum(widths[1::2]))),
            }

        self._data_mean = tensor("data_mean", (widths[0],))
        self.__dict__.update(state(""))
        self._best_state = None
        if meta["best"]:
            # of the optimiser only what follows is kept: nothing trains on from the best state
            self._best_state = {**state("best."), **meta["best"]}
        empty = self._synced_core().get_state()
        self._optimizer = {
            name: tensor(f"optimizer.{name}", like.shape)
            for name, like in empty.items()
            if f"optimizer.{name}" in tensors
        } or None
        self._seed, self._step = int(meta["seed"]), int(meta["step"])
        self.n_iter_, self.history_ = int(meta["n_iter"]), dict(meta["history"])
        self.temperatures_, self._imputed = np.ones(1), None
        self.n_features_in_, self._n_features_out = widths[0], widths[-1]
        self._set_names(meta)

    def _resume(self, path, n_features: int, dtype) -> None:
        tensors, meta, name = load_state(path)
        if name != "DBM":
            raise ValueError(f"resume: {path} holds a model of class {name}; expected DBM")
        widths = [n_features, *check_widths("hidden_layer_sizes", self.hidden_layer_sizes)]
        found = tensors["data_mean"].dtype
        if list(meta["widths"]) != widths or found != dtype:
            raise ValueError(
                f"resume: {path} holds layers of {meta['widths']} units, {found}; expected "
                f"{widths}, {np.dtype(dtype)}"
            )
        self._set_state(tensors, meta)


register_model(DBM)

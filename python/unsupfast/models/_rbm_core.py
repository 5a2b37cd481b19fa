"""What an RBM estimator is made of: its attributes as a compiled machine, its layers, its file."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import validate_data

from .. import _core
from ..likelihood import Machine
from ..units import Layer
from ._device import choose_gpu
from ._pseudo_likelihood import Variables
from ._saved import Saved, check_tensor
from ._standard import in_units_of_data

__all__ = [
    "RBMCore",
    "checked_states",
    "clamped",
    "concatenated",
    "generative_parameters",
    "recognition_parameters",
    "seed_from",
]

# Rows per call of the compiled code, so that batched inference needs bounded memory.
_CHUNK_ROWS = 8192
_EXACT_ROWS = 1024  # of what is computed in float64, with temporaries
_LEARNED = (
    "components_",
    "intercept_hidden_",
    "intercept_visible_",
    "log_variance_",
    "shape_hidden_",
    "shape_visible_",
    "h_samples_",
)
_OPTIMIZER = ("velocity", "bias_velocity", "visible_offset", "hidden_offset")
# State that only some ways of training have: Adam's second moments, fast weights.
_WHEN_NEEDED = ("second", "bias_second", "fast", "fast_bias")


def seed_from(rng: np.random.RandomState) -> int:
    """A 64-bit seed for the compiled code's random numbers."""
    high, low = rng.randint(0, 2**32, size=2, dtype=np.uint64)
    return int(high) << 32 | int(low)


class RBMCore(Saved, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The learned attributes, and everything computed from them without training."""

    _may_miss = True  # whether NaN is a missing value rather than an error
    _only_cpu: str | None = None  # what of the estimator does not run on a GPU
    _gains = (1.0, 1.0)  # factors of what comes into hidden and into visible units
    device: str
    method: str
    n_components: int
    batch_size: int
    precision: str
    visible: Any
    hidden: Any
    components_: np.ndarray
    intercept_hidden_: np.ndarray
    intercept_visible_: np.ndarray
    log_variance_: np.ndarray
    offset_: np.ndarray
    scale_: np.ndarray
    shape_hidden_: np.ndarray
    shape_visible_: np.ndarray
    h_samples_: np.ndarray
    temperatures_: np.ndarray
    swap_rates_: np.ndarray
    history_: dict[str, list[float]]
    n_iter_: int
    _data_mean: np.ndarray
    _optimizer: dict[str, np.ndarray] | None
    _best_state: dict[str, Any] | None
    _chain_totals: np.ndarray | None
    _imputed: np.ndarray | None
    _seed: int
    _step: int
    _updates: int

    def _layer_of(self, size: int) -> Layer:
        """The visible layer, of `size` units."""
        return Layer.of(self.visible, size, "visible")

    @property
    def _dtype(self) -> Any:
        return self.components_.dtype

    @property
    def _visible_layer(self) -> Layer:
        return self._layer_of(self.components_.shape[1])

    @property
    def _hidden_layer(self) -> Layer:
        return Layer.of(self.hidden, self.components_.shape[0], "hidden")

    def _input_dtypes(self) -> Any:
        if self.precision in ("float32", "bfloat16", "int16"):
            return np.float32
        return np.float64 if self.precision == "float64" else (np.float64, np.float32)

    def _validate(self, X, *, reset: bool, missing: bool = False):
        """X checked, in a dtype that we compute in, C-contiguous or canonical CSR.

        NaN passes where values may be missing.
        """
        dtype = getattr(X, "dtype", None)
        if isinstance(dtype, np.dtype) and not dtype.isnative:
            X = X.astype(dtype.newbyteorder("="))  # else foreign float32 would become float64
        X = validate_data(
            self,
            X,
            accept_sparse="csr",
            reset=reset,
            dtype=self._input_dtypes(),
            order="C",
            ensure_all_finite="allow-nan"
            if missing and self._may_miss and not sp.issparse(X)
            else True,
        )
        return _canonical(X)

    # ------------------------------------------------------------------ the compiled machine

    def _synced_core(self, training: bool = False) -> Any:
        """The compiled machine with the parameters of this estimator's attributes."""
        dtype = self.components_.dtype
        # rounding to 16 bits is for training: results come from the weights themselves
        rounded = self.precision == "bfloat16" or (self.precision == "int16" and training)
        precision = self.precision if rounded else dtype.name
        cached = self.__dict__.get("_core_cache")
        layers = self._visible_layer.core(), self._hidden_layer.core()
        key = (*layers, dtype.name, precision, self._gpu())
        if cached is None or cached[0] != key:
            cached = (key, _core.Rbm(*key))
            self._core_cache = cached
        log_variance = getattr(self, "log_variance_", None)
        cached[1].set_parameters(
            self.components_,
            np.ascontiguousarray(self.intercept_visible_, dtype),
            np.ascontiguousarray(self.intercept_hidden_, dtype),
            None if log_variance is None else np.ascontiguousarray(log_variance, dtype),
        )
        cached[1].up, cached[1].down = self._gains
        if hasattr(self, "shape_hidden_"):
            cached[1].set_shapes(self.shape_visible_, self.shape_hidden_)
        return cached[1]

    def _gpu(self) -> int:
        """The GPU this model trains on, or -1 for the CPU."""
        if self._only_cpu is None:
            return choose_gpu(self.device, self.batch_size * self.components_.size)
        if self.device.startswith("cuda"):
            raise ValueError(f"device is {self.device!r}; {self._only_cpu} needs device='cpu'")
        return -1

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_core_cache", None)
        return state

    def _rows(self, X) -> Any:
        """X as the compiled code takes rows: an array, or a CSR tuple; as it is if it is that."""
        if isinstance(X, (tuple, _core.GpuArray)):
            return X
        dtype = self._dtype
        if sp.issparse(X):
            X = _canonical(X)
            return (
                X.indptr.astype(np.int64, copy=False),
                X.indices.astype(np.int32, copy=False),
                np.ascontiguousarray(X.data, dtype),
            )
        return np.ascontiguousarray(X, dtype)

    def _by_chunks(self, X, function) -> np.ndarray:
        core = self._synced_core()
        return concatenated(X, lambda part: function(core, part))

    # ------------------------------------------------------------------ units of the data

    @property
    def _is_scaled(self) -> bool:
        """Whether the machine's visible values are other than the data's."""
        return bool(self.offset_.any() or (self.scale_ != 1).any())

    def _enter(self, v) -> Any:
        """Rows of data as the machine sees them; of sparse ones, dense ones where they differ."""
        if not self._is_scaled:
            return v
        if sp.issparse(v):
            v = v.toarray()
        return (np.asarray(v, self.components_.dtype) - self.offset_) / self.scale_

    def _leave(self, v: np.ndarray) -> np.ndarray:
        """Visible values of the machine in units of the data."""
        return self.offset_ + self.scale_ * v if self._is_scaled else v

    def _gibbs_from(
        self, core, v: np.ndarray, steps: int, held: np.ndarray | None, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """States and conditional means after Gibbs steps from v; those held are v's."""
        states, means = core.gibbs(np.ascontiguousarray(self._enter(v)), steps, held, seed)
        if not self._is_scaled:
            return states, means
        states, means = self._leave(states), self._leave(means)
        if held is None:
            return states, means
        return np.where(held, v, states), np.where(held, v, means)

    # ------------------------------------------------------------------ the layers

    def _mean_hiddens(self, v):
        """P(h=1|v) of shape (n_samples, n_components), or (n_components,) for one row."""
        return _rowwise(v, lambda X: self._by_chunks(X, self._hidden("mean")))

    def _hidden(self, what: str):
        """A function of chunks of rows of data: the mean or the log-partition of the hiddens."""
        return lambda core, part: core.hidden_given_visible(self._rows(self._enter(part)), what)

    def _mean_visibles(self, h):
        """The mean of the visible layer given h, of shape (n_samples, n_features).

        Of counts it is the distribution over what is counted.
        """
        return _rowwise(
            h,
            lambda H: self._by_chunks(
                H,
                lambda core, part: self._leave(core.visible_given_hidden(self._rows(part), "mean")),
            ),
        )

    def _sample_hiddens(self, v, rng):
        """States drawn from P(h|v) with a NumPy RandomState: Boolean where units are Bernoulli."""
        seed = seed_from(rng)
        h = _rowwise(
            v,
            lambda X: self._synced_core().hidden_given_visible(
                self._rows(self._enter(X)), "sample", seed
            ),
        )
        return h > 0.5 if self._hidden_layer.is_all("bernoulli") else h

    def _sample_visibles(self, h, rng, totals=None):
        """States drawn from P(v|h) with a RandomState: Boolean where units are Bernoulli."""
        seed = seed_from(rng)
        v = _rowwise(
            h,
            lambda H: self._synced_core().visible_given_hidden(
                self._rows(H), "sample", seed, totals
            ),
        )
        return v > 0.5 if self._visible_layer.is_all("bernoulli") else self._leave(v)

    def _totals(self, v) -> Any:
        """What the counts of each row add up to, for the compiled code; None without counts."""
        layer = self._visible_layer
        if not layer.has("multinomial"):
            return None
        return np.ascontiguousarray(layer.totals(v), self.components_.dtype)

    def _free_energy(self, v):
        """F(v) = -log sum_h exp(-E(v, h)), of shape (n_samples,)."""
        log_z = self._by_chunks(v, self._hidden("log_partition"))
        if self._visible_layer.is_all("bernoulli"):
            # no BLAS: its threads wait for more work for milliseconds, on the cores of training
            b = self.intercept_visible_
            return -(v @ b if sp.issparse(v) else np.einsum("ij,j->i", v, b)) - log_z
        machine = self._machine()

        def own(part):
            dense = part.toarray() if sp.issparse(part) else np.asarray(part)
            return machine.visible_log_weight(dense.astype(np.float64))

        return (-concatenated(v, own, _EXACT_ROWS)).astype(log_z.dtype) - log_z

    def _machine(self, total: int = 1) -> Machine:
        """The parameters in float64 and in units of the data, as enumeration wants them."""

        def exact(x):
            return np.asarray(x, np.float64)

        machine = Machine(
            exact(self.components_.T),
            exact(self.intercept_visible_),
            exact(self.intercept_hidden_),
            self._visible_layer,
            self._hidden_layer,
            exact(self.log_variance_),
            exact(self.shape_visible_),
            exact(self.shape_hidden_),
            total,
        )
        if self._is_scaled:
            machine = in_units_of_data(machine, exact(self.offset_), exact(self.scale_))
        return machine

    def _reconstruct(self, X):
        core = self._synced_core()

        def both(part):
            mean = core.hidden_given_visible(self._rows(self._enter(part)), "mean")
            return self._leave(core.visible_given_hidden(mean, "mean", 0, self._totals(part)))

        return concatenated(X, both)

    def _pseudo_likelihood(self, v, rng) -> np.ndarray:
        seed = np.uint64(seed_from(rng))

        def score(part):
            # The variable is a hash of the row and the seed, not of the row's position: scores do
            # not depend on which other rows are scored with it.
            log_z = self._by_chunks(part, self._hidden("log_partition")).astype(np.float64)
            return self._likelihood_of(part, _mix(log_z.view(np.uint64) ^ seed))

        return concatenated(v, score)

    def _likelihood_of(self, v, draw: np.ndarray) -> np.ndarray:
        """The pseudo-likelihood by one variable of each row: `draw` modulo their number."""
        if self._flips():
            return self._flip_likelihood(v, (draw % v.shape[1]).astype(int))
        variables = Variables(self)
        return concatenated(
            np.arange(v.shape[0]),
            lambda rows: variables.likelihood_of(v[rows[0] : rows[-1] + 1], draw[rows]),
            _EXACT_ROWS,
        )

    def _flip_likelihood(self, v, feature: np.ndarray) -> np.ndarray:
        """n_features log p(v_i | all others) for the feature i given for each row."""
        index = np.arange(v.shape[0]), feature
        one = 1 if self._visible_layer.is_all("bernoulli") else 0  # a spin flips to its negative
        if sp.issparse(v):
            change = one - 2 * np.asarray(v[index], dtype=self.components_.dtype).ravel()
            flipped = sp.csr_array(v) + sp.csr_array((change, index), shape=v.shape)
            flipped.sum_duplicates()
        else:
            flipped = np.array(v, dtype=self.components_.dtype)
            flipped[index] = one - flipped[index]
        difference = self._free_energy(flipped) - self._free_energy(v)
        return -v.shape[1] * np.logaddexp(0, -difference)

    def _exact_pseudo_likelihood(self, v) -> np.ndarray:
        if not self._flips():
            return concatenated(v, Variables(self).likelihood, _EXACT_ROWS)
        v = v.toarray() if sp.issparse(v) else np.array(v)
        one = 1 if self._visible_layer.is_all("bernoulli") else 0
        energy, total = self._free_energy(v), np.zeros(len(v))
        for i in range(v.shape[1]):
            v[:, i] = one - v[:, i]
            total -= np.logaddexp(0, energy - self._free_energy(v))
            v[:, i] = one - v[:, i]
        return total

    def _has_pseudo_likelihood(self) -> bool:
        """Whether visible units have finitely many states."""
        return self._visible_layer.discrete

    def _flips(self) -> bool:
        """Whether visible units flip between two states: all Bernoulli or all spins."""
        layer = self._visible_layer
        return layer.is_all("bernoulli") or layer.is_all("spin")

    # ------------------------------------------------------------------ files

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors = {
            "components": np.ascontiguousarray(self.components_),
            "intercept_hidden": self.intercept_hidden_,
            "intercept_visible": self.intercept_visible_,
            "log_variance": self.log_variance_,
            "shape_hidden": self.shape_hidden_,
            "shape_visible": self.shape_visible_,
            "h_samples": self.h_samples_,
            "data_mean": self._data_mean,
            "offset": self.offset_,
            "scale": self.scale_,
        }
        for name, value in (self._optimizer or {}).items():
            tensors[f"optimizer.{name}"] = value
        best = self._best_state or {}
        for name in set(_LEARNED) & set(best):
            tensors[f"best.{name}"] = np.ascontiguousarray(best[name])
        if self._chain_totals is not None:
            tensors["chain_totals"] = self._chain_totals
        if self._imputed is not None:
            tensors["imputed"] = self._imputed
        meta = {
            **self._description(),
            "seed": str(self._seed),
            "step": self._step,
            "updates": self._updates,
            "temperatures": self.temperatures_.tolist(),
            "swap_rates": self.swap_rates_.tolist(),
            "n_iter": self.n_iter_,
            "history": self.history_,
            "best": {name: best[name] for name in ("_step", "n_iter_") if name in best},
        }
        return tensors, meta

    def _set_state(self, tensors, meta) -> None:
        components = np.asarray(tensors["components"])
        hiddens, visibles = components.shape
        chains = tensors["h_samples"].shape[0]
        name = components.dtype.name
        layers = (
            self._layer_of(visibles).core(),
            Layer.of(self.hidden, hiddens, "hidden").core(),
        )
        packed = _core.Rbm(*layers, name, name)
        shapes = {
            "components": (hiddens, visibles),
            "intercept_hidden": (hiddens,),
            "intercept_visible": (visibles,),
            "log_variance": (visibles,),
            "shape_hidden": (2, hiddens),
            "shape_visible": (2, visibles),
            "data_mean": (visibles,),
            "offset": (visibles,),
            "scale": (visibles,),
            "h_samples": (chains, hiddens),
            "chain_totals": (chains,),
            "imputed": tensors["imputed"].shape[:1] if "imputed" in tensors else (0,),
            **{f"optimizer.{name}": x.shape for name, x in packed.get_state().items()},
        }
        for name, like in zip(
            _WHEN_NEEDED, ("velocity", "bias_velocity", "velocity"), strict=False
        ):
            shapes[f"optimizer.{name}"] = shapes[f"optimizer.{like}"]
        shapes["optimizer.fast_bias"] = (visibles + hiddens,)
        shapes.update({f"best.{name}": shapes[name.rstrip("_")] for name in _LEARNED})
        for name, shape in shapes.items():
            needed = not name.startswith(("optimizer.", "best.", "chain_totals", "imputed"))
            if needed or name in tensors:
                check_tensor(tensors, name, shape, components.dtype)
        if not (tensors["scale"] > 0).all():
            raise ValueError("tensor 'scale' of the file has values that are not positive")
        self.components_ = components
        self.intercept_hidden_ = np.array(tensors["intercept_hidden"])
        self.intercept_visible_ = np.array(tensors["intercept_visible"])
        self.log_variance_ = np.array(tensors["log_variance"])
        self.shape_hidden_ = np.array(tensors["shape_hidden"])
        self.shape_visible_ = np.array(tensors["shape_visible"])
        self._chain_totals = tensors.get("chain_totals")
        self._imputed = tensors.get("imputed")
        self.h_samples_ = np.array(tensors["h_samples"])
        self._data_mean = np.array(tensors["data_mean"])
        self.offset_, self.scale_ = np.array(tensors["offset"]), np.array(tensors["scale"])
        self._optimizer = {
            name: np.array(tensors[f"optimizer.{name}"])
            for name in (*_OPTIMIZER, *_WHEN_NEEDED)
            if f"optimizer.{name}" in tensors
        } or None
        self._best_state = None
        if all(f"best.{name}" in tensors for name in _LEARNED):
            # of the optimiser only what follows is kept: nothing trains on from the best state
            self._best_state = {name: np.array(tensors[f"best.{name}"]) for name in _LEARNED}
            self._best_state.update(meta["best"])
        self._seed, self._step = int(meta["seed"]), int(meta["step"])
        self._updates = int(meta["updates"])
        self.temperatures_ = np.array(meta["temperatures"], np.float64)
        self.swap_rates_ = np.array(meta["swap_rates"], np.float64)
        self.n_iter_, self.history_ = int(meta["n_iter"]), dict(meta["history"])
        self.n_features_in_ = visibles
        self._n_features_out = hiddens
        self._set_names(meta)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._may_miss
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def recognition_parameters(rbm: RBMCore) -> tuple[np.ndarray, np.ndarray]:
    """Weights (n_features, n_hidden) and biases that turn a row into fields of hidden units."""
    if not rbm._visible_layer.has("gaussian"):
        return rbm.components_.T, rbm.intercept_hidden_
    machine, dtype = rbm._machine(), rbm.components_.dtype
    precision = np.where(machine.visible.mask("gaussian"), np.exp(-machine.log_variance), 1)
    weights = (machine.weights * precision[:, None]).astype(dtype)
    return weights, machine.hidden_bias.astype(dtype)


def generative_parameters(rbm: RBMCore) -> tuple[np.ndarray, np.ndarray]:
    """Weights (n_hidden, n_features) and biases that turn hidden units into fields of a row."""
    if not rbm._is_scaled:
        return rbm.components_, rbm.intercept_visible_
    machine, dtype = rbm._machine(), rbm.components_.dtype
    return machine.weights.T.astype(dtype), machine.visible_bias.astype(dtype)


def checked_states(x, name: str, dtype, n_units: int):
    """States of a layer, one a row (or a single one), as finite numbers; sparse stays sparse."""
    if not sp.issparse(x):
        try:
            x = np.asarray(x, dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} is not an array of numbers: {error}") from None
    if x.ndim not in (1, 2) or x.shape[-1] != n_units:
        raise ValueError(f"{name} has shape {x.shape}; expected (n_samples, {n_units})")
    if not np.isfinite(x.data if sp.issparse(x) else x).all():
        raise ValueError(f"{name} has NaN or infinite values; expected none")
    return x


def clamped(clamp, start: np.ndarray) -> np.ndarray | None:
    """Writes the values that units are held at, NaN where free, into states that chains start from.

    Returns the mask of those that are held, as bytes; None where nothing is.
    """
    if clamp is None:
        return None
    try:
        values = np.asarray(clamp, dtype=start.dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"clamp is not an array of numbers: {error}") from None
    n_samples, n_features = start.shape
    if values.shape not in ((n_features,), (n_samples, n_features)):
        raise ValueError(
            f"clamp has shape {values.shape}; expected ({n_features},) or "
            f"({n_samples}, {n_features}), with NaN where a unit is free"
        )
    if np.isinf(values).any():
        raise ValueError("clamp has infinite values; expected numbers, or NaN where free")
    held = ~np.isnan(np.broadcast_to(values, start.shape))
    start[held] = np.broadcast_to(values, start.shape)[held]
    return held.astype(np.uint8)


def concatenated(X, function, rows: int = _CHUNK_ROWS) -> np.ndarray:
    """function of the rows, a bounded number at a time, put together again."""
    n = X.shape[0]
    if n <= rows:
        return function(X)
    return np.concatenate([function(X[i : i + rows]) for i in range(0, n, rows)])


def _canonical(X):
    """CSR with sorted column indices, each once; X itself where it is that or dense."""
    if sp.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


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

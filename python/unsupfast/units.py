"""Kinds of unit that the layers of a Boltzmann machine are made of.

A unit with the field x (what comes in from the other layer, plus its bias) is in state y with
probability ``w(y) exp(x y) / exp(A(x))``; a kind is its weight w and what follows from it. The
formulas here are in float64, for enumeration, for bounds, and to be compared with; sampling and
training are compiled.

References
----------
.. [1] M. Welling, M. Rosen-Zvi, G. Hinton. "Exponential family harmoniums with an application to
       information retrieval". NIPS 2004.
.. [2] V. Nair, G. Hinton. "Rectified linear units improve restricted Boltzmann machines".
       ICML 2010.
.. [3] J. Tubiana, S. Cocco, R. Monasson. "Learning compositional representations of interacting
       systems with restricted Boltzmann machines". Neural Computation 31, 2019.
.. [4] R. Salakhutdinov, G. Hinton. "Replicated softmax: an undirected topic model". NIPS 2009.
"""

from __future__ import annotations

import itertools
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = [
    "Bernoulli",
    "DoubleReLU",
    "Gaussian",
    "Mixed",
    "ReLU",
    "ReplicatedSoftmax",
    "Softmax",
    "Spin",
    "Unit",
]

Array = NDArray[np.float64]
_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
_NO_SHAPE = (0.0, 0.0)


@dataclass(frozen=True)
class Unit:
    """A kind of unit. Methods take states or fields of n rows and the units of a part of a layer.

    Attributes
    ----------
    kind : str
        The compiled code's name of it.
    group : int
        Units that are one variable together.
    discrete : bool
        Whether states can be enumerated.
    """

    kind = ""
    discrete = False

    @property
    def group(self) -> int:
        return 1

    def log_partition(self, x: Array, shape: Any = _NO_SHAPE, totals: Any = 1) -> Array:
        """A(x), summed over the units of each row."""
        raise NotImplementedError

    def mean(self, x: Array, shape: Any = _NO_SHAPE, totals: Any = 1) -> Array:
        """Mean of the states, A'(x)."""
        raise NotImplementedError

    def log_weight(self, y: Array, shape: Any = _NO_SHAPE) -> Array:
        """log w(y), summed over the units of each row."""
        return np.zeros(len(y))

    def sample(self, x: Array, rng: np.random.Generator, shape: Any = _NO_SHAPE, totals: Any = 1):
        """States drawn at the field x."""
        raise NotImplementedError

    def field_of_mean(self, mean: Array) -> Array:
        """A field whose units have about this mean: where annealing starts."""
        return np.zeros_like(mean)

    def states(self, n: int, total: int = 1) -> Any:
        """Number of joint states of n units, and a function of their indices that returns them."""
        raise ValueError(f"{type(self).__name__} units have no states to enumerate")

    def one(self) -> Array:
        """The states of one variable, a row each: of a unit, or of a group."""
        raise ValueError(f"{type(self).__name__} units have no states to list")

    def shares(self, y: Array) -> Array:
        """How much each of those states is what rows of one variable have: 0 or 1, or between."""
        raise NotImplementedError

    def check(self, X: Array, name: str) -> None:
        """Refuses states that units of this kind can't have."""


class _Single(Unit):
    """One of finitely many states for each unit by itself."""

    discrete = True
    values = (0.0, 1.0)

    def states(self, n: int, total: int = 1):
        values = np.asarray(self.values)

        def of(index: NDArray[np.int64]) -> Array:
            return values[index[:, None] >> np.arange(n) & 1]

        return 1 << n, of

    def one(self):
        return np.array(self.values)[:, None]

    def shares(self, y):
        low, high = self.values
        up = (y - low) / (high - low)
        return np.concatenate([1 - up, up], axis=1)


@dataclass(frozen=True)
class Bernoulli(_Single):
    """0 or 1. Data in [0, 1] are taken as probabilities."""

    kind = "bernoulli"

    def log_partition(self, x, shape=_NO_SHAPE, totals=1):
        return np.logaddexp(0, x).sum(axis=1)

    def mean(self, x, shape=_NO_SHAPE, totals=1):
        return special.expit(x)

    def sample(self, x, rng, shape=_NO_SHAPE, totals=1):
        return (rng.random(x.shape) < special.expit(x)).astype(np.float64)

    def field_of_mean(self, mean):
        return special.logit(np.clip(mean, 0.005, 0.995))


@dataclass(frozen=True)
class Spin(_Single):
    """-1 or 1."""

    kind = "spin"
    values = (-1.0, 1.0)

    def log_partition(self, x, shape=_NO_SHAPE, totals=1):
        return np.logaddexp(x, -x).sum(axis=1)

    def mean(self, x, shape=_NO_SHAPE, totals=1):
        return np.tanh(x)

    def sample(self, x, rng, shape=_NO_SHAPE, totals=1):
        return np.where(rng.random(x.shape) < special.expit(2 * x), 1.0, -1.0)

    def field_of_mean(self, mean):
        return np.arctanh(np.clip(mean, -0.99, 0.99))

    def check(self, X, name):
        if np.abs(X).max(initial=0) > 1:
            raise ValueError(f"{name} has values outside [-1, 1], which Spin units can't have")


@dataclass(frozen=True)
class Gaussian(Unit):
    """A real number. Visible ones have a variance of their own, hidden ones variance 1.

    Parameters
    ----------
    standardize : bool, default=True
        Whether a machine learns mean and scale of the data of visible units first, and trains on
        standardised values. Data, samples, and densities are in the data's own units either way.
    """

    standardize: bool = True
    kind = "gaussian"

    def __post_init__(self):
        if not isinstance(self.standardize, (bool, np.bool_)):
            raise TypeError(f"standardize is {self.standardize!r}; expected True or False")

    def log_partition(self, x, shape=_NO_SHAPE, totals=1):
        return (0.5 * x**2 + _HALF_LOG_2PI).sum(axis=1)

    def mean(self, x, shape=_NO_SHAPE, totals=1):
        return x

    def log_weight(self, y, shape=_NO_SHAPE):
        return -0.5 * (y**2).sum(axis=1)

    def sample(self, x, rng, shape=_NO_SHAPE, totals=1):
        return x + rng.standard_normal(x.shape)


def _log_half(x: Array) -> Array:
    """log of the integral of exp(x y - y^2 / 2) over y >= 0."""
    return special.log_ndtr(x) + 0.5 * x**2 + _HALF_LOG_2PI


def _half_mean(x: Array) -> Array:
    return x + np.sqrt(2 / np.pi) / special.erfcx(-x / np.sqrt(2))


def _half_sample(x: Array, rng: np.random.Generator) -> Array:
    # of the normal distribution above 0, from its upper tail, which is where digits are
    tail = special.log_ndtr(x) + np.log1p(-rng.random(x.shape))
    return np.maximum(0, x - special.ndtri_exp(tail))


@dataclass(frozen=True)
class ReLU(Unit):
    """A non-negative number: a normal one of mean x and variance 1, given that it is above 0.

    Exactly the distribution that noisy rectified units [2]_ are often drawn to approximate; rows
    of data must not be negative.
    """

    kind = "relu"

    def log_partition(self, x, shape=_NO_SHAPE, totals=1):
        return _log_half(x).sum(axis=1)

    def mean(self, x, shape=_NO_SHAPE, totals=1):
        return _half_mean(x)

    def log_weight(self, y, shape=_NO_SHAPE):
        return -0.5 * (y**2).sum(axis=1)

    def sample(self, x, rng, shape=_NO_SHAPE, totals=1):
        return _half_sample(x, rng)

    def check(self, X, name):
        if X.min(initial=0) < 0:
            raise ValueError(f"{name} has negative values, which ReLU units can't have")


@dataclass(frozen=True)
class DoubleReLU(Unit):
    """A real number, Gaussian on either side of 0 [3]_.

    ``w(y) = exp(-y^2 / (2 (1 + r sign(y))) - d |y|)``: a gap d, which makes units sparse where it
    is positive and bimodal where it is negative, and an asymmetry r, both learned for every unit.
    """

    kind = "drelu"

    def _sides(self, x, shape):
        gap, asymmetry = shape
        up, down = np.sqrt(1 + asymmetry), np.sqrt(1 - asymmetry)
        fields = up * (x - gap), -down * (x + gap)
        logs = _log_half(fields[0]) + np.log(up), _log_half(fields[1]) + np.log(down)
        return (up, down), fields, logs

    def log_partition(self, x, shape=_NO_SHAPE, totals=1):
        _, _, logs = self._sides(x, shape)
        return np.logaddexp(*logs).sum(axis=1)

    def mean(self, x, shape=_NO_SHAPE, totals=1):
        (up, down), fields, logs = self._sides(x, shape)
        p = special.expit(logs[0] - logs[1])
        return p * up * _half_mean(fields[0]) - (1 - p) * down * _half_mean(fields[1])

    def log_weight(self, y, shape=_NO_SHAPE):
        gap, asymmetry = shape
        side = np.where(y < 0, -1.0, 1.0)
        return (-0.5 * y**2 / (1 + side * asymmetry) - gap * np.abs(y)).sum(axis=1)

    def sample(self, x, rng, shape=_NO_SHAPE, totals=1):
        (up, down), fields, logs = self._sides(x, shape)
        above = rng.random(x.shape) < special.expit(logs[0] - logs[1])
        return np.where(above, up, -down) * _half_sample(np.where(above, *fields), rng)


@dataclass(frozen=True)
class Softmax(Unit):
    """Groups of units of which exactly one is on (Potts spins, one-hot labels).

    Parameters
    ----------
    n_states : int
        Units of a group; a layer of n of them has n / n_states groups.
    """

    n_states: int
    kind = "softmax"
    discrete = True

    def __post_init__(self):
        if not isinstance(self.n_states, numbers.Integral) or isinstance(self.n_states, bool):
            raise TypeError(f"n_states is {self.n_states!r}; expected an integer")
        if self.n_states < 2:
            raise ValueError(f"n_states is {self.n_states}; expected at least 2")

    @property
    def group(self) -> int:
        return int(self.n_states)

    def _groups(self, x):
        return x.reshape(len(x), x.shape[1] // self.n_states, self.n_states)

    def log_partition(self, x, shape=_NO_SHAPE, totals=1):
        return special.logsumexp(self._groups(x), axis=2).sum(axis=1)

    def mean(self, x, shape=_NO_SHAPE, totals=1):
        return special.softmax(self._groups(x), axis=2).reshape(x.shape)

    def sample(self, x, rng, shape=_NO_SHAPE, totals=1):
        passed = special.softmax(self._groups(x), axis=2).cumsum(axis=2)
        chosen = (rng.random((*passed.shape[:2], 1)) > passed).sum(axis=2)
        return np.eye(self.n_states)[np.minimum(chosen, self.n_states - 1)].reshape(x.shape)

    def field_of_mean(self, mean):
        return np.log(np.maximum(mean, 0.005))

    def states(self, n, total=1):
        groups = n // self.n_states
        rates = self.n_states ** np.arange(groups)

        def of(index):
            digit = index[:, None] // rates % self.n_states
            return np.eye(self.n_states)[digit].reshape(len(index), n)

        return self.n_states**groups, of

    def one(self):
        return np.eye(self.n_states)

    def shares(self, y):
        return y

    def check(self, X, name):
        sums = self._groups(X).sum(axis=2)
        off = np.abs(sums - 1) > 1e-3
        if off.any() or X.min(initial=0) < 0:
            row, group = np.argwhere(off)[0] if off.any() else (0, 0)
            raise ValueError(
                f"{name} has groups that are no choice of one: group {group} of row {row} sums to "
                f"{sums[row, group]:g}; expected non-negative values that sum to 1 in every group "
                f"of {self.n_states}"
            )


@dataclass(frozen=True)
class ReplicatedSoftmax(Unit):
    """Counts of words in documents of any length [4]_: as many softmax units as a row has words.

    All of them share weights, and hidden biases count once for every word. Visible only.
    """

    kind = "multinomial"
    discrete = True

    def log_partition(self, x, shape=_NO_SHAPE, totals=1):
        return np.asarray(totals) * special.logsumexp(x, axis=1)

    def mean(self, x, shape=_NO_SHAPE, totals=1):
        return np.reshape(totals, (-1, 1)) * special.softmax(x, axis=1)

    def sample(self, x, rng, shape=_NO_SHAPE, totals=1):
        totals = np.broadcast_to(np.asarray(totals, np.int64), len(x))
        return rng.multinomial(totals, special.softmax(x, axis=1)).astype(np.float64)

    def field_of_mean(self, mean):
        return np.log(np.maximum(mean / max(mean.sum(), 1e-30), 1e-6))

    def states(self, n, total=1):
        # sequences of words, not sets: each has weight 1
        powers = n ** np.arange(total)

        def of(index):
            words = index[:, None] // powers % n
            return np.eye(n)[words].sum(axis=1)

        return n**total, of

    def check(self, X, name):
        if X.min(initial=0) < 0 or not np.array_equal(X, np.rint(X)):
            bad = X[(X < 0) | (np.rint(X) != X)][0]
            raise ValueError(f"{name} has the value {bad:g}; expected counts: 0, 1, 2, ...")


@dataclass(frozen=True)
class Mixed:
    """Parts of several kinds in one layer, side by side.

    Parameters
    ----------
    parts : sequence of (unit, int)
        A kind of unit and how many units of it, in order.

    Examples
    --------
    >>> from unsupfast import units
    >>> image_and_label = units.Mixed(((units.Bernoulli(), 784), (units.Softmax(10), 10)))
    """

    parts: tuple[tuple[Unit, int], ...]

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple((unit, size) for unit, size in self.parts))


_NAMES = {
    "bernoulli": Bernoulli(),
    "gaussian": Gaussian(),
    "spin": Spin(),
    "relu": ReLU(),
    "drelu": DoubleReLU(),
    "replicated_softmax": ReplicatedSoftmax(),
}


@dataclass(frozen=True)
class Layer:
    """The units of one layer: parts of a kind each, with the columns that they take."""

    parts: tuple[tuple[Unit, slice], ...]

    @classmethod
    def of(cls, value: Any, size: int, name: str) -> Layer:
        """What an estimator's argument `name` says of a layer of `size` units."""
        if isinstance(value, str):
            if value not in _NAMES:
                raise ValueError(
                    f"{name} is {value!r}; expected one of {', '.join(map(repr, _NAMES))}, or an "
                    "object of unsupfast.units"
                )
            value = _NAMES[value]
        if isinstance(value, Unit):
            value = Mixed(((value, size),))
        if not isinstance(value, Mixed):
            raise TypeError(f"{name} is {value!r}; expected the name of a unit or one of uf.units")
        parts: list[tuple[Unit, slice]] = []
        end = 0
        for unit, count in value.parts:
            if not isinstance(unit, Unit):
                raise TypeError(f"{name} has a part {unit!r}; expected an object of uf.units")
            if not isinstance(count, numbers.Integral) or isinstance(count, bool):
                raise TypeError(f"{name} has {count!r} units in a part; expected an integer")
            if count < 1 or count % unit.group:
                raise ValueError(
                    f"{name} has {count} {type(unit).__name__} units; expected a positive multiple "
                    f"of {unit.group}"
                )
            parts.append((unit, slice(end, end + int(count))))
            end += int(count)
        if end != size:
            raise ValueError(f"{name} describes {end} units; expected {size}")
        return cls(tuple(parts))

    @property
    def size(self) -> int:
        return self.parts[-1][1].stop

    def is_all(self, kind: str) -> bool:
        return all(unit.kind == kind for unit, _ in self.parts)

    def has(self, kind: str) -> bool:
        return any(unit.kind == kind for unit, _ in self.parts)

    @property
    def discrete(self) -> bool:
        return all(unit.discrete for unit, _ in self.parts)

    def core(self) -> list[tuple[str, int, int]]:
        """As the compiled code takes layers."""
        return [(unit.kind, s.stop - s.start, unit.group) for unit, s in self.parts]

    def mask(self, kind: str) -> NDArray[np.bool_]:
        """Which units are of a kind."""
        found = np.zeros(self.size, bool)
        for unit, s in self.parts:
            found[s] = unit.kind == kind
        return found

    def standardized(self) -> NDArray[np.bool_]:
        """Which units, of a visible layer, take standardised values."""
        found = np.zeros(self.size, bool)
        for unit, s in self.parts:
            found[s] = isinstance(unit, Gaussian) and unit.standardize
        return found

    def check(self, X: Any, name: str) -> None:
        """Refuses states that the units can't have; X is dense or sparse, without NaN."""
        for unit, s in self.parts:
            if type(unit).check is Unit.check:
                continue
            for start in range(0, X.shape[0], 8192):
                part = X[start : start + 8192]
                unit.check(
                    np.asarray(part.toarray() if hasattr(part, "toarray") else part)[:, s], name
                )

    def totals(self, v: Any) -> Any:
        """What the counts of each row add up to; 1 in a layer without counts."""
        columns = np.flatnonzero(self.mask("multinomial"))
        if not len(columns):
            return 1
        return np.asarray(v[:, columns].sum(axis=1), np.float64).ravel()

    def _shapes(self, shape: Any, s: slice) -> Any:
        return _NO_SHAPE if shape is None else (shape[0][s], shape[1][s])

    def log_partition(self, x: Array, shape: Any = None, totals: Any = 1) -> Array:
        terms = [
            unit.log_partition(x[:, s], self._shapes(shape, s), totals) for unit, s in self.parts
        ]
        return np.sum(terms, axis=0)

    def mean(self, x: Array, shape: Any = None, totals: Any = 1) -> Array:
        return np.concatenate(
            [unit.mean(x[:, s], self._shapes(shape, s), totals) for unit, s in self.parts], axis=1
        )

    def log_weight(self, y: Array, shape: Any = None) -> Array:
        terms = [unit.log_weight(y[:, s], self._shapes(shape, s)) for unit, s in self.parts]
        return np.sum(terms, axis=0)

    def sample(self, x: Array, rng, shape: Any = None, totals: Any = 1) -> Array:
        return np.concatenate(
            [unit.sample(x[:, s], rng, self._shapes(shape, s), totals) for unit, s in self.parts],
            axis=1,
        )

    def field_of_mean(self, mean: Array) -> Array:
        return np.concatenate([unit.field_of_mean(mean[s]) for unit, s in self.parts])

    def states(self, total: int = 1):
        """Number of joint states, and a function of their indices that returns them."""
        counts, functions = zip(
            *(unit.states(s.stop - s.start, total) for unit, s in self.parts), strict=True
        )
        strides = [1, *itertools.accumulate(counts, lambda a, b: a * b)]

        def of(index: NDArray[np.int64]) -> Array:
            return np.concatenate(
                [f(index // strides[i] % counts[i]) for i, f in enumerate(functions)], axis=1
            )

        return strides[-1], of

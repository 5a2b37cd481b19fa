"""Partition functions and likelihoods of restricted Boltzmann machines: exact, AIS and reverse AIS.

References
----------
.. [1] R. Salakhutdinov, I. Murray. "On the quantitative analysis of deep belief networks".
       ICML 2008.
.. [2] Y. Burda, R. Grosse, R. Salakhutdinov. "Accurate and conservative estimates of MRF
       log-likelihood using reverse annealing". AISTATS 2015.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from .units import Layer

__all__ = ["Estimate", "Machine"]

# Joint states of the smaller layer that are still enumerated.
MAX_EXACT_STATES = 1 << 22
_BOOTSTRAP_SAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes
    ----------
    value : float
        The estimate, in nats.
    interval : tuple of float
        95 % interval; both ends equal the value where it is exact. It covers the Monte-Carlo error
        of log Z only.
    method : str
        ``"exact"``, ``"ais"`` or ``"reverse_ais"``.
    """

    value: float
    interval: tuple[float, float]
    method: str

    def __float__(self) -> float:
        return self.value


@dataclass
class Machine:
    """The parameters of an RBM in float64, as enumeration wants them.

    ``weights`` is (n_visible, n_hidden); ``log_variance`` counts for Gaussian visibles, the shapes
    (2, n) for double rectified units, and ``total`` for counts: what those of a row add up to.
    """

    weights: NDArray[np.float64]
    visible_bias: NDArray[np.float64]
    hidden_bias: NDArray[np.float64]
    visible: Layer
    hidden: Layer
    log_variance: NDArray[np.float64]
    visible_shape: NDArray[np.float64] | None = None
    hidden_shape: NDArray[np.float64] | None = None
    total: Any = 1

    def _states(self, hidden: bool) -> tuple[float, Any]:
        """How many joint states a layer has, infinity where they can't be enumerated."""
        layer = self.hidden if hidden else self.visible
        return layer.states(self.total) if layer.discrete else (np.inf, None)

    def _enumerate_hidden(self) -> bool:
        return self._states(True)[0] <= self._states(False)[0]

    def enumerable(self) -> bool:
        """Whether the smaller layer that can be enumerated is small enough."""
        return self._states(self._enumerate_hidden())[0] <= MAX_EXACT_STATES

    def visible_log_weight(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a visible state has of its log weight in the machine by itself: biases and all."""
        gaussian = self.visible.mask("gaussian")
        own = v[:, ~gaussian] @ self.visible_bias[~gaussian]
        deviation = (v - self.visible_bias)[:, gaussian]
        own -= 0.5 * (deviation**2 * np.exp(-self.log_variance[gaussian])).sum(axis=1)
        for unit, part in self.visible.parts:
            if unit.kind != "gaussian":
                own += Layer(((unit, slice(0, part.stop - part.start)),)).log_weight(
                    v[:, part], None if self.visible_shape is None else self.visible_shape[:, part]
                )
        return own

    def _visible_log_partition(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log of the sum over visible states of their weights, given what comes in from h."""
        out = np.zeros(len(x))
        for unit, part in self.visible.parts:
            field, bias = x[:, part], self.visible_bias[part]
            if unit.kind == "gaussian":
                # integral over v of exp(-(v - a)^2 / (2 s^2) + v x / s^2)
                variance = np.exp(self.log_variance[part])
                out += (field * (field + 2 * bias) / (2 * variance)).sum(axis=1)
                out += 0.5 * np.log(2 * np.pi * variance).sum()
            else:
                shape = None if self.visible_shape is None else self.visible_shape[:, part]
                layer = Layer(((unit, slice(0, part.stop - part.start)),))
                out += layer.log_partition(field + bias, shape, self.total)
        return out

    def log_visibles(self, v: NDArray[np.float64], h: NDArray[np.float64]) -> NDArray[np.float64]:
        """log p(v|h) of each row."""
        machine = replace(self, total=self.visible.totals(v))
        x = h @ self.weights.T
        precision = np.where(self.visible.mask("gaussian"), np.exp(-self.log_variance), 1)
        return (
            machine.visible_log_weight(v)
            + (v * precision * x).sum(axis=1)
            - machine._visible_log_partition(x)
        )

    def _log_marginals(self, states: NDArray[np.float64], hidden: bool) -> NDArray[np.float64]:
        """Log of the unnormalised marginal of states of the enumerated layer."""
        if hidden:
            own = self.total * (states @ self.hidden_bias)
            own += self.hidden.log_weight(states, self.hidden_shape)
            return own + self._visible_log_partition(states @ self.weights.T)
        x = states @ self.weights + self.total * self.hidden_bias
        return self.visible_log_weight(states) + self.hidden.log_partition(x, self.hidden_shape)

    def _blocks(self, hidden: bool):
        count, of = self._states(hidden)
        layer = "hidden" if hidden else "visible"
        if count > MAX_EXACT_STATES:
            has = "can't be enumerated" if np.isinf(count) else f"has {count:.4g} joint states"
            raise ValueError(
                f"method='exact' enumerates the {layer} layer, which {has}; expected at most "
                f"{MAX_EXACT_STATES} states: use method='ais'"
            )
        for first in range(0, int(count), 1 << 13):
            yield of(np.arange(first, min(first + (1 << 13), int(count)), dtype=np.int64))

    def log_partition(self) -> float:
        """Exact log Z by enumeration of the smaller layer."""
        hidden = self._enumerate_hidden()
        return float(
            logsumexp([logsumexp(self._log_marginals(s, hidden)) for s in self._blocks(hidden)])
        )

    def sample_exact(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Independent draws of the visible layer, by enumeration."""
        hidden = self._enumerate_hidden()
        logs = np.concatenate([self._log_marginals(s, hidden) for s in self._blocks(hidden)])
        p = np.exp(logs - logsumexp(logs))
        index = rng.choice(len(p), size=n, p=p / p.sum())
        states = self._states(hidden)[1](index)
        return self._sample_visible(states @ self.weights.T, rng) if hidden else states

    def _sample_visible(self, x: NDArray[np.float64], rng: np.random.Generator):
        v = self.visible.sample(x + self.visible_bias, rng, self.visible_shape, self.total)
        gaussian = self.visible.mask("gaussian")
        mean = (x + self.visible_bias)[:, gaussian]
        sigma = np.exp(self.log_variance[gaussian] / 2)
        v[:, gaussian] = mean + sigma * (v[:, gaussian] - mean)
        return v

    def base_log_partition(self, base_bias: NDArray[np.float64]) -> float:
        """Log Z of the machine that annealing starts from: no weights, hidden fields of 0."""
        base = replace(self, visible_bias=self._base(base_bias))
        nothing = np.zeros((1, len(self.hidden_bias)))
        hidden = self.hidden.log_partition(nothing, self.hidden_shape)
        return float((base._visible_log_partition(np.zeros((1, len(base_bias)))) + hidden)[0])

    def sample_base(
        self, n: int, base_bias: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Independent draws of the visible layer of that machine."""
        base = replace(self, visible_bias=self._base(base_bias))
        return base._sample_visible(np.zeros((n, len(base_bias))), rng)

    def _base(self, base_bias: NDArray[np.float64]) -> NDArray[np.float64]:
        # Gaussian visibles keep mean and variance along the path
        return np.where(self.visible.mask("gaussian"), self.visible_bias, base_bias)


def _log_mean_exp_interval(
    log_weights: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    n = len(log_weights)
    value = float(logsumexp(log_weights) - np.log(n))
    means = []
    for _ in range(_BOOTSTRAP_SAMPLES):
        # shifted by its own largest: the largest of all need not be in it
        drawn = log_weights[rng.integers(0, n, size=n)]
        means.append(np.log(np.exp(drawn - drawn.max()).mean()) + drawn.max())
    low, high = np.quantile(means, [0.025, 0.975])
    return value, (float(low), float(high))


def estimate_log_partition(
    core: Any,
    machine: Any,
    method: str,
    *,
    start: NDArray[Any] | None = None,
    equilibrium: Callable[[], NDArray[Any]],
    base_bias: NDArray[np.float64],
    n_chains: int,
    n_temperatures: int,
    dtype: np.dtype,
    rng: np.random.Generator,
    enter: Callable[[NDArray[Any]], NDArray[Any]] = lambda v: v,
) -> Estimate:
    """Log Z exactly, by annealed importance sampling [1]_, or in reverse from samples [2]_.

    Parameters
    ----------
    core : unsupfast._core.Rbm, Dbm or ConvRbm
        The compiled machine with the same parameters.
    machine : Machine or ConvMachine
        In units of the data, in which `start` is too. It knows log Z of the machine that annealing
        starts from, and samples it.
    method : {"exact", "ais", "reverse_ais"}
    start : ndarray of shape (n_chains, n_visible) or None
        Reverse only: samples of the model. The estimate is a stochastic upper bound only as far as
        they are. None draws them exactly where a layer can be enumerated, else by `equilibrium`.
    equilibrium : callable
        Draws `n_chains` samples of the model, about.
    base_bias : ndarray
        Visible bias of the base-rate machine: of every unit, or (convolutional) of every channel.
    enter : callable
        From the data's units to those of `core`.

    Raises
    ------
    ValueError
        For another method, or numbers of chains or temperatures that are not positive.
    """
    if method == "exact":
        value = machine.log_partition()
        return Estimate(value, (value, value), "exact")
    if method not in ("ais", "reverse_ais"):
        raise ValueError(f"method is {method!r}; expected 'ais', 'reverse_ais' or 'exact'")
    for name, count in (("n_chains", n_chains), ("n_temperatures", n_temperatures)):
        if not isinstance(count, numbers.Integral) or count < 1:
            raise ValueError(f"{name} is {count!r}; expected a positive integer")
    reverse = method == "reverse_ais"
    betas = np.linspace(0.0, 1.0, n_temperatures + 1)
    base = machine.base_log_partition(base_bias)
    if reverse:
        betas = betas[::-1].copy()
        if start is None:
            exact = machine.enumerable()
            start = machine.sample_exact(n_chains, rng) if exact else equilibrium()
    else:
        start = machine.sample_base(n_chains, base_bias, rng)
    assert start is not None
    log_weights, _ = core.anneal(
        np.ascontiguousarray(enter(start), dtype),
        betas,
        base_bias.astype(dtype),
        int(rng.integers(2**63)),
    )
    value, (low, high) = _log_mean_exp_interval(log_weights, rng)
    if reverse:
        return Estimate(base - value, (base - high, base - low), "reverse_ais")
    return Estimate(base + value, (base + low, base + high), "ais")

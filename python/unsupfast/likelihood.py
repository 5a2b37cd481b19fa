"""Partition functions and likelihoods of restricted Boltzmann machines: exact, AIS and reverse AIS.

References
----------
.. [1] R. Salakhutdinov, I. Murray. "On the quantitative analysis of deep belief networks".
       ICML 2008.
.. [2] Y. Burda, R. Grosse, R. Salakhutdinov. "Accurate and conservative estimates of MRF
       log-likelihood using reverse annealing". AISTATS 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

__all__ = ["Estimate", "Machine"]

# Units of the smaller layer that are still enumerated: 2^22 states of the other layer's sums.
MAX_EXACT_UNITS = 22
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

    ``weights`` is (n_visible, n_hidden); ``log_variance`` None means Bernoulli visibles.
    """

    weights: NDArray[np.float64]
    visible_bias: NDArray[np.float64]
    hidden_bias: NDArray[np.float64]
    log_variance: NDArray[np.float64] | None = None

    def _enumerate_hidden(self) -> bool:
        return self.log_variance is not None or len(self.hidden_bias) <= len(self.visible_bias)

    def enumerable(self) -> bool:
        """Whether the smaller layer that can be enumerated is small enough."""
        units = len(self.hidden_bias) if self._enumerate_hidden() else len(self.visible_bias)
        return units <= MAX_EXACT_UNITS

    def _log_marginals(self, states: NDArray[np.float64], hidden: bool) -> NDArray[np.float64]:
        """Log of the unnormalised marginal of states of the enumerated layer."""
        if not hidden:
            x = states @ self.weights + self.hidden_bias
            return states @ self.visible_bias + np.logaddexp(0, x).sum(axis=1)
        x = states @ self.weights.T
        own = states @ self.hidden_bias
        if self.log_variance is None:
            return own + np.logaddexp(0, x + self.visible_bias).sum(axis=1)
        # integral over v of exp(-(v - a)^2 / (2 s^2) + v x / s^2)
        variance = np.exp(self.log_variance)
        gauss = (x * (x + 2 * self.visible_bias) / (2 * variance)).sum(axis=1)
        return own + gauss + 0.5 * np.log(2 * np.pi * variance).sum()

    def _blocks(self, hidden: bool):
        units = len(self.hidden_bias) if hidden else len(self.visible_bias)
        if units > MAX_EXACT_UNITS:
            layer = "hidden" if hidden else "visible"
            raise ValueError(
                f"method='exact' enumerates the {layer} layer, which has {units} units; expected "
                f"at most {MAX_EXACT_UNITS}: use method='ais'"
            )
        size = 1 << min(units, 13)
        for first in range(0, 1 << units, size):
            index = np.arange(first, first + size, dtype=np.int64)
            yield (index[:, None] >> np.arange(units) & 1).astype(np.float64)

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
        units = len(self.hidden_bias) if hidden else len(self.visible_bias)
        states = (index[:, None] >> np.arange(units) & 1).astype(np.float64)
        if not hidden:
            return states
        x = states @ self.weights.T + self.visible_bias
        if self.log_variance is None:
            return (rng.random(x.shape) < expit(x)).astype(np.float64)
        return x + np.exp(self.log_variance / 2) * rng.standard_normal(x.shape)

    def base_log_partition(self, base_bias: NDArray[np.float64]) -> float:
        """Log Z of the machine that annealing starts from: no weights, uniform hidden units."""
        hidden = len(self.hidden_bias) * np.log(2)
        if self.log_variance is None:
            return float(np.logaddexp(0, base_bias).sum() + hidden)
        return float(0.5 * (np.log(2 * np.pi) + self.log_variance).sum() + hidden)

    def sample_base(
        self, n: int, base_bias: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Independent draws of the visible layer of that machine."""
        shape = (n, len(self.visible_bias))
        if self.log_variance is None:
            return (rng.random(shape) < expit(base_bias)).astype(np.float64)
        return self.visible_bias + np.exp(self.log_variance / 2) * rng.standard_normal(shape)


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


def annealed_log_partition(
    core: Any,
    machine: Machine,
    *,
    reverse: bool,
    start: NDArray[np.float64] | None,
    base_bias: NDArray[np.float64],
    n_chains: int,
    n_temperatures: int,
    dtype: np.dtype,
    rng: np.random.Generator,
) -> Estimate:
    """Log Z by annealed importance sampling [1]_, or in reverse from samples of the model [2]_.

    Parameters
    ----------
    core : unsupfast._core.Rbm
        The compiled machine with the same parameters.
    start : ndarray of shape (n_chains, n_visible) or None
        Reverse only: samples of the model. The estimate is a stochastic upper bound only as far as
        they are.
    base_bias : ndarray of shape (n_visible,)
        Visible bias of the base-rate machine.
    """
    betas = np.linspace(0.0, 1.0, n_temperatures + 1)
    base = machine.base_log_partition(base_bias)
    if reverse:
        betas = betas[::-1].copy()
    else:
        start = machine.sample_base(n_chains, base_bias, rng)
    assert start is not None
    log_weights, _ = core.anneal(
        np.ascontiguousarray(start, dtype), betas, base_bias.astype(dtype), int(rng.integers(2**63))
    )
    value, (low, high) = _log_mean_exp_interval(log_weights, rng)
    if reverse:
        return Estimate(base - value, (base - high, base - low), "reverse_ais")
    return Estimate(base + value, (base + low, base + high), "ais")

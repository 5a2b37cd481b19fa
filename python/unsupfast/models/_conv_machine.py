"""A convolutional RBM in float64: its sizes, and what enumeration of its states gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from ..likelihood import MAX_EXACT_STATES

__all__ = ["ConvMachine"]

_BLOCK_STATES = 1 << 12  # enumerated at a time


@dataclass
class ConvMachine:
    """The parameters, as enumeration wants them.

    ``filters`` is (n_filters, height, width, channels); visible units are Bernoulli, or Gaussian
    of unit variance.
    """

    filters: NDArray[np.float64]
    visible_bias: NDArray[np.float64]
    hidden_bias: NDArray[np.float64]
    image: tuple[int, int, int]
    pool: int
    gaussian: bool

    @property
    def detection(self) -> tuple[int, int, int]:
        """Rows, columns and filters of the detection units."""
        height, width, _ = self.image
        return (
            height - self.filters.shape[1] + 1,
            width - self.filters.shape[2] + 1,
            len(self.filters),
        )

    @property
    def _blocks(self) -> int:
        return int(np.prod(self.detection)) // self.pool**2

    # ------------------------------------------------------------------ one layer given the other

    def fields(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """What comes in to the detection units, by blocks: (n, blocks, units of a block)."""
        maps = v.reshape(-1, *self.image)
        windows = np.lib.stride_tricks.sliding_window_view(
            maps, self.filters.shape[1:3], axis=(1, 2)
        )
        x = np.einsum("nyxcrs,krsc->nyxk", windows, self.filters, optimize=True) + self.hidden_bias
        rows, cols, n_filters = self.detection
        p = self.pool
        x = x.reshape(-1, rows // p, p, cols // p, p, n_filters).transpose(0, 1, 3, 5, 2, 4)
        return x.reshape(len(x), self._blocks, p * p)

    def hidden_log_partition(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log of the sum over hidden states of exp(their part of minus the energy), of each row."""
        x = self.fields(v)
        return np.logaddexp(0, logsumexp(x, axis=2)).sum(axis=1)

    def inputs(self, h: NDArray[np.float64]) -> NDArray[np.float64]:
        """What comes in to the visible units from maps of detection units, without their bias."""
        rows, cols, _ = self.detection
        h = h.reshape(-1, *self.detection)
        x = np.zeros((len(h), *self.image))
        for r in range(self.filters.shape[1]):
            for s in range(self.filters.shape[2]):
                x[:, r : r + rows, s : s + cols] += h @ self.filters[:, r, s]
        return x.reshape(len(h), -1)

    def visible_log_weight(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a visible state has of minus the energy by itself."""
        maps = v.reshape(len(v), -1, self.image[2])
        if self.gaussian:
            return -0.5 * ((maps - self.visible_bias) ** 2).sum(axis=(1, 2))
        return maps.sum(axis=1) @ self.visible_bias

    def _visible_log_partition(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        bias = np.tile(self.visible_bias, x.shape[1] // self.image[2])
        if self.gaussian:
            return (x * (x + 2 * bias) / 2).sum(axis=1) + 0.5 * np.log(2 * np.pi) * x.shape[1]
        return np.logaddexp(0, x + bias).sum(axis=1)

    # ------------------------------------------------------------------ enumeration

    def _count(self, hidden: bool) -> float:
        if hidden:
            return (1.0 + self.pool**2) ** self._blocks
        return np.inf if self.gaussian else 2.0 ** int(np.prod(self.image))

    def _enumerate_hidden(self) -> bool:
        return self._count(True) <= self._count(False)

    def enumerable(self) -> bool:
        """Whether the smaller layer has few enough states."""
        return self._count(self._enumerate_hidden()) <= MAX_EXACT_STATES

    def states(self, hidden: bool) -> Iterator[NDArray[np.float64]]:
        """All joint states of a layer, a bounded number at a time."""
        count = self._count(hidden)
        if count > MAX_EXACT_STATES:
            layer = "hidden" if hidden else "visible"
            raise ValueError(
                f"method='exact' enumerates the {layer} layer, which has {count:.4g} joint states; "
                f"expected at most {MAX_EXACT_STATES}: use method='ais'"
            )
        for first in range(0, int(count), _BLOCK_STATES):
            index = np.arange(first, min(first + _BLOCK_STATES, int(count)), dtype=np.int64)
            yield self._hidden_states(index) if hidden else self._visible_states(index)

    def _visible_states(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        return (index[:, None] >> np.arange(int(np.prod(self.image))) & 1).astype(np.float64)

    def _hidden_states(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        # of each block which unit is on, or, last, that none is
        p = self.pool
        which = index[:, None] // (1 + p * p) ** np.arange(self._blocks) % (1 + p * p)
        rows, cols, n_filters = self.detection
        h = np.eye(1 + p * p)[which][..., : p * p]
        h = h.reshape(-1, rows // p, cols // p, n_filters, p, p).transpose(0, 1, 4, 2, 5, 3)
        return h.reshape(len(index), -1)

    def log_marginals(self, states: NDArray[np.float64], hidden: bool) -> NDArray[np.float64]:
        """Log of the unnormalised marginal of states of a layer."""
        if hidden:
            own = states.reshape(len(states), -1, len(self.filters)).sum(axis=1) @ self.hidden_bias
            return own + self._visible_log_partition(self.inputs(states))
        return self.visible_log_weight(states) + self.hidden_log_partition(states)

    def log_partition(self) -> float:
        """Exact log Z by enumeration of the smaller layer."""
        hidden = self._enumerate_hidden()
        return float(
            logsumexp([logsumexp(self.log_marginals(s, hidden)) for s in self.states(hidden)])
        )

    def sample_exact(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Independent draws of the visible layer, by enumeration."""
        hidden = self._enumerate_hidden()
        logs = np.concatenate([self.log_marginals(s, hidden) for s in self.states(hidden)])
        p = np.exp(logs - logsumexp(logs))
        index = rng.choice(len(p), size=n, p=p / p.sum())
        if not hidden:
            return self._visible_states(index)
        return self._sample_visible(self.inputs(self._hidden_states(index)), rng)

    def _sample_visible(self, x: NDArray[np.float64], rng: np.random.Generator):
        x = x + np.tile(self.visible_bias, x.shape[1] // self.image[2])
        if self.gaussian:
            return x + rng.standard_normal(x.shape)
        return (rng.random(x.shape) < expit(x)).astype(np.float64)

    # ------------------------------------------------------------------ where annealing starts

    def _base(self, base_bias: NDArray[np.float64]) -> ConvMachine:
        # Gaussian visibles keep their mean along the path
        return self if self.gaussian else replace(self, visible_bias=base_bias)

    def base_log_partition(self, base_bias: NDArray[np.float64]) -> float:
        """Log Z of the machine without filters and hidden biases."""
        nothing = np.zeros((1, int(np.prod(self.image))))
        visible = self._base(base_bias)._visible_log_partition(nothing)[0]
        return float(visible + self._blocks * np.log(1 + self.pool**2))

    def sample_base(
        self, n: int, base_bias: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Independent draws of the visible layer of that machine."""
        nothing = np.zeros((n, int(np.prod(self.image))))
        return self._base(base_bias)._sample_visible(nothing, rng)

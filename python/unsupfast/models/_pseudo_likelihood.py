"""Probabilities of single variables of a visible layer given all others: the pseudo-likelihood.

A variable is a unit by itself, a group of units of which one is on, or one word of a document.
Given all others its states have probabilities proportional to ``exp(-F(v))``, and a change of one
variable changes the fields of the hidden units by a row of weights.

References
----------
.. [1] J. Besag. "Statistical analysis of non-lattice data". The Statistician 24, 1975.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy import special

from .. import ops

__all__ = ["Variables"]

_FIELDS = 1 << 22  # fields of hidden units that are in memory at a time


class Variables:
    """The variables of a model's visible layer, whose units all have finitely many states.

    Parameters
    ----------
    model : RBMCore
        Fitted.
    """

    def __init__(self, model: Any):
        self._hidden, self._hidden_shape = model._hidden_layer, model.shape_hidden_
        self._weights = np.ascontiguousarray(model.components_.T)
        self._visible_bias = model.intercept_visible_.astype(np.float64)
        self._hidden_bias, self._layer = model.intercept_hidden_, model._visible_layer
        self._units: list[tuple[Any, slice]] = []
        self._words = None
        for unit, s in self._layer.parts:
            if unit.kind == "multinomial":
                self._words = s
                continue
            for first in range(s.start, s.stop, unit.group):
                self._units.append((unit, slice(first, first + unit.group)))

    @property
    def most_states(self) -> int:
        """Of any variable."""
        words = 0 if self._words is None else self._words.stop - self._words.start
        return max([words, *(len(unit.one()) for unit, _ in self._units)])

    def likelihood_of(self, v: Any, draw: np.ndarray) -> np.ndarray:
        """log p(variable | all others) times the number of variables, for a variable of each row.

        Parameters
        ----------
        v : array or sparse matrix of shape (n_samples, n_features)
        draw : ndarray of int of shape (n_samples,)
            Which one, modulo their number.
        """
        v, x = self._dense(v)
        count = self._count(v)
        variable = draw.astype(np.uint64) % np.maximum(count, 1).astype(np.uint64)
        variable = variable.astype(np.int64)
        out = np.zeros(len(v))
        for i in np.unique(variable[variable < len(self._units)]):
            rows = np.flatnonzero(variable == i)
            out[rows] = self._log_unit(v[rows], x[rows], int(i))
        rows = np.flatnonzero((variable >= len(self._units)) & (count > 0))
        if len(rows):
            passed = v[rows, self._words].cumsum(axis=1)
            position = (variable[rows] - len(self._units))[:, None]
            out[rows] = self._log_words(x[rows], (passed > position).argmax(axis=1))
        return count * out

    def likelihood(self, v: Any) -> np.ndarray:
        """Sum of log p(variable | all others) over all variables of each row."""
        v, x = self._dense(v)
        out = np.zeros(len(v))
        for i in range(len(self._units)):
            out += self._log_unit(v, x, i)
        if self._words is not None:
            rows, words = np.nonzero(v[:, self._words])
            log_p = v[:, self._words][rows, words] * self._log_words(x[rows], words)
            out += np.bincount(rows, log_p, len(v))
        return out

    def _dense(self, v: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows, and the fields of their hidden units."""
        v = v.toarray() if sp.issparse(v) else np.asarray(v)
        v = np.ascontiguousarray(v, self._weights.dtype)
        totals = np.reshape(self._layer.totals(v), (-1, 1)).astype(v.dtype)
        return v, ops.matmul(v, self._weights) + totals * self._hidden_bias

    def _count(self, v: np.ndarray) -> np.ndarray:
        words = 0 if self._words is None else v[:, self._words].sum(axis=1, dtype=np.float64)
        return np.full(len(v), len(self._units)) + np.asarray(words, np.int64)

    def _log_unit(self, v: np.ndarray, x: np.ndarray, i: int) -> np.ndarray:
        unit, s = self._units[i]
        states = unit.one()
        rest = x - ops.matmul(np.ascontiguousarray(v[:, s]), self._weights[s])
        change = states.astype(v.dtype) @ self._weights[s]
        log_p = self._log_states(rest, change, states @ self._visible_bias[s])
        return (unit.shares(v[:, s]) * log_p).sum(axis=1)

    def _log_words(self, x: np.ndarray, words: np.ndarray) -> np.ndarray:
        weights, bias = self._weights[self._words], self._visible_bias[self._words]
        log_p = self._log_states(x - weights[words], weights, bias)
        return log_p[np.arange(len(x)), words]

    def _log_states(self, rest: np.ndarray, change: np.ndarray, own: np.ndarray) -> np.ndarray:
        """log p of each state of a variable, in rows of fields that all others make."""
        (states, hiddens), out = change.shape, np.empty((len(rest), len(change)))
        rows = max(1, _FIELDS // change.size)
        for start in range(0, len(rest), rows):
            x = (rest[start : start + rows, None] + change).reshape(-1, hiddens)
            if self._hidden.is_all("bernoulli"):
                log_z = ops.sum(ops.softplus(x), axis=1).astype(np.float64)
            else:
                log_z = self._hidden.log_partition(x.astype(np.float64), self._hidden_shape)
            out[start : start + rows] = special.log_softmax(log_z.reshape(-1, states) + own, axis=1)
        return out

"""Rows of which some values are missing.

In training they are drawn anew, given the rest, before every epoch, by chains that persist over the
epochs as the model's own do: stochastic approximation of maximum likelihood, in which the data's
side of the gradient is an average over the missing values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ..units import Layer

__all__ = ["Missing"]

# Gibbs steps of the missing values before an epoch; the chains go on from epoch to epoch.
_STEPS = 5
_BLOCK_ROWS = 8192


class Missing:
    """A filled copy of X, and where it was NaN.

    Attributes
    ----------
    X : ndarray
        The copy, rewritten by :meth:`redraw`.
    mean : ndarray
        Mean of the observed values of each column.
    """

    def __init__(self, X: np.ndarray, mask: np.ndarray, layer: Layer, fitted: bool):
        self.rows = np.flatnonzero(mask.any(axis=1))
        self.mask = mask[self.rows]
        empty = np.flatnonzero(self.mask.all(axis=1))
        if len(empty):
            raise ValueError(
                f"X has rows without any observed value, as row {self.rows[empty[0]]}; expected at "
                "least one that is not NaN"
            )
        empty = np.flatnonzero(mask.all(axis=0))
        if len(empty) and not fitted:
            raise ValueError(
                f"X has columns without any observed value, as column {empty[0]}; expected at "
                "least one that is not NaN"
            )
        for unit, s in layer.parts:
            part = self.mask[:, s].reshape(len(self.rows), -1, unit.group)
            if unit.kind == "multinomial" and part.any():
                raise ValueError("X has NaN among counts; expected every count to be known")
            if (part.any(axis=2) != part.all(axis=2)).any():
                raise ValueError("X has NaN in a part of a group; expected in the whole of it")
        count = np.maximum((~mask).sum(axis=0), 1)
        self.mean = (np.nansum(X, axis=0, dtype=np.float64) / count).astype(X.dtype)
        self._layer = layer
        self.X = np.where(mask, self.mean, X)
        if not fitted:  # groups that are filled with means sum to one as others do
            layer.check(self.X, "X")

    @classmethod
    def of(cls, X: Any, layer: Layer, fitted: bool = False) -> Missing | None:
        """What is missing of X, if anything is.

        Parameters
        ----------
        X : ndarray or sparse matrix
        layer : Layer
        fitted : bool, default=False
            Whether there is a model to fill in by, so that no column needs an observed value.
        """
        blocks = range(0, 0 if sp.issparse(X) else X.shape[0], _BLOCK_ROWS)
        if not any(np.isnan(X[start : start + _BLOCK_ROWS]).any() for start in blocks):
            return None  # without a mask of all of a mapped file
        return cls(X, np.isnan(X), layer, fitted)

    def start(self, model: Any) -> None:
        """Fills in first values, or those of the run that the model resumes."""
        if model._imputed is None:
            model._imputed = self._drawn(self.mean, np.random.default_rng([model._seed, 7]))
        self._fill(model._imputed)

    def _drawn(self, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """States of the missing units by themselves; real numbers start at their mean."""
        field = self._layer.field_of_mean(mean.astype(np.float64))
        drawn = self._layer.sample(np.broadcast_to(field, self.mask.shape), rng)
        for unit, s in self._layer.parts:
            if not unit.discrete:
                drawn[:, s] = np.broadcast_to(mean[s], drawn[:, s].shape)
        return drawn[self.mask].astype(self.X.dtype)

    def redraw(self, model: Any, epoch: int) -> None:
        """Draws the missing values again, given the observed ones and the model as it is."""
        core = model._synced_core()
        for start in range(0, len(self.rows), _BLOCK_ROWS):
            rows = self.rows[start : start + _BLOCK_ROWS]
            held = (~self.mask[start : start + _BLOCK_ROWS]).astype(np.uint8)
            seed = int(np.random.default_rng([model._seed, 8, epoch, start]).integers(2**63))
            self.X[rows], _ = model._gibbs_from(core, self.X[rows], _STEPS, held, seed)
        model._imputed = self.X[self.rows][self.mask]

    def means(self, model: Any, steps: int, burn_in: int, seed: int) -> np.ndarray:
        """X with the missing values' means given the observed ones, over Gibbs steps."""
        mean = np.empty_like(self.X)
        self._average(model, steps, burn_in, seed, mean, lambda core, v, mean: mean)
        self._fill(mean[self.rows][self.mask])
        return self.X

    def hidden_means(self, model: Any, steps: int, burn_in: int, seed: int) -> np.ndarray:
        """Mean hidden activities given the observed values, over Gibbs steps."""
        H = model._mean_hiddens(self.X)
        self._average(
            model,
            steps,
            burn_in,
            seed,
            H,
            lambda core, v, mean: core.hidden_given_visible(model._enter(v), "mean"),
        )
        return H

    def _average(
        self, model: Any, steps: int, burn_in: int, seed: int, out: np.ndarray, of
    ) -> None:
        """Rows of `out` with missing values become the mean of `of` over Gibbs steps."""
        self._fill(self._drawn(model._data_mean, np.random.default_rng(seed)))
        core = model._synced_core()
        for start in range(0, len(self.rows), _BLOCK_ROWS):
            rows = self.rows[start : start + _BLOCK_ROWS]
            held = (~self.mask[start : start + _BLOCK_ROWS]).astype(np.uint8)
            v, _ = model._gibbs_from(core, self.X[rows], burn_in, held, seed)
            total = 0.0
            for step in range(1, steps + 1):
                v, mean = model._gibbs_from(core, v, 1, held, (seed + start + step) % 2**64)
                total = total + of(core, v, mean).astype(np.float64)
            out[rows] = total / steps

    def _fill(self, values: np.ndarray) -> None:
        if len(values) != self.mask.sum():
            raise ValueError(
                f"resume: the file has {len(values)} missing values; expected {self.mask.sum()}, "
                "as X has"
            )
        block = self.X[self.rows]
        block[self.mask] = values
        self.X[self.rows] = block

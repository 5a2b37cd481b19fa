"""Data of any scale for Gaussian visible units: a mean and a standard deviation for every column.

Energies of Gaussian units keep their form where data are shifted and scaled, so that a machine of
standardised data is one of the data themselves (:func:`in_units_of_data`); trained is the former,
whose gradients are of one size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..likelihood import Machine
from ..units import Layer

__all__ = ["column_scales", "in_units_of_data"]

_BLOCK_ROWS = 8192


def column_scales(X: Any, layer: Layer, missing: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of the columns of Gaussian units that are to be standardised.

    Parameters
    ----------
    X : array or CSR matrix of shape (n_samples, n_features)
        Read a block of rows at a time, in float64.
    layer : Layer
    missing : Missing or None
        What of X is not observed, and does not count.

    Returns
    -------
    offset, scale : ndarray of shape (n_features,)
        In the dtype of X; 0 and 1 for all other columns.

    Raises
    ------
    ValueError
        If such a column has one value only.
    """
    columns = np.flatnonzero(layer.standardized())
    offset, scale = np.zeros(X.shape[1], X.dtype), np.ones(X.shape[1], X.dtype)
    if not len(columns):
        return offset, scale
    if X.shape[0] < 2:
        raise ValueError(
            f"X has n_samples = {X.shape[0]}, which tells no scale of Gaussian units; expected at "
            "least 2, or units.Gaussian(standardize=False)"
        )

    mean, low, high = (np.full(len(columns), x) for x in (0.0, np.inf, -np.inf))
    count = np.zeros(len(columns), np.int64)
    for block in _blocks(X, columns, missing):
        mean += np.nansum(block, axis=0)
        count += (~np.isnan(block)).sum(axis=0)
        low, high = np.fmin(low, np.fmin.reduce(block)), np.fmax(high, np.fmax.reduce(block))
    mean /= count
    square = np.zeros(len(columns))
    for block in _blocks(X, columns, missing):
        square += np.nansum((block - mean) ** 2, axis=0)
    deviation = np.sqrt(square / count)
    constant = np.flatnonzero((low == high) | (deviation < np.finfo(X.dtype).tiny))
    if len(constant):
        raise ValueError(
            f"X has columns of one value only, {len(constant)} of them, such as column "
            f"{columns[constant[0]]} with {low[constant[0]]:g}, which tell no scale of Gaussian "
            "units; leave them out, or pass units.Gaussian(standardize=False)"
        )
    offset[columns], scale[columns] = mean, deviation
    return offset, scale


def _blocks(X: Any, columns: np.ndarray, missing: Any) -> Iterator[np.ndarray]:
    """Some columns of blocks of rows, in float64, NaN where a value is missing."""
    for start in range(0, X.shape[0], _BLOCK_ROWS):
        rows = X[start : start + _BLOCK_ROWS]
        block = (rows.toarray() if sp.issparse(rows) else rows)[:, columns].astype(np.float64)
        if missing is not None:
            first, last = np.searchsorted(missing.rows, (start, start + len(block)))
            at = missing.rows[first:last] - start
            block[at] = np.where(missing.mask[first:last][:, columns], np.nan, block[at])
        yield block


def in_units_of_data(machine: Machine, offset: np.ndarray, scale: np.ndarray) -> Machine:
    """The machine of x whose energies are those of `machine` at (x - offset) / scale.

    Its densities are those of x, its partition function is larger by the product of the scales.
    """
    precision = np.where(machine.visible.mask("gaussian"), np.exp(-machine.log_variance), 1)
    # hidden biases count as often as a row has words; this part of them counts once
    shift = (offset / scale * precision) @ machine.weights / machine.total
    return Machine(
        machine.weights * scale[:, None],
        offset + scale * machine.visible_bias,
        machine.hidden_bias - shift,
        machine.visible,
        machine.hidden,
        machine.log_variance + 2 * np.log(scale),
        machine.visible_shape,
        machine.hidden_shape,
        machine.total,
    )

"""Arrays of tiles, made of rows: what pictures show, with matplotlib and without."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp


def tiled(rows: np.ndarray, shape: tuple[int, int], columns: int | None = None) -> np.ndarray:
    """Tiles with a line of NaN around each; cells without a tile are NaN, too."""
    height, width = shape
    if columns is None:
        # About as wide as high in pixels, whatever the shape of a tile.
        columns = min(len(rows), max(1, round(math.sqrt(len(rows) * (height + 1) / (width + 1)))))
    lines = -(-len(rows) // columns)
    out = np.full((lines * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
    for i, row in enumerate(rows):
        top, left = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        out[top : top + height, left : left + width] = row.reshape(shape)
    return out


def paired(
    inputs: np.ndarray, outputs: np.ndarray, shape: tuple[int, int], columns: int
) -> tuple[np.ndarray, list[float]]:
    """Tiles of outputs below those of inputs, and the middles of their rows."""
    bands = []
    for start in range(0, len(inputs), columns):
        pair = [tiled(a[start : start + columns], shape, columns) for a in (inputs, outputs)]
        bands.append(np.vstack([pair[0], pair[1][1:]]))  # one border line between the two
    # A wider gap between pairs than inside one shows which row belongs to which.
    gap = np.full((max(2, shape[0] // 4), bands[0].shape[1]), np.nan)
    pitch, band_pitch = shape[0] + 1, bands[0].shape[0] + len(gap)
    middles = [i * band_pitch + (j + 0.5) * pitch for i in range(len(bands)) for j in (0, 1)]
    return np.vstack([part for band in bands for part in (gap, band)][1:]), middles


def strips(
    blocks: list[tuple[np.ndarray, int]], shape: tuple[int, int]
) -> tuple[np.ndarray, list[float]]:
    """Tiles of blocks (rows, columns) side by side, and the middles of the blocks."""
    parts, middles, at = [], [], 0.0
    for rows, columns in blocks:
        block = tiled(rows, shape, columns)
        gap = np.full((len(block), max(2, shape[1] // 4)), np.nan)
        parts += [block, gap]
        middles.append(at + block.shape[1] / 2 - 0.5)
        at += block.shape[1] + gap.shape[1]
    return np.hstack(parts[:-1]), middles


def weights_of(model: Any) -> Any:
    """The weight vectors of a model's first hidden layer, one a row; an array as it is."""
    if hasattr(model, "components_"):
        weights = model.components_
        if isinstance(weights, list):  # of a deep machine
            return weights[0]
        return weights[:, : getattr(model, "n_features_in_", None)]  # without labels
    if hasattr(model, "layers_"):
        return model.layers_[0].components_
    if hasattr(model, "network_"):
        return model.network_.encoder.layers[0].weight.T
    return model


def n_rows(values: Any) -> int:
    return int(values.shape[0]) if hasattr(values, "shape") and values.shape else len(values)


def dense_rows(name: str, values: Any, n: int | None) -> np.ndarray:
    """The first n rows, dense, as float64; of a memmap or sparse matrix only those are touched."""
    if n is not None:
        n = positive("n", n)
    if not hasattr(values, "shape"):
        values = np.asarray(values)
    if len(values.shape) != 2:
        raise ValueError(f"{name}: got shape {tuple(values.shape)}, expected 2 dimensions")
    if sp.issparse(values):
        part = values.tocsr()[:n].toarray()
    else:
        part = np.asarray(values[:n])
    if part.dtype.kind not in "biuf":
        raise ValueError(f"{name}: got {part.dtype}, expected numbers")
    if part.size == 0:
        raise ValueError(f"{name}: got shape {tuple(values.shape)}, there is nothing to draw")
    return part.astype(np.float64)


def positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {value!r}, expected an int")
    if value < 1:
        raise ValueError(f"{name}: got {value}, expected 1 or more")
    return int(value)


def checked_limits(limits: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in limits)
    except (TypeError, ValueError):
        raise ValueError(f"limits: got {limits!r}, expected two numbers (low, high)") from None
    if not low < high:
        raise ValueError(f"limits: got {limits!r}, expected low < high")
    return low, high


def tile_shape(shape: Any, n_features: int) -> tuple[int, int]:
    if shape is None:
        side = math.isqrt(n_features)
        if side * side != n_features:
            raise ValueError(
                f"image_shape: {n_features} features are not a square; give (height, width)"
            )
        return side, side
    try:
        height, width = (int(v) for v in shape)
    except (TypeError, ValueError):
        raise ValueError(f"image_shape: got {shape!r}, expected (height, width)") from None
    if height < 1 or width < 1 or height * width != n_features:
        raise ValueError(f"image_shape: got {(height, width)}, which is not {n_features} features")
    return height, width


def pixels_of(shape: tuple[int, int]) -> str:
    return f"{shape[0]}×{shape[1]} pixels each"

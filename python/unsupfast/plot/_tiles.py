"""Pictures made of tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import (
    checked_limits,
    dense_rows,
    n_rows,
    paired,
    pixels_of,
    positive,
    tile_shape,
    tiled,
    weights_of,
)
from ._figure import axes_for, require_matplotlib, show_tiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def filters(
    components: Any,
    image_shape: tuple[int, int] | None = None,
    n: int | None = 100,
    ax: Axes | None = None,
    *,
    limit: float | None = None,
    title: str | None = None,
) -> Axes:
    """Draw weight vectors as a grid of tiles on one colour scale, symmetric about zero.

    Parameters
    ----------
    components : array of shape (n_filters, n_features), or fitted model
        The weights, or a model, of which those of its first hidden layer are drawn.
    image_shape : (height, width), default=None
        Shape of a tile; a square if None.
    n : int or None, default=100
        Draw the first `n` filters; None draws all.
    ax : Axes, default=None
        Where to draw; a new figure if None.
    limit : float, default=None
        End of the colour scale. If None, the 99.5th percentile of the absolute weights drawn, so
        that a few outliers do not fade all the rest; the colour bar then has arrows for what lies
        beyond.
    title : str, default=None
        A title instead of the one that counts the filters.

    Returns
    -------
    Axes
        The axes, with a colour bar beside them.

    Raises
    ------
    ValueError
        If shapes do not fit, `n` or `limit` is not positive, or there is nothing to draw.
    ImportError
        If matplotlib is missing.

    Notes
    -----
    Weights have the unit of the logit: a step of one visible unit adds its weight to the logit of
    the hidden one. Source of the display: G. Hinton, "A practical guide to training restricted
    Boltzmann machines", 2010, section 15.
    """
    require_matplotlib()
    components = weights_of(components)
    total = n_rows(components)
    rows = dense_rows("components", components, n)
    shape = tile_shape(image_shape, rows.shape[1])
    if limit is None:
        finite = np.abs(rows[np.isfinite(rows)])
        scale = float(np.percentile(finite, 99.5)) if finite.size else 0.0
        scale = scale or (float(finite.max()) if finite.size else 0.0) or 1.0
    elif not (np.isfinite(limit) and limit > 0):
        raise ValueError(f"limit: got {limit!r}, expected a positive number")
    else:
        scale = float(limit)
    tiles = tiled(rows, shape)
    axes = axes_for(ax, tiles.shape, bar=True)
    image = show_tiles(axes, tiles, "RdBu_r", -scale, scale)
    beyond = bool(np.nanmax(np.abs(rows)) > scale) if np.isfinite(rows).any() else False
    bar = axes.figure.colorbar(
        image, ax=axes, extend="both" if beyond else "neither", fraction=0.046, pad=0.02
    )
    bar.set_label("weight (one scale for all tiles)")
    count = f"{len(rows)}" if len(rows) == total else f"{len(rows)} of {total}"
    axes.set_title(title if title is not None else f"{count} filters, {pixels_of(shape)}")
    return axes


def samples(
    images: Any,
    image_shape: tuple[int, int] | None = None,
    ax: Axes | None = None,
    *,
    n: int | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    title: str | None = None,
) -> Axes:
    """Draw images as a grid of grey tiles.

    Parameters
    ----------
    images : array or sparse matrix of shape (n_samples, n_features)
        Pictures, one a row.
    image_shape : (height, width), default=None
        Shape of a tile; a square if None.
    ax : Axes, default=None
        Where to draw; a new figure if None.
    n : int or None, default=None
        Draw the first `n`; None draws all.
    limits : (low, high), default=(0, 1)
        Values drawn black and white; what lies beyond is clipped.
    title : str, default=None
        A title instead of the one that counts the samples.

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If shapes do not fit, `n` is not positive, `limits` is empty, or there is nothing to draw.
    ImportError
        If matplotlib is missing.
    """
    require_matplotlib()
    low, high = checked_limits(limits)
    rows = dense_rows("images", images, n)
    shape = tile_shape(image_shape, rows.shape[1])
    tiles = tiled(rows, shape)
    axes = axes_for(ax, tiles.shape)
    show_tiles(axes, tiles, "gray", low, high)
    axes.set_title(title if title is not None else f"{len(rows)} samples, {pixels_of(shape)}")
    return axes


def reconstructions(
    X: Any,
    X_hat: Any,
    image_shape: tuple[int, int] | None = None,
    n: int = 10,
    ax: Axes | None = None,
    *,
    n_columns: int = 10,
    limits: tuple[float, float] = (0.0, 1.0),
    title: str | None = None,
) -> Axes:
    """Draw inputs above their reconstructions, in pairs of rows.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
        The inputs.
    X_hat : array of the same shape, or fitted model
        The reconstructions, or a model whose ``reconstruct`` makes them.
    image_shape : (height, width), default=None
        Shape of a tile; a square if None.
    n : int, default=10
        Draw the first `n`.
    ax : Axes, default=None
        Where to draw; a new figure if None.
    n_columns : int, default=10
        Pairs side by side; further pairs go into further pairs of rows.
    limits : (low, high), default=(0, 1)
        Values drawn black and white; what lies beyond is clipped.
    title : str, default=None
        A title instead of the one that counts the pairs.

    Returns
    -------
    Axes
        The axes; the rows are named at the left.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not positive, or there is nothing to draw.
    ImportError
        If matplotlib is missing.
    """
    require_matplotlib()
    low, high = checked_limits(limits)
    columns = positive("n_columns", n_columns)
    inputs = dense_rows("X", X, n)
    if hasattr(X_hat, "reconstruct"):
        X_hat = X_hat.reconstruct(X[: len(inputs)])
    outputs = dense_rows("X_hat", X_hat, len(inputs))
    if inputs.shape != outputs.shape:
        raise ValueError(
            f"X_hat: got shape {outputs.shape}, expected that of X, {inputs.shape} (first {n} rows)"
        )
    shape = tile_shape(image_shape, inputs.shape[1])
    columns = min(columns, len(inputs))
    tiles, middles = paired(inputs, outputs, shape, columns)
    axes = axes_for(ax, tiles.shape)
    show_tiles(axes, tiles, "gray", low, high)
    axes.set_yticks(middles, ["input", "reconstruction"] * (len(middles) // 2))
    axes.set_title(title if title is not None else f"{len(inputs)} inputs and reconstructions")
    return axes

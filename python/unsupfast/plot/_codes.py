"""Pictures of codes: where samples lie, and what lies between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import latent
from ._arrays import checked_limits, dense_rows, positive, strips, tile_shape, tiled
from ._figure import axes_for, require_matplotlib, show_tiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_LEGEND = 20
_WALKS = {"linear": latent.lerp, "spherical": latent.slerp}


def codes(
    codes: Any,
    classes: Any = None,
    ax: Axes | None = None,
    *,
    size: float | None = None,
    title: str | None = None,
) -> Axes:
    """Draw two-dimensional codes as points, coloured by class.

    Parameters
    ----------
    codes : array of shape (n_samples, 2)
        As ``transform`` of a model gives them.
    classes : array-like of shape (n_samples,), default=None
        Label of each sample: integers or strings. One colour for all if None.
    ax : Axes, default=None
        Where to draw; a new figure if None.
    size : float, default=None
        Area of a point in square points; smaller for more samples if None.
    title : str, default=None
        A title instead of the one that counts the samples.

    Returns
    -------
    Axes
        The axes, with a legend beside them for up to 20 classes and a colour bar for more.

    Raises
    ------
    ValueError
        If the codes are not two-dimensional or finite, there are none, or `classes` is not one
        label each.
    ImportError
        If matplotlib is missing.

    Notes
    -----
    Points are drawn in a random order, the same every time, so that no class covers the others.
    """
    require_matplotlib()
    points = dense_rows("codes", codes, None)
    if points.shape[1] != 2:
        raise ValueError(f"codes: got shape {points.shape}, expected (n_samples, 2)")
    if not np.isfinite(points).all():
        raise ValueError("codes: got NaN or infinite values, expected none")
    if size is None:
        size = float(np.clip(20_000 / len(points), 1.5, 25))
    order = np.random.default_rng(0).permutation(len(points))
    # dots of a raster in vector formats: ten thousand outlines are no help to anyone
    how: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": True}
    axes = axes_for(ax, None, square=True)
    x, y = points[order].T
    if classes is None:
        axes.scatter(x, y, color="C0", **how)
    else:
        labels = np.asarray(classes)
        if labels.shape != (len(points),):
            raise ValueError(f"classes: got shape {labels.shape}, expected ({len(points)},)")
        names, number = np.unique(labels, return_inverse=True)
        _scatter_classes(axes, x, y, names, number[order], how)
    axes.set_xlabel("first code unit")
    axes.set_ylabel("second code unit")
    axes.grid(True, alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_title(title if title is not None else f"codes of {len(points)} samples")
    return axes


def _scatter_classes(axes: Axes, x, y, names: np.ndarray, number: np.ndarray, how: dict) -> None:
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    count = len(names)
    if count > _MAX_LEGEND:
        drawn = axes.scatter(x, y, c=number, cmap="turbo", **how)
        axes.figure.colorbar(drawn, ax=axes, label="class, in the order of their labels")
        return
    palette = colormaps["tab10" if count <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    axes.scatter(x, y, c=[palette[i] for i in number], **how)
    handles = [
        Line2D([], [], color=palette[i], marker="o", linestyle="", label=str(name))
        for i, name in enumerate(names)
    ]
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9
    )


def latent_grid(
    model: Any,
    image_shape: tuple[int, int] | None = None,
    ax: Axes | None = None,
    *,
    side: int = 15,
    codes: Any = None,
    low: float = 0.01,
    high: float = 0.99,
    limits: tuple[float, float] = (0.0, 1.0),
    title: str | None = None,
) -> Axes:
    """Draw what a model decodes from a square of two-dimensional codes.

    Parameters
    ----------
    model : fitted model
        Its ``inverse_transform`` decodes two-dimensional codes.
    image_shape : (height, width), default=None
        Shape of a tile; a square if None.
    ax : Axes, default=None
        Where to draw; a new figure if None.
    side : int, default=15
        Tiles along each side.
    codes : array of shape (n_samples, 2), default=None
        Codes of data, whose quantiles span the square. None: those of the standard normal, the
        prior of a :class:`unsupfast.VAE`.
    low, high : float, default=0.01, 0.99
        Probabilities at the edges; see :func:`unsupfast.latent.grid`.
    limits : (low, high), default=(0, 1)
        Values drawn black and white; what lies beyond is clipped.
    title : str, default=None

    Returns
    -------
    Axes
        The axes, with the codes of the first, middle and last tiles at their sides.

    Raises
    ------
    ValueError
        If shapes do not fit, or an argument is out of its range.
    ImportError
        If matplotlib is missing.
    """
    require_matplotlib()
    black, white = checked_limits(limits)
    square = latent.grid(side, low=low, high=high, codes=codes)
    images = dense_rows("model", model.inverse_transform(square), None)
    shape = tile_shape(image_shape, images.shape[1])
    tiles = tiled(images, shape, side)
    axes = axes_for(ax, tiles.shape)
    show_tiles(axes, tiles, "gray", black, white)
    at = np.unique([0, side // 2, side - 1])
    for set_ticks, pitch, values in (
        (axes.set_xticks, shape[1] + 1, square[:side, 0]),
        (axes.set_yticks, shape[0] + 1, square[::side, 1]),
    ):
        set_ticks(at * pitch + pitch / 2, [f"{round(values[i], 2) + 0.0:.2f}" for i in at])
    axes.set_xlabel("first code unit")
    axes.set_ylabel("second code unit")
    axes.set_title(title if title is not None else f"{side}×{side} decoded codes")
    return axes


def interpolations(
    model: Any,
    a: Any,
    b: Any,
    image_shape: tuple[int, int] | None = None,
    ax: Axes | None = None,
    *,
    n: int = 10,
    path: str = "linear",
    limits: tuple[float, float] = (0.0, 1.0),
    title: str | None = None,
) -> Axes:
    """Draw the ways between pairs of samples through their codes, one a row.

    Parameters
    ----------
    model : fitted model
        With ``transform`` and ``inverse_transform``.
    a, b : array of shape (n_samples, n_features)
        Where the rows begin and end.
    image_shape : (height, width), default=None
        Shape of a tile; a square if None.
    ax : Axes, default=None
        Where to draw; a new figure if None.
    n : int, default=10
        Decoded images a row; the first and the last are reconstructions of the samples, which
        stand beyond them.
    path : {"linear", "spherical"}, default="linear"
        :func:`unsupfast.latent.lerp` or :func:`~unsupfast.latent.slerp`.
    limits : (low, high), default=(0, 1)
        Values drawn black and white; what lies beyond is clipped.
    title : str, default=None

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If shapes do not fit, or an argument is out of its range.
    ImportError
        If matplotlib is missing.
    """
    require_matplotlib()
    low, high = checked_limits(limits)
    n = positive("n", n)
    if path not in _WALKS:
        raise ValueError(f"path: got {path!r}, expected 'linear' or 'spherical'")
    starts, ends = dense_rows("a", a, None), dense_rows("b", b, None)
    if starts.shape != ends.shape:
        raise ValueError(f"b: got shape {ends.shape}, expected that of a, {starts.shape}")
    shape = tile_shape(image_shape, starts.shape[1])
    walks = [
        _WALKS[path](one, other, n)
        for one, other in zip(model.transform(starts), model.transform(ends), strict=True)
    ]
    between = dense_rows("model", model.inverse_transform(np.concatenate(walks)), None)
    tiles, middles = strips([(starts, 1), (between, n), (ends, 1)], shape)
    axes = axes_for(ax, tiles.shape)
    show_tiles(axes, tiles, "gray", low, high)
    axes.set_xticks(middles, ["input", "decoded", "input"])
    axes.set_title(title if title is not None else f"{path} interpolation of codes")
    return axes

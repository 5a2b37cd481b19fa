"""Pictures: filters, samples, reconstructions, learning curves.

Every function draws into the axes ``ax`` (or a new figure's) and returns the axes. Matplotlib is
imported at the first call; it comes with ``pip install 'unsupfast[plot]'``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "filters",
    "history_groups",
    "learning_curve",
    "reconstructions",
    "samples",
    "save",
]

_BORDER = "0.55"  # grey between tiles: neither end nor middle of any colour scale used here

# Metric -> (axis label, short name in the legend). Metrics with one label share an axis.
_METRICS = {
    "pseudo_log_likelihood": ("pseudo-log-likelihood (nats/sample)", "training"),
    "validation_pseudo_log_likelihood": ("pseudo-log-likelihood (nats/sample)", "held-out"),
    "log_likelihood": ("log-likelihood (nats/sample)", "training"),
    "validation_log_likelihood": ("log-likelihood (nats/sample)", "held-out"),
    "reconstruction_error": ("mean squared reconstruction error", "training"),
    "validation_reconstruction_error": ("mean squared reconstruction error", "held-out"),
    "free_energy_gap": ("free-energy gap (nats)", "held-out minus training"),
    "loss": ("loss", "training"),
    "validation_loss": ("loss", "held-out"),
    "learning_rate": ("learning rate", "learning rate"),
    "samples_per_second": ("speed (samples/s)", "speed"),
}
# Bookkeeping; validation_score repeats one of the others, with the sign that makes larger better.
_NOT_DRAWN = ("epoch", "seconds", "learning_rate", "samples_per_second", "validation_score")


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
        The weights, or a model with ``components_``.
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
    _require_matplotlib()
    if hasattr(components, "components_"):
        components = components.components_
    total = _n_rows("components", components)
    rows = _rows("components", components, n)
    shape = _image_shape(image_shape, rows.shape[1])
    if limit is None:
        finite = np.abs(rows[np.isfinite(rows)])
        scale = float(np.percentile(finite, 99.5)) if finite.size else 0.0
        scale = scale or (float(finite.max()) if finite.size else 0.0) or 1.0
    elif not (np.isfinite(limit) and limit > 0):
        raise ValueError(f"limit: got {limit!r}, expected a positive number")
    else:
        scale = float(limit)
    tiles = _grid(rows, shape)
    axes = _axes(ax, tiles.shape, bar=True)
    image = _show(axes, tiles, "RdBu_r", -scale, scale)
    beyond = bool(np.nanmax(np.abs(rows)) > scale) if np.isfinite(rows).any() else False
    bar = axes.figure.colorbar(
        image, ax=axes, extend="both" if beyond else "neither", fraction=0.046, pad=0.02
    )
    bar.set_label("weight (one scale for all tiles)")
    count = f"{len(rows)}" if len(rows) == total else f"{len(rows)} of {total}"
    axes.set_title(title if title is not None else f"{count} filters, {_size(shape)}")
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
    _require_matplotlib()
    low, high = _limits(limits)
    rows = _rows("images", images, n)
    shape = _image_shape(image_shape, rows.shape[1])
    tiles = _grid(rows, shape)
    axes = _axes(ax, tiles.shape)
    _show(axes, tiles, "gray", low, high)
    axes.set_title(title if title is not None else f"{len(rows)} samples, {_size(shape)}")
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
    _require_matplotlib()
    low, high = _limits(limits)
    columns = _positive("n_columns", n_columns)
    inputs = _rows("X", X, n)
    if hasattr(X_hat, "reconstruct"):
        X_hat = X_hat.reconstruct(X[: len(inputs)])
    outputs = _rows("X_hat", X_hat, len(inputs))
    if inputs.shape != outputs.shape:
        raise ValueError(
            f"X_hat: got shape {outputs.shape}, expected that of X, {inputs.shape} (first {n} rows)"
        )
    shape = _image_shape(image_shape, inputs.shape[1])
    columns = min(columns, len(inputs))
    bands = []
    for start in range(0, len(inputs), columns):
        pair = [_grid(a[start : start + columns], shape, columns) for a in (inputs, outputs)]
        bands.append(np.vstack([pair[0], pair[1][1:]]))  # one border line between the two
    # A wider gap between pairs than inside one shows which row belongs to which.
    gap = np.full((max(2, shape[0] // 4), bands[0].shape[1]), np.nan)
    tiles = np.vstack([part for band in bands for part in (gap, band)][1:])
    axes = _axes(ax, tiles.shape)
    _show(axes, tiles, "gray", low, high)
    pitch, band_pitch = shape[0] + 1, bands[0].shape[0] + len(gap)
    ticks, labels = [], []
    for i in range(len(bands)):
        ticks += [i * band_pitch + pitch / 2, i * band_pitch + 1.5 * pitch]
        labels += ["input", "reconstruction"]
    axes.set_yticks(ticks, labels)
    axes.set_title(title if title is not None else f"{len(inputs)} inputs and reconstructions")
    return axes


def history_groups(history: Any) -> list[list[str]]:
    """Metrics of a history that can share an axis, most telling group first.

    Parameters
    ----------
    history : mapping of str to sequence, or fitted model
        As ``history_`` of a model.

    Returns
    -------
    list of list of str
        Names of metrics that have at least one finite value; bookkeeping (``epoch``, ``seconds``,
        ``learning_rate``, ``samples_per_second``, ``validation_score``) is left out.
    """
    record = _history(history)
    names = [m for m in _METRICS if m in record] + [m for m in record if m not in _METRICS]
    groups: dict[str, list[str]] = {}
    for metric in names:
        if metric not in _NOT_DRAWN and np.isfinite(_series(metric, record[metric])).any():
            groups.setdefault(_label(metric)[0], []).append(metric)
    return list(groups.values())


def learning_curve(
    history: Any,
    ax: Axes | None = None,
    *,
    metrics: str | Sequence[str] | None = None,
    x: str = "epoch",
    title: str | None = None,
) -> Axes:
    """Draw how training went.

    Parameters
    ----------
    history : mapping of str to sequence, or fitted model
        As ``history_`` of a model: a list for each metric, all of the length of ``"epoch"``;
        ``"seconds"`` is what each epoch took. None
        and NaN (not measured in this epoch) are skipped.
    ax : Axes, default=None
        Where to draw; a new figure if None.
    metrics : str or sequence of str, default=None
        What to draw. Metrics of one unit share the left axis, those of a second unit get the right
        one. If None, the first two groups of :func:`history_groups`.
    x : {"epoch", "seconds"}, default="epoch"
        What to draw it against.
    title : str, default=None
        A title; none if None.

    Returns
    -------
    Axes
        The left axes.

    Raises
    ------
    ValueError
        If `x` or a metric is not in the history, lengths differ, there is nothing to draw, or
        metrics of more than two units were asked for.
    ImportError
        If matplotlib is missing.
    """
    _require_matplotlib()
    record = _history(history)
    if x not in ("epoch", "seconds"):
        raise ValueError(f"x: got {x!r}, expected 'epoch' or 'seconds'")
    if metrics is None:
        groups = history_groups(record)[:2]
        if not groups:
            raise ValueError(f"history: holds no metric to draw ({', '.join(record) or 'empty'})")
    else:
        chosen: dict[str, list[str]] = {}
        for metric in [metrics] if isinstance(metrics, str) else metrics:
            if metric not in record:
                raise ValueError(f"metrics: no {metric!r} in the history ({', '.join(record)})")
            chosen.setdefault(_label(metric)[0], []).append(metric)
        groups = list(chosen.values())
        if not 1 <= len(groups) <= 2:
            raise ValueError(
                f"metrics: got {len(groups)} units ({', '.join(chosen)}), one axes takes 1 or 2"
            )
    length = len(_series(groups[0][0], record[groups[0][0]]))
    if x in record:
        along = _series(x, record[x])
    elif x == "epoch":
        along = np.arange(1, length + 1, dtype=float)
    else:
        raise ValueError(f"x: no 'seconds' in the history ({', '.join(record)})")
    if x == "seconds":  # the history holds what each epoch took
        along = np.nancumsum(along)

    axes = _axes(ax, None)
    lines: list[Any] = []
    colour = 0
    sides = [axes, axes.twinx()] if len(groups) == 2 else [axes]
    for side, group in zip(sides, groups, strict=True):
        label = _label(group[0])[0]
        first = colour
        for metric in group:
            values = _series(metric, record[metric])
            if len(values) != len(along):
                raise ValueError(
                    f"history: {metric!r} has {len(values)} entries, {x!r} has {len(along)}"
                )
            kept = np.isfinite(values) & np.isfinite(along)
            name = _label(metric)[1]
            lines += side.plot(
                along[kept],
                values[kept],
                color=f"C{colour}",
                linestyle="-" if side is axes else "--",
                marker="o" if kept.sum() <= 30 else None,
                markersize=3.5,
                label=name if len(groups) == 1 else f"{label.split(' (')[0]}: {name}",
            )
            colour += 1
        # With two scales the colour of the label says which curve it belongs to.
        coloured = len(groups) == 2 and len(group) == 1
        side.set_ylabel(label, color=f"C{first}" if coloured else "black")
    axes.set_xlabel("training time (s)" if x == "seconds" else "epoch")
    if x == "epoch":
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.grid(True, alpha=0.3)
    if len(groups) == 2:
        # Below the axes, where it covers neither set of curves.
        place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
        axes.legend(handles=lines, fontsize="small", frameon=False, ncols=2, **place)
    elif len(lines) > 1:
        axes.legend(handles=lines, fontsize="small", loc="best")
    if title is not None:
        axes.set_title(title)
    return axes


def save(figure: Any, path: str | os.PathLike[str], *, dpi: float = 150) -> None:
    """Write a figure to a picture file, atomically.

    Parameters
    ----------
    figure : Figure or Axes
        What to write; of axes, the whole figure that they are in.
    path : path
        The ending decides the format: ``.png``, ``.pdf``, ``.svg``, ...
    dpi : float, default=150
        Dots per inch.

    Raises
    ------
    TypeError
        If `figure` is neither.
    ValueError
        If the format is unknown.
    OSError
        If the file cannot be written.
    ImportError
        If matplotlib is missing.
    """
    _require_matplotlib()
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.figure import Figure, SubFigure

    from .io import atomic_write

    if isinstance(figure, Axes):
        figure = figure.figure
    if isinstance(figure, SubFigure):
        figure = figure.figure
    if not isinstance(figure, Figure):
        raise TypeError(f"figure: got {type(figure).__name__}, expected a Figure or Axes")
    suffix = Path(path).suffix.lower().lstrip(".")
    known = FigureCanvasBase.get_supported_filetypes()
    if suffix not in known:
        raise ValueError(
            f"path: got {os.fspath(path)!r}, expected an ending among {', '.join(sorted(known))}"
        )
    with atomic_write(path) as file:
        figure.savefig(file, format=suffix, dpi=dpi, bbox_inches="tight")


# --------------------------------------------------------------------------------------- helpers


def available() -> bool:
    """Whether matplotlib can be imported."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def _require_matplotlib() -> None:
    if not available():
        raise ImportError(
            "drawing needs matplotlib, which is missing; pip install 'unsupfast[plot]'"
        )


def _axes(ax: Axes | None, pixels: tuple[int, ...] | None, bar: bool = False) -> Axes:
    if ax is not None:
        if not hasattr(ax, "imshow"):
            raise TypeError(f"ax: got {type(ax).__name__}, expected matplotlib Axes")
        return ax
    import matplotlib.pyplot as plt

    if pixels is None:
        size = (6.4, 4.0)
    else:
        height, width = pixels[:2]
        unit = 7.0 / max(height, width)
        size = (max(2.5, width * unit) + (1.0 if bar else 0.0), max(1.8, height * unit) + 0.4)
    return plt.subplots(figsize=size, layout="constrained")[1]


def _show(ax: Axes, tiles: np.ndarray, cmap: str, low: float, high: float) -> Any:
    from matplotlib import colormaps

    colours = colormaps[cmap].with_extremes(bad=_BORDER)
    image = ax.imshow(
        np.ma.masked_invalid(tiles), cmap=colours, vmin=low, vmax=high, interpolation="nearest"
    )
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def _grid(rows: np.ndarray, shape: tuple[int, int], columns: int | None = None) -> np.ndarray:
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


def _n_rows(name: str, values: Any) -> int:
    return int(values.shape[0]) if hasattr(values, "shape") and values.shape else len(values)


def _rows(name: str, values: Any, n: int | None) -> np.ndarray:
    """The first n rows, dense, as float64; of a memmap or sparse matrix only those are touched."""
    if n is not None:
        n = _positive("n", n)
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


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {value!r}, expected an int")
    if value < 1:
        raise ValueError(f"{name}: got {value}, expected 1 or more")
    return int(value)


def _limits(limits: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in limits)
    except (TypeError, ValueError):
        raise ValueError(f"limits: got {limits!r}, expected two numbers (low, high)") from None
    if not low < high:
        raise ValueError(f"limits: got {limits!r}, expected low < high")
    return low, high


def _image_shape(shape: Any, n_features: int) -> tuple[int, int]:
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


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]}×{shape[1]} pixels each"


def _history(history: Any) -> Mapping[str, Any]:
    record = getattr(history, "history_", history)
    if not isinstance(record, Mapping):
        raise TypeError(
            f"history: got {type(history).__name__}, expected a dict of lists or a fitted model"
        )
    return record


def _series(metric: str, values: Any) -> np.ndarray:
    try:
        return np.array([np.nan if v is None else float(v) for v in values], dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"history: {metric!r} is not a list of numbers") from None


def _label(metric: str) -> tuple[str, str]:
    plain = metric.replace("_", " ")
    return _METRICS.get(metric, (plain, plain))

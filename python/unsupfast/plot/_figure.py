"""Figures, axes and files of pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BORDER = "0.55"  # grey between tiles: neither end nor middle of any colour scale used here


def available() -> bool:
    """Whether matplotlib can be imported."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def require_matplotlib() -> None:
    if not available():
        raise ImportError(
            "drawing needs matplotlib, which is missing; pip install 'unsupfast[plot]'"
        )


def axes_for(
    ax: Axes | None, pixels: tuple[int, ...] | None, bar: bool = False, square: bool = False
) -> Axes:
    """The axes given, or those of a new figure of a size that fits."""
    if ax is not None:
        if not hasattr(ax, "imshow"):
            raise TypeError(f"ax: got {type(ax).__name__}, expected matplotlib Axes")
        return ax
    import matplotlib.pyplot as plt

    if pixels is None:
        size = (6.4, 5.6 if square else 4.0)
    else:
        height, width = pixels[:2]
        unit = 7.0 / max(height, width)
        size = (max(2.5, width * unit) + (1.0 if bar else 0.0), max(1.8, height * unit) + 0.4)
    return plt.subplots(figsize=size, layout="constrained")[1]


def show_tiles(ax: Axes, tiles: np.ndarray, cmap: str, low: float, high: float) -> Any:
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
    require_matplotlib()
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.figure import Figure, SubFigure

    from ..io import atomic_write

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

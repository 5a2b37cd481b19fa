"""``unsupfast plot``, and the pictures of other commands."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ._cli_common import (
    DATA_HELP,
    PICTURES,
    Data,
    Usage,
    add_data_options,
    height_by_width,
    load_data,
    load_model,
    natural,
    positive,
    writable,
)

# What can be drawn -> tiles, pairs or points unless -n says otherwise.
_COUNTS = {
    "filters": 100,
    "samples": 64,
    "curve": 0,
    "reconstructions": 20,
    "codes": 10_000,
    "grid": 15,
    "interpolations": 8,
}
_NEED_DATA = ("reconstructions", "codes", "interpolations")
_PLAIN = ("filters", "samples", "curve")  # drawn without matplotlib, too


def add_arguments(plot: argparse.ArgumentParser) -> None:
    """The arguments of ``unsupfast plot``."""
    plot.add_argument("what", choices=list(_COUNTS), help="what to draw")
    plot.add_argument("model", metavar="MODEL", help="a saved model")
    plot.add_argument("--out", required=True, metavar="FILE", help="a picture: .png, .pdf, .svg")
    counts = ", ".join(f"{name} {n}" for name, n in _COUNTS.items() if n)
    plot.add_argument(
        "-n", type=positive, default=None, help=f"tiles, points, pairs, or side ({counts})"
    )
    plot.add_argument("--data", metavar="NAME|PATH", help=f"for what shows data: {DATA_HELP}")
    add_data_options(plot)
    plot.add_argument("--steps", type=positive, default=1000, help="Gibbs steps of an RBM (1000)")
    plot.add_argument(
        "--image-shape", type=height_by_width, metavar="HxW", help="default: a square"
    )
    plot.add_argument("--random-state", type=natural, default=None, metavar="SEED")


def run(args: argparse.Namespace) -> int:
    """Draws what fits the model."""
    out = writable("--out", args.out, *PICTURES)
    check_drawable(out, args.what)
    model = load_model(args.model)
    _check_fits(args.what, model)
    if args.what == "curve":
        draw_curves(model, out)
        print(f"curve: {out}")
        return 0
    given = None
    if args.data is not None:
        given = load_data(args.data, args.key, args.scale)
        if given.data.shape[1] != model.n_features_in_:
            raise Usage(
                f"--data: {given.name} has {given.data.shape[1]} columns, the model takes "
                f"{model.n_features_in_}"
            )
        if args.image_shape is None:
            args.image_shape = given.image_shape
    elif args.what in _NEED_DATA:
        raise Usage(f"--data: {args.what} are those of data; name some")
    n = args.n or _COUNTS[args.what]
    if args.what != "codes":
        check_image_shape(args.image_shape, model)
    if args.what == "filters":
        draw_tiles("filters", out, model, args.image_shape, n)
    elif args.what == "samples":
        draw_tiles("samples", out, samples(model, n, args, mean=True), args.image_shape)
    else:
        _draw(out, _WITH_MATPLOTLIB[args.what](model, given, n, args.image_shape))
    print(f"{args.what}: {out}")
    return 0


def _check_fits(what: str, model: Any) -> None:
    """Names what the model lacks for this picture."""
    kind = type(model).__name__
    needed = {
        "reconstructions": ("reconstruct",),
        "codes": ("transform",),
        "grid": ("inverse_transform",),
        "interpolations": ("transform", "inverse_transform"),
    }
    for method in needed.get(what, ()):
        if not hasattr(model, method):
            raise Usage(f"{what}: {kind} has no {method}, so there are none to draw")
    width = getattr(model, "_n_features_out", None)
    if what in ("codes", "grid") and width != 2:
        raise Usage(f"{what}: the codes of this {kind} have {width} dimensions, expected 2")


def samples(model: Any, n: int, args: argparse.Namespace, *, mean: bool) -> np.ndarray:
    """Samples of an RBM, after Gibbs steps, or of a model that needs none."""
    if not hasattr(model, "sample"):
        raise Usage(f"{type(model).__name__} is no model to draw samples from")
    if hasattr(model, "gibbs"):
        return model.sample(n, steps=args.steps, mean=mean, random_state=args.random_state)
    return model.sample(n, random_state=args.random_state)


Painter = Callable[[Any], Any]  # draws into axes


def _reconstructions(model: Any, given: Data, n: int, shape: Any) -> Painter:
    from . import plot

    rows = given.data[:n]
    return lambda ax: plot.reconstructions(rows, model, shape, n, ax, limits=_limits(rows))


def _codes(model: Any, given: Data, n: int, shape: Any) -> Painter:
    from . import plot

    classes = None if given.target is None else given.target[:n]
    codes = model.transform(given.data[:n])
    return lambda ax: plot.codes(codes, classes, ax, title=f"codes of {given.name}")


def _grid(model: Any, given: Data | None, side: int, shape: Any) -> Painter:
    from . import plot

    if given is not None:
        # the range of values is that of the first rows, as in the other pictures
        rows = given.data[: _COUNTS["codes"]]
        codes, limits = model.transform(rows), _limits(rows[:100])
    elif hasattr(model, "latent_dim"):
        codes, limits = None, (0.0, 1.0)
    else:
        raise Usage("--data: where the codes of this model lie is known from data alone; name some")
    return lambda ax: plot.latent_grid(model, shape, ax, side=side, codes=codes, limits=limits)


def _interpolations(model: Any, given: Data, n: int, shape: Any) -> Painter:
    from . import plot

    rows = given.data[: 2 * n]
    n = rows.shape[0] // 2
    if n == 0:
        raise Usage(f"--data: {given.name} has 1 row, an interpolation needs 2")
    return lambda ax: plot.interpolations(
        model, rows[:n], rows[n : 2 * n], shape, ax, limits=_limits(rows)
    )


_WITH_MATPLOTLIB: dict[str, Callable[..., Painter]] = {
    "reconstructions": _reconstructions,
    "codes": _codes,
    "grid": _grid,
    "interpolations": _interpolations,
}


def _limits(rows: Any) -> tuple[float, float]:
    """What is drawn black and white: 0 and 1, or the ends of data that go beyond."""
    low, high = float(rows.min()), float(rows.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))


def _draw(path: Path, painter: Painter) -> None:
    # A bare Figure instead of pyplot: no display is asked for, no global state is left behind.
    from matplotlib.figure import Figure

    from . import plot

    figure = Figure(figsize=(7, 7), layout="constrained")
    painter(figure.subplots())
    plot.save(figure, path)


def check_drawable(path: Path, what: str = "samples") -> None:
    """Refuses what cannot be drawn without matplotlib where that is missing."""
    from . import plot

    if plot.available():
        return
    if path.suffix.lower() != ".png":
        raise Usage(
            f"--out: {path.suffix} needs matplotlib, which is missing; expected .png, or "
            "pip install 'unsupfast[plot]'"
        )
    if what not in _PLAIN:
        raise Usage(f"{what}: needs matplotlib, which is missing; pip install 'unsupfast[plot]'")


def check_image_shape(shape: tuple[int, int] | None, model: Any) -> None:
    """Before sampling, which takes time, rather than after it."""
    n = int(model.n_features_in_)
    if shape is None and math.isqrt(n) ** 2 != n:
        raise Usage(f"--image-shape: the model has {n} features, not a square; give HEIGHTxWIDTH")
    if shape is not None and shape[0] * shape[1] != n:
        raise Usage(f"--image-shape: {shape[0]}x{shape[1]} is not the model's {n} features")


def draw_tiles(
    what: str, path: Path, values: Any, shape: tuple[int, int] | None, n: int | None = None
) -> None:
    from . import plot

    if not plot.available():
        from . import _picture

        _picture.write_png(path, getattr(_picture, what)(values, shape, n))
        return
    _draw(path, lambda ax: getattr(plot, what)(values, shape, n=n, ax=ax))


def draw_curves(model: Any, path: Path) -> None:
    """A panel for each unit of measurement, over the same epochs."""
    from . import plot

    groups = plot.history_groups(model)
    if not groups:
        raise Usage("the model has no learning history to draw")
    if not plot.available():
        from . import _picture

        _picture.write_png(path, _picture.learning_curve(model))
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 0.6 + 2.8 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for panel, group in zip(panels, groups, strict=True):
        plot.learning_curve(model, ax=panel, metrics=group)
        if panel is not panels[-1]:
            panel.set_xlabel("")
    panels[0].set_title("learning curve")
    plot.save(figure, path)

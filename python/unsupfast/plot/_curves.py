"""Learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._figure import axes_for, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    "reconstruction_loss": ("loss", "training, without penalties"),
    "kl": ("KL divergence (nats/sample)", "training"),
    "reconstruction": ("reconstruction (nats/sample)", "training"),
    "bound": ("importance-weighted bound (nats/sample)", "training"),
    "error": ("error rate", "training"),
    "learning_rate": ("learning rate", "learning rate"),
    "samples_per_second": ("speed (samples/s)", "speed"),
}
# Bookkeeping; validation_score repeats one of the others, with the sign that makes larger better.
_NOT_DRAWN = ("epoch", "seconds", "learning_rate", "samples_per_second", "validation_score")


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
        ``learning_rate``, ``samples_per_second``, ``validation_score``) is left out, and so is a
        ``reconstruction_loss`` that is all of the ``loss``.
    """
    record = history_of(history)
    names = [m for m in _METRICS if m in record] + [m for m in record if m not in _METRICS]
    groups: dict[str, list[str]] = {}
    for metric in names:
        if metric == "reconstruction_loss" and record[metric] == record.get("loss"):
            continue  # without penalties it would hide the loss
        if metric not in _NOT_DRAWN and np.isfinite(series(metric, record[metric])).any():
            groups.setdefault(label_of(metric)[0], []).append(metric)
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
        ``"seconds"`` is what each epoch took. None and NaN (not measured in this epoch) are
        skipped.
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
    require_matplotlib()
    record = history_of(history)
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
            chosen.setdefault(label_of(metric)[0], []).append(metric)
        groups = list(chosen.values())
        if not 1 <= len(groups) <= 2:
            raise ValueError(
                f"metrics: got {len(groups)} units ({', '.join(chosen)}), one axes takes 1 or 2"
            )
    length = len(series(groups[0][0], record[groups[0][0]]))
    if x in record:
        along = series(x, record[x])
    elif x == "epoch":
        along = np.arange(1, length + 1, dtype=float)
    else:
        raise ValueError(f"x: no 'seconds' in the history ({', '.join(record)})")
    if x == "seconds":  # the history holds what each epoch took
        along = np.nancumsum(along)

    axes = axes_for(ax, None)
    lines: list[Any] = []
    colour = 0
    sides = [axes, axes.twinx()] if len(groups) == 2 else [axes]
    for side, group in zip(sides, groups, strict=True):
        label = label_of(group[0])[0]
        first = colour
        for metric in group:
            values = series(metric, record[metric])
            if len(values) != len(along):
                raise ValueError(
                    f"history: {metric!r} has {len(values)} entries, {x!r} has {len(along)}"
                )
            kept = np.isfinite(values) & np.isfinite(along)
            name = label_of(metric)[1]
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


def history_of(history: Any) -> Mapping[str, Any]:
    record = getattr(history, "history_", history)
    if not isinstance(record, Mapping):
        raise TypeError(
            f"history: got {type(history).__name__}, expected a dict of lists or a fitted model"
        )
    return record


def series(metric: str, values: Any) -> np.ndarray:
    try:
        return np.array([np.nan if v is None else float(v) for v in values], dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"history: {metric!r} is not a list of numbers") from None


def label_of(metric: str) -> tuple[str, str]:
    plain = metric.replace("_", " ")
    return _METRICS.get(metric, (plain, plain))

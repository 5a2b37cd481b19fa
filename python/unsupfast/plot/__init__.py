"""Pictures: filters, samples, reconstructions, codes, walks among codes, learning curves.

Every function draws into the axes ``ax`` (or a new figure's) and returns the axes. Matplotlib is
imported at the first call; it comes with ``pip install 'unsupfast[plot]'``.
"""

from __future__ import annotations

from ._codes import codes, interpolations, latent_grid
from ._curves import history_groups, learning_curve
from ._figure import available, save
from ._tiles import filters, reconstructions, samples

__all__ = [
    "available",
    "codes",
    "filters",
    "history_groups",
    "interpolations",
    "latent_grid",
    "learning_curve",
    "reconstructions",
    "samples",
    "save",
]

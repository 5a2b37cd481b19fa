"""Walks and arithmetic among codes; :meth:`inverse_transform` of a model shows them."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from scipy import special

__all__ = ["attribute_vector", "grid", "lerp", "slerp"]


def _ends(a: Any, b: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"a and b have shapes {a.shape} and {b.shape}; expected two equal vectors")
    if not isinstance(n, numbers.Integral) or n < 1:
        raise ValueError(f"n is {n!r}; expected a positive integer")
    return a, b


def lerp(a: Any, b: Any, n: int = 10) -> np.ndarray:
    """Codes on the straight line from a to b.

    Parameters
    ----------
    a, b : array-like of shape (d,)
    n : int, default=10
        Points, both ends included.

    Returns
    -------
    codes : ndarray of shape (n, d)
    """
    a, b = _ends(a, b, n)
    share = np.linspace(0, 1, n)[:, None]
    return (1 - share) * a + share * b


def slerp(a: Any, b: Any, n: int = 10) -> np.ndarray:
    """Codes on the great circle from a to b, with lengths between theirs.

    Normal codes of many dimensions lie near a sphere, which a straight line leaves (T. White,
    "Sampling generative networks", 2016).

    Parameters
    ----------
    a, b : array-like of shape (d,)
        Not zero.
    n : int, default=10
        Points, both ends included.

    Returns
    -------
    codes : ndarray of shape (n, d)
    """
    a, b = _ends(a, b, n)
    length_a, length_b = np.linalg.norm(a), np.linalg.norm(b)
    if length_a == 0 or length_b == 0:
        raise ValueError("a or b is zero, which has no direction; expected other vectors")
    u, v = a / length_a, b / length_b
    angle = 2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v))
    share = np.linspace(0, 1, n)[:, None]
    if np.sin(angle) < 1e-9:  # the same direction, or opposite ones, which no one circle joins
        return lerp(a, b, n)
    direction = (np.sin((1 - share) * angle) * u + np.sin(share * angle) * v) / np.sin(angle)
    return ((1 - share) * length_a + share * length_b) * direction


def attribute_vector(codes: Any, has: Any) -> np.ndarray:
    """The difference of the mean codes of samples with and without an attribute.

    Adding it to a code adds the attribute, as far as it is linear (Larsen et al., ICML 2016).

    Parameters
    ----------
    codes : array-like of shape (n, d)
    has : array-like of bool of shape (n,)

    Returns
    -------
    vector : ndarray of shape (d,)
    """
    codes, has = np.asarray(codes, np.float64), np.asarray(has, bool)
    if codes.ndim != 2 or has.shape != codes.shape[:1]:
        raise ValueError(
            f"codes and has have shapes {codes.shape} and {has.shape}; expected (n, d) and (n,)"
        )
    if has.all() or not has.any():
        raise ValueError("has is the same for all samples; expected some with and some without")
    return codes[has].mean(axis=0) - codes[~has].mean(axis=0)


def grid(side: int = 15, *, low: float = 0.01, high: float = 0.99, codes: Any = None) -> np.ndarray:
    """Codes of a square in two dimensions at equal steps of probability.

    Parameters
    ----------
    side : int, default=15
    low, high : float, default=0.01, 0.99
        Probabilities at the edges.
    codes : array-like of shape (n, 2), default=None
        Codes whose distribution is taken along each dimension; the standard normal if None.

    Returns
    -------
    square : ndarray of shape (side * side, 2)
        Rows from the top: the second coordinate falls, the first rises along a row.
    """
    if not isinstance(side, numbers.Integral) or side < 1:
        raise ValueError(f"side is {side!r}; expected a positive integer")
    if not 0 < low < high < 1:
        raise ValueError(f"low and high are {low} and {high}; expected 0 < low < high < 1")
    steps = np.linspace(low, high, side)
    if codes is None:
        columns = [special.ndtri(steps)] * 2
    else:
        codes = np.asarray(codes, np.float64)
        if codes.ndim != 2 or codes.shape[1] != 2 or not len(codes):
            raise ValueError(f"codes has shape {codes.shape}; expected (n, 2)")
        columns = list(np.quantile(codes, steps, axis=0).T)
    x, y = np.meshgrid(columns[0], columns[1][::-1])
    return np.stack([x.ravel(), y.ravel()], axis=1)

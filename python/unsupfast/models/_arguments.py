"""Checks of estimators' parameters: errors that name the argument, what came, what was expected."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import validate_data

__all__ = [
    "check_bool",
    "check_callables",
    "check_integer",
    "check_option",
    "check_path",
    "check_real",
    "check_row_weight",
    "check_widths",
    "checked_rows",
]


def checked_rows(owner: Any, X: Any, dtypes: Any, *, reset: bool) -> Any:
    """X as finite rows: a C-contiguous array, or canonical CSR."""
    X = validate_data(owner, X, accept_sparse="csr", reset=reset, dtype=dtypes, order="C")
    if sp.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def check_path(owner: Any, name: str) -> None:
    value = getattr(owner, name)
    if value is not None and not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} is {value!r}; expected a path or None")


def check_callables(owner: Any, name: str) -> None:
    value = getattr(owner, name)
    if value is not None and (not isinstance(value, Iterable) or not all(map(callable, value))):
        raise TypeError(f"{name} is {value!r}; expected callables in a sequence")


def check_bool(owner: Any, name: str) -> None:
    value = getattr(owner, name)
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; expected True or False")


def check_integer(owner: Any, name: str, low: int) -> None:
    value = getattr(owner, name)
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; expected an integer")
    if value < low:
        raise ValueError(f"{name} is {value}; expected at least {low}")


def check_real(
    owner: Any, name: str, low: float, high: float = math.inf, *, above=False, below=False
) -> None:
    """A finite number between the two; not `low` itself with `above`, not `high` with `below`."""
    value: Any = getattr(owner, name)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; expected a number")
    number = float(value)
    inside = (low < number if above else low <= number) and (
        number < high if below else number <= high
    )
    if not inside or math.isinf(number):
        raise ValueError(
            f"{name} is {value}; expected a value in {'(' if above else '['}{low}, {high}"
            f"{')' if below or math.isinf(high) else ']'}"
        )


def check_option(owner: Any, name: str, allowed: Iterable[Any]) -> None:
    value = getattr(owner, name)
    allowed = tuple(allowed)
    if not any(value is a or (isinstance(value, str) and value == a) for a in allowed):
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, allowed))}")


def check_row_weight(row_weight, X, dtype) -> np.ndarray:
    # Our own check: what scikit-learn's refuses differs between its versions.
    try:
        weight = np.array(row_weight, dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"row_weight is not an array of numbers: {error}") from None
    if weight.shape != (X.shape[0],):
        raise ValueError(f"row_weight has shape {weight.shape}; expected ({X.shape[0]},)")
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError("row_weight has NaN, infinite or negative values; expected none below 0")
    if not weight.any():
        raise ValueError("row_weight is zero everywhere; expected a positive weight somewhere")
    return weight


def check_widths(name: str, value: Any) -> tuple[int, ...]:
    """Layer widths as a tuple; one number stands for one layer."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        value = (value,)
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) == 0:
        raise TypeError(f"{name} is {value!r}; expected a sequence of layer widths")
    for width in value:
        if not isinstance(width, numbers.Integral) or isinstance(width, bool):
            raise TypeError(f"{name} is {value!r}; expected integers")
        if width < 1:
            raise ValueError(f"{name} is {value!r}; expected widths of at least 1")
    return tuple(int(width) for width in value)

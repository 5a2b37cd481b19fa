"""Parameters of estimators as JSON can say them, and back: numbers and names as they are;
penalties, corruption, schedules and estimators by their kind and their own parameters.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from .. import optim, penalties, units
from ..io import model_class, model_name

__all__ = ["from_plain", "parameters_of"]

# Of the process that trained, not of the model.
_NOT_KEPT = ("checkpoint", "resume", "callbacks", "device")
_OBJECTS: dict[str, Any] = {
    prefix + name: getattr(module, name)
    for module, prefix in ((penalties, ""), (optim, ""), (units, "units."))
    for name in module.__all__
    if dataclasses.is_dataclass(getattr(module, name))
}
_KINDS = {made: name for name, made in _OBJECTS.items()}


def parameters_of(estimator: BaseEstimator) -> dict[str, Any]:
    """The parameters of an estimator that files hold; not the functions among them."""
    return {
        name: _to_plain(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in _NOT_KEPT and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    plain = (bool, int, float, str, type(None), np.generic, np.ndarray, BaseEstimator)
    return isinstance(value, plain) or type(value) in _KINDS


def _to_plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, list):
        return [_to_plain(v) for v in value]
    if isinstance(value, tuple):
        return {"kind": "tuple", "items": [_to_plain(v) for v in value]}
    if isinstance(value, FrozenEstimator):
        return _to_plain(value.estimator)
    if isinstance(value, BaseEstimator):
        return {"kind": model_name(value), **parameters_of(value)}
    if type(value) in _KINDS:
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"kind": _KINDS[type(value)], **{k: _to_plain(v) for k, v in fields.items()}}
    return value


def from_plain(value: Any) -> Any:
    """What :func:`parameters_of` made of a parameter, as it was."""
    if isinstance(value, list):
        return [from_plain(v) for v in value]
    if isinstance(value, dict):
        options = {name: from_plain(v) for name, v in value.items()}
        kind = options.pop("kind", None)
        if kind == "tuple":
            return tuple(options["items"])
        return (_OBJECTS.get(kind) or model_class(kind))(**options)
    return value

"""Estimators in files: what the files of all of them hold, and how their tensors are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..io import save_model
from ._plain import from_plain, parameters_of

__all__ = ["Saved", "check_tensor"]


class Saved:
    """An estimator whose ``_get_state`` and ``_set_state`` say what a file holds of it."""

    _get_state: Any
    _set_state: Any

    def save(self, path) -> None:
        """Write the model, with everything needed to go on training, to a safetensors file.

        Read it with :func:`unsupfast.load`.

        Parameters
        ----------
        path : path
        """
        check_is_fitted(self)
        save_model(self, path)

    def _description(self) -> dict[str, Any]:
        """Parameters, and the names of features."""
        described: dict[str, Any] = {"parameters": parameters_of(self)}  # type: ignore[arg-type]
        if hasattr(self, "feature_names_in_"):
            described["feature_names"] = [str(name) for name in self.feature_names_in_]
        return described

    def _set_names(self, meta: Mapping[str, Any]) -> None:
        if "feature_names" in meta:
            self.feature_names_in_ = np.array(meta["feature_names"], dtype=object)

    @classmethod
    def _from_state(cls, tensors, meta):
        model = cls(**{name: from_plain(v) for name, v in meta["parameters"].items()})
        model._set_state(tensors, meta)
        return model


def check_tensor(
    tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: Any
) -> np.ndarray:
    """A tensor of a file, if it is there, of that shape and kind, and finite."""
    if name not in tensors:
        raise ValueError(f"the file has no tensor {name!r}")
    tensor = tensors[name]
    if tensor.shape != shape or tensor.dtype != dtype or tensor.dtype.kind != "f":
        raise ValueError(
            f"tensor {name!r} of the file is {tensor.shape} {tensor.dtype}; expected "
            f"{shape} {np.dtype(dtype)}"
        )
    if not np.isfinite(tensor).all():
        raise ValueError(f"tensor {name!r} of the file has values that are not finite")
    return tensor

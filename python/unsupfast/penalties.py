"""What is added to a reconstruction loss, and what is done to the inputs of a denoising model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _arrays, _core, ops
from .autograd import Tensor, grad

__all__ = [
    "L1",
    "Contractive",
    "Gaussian",
    "KLSparsity",
    "Masking",
    "SaltPepper",
]


def _require(owner: Any, name: str, low: float, high: float = math.inf, *, open_ends=False) -> None:
    value = getattr(owner, name)
    label = f"{type(owner).__name__}.{name}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{label} is {value!r}; expected a number")
    inside = low < value < high if open_ends else low <= value <= high
    if not (inside and math.isfinite(value)):
        left, right = "(" if open_ends else "[", ")" if open_ends or math.isinf(high) else "]"
        raise ValueError(f"{label} is {value}; expected a value in {left}{low}, {high}{right}")


# ------------------------------------------------------------------------------------- corruption


@dataclass(frozen=True)
class Masking:
    """Sets each input to 0 with probability ``fraction`` (Vincent et al., ICML 2008)."""

    fraction: float
    kind = "masking"

    def __post_init__(self) -> None:
        _require(self, "fraction", 0, 1)

    @property
    def amount(self) -> float:
        return float(self.fraction)


@dataclass(frozen=True)
class SaltPepper:
    """Sets each input to 0 or 1, each with probability ``fraction / 2``."""

    fraction: float
    kind = "salt_pepper"

    def __post_init__(self) -> None:
        _require(self, "fraction", 0, 1)

    @property
    def amount(self) -> float:
        return float(self.fraction)


@dataclass(frozen=True)
class Gaussian:
    """Adds noise of standard deviation ``sigma``, in the units of the data."""

    sigma: float
    kind = "gaussian"

    def __post_init__(self) -> None:
        _require(self, "sigma", 0)

    @property
    def amount(self) -> float:
        return float(self.sigma)


# -------------------------------------------------------------------------------------- penalties
#
# A penalty is called with the encoder, its input and its code, and returns a scalar tensor: the
# mean over samples of what is added to the loss of a sample.


@dataclass(frozen=True)
class L1:
    """``weight`` times the sum of absolute code activities."""

    weight: float = 1e-3

    def __post_init__(self) -> None:
        _require(self, "weight", 0)

    def check(self, encoder: Any) -> None:
        """Applies to every activation."""

    def __call__(self, encoder: Any, x: Any, code: Any, draw: Any) -> Any:
        sign = _core.sub(_core.positive(code.data), _core.positive(_core.neg(code.data)))
        return ops.mul(ops.sum(ops.mul(code, sign)), self.weight / max(1, len(code)))


@dataclass(frozen=True)
class KLSparsity:
    """``weight`` times the sum over code units of KL(target || mean activity of the batch), nats.

    For activities in (0, 1). A. Ng, "Sparse autoencoder", 2011.
    """

    target: float = 0.05
    weight: float = 0.1

    def __post_init__(self) -> None:
        _require(self, "target", 0, 1, open_ends=True)
        _require(self, "weight", 0)

    def check(self, encoder: Any) -> None:
        activation = encoder.layers[-1].activation
        if activation != "sigmoid":
            raise ValueError(
                f"penalties: KLSparsity needs activities in (0, 1), a code_activation of "
                f"'sigmoid'; got {activation!r}"
            )

    def __call__(self, encoder: Any, x: Any, code: Any, draw: Any) -> Any:
        # kept off 0 and 1, where a saturated unit would make the divergence infinite
        active = ops.add(ops.mul(ops.mean(code, axis=0), 1 - 2e-6), 1e-6)
        p = float(self.target)
        cross = ops.add(ops.mul(ops.log(active), p), ops.mul(ops.log(ops.sub(1.0, active)), 1 - p))
        entropy = p * math.log(p) + (1 - p) * math.log(1 - p)
        return ops.mul(ops.sub(entropy * code.shape[1], ops.sum(cross)), self.weight)


@dataclass(frozen=True)
class Contractive:
    """``weight`` times the squared Frobenius norm of the encoder's Jacobian.

    Parameters
    ----------
    weight : float, default=0.1
    method : {"auto", "exact", "hutchinson"}, default="auto"
        One layer has a closed form. Deeper encoders: "exact" sums over code units, one backward
        pass each; "hutchinson" estimates it without bias from one random direction. "auto" is exact
        for up to 16 code units.

    References
    ----------
    S. Rifai et al. "Contractive auto-encoders: explicit invariance during feature extraction".
    ICML 2011.
    """

    weight: float = 0.1
    method: str = "auto"

    def __post_init__(self) -> None:
        _require(self, "weight", 0)
        if self.method not in ("auto", "exact", "hutchinson"):
            raise ValueError(
                f"Contractive.method is {self.method!r}; expected 'auto', 'exact' or 'hutchinson'"
            )

    def check(self, encoder: Any) -> None:
        """Applies to every activation: all have a derivative almost everywhere."""

    def __call__(self, encoder: Any, x: Any, code: Any, draw: Any) -> Any:
        scale = self.weight / max(1, len(code))
        if len(encoder.layers) == 1 and self.method != "hutchinson":
            layer = encoder.layers[0]
            norms = ops.column_norms(layer.panels, n=layer.outputs)
            return ops.contraction(code, norms, activation=layer.activation, scale=scale)
        x = Tensor(x.data if isinstance(x, Tensor) else x, requires_grad=True)
        code = encoder(x)
        width = code.shape[1]
        if self.method == "exact" or (self.method == "auto" and width <= 16):
            total: Any = 0.0
            for j in range(width):
                one = _arrays.full((len(code), 1), 1.0, code.data)
                g = ops.pad_columns(one, start=j, width=width)
                (row,) = grad(code, [x], g, create_graph=True)
                total = ops.add(total, ops.sum(ops.mul(row, row)))
            return ops.mul(total, scale)
        # 0 or 2, with even chances, minus 1
        drawn = ops.dropout(_arrays.full(code.shape, 1.0, code.data), rate=0.5, **draw.names(3))
        signs = _core.sub(drawn, 1.0)
        (row,) = grad(code, [x], signs, create_graph=True)
        return ops.mul(ops.sum(ops.mul(row, row)), scale)

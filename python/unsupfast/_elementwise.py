"""Differentiable elementwise functions and reductions; :mod:`unsupfast.ops` shows them.

Elementwise functions broadcast as NumPy's do, and numbers take the type of the arrays beside them;
integers and Booleans are computed in float64. The derivatives at corners are those of one side.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _core
from .autograd import Op, Tensor, op

__all__ = [
    "abs",
    "add",
    "continuous_cumulant",
    "div",
    "exp",
    "expand",
    "log",
    "logsumexp",
    "max",
    "maximum",
    "mean",
    "minimum",
    "mul",
    "neg",
    "power",
    "reciprocal",
    "relu",
    "reshape",
    "sigmoid",
    "softplus",
    "sqrt",
    "square",
    "sub",
    "sum",
    "tanh",
    "where",
]


def _shape(x: Any) -> tuple[int, ...]:
    return np.shape(x.data if isinstance(x, Tensor) else x)


def _fit(g: Any, x: Any) -> Any:
    """g summed to the shape of x, which was broadcast."""
    shape = _shape(x)
    if _shape(g) == shape:
        return g
    extra = len(_shape(g)) - len(shape)
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and _shape(g)[i + extra] != 1
    )
    return reshape(sum(g, axis=axes), shape=shape)


def _elementwise(name: str, doc: str) -> Op:
    """The operation of a line of the table in csrc/kernels/elementwise/op.h."""
    function = Op(getattr(_core, name))
    function.__doc__ = doc
    return function


def _values(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


add = _elementwise("add", "a + b, broadcast.")
sub = _elementwise("sub", "a - b, broadcast.")
mul = _elementwise("mul", "a b by element, broadcast.")
div = _elementwise("div", "a / b by element, broadcast.")
maximum = _elementwise("maximum", "The larger of a and b, broadcast; NaN where one is.")
minimum = _elementwise("minimum", "The smaller of a and b, broadcast; NaN where one is.")
neg = _elementwise("neg", "-a.")
abs = _elementwise("abs", "The magnitude of a.")
square = _elementwise("square", "a^2.")
reciprocal = _elementwise("reciprocal", "1 / a.")
sqrt = _elementwise("sqrt", "Square root.")
exp = _elementwise("exp", "exp(a).")
log = _elementwise("log", "Natural logarithm.")
tanh = _elementwise("tanh", "Hyperbolic tangent.")
sigmoid = _elementwise("sigmoid", "1 / (1 + exp(-a)).")
softplus = _elementwise("softplus", "log(1 + exp(a)).")
relu = _elementwise("relu", "max(a, 0).")


@add.rule
def _(g, y, a, b):
    return _fit(g, a), _fit(g, b)


@sub.rule
def _(g, y, a, b):
    return _fit(g, a), _fit(neg(g), b)


@mul.rule
def _(g, y, a, b):
    return _fit(mul(g, b), a), _fit(mul(g, a), b)


@div.rule
def _(g, y, a, b):
    by_a = div(g, b)
    return _fit(by_a, a), _fit(neg(mul(by_a, y)), b)


@maximum.rule
def _(g, y, a, b):
    return _to_one_of(g, a, b, np.greater_equal(_values(a), _values(b)))


@minimum.rule
def _(g, y, a, b):
    return _to_one_of(g, a, b, np.less_equal(_values(a), _values(b)))


def _to_one_of(g: Any, a: Any, b: Any, first: Any) -> tuple[Any, Any]:
    """The gradients by a and b of an operation that takes a where `first` holds, else b."""
    return (
        _fit(where(g, 0.0, condition=first), a),
        _fit(where(0.0, g, condition=first), b),
    )


@neg.rule
def _(g, y, a):
    return (neg(g),)


@abs.rule
def _(g, y, a):
    return (where(g, neg(g), condition=np.greater_equal(_values(a), 0)),)


@square.rule
def _(g, y, a):
    return (mul(mul(g, 2.0), a),)


@reciprocal.rule
def _(g, y, a):
    return (neg(mul(g, square(y))),)


@sqrt.rule
def _(g, y, a):
    return (div(mul(g, 0.5), y),)


@exp.rule
def _(g, y, a):
    return (mul(g, y),)


@log.rule
def _(g, y, a):
    return (div(g, a),)


@tanh.rule
def _(g, y, a):
    return (mul(g, sub(1.0, square(y))),)


@sigmoid.rule
def _(g, y, a):
    return (mul(g, mul(y, sub(1.0, y))),)


@softplus.rule
def _(g, y, a):
    return (mul(g, sigmoid(a)),)


@relu.rule
def _(g, y, a):
    return (where(g, 0.0, condition=np.greater(_values(a), 0)),)


@op
def power(a, *, exponent):
    """a to a constant power."""
    return _core.power(a, exponent)


@power.rule
def _(g, y, a, *, exponent):
    return (mul(g, mul(power(a, exponent=exponent - 1), float(exponent))),)


@op
def where(a, b, *, condition):
    """a where a constant condition holds, else b."""
    return _core.where(condition, a, b)


@where.rule
def _(g, y, a, b, *, condition):
    return (
        _fit(where(g, 0.0, condition=condition), a),
        _fit(where(0.0, g, condition=condition), b),
    )


_CUMULANTS = {
    1: _core.continuous_mean,
    2: _core.continuous_variance,
    3: _core.continuous_third,
    4: _core.continuous_fourth,
}


@op
def continuous_cumulant(a, *, order=1):
    """Cumulant `order` (1 to 4) of the continuous Bernoulli distribution of logits a.

    Its mean, its variance and so on: the derivatives of the log-normaliser
    ``log((exp(a) - 1) / a)``. Each is the derivative of the one before, up to the last.

    References
    ----------
    G. Loaiza-Ganem, J. Cunningham. "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders". NeurIPS 2019.
    """
    if order not in _CUMULANTS:
        raise ValueError(f"order is {order!r}; expected 1, 2, 3 or 4")
    return _CUMULANTS[order](a)


@continuous_cumulant.rule
def _(g, y, a, *, order=1):
    return (mul(g, continuous_cumulant(a, order=order + 1)),)


# --------------------------------------------------------------------------- shapes and reductions


@op
def sum(a, *, axis=None, keepdims=False):
    """Sum over axes."""
    return _core.sum(a, axis, keepdims)


@sum.rule
def _(g, y, a, *, axis=None, keepdims=False):
    return (expand(g, shape=_shape(a), axis=axis, keepdims=keepdims),)


@op
def expand(a, *, shape, axis=None, keepdims=False):
    """The transpose of :func:`sum`: a, repeated along the axes that were summed."""
    if axis is not None and not keepdims:
        a = np.expand_dims(a, axis)
    return np.broadcast_to(a, shape)


@expand.rule
def _(g, y, a, *, shape, axis=None, keepdims=False):
    return (reshape(sum(g, axis=axis, keepdims=keepdims), shape=_shape(a)),)


@op
def mean(a, *, axis=None, keepdims=False):
    """Mean over axes."""
    return _core.mean(a, axis, keepdims)


@mean.rule
def _(g, y, a, *, axis=None, keepdims=False):
    n = math.prod(_shape(a)) / (math.prod(_shape(y)) or 1)
    return (expand(mul(g, 1.0 / (n or 1)), shape=_shape(a), axis=axis, keepdims=keepdims),)


@op
def max(a, *, axis=None, keepdims=False):
    """The largest along axes; NaN where there is one. Equal ones share the gradient."""
    return _core.max(a, axis, keepdims)


@max.rule
def _(g, y, a, *, axis=None, keepdims=False):
    top = expand.function(_values(y), shape=_shape(a), axis=axis, keepdims=keepdims)
    chosen = np.equal(_values(a), top).astype(top.dtype)
    share = chosen / np.sum(chosen, axis=axis, keepdims=True)
    return (mul(expand(g, shape=_shape(a), axis=axis, keepdims=keepdims), share),)


@op
def logsumexp(a, *, axis=None, keepdims=False):
    """``log(sum(exp(a)))`` over axes, without overflow."""
    top = _core.max(a, axis, True)
    top = _core.where(np.isfinite(top), top, 0.0)
    total = _core.sum(_core.exp(_core.sub(a, top)), axis, keepdims)
    return _core.add(_core.log(total), np.reshape(top, total.shape))


@logsumexp.rule
def _(g, y, a, *, axis=None, keepdims=False):
    shape = {"shape": _shape(a), "axis": axis, "keepdims": keepdims}
    return (mul(expand(g, **shape), exp(sub(a, expand(y, **shape)))),)


@op
def reshape(a, *, shape):
    """The same elements in another shape."""
    return np.reshape(a, shape)


@reshape.rule
def _(g, y, a, *, shape):
    return (reshape(g, shape=_shape(a)),)

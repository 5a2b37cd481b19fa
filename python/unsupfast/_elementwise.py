"""Differentiable elementwise functions and reductions; :mod:`unsupfast.ops` shows them.

Elementwise functions broadcast as NumPy's do, and numbers take the type of the arrays beside them;
integers and Booleans are computed in float64. The derivatives at corners are those of one side.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _arrays, _core
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


@mul.fast()
def _(g, needs, into, y, a, b):
    by_a = _fit(_core.mul(g, b), a) if needs[0] else None
    return by_a, _fit(_core.mul(g, a), b) if needs[1] else None


@div.rule
def _(g, y, a, b):
    by_a = div(g, b)
    return _fit(by_a, a), _fit(neg(mul(by_a, y)), b)


@maximum.rule
def _(g, y, a, b):
    return _to_one_of(g, a, b, _core.positive(_core.sub(_values(b), _values(a))))


@minimum.rule
def _(g, y, a, b):
    return _to_one_of(g, a, b, _core.positive(_core.sub(_values(a), _values(b))))


def _to_one_of(g: Any, a: Any, b: Any, second: Any) -> tuple[Any, Any]:
    """The gradients by a and b of an operation that takes b where `second` is 1, else a."""
    return _fit(mul(g, _core.sub(1.0, second)), a), _fit(mul(g, second), b)


@neg.rule
def _(g, y, a):
    return (neg(g),)


@abs.rule
def _(g, y, a):
    negative = _core.positive(_core.neg(_values(a)))
    return (mul(g, _core.sub(1.0, _core.mul(negative, 2.0))),)


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
    return (mul(g, _core.positive(_values(a))),)


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
    return (_spread(g, a, axis, keepdims),)


def _spread(g: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """g, one number for all that was reduced, as an array of the shape of a, where that lies."""
    like = _values(a)
    if _arrays.is_gpu(like) and not _arrays.is_gpu(_values(g)):
        if not isinstance(g, Tensor):
            return _arrays.full(like.shape, float(g), like)
        g = mul(g, _arrays.full((), 1.0, like))
    return expand(g, shape=like.shape, axis=axis, keepdims=keepdims)


@op
def expand(a, *, shape, axis=None, keepdims=False):
    """The transpose of :func:`sum`: a, repeated along the axes that were summed."""
    if axis is not None and not keepdims:
        axes = {i % len(shape) for i in (axis if isinstance(axis, (tuple, list)) else (axis,))}
        a = _arrays.reshape(a, [1 if i in axes else n for i, n in enumerate(shape)])
    return _arrays.broadcast(a, shape)


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
    return (_spread(mul(g, 1.0 / (n or 1)), a, axis, keepdims),)


@op
def max(a, *, axis=None, keepdims=False):
    """The largest along axes; NaN where there is one. Equal ones share the gradient."""
    return _core.max(a, axis, keepdims)


@max.rule
def _(g, y, a, *, axis=None, keepdims=False):
    top = expand.function(_values(y), shape=_shape(a), axis=axis, keepdims=keepdims)
    chosen = _core.sub(1.0, _core.positive(_core.sub(top, _values(a))))
    share = _core.div(chosen, _core.sum(chosen, axis, True))
    return (mul(_spread(g, a, axis, keepdims), share),)


@op
def logsumexp(a, *, axis=None, keepdims=False):
    """``log(sum(exp(a)))`` over axes, without overflow."""
    top = _core.max(a, axis, True)
    most = float(np.finfo(top.dtype).max)
    top = _core.minimum(_core.maximum(top, -most), most)  # infinities would leave differences NaN
    total = _core.sum(_core.exp(_core.sub(a, top)), axis, keepdims)
    return _core.add(_core.log(total), _arrays.reshape(top, total.shape))


@logsumexp.rule
def _(g, y, a, *, axis=None, keepdims=False):
    spread = expand(y, shape=_shape(a), axis=axis, keepdims=keepdims)
    return (mul(_spread(g, a, axis, keepdims), exp(sub(a, spread))),)


@op
def reshape(a, *, shape):
    """The same elements in another shape."""
    return _arrays.reshape(a, shape)


@reshape.rule
def _(g, y, a, *, shape):
    return (reshape(g, shape=_shape(a)),)

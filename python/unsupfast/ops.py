"""The differentiable operations: each one's face, and the rule of its gradient.

Matrices are row-major, a sample a row. Weights of dense layers are arrays of *panels*: a k x n
matrix cut into strips of 32 columns, of shape ``(ceil(n / 32), k, 32)`` with zeros beyond column n,
which is how the compiled products read their right operand (:func:`to_panels`,
:func:`from_panels`). Everything else about them is ordinary: sums, products and optimiser steps act
on panels as on any array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _arrays, _core
from ._elementwise import (
    _shape,
    abs,
    add,
    continuous_cumulant,
    div,
    exp,
    expand,
    log,
    logsumexp,
    max,
    maximum,
    mean,
    minimum,
    mul,
    neg,
    power,
    reciprocal,
    relu,
    reshape,
    sigmoid,
    softplus,
    sqrt,
    square,
    sub,
    sum,
    tanh,
    where,
)
from .autograd import Tensor, op

__all__ = [
    "abs",
    "add",
    "column_norms",
    "continuous_cumulant",
    "contraction",
    "dense",
    "div",
    "dropout",
    "exp",
    "expand",
    "from_panels",
    "gate",
    "latent",
    "log",
    "logsumexp",
    "loss",
    "matmul",
    "max",
    "maximum",
    "mean",
    "minimum",
    "mul",
    "neg",
    "outer",
    "power",
    "reciprocal",
    "relu",
    "reshape",
    "row_losses",
    "sigmoid",
    "softplus",
    "sqrt",
    "square",
    "sub",
    "sum",
    "tanh",
    "to_panels",
    "transpose",
    "where",
]

PANEL = 32
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus")


# ------------------------------------------------------------------------------------------ shapes


@op
def transpose(a):
    """The axes in reverse order."""
    return a.T


@transpose.rule
def _(g, y, a):
    return (transpose(g),)


@op
def columns(a, *, start, stop):
    """Columns [start, stop) of a matrix, contiguous."""
    return _arrays.contiguous(a[:, start:stop])


@columns.rule
def _(g, y, a, *, start, stop):
    return (pad_columns(g, start=start, width=_shape(a)[1]),)


@op
def pad_columns(a, *, start, width):
    """The transpose of :func:`columns`: zeros around a."""
    out = _arrays.zeros((a.shape[0], width), a)
    out[:, start : start + a.shape[1]] = a
    return out


@pad_columns.rule
def _(g, y, a, *, start, width):
    return (columns(g, start=start, stop=start + _shape(a)[1]),)


# ---------------------------------------------------------------------------------- matrix products


@op
def matmul(a, b, *, ta=False, tb=False):
    """Product of two matrices, either one transposed."""
    a, b = (x if _arrays.is_gpu(x) else np.asarray(x) for x in (a, b))
    return _core.matmul(a, b, a.dtype.name, transpose_a=ta, transpose_b=tb)


@matmul.rule
def _(g, y, a, b, *, ta=False, tb=False):
    ga = matmul(b, g, ta=tb, tb=True) if ta else matmul(g, b, tb=not tb)
    gb = matmul(g, a, ta=True, tb=ta) if tb else matmul(a, g, ta=not ta)
    return ga, gb


def to_panels(w: np.ndarray) -> np.ndarray:
    """Panels of a matrix.

    Parameters
    ----------
    w : ndarray of shape (k, n)

    Returns
    -------
    panels : ndarray of shape (ceil(n / 32), k, 32)
    """
    k, n = w.shape
    strips = -(-n // PANEL)
    padded = np.zeros((k, strips * PANEL), w.dtype)
    padded[:, :n] = w
    return np.ascontiguousarray(padded.reshape(k, strips, PANEL).transpose(1, 0, 2))


def from_panels(panels: np.ndarray, n: int) -> np.ndarray:
    """The matrix of shape (k, n) that :func:`to_panels` made panels of."""
    strips, k, _ = panels.shape
    return np.ascontiguousarray(panels.transpose(1, 0, 2).reshape(k, strips * PANEL)[:, :n])


@op
def dense(x, w, b, *, n, activation="identity", turned=False, bf16=False):
    """A dense layer: ``activation(x w + b)``.

    Parameters
    ----------
    x : (m, k)
    w : panels of a (k, n) matrix, or with ``turned`` of an (n, k) matrix that is transposed.
    b : (n,) or None
    n : int
        Outputs.
    activation : {"identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus"}
    turned : bool
    bf16 : bool
        Round the factors to bfloat16; sums stay float32.
    """
    return _core.dense(_arrays.contiguous(x), w, n, b, activation, turned, bf16)


@dense.rule
def _(g, y, x, w, b, *, n, activation="identity", turned=False, bf16=False):
    z = g if activation == "identity" else gate(g, y, activation=activation)
    gx = dense(z, w, None, n=_shape(x)[1], turned=not turned, bf16=bf16)
    gw = outer(z, x, bf16=bf16) if turned else outer(x, z, bf16=bf16)
    return gx, gw, None if b is None else sum(z, axis=0)


@dense.fast(adds_to=1)
def _(g, needs, into, y, x, w, b, *, n, activation="identity", turned=False, bf16=False):
    g, x = _arrays.contiguous(g), _arrays.contiguous(x)
    return _core.dense_grad(g, y, x, w, activation, turned, bf16, needs[0], needs[1], into)


@op
def outer(x, g, *, bf16=False):
    """Panels of ``x' g``: the weight gradient of a dense layer. x: (m, k), g: (m, n)."""
    return _core.outer(_arrays.contiguous(x), _arrays.contiguous(g), bf16)


@outer.rule
def _(u, y, x, g, *, bf16=False):
    by_x = dense(g, u, None, n=_shape(x)[1], turned=True, bf16=bf16)
    return by_x, dense(x, u, None, n=_shape(g)[1], bf16=bf16)


@op
def gate(g, y, *, activation):
    """``g activation'(z)`` where y = activation(z)."""
    return _core.gate(_arrays.contiguous(g), y, activation)


@gate.rule
def _(u, z, g, y, *, activation):
    return gate(u, y, activation=activation), mul(mul(u, g), curvature(y, activation))


def curvature(y: Any, activation: str) -> Any:
    """The derivative by y of the derivative of an activation, as a function of its output y."""
    if activation == "sigmoid":
        return sub(1.0, mul(y, 2.0))
    if activation == "tanh":
        return mul(y, -2.0)
    if activation == "softplus":
        return exp(neg(y))
    values = y.data if isinstance(y, Tensor) else y
    if activation == "elu":
        return _core.positive(_core.neg(values))
    return np.zeros((), values.dtype)


# ------------------------------------------------------------------------------------------- losses


def _mean_of(z: Any, x: Any, kind: str) -> Any:
    """The derivative of a loss by z, plus the target: the mean of the distribution."""
    if kind == "squared":
        return sub(mul(z, 2.0), x)  # 2 (z - x) + x
    if kind == "bernoulli":
        return sigmoid(z)
    if kind == "continuous_bernoulli":
        return continuous_cumulant(z)
    return exp(sub(z, logsumexp(z, axis=1, keepdims=True)))  # categorical


@op
def row_losses(z, x, *, kind, repeat=1):
    """The loss of each row, summed over its columns.

    Parameters
    ----------
    z : (m, n)
        Predictions for "squared", else logits.
    x : (m / repeat, n)
        Targets; ``repeat`` rows of z that follow each other share one. Not differentiated.
    kind : {"squared", "bernoulli", "continuous_bernoulli", "categorical"}
        ``(z - x)^2``; cross-entropy from logits; the continuous Bernoulli's negative log density;
        cross-entropy of classes (rows of x sum to 1). Nats but for "squared".
    """
    return _core.likelihood(z, x, kind, 1.0, repeat, None, False)[0]


@row_losses.rule
def _(g, y, z, x, *, kind, repeat=1):
    target = _arrays.repeat_rows(x, repeat) if repeat > 1 else x
    difference = sub(_mean_of(z, target, kind), target)
    return mul(reshape(g, shape=(_shape(z)[0], 1)), difference), None


@row_losses.fast()
def _(g, needs, into, y, z, x, *, kind, repeat=1):
    g = _arrays.contiguous(g, z.dtype)
    return _core.likelihood(z, x, kind, 1.0, repeat, g, True)[1], None


def loss(z, x, *, kind, scale=1.0):
    """``scale`` times the mean over rows of :func:`row_losses`; its gradient is made with it."""
    return _loss(z, x, kind=kind, scale=scale)[0]


@op
def _loss(z, x, *, kind, scale):
    factor = scale / (z.shape[0] or 1)
    values, gradient = _core.likelihood(z, x, kind, factor)
    total = _core.mean(values) if scale == 1 and len(z) else _core.mul(_core.sum(values), factor)
    return total, gradient


@_loss.rule
def _(gs, ys, z, x, *, kind, scale):
    g = gs[0]
    factor = scale / (_shape(z)[0] or 1)
    return mul(mul(sub(_mean_of(z, x, kind), x), factor), g), None


@_loss.fast()
def _(gs, needs, into, ys, z, x, *, kind, scale):
    g = gs[0] if _arrays.is_gpu(gs[0]) else float(gs[0])
    return (ys[1] if g == 1.0 else _core.mul(ys[1], g)), None


# ---------------------------------------------------------------------------------------- penalties


@op
def column_norms(w, *, n):
    """Squared norms of the n columns of a matrix in panels."""
    return _core.column_norms(w, n)


@column_norms.rule
def _(g, y, w, *, n):
    width = _shape(w)[0] * PANEL
    row = g if width == n else reshape(pad_columns(reshape(g, shape=(1, n)), start=0, width=width),
                                       shape=(width,))  # fmt: skip
    return (mul(w, reshape(mul(row, 2.0), shape=(_shape(w)[0], 1, PANEL))),)


@column_norms.fast(adds_to=0)
def _(g, needs, into, y, w, *, n):
    total = _core.WeightGradient(w, n) if into is None else into
    total.add_columns(_arrays.contiguous(_core.mul(g, 2.0)))
    return (total,)


@op
def contraction(h, norms, *, activation, scale=1.0):
    """Squared Frobenius norm of a dense layer's Jacobian, summed over rows, times ``scale``.

    ``sum_ij activation'(z_ij)^2 norms_j`` for outputs h = activation(z) of a layer whose weights
    have columns of these squared norms (Rifai et al., ICML 2011).
    """
    return _core.mul(_core.sum(_core.contraction(h, norms, activation)[0]), scale)


@contraction.rule
def _(g, y, h, norms, *, activation, scale=1.0):
    one = _arrays.full(_shape(h), 1.0, h.data if isinstance(h, Tensor) else h)
    slope = gate(one, h, activation=activation)
    factor = mul(g, scale)
    by_h = mul(mul(mul(slope, curvature(h, activation)), norms), mul(factor, 2.0))
    return by_h, mul(sum(mul(slope, slope), axis=0), factor)


@contraction.fast()
def _(g, needs, into, y, h, norms, *, activation, scale=1.0):
    return _core.contraction(h, norms, activation, float(g) * scale)[1:]


# ------------------------------------------------------------------------------------------- noise


@op
def dropout(x, *, rate, seed=0, step=0, stream=0, clock=None):
    """Units left out at random, the others divided by ``1 - rate``: their mean is kept.

    The random numbers are named, not kept: the gradient draws the same ones again.

    Parameters
    ----------
    x : (m, n)
    rate : float
        Probability that a unit is left out, in [0, 1).
    seed, step, stream : int
        Name the random numbers.
    clock : GpuArray, optional
        An int64 that is added to step when the numbers are drawn.

    References
    ----------
    N. Srivastava et al. "Dropout: a simple way to prevent neural networks from overfitting".
    JMLR 15, 2014.
    """
    return _core.dropout(_arrays.contiguous(x), rate, seed, step, stream, clock=clock)


@dropout.rule
def _(g, y, x, **options):
    return (dropout(g, **options),)


# ------------------------------------------------------------------------------------ latent codes


@op
def latent(head, *, samples=1, seed=0, step=0, stream=0, first_row=0, clock=None):
    """Codes of a diagonal-Gaussian posterior by the reparameterisation trick.

    Parameters
    ----------
    head : (m, 2 d)
        Means, then log variances.
    samples : int
        Codes drawn per row; they follow each other.
    seed, step, stream, first_row : int
        Name the random numbers.
    clock : GpuArray, optional
        An int64 that is added to step when the numbers are drawn.

    Returns
    -------
    z : (m samples, d)
        ``mean + exp(log_variance / 2) eps``.
    eps : (m samples, d)
        Standard normal; a constant.
    kl : (m, d)
        KL(N(mean, variance) || N(0, 1)) of each dimension, nats.

    References
    ----------
    D. Kingma, M. Welling. "Auto-encoding variational Bayes". ICLR 2014.
    """
    return _core.latent(head, samples, seed, step, stream, first_row, clock)


@latent.rule
def _(gs, ys, head, *, samples=1, **draw):
    gz, _, gkl = gs
    eps = ys[1].data if isinstance(ys[1], Tensor) else ys[1]
    m, d = _shape(head)[0], _shape(head)[1] // 2
    mean_, log_variance = columns(head, start=0, stop=d), columns(head, start=d, stop=2 * d)
    by_mean: Any = 0.0
    by_log_variance: Any = 0.0
    if gz is not None:
        by_mean = sum(reshape(gz, shape=(m, samples, d)), axis=1)
        weighted = sum(reshape(mul(gz, eps), shape=(m, samples, d)), axis=1)
        by_log_variance = mul(mul(weighted, exp(mul(log_variance, 0.5))), 0.5)
    if gkl is not None:
        by_mean = add(by_mean, mul(gkl, mean_))
        by_log_variance = add(by_log_variance, mul(mul(gkl, 0.5), sub(exp(log_variance), 1.0)))
    left = pad_columns(by_mean, start=0, width=2 * d)
    return (add(left, pad_columns(by_log_variance, start=d, width=2 * d)),)


@latent.fast()
def _(gs, needs, into, ys, head, **options):
    gz, _, gkl = (None if g is None else _arrays.contiguous(g, head.dtype) for g in gs)
    return (_core.latent_grad(head, ys[1], gz, gkl),)


# --------------------------------------------------------------------------- arithmetic of tensors


def _attach() -> None:
    def binary(name, function):
        setattr(Tensor, f"__{name}__", lambda self, other: function(self, other))
        setattr(Tensor, f"__r{name}__", lambda self, other: function(other, self))

    for name, function in (("add", add), ("sub", sub), ("mul", mul), ("truediv", div)):
        binary(name, function)
    methods = {
        "__matmul__": lambda self, other: matmul(self, other),
        "__rmatmul__": lambda self, other: matmul(other, self),
        "__neg__": lambda self: neg(self),
        "__pow__": lambda self, exponent: power(self, exponent=exponent),
        "sum": lambda self, axis=None, keepdims=False: sum(self, axis=axis, keepdims=keepdims),
        "mean": lambda self, axis=None, keepdims=False: mean(self, axis=axis, keepdims=keepdims),
        "__abs__": lambda self: abs(self),
        "reshape": lambda self, *shape: reshape(self, shape=shape),
    }
    for name, method in methods.items():
        setattr(Tensor, name, method)
    Tensor.T = property(lambda self: transpose(self))  # type: ignore[attr-defined]


_attach()

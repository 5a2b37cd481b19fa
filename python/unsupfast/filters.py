"""What hidden units of any layer look for: filters in the space of the inputs.

``uf.plot.filters`` draws what both functions return.

References
----------
.. [1] D. Erhan, Y. Bengio, A. Courville, P. Vincent. "Visualizing higher-layer features of a deep
       network". University of Montreal, 2009.
.. [2] H. Lee, C. Ekanadham, A. Ng. "Sparse deep belief net model for visual area V2". NIPS 2007.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import nn, ops
from .autograd import Tensor, grad

__all__ = ["linear", "maximising"]


def linear(model: Any, layer: int, strongest: int | None = None) -> np.ndarray:
    """Filters as linear combinations of those of the layer below [2]_.

    Parameters
    ----------
    model : DBN, RBM, or model with hidden layers
        Fitted.
    layer : int
        From 1, whose filters are the weights.
    strongest : int or None, default=None
        Combine only so many filters for each unit, those of the largest weights; None is all.

    Returns
    -------
    filters : ndarray of shape (n_units, n_features)
    """
    if strongest is not None and (not isinstance(strongest, numbers.Integral) or strongest < 1):
        raise ValueError(f"strongest is {strongest!r}; expected a positive integer or None")
    first, *above = _layers(model, layer)
    filters = first.weight.T
    for dense in above:
        weights = dense.weight.T
        if strongest is not None and strongest < weights.shape[1]:
            least = np.partition(np.abs(weights), -strongest, axis=1)[:, -strongest]
            weights = np.where(np.abs(weights) >= least[:, None], weights, 0)
        filters = weights @ filters
    return filters


def maximising(
    model: Any,
    layer: int,
    norm: float,
    *,
    units: Any = None,
    n_iter: int = 200,
    learning_rate: float = 0.1,
    random_state: Any = None,
) -> np.ndarray:
    """Inputs of a given norm that activate units the most, by gradient ascent [1]_.

    Parameters
    ----------
    model : DBN, RBM, or model with hidden layers
        Fitted.
    layer : int
        From 1.
    norm : float
        Euclidean norm of the inputs, say the mean norm of the data's rows.
    units : array-like of int or None, default=None
        Which units; None is all.
    n_iter : int, default=200
        Steps, from a random input.
    learning_rate : float, default=0.1
        Length of a step, in units of `norm`; after it the input is scaled back to its norm.
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    inputs : ndarray of shape (n_units, n_features)
    """
    if not isinstance(norm, numbers.Real) or not 0 < float(norm) < np.inf:
        raise ValueError(f"norm is {norm!r}; expected a positive number")
    layers = _layers(model, layer)
    last, dtype = layers[-1], layers[0].panels.dtype
    chosen = np.arange(last.outputs) if units is None else np.asarray(units)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not len(chosen):
        raise ValueError(f"units is {units!r}; expected numbers of units")
    if chosen.min() < 0 or chosen.max() >= last.outputs:
        raise ValueError(f"units has {chosen.max()}; layer {layer} has {last.outputs} units")
    rng = check_random_state(random_state)
    x = _unit(rng.standard_normal((len(chosen), layers[0].inputs))).astype(dtype)
    own = (chosen[:, None] == np.arange(last.outputs)).astype(dtype)
    for _ in range(n_iter):
        inputs = Tensor(x * dtype.type(norm), requires_grad=True)
        z: Any = inputs
        for dense in layers:
            # the last layer's total input has its activity's maximum, and a slope everywhere
            activation = "identity" if dense is last else dense.activation
            z = ops.dense(
                z, dense.panels.data, dense.bias.data, n=dense.outputs, activation=activation
            )
        (g,) = grad(z, [inputs], own)
        x = _unit(x + dtype.type(learning_rate) * _unit(g))
    return x * dtype.type(norm)


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _layers(model: Any, layer: Any) -> list[nn.Dense]:
    """The layers up to one, as dense ones."""
    check_is_fitted(model)
    if hasattr(model, "network_"):
        layers = list(model.network_.encoder.layers)
    else:
        layers, width = [], model.n_features_in_
        for rbm in getattr(model, "layers_", [model]):
            layers.append(_dense(rbm, width))
            width = layers[-1].outputs
    if not isinstance(layer, numbers.Integral) or isinstance(layer, bool):
        raise TypeError(f"layer is {layer!r}; expected an integer")
    count = int(layer)
    if not 1 <= count <= len(layers):
        raise ValueError(f"layer is {layer}; expected one from 1 to {len(layers)}")
    return layers[:count]


def _dense(rbm: Any, inputs: int) -> nn.Dense:
    """Recognition by a machine, of its first visible units: labels may be beside them."""
    from .models._rbm_core import recognition_parameters

    weights, bias = recognition_parameters(rbm)
    weights = weights[:inputs]
    dense = nn.Dense(inputs, weights.shape[1], activation="sigmoid", dtype=weights.dtype)
    dense.weight = weights
    dense.bias.data[...] = bias
    return dense

"""Modules: parameters, and how they make outputs of inputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from . import _arrays, ops
from .autograd import Tensor

__all__ = ["Dense", "Dropout", "Module", "Parameter", "Sequential", "TiedDense"]


class Parameter(Tensor):
    """A leaf that an optimiser changes in place.

    Parameters
    ----------
    data : ndarray
    decayed : bool, default=True
        Whether weight decay applies; not to biases.
    """

    __slots__ = ("decayed",)

    def __init__(self, data: Any, decayed: bool = True):
        super().__init__(data, requires_grad=True)
        self.decayed = decayed

    def __reduce__(self):
        return Parameter, (self.numpy(), self.decayed)


class Module:
    """Something with parameters: attributes that are parameters or modules, in their order."""

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        for name, value in vars(self).items():
            for key, item in _entries(prefix + name, value):
                if isinstance(item, Parameter):
                    yield key, item
                elif isinstance(item, Module):
                    yield from item.named_parameters(key + ".")

    def parameters(self) -> list[Parameter]:
        """Every parameter once."""
        return list({id(p): p for _, p in self.named_parameters()}.values())

    def get_state(self) -> dict[str, Any]:
        """Copies of all parameters by name."""
        return {name: _arrays.copy(p.data) for name, p in self.named_parameters()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Puts values back, in place, from any device."""
        for name, p in self.named_parameters():
            if state[name].shape != p.data.shape:
                raise ValueError(f"{name} has shape {state[name].shape}; expected {p.data.shape}")
            _arrays.assign(p.data, state[name])

    def move(self, gpu: int) -> None:
        """Puts all parameters on a GPU, or (-1) on the CPU."""
        for p in self.parameters():
            p.data = _arrays.put(p.data, gpu)

    def copy_on(self, gpu: int) -> Any:
        """This module where its parameters are there, else a copy of it with parameters there."""
        parameters = self.parameters()
        if all(_arrays.gpu_of(p.data) == gpu for p in parameters):
            return self
        moved: dict[int, Any] = {
            id(p): Parameter(_arrays.put(p.data, gpu), p.decayed) for p in parameters
        }
        return _with(self, moved)

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError


def _entries(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        return [(f"{name}.{i}", item) for i, item in enumerate(value)]
    return [(name, value)]


def _with(value: Any, parameters: dict[int, Parameter]) -> Any:
    """A copy of a module, or of what one holds, with other parameters (by the id of those now)."""
    if isinstance(value, Parameter):
        return parameters[id(value)]
    if isinstance(value, (list, tuple)):
        return type(value)(_with(item, parameters) for item in value)
    if isinstance(value, Module):
        made = copy.copy(value)
        for name, item in vars(value).items():
            setattr(made, name, _with(item, parameters))
        return made
    return value


def initial_weights(
    inputs: int, outputs: int, activation: str, rng: np.random.Generator, dtype: Any
) -> np.ndarray:
    """Random weights that keep the size of signals and gradients from layer to layer.

    Uniform of variance ``2 / (inputs + outputs)`` (Glorot and Bengio, AISTATS 2010), four times
    the width for sigmoids; ``2 / inputs`` for rectifiers (He et al., ICCV 2015).
    """
    if activation in ("relu", "leaky_relu", "elu", "softplus"):
        bound = np.sqrt(6.0 / max(1, inputs))
    else:
        bound = np.sqrt(6.0 / max(1, inputs + outputs)) * (4 if activation == "sigmoid" else 1)
    return rng.uniform(-bound, bound, (inputs, outputs)).astype(dtype)


def _check_width(x: Any, layer: Any) -> None:
    if len(x.shape) != 2 or x.shape[1] != layer.inputs:
        whose = ", outputs of the layer it is tied to" if isinstance(layer, TiedDense) else ""
        raise ValueError(
            f"x has shape {tuple(x.shape)}; expected (n_samples, {layer.inputs}){whose}"
        )


class Dense(Module):
    """``activation(x W + b)``.

    Parameters
    ----------
    inputs, outputs : int
    activation : str, default="identity"
        One of ``ops.ACTIVATIONS``.
    rng : Generator, optional
        Draws the weights.
    dtype : dtype, default=float32
    bf16 : bool, default=False
        Multiply in bfloat16; the weights stay float32.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str = "identity",
        *,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
        bf16: bool = False,
    ):
        rng = np.random.default_rng() if rng is None else rng
        self.inputs, self.outputs, self.activation, self.bf16 = inputs, outputs, activation, bf16
        self.panels = Parameter(
            ops.to_panels(initial_weights(inputs, outputs, activation, rng, dtype))
        )
        self.bias = Parameter(np.zeros(outputs, dtype), decayed=False)

    @property
    def weight(self) -> np.ndarray:
        """The weights as a matrix of shape (inputs, outputs); a copy."""
        return ops.from_panels(self.panels.numpy(), self.outputs)

    @weight.setter
    def weight(self, value: np.ndarray) -> None:
        _arrays.assign(self.panels.data, ops.to_panels(np.asarray(value, self.panels.dtype)))

    def __call__(self, x: Any) -> Any:
        _check_width(x, self)
        return ops.dense(
            x, self.panels, self.bias, n=self.outputs, activation=self.activation, bf16=self.bf16
        )


class TiedDense(Module):
    """``activation(x W' + b)`` with the weights W of another layer.

    Parameters
    ----------
    source : Dense
        Whose weights are shared; they are one parameter.
    activation : str, default="identity"
    """

    def __init__(self, source: Dense, activation: str = "identity"):
        self._source, self.activation = (source.panels,), activation
        self.inputs, self.outputs, self.bf16 = source.outputs, source.inputs, source.bf16
        self.bias = Parameter(np.zeros(source.inputs, source.panels.dtype), decayed=False)

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        yield prefix + "bias", self.bias

    def __call__(self, x: Any) -> Any:
        _check_width(x, self)
        return ops.dense(
            x,
            self._source[0],
            self.bias,
            n=self.outputs,
            activation=self.activation,
            turned=True,
            bf16=self.bf16,
        )


class Dropout(Module):
    """Leaves units out at random while training; see :func:`unsupfast.ops.dropout`.

    Parameters
    ----------
    rate : float
        Probability that a unit is left out, in [0, 1).
    stream : int, default=0
        Names the random numbers; another one for every layer of a network.
    """

    def __init__(self, rate: float, stream: int = 0):
        if not 0 <= rate < 1:
            raise ValueError(f"rate is {rate!r}; expected a number in [0, 1)")
        self.rate, self.stream = float(rate), stream

    def __call__(self, x: Any, draw: Any = None) -> Any:
        """`draw` names the random numbers of a mini-batch; None, for predictions, keeps x."""
        if draw is None or not self.rate:
            return x
        return ops.dropout(x, rate=self.rate, **draw.names(self.stream))


class Sequential(Module):
    """Modules one after the other."""

    def __init__(self, layers: Sequence[Module] = ()):
        self.layers = list(layers)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

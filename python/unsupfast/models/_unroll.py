"""Layer-by-layer initialisation: a stack of shallow models, unrolled into encoder and decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from ..units import Gaussian
from ._arguments import check_integer, check_option
from ._greedy import coded, train_layers
from ._rbm_core import generative_parameters, recognition_parameters
from .rbm import RBM

__all__ = ["check_pretrain", "greedy_layers", "machine"]

# Steps of contrastive divergence, by kind of visible unit (Hinton and Salakhutdinov, 2006).
_RBM_RATE, _GAUSSIAN_RATE = 0.1, 0.001


def greedy_layers(model: Any, X: Any) -> list[tuple[np.ndarray, ...]]:
    """Trains one shallow model per layer of an auto-encoder, each on the codes of the one before.

    Parameters
    ----------
    model : Autoencoder
        With its network built, which says widths and activations.
    X : array, CSR matrix, or iterable of those

    Returns
    -------
    list of (weight, hidden bias, weight of the way back, visible bias)
        Of each layer; weights are inputs x outputs and outputs x inputs.
    """
    trained = []
    layers = model.network_.encoder.layers

    def fit(i: int, X: Any) -> None:
        seed = int(np.random.default_rng([model._seed, 4, i]).integers(2**31))
        shallow = _shallow_model(model, layers[i], i, seed).fit(X)
        trained.append(_parameters(shallow))
        layers[i].weight, layers[i].bias.data[...] = trained[i][:2]

    def code(i: int, X: Any) -> Any:
        def layer(network: Any, rows: Any) -> Any:
            return network.encoder.layers[i](rows)

        return coded(X, lambda rows: model._by_chunks(rows, layer))

    train_layers(len(layers), X, fit, code)
    return trained


def check_pretrain(model: Any) -> None:
    """Refuses what can't pre-train layers."""
    from .autoencoder import Autoencoder

    if not isinstance(model.pretrain, (RBM, Autoencoder)):
        check_option(model, "pretrain", (None, "rbm", "autoencoder"))
    check_integer(model, "pretrain_iter", 1)


def _shallow_model(model: Any, layer: Any, index: int, seed: int) -> Any:
    """The model, still to be fitted, whose hidden layer becomes `layer`."""
    if model.pretrain == "rbm":
        return _machine(model, layer, index, seed)
    if model.pretrain == "autoencoder":
        return _autoencoder(model, layer, index, seed)
    template = clone(model.pretrain).set_params(random_state=seed)
    if isinstance(template, RBM):
        return template.set_params(n_components=layer.outputs)
    return template.set_params(hidden_layer_sizes=(layer.outputs,), activation=layer.activation)


def _parameters(shallow: Any) -> tuple[np.ndarray, ...]:
    """Weight, hidden bias, weight of the way back, visible bias."""
    if isinstance(shallow, RBM):
        return *recognition_parameters(shallow), *generative_parameters(shallow)
    encoder, decoder = shallow.network_.encoder.layers[0], shallow.network_.decoder.layers[0]
    return encoder.weight, encoder.bias.data, encoder.weight.T, decoder.bias.data


def _machine(model: Any, layer: Any, index: int, seed: int) -> RBM:
    if index == 0:
        gaussian = model.loss_ == "mse"
    else:
        gaussian = model.activation != "sigmoid"
    made = machine(model, layer.outputs, gaussian).set_params(random_state=seed)
    if layer.activation == "identity":
        # A linear unit doubles as the logit of a Bernoulli one, scaled: the code keeps its sign.
        made.set_params(weight_decay=1e-4)
    return made


def machine(model: Any, width: int, gaussian: bool) -> RBM:
    """The machine of a layer of a network that is pre-trained by ``"rbm"``."""
    return RBM(
        width,
        method="cd",
        # the network takes its inputs as they are, and units that are always off are no mistake
        visible=Gaussian(standardize=False) if gaussian else "bernoulli",
        learn_sigma=False,
        learning_rate=_GAUSSIAN_RATE if gaussian else _RBM_RATE,
        momentum=0.5,
        batch_size=min(model.batch_size, 100),
        n_iter=model.pretrain_iter,
        precision=model.precision,
        device=model.device,
        verbose=model.verbose,
    )


def _autoencoder(model: Any, layer: Any, index: int, seed: int) -> Any:
    from .autoencoder import Autoencoder

    plan = model._plan()
    last = index == len(model.network_.encoder.layers) - 1
    return Autoencoder(
        (layer.outputs,),
        activation=layer.activation,
        output_activation=plan.get("output_activation") if index == 0 else None,
        tied=True,  # the decoder starts from the transpose either way
        loss=model.loss_ if index == 0 else "bce" if model.activation == "sigmoid" else "mse",
        corruption=plan["corruption"],
        penalties=plan["penalties"] if last else (),
        optimizer=model.optimizer,
        learning_rate=model.learning_rate,
        momentum=model.momentum,
        weight_decay=model.weight_decay,
        batch_size=model.batch_size,
        n_iter=model.pretrain_iter,
        precision=model.precision,
        device=model.device,
        random_state=seed,
        verbose=model.verbose,
    )

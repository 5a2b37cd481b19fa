"""Where a deep Boltzmann machine starts: restricted machines trained greedily, then put together.

R. Salakhutdinov, G. Hinton. "Deep Boltzmann machines". AISTATS 2009.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from sklearn.base import clone

from ._arguments import check_option, check_widths
from ._greedy import coded, train_layers
from .rbm import RBM

__all__ = ["check_pretrain", "pretrained"]

_RATE, _GAUSSIAN_RATE = 0.1, 0.001  # as for the layers of auto-encoders


def check_pretrain(model: Any) -> None:
    """Refuses what can't pre-train the layers of a deep machine."""
    given = model.pretrain
    if isinstance(given, (list, tuple)):
        widths = check_widths("hidden_layer_sizes", model.hidden_layer_sizes)
        if len(given) != len(widths):
            raise ValueError(
                f"pretrain has {len(given)} machines for the {len(widths)} layers of "
                f"hidden_layer_sizes={widths}"
            )
        for rbm in given:
            if not isinstance(rbm, RBM):
                raise TypeError(f"pretrain has {rbm!r}; expected RBM")
    elif not isinstance(given, RBM):
        check_option(model, "pretrain", (None, "rbm"))
        return
    for i, rbm in enumerate(_machines(model)):
        rbm._check_parameters()
        if rbm.hidden != "bernoulli":
            raise ValueError(f"pretrain has {rbm!r}; expected hidden='bernoulli'")
        expected = model.visible if i == 0 else "bernoulli"
        if rbm.visible != expected:
            raise ValueError(
                f"pretrain has {rbm!r} for layer {i + 1}; expected visible={expected!r}"
            )


def _machines(model: Any) -> list[RBM]:
    """The machine of every layer, to be fitted."""
    widths, given = check_widths("hidden_layer_sizes", model.hidden_layer_sizes), model.pretrain
    if isinstance(given, (list, tuple)):
        machines = [clone(rbm) for rbm in given]
    else:
        one = given
        if not isinstance(given, RBM):
            one = RBM(
                method="cd",
                momentum=0.5,
                centering=model.centering,
                batch_size=model.batch_size,
                n_iter=model.pretrain_iter,
                precision=model.precision,
                device=model.device,
                verbose=model.verbose,
            )
        machines = [clone(one) for _ in widths]
        for i, rbm in enumerate(machines):
            rbm.set_params(visible="bernoulli" if i else model.visible)
            if one is not given:
                gaussian = i == 0 and model._visible_layer.has("gaussian")
                rbm.set_params(
                    learning_rate=_GAUSSIAN_RATE if gaussian else _RATE,
                    learn_sigma=model.learn_sigma,
                )
    for rbm, width in zip(machines, widths, strict=True):
        rbm.set_params(n_components=width, checkpoint=None, resume=None)
    return machines


def pretrained(model: Any, X: Any) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Trains a machine per layer, each on the mean activities of the one below.

    Parameters
    ----------
    model : DBM
        Initialised.
    X : array, CSR matrix, or iterable of those

    Returns
    -------
    components : list of ndarray
        Weights of the deep machine, as its attribute has them.
    intercepts : list of ndarray
        Biases. Of a layer between two machines the mean of what these say, as one half of what
        comes in is the lower one's and the other half the upper one's.
    log_variance : ndarray
    """
    machines = _machines(model)
    top = len(machines) - 1

    def fit(i: int, rows: Any) -> None:
        seed = int(np.random.default_rng([model._seed, 4, i]).integers(2**31))
        rbm = machines[i].set_params(random_state=seed)
        if top:
            rbm._gains = (2.0 if i == 0 else 1.0, 2.0 if i == top else 1.0)
        rbm.fit(rows)

    train_layers(len(machines), X, fit, lambda i, rows: coded(rows, machines[i].transform))
    dtype = model._dtype
    found = [rbm._machine() for rbm in machines]  # in units of the data
    components = [
        np.asfortranarray(machine.weights.T * (0.5 if 0 < i < top else 1.0), dtype)
        for i, machine in enumerate(found)
    ]
    intercepts = [found[0].visible_bias]
    for below, above in itertools.pairwise(found):
        intercepts.append((below.hidden_bias + above.visible_bias) / 2)
    intercepts = [b.astype(dtype) for b in (*intercepts, found[-1].hidden_bias)]
    return components, intercepts, found[0].log_variance.astype(dtype)

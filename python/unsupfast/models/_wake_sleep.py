"""Contrastive wake-sleep training of a deep belief network: the up-down algorithm."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import _arrays, _core, nn, ops
from ..autograd import Tensor
from ..io import register_model
from ..training import schedule_value
from ._network import NetworkEstimator

__all__ = ["WakeSleep"]


class UntiedNetwork(nn.Module):
    """Recognition and generative layers, and the top machine.

    Parameters
    ----------
    widths : sequence of int
        Of the data and of every hidden layer.
    n_labels : int
        Label units beside the visible units of the top machine.
    """

    def __init__(self, widths, n_labels, rng, dtype, bf16):
        options: dict[str, Any] = {"rng": rng, "dtype": dtype, "bf16": bf16}
        pairs = list(itertools.pairwise(widths[:-1]))
        self.recognition = [nn.Dense(a, b, **options) for a, b in pairs]
        self.generative = [nn.Dense(b, a, **options) for a, b in pairs]
        self.top = nn.Dense(widths[-2] + n_labels, widths[-1], **options)
        self.top_visible = nn.Parameter(np.zeros(widths[-2] + n_labels, dtype), decayed=False)


class WakeSleep(NetworkEstimator):
    """Trains the layers of a network that :meth:`unsupfast.DBN.up_down` gives it.

    All is one loss, whose gradient is that of the algorithm: the cross-entropy of what generative
    layers make of the states that recognition drew, that of what recognition layers make of the
    states that generation drew, and the difference of free energies between the two ends of the
    top machine's Markov chain.
    """

    activation = "sigmoid"
    optimizer = "momentum"
    clip_norm = clip_value = ema = validation_fraction = patience = None

    def __init__(
        self,
        widths=(),
        n_labels=0,
        k=1,
        learning_rate=0.01,
        momentum=0.0,
        weight_decay=0.0,
        batch_size=100,
        n_iter=10,
        shuffle=True,
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
        precision="auto",
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.widths = widths
        self.n_labels = n_labels
        self.k = k
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.shuffle = shuffle
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.precision = precision
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def start(self, recognition: Any, generative: Any, top: Any) -> None:
        """Sets where training starts: the machines of the layers, those of generation, the top."""
        self._start = recognition, generative, top

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for epoch in range(max(1, min(self.n_iter, 1000))):
            self._gibbs_steps(epoch)

    def _gibbs_steps(self, epoch: int) -> int:
        k = schedule_value(self.k, epoch, "k")
        if k < 1 or k != int(k):
            raise ValueError(f"k is {k:g} in epoch {epoch}; expected a positive integer")
        return int(k)

    def _build(self, n_features: int, dtype: Any, rng: np.random.Generator) -> nn.Module:
        return UntiedNetwork((n_features, *self.widths), self.n_labels, rng, dtype, self._bf16)

    def _check_values(self, X: Any) -> None:
        values = X.data if hasattr(X, "indptr") else X
        if values.size and (values.min() < 0 or values.max() > 1):
            raise ValueError(
                f"X has values from {values.min():g} to {values.max():g}; expected [0, 1]"
            )

    def _pretrain(self, X: Any) -> None:
        network = self.network_
        recognition, generative, top = self._start
        for layer, rbm in zip(network.recognition, recognition, strict=True):
            layer.weight, layer.bias.data[...] = rbm.components_.T, rbm.intercept_hidden_
        for layer, rbm in zip(network.generative, generative, strict=True):
            layer.weight, layer.bias.data[...] = rbm.components_, rbm.intercept_visible_
        network.top.weight, network.top.bias.data[...] = top.components_.T, top.intercept_hidden_
        network.top_visible.data[...] = top.intercept_visible_

    def _constants(self) -> tuple[Any, ...]:
        return (self._k,)

    def _train_rows(self, X, y, order, epoch, *rest, **options):
        self._k = self._gibbs_steps(epoch)
        return super()._train_rows(X, y, order, epoch, *rest, **options)

    # ------------------------------------------------------------------ a mini-batch

    def _loss(self, x, noisy, y, draw):
        network, states = self.network_, _States(draw)
        awake = [x]
        for layer in network.recognition:
            awake.append(states.of(layer, awake[-1]))
        first = awake[-1] if y is None else _beside(awake[-1], y)
        last = self._chain(first, states)
        dream = [_arrays.contiguous(last[:, : first.shape[1] - self.n_labels])]
        for i, layer in reversed(list(enumerate(network.generative))):
            below = states.of(layer, dream[0]) if i else ops.sigmoid(layer(dream[0])).data
            dream.insert(0, below)

        wake = Tensor(_arrays.zeros((), x))
        for layer, cause, effect in zip(network.generative, awake[1:], awake[:-1], strict=True):
            wake = ops.add(wake, ops.loss(layer(cause), effect, kind="bernoulli"))
        sleep = Tensor(_arrays.zeros((), x))
        for layer, cause, effect in zip(network.recognition, dream[1:], dream[:-1], strict=True):
            sleep = ops.add(sleep, ops.loss(layer(effect), cause, kind="bernoulli"))
        top = ops.sub(self._free_energy(first), self._free_energy(last))
        parts = {"wake_loss": wake, "sleep_loss": sleep, "free_energy_difference": top}
        total = ops.add(ops.add(wake, sleep), top)
        return total, {name: part.data for name, part in parts.items()}

    def _chain(self, v: Any, states: _States) -> Any:
        """Visible states of the top machine after k Gibbs steps; its labels are one softmax."""
        top, visible = self.network_.top, self.network_.top_visible.data
        n = len(visible) - self.n_labels
        for _ in range(self._k):
            field = ops.dense(
                states.of(top, v),
                top.panels.data,
                None,
                n=len(visible),
                turned=True,
                bf16=self._bf16,
            )
            v = states.draw("bernoulli", field, visible)
            if self.n_labels:
                labels = _arrays.contiguous(field[:, n:])
                v[:, n:] = states.draw("softmax", labels, visible[n:], group=self.n_labels)
        return v

    def _free_energy(self, v: Any) -> Any:
        """Mean free energy of states of the top machine, on the tape."""
        top = self.network_.top
        softplus = ops.dense(
            v, top.panels, top.bias, n=top.outputs, activation="softplus", bf16=self._bf16
        )
        own = ops.sum(ops.mul(self.network_.top_visible, ops.sum(v, axis=0)))
        return ops.mul(ops.add(own, ops.sum(softplus)), -1 / len(v))


class _States:
    """Draws the states of a mini-batch, those of every layer from random numbers of their own."""

    def __init__(self, draw: Any):
        self._draw, self._streams = draw, itertools.count()

    def draw(self, unit: str, field: Any, bias: Any, **options: Any) -> Any:
        names = self._draw.names(next(self._streams))
        return _core.draw_states(unit, field, bias, **options, **names)

    def of(self, layer: nn.Dense, rows: Any) -> Any:
        """States of a layer's binary outputs, off the tape."""
        field = ops.dense(rows, layer.panels.data, None, n=layer.outputs, bf16=layer.bf16)
        return self.draw("bernoulli", field, layer.bias.data)


def _beside(a: Any, b: Any) -> Any:
    """The columns of a, then those of b."""
    n = a.shape[1]
    both = _arrays.zeros((len(a), n + b.shape[1]), a)
    both[:, :n], both[:, n:] = a, b
    return both


register_model(WakeSleep)

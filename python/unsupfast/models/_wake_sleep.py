"""Contrastive wake-sleep training of a deep belief network: the up-down algorithm."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import nn, ops
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
    device = "cpu"
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

    def _train_rows(self, X, y, order, epoch, *rest, **options):
        self._k = self._gibbs_steps(epoch)
        return super()._train_rows(X, y, order, epoch, *rest, **options)

    # ------------------------------------------------------------------ a mini-batch

    def _loss(self, x, noisy, y, draw):
        network = self.network_
        rng = np.random.default_rng([draw.seed, 6, draw.step])
        awake = [x]
        for layer in network.recognition:
            awake.append(_drawn(_means(layer, awake[-1]), rng))
        first = awake[-1] if y is None else np.hstack([awake[-1], y])
        last = self._chain(first, rng)
        n = last.shape[1] - self.n_labels
        dream = [np.ascontiguousarray(last[:, :n])]
        for i, layer in reversed(list(enumerate(network.generative))):
            means = _means(layer, dream[0])
            dream.insert(0, _drawn(means, rng) if i else means)

        wake: Any = 0.0
        for layer, cause, effect in zip(network.generative, awake[1:], awake[:-1], strict=True):
            wake = ops.add(wake, ops.loss(layer(cause), effect, kind="bernoulli"))
        sleep: Any = 0.0
        for layer, cause, effect in zip(network.recognition, dream[1:], dream[:-1], strict=True):
            sleep = ops.add(sleep, ops.loss(layer(effect), cause, kind="bernoulli"))
        top = ops.sub(self._free_energy(first), self._free_energy(last))
        parts = {"wake_loss": wake, "sleep_loss": sleep, "free_energy_difference": top}
        total = ops.add(ops.add(wake, sleep), top)
        return total, {name: float(getattr(v, "data", v)) for name, v in parts.items()}

    def _chain(self, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Visible states of the top machine after k Gibbs steps; its labels are one softmax."""
        top, visible = self.network_.top, self.network_.top_visible.data
        for _ in range(self._k):
            h = _drawn(_means(top, v), rng)
            z = ops.dense(h, top.panels.data, visible, n=len(visible), turned=True, bf16=self._bf16)
            n = len(visible) - self.n_labels
            v = _drawn(ops.sigmoid(z), rng)
            if self.n_labels:
                chosen = (z[:, n:] + rng.gumbel(size=(len(z), self.n_labels))).argmax(axis=1)
                v[:, n:] = np.eye(self.n_labels, dtype=v.dtype)[chosen]
        return v

    def _free_energy(self, v: np.ndarray) -> Any:
        """Mean free energy of states of the top machine, on the tape."""
        top = self.network_.top
        softplus = ops.dense(
            v, top.panels, top.bias, n=top.outputs, activation="softplus", bf16=self._bf16
        )
        own = ops.sum(ops.mul(self.network_.top_visible, v.mean(axis=0)))
        return ops.neg(ops.add(own, ops.mul(ops.sum(softplus), 1 / len(v))))


def _means(layer: nn.Dense, rows: np.ndarray) -> np.ndarray:
    """Mean activities, off the tape."""
    return ops.dense(
        rows,
        layer.panels.data,
        layer.bias.data,
        n=layer.outputs,
        activation="sigmoid",
        bf16=layer.bf16,
    )


def _drawn(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(p.shape, np.float32) < p).astype(p.dtype)


register_model(WakeSleep)

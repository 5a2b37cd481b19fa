"""Auto-encoders of dense layers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from .. import _core, nn, ops
from ..io import register_model
from ..ops import ACTIVATIONS
from ..penalties import L1, Contractive, Gaussian, KLSparsity, Masking, SaltPepper
from ._arguments import check_option, check_widths
from ._coder import Coder
from ._unroll import check_pretrain, greedy_layers

__all__ = ["Autoencoder"]

# loss -> kind of the compiled loss
_KINDS = {"mse": "squared", "bce": "bernoulli", "categorical": "categorical"}


class AutoencoderNetwork(nn.Module):
    """An encoder and a decoder that mirrors it.

    Parameters
    ----------
    widths : sequence of int
        Of the input and of every layer up to the code.
    activation, code_activation, output_activation : str
    tied : bool
        The decoder has the transposed weights of the encoder.
    rng : Generator
    dtype : dtype
    bf16 : bool
    """

    def __init__(
        self, widths, activation, code_activation, output_activation, tied, rng, dtype, bf16
    ):
        last = len(widths) - 2
        encoder = [
            nn.Dense(
                a,
                b,
                code_activation if i == last else activation,
                rng=rng,
                dtype=dtype,
                bf16=bf16,
            )
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        ]
        decoder: list[nn.Module] = []
        for i, layer in reversed(list(enumerate(encoder))):
            out = output_activation if i == 0 else activation
            if tied:
                decoder.append(nn.TiedDense(layer, out))
            else:
                decoder.append(
                    nn.Dense(layer.outputs, layer.inputs, out, rng=rng, dtype=dtype, bf16=bf16)
                )
        self.encoder, self.decoder = nn.Sequential(encoder), nn.Sequential(decoder)

    def __call__(self, x: Any) -> Any:
        return self.decoder(self.encoder(x))


class Autoencoder(Coder):
    """Auto-encoder with dense layers, trained by back-propagation.

    The encoder's layers have the widths ``hidden_layer_sizes``, the last of which is the code; the
    decoder mirrors them.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64,)
        Widths of the encoder's layers.
    activation : str, default="sigmoid"
        Of hidden layers: "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu" or "softplus".
    code_activation : str or None, default=None
        Of the code. None: that of hidden layers for one layer, else "identity", the linear code of
        Hinton and Salakhutdinov [1]_.
    output_activation : str or None, default=None
        Of the output, for ``loss="mse"`` alone; None: "identity". "sigmoid" suits data in [0, 1].
        The other losses have a sigmoid or softmax of their own.
    tied : bool, default=False
        Give the decoder the transposed weights of the encoder.
    loss : {"auto", "mse", "bce", "categorical"}, default="auto"
        "mse": squared error. "bce": cross-entropy in nats, of an output in
        [0, 1]; needs data in [0, 1]. "categorical": cross-entropy in nats of each row, divided by
        its sum, and a softmax over the features, as for counts of words [1]_; needs non-negative
        data and no empty rows. All are summed over features and averaged over samples. "auto" is
        "bce" for data in [0, 1], else "mse".
    corruption : Masking, SaltPepper, Gaussian or None, default=None
        Noise on the inputs, drawn anew every epoch; the loss is that of the clean ones [2]_.
    penalties : sequence of L1, KLSparsity and Contractive, default=()
        Added to the loss.
    pretrain : {None, "rbm", "autoencoder"}, RBM or Autoencoder, default=None
        Initialise layer by layer, by restricted Boltzmann machines that are then unrolled [1]_, or
        by shallow auto-encoders with this model's corruption and penalties [2]_. A model that is
        not fitted is copied for each layer, with the layer's width.
    pretrain_iter : int, default=10
        Epochs of pre-training per layer; a model that is given has its own.
    optimizer : {"adam", "adamw", "rmsprop", "sgd", "momentum", "nesterov", "cg", "lbfgs"}, \
:class:`unsupfast.optim.ConjugateGradient` or :class:`unsupfast.optim.LBFGS`, default="adam"
        "cg" and "lbfgs" make three iterations of nonlinear conjugate gradients [1]_ or of L-BFGS on
        each mini-batch, which should be large (1000); they have no learning rate, and gradients are
        not clipped.
    learning_rate : float, sequence, callable or Schedule, default=0.001
        A sequence gives one value per epoch (the last one holds on), a callable is given the epoch
        from 0. Schedules: :class:`unsupfast.optim.StepDecay`, ``Cosine``, ``Plateau``, all with
        warm-up.
    momentum : float, default=0.9
        For "momentum" and "nesterov".
    weight_decay : float, default=0.0
        On weights, not on biases.
    batch_size : int, default=128
    n_iter : int, default=20
        Epochs.
    shuffle : bool, default=True
    clip_norm, clip_value : float or None, default=None
        Largest norm of the whole gradient, and largest size of each of its entries.
    ema : float or None, default=None
        Keep a running average of the parameters with this decay; it replaces them after training.
    validation_fraction : float or None, default=None
        Share of the rows held out to measure ``validation_loss`` on.
    patience : int or None, default=None
        Stop after so many epochs without a lower ``validation_loss``, and keep the best epoch's
        state.
    callbacks : iterable of callable or None, default=None
        Each is called with an :class:`unsupfast.Event` after every epoch; returning True stops.
    checkpoint : path or None, default=None
        File to write the whole state of training to, every ``checkpoint_every`` epochs.
    checkpoint_every : int, default=1
    resume : path or None, default=None
        A checkpoint to continue from: the result is bitwise that of an uninterrupted run.
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        "auto" is that of X: float32 stays float32, all else becomes float64, which is several times
        slower. "bfloat16" rounds the factors of each product; weights and sums stay float32.
    device : {"auto", "cpu", "cuda", "cuda:1", ...}, default="auto"
        Where to compute; "auto" is the first GPU where one can be used and is worth it: where the
        rows of a mini-batch times the weights are 2^24 or more. ``partial_fit`` takes a GPU only if
        told to. Both devices draw the same random numbers, and differ by rounding alone.
    verbose : int, default=0
        1 prints a line per epoch; 2 adds a progress bar.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    network_ : Module
        ``network_.encoder.layers`` and ``network_.decoder.layers``, each with ``weight`` (inputs x
        outputs) and ``bias``; see :mod:`unsupfast.nn`.
    loss_ : {"mse", "bce", "categorical"}
    history_ : dict of str to list
        One value per epoch: ``epoch``, ``seconds``, ``loss`` (mean over the epoch's mini-batches,
        penalties included), ``reconstruction_loss``, ``learning_rate``, ``validation_loss``.
    n_iter_ : int
        Epochs done.
    n_features_in_ : int

    References
    ----------
    .. [1] G. Hinton, R. Salakhutdinov. "Reducing the dimensionality of data with neural networks".
           Science 313, 2006.
    .. [2] P. Vincent et al. "Stacked denoising autoencoders". JMLR 11, 2010.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.random.default_rng(0).random((100, 8), dtype=np.float32)
    >>> model = uf.Autoencoder((4, 2), n_iter=2, random_state=0).fit(X)
    >>> model.transform(X).shape, model.reconstruct(X).shape
    ((100, 2), (100, 8))
    """

    loss_: str

    def __init__(
        self,
        hidden_layer_sizes=(64,),
        *,
        activation="sigmoid",
        code_activation=None,
        output_activation=None,
        tied=False,
        loss="auto",
        corruption=None,
        penalties=(),
        pretrain=None,
        pretrain_iter=10,
        optimizer="adam",
        learning_rate=0.001,
        momentum=0.9,
        weight_decay=0.0,
        batch_size=128,
        n_iter=20,
        shuffle=True,
        clip_norm=None,
        clip_value=None,
        ema=None,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
        precision="auto",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.code_activation = code_activation
        self.output_activation = output_activation
        self.tied = tied
        self.loss = loss
        self.corruption = corruption
        self.penalties = penalties
        self.pretrain = pretrain
        self.pretrain_iter = pretrain_iter
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.shuffle = shuffle
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.ema = ema
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.precision = precision
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    # ------------------------------------------------------------------ the model

    def _plan(self) -> dict[str, Any]:
        """The parameters that the thin faces derive from their own, and those of shallow models."""
        return {
            "corruption": self.corruption,
            "penalties": self.penalties,
            "tied": self.tied,
            "output_activation": self.output_activation,
        }

    def _check_parameters(self) -> None:
        super()._check_parameters()
        widths = check_widths("hidden_layer_sizes", self.hidden_layer_sizes)
        if widths[-1] > min(widths):
            raise ValueError(
                f"hidden_layer_sizes is {widths}: the code, {widths[-1]} wide, is wider than a "
                f"layer on the way to it ({min(widths)}), which can't fill it"
            )
        plan = self._plan()
        if not isinstance(plan["tied"], (bool, np.bool_)):
            raise TypeError(f"tied is {plan['tied']!r}; expected True or False")
        check_option(self, "loss", ("auto", *_KINDS))
        check_option(self, "code_activation", (None, *ACTIVATIONS))
        check_option(self, "output_activation", (None, *ACTIVATIONS))
        if self.output_activation is not None and self.loss != "mse":
            raise ValueError(
                f"output_activation is {self.output_activation!r} with loss={self.loss!r}; "
                "expected None, or loss='mse'"
            )
        check_pretrain(self)
        if self.pretrain == "rbm" and self.loss == "categorical":
            raise ValueError(
                "pretrain='rbm' has no visible units for loss='categorical'; expected None or "
                "'autoencoder'"
            )
        corruption, penalties = plan["corruption"], plan["penalties"]
        if not isinstance(corruption, (Masking, SaltPepper, Gaussian, type(None))):
            raise TypeError(
                f"corruption is {corruption!r}; expected Masking, SaltPepper, Gaussian or None"
            )
        if not isinstance(penalties, (list, tuple)) or not all(
            isinstance(p, (L1, KLSparsity, Contractive)) for p in penalties
        ):
            raise TypeError(
                f"penalties is {penalties!r}; expected a sequence of L1, KLSparsity, Contractive"
            )
        # the activation that penalties see, before there are data
        probe = nn.Sequential([_Shape(self._code_activation(widths))])
        for penalty in penalties:
            penalty.check(probe)

    def _code_activation(self, widths: tuple[int, ...]) -> str:
        if self.code_activation is not None:
            return self.code_activation
        return self.activation if len(widths) == 1 else "identity"

    def _settle(self, X: Any) -> None:
        low, high = _range(X)
        inside = low >= 0 and high <= 1
        self.loss_ = ("bce" if inside else "mse") if self.loss == "auto" else self.loss

    def _check_values(self, X: Any) -> None:
        if self.loss_ == "mse":
            return
        low, high = _range(X)
        if self.loss_ == "bce" and (low < 0 or high > 1):
            why = "" if self.loss == "bce" else ", which the first rows made of loss='auto',"
            raise ValueError(
                f"loss='bce'{why} needs data in [0, 1]; X has values from {low:g} to {high:g}"
            )
        if self.loss_ == "categorical":
            if low < 0:
                raise ValueError(f"loss='categorical' needs data of at least 0; X has {low:g}")
            empty = np.flatnonzero(np.ravel(X.sum(axis=1)) == 0)
            if len(empty):
                raise ValueError(
                    f"loss='categorical' needs rows with a positive sum; that of row {empty[0]} "
                    f"of X is 0 ({len(empty)} such rows)"
                )

    def _settings(self) -> dict[str, Any]:
        return {"loss_": self.loss_, "_n_features_out": self._n_features_out}

    def _build(self, n_features: int, dtype: Any, rng: np.random.Generator) -> nn.Module:
        widths = check_widths("hidden_layer_sizes", self.hidden_layer_sizes)
        self._n_features_out = widths[-1]
        network = AutoencoderNetwork(
            (n_features, *widths),
            self.activation,
            self._code_activation(widths),
            self.output_activation or "identity",  # other losses than "mse" take logits
            bool(self._plan()["tied"]),
            rng,
            dtype,
            self._bf16,
        )
        return network

    def _corruption(self) -> tuple[str, float]:
        corruption = self._plan()["corruption"]
        return ("none", 0.0) if corruption is None else (corruption.kind, corruption.amount)

    @property
    def _kind(self) -> str:
        return _KINDS[self.loss_]

    def _target(self, x: np.ndarray) -> np.ndarray:
        """What the output is compared with."""
        if self.loss_ != "categorical":
            return x
        total = _core.sum(x, 1, True)
        empty = _core.sub(1.0, _core.positive(total))  # rows that are scored may be
        return _core.div(x, _core.add(total, empty))

    def _loss(self, x, noisy, y, draw):
        code = self.network_.encoder(noisy)
        total = ops.loss(self.network_.decoder(code), self._target(x), kind=self._kind)
        extras = {"reconstruction_loss": total.data}
        for penalty in self._plan()["penalties"]:
            total = ops.add(total, penalty(self.network_.encoder, noisy, code, draw))
        return total, extras

    def _validation_loss(self, X, y) -> float:
        return -float(np.mean(self._scores(X), dtype=np.float64))

    def _pretrain(self, X) -> None:
        if self.pretrain is None:
            return
        trained = greedy_layers(self, X)
        for layer, (weight, bias, *_) in zip(self.network_.encoder.layers, trained, strict=True):
            layer.weight = weight
            layer.bias.data[...] = bias
        for layer, (*_, weight, bias) in zip(
            self.network_.decoder.layers, reversed(trained), strict=True
        ):
            if isinstance(layer, nn.Dense):
                layer.weight = weight
            layer.bias.data[...] = bias

    # ------------------------------------------------------------------ faces

    def transform(self, X):
        """Codes of the rows of X: encoding.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        code : ndarray of shape (n_samples, code width)
        """
        check_is_fitted(self)
        return self._by_chunks(
            self._validate(X, reset=False), lambda network, rows: network.encoder(rows)
        )

    def _decode(self, network: Any, code: Any) -> Any:
        z = network.decoder(code).data
        if self.loss_ == "mse":
            return z
        if self.loss_ == "categorical":
            return _core.exp(_core.sub(z, ops.logsumexp(z, axis=1, keepdims=True)))
        return _core.sigmoid(z)

    def _scores(self, X) -> np.ndarray:
        def losses(network: Any, rows: Any) -> Any:
            return ops.row_losses(network(rows), self._target(rows), kind=self._kind)

        return -self._by_chunks(X, losses)

    def score_samples(self, X):
        """Minus the reconstruction loss of each row, summed over features.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Larger for rows more like the training data: squared error or nats, negated.
        """
        check_is_fitted(self)
        return self._scores(self._validate(X, reset=False))


def _range(X: Any) -> tuple[float, float]:
    values = X.data if sp.issparse(X) else X
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


class _Shape(nn.Module):
    def __init__(self, activation: str):
        self.activation = activation


register_model(Autoencoder)

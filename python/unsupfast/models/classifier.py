"""Classifiers that start from stacked auto-encoders."""

from __future__ import annotations

from typing import Any

from ..io import register_model
from ..penalties import Gaussian, Masking, SaltPepper
from ._finetune import FineTunedClassifier
from ._unroll import check_pretrain, greedy_layers

__all__ = ["StackedAutoencoderClassifier"]


class StackedAutoencoderClassifier(FineTunedClassifier):
    """Deep classifier whose layers are initialised without labels, one by one [1]_ [2]_.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64,)
    activation : str, default="sigmoid"
    pretrain : {None, "rbm", "autoencoder"}, RBM or Autoencoder, default="autoencoder"
        How the hidden layers are initialised: not at all, by restricted Boltzmann machines, or by
        shallow auto-encoders with tied weights. A model that is not fitted, say a
        :class:`ContractiveAutoencoder` or an :class:`RBM` with its own rate and epochs, is copied
        for each layer, with the layer's width.
    pretrain_iter : int, default=10
        Epochs per layer; a model that is given has its own.
    corruption : Masking, SaltPepper, Gaussian or None, default=None
        Noise on the inputs of the shallow auto-encoders; given one, this is the stacked denoising
        auto-encoder. Fine-tuning sees clean inputs.
    dropout : float, default=0.0
        Share of the hidden units that fine-tuning leaves out of each sample at random, in [0, 1)
        [3]_. Predictions use all of them.
    optimizer, learning_rate, momentum, weight_decay, batch_size, n_iter, shuffle, clip_norm,\
 clip_value, ema, validation_fraction, patience, callbacks, checkpoint, checkpoint_every, resume,\
 precision, device, verbose, random_state
        Of the fine-tuning; as for :class:`unsupfast.Autoencoder`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    network_ : Module
        ``network_.encoder.layers`` and ``network_.head``.
    history_ : dict of str to list
        One value per epoch: ``epoch``, ``seconds``, ``loss`` (cross-entropy, nats), ``error`` (of
        the mini-batches, before each update), ``learning_rate``, ``validation_loss``.
    n_iter_ : int
    n_features_in_ : int

    References
    ----------
    .. [1] P. Vincent et al. "Stacked denoising autoencoders". JMLR 11, 2010.
    .. [2] G. Hinton, R. Salakhutdinov. "Reducing the dimensionality of data with neural networks".
           Science 313, 2006.
    .. [3] N. Srivastava et al. "Dropout: a simple way to prevent neural networks from
           overfitting". JMLR 15, 2014.
    """

    def __init__(
        self,
        hidden_layer_sizes=(64,),
        *,
        activation="sigmoid",
        pretrain="autoencoder",
        pretrain_iter=10,
        corruption=None,
        dropout=0.0,
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
        self.pretrain = pretrain
        self.pretrain_iter = pretrain_iter
        self.corruption = corruption
        self.dropout = dropout
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

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_pretrain(self)
        if not isinstance(self.corruption, (Masking, SaltPepper, Gaussian, type(None))):
            raise TypeError(
                f"corruption is {self.corruption!r}; expected Masking, SaltPepper, Gaussian or None"
            )

    def _plan(self) -> dict[str, Any]:
        """What shallow auto-encoders take over."""
        return {"corruption": self.corruption, "penalties": ()}

    def _pretrain(self, X) -> None:
        X = self._all_rows(X)
        if self.pretrain is not None:
            greedy_layers(self, X)


register_model(StackedAutoencoderClassifier)

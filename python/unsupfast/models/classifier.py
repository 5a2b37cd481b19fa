"""Classifiers that start from unsupervised layers and are fine-tuned by back-propagation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy import special
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .. import nn, ops
from ..io import register_model
from ..penalties import Gaussian, Masking, SaltPepper
from ._arguments import check_real, check_widths
from ._network import NetworkEstimator
from ._unroll import check_pretrain, greedy_layers

__all__ = ["StackedAutoencoderClassifier"]


class ClassifierNetwork(nn.Module):
    """Hidden layers and a layer of logits."""

    def __init__(self, widths, n_classes, activation, dropout, rng, dtype, bf16):
        self.encoder = nn.Sequential(
            [
                nn.Dense(a, b, activation, rng=rng, dtype=dtype, bf16=bf16)
                for a, b in itertools.pairwise(widths)
            ]
        )
        self.dropouts = [nn.Dropout(dropout, i + 1) for i in range(len(self.encoder.layers))]
        self.head = nn.Dense(widths[-1], n_classes, rng=rng, dtype=dtype, bf16=bf16)

    def __call__(self, x: Any, draw: Any = None) -> Any:
        """Logits; with the `draw` of a mini-batch, hidden units are left out at random."""
        for layer, dropout in zip(self.encoder.layers, self.dropouts, strict=True):
            x = dropout(layer(x), draw)
        return self.head(x)


class StackedAutoencoderClassifier(ClassifierMixin, NetworkEstimator):
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

    classes_: np.ndarray
    loss_: str

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
        check_widths("hidden_layer_sizes", self.hidden_layer_sizes)
        check_pretrain(self)
        check_real(self, "dropout", 0)
        if self.dropout >= 1:
            raise ValueError(f"dropout is {self.dropout!r}; expected a number in [0, 1)")
        if not isinstance(self.corruption, (Masking, SaltPepper, Gaussian, type(None))):
            raise TypeError(
                f"corruption is {self.corruption!r}; expected Masking, SaltPepper, Gaussian or None"
            )

    def _plan(self) -> dict[str, Any]:
        """What shallow auto-encoders take over."""
        return {"corruption": self.corruption, "penalties": ()}

    def _settle(self, X: Any) -> None:
        values = X.data if sp.issparse(X) else X
        inside = not values.size or (values.min() >= 0 and values.max() <= 1)
        self.loss_ = "bce" if inside else "mse"  # of the shallow models

    def _settings(self) -> dict[str, Any]:
        labels = self.classes_.tolist()
        return {"loss_": self.loss_, "classes_": labels}

    def _set_state(self, tensors, meta) -> None:
        super()._set_state(tensors, {**meta, "settings": _with_classes(meta["settings"])})

    def _build(self, n_features: int, dtype: Any, rng: np.random.Generator) -> nn.Module:
        widths = (n_features, *check_widths("hidden_layer_sizes", self.hidden_layer_sizes))
        return ClassifierNetwork(
            widths,
            len(self.classes_),
            self.activation,
            self.dropout,
            rng,
            dtype,
            self._bf16,
        )

    def _pretrain(self, X) -> None:
        if self.pretrain is not None:
            greedy_layers(self, X)

    def _loss(self, x, noisy, y, draw):
        z = self.network_(noisy, draw)
        total = ops.loss(z, y, kind="categorical")
        wrong = z.data.argmax(axis=1) != y.argmax(axis=1)
        return total, {"error": float(wrong.mean())}

    def _validation_loss(self, X, y) -> float:
        z = self._by_chunks(X, self.network_)
        return float(ops.row_losses(z, y, kind="categorical").mean(dtype=np.float64))

    def _one_hot(self, y: np.ndarray) -> np.ndarray:
        return np.eye(len(self.classes_), dtype=self._dtype)[np.searchsorted(self.classes_, y)]

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, np.ndarray]:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        X = self._validate(X, reset=reset)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if len(y) != X.shape[0]:
            raise ValueError(f"y has {len(y)} labels for {X.shape[0]} rows of X")
        return X, y

    def fit(self, X, y):
        """Initialise the layers on X, then fine-tune on X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels: integers or strings.

        Returns
        -------
        self : StackedAutoencoderClassifier
        """
        self._check_parameters()
        X, y = self._checked(X, y, reset=True)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y has 1 class ({self.classes_[0]!r}); expected at least two")
        self._dtype = np.dtype(X.dtype)
        return self._fit(X, self._one_hot(y))

    def partial_fit(self, X, y, classes=None):
        """One update on the mini-batch X, y, without initialisation by unlabelled data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like or None, default=None
            All labels; needed in the first call.

        Returns
        -------
        self : StackedAutoencoderClassifier
        """
        self._check_parameters()
        first = not hasattr(self, "network_")
        X, y = self._checked(X, y, reset=first)
        if first:
            if classes is None:
                raise ValueError("classes is None; expected all labels in the first partial_fit")
            self.classes_ = np.unique(classes)
            self._initialise(X, check_random_state(self.random_state))
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has the label {unknown[0]!r}, which is not among classes")
        return self._partial_fit(X, self._one_hot(y))

    def predict_proba(self, X):
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        return special.softmax(
            self._by_chunks(self._validate(X, reset=False), self.network_), axis=1
        )

    def predict(self, X):
        """The most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]


def _with_classes(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "classes_": np.array(settings["classes_"])}


register_model(StackedAutoencoderClassifier)

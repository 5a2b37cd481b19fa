"""Classifier and regressor that start from a deep belief network."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin, clone
from sklearn.utils import check_array

from ..io import register_model
from ._arguments import check_integer, check_option
from ._finetune import FineTuned, FineTunedClassifier
from ._rbm_core import recognition_parameters
from ._unroll import machine
from .dbn import DBN
from .rbm import RBM

__all__ = ["DBNClassifier", "DBNRegressor"]


class PretrainedByDBN(FineTuned):
    """The initialisation by a deep belief network."""

    activation = "sigmoid"  # as the machines' hidden units have it

    def __init__(
        self,
        hidden_layer_sizes=(500, 500, 2000),
        *,
        pretrain="rbm",
        pretrain_iter=10,
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
        self.pretrain = pretrain
        self.pretrain_iter = pretrain_iter
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

    def _network(self) -> DBN | None:
        """The deep belief network that was given, out of a FrozenEstimator where it is in one."""
        given = getattr(self.pretrain, "estimator", self.pretrain)
        return given if isinstance(given, DBN) else None

    def _widths(self) -> tuple[int, ...]:
        network = self._network()
        if network is None:
            return super()._widths()
        if _is_fitted(network):
            return tuple(len(rbm.intercept_hidden_) for rbm in network.layers_)
        return tuple(rbm.n_components for rbm in network._machines())

    def _check_parameters(self) -> None:
        check_integer(self, "pretrain_iter", 1)
        if isinstance(self.pretrain, str) or self.pretrain is None:
            check_option(self, "pretrain", (None, "rbm"))
        elif (network := self._network()) is not None:
            network._check_parameters()
            if network.labels:
                raise ValueError(
                    f"pretrain is {network!r}; expected a network without labels, which its top "
                    "layer would need as inputs"
                )
        else:
            given = self.pretrain
            machines = given if isinstance(given, (list, tuple)) else [given]
            if not all(isinstance(rbm, RBM) for rbm in machines):
                raise TypeError(
                    f"pretrain is {self.pretrain!r}; expected None, 'rbm', RBM, a sequence of RBM, "
                    "or DBN"
                )
            self._of_machines()._check_parameters()
        super()._check_parameters()

    def _of_machines(self) -> DBN:
        """The network, to be fitted, of the machines that `pretrain` says."""
        widths, rbm = super()._widths(), self.pretrain
        if rbm == "rbm":
            gaussian = self.loss_ == "mse"
            rbm = [machine(self, width, gaussian and i == 0) for i, width in enumerate(widths)]
        return DBN(widths, rbm=rbm)

    def _pretrain(self, X: Any) -> None:
        X = self._all_rows(X)
        network = self._network()
        if self.pretrain is None:
            return
        if network is not None and _is_fitted(network):
            if self._unlabelled is not None:
                raise ValueError("X_unlabelled was given, but pretrain is a fitted DBN as it is")
            if network.n_features_in_ != self.n_features_in_:
                raise ValueError(
                    f"pretrain was fitted on {network.n_features_in_} features; X has "
                    f"{self.n_features_in_}"
                )
        else:
            network = self._of_machines() if network is None else clone(network)
            seed = int(np.random.default_rng([self._seed, 4]).integers(2**31))
            network.set_params(random_state=seed, verbose=self.verbose)
            network.fit(X)
        for layer, rbm in zip(self.network_.encoder.layers, network.layers_, strict=True):
            layer.weight, layer.bias.data[...] = recognition_parameters(rbm)


class DBNClassifier(PretrainedByDBN, FineTunedClassifier):
    """Deep classifier whose layers are those of a deep belief network, fine-tuned on labels [1]_.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(500, 500, 2000)
        Not used where `pretrain` is a network, which has its own.
    pretrain : {None, "rbm"}, RBM, sequence of RBM, or DBN, default="rbm"
        How the hidden layers are initialised: not at all; by restricted Boltzmann machines trained
        by contrastive divergence, with Gaussian visible units where X has values outside [0, 1]; by
        copies of a machine, or of one for each layer, with the layer's width; or by a
        :class:`DBN`. A fitted one is used as it is; :func:`sklearn.base.clone`, and with it
        cross-validation, keeps it so in a ``sklearn.frozen.FrozenEstimator``. One that is not
        fitted is copied and fitted.
    pretrain_iter : int, default=10
        Epochs per layer of "rbm"; machines that are given have their own.
    dropout : float, default=0.0
        Share of the hidden units that fine-tuning leaves out of each sample at random, in [0, 1).
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
    .. [1] G. Hinton, R. Salakhutdinov. "Reducing the dimensionality of data with neural networks".
           Science 313, 2006.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.random.default_rng(0).random((100, 8), dtype=np.float32)
    >>> model = uf.DBNClassifier((6, 4), n_iter=2, random_state=0).fit(X, X[:, 0] > 0.5)
    >>> model.predict_proba(X).shape
    (100, 2)
    """


class DBNRegressor(RegressorMixin, PretrainedByDBN):
    """Deep regressor whose layers are those of a deep belief network, fine-tuned on targets [1]_.

    Targets are standardised inside, so that rates do not depend on their unit: losses are in units
    of their variance. Gaussian machines, which X outside [0, 1] asks for, want standardised X.

    Parameters
    ----------
    hidden_layer_sizes, pretrain, pretrain_iter, dropout : see DBNClassifier
    optimizer, learning_rate, momentum, weight_decay, batch_size, n_iter, shuffle, clip_norm,\
 clip_value, ema, validation_fraction, patience, callbacks, checkpoint, checkpoint_every, resume,\
 precision, device, verbose, random_state
        Of the fine-tuning; as for :class:`unsupfast.Autoencoder`.

    Attributes
    ----------
    network_ : Module
        ``network_.encoder.layers`` and ``network_.head``.
    history_ : dict of str to list
        One value per epoch: ``epoch``, ``seconds``, ``loss`` (squared error, summed over outputs),
        ``learning_rate``, ``validation_loss``.
    n_iter_ : int
    n_features_in_ : int

    References
    ----------
    .. [1] R. Salakhutdinov, G. Hinton. "Using deep belief nets to learn covariance kernels for
           Gaussian processes". NIPS 2007.
    """

    _kind = "squared"
    _mean: Any
    _scale: Any
    _flat: bool  # y was a vector

    def _n_outputs(self) -> int:
        return len(self._mean)

    def _settings(self) -> dict[str, Any]:
        return {
            **super()._settings(),
            "_mean": np.asarray(self._mean).tolist(),
            "_scale": np.asarray(self._scale).tolist(),
            "_flat": self._flat,
        }

    def _checked_targets(self, y: Any) -> np.ndarray:
        y = check_array(y, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="y")
        if y.ndim > 2:
            raise ValueError(f"y has shape {y.shape}; expected (n_samples,) or (n_samples, k)")
        return y

    def _standardised(self, y: np.ndarray) -> np.ndarray:
        y = y.reshape(len(y), -1)
        if y.shape[1] != len(self._mean):
            raise ValueError(f"y has {y.shape[1]} columns; expected {len(self._mean)}")
        return ((y - self._mean) / self._scale).astype(self._dtype)

    def fit(self, X, y, X_unlabelled=None):
        """Initialise the layers on X, then fine-tune on X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        X_unlabelled : {array-like, sparse matrix} of shape (n, n_features), iterable of those, or \
None, default=None
            More rows to initialise the layers on, after those of X in each epoch.

        Returns
        -------
        self : DBNRegressor
        """
        self._check_parameters()
        X, y = self._rows_and_targets(X, y, reset=True)
        columns = y.reshape(len(y), -1)
        self._flat, self._mean = y.ndim == 1, columns.mean(axis=0)
        deviation = columns.std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        self._dtype = np.dtype(X.dtype)
        return self._fit_labelled(X, self._standardised(y), X_unlabelled)

    def predict(self, X):
        """Targets of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        z = self._outputs(X) * self._scale + self._mean
        z = z.astype(self._dtype)
        return z[:, 0] if self._flat else z

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _is_fitted(network: DBN) -> bool:
    return network.__sklearn_is_fitted__()


register_model(DBNClassifier)
register_model(DBNRegressor)

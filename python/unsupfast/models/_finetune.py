"""Networks that start from unsupervised layers and are fine-tuned by back-propagation.

A model says how its layers are initialised (:meth:`FineTuned._pretrain`) and gives its parameters
their names; the classifiers and the regressor are faces of what is here.
"""

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

from .. import _core, nn, ops
from ._arguments import check_real, check_widths
from ._network import NetworkEstimator
from ._stream import ChainedStream, is_stream

__all__ = ["FineTuned", "FineTunedClassifier"]


class HeadedNetwork(nn.Module):
    """Hidden layers and a linear layer of outputs."""

    def __init__(self, widths, n_outputs, activation, dropout, rng, dtype, bf16):
        self.encoder = nn.Sequential(
            [
                nn.Dense(a, b, activation, rng=rng, dtype=dtype, bf16=bf16)
                for a, b in itertools.pairwise(widths)
            ]
        )
        self.dropouts = [nn.Dropout(dropout, i + 1) for i in range(len(self.encoder.layers))]
        self.head = nn.Dense(widths[-1], n_outputs, rng=rng, dtype=dtype, bf16=bf16)

    def __call__(self, x: Any, draw: Any = None) -> Any:
        """Outputs; with the `draw` of a mini-batch, hidden units are left out at random."""
        for layer, dropout in zip(self.encoder.layers, self.dropouts, strict=True):
            x = dropout(layer(x), draw)
        return self.head(x)


class FineTuned(NetworkEstimator):
    """Fine-tuning of all layers; see the estimators for the parameters."""

    hidden_layer_sizes: Any
    pretrain: Any
    dropout: float
    loss_: str  # of the shallow models
    _kind: str  # of the loss of fine-tuning

    def _n_outputs(self) -> int:
        raise NotImplementedError

    def _widths(self) -> tuple[int, ...]:
        return check_widths("hidden_layer_sizes", self.hidden_layer_sizes)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._widths()
        check_real(self, "dropout", 0)
        if self.dropout >= 1:
            raise ValueError(f"dropout is {self.dropout!r}; expected a number in [0, 1)")

    def _settle(self, X: Any) -> None:
        values = X.data if sp.issparse(X) else X
        inside = not values.size or (values.min() >= 0 and values.max() <= 1)
        self.loss_ = "bce" if inside else "mse"

    def _settings(self) -> dict[str, Any]:
        return {"loss_": self.loss_}

    def _build(self, n_features: int, dtype: Any, rng: np.random.Generator) -> nn.Module:
        return HeadedNetwork(
            (n_features, *self._widths()),
            self._n_outputs(),
            self.activation,
            self.dropout,
            rng,
            dtype,
            self._bf16,
        )

    def _loss(self, x, noisy, y, draw):
        z = self.network_(noisy, draw)
        return ops.loss(z, y, kind=self._kind), self._extras(z.data, y)

    def _extras(self, z: Any, y: Any) -> dict[str, Any]:
        return {}

    def _validation_loss(self, X, y) -> float:
        z = self._by_chunks(X, lambda network, rows: network(rows))
        return float(ops.row_losses(z, y, kind=self._kind).mean(dtype=np.float64))

    def _fit_labelled(self, X: Any, y: np.ndarray, X_unlabelled: Any):
        """As :meth:`_fit`; the layers are initialised on X and on rows without labels."""
        self._unlabelled = X_unlabelled
        try:
            return self._fit(X, y)
        finally:
            del self._unlabelled

    def _all_rows(self, X: Any) -> Any:
        """What layers are initialised on."""
        more = self._unlabelled
        if more is None:
            return X
        if self.pretrain is None:
            raise ValueError("X_unlabelled was given, but pretrain is None: nothing would use it")
        if is_stream(more):
            if iter(more) is more:
                raise ValueError(
                    "X_unlabelled is an iterator, which can be read once only; expected an "
                    "iterable that can be read again"
                )
        else:
            more = self._validate(more, reset=False)
            if sp.issparse(more) != sp.issparse(X):
                raise ValueError(
                    f"X_unlabelled is a {type(more).__name__} and X a {type(X).__name__}; expected "
                    "both sparse or both dense"
                )
        return ChainedStream((X, more), lambda rows: self._validate(rows, reset=False))

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self._by_chunks(self._validate(X, reset=False), lambda network, rows: network(rows))

    def _rows_and_targets(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, np.ndarray]:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        X = self._validate(X, reset=reset)
        y = self._checked_targets(y)
        if len(y) != X.shape[0]:
            raise ValueError(f"y has {len(y)} entries for {X.shape[0]} rows of X")
        return X, y

    def _checked_targets(self, y: Any) -> np.ndarray:
        raise NotImplementedError


class FineTunedClassifier(ClassifierMixin, FineTuned):
    """Fine-tuning on labels, by the cross-entropy of a softmax."""

    classes_: np.ndarray
    _kind = "categorical"

    def _n_outputs(self) -> int:
        return len(self.classes_)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "classes_": self.classes_.tolist()}

    def _set_state(self, tensors, meta) -> None:
        settings = {**meta["settings"], "classes_": np.array(meta["settings"]["classes_"])}
        super()._set_state(tensors, {**meta, "settings": settings})

    def _extras(self, z, y):
        # a row is wrong where some output is larger than that of its class
        own = _core.sum(_core.mul(z, y), 1)
        return {"error": _core.mean(_core.positive(_core.sub(_core.max(z, 1), own)))}

    def _one_hot(self, y: np.ndarray) -> np.ndarray:
        return np.eye(len(self.classes_), dtype=self._dtype)[np.searchsorted(self.classes_, y)]

    def _checked_targets(self, y: Any) -> np.ndarray:
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        return y

    def fit(self, X, y, X_unlabelled=None):
        """Initialise the layers on X, then fine-tune on X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels: integers or strings.
        X_unlabelled : {array-like, sparse matrix} of shape (n, n_features), iterable of those, or \
None, default=None
            More rows to initialise the layers on, after those of X in each epoch.

        Returns
        -------
        self : object
        """
        self._check_parameters()
        X, y = self._rows_and_targets(X, y, reset=True)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            only = self.classes_.tolist()[0]
            raise ValueError(f"y has 1 class ({only!r}); expected at least two")
        self._dtype = np.dtype(X.dtype)
        return self._fit_labelled(X, self._one_hot(y), X_unlabelled)

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
        self : object
        """
        self._check_parameters()
        first = not hasattr(self, "network_")
        X, y = self._rows_and_targets(X, y, reset=first)
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
        return special.softmax(self._outputs(X), axis=1)

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

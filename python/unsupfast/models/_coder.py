"""What auto-encoders of all kinds offer: fitting, decoding, reconstruction."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._network import NetworkEstimator
from ._rbm_core import checked_states

__all__ = ["Coder"]


class Coder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetworkEstimator):
    """A network that codes rows and decodes codes."""

    _n_features_out: int
    transform: Any  # codes of rows
    _decode: Any  # rows from codes, given the network

    def fit(self, X, y=None):
        """Fit the model to X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or iterable of those
            A memory-mapped float32 or float64 array is read as it is needed. CSR is computed
            sparse. An iterable of batches is read once per epoch (and per epoch of pre-training
            each layer) and shuffled within blocks of 64 mini-batches; it can't hold rows out.
        y : ignored

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            For bad arguments, naming the argument.
        DivergenceError
            If the loss or a parameter stops being finite; the state before that epoch is kept.
        """
        self._check_parameters()
        return self._fit_unlabelled(X)

    def partial_fit(self, X, y=None):
        """One update on the mini-batch X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : object
        """
        self._check_parameters()
        first = not hasattr(self, "network_")
        X = self._validate(X, reset=first)
        if first:
            self._initialise(X, check_random_state(self.random_state))
        return self._partial_fit(X)

    def inverse_transform(self, X):
        """Rows from codes: decoding. Of a likelihood, its means.

        Parameters
        ----------
        X : array-like of shape (n_samples, code width)

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        if sp.issparse(X):
            raise TypeError(f"X is a sparse {type(X).__name__}; expected a dense array of codes")
        code = np.ascontiguousarray(checked_states(X, "X", self._dtype, self._n_features_out))
        if code.ndim != 2:
            raise ValueError(
                f"X has shape {code.shape}; expected codes of shape "
                f"(n_samples, {self._n_features_out})"
            )
        return self._by_chunks(code, self._decode)

    def reconstruct(self, X):
        """Decoded codes of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
        """
        return self.inverse_transform(self.transform(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

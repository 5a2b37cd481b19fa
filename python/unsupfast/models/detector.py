"""Anomalies: what a model of normal data finds unlikely."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from ..io import model_from_state, model_name, register_model, save_model
from ._stream import is_stream
from .autoencoder import Autoencoder

__all__ = ["AnomalyDetector"]


class AnomalyDetector(OutlierMixin, BaseEstimator):
    """Outlier detection with any model that scores samples.

    The model learns what most rows are like, and rows that score below a threshold are outliers
    [1]_. Scores are those of the model's ``score_samples`` (minus the reconstruction loss of an
    auto-encoder, the evidence lower bound of a :class:`unsupfast.VAE`), or minus its
    ``free_energy`` where it has one: the log-likelihood of a :class:`unsupfast.RBM` up to a
    constant.

    Parameters
    ----------
    estimator : estimator or None, default=None
        Cloned and fitted; ``sklearn.frozen.FrozenEstimator(model)`` takes a fitted model as it is.
        None: :class:`unsupfast.Autoencoder` with its defaults.
    contamination : "auto" or float, default="auto"
        The threshold. A float in (0, 0.5]: the share of the training rows that are outliers.
        "auto": the lower fence of Tukey [2]_, 1.5 interquartile ranges below the lower quartile of
        the training rows' scores, which needs no guess of that share.

    Attributes
    ----------
    estimator_ : estimator
        The fitted model.
    offset_ : float
        The threshold: ``decision_function`` is the score minus it.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where X had names of columns that are strings.

    References
    ----------
    .. [1] M. Sakurada, T. Yairi. "Anomaly detection using autoencoders with nonlinear
           dimensionality reduction". MLSDA 2014.
    .. [2] J. Tukey. "Exploratory data analysis". 1977.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.random.default_rng(0).normal(size=(200, 2)) @ np.ones((2, 6))
    >>> model = uf.Autoencoder(2, activation="identity", n_iter=100, random_state=0)
    >>> detector = uf.AnomalyDetector(model, contamination=0.01).fit(X)
    >>> detector.predict([[1, 1, 1, 1, 1, 1], [9, -9, 9, -9, 9, -9]])
    array([ 1, -1])
    """

    estimator_: Any
    offset_: float

    def __init__(self, estimator=None, *, contamination="auto"):
        self.estimator = estimator
        self.contamination = contamination

    def _check_parameters(self) -> Any:
        """The model to fit."""
        share = self.contamination
        if isinstance(share, str):
            if share != "auto":
                raise ValueError(f"contamination is {share!r}; expected 'auto' or a number")
        elif not isinstance(share, numbers.Real) or isinstance(share, bool):
            raise TypeError(f"contamination is {share!r}; expected 'auto' or a number")
        elif not 0 < float(share) <= 0.5:
            raise ValueError(f"contamination is {share}; expected a value in (0, 0.5]")
        model = Autoencoder() if self.estimator is None else self.estimator
        if isinstance(model, type) or not hasattr(model, "fit"):
            raise TypeError(f"estimator is {model!r}; expected an estimator")
        if not any(hasattr(model, name) for name in ("free_energy", "score_samples")):
            raise TypeError(
                f"estimator is {model!r}; expected one with score_samples or free_energy"
            )
        return model

    def fit(self, X, y=None):
        """Fit the model to X, and the threshold to the scores of its rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Mostly normal rows; an iterable of batches if the model takes it.
        y : ignored

        Returns
        -------
        self : AnomalyDetector

        Raises
        ------
        ValueError, TypeError
            For bad arguments, naming the argument.
        """
        model = self._check_parameters()
        stream = is_stream(X)
        if stream and iter(X) is X:
            raise ValueError(
                "X is an iterator, which can be read once only, but its rows are scored after "
                "training; expected an iterable that can be read again"
            )
        self.estimator_ = clone(model).fit(X, None)
        self._take_names()
        scores = np.concatenate([self._scores(rows) for rows in X]) if stream else self._scores(X)
        if self.contamination == "auto":
            low, high = np.percentile(scores, [25, 75])
            self.offset_ = float(low - 1.5 * (high - low))
        else:
            self.offset_ = float(np.percentile(scores, 100 * float(self.contamination)))
        return self

    def _take_names(self) -> None:
        self.__dict__.pop("feature_names_in_", None)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))

    def _scores(self, X) -> np.ndarray:
        model = self.estimator_
        scores = -model.free_energy(X) if hasattr(model, "free_energy") else model.score_samples(X)
        # a threshold in between two scores must not round to one of them
        return np.asarray(scores, np.float64)

    def score_samples(self, X):
        """Scores of the rows of X by the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Larger for rows more like the training data.
        """
        check_is_fitted(self)
        return self._scores(X)

    def decision_function(self, X):
        """Scores minus the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            Negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Which rows are outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
            -1 for outliers, 1 for the others.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    # ------------------------------------------------------------------ files

    def save(self, path) -> None:
        """Write the detector with its model to a safetensors file; read it with \
:func:`unsupfast.load`.

        Parameters
        ----------
        path : path

        Raises
        ------
        TypeError
            If the model is none of unsupfast's.
        """
        check_is_fitted(self)
        save_model(self, path)

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        name = model_name(self.estimator_)
        tensors, state = self.estimator_._get_state()
        return tensors, {
            "contamination": self.contamination,
            "offset": self.offset_,
            "model": name,
            "state": state,
        }

    @classmethod
    def _from_state(cls, tensors, meta):
        fitted = model_from_state(meta["model"], tensors, meta["state"])
        detector = cls(clone(fitted), contamination=meta["contamination"])
        detector.estimator_, detector.offset_ = fitted, float(meta["offset"])
        detector._take_names()
        return detector

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        model = Autoencoder() if self.estimator is None else self.estimator
        tags.input_tags.sparse = get_tags(model).input_tags.sparse
        return tags


register_model(AnomalyDetector)

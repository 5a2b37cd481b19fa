"""What a deep belief network computes once its layers are trained: up, down, labels, likelihood."""

from __future__ import annotations

import numbers
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy import special
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .. import _core, ops
from ..likelihood import Estimate
from ._arguments import checked_rows
from ._greedy import coded
from ._rbm_core import seed_from
from ._stream import is_stream
from .rbm import RBM

__all__ = ["DBNLayers"]


def _has_labels(model: Any) -> bool:
    return bool(model.labels)


class DBNLayers(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The layers, in the terms of :class:`unsupfast.DBN`, which documents them."""

    labels: bool
    random_state: Any
    layers_: list[RBM]
    classes_: np.ndarray
    n_features_in_: int
    _untied: list[RBM] | None  # the generative layers below the top, once they are not `layers_`

    def __sklearn_is_fitted__(self) -> bool:
        return bool(getattr(self, "layers_", ()))

    @property
    def generative_layers_(self) -> list[RBM]:
        """The machines that generation goes down through, the top one last."""
        lower = self.layers_[:-1] if self._untied is None else self._untied
        return [*lower, self.layers_[-1]]

    @property
    def _n_features_out(self) -> int:
        return self.layers_[-1].components_.shape[0]

    def _validate(self, X: Any, *, reset: bool) -> Any:
        return checked_rows(self, X, self.layers_[0].components_.dtype, reset=reset)

    # ------------------------------------------------------------------ up and down

    def _depth(self, layer: Any) -> int:
        """The number of layers that a face was asked for."""
        count = len(self.layers_)
        if layer is None:
            return count
        if not isinstance(layer, numbers.Integral) or isinstance(layer, bool):
            raise TypeError(f"layer is {layer!r}; expected an integer or None")
        depth = int(layer)
        if not 1 <= depth <= count:
            raise ValueError(f"layer is {layer}; expected one from 1 to {count}")
        return depth

    def _below_top(self, rows: Any) -> Any:
        """Mean activities of the layer below the top."""
        for rbm in self.layers_[:-1]:
            rows = rbm.transform(rows)
        return rows

    def _up(self, depth: int, rows: Any) -> np.ndarray:
        for rbm in self.layers_[: min(depth, len(self.layers_) - 1)]:
            rows = rbm.transform(rows)
        if depth < len(self.layers_):
            return rows
        return self._top_given_data(rows) if self._n_joined else self.layers_[-1].transform(rows)

    def transform(self, X, layer=None):
        """Mean activities of a layer.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        layer : int or None, default=None
            Which one, from 1; None is the top one. Of a network with labels, the top one's are the
            mean over the labels that the row may have.

        Returns
        -------
        H : ndarray of shape (n_samples, n_hidden)
        """
        check_is_fitted(self)
        depth = self._depth(layer)
        return coded(self._validate(X, reset=False), partial(self._up, depth))

    def inverse_transform(self, H, layer=None):
        """Mean of the visible layer given activities of a layer, layer by layer.

        Parameters
        ----------
        H : array-like of shape (n_samples, n_hidden)
        layer : int or None, default=None
            Whose activities they are, from 1; None is the top one.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        machines = self.generative_layers_[: self._depth(layer)]
        top, joined = self.layers_[-1], self._n_joined

        def down(rows: Any) -> np.ndarray:
            for rbm in reversed(machines):
                rows = rbm.inverse_transform(rows)
                if joined and rbm is top:
                    rows = rows[:, :-joined]
            return rows

        if sp.issparse(H):
            raise TypeError(f"H is a sparse {type(H).__name__}; expected a dense array")
        H = np.asarray(H)
        width = machines[-1].components_.shape[0]
        if H.ndim != 2 or H.shape[1] != width or not len(H):
            raise ValueError(f"H has shape {H.shape}; expected (n_samples, {width})")
        return coded(H, down)

    def reconstruct(self, X, layer=None):
        """Mean of the visible layer given the mean activities of a layer for X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        layer : int or None, default=None
            Which one, from 1; None is the top one.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
        """
        return self.inverse_transform(self.transform(X, layer), layer)

    def sample(self, n_samples=1, steps=1000, *, label=None, mean=False, random_state=None):
        """Draw from the model: Gibbs sampling in the top machine, then one pass down.

        Parameters
        ----------
        n_samples : int, default=1
        steps : int, default=1000
            Gibbs steps of the top machine, from states drawn at the mean of its training data.
        label : label, array of shape (n_samples,), or None, default=None
            Of a network with labels: the class, or one for each sample, to draw from.
        mean : bool, default=False
            Return the means of the visible units, not states.
        random_state : int, RandomState instance or None, default=None
            None means that of the estimator.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        rng = check_random_state(self.random_state if random_state is None else random_state)
        top, joined = self.layers_[-1], self._n_joined
        clamp = None
        if label is not None:
            if not joined:
                raise ValueError(f"label is {label!r}; expected None: {self._without_labels()}")
            width = top.components_.shape[1]
            clamp = np.full((n_samples, width), np.nan)
            clamp[:, width - joined :] = self._one_hot(
                "label", np.broadcast_to(np.asarray(label), (n_samples,))
            )
        only = len(self.layers_) == 1
        states = top.sample(n_samples, steps, clamp=clamp, mean=only and mean, random_state=rng)
        if joined:
            states = np.ascontiguousarray(states[:, :-joined])
        lower = self.generative_layers_[:-1]
        for i, rbm in reversed(list(enumerate(lower))):
            if i == 0 and mean:
                states = rbm.inverse_transform(states)
            else:
                states = rbm._sample_visibles(states, rng).astype(states.dtype)
        return states

    # ------------------------------------------------------------------ labels

    @property
    def _n_joined(self) -> int:
        """Label units of the top machine."""
        below = self.layers_[-2].components_.shape[0] if self.layers_[1:] else self.n_features_in_
        return self.layers_[-1].components_.shape[1] - below

    def _without_labels(self) -> str:
        return "the network was not trained with labels=True to its top"

    def _one_hot(self, name: str, y: Any) -> np.ndarray:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"{name} has {unknown.tolist()[0]!r}, which is not among the classes")
        return (np.asarray(y)[:, None] == self.classes_).astype(self.layers_[0].components_.dtype)

    def _checked_labels(self, y: Any, n: int) -> np.ndarray:
        if y is None:
            raise ValueError("y is None; expected labels, which labels=True joins to the top layer")
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if len(y) != n:
            raise ValueError(f"y has {len(y)} labels for {n} rows of X")
        return y

    def _targets(self, X: Any, y: Any) -> np.ndarray | None:
        """Labels as the network that is trained takes them."""
        if self._n_joined:
            if is_stream(X):
                raise ValueError("X is an iterable of batches; expected rows, which have labels y")
            return self._one_hot("y", self._checked_labels(y, X.shape[0]))
        if y is not None:
            raise ValueError(f"y was given, but {self._without_labels()}")
        return None

    def _by_class(self, rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """P(label | activities below the top); the top's total inputs from those and from labels.

        Exact, by the free energy of every label: ``F(v, y) = -a'v - a_y - sum softplus(...)``.
        """
        top, joined = self.layers_[-1], self._n_joined
        weights = np.ascontiguousarray(top.components_)
        if sp.issparse(rows):
            rows = rows.toarray()
        below = ops.matmul(rows, np.ascontiguousarray(weights[:, :-joined]), tb=True)
        below += top.intercept_hidden_
        of_label = np.ascontiguousarray(weights[:, -joined:].T)
        bias = np.ascontiguousarray(top.intercept_visible_[-joined:])
        scores = np.asarray(_core.class_scores(below, of_label, bias), np.float64)
        return special.softmax(scores, axis=1), below, of_label

    def _top_given_data(self, rows: Any) -> np.ndarray:
        p, below, of_label = self._by_class(rows)
        return _core.class_activity(below, of_label, p.astype(below.dtype))[0]

    @available_if(_has_labels)
    def predict_proba(self, X):
        """Probabilities of the classes given X, exact given the activities below the top.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            By the free energies of the top machine with each label in turn.
        """
        check_is_fitted(self)
        if not self._n_joined:
            raise ValueError(f"predict_proba needs labels, but {self._without_labels()}")
        X = self._validate(X, reset=False)
        return coded(X, lambda rows: self._by_class(self._below_top(rows))[0])

    @available_if(_has_labels)
    def predict(self, X):
        """The most probable label of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    @available_if(_has_labels)
    def score(self, X, y) -> float:
        """Share of the rows whose label is predicted.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        """
        return float(accuracy_score(y, self.predict(X)))

    # ------------------------------------------------------------------ likelihood

    def log_likelihood(
        self, X, y=None, method="ais", *, n_samples=10, random_state=None, **options
    ) -> Estimate:
        """Variational lower bound of the mean log-likelihood of X [1]_.

        ``E_q[log p(x, h) - log q(h|x)]`` with the recognition distribution q of the layers below
        the top, over states drawn from it, and log Z of the top machine by annealed importance
        sampling. It equals the log-likelihood where q is the true posterior, as it is for a single
        layer.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None, default=None
            Of a network with labels, where it is needed: the bound is that of log P(x, y).
        method, **options
            Of the top machine's log Z, as for :meth:`unsupfast.RBM.log_partition`.
        n_samples : int, default=10
            States drawn from q for every row.
        random_state : int, RandomState instance or None, default=None
            None means that of the estimator.

        Returns
        -------
        Estimate
            Nats per sample. The interval covers the error of log Z, not that of the draws, which
            falls with the number of rows.

        References
        ----------
        .. [1] R. Salakhutdinov, I. Murray. "On the quantitative analysis of deep belief networks".
               ICML 2008.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, numbers.Integral) or n_samples < 1:
            raise ValueError(f"n_samples is {n_samples!r}; expected a positive integer")
        X = self._validate(X, reset=False)
        labels = self._targets(X, y)
        rng = check_random_state(self.random_state if random_state is None else random_state)
        generator = np.random.default_rng(seed_from(rng))
        log_z = self.layers_[-1].log_partition(method, random_state=rng, **options)
        total, chunk = 0.0, 1000
        for start in range(0, X.shape[0], chunk):
            rows = X[start : start + chunk]
            joined = None if labels is None else labels[start : start + chunk]
            for _ in range(n_samples):
                total += float(self._bound(rows, joined, generator).sum(dtype=np.float64))
        mean = total / (n_samples * X.shape[0])
        low, high = log_z.interval
        return Estimate(mean - log_z.value, (mean - high, mean - low), log_z.method)

    def _bound(self, rows: Any, labels: Any, rng: np.random.Generator) -> np.ndarray:
        """One draw of ``log p*(x, h) - log q(h|x)``, constant where q is the posterior."""
        bound: Any = 0.0
        lower = self.generative_layers_[:-1]
        for recognition, generative in zip(self.layers_[:-1], lower, strict=True):
            q = recognition.transform(rows)
            states = (rng.random(q.shape) < q).astype(q.dtype)
            log_q = special.xlogy(states, q) + special.xlog1py(1 - states, -q)
            bound = bound + _log_visibles(generative, rows, states) - log_q.sum(axis=1)
            rows = states
        if labels is not None:
            hstack = sp.hstack if sp.issparse(rows) else np.hstack
            rows = hstack([rows, labels])
        return bound - self.layers_[-1].free_energy(rows)


def _log_visibles(rbm: RBM, v: Any, h: np.ndarray) -> np.ndarray:
    """log p(v|h) of each row."""
    v = v.toarray() if sp.issparse(v) else np.ascontiguousarray(v)
    if rbm.visible == "bernoulli":
        logits = ops.matmul(h, np.ascontiguousarray(rbm.components_)) + rbm.intercept_visible_
        return -ops.row_losses(logits, v, kind="bernoulli")
    return rbm._machine().log_visibles(v.astype(np.float64), h.astype(np.float64))

"""Classification restricted Boltzmann machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy import special
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .. import _core
from ..io import register_model
from ..units import Layer, Mixed, Softmax
from ._arguments import check_option, check_real, check_row_weight
from ._rbm_core import _EXACT_ROWS, RBMCore, concatenated
from ._rbm_training import RBMTraining
from ._stream import is_stream
from .rbm import RBM

__all__ = ["ClassifierRBM"]


class ClassifierRBM(ClassifierMixin, RBMTraining):
    """Restricted Boltzmann machine with a unit for every class beside the features [1]_ [2]_.

    ``E(x, y, h) = -b'x - d_y - c'h - h'W x - h'u_y`` (Bernoulli features; others as in
    :class:`RBM`). Sums over classes and over hidden units are exact: probabilities of classes, and
    the gradient of log p(y|x), need no sampling. Only log p(x, y) and log p(x) are learned by
    contrastive divergence.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    objective : {"hybrid", "discriminative", "joint"}, default="hybrid"
        What is maximised: log p(y|x) + alpha log p(x, y), log p(y|x), or log p(x, y).
    alpha : float, default=0.01
        Weight of log p(x, y) in the hybrid objective.
    beta : float or None, default=None
        Weight of log p(x) of rows without a label. None is the weight of log p(x, y): alpha, or 1
        for the joint objective.
    missing_label : label or None, default=None
        A value in y that stands for no label, as -1 does in scikit-learn's semi-supervised
        estimators. NaN and None always do.
    sparsity : float, default=0.0
        Taken from the gradient by every hidden bias, so that hidden units are seldom on: the sparse
        machine of [2]_, where a step takes ``learning_rate * sparsity``.
    learning_rate, batch_size, n_iter, verbose, random_state
        As for :class:`RBM`.
    method : {"cd", "pcd"}, default="cd"
        Where the model's samples come from: ``k`` steps from the data, or chains that persist.
    optimizer, clip_norm, max_norm, k, visible, momentum, weight_decay, l1, learn_sigma, precision,\
 device, shuffle
        As for :class:`RBM`; hidden units are Bernoulli.
    validation_fraction : float or None, default=None
        Share of the rows held out to measure ``validation_loss`` and ``validation_error``.
    patience : int or None, default=None
        Stop after so many epochs without a lower ``validation_error``, and keep the best epoch's
        state. Needs ``validation_fraction``.
    callbacks, checkpoint, checkpoint_every, resume
        As for :class:`RBM`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    components_ : ndarray of shape (n_components, n_features + n_classes)
        Weights of features, then of classes.
    intercept_hidden_ : ndarray of shape (n_components,)
    intercept_visible_ : ndarray of shape (n_features + n_classes,)
    log_variance_ : ndarray of shape (n_features + n_classes,)
        Log variances of Gaussian features (zeros for others).
    offset_, scale_ : ndarray of shape (n_features + n_classes,)
        Mean and standard deviation that Gaussian features are standardised by (0 and 1 for others).
    h_samples_ : ndarray of shape (batch_size, n_components)
        States of the persistent chains.
    history_ : dict of str to list
        One value per epoch: ``epoch``, ``seconds``, ``loss`` (-log p(y|x), nats) and ``error``
        (share of wrong predictions) after it, on up to 1000 training rows with labels, and the
        held-out measures.
    n_iter_ : int
    n_features_in_ : int

    References
    ----------
    .. [1] H. Larochelle, Y. Bengio. "Classification using discriminative restricted Boltzmann
           machines". ICML 2008.
    .. [2] H. Larochelle, M. Mandel, R. Pascanu, Y. Bengio. "Learning algorithms for the
           classification restricted Boltzmann machine". JMLR 13, 2012.

    Examples
    --------
    >>> import numpy as np, unsupfast as uf
    >>> X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 0], [1, 1, 0]], dtype=np.float32)
    >>> model = uf.ClassifierRBM(4, n_iter=200, random_state=0).fit(X, ["b", "b", "a", "a"])
    >>> model.predict(X).tolist()
    ['b', 'b', 'a', 'a']
    """

    _may_miss = False
    # what RBM has and this has not
    hidden = "bernoulli"
    n_temperatures = 2
    centering = False
    sparsity_target = selectivity_target = None
    sparsity_cost = selectivity_cost = 0.0

    classes_: np.ndarray

    def __init__(
        self,
        n_components=256,
        *,
        objective="hybrid",
        alpha=0.01,
        beta=None,
        missing_label=None,
        sparsity=0.0,
        learning_rate=0.1,
        batch_size=10,
        n_iter=10,
        verbose=0,
        random_state=None,
        method="cd",
        optimizer="sgd",
        clip_norm=None,
        max_norm=None,
        k=1,
        visible="bernoulli",
        momentum=0.0,
        weight_decay=0.0,
        l1=0.0,
        learn_sigma=True,
        precision="auto",
        device="auto",
        shuffle=True,
        validation_fraction=None,
        patience=None,
        callbacks=None,
        checkpoint=None,
        checkpoint_every=1,
        resume=None,
    ):
        self.n_components = n_components
        self.objective = objective
        self.alpha = alpha
        self.beta = beta
        self.missing_label = missing_label
        self.sparsity = sparsity
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.method = method
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self.max_norm = max_norm
        self.k = k
        self.visible = visible
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.l1 = l1
        self.learn_sigma = learn_sigma
        self.precision = precision
        self.device = device
        self.shuffle = shuffle
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume

    # ------------------------------------------------------------------ arguments

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_option(self, "method", ("cd", "pcd"))
        check_option(self, "objective", ("hybrid", "discriminative", "joint"))
        check_real(self, "alpha", 0)
        check_real(self, "sparsity", 0)
        if self.beta is not None:
            check_real(self, "beta", 0)

    def _layer_of(self, size: int) -> Layer:
        classes = len(self.classes_)
        features = Layer.of(self.visible, size - classes, "visible")
        parts = [(unit, s.stop - s.start) for unit, s in features.parts]
        return Layer.of(Mixed((*parts, (Softmax(classes), classes))), size, "visible")

    def _options(self, epoch: int, batch_size: int) -> Any:
        options = super()._options(epoch, batch_size)
        options.discriminative = float(self.objective != "joint")
        options.generative = self._generative()
        options.unlabelled = options.generative if self.beta is None else self.beta
        options.hidden_pull = self.sparsity
        return options

    def _generative(self) -> float:
        return {"joint": 1.0, "hybrid": float(self.alpha), "discriminative": 0.0}[self.objective]

    def _rows_and_labels(self, X: Any, y: Any, reset: bool) -> tuple[Any, np.ndarray, np.ndarray]:
        """X checked, labels, and which of them are known."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        if is_stream(X):
            raise ValueError("X is an iterable of batches; expected rows, which have labels y")
        X = self._validate(X, reset=reset)
        y = column_or_1d(y, warn=True)
        if len(y) != X.shape[0]:
            raise ValueError(f"y has {len(y)} entries for {X.shape[0]} rows of X")
        known = y == y  # NaN is not
        if y.dtype == object:
            known = np.array([label is not None and label == label for label in y])
        if self.missing_label is not None:
            known &= y != self.missing_label
        if known.any():
            labels = y[known]
            check_classification_targets(labels if y.dtype != object else np.array(labels.tolist()))
        unused = len(y) - np.count_nonzero(known)
        if unused and self.objective == "discriminative" and self.beta is None:
            raise ValueError(
                f"y has {unused} entries without a label, for which objective='discriminative' has "
                "no use; expected labels, or a weight beta of log p(x)"
            )
        return X, y, known

    def _index(self, y: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The classes of rows, -1 where a label is not known."""
        index = np.full(len(y), -1)
        unknown = np.setdiff1d(y[known], self.classes_)
        if len(unknown):
            raise ValueError(
                f"y has the label {unknown.tolist()[0]!r}, which is not among the classes"
            )
        index[known] = np.searchsorted(self.classes_, y[known])
        return index

    def _joined(self, X: Any) -> Any:
        """Rows with room for the labels, which the compiled code fills in."""
        classes = len(self.classes_)
        if sp.issparse(X):
            shape = X.shape[0], X.shape[1] + classes
            return sp.csr_array((X.data, X.indices, X.indptr), shape=shape)
        return np.hstack([X, np.zeros((X.shape[0], classes), X.dtype)])

    # ------------------------------------------------------------------ training

    def fit(self, X, y, row_weight=None):  # type: ignore[override]
        """Fit the model to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels: integers, strings or others that can be sorted; NaN, None or ``missing_label``
            where there is none, which makes the row one of log p(x) alone.
        row_weight : array-like of shape (n_samples,) or None, default=None
            Non-negative weight of each row in its mini-batch.

        Returns
        -------
        self : ClassifierRBM

        Raises
        ------
        ValueError, TypeError
            For bad arguments, naming the argument.
        DivergenceError
            If a parameter stops being finite; the state before that epoch is kept.
        """
        self._check_parameters()
        X, y, known = self._rows_and_labels(X, y, reset=True)
        self.classes_ = np.unique(y[known])
        if len(self.classes_) < 2:
            found = (
                f"1 class ({self.classes_.tolist()[0]!r})" if len(self.classes_) else "no labels"
            )
            raise ValueError(f"y has {found}; expected at least two classes")
        if row_weight is not None:
            row_weight = check_row_weight(row_weight, X, X.dtype)
        self._check_features(X)
        self._labels = self._index(y, known)
        try:
            return self._fit_rows(self._joined(X), None, row_weight)
        finally:
            del self._labels

    def partial_fit(self, X, y, classes=None, row_weight=None):  # type: ignore[override]
        """One update on the mini-batch X, y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            As for :meth:`fit`.
        classes : array-like or None, default=None
            All labels; needed in the first call.
        row_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        self : ClassifierRBM
        """
        self._check_parameters()
        first = not hasattr(self, "components_")
        X, y, known = self._rows_and_labels(X, y, reset=first)
        if first:
            if classes is None:
                raise ValueError("classes is None; expected all labels in the first partial_fit")
            self.classes_ = np.unique(classes)
            if len(self.classes_) < 2:
                raise ValueError(f"classes is {classes!r}; expected at least two labels")
        self._check_features(X)
        self._labels = self._index(y, known)
        try:
            return self._update_once(self._joined(X), row_weight, first)
        finally:
            del self._labels

    def _check_features(self, X: Any) -> None:
        self._check_units(X.shape[1] + len(self.classes_))
        Layer.of(self.visible, X.shape[1], "visible").check(X, "X")

    def _initial_deviation(self, n_features: int) -> float:
        # near 0 is a saddle of log p(y|x): that of the uniform numbers up to 1 / sqrt(n) of [1]
        return float((3 * max(n_features, self.n_components)) ** -0.5)

    def _mean_of(self, X) -> np.ndarray:
        assert self._labels is not None
        mean = super()._mean_of(X)
        counts = np.bincount(self._labels + 1, minlength=len(self.classes_) + 1)[1:]
        mean[X.shape[1] - len(counts) :] = counts / max(1, counts.sum())
        return mean

    def _reported(self, metrics) -> str:
        names = ("loss", "error", "validation_loss", "validation_error")
        return ", ".join(f"{name} = {metrics[name]:.4f}" for name in names if name in metrics)

    def _labelled(self, rows: np.ndarray) -> np.ndarray:
        assert self._labels is not None
        rows = rows[self._labels[rows] >= 0]
        if not len(rows):
            raise ValueError(
                f"validation_fraction is {self.validation_fraction}, which leaves no rows with a "
                "label to train on or to hold out"
            )
        return rows

    def _monitored_rows(self, X, rows):
        rows = self._labelled(rows)[: self._monitor_rows]
        assert self._labels is not None
        return X[rows], self._labels[rows]

    def _measure(self, monitored, validate=None) -> dict[str, float]:
        X, labels = monitored
        loss, error = self._loss_and_error(X, labels)
        metrics = {"loss": loss, "error": error}
        if validate is not None:
            loss, error = validate()
            metrics.update(validation_loss=loss, validation_error=error, validation_score=-error)
        return metrics

    def _validate_rows(self, X, rows) -> tuple[float, float]:
        rows = self._labelled(rows)
        assert self._labels is not None
        return self._loss_and_error(X[rows], self._labels[rows])

    def _loss_and_error(self, X: Any, labels: np.ndarray) -> tuple[float, float]:
        """Means over rows with room for labels."""
        log_p = concatenated(X, lambda part: special.log_softmax(self._scores(part)[0], axis=1))
        own = log_p[np.arange(len(labels)), labels]
        return -float(own.mean()), float((log_p.argmax(axis=1) != labels).mean())

    # ------------------------------------------------------------------ classes

    def _class_weights(self) -> np.ndarray:
        return np.ascontiguousarray(self.components_[:, -len(self.classes_) :].T)

    def _scores(self, joined: Any) -> tuple[np.ndarray, np.ndarray]:
        """What classes and hidden units weigh together (logs), and the fields of hidden units.

        Of few enough rows, which have room for labels.
        """
        field = self._synced_core().hidden_given_visible(self._rows(self._enter(joined)), "field")
        bias = np.ascontiguousarray(self.intercept_visible_[-len(self.classes_) :])
        scores = _core.class_scores(field, self._class_weights(), bias)
        return np.asarray(scores, np.float64), field

    def _by_rows(self, X: Any, function: Any) -> np.ndarray:
        """A function of the scores and fields of rows of X."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        return concatenated(X, lambda part: function(*self._scores(self._joined(part))))

    def predict_log_proba(self, X):
        """Log-probabilities of the classes, exact.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
        """
        return self._by_rows(
            X, lambda scores, field: special.log_softmax(scores, axis=1).astype(field.dtype)
        )

    def predict_proba(self, X):
        """Probabilities of the classes, exact: by the free energies of x with each.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
        """
        return self._by_rows(
            X, lambda scores, field: special.softmax(scores, axis=1).astype(field.dtype)
        )

    def decision_function(self, X):
        """Negative free energies of x with each class, up to a number of the row's.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        score : ndarray of shape (n_samples, n_classes), or (n_samples,) of two classes
            Of two classes the difference: the log odds of the second.
        """
        scores = self._by_rows(X, lambda scores, field: scores.astype(field.dtype))
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        """The most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        best = self._by_rows(X, lambda scores, field: scores.argmax(axis=1))
        return self.classes_[best]

    # ------------------------------------------------------------------ layers

    def transform(self, X):
        """Mean hidden activities given the features: the mean over the classes that a row may have.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        H : ndarray of shape (n_samples, n_components)
        """

        def mean(scores, field):
            p = special.softmax(scores, axis=1).astype(field.dtype)
            return _core.class_activity(field, self._class_weights(), p)[0]

        return self._by_rows(X, mean)

    def free_energy(self, X, y=None):
        """Free energy of the features, or of features and labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None, default=None
            Labels; where they are not known, classes are summed over.

        Returns
        -------
        F : ndarray of shape (n_samples,)
            Nats; ``log p(x, y) = -F(x, y) - log Z`` and ``log p(x) = -F(x) - log Z``.
        """
        check_is_fitted(self)
        if y is None:
            X = self._validate(X, reset=False)
            labels = np.full(X.shape[0], -1)
        else:
            X, y, known = self._rows_and_labels(X, y, reset=False)
            labels = self._index(y, known)
        machine = self._machine()

        def log_weights(part):
            joined = self._joined(part)
            dense = joined.toarray() if sp.issparse(joined) else joined
            own = machine.visible_log_weight(dense.astype(np.float64))
            return own[:, None] + self._scores(joined)[0]

        weights = concatenated(X, log_weights, _EXACT_ROWS)
        own = weights[np.arange(len(labels)), labels]
        log_weight = np.where(labels >= 0, own, special.logsumexp(weights, axis=1))
        return -log_weight.astype(self.components_.dtype)

    def sample(
        self, n_samples=1, steps=1000, *, label=None, mean=False, total=100, random_state=None
    ):
        """Draw features from the model by Gibbs sampling.

        Parameters
        ----------
        n_samples : int, default=1
        steps : int, default=1000
            Gibbs steps from states drawn at the mean of the training data.
        label : label, array of shape (n_samples,), or None, default=None
            The class, or one for each sample, to draw from.
        mean : bool, default=False
            Return the conditional means of the last step, not states.
        total : int, default=100
            What the counts of a row add up to, where features are counts.
        random_state : int, RandomState instance or None, default=None
            None means that of the estimator.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        clamp = None
        if label is not None:
            labels = np.broadcast_to(np.asarray(label), (n_samples,))
            unknown = np.setdiff1d(labels, self.classes_)
            if len(unknown):
                raise ValueError(
                    f"label has {unknown.tolist()[0]!r}, which is not among the classes"
                )
            clamp = np.full((n_samples, self.components_.shape[1]), np.nan)
            clamp[:, self.n_features_in_ :] = labels[:, None] == self.classes_
        states = self.as_rbm().sample(
            n_samples,
            steps,
            clamp=clamp,
            mean=mean,
            total=total,
            random_state=self.random_state if random_state is None else random_state,
        )
        return np.ascontiguousarray(states[:, : self.n_features_in_])

    def as_rbm(self) -> RBM:
        """The machine of features and one-hot labels side by side, with a copy of the parameters.

        For what an :class:`RBM` can do beside: likelihoods, sampling with features held fixed.

        Returns
        -------
        RBM
            With visible units ``units.Mixed``: those of the features, then a softmax group.
        """
        check_is_fitted(self)
        parts = tuple((unit, s.stop - s.start) for unit, s in self._visible_layer.parts)
        shared = set(RBM().get_params()) & set(self.get_params())
        parameters = {name: getattr(self, name) for name in shared}
        rbm = RBM(**{**parameters, "visible": Mixed(parts), "checkpoint": None, "resume": None})
        tensors, meta = RBMCore._get_state(self)
        meta.pop("feature_names", None)
        rbm._set_state({name: np.array(x) for name, x in tensors.items()}, meta)
        return rbm

    # ------------------------------------------------------------------ files

    def _get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors, meta = super()._get_state()
        return tensors, {**meta, "classes": self.classes_.tolist()}

    def _set_state(self, tensors, meta) -> None:
        classes = np.array(meta["classes"])
        if self._labels is not None and classes.tolist() != self.classes_.tolist():
            raise ValueError(
                f"resume: the file holds a model of the classes {classes.tolist()}; expected "
                f"{self.classes_.tolist()}, which y has"
            )
        self.classes_ = classes
        super()._set_state(tensors, meta)
        self.n_features_in_ -= len(classes)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


register_model(ClassifierRBM)

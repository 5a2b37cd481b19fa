"""Networks that start from deep belief networks and are fine-tuned."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score

import unsupfast as uf

DIGITS = load_digits()
X = (DIGITS.data / 16).astype(np.float32)
NAMES = np.array([f"digit {i}" for i in DIGITS.target])


def fitted(**options):
    settings = {"n_iter": 3, "batch_size": 20, "random_state": 0, **options}
    return uf.DBN((60, 40), **settings).fit(X[:1200])


def model(kind=uf.DBNClassifier, **options):
    settings = {
        "hidden_layer_sizes": (60, 40),
        "pretrain_iter": 3,
        "n_iter": 30,
        "learning_rate": 0.005,
        "random_state": 0,
    }
    return kind(**{**settings, **options})


def weights(estimator):
    return [p.data for p in estimator.network_.parameters()]


def assert_same(a, b):
    for one, other in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(one, other)


PRETRAINING = {
    "none": lambda: None,
    "rbm": lambda: "rbm",
    "machine": lambda: uf.RBM(n_iter=2, batch_size=20, method="cd"),
    "machines": lambda: [uf.RBM(n_iter=2, batch_size=20), uf.RBM(n_iter=1, batch_size=20)],
    "network": lambda: uf.DBN((60, 40), n_iter=3, batch_size=20, activities="sample"),
    "fitted": fitted,
    "frozen": lambda: FrozenEstimator(fitted()),
}


@pytest.mark.parametrize("pretrain", PRETRAINING)
def test_classifier_learns_and_is_restored(pretrain, tmp_path):
    classifier = model(pretrain=PRETRAINING[pretrain](), dropout=0.1).fit(X[:1200], NAMES[:1200])
    assert classifier.score(X[1200:], NAMES[1200:]) > 0.85
    np.testing.assert_allclose(classifier.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    classifier.save(tmp_path / "c.safetensors")
    other = uf.load(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(other.predict_proba(X), classifier.predict_proba(X))
    assert_same(classifier.partial_fit(X[:50], NAMES[:50]), other.partial_fit(X[:50], NAMES[:50]))


@pytest.mark.parametrize("kind", [uf.DBNClassifier, uf.DBNRegressor])
@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_fine_tuning_starts_from_the_network(kind, visible):
    rows = X if visible == "bernoulli" else (X[:, X.std(axis=0) > 0] * 30 + 7).astype(np.float32)
    rate = 0.1 if visible == "bernoulli" else 0.01
    dbn = uf.DBN((60, 40), visible=visible, learning_rate=rate, n_iter=2, random_state=0).fit(rows)
    if visible == "gaussian":
        assert dbn.layers_[0].log_variance_.std() > 0.01
        assert dbn.layers_[0].offset_.min() > 7
    for pretrain in (dbn, clone(dbn).set_params(random_state=None)):
        start = model(kind, pretrain=pretrain, n_iter=0).fit(rows, DIGITS.target)
        layers = start.network_.encoder.layers
        hidden = rows
        for layer in layers:
            hidden = layer(hidden)
        if pretrain is dbn:
            np.testing.assert_allclose(hidden, dbn.transform(rows), atol=2e-5)
        np.testing.assert_array_equal(layers[1].bias.data != 0, True)  # RBMs' have moved


def test_a_fitted_network_is_used_as_it_is_by_cross_validation():
    dbn = fitted()
    search = GridSearchCV(
        model(pretrain=FrozenEstimator(dbn), n_iter=0), {"dropout": [0.0]}, cv=2
    ).fit(X[:400], NAMES[:400])  # fmt: skip
    np.testing.assert_array_equal(
        search.best_estimator_.network_.encoder.layers[0].weight, dbn.layers_[0].components_.T
    )
    assert cross_val_score(model(), X, NAMES, cv=2).mean() > 0.8


@pytest.mark.parametrize("kind", [uf.DBNClassifier, uf.StackedAutoencoderClassifier])
@pytest.mark.parametrize("form", ["array", "csr", "stream"])
def test_unlabelled_rows_are_what_layers_start_from(kind, form):
    rows, more = X[:100], X[100:1200]
    if form == "csr":
        rows, more = sp.csr_matrix(rows), sp.csr_matrix(more)
    given = [more[:500], more[500:]] if form == "stream" else more

    class Rows:
        def __iter__(self):
            return iter(given)

    options = {"n_iter": 0, "pretrain": "rbm"}
    start = model(kind, **options).fit(rows, NAMES[:100], Rows() if form == "stream" else given)
    without = model(kind, **options).fit(rows, NAMES[:100])
    assert not np.array_equal(weights(start)[0], weights(without)[0])
    # the machines of the lowest layer know the other rows better
    errors = []
    for each in (start, without):
        layer = each.network_.encoder.layers[0]
        hidden = layer(X[100:1200])
        logits = np.linalg.lstsq(np.c_[hidden, np.ones(1100)], X[100:1200], rcond=None)[1]
        errors.append(logits.sum())
    assert errors[0] < errors[1]
    assert not hasattr(start, "_unlabelled")


def test_checkpoints_early_stopping_and_the_rest_are_those_of_networks(tmp_path):
    path = tmp_path / "c.safetensors"
    options = {"dropout": 0.2, "optimizer": "momentum", "learning_rate": 0.05, "weight_decay": 1e-4}
    whole = model(n_iter=6, **options).fit(X, NAMES)
    model(n_iter=3, checkpoint=path, **options).fit(X, NAMES)
    rest = model(n_iter=6, resume=path, pretrain=None, **options).fit(X, NAMES)
    assert_same(rest, whole)
    stopped = model(n_iter=300, validation_fraction=0.2, patience=2, learning_rate=0.02)
    stopped.fit(X[:300], NAMES[:300])
    history = stopped.history_["validation_loss"]
    assert len(history) < 300 and stopped.n_iter_ == 1 + np.argmin(history)


def test_regressor():
    A, b = load_diabetes(return_X_y=True)
    A = (A / A.std(axis=0)).astype(np.float32)
    regressor = model(uf.DBNRegressor, n_iter=40).fit(A[:300], b[:300])
    assert regressor.score(A[300:], b[300:]) > 0.4
    assert regressor.predict(A).shape == (442,)
    # in other units the same
    other = model(uf.DBNRegressor, n_iter=40).fit(A[:300], 1000 * b[:300] + 5)
    np.testing.assert_allclose(other.predict(A), 1000 * regressor.predict(A) + 5, rtol=1e-3)
    two = model(uf.DBNRegressor, n_iter=40).fit(A[:300], np.c_[b, -b][:300])
    assert two.predict(A).shape == (442, 2) and two.score(A[300:], np.c_[b, -b][300:]) > 0.35


def test_regressor_is_restored(tmp_path):
    y = np.c_[DIGITS.target, X[:, 10]]
    regressor = model(uf.DBNRegressor, n_iter=2, dropout=0.1).fit(X, y)
    regressor.save(tmp_path / "r.safetensors")
    other = uf.load(tmp_path / "r.safetensors")
    np.testing.assert_array_equal(other.predict(X), regressor.predict(X))
    assert repr(other) == repr(regressor)


class Once:
    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration


FAULTS = [
    ({"pretrain": "dbn"}, {}, ValueError, "pretrain is 'dbn'; expected one of None, 'rbm'"),
    ({"pretrain": uf.Autoencoder()}, {}, TypeError, "pretrain is Autoencoder()"),
    ({"pretrain": [uf.RBM()]}, {}, ValueError, "rbm has 1 machines for the 2 layers"),
    ({"pretrain": uf.RBM(n_iter=-1)}, {}, ValueError, "n_iter is -1"),
    ({"pretrain": uf.DBN(labels=True)}, {}, ValueError, "expected a network without labels"),
    ({"pretrain_iter": 0}, {}, ValueError, "pretrain_iter is 0"),
    ({"dropout": 1.0}, {}, ValueError, "dropout is 1.0"),
    ({"pretrain": None}, {"X_unlabelled": X}, ValueError, "pretrain is None"),
    ({}, {"X_unlabelled": X[:, :5]}, ValueError, "5 features"),
    ({}, {"X_unlabelled": sp.csr_matrix(X)}, ValueError, "X_unlabelled is a csr_matrix and X a"),
    ({}, {"X_unlabelled": Once()}, ValueError, "X_unlabelled is an iterator"),
    ({}, {"y": NAMES[:5]}, ValueError, "y has 5 entries for 1797 rows"),
    ({}, {"y": np.zeros(len(X))}, ValueError, "y has 1 class"),
]


@pytest.mark.parametrize("options, arguments, error, message", FAULTS, ids=lambda v: str(v)[:40])
def test_errors_name_the_argument(options, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        model(**options).fit(X, **{"y": NAMES, **arguments})


def test_errors_with_fitted_networks():
    dbn = fitted()
    with pytest.raises(ValueError, match="pretrain is a fitted DBN"):
        model(pretrain=dbn).fit(X, NAMES, X)
    with pytest.raises(ValueError, match="pretrain was fitted on 64 features; X has 63"):
        model(pretrain=dbn).fit(X[:, :63], NAMES)
    regressor = model(uf.DBNRegressor, n_iter=0)
    with pytest.raises(ValueError, match=r"y has shape \(1, 1, 1\)"):
        regressor.fit(X, np.zeros((1, 1, 1)))

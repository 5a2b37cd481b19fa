"""Outlier detection by models of normal data."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import unsupfast as uf

MODELS = {
    "autoencoder": uf.Autoencoder(
        (32, 8), activation="tanh", n_iter=150, learning_rate=0.003, random_state=0
    ),
    "vae": uf.VAE(64, 8, n_iter=100, learning_rate=0.003, random_state=0),
    "rbm": uf.RBM(64, n_iter=60, learning_rate=0.05, random_state=0),
}


@pytest.fixture(scope="module")
def digits():
    """Zeros to eights to learn from, and others of them beside nines to tell apart."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    rest = np.flatnonzero(y != 9)
    train, test = rest[:1000], np.concatenate([rest[1000:], np.flatnonzero(y == 9)])
    return X[train], X[test], y[test] != 9


def quick(contamination="auto"):
    return uf.AnomalyDetector(
        uf.Autoencoder(5, n_iter=3, random_state=0), contamination=contamination
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_digit_never_seen_is_found(name, digits):
    train, test, normal = digits
    detector = uf.AnomalyDetector(clone(MODELS[name]), contamination=0.1).fit(train)
    decision = detector.decision_function(test)
    # chance is 0.5, with a standard error of 0.02 for these numbers of rows
    assert roc_auc_score(normal, decision) > 0.7
    found = detector.predict(test) == -1
    assert found[~normal].mean() > 2 * found[normal].mean()
    np.testing.assert_array_equal(found, decision < 0)
    np.testing.assert_array_equal(decision, detector.score_samples(test) - detector.offset_)


def test_thresholds(digits):
    train = digits[0]
    for share in (0.01, 0.25, 0.5):
        detector = quick(share).fit(train)
        assert (detector.predict(train) == -1).sum() == pytest.approx(share * len(train), abs=1)
    detector = quick().fit(train)
    low, high = np.percentile(detector.score_samples(train), [25, 75])
    assert detector.offset_ == low - 1.5 * (high - low)
    np.testing.assert_array_equal(quick().fit_predict(train), detector.predict(train))
    # of rows that a model explains alike, none is an outlier
    same = np.tile(train[:1], (50, 1))
    assert (quick().fit(same).predict(same) == 1).all()


def test_scores_are_those_of_the_model(digits):
    train, test, _ = digits
    rbm = uf.RBM(8, n_iter=2, random_state=0).fit(train)
    for model, expected in (
        (rbm, -rbm.free_energy(test)),
        (vae := uf.VAE(8, 2, n_iter=2, random_state=0).fit(train), vae.score_samples(test)),
        (pca := PCA(5).fit(train), pca.score_samples(test)),
    ):
        detector = uf.AnomalyDetector(FrozenEstimator(model)).fit(train)
        np.testing.assert_array_equal(detector.score_samples(test), expected)
    sparse = quick().fit(sp.csr_matrix(train))
    dense = quick().fit(train)
    np.testing.assert_array_equal(sparse.predict(sp.csr_matrix(test)), dense.predict(test))


def test_streams(digits):
    train, test, _ = digits
    detector = quick(0.1)
    detector.estimator.set_params(shuffle=False)
    whole = clone(detector).fit(train)

    class Batches:
        def __iter__(self):
            return iter([train[:300], train[300:]])

    batched = detector.fit(Batches())
    np.testing.assert_array_equal(batched.decision_function(test), whole.decision_function(test))
    with pytest.raises(ValueError, match="X is an iterator"):
        detector.fit(iter([train]))


@pytest.mark.parametrize("name", MODELS)
def test_saves_and_pickles(name, digits, tmp_path):
    train, test, _ = digits
    model = clone(MODELS[name]).set_params(n_iter=2)
    detector = uf.AnomalyDetector(model, contamination=0.05).fit(train)
    detector.save(tmp_path / "d.safetensors")
    for other in (uf.load(tmp_path / "d.safetensors"), pickle.loads(pickle.dumps(detector))):
        np.testing.assert_array_equal(
            other.decision_function(test), detector.decision_function(test)
        )
        assert repr(other.get_params()) == repr(detector.get_params())
        assert other.n_features_in_ == 64


def test_bad_input(digits, tmp_path):
    train = digits[0]
    for value in (0, 0.6, -1, np.nan, "much"):
        with pytest.raises(ValueError, match="contamination"):
            quick(value).fit(train)
    for value in (None, True, [0.1]):
        with pytest.raises(TypeError, match="contamination"):
            quick(value).fit(train)
    for value in (StandardScaler(), uf.RBM, 3):
        with pytest.raises(TypeError, match="estimator"):
            uf.AnomalyDetector(value).fit(train)
    with pytest.raises(TypeError, match="PCA is not registered"):
        uf.AnomalyDetector(PCA(3)).fit(train).save(tmp_path / "d.safetensors")
    quick().fit(train).save(tmp_path / "d.safetensors")
    tensors, meta, name = uf.io.load_state(tmp_path / "d.safetensors")
    meta["model"] = "Unheard"
    uf.io.save_tensors(tmp_path / "e.safetensors", tensors, {"model": name, "state": meta})
    with pytest.raises(ValueError, match="Unheard"):
        uf.load(tmp_path / "e.safetensors")

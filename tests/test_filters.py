"""Filters of hidden units of any layer."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import unsupfast as uf

DIGITS = load_digits()
X = (DIGITS.data / 16).astype(np.float32)
DBN = uf.DBN((20, 15), n_iter=3, batch_size=20, labels=True, random_state=0).fit(X, DIGITS.target)
MODELS = {
    "dbn": DBN,
    "rbm": DBN.layers_[0],
    "autoencoder": uf.Autoencoder((20, 15), n_iter=2, random_state=0).fit(X),
    "classifier": uf.DBNClassifier((20, 15), n_iter=2, pretrain=None).fit(X, DIGITS.target),
}


def weights(model):
    if hasattr(model, "network_"):
        return [layer.weight.T for layer in model.network_.encoder.layers]
    return [rbm.components_ for rbm in getattr(model, "layers_", [model])]


@pytest.mark.parametrize("name", MODELS)
def test_of_the_first_layer_they_are_its_weights(name):
    model = MODELS[name]
    first = weights(model)[0]
    np.testing.assert_array_equal(uf.filters.linear(model, 1), first)
    found = uf.filters.maximising(model, 1, 5.0, random_state=0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 5, rtol=1e-5)
    expected = 5 * first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["dbn", "autoencoder", "classifier"])
def test_of_higher_layers_they_activate_units_the_most(name):
    model = MODELS[name]
    first, second = weights(model)
    second = second[:, :20]
    np.testing.assert_allclose(uf.filters.linear(model, 2), second @ first, rtol=1e-4, atol=1e-5)
    best = np.argsort(-np.abs(second[3]))[:2]
    few = uf.filters.linear(model, 2, strongest=2)[3]
    np.testing.assert_allclose(few, second[3, best] @ first[best], rtol=1e-4, atol=1e-5)

    bias = MODELS[name].layers_[0].intercept_hidden_ if name == "dbn" else (
        model.network_.encoder.layers[0].bias.data)  # fmt: skip

    def total(x):
        return (1 / (1 + np.exp(-(x @ first.T + bias)))) @ second.T

    found = uf.filters.maximising(model, 2, 5.0, units=[3, 7], random_state=0)
    assert found.shape == (2, 64)
    reached = total(found)[[0, 1], [3, 7]]
    linear = uf.filters.linear(model, 2)[[3, 7]]
    linear *= 5 / np.linalg.norm(linear, axis=1, keepdims=True)
    noise = np.random.default_rng(0).standard_normal((2000, 64))
    noise *= 5 / np.linalg.norm(noise, axis=1, keepdims=True)
    assert (reached >= total(linear)[[0, 1], [3, 7]] - 1e-3).all()
    assert (reached > total(noise).max(axis=0)[[3, 7]]).all()


def test_errors_name_the_argument():
    for call, message in [
        (lambda: uf.filters.linear(DBN, 3), "layer is 3; expected one from 1 to 2"),
        (lambda: uf.filters.linear(DBN, 2, strongest=0), "strongest is 0"),
        (lambda: uf.filters.maximising(DBN, 2, -1.0), r"norm is -1\.0"),
        (lambda: uf.filters.maximising(DBN, 2, 1.0, units=[15]), "units has 15; layer 2 has 15"),
        (lambda: uf.filters.maximising(DBN, 2, 1.0, units=[]), "units is"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()

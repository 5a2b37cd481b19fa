"""Fine-tuning by conjugate gradients and L-BFGS, and with dropout."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_digits

import unsupfast as uf
from unsupfast import nn, ops, optim
from unsupfast.autograd import grad

METHODS = ["cg", "lbfgs", optim.ConjugateGradient(2), optim.LBFGS(iterations=5)]


def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:600] / 16).astype(np.float32), y[:600]


def autoencoder(**options):
    settings = {"n_iter": 3, "batch_size": 200, "random_state": 0, **options}
    return uf.Autoencoder((30, 8), **settings)


def classifier(**options):
    settings = {"pretrain": None, "n_iter": 3, "batch_size": 200, "random_state": 0, **options}
    return uf.StackedAutoencoderClassifier((40, 20), **settings)


def assert_same(a, b):
    state, other = a.network_.get_state(), b.network_.get_state()
    assert state.keys() == other.keys()
    for name in state:
        np.testing.assert_array_equal(state[name], other[name])


# ---------------------------------------------------------------------------------- line searches


@pytest.mark.parametrize("searches", [optim.ConjugateGradient(200), optim.LBFGS(200)])
def test_a_convex_problem_is_solved_as_scipy_solves_it(searches):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((60, 5)), rng.random((60, 1))
    layer = nn.Dense(5, 1, rng=rng, dtype=np.float64)
    inside = ops.to_panels(np.ones((5, 1)))
    optimizer = optim.make_optimizer(searches, weight_decay=0.3)

    def evaluate():
        loss = ops.loss(layer(x), t, kind="bernoulli")
        gradients = grad(loss, layer.parameters())
        return float(loss.data), [gradients[0] * inside, gradients[1]]

    layer.weight = np.zeros((5, 1))
    assert optimizer.minimize(layer.parameters(), evaluate)

    def objective(w):  # the same, written out
        z = x @ w[:5] + w[5]
        value = np.mean(np.logaddexp(0, z) - t[:, 0] * z) + 0.15 * w[:5] @ w[:5]
        slope = (1 / (1 + np.exp(-z)) - t[:, 0]) / 60
        return value, np.append(x.T @ slope + 0.3 * w[:5], slope.sum())

    expected = minimize(objective, np.zeros(6), jac=True, method="BFGS").x
    np.testing.assert_allclose(layer.weight[:, 0], expected[:5], atol=1e-4)
    np.testing.assert_allclose(layer.bias.data, expected[5:], atol=1e-4)


@pytest.mark.parametrize("make", [autoencoder, classifier])
@pytest.mark.parametrize("method", METHODS)
def test_the_loss_falls_faster_by_epochs_than_by_gradient_descent(make, method):
    X, y = digits()
    target = () if make is autoencoder else (y,)
    searched = make(optimizer=method).fit(X, *target)
    plain = make(optimizer="sgd", learning_rate=0.1).fit(X, *target)
    assert searched.history_["loss"][-1] < plain.history_["loss"][-1]
    falling = np.diff(searched.history_["loss"])
    assert (falling < 0).all()


@pytest.mark.parametrize("make", [autoencoder, classifier])
@pytest.mark.parametrize("method", METHODS[::3])
def test_line_searches_resume_and_do_not_depend_on_threads(make, method, tmp_path, threads):
    X, y = digits()
    target = () if make is autoencoder else (y,)
    path = tmp_path / "c.safetensors"
    options = {"optimizer": method, "ema": 0.9, "weight_decay": 1e-4}
    threads(1)
    whole = make(**options).fit(X, *target)
    threads(3)
    part = make(**options).set_params(n_iter=1, checkpoint=path).fit(X, *target)
    rest = clone(part).set_params(n_iter=3, checkpoint=None, resume=path).fit(X, *target)
    assert_same(whole, rest)
    assert whole.history_["loss"] == rest.history_["loss"]
    whole.save(tmp_path / "m.safetensors")
    loaded = uf.load(tmp_path / "m.safetensors")
    assert loaded.optimizer == method
    assert_same(whole, loaded)


def test_line_searches_refuse_what_they_cannot_do():
    X, _ = digits()
    with pytest.raises(ValueError, match=r"optimizer is 'cg'.* without noise.*VAE draws codes"):
        uf.VAE((8,), optimizer="cg").fit(X)
    for name in ("clip_norm", "clip_value"):
        with pytest.raises(ValueError, match=f"{name} is 1.0; expected None with optimizer"):
            autoencoder(optimizer=optim.LBFGS(), **{name: 1.0}).fit(X)
    with pytest.raises(ValueError, match="iterations is 0; expected a positive integer"):
        optim.ConjugateGradient(0)
    with pytest.raises(ValueError, match=r"expected 'sgd'.*or a ConjugateGradient"):
        autoencoder(optimizer=optim.LBFGS).fit(X)


def test_line_searches_notice_divergence():
    X, _ = digits()
    model = autoencoder(optimizer="cg", loss="mse", activation="relu", n_iter=1).fit(X)
    before = model.network_.get_state()
    X = X.astype(np.float64).astype(np.float32)
    X[0, 0] = 3e38  # its square overflows
    with pytest.raises(uf.DivergenceError, match="not finite"):
        model.partial_fit(X)
    for name, value in model.network_.get_state().items():
        np.testing.assert_array_equal(value, before[name])


# ---------------------------------------------------------------------------------------- dropout


def test_dropout_fine_tunes_the_same_for_any_number_of_threads_and_resumes(tmp_path, threads):
    X, y = digits()
    path = tmp_path / "c.safetensors"
    threads(1)
    whole = classifier(dropout=0.3).fit(X, y)
    threads(3)
    part = classifier(dropout=0.3, n_iter=1, checkpoint=path).fit(X, y)
    rest = clone(part).set_params(n_iter=3, checkpoint=None, resume=path).fit(X, y)
    assert_same(whole, rest)
    assert whole.history_["loss"] == rest.history_["loss"]
    without = classifier().fit(X, y)
    assert whole.history_["loss"] != without.history_["loss"]


def test_predictions_use_all_units():
    X, y = digits()
    model = classifier(dropout=0.5, n_iter=2).fit(X, y)
    same = classifier(n_iter=0).fit(X, y)
    same.network_.set_state(model.network_.get_state())
    np.testing.assert_array_equal(model.predict_proba(X), same.predict_proba(X))
    assert model.fit(X, y).score(X, y) == same.score(X, y)


def test_dropout_learns_by_every_optimiser():
    X, y = digits()
    for optimizer in ("adam", "cg"):
        model = classifier(dropout=0.2, n_iter=40, learning_rate=0.02, optimizer=optimizer)
        assert model.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("rate", [1.0, -0.1])
def test_bad_rates_are_refused(rate):
    X, y = digits()
    with pytest.raises(ValueError, match="dropout is"):
        classifier(dropout=rate).fit(X, y)
    with pytest.raises(TypeError, match="dropout is 'half'"):
        classifier(dropout="half").fit(X, y)

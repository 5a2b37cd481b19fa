"""Deep Boltzmann machines: against enumeration, in training, files."""

import itertools
import os
import signal
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import special
from sklearn.datasets import load_digits

import unsupfast as uf
from unsupfast import _core

DIGITS = (load_digits().data / 16).astype(np.float32)
WIDTHS = [(3,), (4, 3), (4, 3, 5), (3, 2, 3, 2)]
VISIBLES = 5


def states_of(n):
    return np.array(list(itertools.product([0.0, 1.0], repeat=n)))


def random_model(widths, visibles=VISIBLES, seed=0, dtype=np.float64, **options):
    """Weights large enough that mean field is wrong by something."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, (20, visibles)).astype(dtype)
    options = {"mean_field_iter": 500, "mean_field_tol": 1e-13, "random_state": 0, **options}
    model = uf.DBM(widths, n_iter=0, **options).fit(X)
    model.components_ = [rng.normal(0, 1, w.shape).astype(dtype) for w in model.components_]
    model.intercepts_ = [rng.normal(0, 0.5, b.shape).astype(dtype) for b in model.intercepts_]
    return model


def log_weights(model, v):
    """log sum_h exp(-E(v, h)) of rows, the layers summed over one by one from the top."""
    above = 0.0
    for i in range(len(model.components_), 0, -1):
        own = states_of(model.components_[i - 1].shape[0])
        below = v if i == 1 else states_of(model.components_[i - 2].shape[0])
        terms = own @ model.intercepts_[i] + above + below @ model.components_[i - 1].T @ own.T
        above = special.logsumexp(terms, axis=1)
    return above + v @ model.intercepts_[0]


def log_z(model):
    return special.logsumexp(log_weights(model, states_of(len(model.intercepts_[0]))))


# ------------------------------------------------------------------ against enumeration


@pytest.mark.parametrize("widths", WIDTHS)
def test_likelihood_is_that_of_enumeration(widths):
    model = random_model(widths)
    X = states_of(VISIBLES)
    exact = log_weights(model, X) - log_z(model)
    assert model.log_partition("exact").value == pytest.approx(log_z(model), abs=1e-10)
    assert model.log_likelihood(X, "exact").value == pytest.approx(exact.mean(), abs=1e-10)
    bound = model.score_samples(X) - log_z(model)
    assert (bound <= exact + 1e-10).all()
    if len(widths) == 1:  # nothing is approximated
        np.testing.assert_allclose(bound, exact, atol=1e-10)
    else:
        assert (bound < exact - 1e-3).any()
        assert (bound > exact - 2).all()


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("method", ["ais", "reverse_ais"])
def test_annealing_finds_log_z(widths, method):
    model = random_model(widths)
    found = model.log_partition(method, n_chains=500, n_temperatures=500)
    low, high = found.interval
    assert found.method == method
    assert high - low < 0.1
    # the interval is one of 95 %: three times as wide, it misses once in 10^8
    assert abs(found.value - log_z(model)) < 1.5 * (high - low)
    bound = model.log_likelihood(states_of(VISIBLES), method, n_chains=500, n_temperatures=500)
    score = model.score_samples(states_of(VISIBLES)).mean()
    assert bound.value == pytest.approx(score - found.value, abs=1e-9)
    assert bound.interval == pytest.approx((score - high, score - low), abs=1e-9)


@pytest.mark.parametrize("widths", WIDTHS)
def test_mean_field_is_a_fixed_point(widths):
    model = random_model(widths)
    X = states_of(VISIBLES)
    means = model.mean_field(X)
    layers = [X, *means]
    for i, mu in enumerate(means, 1):
        field = layers[i - 1] @ model.components_[i - 1].T + model.intercepts_[i]
        if i < len(means):
            field += layers[i + 1] @ model.components_[i]
        np.testing.assert_allclose(mu, special.expit(field), atol=1e-10)
        np.testing.assert_array_equal(model.transform(X, layer=i), mu)
    np.testing.assert_array_equal(model.transform(X), means[-1])
    back = special.expit(means[0] @ model.components_[0] + model.intercepts_[0])
    np.testing.assert_allclose(model.reconstruct(X), back, atol=1e-12)


def test_more_sweeps_raise_the_bound_and_rows_do_not_meet():
    model = random_model((4, 3, 5), mean_field_tol=0)
    X = states_of(VISIBLES)
    scores = []
    for sweeps in (1, 2, 4, 8, 300):
        scores.append(model.set_params(mean_field_iter=sweeps).score_samples(X))
    assert (np.diff(scores, axis=0) >= -1e-10).all()
    assert (scores[-1] > scores[0] + 1e-3).any()
    model.set_params(mean_field_iter=100, mean_field_tol=1e-3)
    whole = model.transform(X)
    for i in (0, 7, 31):
        np.testing.assert_array_equal(model.transform(X[i : i + 1])[0], whole[i])
    np.testing.assert_array_equal(model.transform(sp.csr_matrix(X)), whole)


@pytest.mark.parametrize("widths", WIDTHS)
def test_chains_stay_at_the_exact_distribution(widths):
    model = random_model(widths)
    n = 40_000
    start = model._machine().sample_exact(n, np.random.default_rng(1))
    states, _ = model._synced_core().gibbs(start, 3, None, 5)
    X = states_of(VISIBLES)
    p = np.exp(log_weights(model, X) - log_z(model))
    at = (states[:, :VISIBLES] @ 2 ** np.arange(VISIBLES)[::-1]).astype(int)
    counts = np.bincount(at, minlength=len(p))
    assert (np.abs(counts / n - p) < 5 * np.sqrt(p * (1 - p) / n)).all()
    # and come to it: from wherever chains start
    far = model.sample(n, 200, random_state=3)
    counts = np.bincount((far @ 2 ** np.arange(VISIBLES)[::-1]).astype(int), minlength=len(p))
    assert (np.abs(counts / n - p) < 5 * np.sqrt(p * (1 - p) / n)).all()


def test_clamped_samples_are_of_the_conditional_distribution():
    model = random_model((4, 3))
    clamp = np.full(VISIBLES, np.nan)
    clamp[[0, 3]] = 1, 0
    n = 20_000
    drawn = model.sample(n, 100, clamp=clamp, random_state=0)
    assert (drawn[:, 0] == 1).all()
    assert (drawn[:, 3] == 0).all()
    X = states_of(VISIBLES)
    X = X[(X[:, 0] == 1) & (X[:, 3] == 0)]
    p = special.softmax(log_weights(model, X))
    mean = p @ X
    assert (np.abs(drawn.mean(axis=0) - mean) <= 5 * 0.5 / np.sqrt(n)).all()
    means = model.sample(n, 100, clamp=clamp, mean=True, random_state=0)
    assert (np.abs(means.mean(axis=0) - mean) <= 5 * 0.5 / np.sqrt(n)).all()


# ------------------------------------------------------------------ the gradient


def one_update(model, X, chains, weight=None, **options):
    """The changes of weights and biases in one step of rate 1."""
    model = uf.DBM(**{**model.get_params(), "momentum": 0.0, "k": 1, **options})
    source = random_model(model.hidden_layer_sizes)
    model.fit(X[:1])
    model.components_, model.intercepts_ = source.components_, source.intercepts_
    model.h_samples_, model._optimizer, model._step = chains, None, 0
    model._data_mean = X.mean(axis=0)
    model.set_params(learning_rate=1.0)
    model._train_rows(X, np.arange(len(X)), weight, 0, len(X))
    weights = [new - old for new, old in zip(model.components_, source.components_, strict=True)]
    biases = [new - old for new, old in zip(model.intercepts_, source.intercepts_, strict=True)]
    return weights, biases


def exact_chains(model, n):
    """States of the odd layers, drawn from the model."""
    machine = model._machine()
    even = machine.sample_exact(n, np.random.default_rng(2))
    p = special.expit(even @ machine.weights + machine.hidden_bias)
    return (np.random.default_rng(3).random(p.shape) < p).astype(np.float64)


@pytest.mark.parametrize("widths", [(3,), (4, 3), (3, 2, 3)])
def test_the_gradient_with_exact_chains_is_that_of_the_bound(widths):
    model = random_model(widths, centering=False)
    X = np.random.default_rng(4).integers(0, 2, (30, VISIBLES)).astype(np.float64)
    n = 100_000
    weights, biases = one_update(model, X, exact_chains(model, n))

    def value():
        return model.score_samples(X).mean() - log_z(model)

    for array, change in zip(
        [*model.components_, *model.intercepts_], [*weights, *biases], strict=True
    ):
        for index in np.ndindex(array.shape):
            kept, ends = array[index], []
            for step in (1e-4, -1e-4):
                array[index] = kept + step
                ends.append(value())
            array[index] = kept
            assert change[index] == pytest.approx((ends[0] - ends[1]) / 2e-4, abs=5 * 0.5 / n**0.5)


def test_the_centred_gradient():
    model = random_model((4, 3, 2))
    X = np.random.default_rng(4).integers(0, 2, (30, VISIBLES)).astype(np.float64)
    chains = exact_chains(model, 50)
    weights, biases = one_update(model, X, chains, centering=False)
    centred_weights, centred_biases = one_update(model, X, chains, centering=True)
    offsets = [X.mean(axis=0), *(mu.mean(axis=0) for mu in model.mean_field(X))]
    expected = [
        w - np.outer(biases[i + 1], offsets[i]) - np.outer(offsets[i + 1], biases[i])
        for i, w in enumerate(weights)
    ]
    shifted = [b.copy() for b in biases]
    for i, w in enumerate(expected):
        shifted[i] -= offsets[i + 1] @ w
        shifted[i + 1] -= w @ offsets[i]
    for found, wanted in zip(
        [*centred_weights, *centred_biases], [*expected, *shifted], strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_weighted_rows_and_decay():
    model = random_model((4, 3), centering=False)
    X = np.random.default_rng(4).integers(0, 2, (6, VISIBLES)).astype(np.float64)
    chains = exact_chains(model, 50)
    twice = one_update(model, np.vstack([X, X[:2]]), chains)
    weighted = one_update(model, X, chains, np.array([2.0, 2, 1, 1, 1, 1]))
    for one, other in zip(itertools.chain(*twice), itertools.chain(*weighted), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
    decayed = one_update(model, X, chains, weight_decay=0.5)[0]
    for w, plain, found in zip(
        model.components_, one_update(model, X, chains)[0], decayed, strict=True
    ):
        np.testing.assert_allclose(found, plain - 0.5 * w, atol=1e-9)


def test_sparsity_pushes_activities_to_the_target():
    X = (DIGITS > 0.5).astype(np.float32)
    options = {"n_iter": 20, "learning_rate": 0.05, "random_state": 0}
    plain = uf.DBM((20, 15), **options).fit(X)
    sparse = uf.DBM((20, 15), sparsity_target=0.2, sparsity_cost=0.5, **options).fit(X)
    for one, other in zip(plain.mean_field(X), sparse.mean_field(X), strict=True):
        assert abs(other.mean() - 0.2) < 0.5 * abs(one.mean() - 0.2)


# ------------------------------------------------------------------ training


def bars(n=500):
    """3 x 3 images of some rows, or of some columns, on."""
    rng = np.random.default_rng(0)
    on = rng.integers(0, 2, (n, 3))
    rows, columns = np.repeat(on, 3, axis=1), np.tile(on, 3)
    return np.where(rng.random((n, 1)) < 0.5, rows, columns).astype(np.float64)


@pytest.mark.parametrize("widths", [(6, 4), (5, 4, 3)])
@pytest.mark.parametrize("options", [{}, {"centering": False}, {"pretrain": "rbm"}])
def test_training_raises_the_likelihood(widths, options):
    X = bars()
    values = []
    for epochs in (0, 200):
        model = uf.DBM(
            widths, n_iter=epochs, batch_size=50, learning_rate=0.3, random_state=0, **options
        )
        values.append(model.fit(X).log_likelihood(X, "exact").value)
    # uniform is -6.24; the 14 images, two of them more often, are at -2.60; without centring
    # machines end anywhere between
    assert values[1] > max(values[0] + 1, -3.8 if options.get("centering", True) else -5)
    history = model.history_
    assert len(history["reconstruction_error"]) == 200
    assert history["reconstruction_error"][-1] < history["reconstruction_error"][0]
    assert 1 <= history["mean_field_sweeps"][-1] <= 10


def test_doubled_machines_put_together():
    X = bars()
    machines = [uf.RBM(method="cd", n_iter=2, batch_size=50) for _ in range(3)]
    model = uf.DBM((6, 5, 4), n_iter=0, pretrain=machines, random_state=0).fit(X)
    below, gains, found = X, [(2.0, 1.0), (1.0, 1.0), (1.0, 2.0)], []
    for i, (rbm, width) in enumerate(zip(machines, (6, 5, 4), strict=True)):
        seed = int(np.random.default_rng([model._seed, 4, i]).integers(2**31))
        rbm.set_params(n_components=width, random_state=seed)._gains = gains[i]
        found.append(rbm.fit(below))
        up = gains[i][0] * (below @ rbm.components_.T) + rbm.intercept_hidden_
        below = rbm.transform(below)
        np.testing.assert_allclose(below, special.expit(up), atol=1e-12)
    down = 2 * (below @ found[2].components_) + found[2].intercept_visible_
    np.testing.assert_allclose(found[2].inverse_transform(below), special.expit(down), atol=1e-12)
    for w, rbm, factor in zip(model.components_, found, (1, 0.5, 1), strict=True):
        np.testing.assert_array_equal(w, factor * rbm.components_)
    between = (found[0].intercept_hidden_ + found[1].intercept_visible_) / 2
    np.testing.assert_array_equal(model.intercepts_[1], between)
    np.testing.assert_array_equal(model.intercepts_[3], found[2].intercept_hidden_)
    assert uf.RBM(3, n_iter=0).fit(X)._gains == (1.0, 1.0)


def test_gaussian_visibles():
    rng = np.random.default_rng(0)
    X = (rng.normal(0, 0.5, (400, 4)) + rng.choice([-1, 1], (400, 1))).astype(np.float64)
    before = uf.DBM((4, 3), visible="gaussian", n_iter=0, random_state=0).fit(X)
    model = uf.DBM(
        (4, 3), visible="gaussian", n_iter=100, batch_size=50, learning_rate=0.05, random_state=0
    ).fit(X)
    gain = model.log_likelihood(X, "exact").value - before.log_likelihood(X, "exact").value
    assert gain > 0.5
    low, high = model.log_partition("ais", n_temperatures=2000).interval
    assert abs(model.log_partition("exact").value - (low + high) / 2) < 1.5 * (high - low) + 1e-3
    assert model.score_samples(X).mean() <= model.log_likelihood(X, "exact").value + (
        model.log_partition("exact").value + 1e-9
    )
    assert model.sample(5, 20).shape == (5, 4)


def test_units_of_several_kinds_train():
    kinds = uf.units.Mixed(((uf.units.Bernoulli(), 6), (uf.units.Softmax(3), 3)))
    rng = np.random.default_rng(0)
    X = np.hstack([bars(90)[:, :6], np.eye(3)[rng.integers(0, 3, 90)]])
    model = uf.DBM((4, 3), visible=kinds, n_iter=5, random_state=0).fit(X)
    assert (model.sample(20, 10)[:, 6:].sum(axis=1) == 1).all()
    found = model.log_partition("ais", n_temperatures=2000).interval
    assert found[0] - 0.05 < model.log_partition("exact").value < found[1] + 0.05


def arrays(model):
    return [*model.components_, *model.intercepts_, model.h_samples_]


def assert_same(one, other):
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_precisions_and_threads(precision):
    dtype = np.float64 if precision == "float64" else np.float32
    X = DIGITS.astype(dtype)
    before, models = uf.get_num_threads(), []
    for threads in (1, 2, 3):
        uf.set_num_threads(threads)
        model = uf.DBM((40, 30), n_iter=2, precision=precision, random_state=0)
        models.append(model.fit(X))
    uf.set_num_threads(before)
    assert_same(models[0], models[1])
    assert_same(models[0], models[2])
    assert models[0].transform(X).dtype == dtype


class Batches:
    """An iterable that can be read again."""

    def __init__(self, batches):
        self.batches = list(batches)

    def __iter__(self):
        return iter(self.batches)


def test_rows_come_in_any_form():
    options = {"n_iter": 2, "shuffle": False, "random_state": 0}
    X = (DIGITS > 0.5).astype(np.float32)
    dense = uf.DBM((20, 15), **options).fit(X)
    assert_same(dense, uf.DBM((20, 15), **options).fit(sp.csr_matrix(X)))
    stream = Batches(X[i : i + 300] for i in range(0, len(X), 300))
    assert_same(dense, uf.DBM((20, 15), **options).fit(stream))
    started = uf.DBM((20, 15), pretrain="rbm", pretrain_iter=1, **options).fit(stream)
    assert started.transform(X).shape == (len(X), 15)
    with pytest.raises(ValueError, match="read once only"):
        uf.DBM((20, 15), pretrain="rbm", n_iter=1).fit(iter(stream))


def test_partial_fit():
    model = uf.DBM((20, 15), random_state=0)
    for start in range(0, 600, 100):
        assert model.partial_fit(DIGITS[start : start + 100]) is model
    assert model.transform(DIGITS).shape == (len(DIGITS), 15)
    with pytest.raises(uf.DivergenceError):
        model.set_params(learning_rate=1e200).partial_fit(DIGITS[:100])
    assert all(np.isfinite(a).all() for a in arrays(model))


# ------------------------------------------------------------------ files, and what goes wrong


def test_saved_models_are_the_same(tmp_path):
    model = uf.DBM(
        (20, 15), n_iter=2, momentum=0.5, pretrain=uf.RBM(method="cd", n_iter=1), random_state=0
    ).fit(DIGITS)
    model.save(tmp_path / "m.safetensors")
    again = uf.load(tmp_path / "m.safetensors")
    assert isinstance(again, uf.DBM)
    assert_same(model, again)
    assert again.history_ == model.history_
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again.score_samples(DIGITS), model.score_samples(DIGITS))
    np.testing.assert_array_equal(
        again.sample(4, 5, random_state=1), model.sample(4, 5, random_state=1)
    )
    assert again.log_partition(n_temperatures=50) == model.log_partition(n_temperatures=50)


@pytest.mark.parametrize("pretrain", [None, "rbm"])
def test_a_resumed_training_is_the_same(tmp_path, pretrain):
    path = tmp_path / "c.safetensors"
    options = {
        "momentum": 0.5, "pretrain": pretrain, "pretrain_iter": 1, "random_state": 0,
        "validation_fraction": 0.1, "sparsity_target": 0.1,
    }  # fmt: skip
    whole = uf.DBM((20, 15), n_iter=4, **options).fit(DIGITS)
    uf.DBM((20, 15), n_iter=2, checkpoint=path, **options).fit(DIGITS)
    rest = uf.DBM((20, 15), n_iter=4, resume=path, **options).fit(DIGITS)
    assert_same(whole, rest)
    for name in ("reconstruction_error", "free_energy_gap", "mean_field_sweeps"):
        assert whole.history_[name] == rest.history_[name]
    with pytest.raises(ValueError, match=r"holds layers of \[64, 20, 15\] units"):
        uf.DBM((20, 16), resume=path).fit(DIGITS)
    uf.RBM(5, n_iter=0).fit(DIGITS).save(path)
    with pytest.raises(ValueError, match="model of class RBM; expected DBM"):
        uf.DBM((20, 15), resume=path).fit(DIGITS)


def test_early_stopping_keeps_the_best_epoch(tmp_path):
    path = tmp_path / "c.safetensors"
    options = {"validation_fraction": 0.2, "patience": 2, "random_state": 0, "checkpoint": path}
    model = uf.DBM((20, 15), n_iter=60, learning_rate=0.5, momentum=0.9, **options).fit(DIGITS)
    score = model.history_["validation_score"]
    assert model.n_iter_ == np.argmax(score) + 1
    assert len(score) == min(60, model.n_iter_ + 2)
    assert_same(model, uf.DBM((20, 15), n_iter=60, resume=path, **options).fit(DIGITS))


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_training_leaves_a_model():
    model = uf.DBM((200, 100), n_iter=10_000, random_state=0)
    timer = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(DIGITS)
    timer.join()
    assert all(np.isfinite(a).all() for a in arrays(model))
    assert model.transform(DIGITS).shape == (len(DIGITS), 100)


def test_divergence_is_told():
    model = uf.DBM((20, 15), n_iter=3, learning_rate=[0.01, 1e200], random_state=0)
    with pytest.raises(uf.DivergenceError, match="of epoch 2"):
        model.fit(DIGITS)
    assert_same(model, uf.DBM((20, 15), n_iter=1, learning_rate=0.01, random_state=0).fit(DIGITS))


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"hidden_layer_sizes": ()}, TypeError, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (5, 0)}, ValueError, "widths of at least 1"),
        ({"mean_field_iter": 0}, ValueError, "mean_field_iter is 0"),
        ({"mean_field_tol": -1.0}, ValueError, r"mean_field_tol is -1\.0"),
        ({"precision": "int16"}, ValueError, "precision is 'int16'"),
        ({"visible": "replicated_softmax"}, ValueError, "ReplicatedSoftmax units"),
        ({"visible": "drelu"}, ValueError, "DoubleReLU units"),
        ({"pretrain": "cd"}, ValueError, "pretrain is 'cd'"),
        ({"pretrain": [uf.RBM()]}, ValueError, "pretrain has 1 machines for the 2 layers"),
        ({"pretrain": [uf.RBM(), 3]}, TypeError, "pretrain has 3; expected RBM"),
        ({"pretrain": uf.RBM(hidden="relu")}, ValueError, "expected hidden='bernoulli'"),
        (
            {"pretrain": [uf.RBM(visible="gaussian"), uf.RBM()]},
            ValueError,
            "for layer 1; expected visible='bernoulli'",
        ),
        ({"pretrain_iter": 0}, ValueError, "pretrain_iter is 0"),
        ({"k": 0}, ValueError, "k is 0"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate is -1"),
        ({"device": "gpu"}, ValueError, "device is 'gpu'"),
        ({"device": "cuda:63"}, ValueError, "device is 'cuda:63'"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        uf.DBM(**{"hidden_layer_sizes": (5, 4), **options}).fit(DIGITS)


def test_bad_calls():
    model = uf.DBM((5, 4), n_iter=0, random_state=0).fit(DIGITS)
    for call, error, message in (
        (lambda: model.transform(DIGITS, layer=3), ValueError, "layer is 3; expected one from 1"),
        (lambda: model.transform(DIGITS, layer="all"), TypeError, "layer is 'all'"),
        (lambda: model.sample(-1), ValueError, "n_samples is -1"),
        (lambda: model.sample(2, clamp=[1.0]), ValueError, "clamp has shape"),
        (lambda: model.log_partition("mcmc"), ValueError, "method is 'mcmc'"),
        (lambda: model.log_partition(n_chains=0), ValueError, "n_chains is 0"),
        (lambda: model.fit(np.full((4, 3), np.nan)), ValueError, "NaN"),
    ):
        with pytest.raises(error, match=message):
            call()
    wide = uf.DBM((30, 30, 30), n_iter=0).fit(DIGITS)
    with pytest.raises(ValueError, match="use method='ais'"):
        wide.log_partition("exact")


@pytest.mark.kernels
def test_the_compiled_machine_checks_what_it_is_given():
    layers = [[("bernoulli", 3, 1)], [("bernoulli", 2, 1)], [("bernoulli", 2, 1)]]
    core = _core.Dbm(layers, "float64", "float64")
    with pytest.raises(ValueError, match="0 and 1"):
        core.set_chains(np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="0 or 1"):
        core.gibbs(np.full((2, 5), 0.5), 1)
    with pytest.raises(ValueError, match="training needs chains"):
        core.train(np.zeros((2, 3)), np.arange(2), None, _core.TrainOptions(), 0.1, 1)
    with pytest.raises(ValueError, match="no such link"):
        core.get_link(2)
    with pytest.raises(ValueError, match="Bernoulli"):
        _core.Dbm([layers[0], [("gaussian", 2, 1)]], "float64", "float64")

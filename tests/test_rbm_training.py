"""Ways of training an RBM: tempered chains, fast weights, Adam, and the guards around a step."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_units import PAIRS, TOTAL, draws, machine, parameters

import unsupfast as uf

TINY = 1e-12  # a learning rate at which parameters stay as they are


def bimodal(**options):
    """A machine of two far modes, which plain Gibbs sampling does not cross, and its twin."""
    model = uf.RBM(2, random_state=0, **options)
    n = 8
    model._check_units(n)
    model._initialise(n, np.float64, np.random.RandomState(0))
    model.n_features_in_, model.random_state_ = n, np.random.RandomState(0)
    model.components_ = np.asfortranarray([[8.0] * n, [-8.0] * n])
    model.intercept_visible_ = np.zeros(n)
    model.intercept_hidden_ = np.array([-4.0 * n + 0.5, 4.0 * n])
    model._data_mean = np.full(n, 0.5)
    return model, model._machine()


def mode_shares(model, sweeps):
    """Share of the coldest chains whose first hidden unit is on, over sweeps."""
    X = np.zeros((1, 8))
    shares = []
    for _ in range(sweeps):
        model.partial_fit(X)
        shares.append(model.h_samples_[-model.batch_size :, 0].mean())
    return np.array(shares)


def test_tempered_chains_cross_between_modes_and_plain_ones_do_not():
    model, twin = bimodal(method="pt", k=2, n_temperatures=12, batch_size=400, learning_rate=TINY)
    states = twin.hidden.states()[1](np.arange(4))
    p = np.exp(twin._log_marginals(states, hidden=True) - twin.log_partition())
    exact = p[states[:, 0] == 1].sum()
    assert 0.3 < exact < 0.9
    model.h_samples_ = np.tile([0.0, 1.0], (4800, 1))  # all chains in one mode
    mode_shares(model, 300)  # the ladder adapts
    shares = mode_shares(model, 200)
    # 400 chains, of which many sweeps are nearly independent
    assert abs(shares.mean() - exact) < 0.03
    assert (model.swap_rates_ > 0.2).all()
    assert model.temperatures_[0] == 0
    assert model.temperatures_[-1] == 1
    assert (np.diff(model.temperatures_) > 0).all()
    plain, _ = bimodal(method="pcd", batch_size=400, learning_rate=TINY)
    plain.h_samples_ = np.tile([0.0, 1.0], (400, 1))
    assert mode_shares(plain, 100)[-1] < 0.01


@pytest.mark.parametrize("pair", PAIRS)
def test_tempered_chains_keep_the_distribution_of_the_model(pair):
    """Started at the model's distribution, at every temperature."""
    model, twin = machine(
        pair, seed=6, method="pt", n_temperatures=3, batch_size=4000, learning_rate=TINY
    )
    v = twin.sample_exact(12_000, np.random.default_rng(0))
    h = model._synced_core().hidden_given_visible(v, "sample", 7)
    model.h_samples_ = np.ascontiguousarray(h)
    if model._visible_layer.has("multinomial"):
        model._chain_totals = np.full(12_000, float(TOTAL))
    before = h[8000:].mean(axis=0)
    for _ in range(4):
        model.partial_fit(v[:5])
    # exchanges bring states of hotter chains, which are not yet at their own distribution,
    # so that only the mean of the first sweeps is bounded loosely: no bias of many errors
    after = model.h_samples_[8000:].mean(axis=0)
    spread = h.std(axis=0) / 4000**0.5
    assert (np.abs(after - before) < 12 * spread + 0.12 * np.abs(h).mean()).all()


@pytest.mark.parametrize("method", ["fpcd", "pt"])
@pytest.mark.parametrize("pair", ["bernoulli-bernoulli", "gaussian-bernoulli", "counts-bernoulli",
                                  "mixed-bernoulli", "spin-drelu"])  # fmt: skip
def test_training_raises_the_likelihood(pair, method):
    visible, _, hidden, n_hidden = PAIRS[pair]
    X = draws(pair)
    model = uf.RBM(
        n_hidden, visible=visible, hidden=hidden, method=method, n_temperatures=4,
        learning_rate=0.02, n_iter=0, batch_size=20, random_state=0,
    )  # fmt: skip
    before = model.fit(X).log_likelihood(X, "exact").value
    model.set_params(n_iter=30).fit(X)
    assert model.log_likelihood(X, "exact").value > before + 0.05


def test_chains_are_sampled_with_the_fast_weights():
    """The model's side of an update is the mean under W plus fast weights."""
    n, rate = 40_000, 1e-6
    model, _ = machine(
        "bernoulli-bernoulli", seed=7, method="fpcd", learning_rate=rate, batch_size=n
    )
    other, _ = machine("bernoulli-bernoulli", seed=7, learning_rate=rate, batch_size=n)
    rng = np.random.default_rng(0)
    extra = rng.normal(0, 0.5, model.components_.shape)
    fast_visible, fast_hidden = rng.normal(0, 0.5, 5), rng.normal(0, 0.5, 3)
    other.components_ = np.asfortranarray(other.components_ + extra)
    other.intercept_visible_ = other.intercept_visible_ + fast_visible
    other.intercept_hidden_ = other.intercept_hidden_ + fast_hidden
    v = other._machine().sample_exact(n, rng)
    chains = other._synced_core().hidden_given_visible(v, "sample", 3)
    state = model._load_core().get_state()
    packed = np.zeros((1, 5, 32))
    packed[0, :, :3] = extra.T
    model._optimizer = {
        **state,
        "fast": np.resize(packed.ravel(), state["velocity"].shape),
        "fast_bias": np.concatenate([fast_visible, fast_hidden]),
    }
    model.h_samples_ = chains
    before = parameters(model)
    X = np.zeros((n, 5))
    model.partial_fit(X)
    update = (parameters(model) - before) / rate
    twin = other._machine()
    states = twin.visible.states()[1](np.arange(32))
    p = np.exp(-other.free_energy(states) - twin.log_partition())
    hidden = model.transform(states)  # gradients are those of the slow weights
    of_fast = other.transform(states)
    expected_visible = -(p @ states)
    assert_allclose(update[15:20], expected_visible, atol=0.012)
    data = model.transform(X[:1])[0]
    assert_allclose(update[20:23], data - p @ of_fast, atol=0.012)
    assert np.abs(p @ of_fast - p @ hidden).max() > 0.05  # the two are told apart


def test_fast_weights_decay():
    model, _ = machine(
        "bernoulli-bernoulli", seed=7, method="fpcd", learning_rate=TINY, batch_size=50
    )
    X = draws("bernoulli-bernoulli", 50)
    model.partial_fit(X)
    first = model._optimizer["fast"].copy()
    assert np.abs(first).max() > 0
    model.partial_fit(X)
    gradient = (model._optimizer["fast"] - 0.95 * first) / 0.02
    assert np.abs(gradient).max() < 1  # a contrast of means in [0, 1]


# ------------------------------------------------------------------ steps


def updates(steps=3, **options):
    """Parameters after each of some updates on the same rows from the same start."""
    X = draws("bernoulli-bernoulli", 40)
    model, _ = machine("bernoulli-bernoulli", seed=8, batch_size=40, method="cd", **options)
    found = [parameters(model)]
    for _ in range(steps):
        model.partial_fit(X)
        found.append(parameters(model))
    return np.array(found)


def test_adam_takes_the_steps_of_its_definition():
    rate = 1e-7  # so small that all gradients are those of the same parameters
    gradients = np.diff(updates(learning_rate=rate), axis=0) / rate
    steps = np.diff(updates(learning_rate=rate, optimizer="adam"), axis=0)
    m = v = 0.0
    for t, (g, step) in enumerate(zip(gradients, steps, strict=True), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        expected = rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        moved = np.abs(g) > 1e-3
        assert_allclose(step[moved], expected[moved], rtol=2e-2)


@pytest.mark.parametrize("centering", [False, True])
def test_the_norm_of_a_gradient_is_bounded(centering):
    rate = 1e-3
    whole = np.diff(updates(1, learning_rate=rate), axis=0)[0] / rate
    norm = np.linalg.norm(whole)
    cut = np.diff(updates(1, learning_rate=rate, clip_norm=norm / 4), axis=0)[0] / rate
    assert_allclose(cut, whole / 4, rtol=1e-6)
    free = np.diff(updates(1, learning_rate=rate, clip_norm=norm * 2), axis=0)[0] / rate
    assert_allclose(free, whole, rtol=1e-6)


def test_staged_and_fused_steps_agree():
    for options in ({"momentum": 0.5}, {"centering": True}, {"weight_decay": 0.1, "l1": 0.01}):
        fused = updates(3, learning_rate=0.1, **options)
        staged = updates(3, learning_rate=0.1, clip_norm=1e9, **options)
        assert_allclose(staged, fused, rtol=1e-10, atol=1e-12)


def test_the_weights_of_a_unit_are_bounded():
    """A large step is cut to the bound, in its direction; a small one is not."""
    free = updates(1, learning_rate=50.0)[-1][:15].reshape(3, 5)
    cut = updates(1, learning_rate=50.0, max_norm=0.3)[-1][:15].reshape(3, 5)
    norms = np.linalg.norm(free, axis=1, keepdims=True)
    assert (norms > 0.3).all()
    assert_allclose(cut, 0.3 * free / norms, rtol=1e-12)
    wide = updates(1, learning_rate=50.0, max_norm=norms.max() + 1)[-1][:15].reshape(3, 5)
    assert_array_equal(wide, free)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "adam", "centering": True},
        {"method": "fpcd"},
        {"method": "fpcd", "optimizer": "adam", "precision": "int16"},
        {"method": "pt", "n_temperatures": 4, "clip_norm": 1.0},
        {"method": "pt", "n_temperatures": 3, "precision": "int16"},
    ],
    ids=str,
)
def test_files_and_resumption_are_bitwise(options, tmp_path):
    X = draws("bernoulli-bernoulli", 60).astype(np.float32)
    common = {"learning_rate": 0.01, "batch_size": 10, "random_state": 1, **options}
    whole = uf.RBM(3, n_iter=4, **common).fit(X)
    uf.RBM(3, n_iter=2, checkpoint=tmp_path / "c", **common).fit(X)
    rest = uf.RBM(3, n_iter=4, resume=tmp_path / "c", **common).fit(X)
    assert_array_equal(parameters(rest), parameters(whole))
    assert_array_equal(rest.h_samples_, whole.h_samples_)
    assert_array_equal(rest.temperatures_, whole.temperatures_)
    whole.save(tmp_path / "m")
    loaded = uf.load(tmp_path / "m")
    assert_array_equal(parameters(loaded.partial_fit(X)), parameters(whole.partial_fit(X)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "magic"}, ValueError, "method is 'magic'.*'pt'"),
        ({"optimizer": "lion"}, ValueError, "optimizer is 'lion'.*'adam'"),
        ({"n_temperatures": 1}, ValueError, "n_temperatures is 1; expected at least 2"),
        ({"clip_norm": 0}, ValueError, "clip_norm is 0"),
        ({"max_norm": -1.0}, ValueError, "max_norm is -1"),
        ({"max_norm": "1"}, TypeError, "max_norm is '1'"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        uf.RBM(2, **options).fit(np.eye(4))

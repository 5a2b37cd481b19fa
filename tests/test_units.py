"""Kinds of unit: formulas against quadrature and enumeration, machines of every pair of kinds."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate
from scipy.special import logsumexp

import unsupfast as uf
from unsupfast import _core, units
from unsupfast.units import Layer

CONTINUOUS = {"gaussian": units.Gaussian(), "relu": units.ReLU(), "drelu": units.DoubleReLU()}
PLAIN = units.Gaussian(standardize=False)
SHAPE = (np.array([0.7]), np.array([-0.4]))

MIXED = units.Mixed(
    (
        (units.Bernoulli(), 2),
        (units.Softmax(3), 3),
        (units.Gaussian(), 1),
        (units.Spin(), 1),
        (units.DoubleReLU(), 1),
    )
)
# (visible, n_visible, hidden, n_hidden): every kind on either side, and mixtures
PAIRS = {
    "bernoulli-bernoulli": ("bernoulli", 5, "bernoulli", 3),
    "spin-bernoulli": ("spin", 5, "bernoulli", 3),
    "spin-spin": ("spin", 5, "spin", 3),
    "gaussian-bernoulli": (PLAIN, 4, "bernoulli", 3),
    "gaussian-spin": (PLAIN, 4, "spin", 3),
    "gaussian-softmax": (PLAIN, 4, units.Softmax(3), 6),
    "relu-bernoulli": ("relu", 4, "bernoulli", 3),
    "drelu-bernoulli": ("drelu", 4, "bernoulli", 3),
    "softmax-bernoulli": (units.Softmax(3), 6, "bernoulli", 3),
    "counts-bernoulli": ("replicated_softmax", 4, "bernoulli", 3),
    "bernoulli-gaussian": ("bernoulli", 5, "gaussian", 3),
    "bernoulli-relu": ("bernoulli", 5, "relu", 3),
    "spin-drelu": ("spin", 5, "drelu", 3),
    "softmax-drelu": (units.Softmax(3), 6, "drelu", 2),
    "counts-relu": ("replicated_softmax", 4, "relu", 3),
    "mixed-bernoulli": (MIXED, 8, "bernoulli", 3),
    "bernoulli-mixed": ("bernoulli", 5, MIXED, 8),
}
DISCRETE = units.Mixed(
    (
        (units.Bernoulli(), 2),
        (units.Softmax(3), 6),
        (units.Spin(), 1),
        (units.ReplicatedSoftmax(), 3),
    )
)
MORE = {"discrete-bernoulli": (DISCRETE, 12, "bernoulli", 3)}  # of single tests
TOTAL = 4  # words of a document


def machine(pair, seed=0, **options):
    """An RBM of these units with random parameters, and its exact twin."""
    visible, n_visible, hidden, n_hidden = {**PAIRS, **MORE}[pair]
    rng = np.random.default_rng([seed, len(pair)])
    model = uf.RBM(n_hidden, visible=visible, hidden=hidden, random_state=seed, **options)
    model._check_units(n_visible)
    model._initialise(n_visible, np.float64, np.random.RandomState(seed))
    model.n_features_in_ = n_visible
    model.random_state_ = np.random.RandomState(seed)
    model.components_ = np.asfortranarray(rng.normal(0, 0.5, (n_hidden, n_visible)))
    model.intercept_visible_ = rng.normal(0, 0.5, n_visible)
    model.intercept_hidden_ = rng.normal(0, 0.5, n_hidden)
    v, h = model._visible_layer, model._hidden_layer
    model.log_variance_ = np.where(v.mask("gaussian"), rng.normal(0, 0.3, n_visible), 0)
    for layer, shape in ((v, model.shape_visible_), (h, model.shape_hidden_)):
        shape[0] = np.where(layer.mask("drelu"), rng.normal(0.2, 0.3, layer.size), 0)
        shape[1] = np.where(layer.mask("drelu"), rng.uniform(-0.5, 0.5, layer.size), 0)
    model._data_mean = np.abs(v.mean(model.intercept_visible_[None])[0])
    return model, model._machine(total_of(model))


def total_of(model):
    return TOTAL if model._visible_layer.has("multinomial") else 1


def parameters(model):
    return np.concatenate(
        [
            np.ravel(getattr(model, name))
            for name in (
                "components_", "intercept_visible_", "intercept_hidden_", "log_variance_",
                "shape_visible_", "shape_hidden_",
            )
        ]
    )  # fmt: skip


# ------------------------------------------------------------------ single units


@pytest.mark.parametrize("x", [-9.0, -1.3, 0.0, 0.4, 6.0])
@pytest.mark.parametrize("kind", CONTINUOUS)
def test_formulas_are_integrals(kind, x):
    unit = CONTINUOUS[kind]
    low = 0 if kind == "relu" else -40

    def weight(y, power=0):
        log = x * y + unit.log_weight(np.array([[y]]), SHAPE)[0]
        return y**power * np.exp(log - x**2)

    cuts = [0.0, x] if low < x else [0.0]
    z, m = (
        integrate.quad(
            weight, low, 40, args=(p,), points=cuts, epsabs=1e-300, epsrel=1e-10, limit=400
        )[0]
        for p in (0, 1)
    )
    field = np.array([[x]])
    assert unit.log_partition(field, SHAPE)[0] == pytest.approx(np.log(z) + x**2, rel=1e-9)
    assert unit.mean(field, SHAPE)[0, 0] == pytest.approx(m / z, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("kind", [*CONTINUOUS, "bernoulli", "spin"])
def test_samples_have_the_means_and_variances_of_the_log_partition(kind, isa):
    unit = Layer.of(kind, 1, "visible").parts[0][0]
    x = np.array([-3.0, -0.5, 0.3, 2.0])
    n = 200_000
    shape = np.repeat(np.array(SHAPE), 4, axis=1)
    if kind == "gaussian":
        shape = np.ones((2, 4))
    sample = _core.conditional(
        kind, np.tile(x, (n, 1)), np.zeros(4), shape=shape if kind in CONTINUOUS else None, seed=3
    )["sample"]
    step = 1e-4

    def mean(field):
        return unit.mean(field[None], tuple(shape))[0]

    variance = (mean(x + step) - mean(x - step)) / (2 * step)  # A''
    error = np.sqrt(variance / n)
    assert (np.abs(sample.mean(axis=0) - mean(x)) < 5 * error + 1e-6).all()
    spread = sample.var(axis=0)
    kurtosis = ((sample - sample.mean(axis=0)) ** 4).mean(axis=0) - spread**2
    assert (np.abs(spread - variance) < 5 * np.sqrt(kurtosis / n) + 1e-6).all()


def test_groups_and_counts_are_drawn_with_their_probabilities(isa):
    x = np.tile([[0.3, -1.0, 1.2, 0.0, 2.0, -0.7]], (50_000, 1))
    for kind, unit, total in (
        ("softmax", units.Softmax(3), 1),
        ("multinomial", units.ReplicatedSoftmax(), 7),
    ):
        totals = np.full(len(x), float(total))
        sample = _core.conditional(kind, x, np.zeros(6), group=unit.group, totals=totals, seed=5)[
            "sample"
        ]
        assert_array_equal(np.unique(sample), np.arange(len(np.unique(sample))))
        if kind == "softmax":
            assert_array_equal(sample.reshape(-1, 2, 3).sum(axis=2), 1)
        else:
            assert_array_equal(sample.sum(axis=1), 7)
        mean = unit.mean(x[:1], totals=total)[0]
        assert (np.abs(sample.mean(axis=0) - mean) < 5 * np.sqrt(mean / len(x))).all()


# ------------------------------------------------------------------ machines


def double_sum(model, twin):
    """log Z by the definition: over visible states, quadrature nodes where they are real."""
    v, h = model._visible_layer, model._hidden_layer
    small, weights, big = (h, twin.weights.T, v) if h.discrete else (v, twin.weights, h)
    count, of = small.states(TOTAL if v.has("multinomial") else 1)
    total = []
    for state in of(np.arange(count)):
        field = state @ weights
        log = model_log_weight(model, twin, state, small is v)
        total.append(
            log + sum(unit_log_sum(model, twin, big, field, i, big is v) for i in pieces(big))
        )
    return logsumexp(total)


def pieces(layer):
    return [
        (unit, slice(i, i + (s.stop - s.start if unit.kind == "multinomial" else unit.group)))
        for unit, s in layer.parts
        for i in range(
            s.start, s.stop, s.stop - s.start if unit.kind == "multinomial" else unit.group
        )
    ]


def model_log_weight(model, twin, state, visible):
    bias = model.intercept_visible_ if visible else twin.total * model.intercept_hidden_
    return state @ bias  # of discrete units, whose weight is 1


def unit_log_sum(model, twin, layer, field, piece, visible):
    """log of the sum or integral over the states of one unit or group."""
    unit, s = piece
    bias = (model.intercept_visible_ if visible else twin.total * model.intercept_hidden_)[s]
    shape = (model.shape_visible_ if visible else model.shape_hidden_)[:, s]
    if unit.discrete:
        count, of = unit.states(s.stop - s.start, twin.total)
        return logsumexp(of(np.arange(count)) @ (field[s] + bias))
    y, step = np.linspace(-30, 30, 60_001, retstep=True)
    if unit.kind == "gaussian" and visible:
        variance = np.exp(model.log_variance_[s])
        log = -((y - bias) ** 2) / (2 * variance) + y * field[s] / variance
    else:
        log = y * (field[s] + bias)
        log = log + unit.log_weight(y[:, None], shape)
        if unit.kind == "relu":
            log = np.where(y < 0, -np.inf, log - np.log(2) * (y == 0))
    return logsumexp(log) + np.log(step)


@pytest.mark.parametrize("pair", PAIRS)
def test_log_partition_is_the_sum_over_all_states(pair):
    model, twin = machine(pair)
    assert twin.log_partition() == pytest.approx(double_sum(model, twin), abs=2e-6)


@pytest.mark.parametrize("pair", PAIRS)
def test_annealing_finds_the_partition_function(pair):
    model, twin = machine(pair, seed=1)
    exact = twin.log_partition()
    total = total_of(model)
    options = {"n_chains": 200, "n_temperatures": 400, "total": total, "random_state": 0}
    forward = model.log_partition("ais", **options)
    reverse = model.log_partition("reverse_ais", **options)
    for estimate in (forward, reverse):
        low, high = estimate.interval
        assert abs(estimate.value - exact) < 2.5 * (high - low) + 1e-3
        assert high - low < 0.2


@pytest.mark.parametrize("pair", PAIRS)
def test_free_energies_are_those_of_enumeration(pair):
    model, twin = machine(pair, seed=2)
    v = twin.sample_exact(20, np.random.default_rng(0))
    expected = twin.visible_log_weight(v)
    precision = np.where(twin.visible.mask("gaussian"), np.exp(-model.log_variance_), 1)
    field = (v * precision) @ twin.weights + twin.total * twin.hidden_bias
    expected += twin.hidden.log_partition(field, twin.hidden_shape)
    assert_allclose(model.free_energy(v), -expected, rtol=1e-10)
    likelihood = model.log_likelihood(v, "exact").value
    assert likelihood == pytest.approx(expected.mean() - twin.log_partition(), rel=1e-10)


@pytest.mark.parametrize("centering", [False, True])
@pytest.mark.parametrize("pair", PAIRS)
def test_updates_follow_the_gradient_of_the_exact_likelihood(pair, centering):
    """Chains start at the model's distribution, so that their mean update is the gradient."""
    if centering and pair.startswith("counts"):
        pytest.skip("counts can't be centred")
    n, rate = 5000, 1e-4
    model, twin = machine(pair, seed=3, learning_rate=rate, batch_size=n, centering=centering)
    X = twin.sample_exact(40, np.random.default_rng(1))
    before = parameters(model)

    def likelihood(p):
        other, _ = machine(pair, seed=3)
        start = 0
        for name in ("components_", "intercept_visible_", "intercept_hidden_", "log_variance_",
                     "shape_visible_", "shape_hidden_"):  # fmt: skip
            old = getattr(other, name)
            setattr(other, name, np.array(p[start : start + old.size].reshape(old.shape)))
            start += old.size
        return other.log_likelihood(X, "exact").value

    updates = []
    for seed in range(6):
        model, twin = machine(pair, seed=3, learning_rate=rate, batch_size=n, centering=centering)
        model._seed = seed
        model._data_mean = X.mean(axis=0)
        v = twin.sample_exact(n, np.random.default_rng([2, seed]))
        core = model._synced_core()
        model.h_samples_ = core.hidden_given_visible(v, "sample", 1000 + seed)
        if model._visible_layer.has("multinomial"):
            model._chain_totals = np.full(n, float(TOTAL))
        model.partial_fit(np.repeat(X, 25, axis=0))  # data means need no sampling but of shapes
        updates.append((parameters(model) - before) / rate)
    mean, error = np.mean(updates, axis=0), np.std(updates, axis=0, ddof=1) / 6**0.5
    learned = np.flatnonzero(np.abs(updates).max(axis=0) > 0)
    assert len(learned) >= model.components_.size
    exact = np.zeros(len(before))
    for i in learned:
        p, q = before.copy(), before.copy()
        p[i], q[i] = p[i] + 1e-4, q[i] - 1e-4
        exact[i] = (likelihood(p) - likelihood(q)) / 2e-4
    if not centering:
        # six updates say little of the spread of one entry: all entries share a floor
        floor = 0.3 * np.median(error[learned])
        assert (np.abs(mean - exact)[learned] < 7 * np.maximum(error[learned], floor) + 1e-3).all()
    # a centred gradient is another direction that ascends
    assert mean @ exact > 0.5 * np.linalg.norm(mean) * np.linalg.norm(exact) * (
        0.3 if centering else 1
    )


def draws(pair, n=300, seed=0):
    rng = np.random.default_rng(seed)
    if pair.startswith("counts"):
        # two topics, beyond the frequencies of words that training starts with
        topics = np.array([[0.5, 0.4, 0.1, 0], [0, 0.1, 0.3, 0.6]])
        return rng.multinomial(TOTAL, topics[rng.integers(2, size=n)]).astype(np.float64)
    _, twin = machine(pair, seed=5)
    return twin.sample_exact(n, rng)


@pytest.mark.parametrize("method", ["cd", "pcd"])
@pytest.mark.parametrize("pair", PAIRS)
def test_training_raises_the_likelihood(pair, method):
    visible, _, hidden, n_hidden = PAIRS[pair]
    X = draws(pair)
    model = uf.RBM(
        n_hidden, visible=visible, hidden=hidden, method=method, learning_rate=0.02, n_iter=30,
        batch_size=20, k=2, random_state=0,
    )  # fmt: skip
    model.set_params(n_iter=0).fit(X)
    before = model.log_likelihood(X, "exact").value
    model.set_params(n_iter=30).fit(X)
    assert model.log_likelihood(X, "exact").value > before + 0.05
    H = model.transform(X)
    assert H.shape == (300, n_hidden)
    assert np.isfinite(model.sample(5, 20, total=TOTAL)).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("pair", PAIRS)
def test_files_and_resumption_are_bitwise(pair, precision, tmp_path):
    visible, _, hidden, n_hidden = PAIRS[pair]
    X = draws(pair, 60).astype(np.float32)
    options = {
        "visible": visible, "hidden": hidden, "learning_rate": 0.01, "batch_size": 10,
        "random_state": 1, "precision": precision,
    }  # fmt: skip
    whole = uf.RBM(n_hidden, n_iter=4, **options).fit(X)
    uf.RBM(n_hidden, n_iter=2, checkpoint=tmp_path / "c", **options).fit(X)
    rest = uf.RBM(n_hidden, n_iter=4, resume=tmp_path / "c", **options).fit(X)
    assert_array_equal(parameters(rest), parameters(whole))
    assert_array_equal(rest.h_samples_, whole.h_samples_)
    whole.save(tmp_path / "m")
    loaded = uf.load(tmp_path / "m")
    assert loaded.get_params() == whole.get_params()
    assert_array_equal(loaded.transform(X), whole.transform(X))
    assert_array_equal(loaded.partial_fit(X).components_, whole.partial_fit(X).components_)


def test_sparse_counts_train_as_dense_ones():
    X = draws("counts-bernoulli", 60)
    options = {"visible": "replicated_softmax", "n_iter": 3, "random_state": 0, "batch_size": 10}
    dense = uf.RBM(3, **options).fit(X)
    sparse = uf.RBM(3, **options).fit(sp.csr_array(X))
    assert_allclose(sparse.components_, dense.components_, rtol=1e-12)
    assert_allclose(sparse.free_energy(sp.csr_array(X)), dense.free_energy(X), rtol=1e-12)
    assert_allclose(sparse.reconstruct(sp.csr_array(X)).sum(axis=1), X.sum(axis=1))


def test_words_start_with_their_frequencies():
    X = draws("counts-bernoulli", 400)
    model = uf.RBM(3, visible="replicated_softmax", n_iter=0, random_state=0).fit(X)
    model.components_[:] = 0
    share = X.sum(axis=0) / X.sum()
    assert_allclose(model.inverse_transform(np.zeros((1, 3)))[0], share, rtol=1e-6)


def test_documents_of_several_lengths_have_partition_functions_of_their_own():
    model, _ = machine("counts-bernoulli")
    X = np.array([[1.0, 0, 0, 1], [0, 2, 1, 0], [3, 0, 0, 0]])
    total = 0.0
    for row in X:
        twin = model._machine(int(row.sum()))
        total += -model.free_energy(row[None])[0] - twin.log_partition()
    assert model.log_likelihood(X, "exact").value == pytest.approx(total / 3, rel=1e-12)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"visible": "sponge"}, ValueError, "visible is 'sponge'.*'bernoulli'"),
        ({"hidden": 3}, TypeError, "hidden is 3"),
        ({"hidden": "replicated_softmax"}, ValueError, "hidden has ReplicatedSoftmax"),
        ({"visible": units.Softmax(4)}, ValueError, "6 Softmax units.*multiple of 4"),
        ({"visible": units.Mixed(((units.Spin(), 5),))}, ValueError, "visible describes 5.*6"),
        ({"visible": units.Mixed((("spin", 6),))}, TypeError, "part 'spin'"),
        (
            {"visible": "replicated_softmax", "centering": True},
            ValueError,
            "centering is True.*ReplicatedSoftmax",
        ),
        ({"hidden": "relu", "sparsity_target": 0.1}, ValueError, "sparsity_target.*Bernoulli"),
        ({"hidden": "spin", "selectivity_target": 0.1}, ValueError, "selectivity_.*Bernoulli"),
        ({"hidden": "spin", "precision": "int16"}, ValueError, "precision.*Bernoulli"),
    ],
)
def test_layers_that_make_no_sense_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        uf.RBM(4, **options).fit(np.eye(6))


@pytest.mark.parametrize(
    ("visible", "X", "message"),
    [
        ("spin", [[2.0, 1.0, 0.0]], r"outside \[-1, 1\]"),
        ("relu", [[0.5, -0.1, 1.0]], "negative"),
        (units.Softmax(3), [[1.0, 1.0, 0.0]], "group 0 of row 0 sums to 2"),
        ("replicated_softmax", [[1.0, 0.5, 0.0]], "the value 0.5; expected counts"),
        ("replicated_softmax", [[1.0, -1.0, 0.0]], "the value -1; expected counts"),
    ],
)
def test_states_that_units_cannot_have_are_refused(visible, X, message):
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=f"X has.*{message}"):
            getattr(uf.RBM(2, visible=visible), method)(np.array(X))


def test_softmax_says_what_it_wants():
    with pytest.raises(ValueError, match="n_states is 1"):
        units.Softmax(1)
    with pytest.raises(TypeError, match=r"n_states is 2\.5"):
        units.Softmax(2.5)


# ------------------------------------------------------------------ missing values


def test_imputed_means_are_those_of_enumeration():
    model, twin = machine("bernoulli-bernoulli", seed=4)
    states = np.array(list(itertools.product([0.0, 1.0], repeat=5)))
    p = np.exp(-model.free_energy(states) - twin.log_partition())
    assert p.sum() == pytest.approx(1)
    X = np.array([[1, np.nan, 0, np.nan, np.nan], [np.nan, 1, 1, 0, 1], [1, 0, 1, 0, 0]])
    filled = model.impute(X, steps=4000, random_state=0)
    hidden = model.transform(X)
    for row, got, h in zip(X, filled, hidden, strict=True):
        known = ~np.isnan(row)
        fits = (states[:, known] == row[known]).all(axis=1)
        q = p[fits] / p[fits].sum()
        assert_allclose(got, q @ states[fits], atol=0.03)
        assert_allclose(h, q @ model.transform(states[fits]), atol=0.06)
    assert_array_equal(filled[2], X[2])


def test_training_with_missing_values_finds_the_distribution():
    """Half of the second column is unknown: its dependence on the first is learned all the same."""
    rng = np.random.default_rng(0)
    first = rng.random(4000) < 0.5
    second = np.where(rng.random(4000) < 0.9, first, ~first)
    X = np.stack([first, second], axis=1).astype(np.float64)
    X[rng.random(4000) < 0.5, 1] = np.nan
    X[:100, 0], X[:100, 1] = np.nan, second[:100]
    model = uf.RBM(2, learning_rate=0.5, k=5, n_iter=120, batch_size=100, random_state=0).fit(X)
    states = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    p = np.exp(-model.free_energy(states) - model.log_partition("exact").value)
    assert_allclose(p, [0.45, 0.05, 0.05, 0.45], atol=0.04)


def test_training_with_missing_values_resumes_bitwise(tmp_path):
    X = draws("mixed-bernoulli", 60)
    rng = np.random.default_rng(0)
    X[rng.random(60) < 0.3, 2:5] = np.nan
    X[rng.random(60) < 0.3, 5] = np.nan
    options = {"visible": MIXED, "learning_rate": 0.01, "random_state": 0}
    whole = uf.RBM(3, n_iter=4, **options).fit(X)
    uf.RBM(3, n_iter=2, checkpoint=tmp_path / "c", **options).fit(X)
    rest = uf.RBM(3, n_iter=4, resume=tmp_path / "c", **options).fit(X)
    assert_array_equal(parameters(rest), parameters(whole))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ((slice(2, 3), slice(None)), "rows without any observed value, as row 2"),
        ((slice(None), slice(1, 2)), "columns without any observed value, as column 1"),
    ],
)
def test_rows_and_columns_without_values_are_refused(where, message):
    X = np.eye(5)
    X[where] = np.nan
    with pytest.raises(ValueError, match=message):
        uf.RBM(2).fit(X)


def test_a_group_is_missing_as_a_whole_or_not_at_all():
    X = np.eye(3)
    X[0, 1] = np.nan
    with pytest.raises(ValueError, match="NaN in a part of a group"):
        uf.RBM(2, visible=units.Softmax(3)).fit(X)
    with pytest.raises(ValueError, match="NaN among counts"):
        uf.RBM(2, visible="replicated_softmax").fit(X)

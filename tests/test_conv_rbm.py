"""ConvRBM: what it computes against enumeration, how it is trained, stored and refused."""

import json
import pickle

import numpy as np
import pytest
from conv_cases import blocks, patches
from scipy import special
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import unsupfast as uf
from unsupfast import _core
from unsupfast.models._conv_machine import ConvMachine

SHAPE = (4, 5, 1)  # with filters of 3 x 2: maps of 2 x 4, two blocks of 2 x 2 a filter
PIXELS = 20


def tiny(visible="bernoulli", seed=0, scale=0.7, **options):
    """A fitted machine whose parameters are then drawn, large enough to matter."""
    rng = np.random.default_rng(seed)
    options = {"image_shape": SHAPE, "pool": 2, "precision": "float64", **options}
    model = uf.ConvRBM(2, (3, 2), visible=visible, n_iter=0, random_state=seed, **options)
    shape = options["image_shape"]
    model.fit(rng.integers(0, 2, (10, int(np.prod(shape)))).astype(float))
    model.components_ = scale * rng.standard_normal(model.components_.shape)
    model.intercept_hidden_ = 0.5 * rng.standard_normal(model.intercept_hidden_.shape)
    model.intercept_visible_ = 0.5 * rng.standard_normal(model.intercept_visible_.shape)
    return model


def energy(model, v, h):
    """E(v, h) by plain loops, from the definition."""
    rows, cols, filters = model.detection_shape_
    image = v.reshape(model.image_shape_)
    maps = h.reshape(rows, cols, filters)
    total = 0.0
    for k, w in enumerate(model.components_.reshape(-1, *model.filter_shape_)):
        for y in range(rows):
            for x in range(cols):
                patch = image[y : y + w.shape[0], x : x + w.shape[1]]
                total -= maps[y, x, k] * ((patch * w).sum() + model.intercept_hidden_[k])
    if model.visible == "gaussian":
        return total + ((image - model.intercept_visible_) ** 2).sum() / 2
    return total - (image * model.intercept_visible_).sum()


def all_states(model, hidden):
    return np.concatenate(list(model._machine().states(hidden)))


# ---------------------------------------------------------------------- the distribution


def test_hidden_states_have_one_unit_of_a_block_on_at_most():
    h = all_states(tiny(), hidden=True)
    assert h.shape == (5**4, 16) and len(np.unique(h, axis=0)) == 5**4
    assert (blocks(h.reshape(-1, 2, 4, 2), 2).sum(axis=-1) <= 1).all()


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_conditionals_and_free_energy_are_those_of_the_energy(visible, isa):
    model, rng = tiny(visible), np.random.default_rng(1)
    h = all_states(model, hidden=True)
    for v in (rng.random((3, PIXELS)) < 0.5).astype(float):
        minus = -np.array([energy(model, v, state) for state in h])
        log_z = special.logsumexp(minus)
        p = np.exp(minus - log_z)
        np.testing.assert_allclose(model.free_energy(v[None]), -log_z, rtol=1e-10)
        np.testing.assert_allclose(model.score_samples(v[None]), log_z, rtol=1e-10)
        detection = model.transform(v[None], layer="detection")[0]
        np.testing.assert_allclose(detection, p @ h, rtol=1e-9)
        pooled = blocks(h.reshape(-1, 2, 4, 2), 2).sum(axis=-1).reshape(len(h), -1)
        np.testing.assert_allclose(model.transform(v[None])[0], p @ pooled, rtol=1e-9)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_visible_mean_is_that_of_the_energy(visible, isa):
    model = tiny(visible)
    h = all_states(model, hidden=True)[[0, 7, 300, 624]]
    got = model._synced_core().visible_given_hidden(np.ascontiguousarray(h), "mean")
    for state, mean in zip(h, got, strict=True):
        for i in range(PIXELS):
            if visible == "gaussian":  # minus the energy is -v^2 / 2 + mean v + ...
                step = np.zeros((2, PIXELS))
                step[1, i] = 1
                difference = energy(model, step[0], state) - energy(model, step[1], state) + 0.5
                np.testing.assert_allclose(mean[i], difference, atol=1e-10)
            else:
                off, on = np.zeros((2, PIXELS))
                on[i] = 1
                odds = energy(model, off, state) - energy(model, on, state)
                np.testing.assert_allclose(mean[i], special.expit(odds), atol=1e-10)


def test_both_layers_enumerate_to_the_same_partition_function():
    for model in (tiny(), tiny(image_shape=(3, 3, 2), pool=1)):
        machine = model._machine()
        sums = [
            special.logsumexp([special.logsumexp(machine.log_marginals(s, hidden)) for s in states])
            for hidden, states in ((hidden, machine.states(hidden)) for hidden in (True, False))
        ]
        np.testing.assert_allclose(sums[0], sums[1], rtol=1e-12)
        np.testing.assert_allclose(machine.log_partition(), sums[0], rtol=1e-12)


def test_gaussian_partition_function_against_importance_sampling():
    model = tiny("gaussian", scale=0.3)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200_000, PIXELS)) * 1.2
    log_q = -((x / 1.2) ** 2).sum(axis=1) / 2 - PIXELS * np.log(1.2 * np.sqrt(2 * np.pi))
    weight = np.exp(model.score_samples(x) - log_q - model.log_partition("exact").value)
    assert abs(weight.mean() - 1) < 4 * weight.std() / np.sqrt(len(weight))
    assert weight.std() / np.sqrt(len(weight)) < 0.02


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_annealing_finds_the_partition_function(visible):
    model = tiny(visible)
    exact = model.log_partition("exact").value
    for method in ("ais", "reverse_ais"):
        found = model.log_partition(method, n_chains=400, n_temperatures=1000, random_state=3)
        error = (found.interval[1] - found.interval[0]) / 4
        assert error < 0.05
        assert abs(found.value - exact) < 5 * error, (method, found, exact)
    X = (np.random.default_rng(0).random((6, PIXELS)) < 0.5).astype(float)
    likelihood = model.log_likelihood(X, "exact")
    assert likelihood.value == pytest.approx(model.score_samples(X).mean() - exact)
    assert likelihood.interval == (likelihood.value, likelihood.value)


# ---------------------------------------------------------------------- sampling


def close_to(counts, p):
    """Whether frequencies of len(...) draws are within 5 standard errors of probabilities."""
    n = counts.sum()
    return np.all(np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p)) + 1e-9 * n)


def test_hidden_samples_have_the_frequencies_of_their_joint_distribution(isa):
    model, n = tiny(), 40_000
    v = (np.random.default_rng(2).random(PIXELS) < 0.5).astype(float)
    h = model._synced_core().hidden_given_visible(np.tile(v, (n, 1)), "sample", 7)
    states = all_states(model, hidden=True)
    minus = -np.array([energy(model, v, state) for state in states])
    p = np.exp(minus - special.logsumexp(minus))
    code = 2.0 ** np.arange(16)
    order = np.argsort(states @ code)
    place = np.searchsorted((states @ code)[order], h @ code)
    assert ((states @ code)[order][place] == h @ code).all()  # no other states
    assert close_to(np.bincount(place, minlength=len(states)), p[order])


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_chains_started_at_the_distribution_stay_there(visible):
    model, n = tiny(visible), 20_000
    start = model._machine().sample_exact(n, np.random.default_rng(0))
    states = model.sample(n, 3, start=start, random_state=5)
    if visible == "bernoulli":
        h = all_states(model, hidden=True)
        logs = model._machine().log_marginals(h, True)
        p = np.exp(logs - special.logsumexp(logs))
        # means of pixels and of products of neighbours: conditionally independent given h
        mean = special.expit(model._machine().inputs(h) + model.intercept_visible_)
        expected, pairs = p @ mean, p @ (mean[:, 1:] * mean[:, :-1])
        for got, of in ((states, expected), (states[:, 1:] * states[:, :-1], pairs)):
            assert np.all(np.abs(got.mean(axis=0) - of) < 5 * np.sqrt(of * (1 - of) / n))
    else:
        again = model._machine().sample_exact(n, np.random.default_rng(1))
        for moment in (lambda x: x, lambda x: x**2, lambda x: x[:, 1:] * x[:, :-1]):
            a, b = moment(states), moment(again)
            error = np.sqrt(a.var(axis=0) / n + b.var(axis=0) / n)
            assert np.all(np.abs(a.mean(axis=0) - b.mean(axis=0)) < 5 * error)


def test_gibbs_and_sample_draw_states():
    model = tiny()
    v = model.gibbs(np.zeros((4, PIXELS)))
    assert v.dtype == bool and v.shape == (4, PIXELS)
    assert model.gibbs(np.zeros(PIXELS)).shape == (PIXELS,)
    samples = model.sample(6, 5, random_state=0)
    assert set(np.unique(samples)) <= {0, 1}
    means = model.sample(6, 5, mean=True, random_state=0)
    assert ((means > 0) & (means < 1)).all()
    np.testing.assert_array_equal(samples, model.sample(6, 5, random_state=0))


# ---------------------------------------------------------------------- training


def mean_log_likelihood(model, X, values):
    other = clone(model).set_params(batch_size=1).fit(X[:1])
    taps = model.components_.size
    other.components_ = values[:taps].reshape(model.components_.shape)
    other.intercept_hidden_ = values[taps : taps + 2]
    other.intercept_visible_ = values[taps + 2 :]
    machine = other._machine()
    own = machine.visible_log_weight(X) + machine.hidden_log_partition(X)
    return own.mean() - machine.log_partition()


def parameters(model):
    return np.concatenate(
        [model.components_.ravel(), model.intercept_hidden_, model.intercept_visible_]
    )


def statistics(model, v):
    """Derivatives of minus the free energy by the parameters, of every row."""
    p = model.transform(v, "detection").reshape(len(v), -1, len(model.components_))
    a = patches(v.reshape(-1, *model.image_shape_), model.filter_shape_[:2])
    by_filters = np.einsum("npt,npk->nkt", a.reshape(len(v), p.shape[1], -1), p)
    by_visible = v if model.visible == "bernoulli" else v - np.tile(model.intercept_visible_, 12)
    return np.concatenate(
        [
            by_filters.reshape(len(v), -1),
            p.sum(axis=1),
            by_visible.reshape(len(v), -1, model.image_shape_[2]).sum(axis=1),
        ],
        axis=1,
    )


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_update_with_exact_chains_is_the_gradient_of_the_likelihood(visible):
    """One step of PCD from chains at the model's distribution against finite differences."""
    shape, n = (3, 4, 2), 60_000
    model = tiny(visible, scale=0.4, image_shape=shape, pool=1, method="pcd", momentum=0.0,
                 sparsity_target=None, learning_rate=1.0, batch_size=n)  # fmt: skip
    X = np.random.default_rng(1).integers(0, 2, (8, 24)).astype(float)
    start = model._machine().sample_exact(n, np.random.default_rng(0))
    before = parameters(model)
    error = 5 * statistics(model, start).std(axis=0) / np.sqrt(n)
    wanted = np.zeros_like(before)
    for i in range(len(before)):
        step = np.zeros_like(before)
        step[i] = 1e-5
        high, low = (mean_log_likelihood(model, X, before + s * step) for s in (1, -1))
        wanted[i] = (high - low) / 2e-5
    model.v_samples_ = start
    model._train_rows(X, np.arange(len(X)), None, 0, len(X))
    positions = model.detection_shape_[0] * model.detection_shape_[1]
    got = (parameters(model) - before) * positions
    assert np.abs(wanted).max() > 10 * error.max()
    assert np.all(np.abs(got - wanted) < error), np.abs(got - wanted) / error


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_decay_sparsity_and_momentum_come_on_top_of_the_gradient(visible):
    """Two updates from the same random numbers, with each of them and without."""
    X = np.random.default_rng(1).random((9, PIXELS))
    rate, momentum, decay, target, cost = 0.3, 0.7, 0.05, 0.2, 0.4

    def updated(velocity=0.0, **options):
        model = tiny(visible, learning_rate=rate, momentum=momentum, sparsity_target=None)
        model._carried["velocity"] += velocity
        model.set_params(sparsity_cost=cost, **options)
        model._train_rows(X, np.arange(6), None, 0, 6)
        return model

    start, plain = tiny(visible), updated()
    mean = start.transform(X[:6], layer="detection").reshape(-1, 2).mean(axis=0)
    np.testing.assert_allclose(plain._carried["activity"], mean)
    decayed, sparse = updated(weight_decay=decay), updated(sparsity_target=target)
    off = decayed.components_ - plain.components_
    np.testing.assert_allclose(off, -rate * decay * start.components_, atol=1e-12)
    np.testing.assert_allclose(decayed.intercept_hidden_, plain.intercept_hidden_)
    off = sparse.intercept_hidden_ - plain.intercept_hidden_
    np.testing.assert_allclose(off, rate * cost * (target - mean), atol=1e-12)
    np.testing.assert_allclose(sparse.components_, plain.components_)
    moved = updated(velocity=0.5)
    np.testing.assert_allclose(moved.components_, plain.components_ + momentum * 0.5)
    # the second update's mean joins the first's
    mean = 0.9 * mean + 0.1 * sparse.transform(X[6:], layer="detection").reshape(-1, 2).mean(axis=0)
    sparse._train_rows(X, np.arange(6, 9), None, 0, 3)
    np.testing.assert_allclose(sparse._carried["activity"], mean)


@pytest.fixture(scope="module")
def strokes():
    """Images of 10 x 10 with a horizontal or a vertical stroke each."""
    rng = np.random.default_rng(0)
    X = np.zeros((400, 10, 10), np.float32)
    for image in X:
        y, x = rng.integers(1, 5, 2)
        if rng.random() < 0.5:
            image[y + 2, x : x + 5] = 1
        else:
            image[y : y + 5, x + 2] = 1
    return X.reshape(400, 100)


STROKES = {"n_filters": 4, "filter_size": 5, "pool": 2, "batch_size": 20, "random_state": 0}


@pytest.mark.parametrize("method", ["cd", "pcd"])
def test_training_finds_strokes(strokes, method):
    model = uf.ConvRBM(**STROKES, n_iter=40, method=method, learning_rate=1.0).fit(strokes)
    error = model.history_["reconstruction_error"]
    blank = ((strokes - strokes.mean()) ** 2).mean()
    assert error[-1] < 0.6 * blank
    noise = np.random.default_rng(1).permuted(strokes, axis=1)
    assert model.score_samples(strokes).mean() > model.score_samples(noise).mean() + 5
    assert 0.3 < model.history_["activity"][-1] / model.sparsity_target < 3


def test_the_number_of_threads_changes_no_bit(strokes, threads):
    found = []
    for count in (1, 3):
        threads(count)
        model = uf.ConvRBM(**STROKES, n_iter=2).fit(strokes)
        found.append([model.components_, model.transform(strokes), model.free_energy(strokes)])
    for one, three in zip(*found, strict=True):
        np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("method", ["cd", "pcd"])
def test_resumed_training_is_bitwise_the_same(strokes, method, tmp_path):
    options = {**STROKES, "method": method, "momentum": 0.5}
    whole = uf.ConvRBM(**options, n_iter=4).fit(strokes)
    path = tmp_path / "half.safetensors"
    uf.ConvRBM(**options, n_iter=2, checkpoint=path).fit(strokes)
    rest = uf.ConvRBM(**options, n_iter=4, resume=path).fit(strokes)
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "v_samples_"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(rest, name))
    assert rest.history_["epoch"] == [1, 2, 3, 4]


def test_saved_and_pickled_models_are_the_same(strokes, tmp_path):
    model = uf.ConvRBM(**STROKES, n_iter=1, image_shape=(10, 10)).fit(strokes)
    path = tmp_path / "model.safetensors"
    model.save(path)
    for other in (uf.load(path), pickle.loads(pickle.dumps(model))):
        assert json.dumps(other.get_params(), default=str) == json.dumps(
            model.get_params(), default=str
        )
        np.testing.assert_array_equal(other.transform(strokes), model.transform(strokes))
        other.partial_fit(strokes[:20])
    again = uf.load(path).partial_fit(strokes[:20])
    np.testing.assert_array_equal(again.components_, other.components_)


def test_streams_and_partial_fit(strokes):
    class Batches:
        def __iter__(self):
            return iter((strokes[:150], strokes[150:]))

    model = uf.ConvRBM(**STROKES, n_iter=2, learning_rate=1.0).fit(Batches())
    assert model.n_iter_ == 2
    assert model.history_["reconstruction_error"][1] < model.history_["reconstruction_error"][0]
    one = uf.ConvRBM(**STROKES).partial_fit(strokes[:20])
    before = one.components_
    one.partial_fit(strokes[20:50])
    assert (one.components_ != before).any()


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_precisions(strokes, precision):
    model = uf.ConvRBM(**STROKES, n_iter=2, precision=precision).fit(strokes)
    dtype = np.float64 if precision == "float64" else np.float32
    assert model.components_.dtype == model.transform(strokes).dtype == dtype
    machine = model._machine()
    own, hidden = machine.visible_log_weight(strokes), machine.hidden_log_partition(strokes)
    tolerance = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 1e-2}[precision]
    error = np.abs(model.free_energy(strokes) + own + hidden)
    assert (error <= tolerance * (np.abs(own) + np.abs(hidden))).all()


def test_grey_values_are_probabilities(strokes):
    grey = 0.25 + 0.5 * strokes
    model = uf.ConvRBM(**STROKES, n_iter=1).fit(grey)
    assert np.isfinite(model.transform(grey)).all()


def test_stacked_in_a_pipeline(strokes):
    first = uf.ConvRBM(**STROKES, n_iter=1)
    second = uf.ConvRBM(5, 2, pool=2, image_shape=(3, 3, 4), n_iter=1, random_state=0)
    codes = make_pipeline(first, second).fit_transform(strokes)
    assert codes.shape == (400, 5)
    assert second.image_shape_ == first.pooling_shape_
    assert ((codes > 0) & (codes < 1)).all()


def test_interruption_leaves_a_valid_model(strokes):
    def interrupt(event):
        raise KeyboardInterrupt

    model = uf.ConvRBM(**STROKES, n_iter=5, callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        model.fit(strokes)
    assert model.n_iter_ == 1
    assert np.isfinite(model.transform(strokes)).all()


def test_divergence_is_noticed_and_undone(strokes):
    model = uf.ConvRBM(
        **STROKES, visible="gaussian", n_iter=3, learning_rate=[0.01, 1e30], sparsity_target=None
    )
    with pytest.raises(uf.DivergenceError, match="learning_rate"):
        model.fit(strokes)
    assert model.n_iter_ == 1
    assert np.isfinite(model.components_).all()


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "options, columns, message",
    [
        ({"filter_size": 11}, 100, "filter_size is 11; expected filters no larger"),
        ({"filter_size": (3, 20)}, 100, "no larger than the image of 10 x 10"),
        ({"filter_size": 4}, 100, "pool is 2; expected a divisor .* 7 x 7"),
        ({"image_shape": (9, 9)}, 100, "X has 100 columns; expected 81"),
        ({"image_shape": (10, 10, 3)}, 100, "X has 100 columns; expected 300"),
        ({"image_shape": (10,)}, 100, "image_shape is"),
        ({"image_shape": (10, 0)}, 100, "image_shape is"),
        ({"filter_size": 0}, 100, "filter_size is"),
        ({"pool": 0}, 100, "pool is 0"),
        ({"visible": "relu"}, 100, "visible is 'relu'"),
        ({"method": "pt"}, 100, "method is 'pt'"),
        ({"sparsity_target": 0}, 100, "sparsity_target is 0"),
        ({"learning_rate": -1}, 100, "learning_rate is -1"),
        ({"momentum": 1}, 100, "momentum is 1"),
        ({"k": 0}, 100, "k is 0"),
        ({"precision": "int16"}, 100, "precision is 'int16'"),
    ],
)
def test_bad_arguments_are_named(options, columns, message):
    model = uf.ConvRBM(**{**STROKES, **options}, n_iter=1)
    with pytest.raises(ValueError, match=message):
        model.fit(np.zeros((20, columns)))


@pytest.mark.parametrize("options", [{"filter_size": 2.5}, {"image_shape": "ten"}, {"pool": 1.5}])
def test_bad_types_are_named(options):
    with pytest.raises(TypeError, match=next(iter(options))):
        uf.ConvRBM(**{**STROKES, **options}, n_iter=1).fit(np.zeros((20, 100)))


def test_bad_data_are_refused(strokes):
    for bad in (-0.5, 1.5):
        X = strokes.copy()
        X[3, 4] = bad
        with pytest.raises(ValueError, match=rf"X has the value {bad:g}; expected values in"):
            uf.ConvRBM(**STROKES, n_iter=1).fit(X)
        uf.ConvRBM(**STROKES, visible="gaussian", learning_rate=0.01, n_iter=1).fit(X)
    model = uf.ConvRBM(**STROKES, n_iter=1).fit(strokes)
    with pytest.raises(ValueError, match="layer is 'hidden'"):
        model.transform(strokes, layer="hidden")
    with pytest.raises(ValueError, match="features"):
        model.transform(strokes[:, :50])
    with pytest.raises(ValueError, match="start has shape"):
        model.sample(3, 2, start=strokes[:2])
    with pytest.raises(ValueError, match="method='exact' enumerates"):
        model.log_partition("exact")
    with pytest.raises(ValueError, match="method is 'bridge'"):
        model.log_partition("bridge")


def test_resume_refuses_another_machine(strokes, tmp_path):
    path = tmp_path / "model.safetensors"
    uf.ConvRBM(**STROKES, n_iter=1).fit(strokes).save(path)
    with pytest.raises(ValueError, match="resume"):
        uf.ConvRBM(**{**STROKES, "n_filters": 5}, n_iter=1, resume=path).fit(strokes)


def test_compiled_faces_refuse_what_does_not_fit():
    x, w = np.zeros((2, 5, 5, 1), np.float32), np.zeros((3, 2, 2, 1), np.float32)
    with pytest.raises(ValueError, match="different channels"):
        _core.conv(x, np.zeros((3, 2, 2, 2), np.float32))
    with pytest.raises(ValueError, match="larger than the padded maps"):
        _core.conv(x, np.zeros((3, 6, 2, 1), np.float32))
    with pytest.raises(ValueError, match="not that of the convolution's output"):
        _core.conv_input(np.zeros((2, 5, 4, 3), np.float32), w, (5, 5))
    with pytest.raises(ValueError, match="g has shape"):
        _core.conv_filters(x, np.zeros((2, 5, 4, 3), np.float32), (2, 2))
    with pytest.raises(ValueError, match="pool does not divide"):
        _core.pooling_step(x, w, np.zeros(3, np.float32), 3)
    with pytest.raises(TypeError, match="dtype"):
        _core.conv(x.astype(np.float64), w)


def test_gradients_of_a_convolution_against_differences():
    rng = np.random.default_rng(0)
    for stride, padding in ((1, (0, 0)), (2, (1, 2))):
        x, w = rng.standard_normal((2, 6, 7, 2)), rng.standard_normal((3, 2, 3, 2))
        y = _core.conv(x, w, stride, padding, "float64")
        g = rng.standard_normal(y.shape)
        by_x = _core.conv_input(g, w, (6, 7), stride, padding, "float64")
        by_w, by_bias = _core.conv_filters(x, g, (2, 3), stride, padding, "float64")

        def loss(x, w, stride=stride, padding=padding, g=g):
            return (_core.conv(x, w, stride, padding, "float64") * g).sum()

        for gradient, which in ((by_x, 0), (by_w, 1)):
            direction = rng.standard_normal(gradient.shape)
            moved = [[x, w], [x, w]]
            for sign, pair in zip((1, -1), moved, strict=True):
                pair[which] = pair[which] + sign * 1e-3 * direction
            slope = (loss(*moved[0]) - loss(*moved[1])) / 2e-3
            np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-9)
        np.testing.assert_allclose(by_bias, g.sum(axis=(0, 1, 2)), rtol=1e-12)


def test_machine_is_plain_float64():
    machine = tiny()._machine()
    assert isinstance(machine, ConvMachine) and machine.filters.dtype == np.float64

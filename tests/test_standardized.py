"""Gaussian visible units on data of any scale: as on standardised data, in the data's own units."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logsumexp

import unsupfast as uf
from unsupfast import units
from unsupfast.models._rbm_core import generative_parameters, recognition_parameters

MEANS = np.array([0.0, 5.0, -1e3, 1e-2, 3e4])
SCALES = np.array([1.0, 1e-3, 1e4, 2e-3, 50.0])
OPTIONS = {"learning_rate": 0.05, "batch_size": 20, "n_iter": 40, "random_state": 0}
AS_THEY_ARE = units.Gaussian(standardize=False)


def standard(n=400, seed=0):
    """Standardised rows in which columns depend on each other."""
    U = np.random.default_rng(seed).normal(size=(n, 5))
    U[:, 1] += 2 * np.sign(U[:, 0])
    U[:, 3] -= 3 * U[:, 2]
    return (U - U.mean(axis=0)) / U.std(axis=0)


def scaled(n=400, seed=0):
    return MEANS + SCALES * standard(n, seed)


class Batches:
    """An iterable that can be read again."""

    def __init__(self, X, n):
        self.parts = np.array_split(X, n)

    def __iter__(self):
        return iter(self.parts)


def fitted(X, visible="gaussian", n=4, **options):
    return uf.RBM(n, visible=visible, **{**OPTIONS, **options}).fit(X)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (np.float64, {}),
        (np.float64, {"method": "cd", "centering": True}),
        (np.float64, {"method": "pt"}),
        (np.float32, {}),
        (np.float32, {"method": "cd", "centering": True}),
    ],
)
def test_data_of_any_scale_train_as_standardised_ones(dtype, options):
    U, X = standard().astype(dtype), scaled().astype(dtype)
    twin, model = fitted(U, AS_THEY_ARE, **options), fitted(X, **options)
    tolerance = 1e-9 if dtype == np.float64 else 5e-2  # what rounding makes of X decides draws
    assert_allclose(model.components_, twin.components_, atol=tolerance)
    assert_allclose(model.log_variance_, twin.log_variance_, atol=tolerance)
    assert np.abs(model.components_).max() > 0.3
    assert model.log_variance_.min() < -0.1
    assert_allclose(model.offset_, MEANS, rtol=1e-5, atol=1e-5)
    assert_allclose(model.scale_, SCALES, rtol=1e-4)
    expected = twin.log_likelihood(U, "exact").value - np.log(SCALES).sum()
    found = model.log_likelihood(X, "exact").value
    assert found == pytest.approx(expected, abs=1e-3 if dtype == np.float64 else 3e-2)
    assert_allclose(model.transform(X), twin.transform(U), atol=tolerance)
    assert_allclose(
        model.reconstruct(X), MEANS + SCALES * twin.reconstruct(U), atol=tolerance * SCALES.max()
    )
    error = model.history_["reconstruction_error"][-1]
    assert error == pytest.approx(twin.history_["reconstruction_error"][-1], rel=tolerance)
    assert error < 1


def test_training_on_scaled_data_raises_the_likelihood_above_independence():
    X = scaled()
    before = fitted(X, n_iter=0).log_likelihood(X, "exact").value
    independent = -0.5 * np.log(2 * np.pi * np.e * X.var(axis=0)).sum()
    assert before == pytest.approx(independent, abs=0.02)  # it starts at the data's own scale
    assert fitted(X, n_iter=150).log_likelihood(X, "exact").value > independent + 0.4


def test_the_density_is_one_of_the_data():
    """exp(score - log Z) integrates to one over a grid in units of the data."""
    X = scaled()[:, [1, 2]]
    model = fitted(X, n=3)
    axes = [m + s * np.linspace(-9, 9, 300) for m, s in zip(MEANS[1:3], SCALES[1:3], strict=True)]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    log_z = model.log_partition("exact").value
    density = np.exp(model.score_samples(grid) - log_z)
    assert density.sum() * cell == pytest.approx(1, rel=1e-9)
    # whose moments are those of samples
    mean = density @ grid * cell
    sample = model.sample(4000, 200)
    assert_allclose(sample.mean(axis=0), mean, atol=5 * SCALES[1:3].max() / 4000**0.5)
    assert (np.abs(sample.mean(axis=0) - mean) < 5 * SCALES[1:3] / 4000**0.5).all()
    assert_allclose(sample.std(axis=0), SCALES[1:3], rtol=0.15)
    log_density = model.score_samples(X).mean() - log_z
    assert model.log_likelihood(X, "exact").value == pytest.approx(log_density, rel=1e-12)


@pytest.mark.parametrize("method", ["ais", "reverse_ais"])
def test_annealing_finds_the_partition_function_in_units_of_the_data(method):
    model = fitted(scaled())
    exact = model.log_partition("exact").value
    found = model.log_partition(method, n_chains=200, n_temperatures=400, random_state=0)
    low, high = found.interval
    assert abs(found.value - exact) < 2.5 * (high - low) + 1e-3
    assert high - low < 0.2
    start = model._machine().sample_exact(100, np.random.default_rng(0))
    given = model.log_partition("reverse_ais", start=start, n_temperatures=400, random_state=0)
    assert given.value == pytest.approx(exact, abs=0.2)


MIXED = units.Mixed(
    (
        (units.Bernoulli(), 1),
        (units.Gaussian(), 2),
        (AS_THEY_ARE, 1),
        (units.ReplicatedSoftmax(), 3),
    )
)


def mixed_rows(n=200):
    rng = np.random.default_rng(1)
    on = rng.random(n) < 0.4
    words = rng.multinomial(4, [0.2, 0.3, 0.5], n)
    real = MEANS[1:4] + SCALES[1:4] * (rng.normal(size=(n, 3)) + 2 * on[:, None])
    return np.column_stack([on, real[:, :2], (real[:, 2] - MEANS[3]) / SCALES[3], words])


def test_only_their_columns_of_a_mixed_layer_are_standardised():
    X = mixed_rows()
    model = fitted(X, MIXED, n=3, learning_rate=0.01)
    assert_array_equal(model.offset_[[0, 3, 4, 5, 6]], 0)
    assert_array_equal(model.scale_[[0, 3, 4, 5, 6]], 1)
    assert_allclose(model.scale_[1:3], X[:, 1:3].std(axis=0))
    # energies of the machine in units of the data are those of the one that was trained
    machine = model._machine(4)
    h = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    u = (X - model.offset_) / model.scale_
    p = np.where(np.isin(np.arange(7), [1, 2, 3]), np.exp(-model.log_variance_), 1)
    gaussian = p * (u - model.intercept_visible_) ** 2 / 2
    own = np.where(np.isin(np.arange(7), [1, 2, 3]), -gaussian, u * model.intercept_visible_)
    field = (u * p) @ model.components_.T + 4 * model.intercept_hidden_
    expected = own.sum(axis=1) + logsumexp(field @ h.T, axis=1)
    assert_allclose(model.free_energy(X), -expected, rtol=1e-9)
    precision = np.where(np.isin(np.arange(7), [1, 2, 3]), np.exp(-machine.log_variance), 1)
    same = (X * precision) @ machine.weights + 4 * machine.hidden_bias
    assert_allclose(same, field, rtol=1e-6, atol=1e-6)
    assert np.isfinite(model.sample(5, 20, total=4)).all()


def test_sparse_rows_and_streams_learn_their_scale():
    X = scaled()
    X[np.random.default_rng(0).random(X.shape) < 0.3] = 0
    dense, sparse = fitted(X), fitted(sp.csr_array(X))
    assert_allclose(sparse.components_, dense.components_, atol=1e-9)
    assert_allclose(sparse.free_energy(sp.csr_array(X)), dense.free_energy(X), rtol=1e-9)
    assert_allclose(sparse.reconstruct(sp.csr_array(X)), dense.reconstruct(X), rtol=1e-6)
    rows = scaled(3000).astype(np.float32)
    stream = fitted(Batches(rows, 30), n_iter=3)
    head = rows[: 64 * OPTIONS["batch_size"]]  # its first block
    assert_allclose(stream.offset_, head.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-6)
    assert_allclose(stream.scale_, head.std(axis=0, dtype=np.float64), rtol=1e-5)
    assert np.isfinite(stream.components_).all()
    part = uf.RBM(3, visible="gaussian", random_state=0).partial_fit(head)
    assert_array_equal(part.scale_, stream.scale_)
    again = part.scale_
    part.partial_fit(head * 3)
    assert_array_equal(part.scale_, again)


def test_files_resumption_and_pickles_keep_the_scale(tmp_path):
    X = scaled().astype(np.float32)
    whole = fitted(X, n_iter=4)
    fitted(X, n_iter=2, checkpoint=tmp_path / "c")
    rest = fitted(X, n_iter=4, resume=tmp_path / "c")
    assert_array_equal(rest.components_, whole.components_)
    whole.save(tmp_path / "m")
    loaded = uf.load(tmp_path / "m")
    assert_array_equal(loaded.offset_, whole.offset_)
    assert_array_equal(loaded.transform(X), whole.transform(X))
    assert_array_equal(loaded.sample(3, 5, random_state=1), whole.sample(3, 5, random_state=1))
    other = fitted(X, AS_THEY_ARE, n_iter=0)
    other.save(tmp_path / "o")
    assert uf.load(tmp_path / "o").visible == AS_THEY_ARE


def test_held_values_stay_and_missing_ones_are_filled_in_units_of_the_data():
    X = scaled()
    model = fitted(X, n_iter=60)
    clamp = np.array([np.nan, X[0, 1], np.nan, X[0, 3], np.nan])
    sample = model.sample(50, 10, clamp=clamp)
    assert_array_equal(sample[:, [1, 3]], np.tile(X[0, [1, 3]], (50, 1)))
    holes = X.copy()
    holes[::2, 1] = np.nan
    filled = model.impute(holes, 200, random_state=0)
    assert_array_equal(filled[:, [0, 2, 3, 4]], X[:, [0, 2, 3, 4]])
    error = (filled[::2, 1] - X[::2, 1]).std()
    assert error < 0.85 * SCALES[1]  # better than the mean, by the other columns
    trained = fitted(holes)
    seen = X[1::2, 1]
    assert trained.offset_[1] == pytest.approx(seen.mean(), rel=1e-12)
    assert trained.scale_[1] == pytest.approx(seen.std(), rel=1e-9)
    assert_allclose(trained.scale_[0], X[:, 0].std())


def test_networks_that_start_from_such_a_machine_see_data_as_they_are():
    X = scaled()
    dbn = uf.DBN((4, 3), visible="gaussian", learning_rate=0.05, n_iter=5, random_state=0).fit(X)
    rbm = dbn.layers_[0]
    weights, bias = recognition_parameters(rbm)
    assert_allclose(expit(X @ weights + bias), rbm.transform(X), atol=1e-6)
    back, visible_bias = generative_parameters(rbm)
    H = rbm.transform(X)
    assert_allclose(H @ back + visible_bias, rbm.inverse_transform(H), rtol=1e-9)
    assert_allclose(dbn.sample(500, 50).std(axis=0), SCALES, rtol=0.4)
    bound = dbn.log_likelihood(X, method="exact").value
    assert bound == pytest.approx(-0.5 * np.log(2 * np.pi * np.e * X.var(axis=0)).sum(), abs=1)
    y = X[:, 0] > 0
    classifier = uf.DBNClassifier(
        (4,), pretrain=uf.RBM(visible="gaussian", **OPTIONS), n_iter=0, random_state=0
    ).fit(X, y)
    code = classifier.network_.encoder(X).data
    assert ((code > 1e-3) & (code < 1 - 1e-3)).mean() > 0.9  # not saturated by large columns


def test_classes_of_data_of_any_scale():
    X, U = scaled(), standard()
    y = np.where(X[:, 0] > 0, "up", "down")
    options = {"alpha": 0.5, "n_iter": 5, "learning_rate": 0.05, "random_state": 0}
    model = uf.ClassifierRBM(4, visible="gaussian", **options).fit(X, y)
    twin = uf.ClassifierRBM(4, visible=AS_THEY_ARE, **options).fit(U, y)
    assert_allclose(model.components_, twin.components_, atol=1e-9)
    assert_array_equal(model.offset_[-2:], 0)
    assert_allclose(model.predict_proba(X), twin.predict_proba(U), atol=1e-6)
    assert_allclose(model.transform(X), twin.transform(U), atol=1e-6)
    assert (model.predict(X) == y).mean() > 0.85
    assert_allclose(model.free_energy(X, y), twin.free_energy(U, y), rtol=1e-6)
    joined = np.column_stack([X, y[:, None] == model.classes_]).astype(float)
    assert_allclose(model.as_rbm().free_energy(joined), model.free_energy(X, y), rtol=1e-9)
    assert_allclose(model.sample(400, 100).std(axis=0), SCALES, rtol=0.3)


@pytest.mark.parametrize("kind", ["dense", "sparse", "missing", "stream"])
def test_columns_of_one_value_are_refused(kind):
    X = scaled()
    X[:, 2] = 1e6 / 3  # whose mean is rounded
    if kind == "sparse":
        X = sp.csr_array(X)
    elif kind == "missing":
        X[::2, 2] = np.nan
    elif kind == "stream":
        X = Batches(X, 2)
    with pytest.raises(ValueError, match=r"1 of them, such as column 2 with 333333,.*standardize="):
        fitted(X)
    if kind == "dense":
        X[:, 2] = 0.5
        assert np.isfinite(fitted(X / 1e5, AS_THEY_ARE).components_).all()
        with pytest.raises(ValueError, match=r"n_samples = 1.*standardize=False"):
            uf.RBM(2, visible="gaussian").partial_fit(X[:1])


def test_standardize_is_a_choice_of_two():
    with pytest.raises(TypeError, match="standardize is 'yes'; expected True or False"):
        units.Gaussian(standardize="yes")

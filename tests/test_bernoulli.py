"""BernoulliRBM against scikit-learn's: the same random_state gives the same weights."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.neural_network import BernoulliRBM as Theirs

import unsupfast as uf
from unsupfast.io import load_tensors, save_tensors

LEARNED = ("components_", "intercept_hidden_", "intercept_visible_", "h_samples_")
TOLERANCE = {np.float64: {"rtol": 1e-10, "atol": 1e-12}, np.float32: {"rtol": 1e-3, "atol": 1e-5}}


def data(rows, features, seed=0, dtype=np.float64):
    return (np.random.default_rng(seed).random((rows, features)) < 0.3).astype(dtype)


def both(*args, **options):
    return uf.BernoulliRBM(*args, **options), Theirs(*args, **options)


def assert_same(ours, theirs, dtype=np.float64):
    for name in LEARNED:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.dtype == b.dtype, name
        assert_allclose(a, b, err_msg=name, **TOLERANCE[dtype])


def assert_identical(a, b):
    for name in LEARNED:
        assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


# (rows, features, hiddens, batch): also short last batches, and more chains than rows
SHAPES = [(200, 12, 5, 10), (203, 33, 40, 20), (101, 70, 65, 50), (30, 64, 31, 64), (7, 1, 1, 2)]


@pytest.mark.parametrize("seed", [0, 17])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_same_weights(shape, seed, container):
    rows, features, hiddens, batch = shape
    X = container(data(rows, features, seed))
    ours, theirs = both(hiddens, batch_size=batch, n_iter=6, learning_rate=0.2, random_state=seed)
    assert_same(ours.fit(X), theirs.fit(X))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_same_weights_in_float32(shape):
    rows, features, hiddens, batch = shape
    X = data(rows, features, dtype=np.float32)
    ours, theirs = both(hiddens, batch_size=batch, n_iter=3, random_state=1)
    assert_same(ours.fit(X), theirs.fit(X), np.float32)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix])
def test_same_weights_of_grey_values(container):
    X = np.random.default_rng(3).random((57, 20))
    X[X < 0.5] = 0
    X = container(X)
    ours, theirs = both(9, batch_size=10, n_iter=5, random_state=2)
    assert_same(ours.fit(X), theirs.fit(X))


def test_same_weights_of_integers():
    X = data(40, 11, dtype=np.int64)
    ours, theirs = both(6, batch_size=7, n_iter=4, random_state=0)
    assert_same(ours.fit(X), theirs.fit(X))


def test_an_instance_goes_on_where_it_is():
    X = data(43, 10)
    ours, theirs = both(4, batch_size=10, n_iter=3)
    ours.random_state, theirs.random_state = np.random.RandomState(8), np.random.RandomState(8)
    for _ in range(2):
        assert_same(ours.fit(X), theirs.fit(X))
        assert_array_equal(ours.gibbs(X), theirs.gibbs(X))
        assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-9)
    assert ours.random_state.random_sample() == theirs.random_state.random_sample()


def test_none_is_the_global_state():
    X = data(43, 10)
    ours, theirs = both(4, batch_size=10, n_iter=3)
    before = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(5)  # noqa: NPY002
        ours.fit(X)
        np.random.seed(5)  # noqa: NPY002
        theirs.fit(X)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    assert_same(ours, theirs)


@pytest.mark.parametrize("random_state", [3, np.random.RandomState(3)], ids=["int", "instance"])
def test_verbose_prints_and_draws_the_same(random_state, capsys):
    X = data(1203, 10)  # more rows than the history is measured on

    def printed(model):
        model.random_state = copy.deepcopy(random_state)
        model.fit(X)
        return [line.split(", time")[0] for line in capsys.readouterr().out.splitlines()]

    ours, theirs = both(4, batch_size=100, n_iter=3, verbose=1)
    assert printed(ours) == printed(theirs)
    assert_same(ours, theirs)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix])
def test_partial_fit_gives_the_same_weights(container):
    ours, theirs = both(7, batch_size=20, random_state=4)
    for seed, rows in enumerate([20, 20, 13, 1, 40]):
        X = container(data(rows, 15, seed))
        ours.partial_fit(X)
        theirs.partial_fit(X)
        assert_same(ours, theirs)
    assert_array_equal(ours.gibbs(data(9, 15)), theirs.gibbs(data(9, 15)))
    ours.partial_fit(X)
    theirs.partial_fit(X)
    assert_same(ours, theirs)


def test_fit_then_partial_fit_then_fit():
    X = data(50, 9)
    ours, theirs = both(3, batch_size=8, n_iter=2, random_state=4)
    for method in ("fit", "partial_fit", "partial_fit", "fit", "partial_fit"):
        getattr(ours, method)(X)
        getattr(theirs, method)(X)
        assert_same(ours, theirs)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix, sp.csr_array])
def test_gibbs_and_scores_are_the_same(container):
    X = data(300, 21)
    ours, theirs = both(10, n_iter=3, random_state=6)
    ours.fit(X)
    theirs.fit(X)
    given = container(X)
    for _ in range(3):
        step, expected = ours.gibbs(given), theirs.gibbs(given)
        assert step.dtype == expected.dtype
        assert_array_equal(step, expected)
        assert_allclose(ours.score_samples(given), theirs.score_samples(given), rtol=1e-9)
    a, b = np.random.RandomState(1), np.random.RandomState(1)
    assert_array_equal(ours._sample_hiddens(X[0], a), theirs._sample_hiddens(X[0], b))
    h = theirs._sample_hiddens(X, b)
    assert_array_equal(ours._sample_hiddens(X, a), h)
    assert_array_equal(ours._sample_visibles(h, a), theirs._sample_visibles(h, b))


def test_scores_of_many_rows_are_the_same():
    X = data(20_000, 6)  # more than are scored at a time
    ours, theirs = both(3, n_iter=1, batch_size=1000, random_state=6)
    assert_allclose(ours.fit(X).score_samples(X), theirs.fit(X).score_samples(X), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_any_number_of_threads_gives_the_same_bits(threads, dtype, container):
    X = container(data(500, 301, dtype=dtype))
    models = []
    for n in (1, 2, 3, 8):
        threads(n)
        models.append(uf.BernoulliRBM(203, n_iter=1, batch_size=167, random_state=0).fit(X))
    for model in models[1:]:
        assert_identical(model, models[0])


# ------------------------------------------------------------------------------ copies and files


def configured(**options):
    """A BernoulliRBM with attributes that its constructor does not take."""
    model = uf.BernoulliRBM(5, batch_size=8, random_state=options.pop("random_state", 1))
    for name, value in options.items():
        setattr(model, name, value)
    return model


@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize("instance", [False, True])
def test_resumed_is_uninterrupted(tmp_path, verbose, instance):
    X = data(61, 7)  # 35 initial weights: the state holds a spare Gaussian

    def model(**options):
        state = np.random.RandomState(1) if instance else 1
        return configured(random_state=state, verbose=verbose, **options)

    whole = model(n_iter=5).fit(X)
    model(n_iter=2, checkpoint=tmp_path / "c").fit(X)
    resumed = model(n_iter=5, resume=tmp_path / "c").fit(X)
    assert_identical(resumed, whole)
    assert resumed._rng.normal() == whole._rng.normal()
    for key, values in whole.history_.items():
        if key != "seconds":
            assert resumed.history_[key] == values


def test_partial_fit_goes_on_after_copies_and_files(tmp_path):
    X = data(30, 7)
    model = configured().partial_fit(X)
    model.gibbs(X)
    model.save(tmp_path / "m")
    others = [uf.load(tmp_path / "m"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    step = model.partial_fit(X).gibbs(X)
    for other in others:
        assert_array_equal(other.partial_fit(X).gibbs(X), step)
        assert_identical(other, model)
    again = clone(model)
    assert not hasattr(again, "components_")
    assert_identical(again.partial_fit(X), configured().partial_fit(X))


def test_resume_needs_the_random_state(tmp_path):
    X = data(30, 7)
    uf.RBM(5, n_iter=1, batch_size=8).fit(X).save(tmp_path / "rbm")
    exotic = np.random.RandomState(np.random.PCG64(0))
    configured(n_iter=1, random_state=exotic, checkpoint=tmp_path / "exotic").fit(X)
    for name in ("rbm", "exotic"):
        with pytest.raises(ValueError, match=r"resume.*Mersenne Twister"):
            configured(resume=tmp_path / name).fit(X)
    uf.load(tmp_path / "exotic").partial_fit(X)  # all else is there


@pytest.mark.parametrize(
    ("key", "pos"),
    [
        (np.zeros(624, np.uint32), 625),
        (np.zeros(624, np.uint32), -1),
        (np.zeros(623, np.uint32), 0),
        (np.zeros(624, np.int64), 0),
    ],
)
def test_a_damaged_random_state_is_refused(tmp_path, key, pos):
    configured(n_iter=1).fit(data(30, 7)).save(tmp_path / "m")
    tensors, metadata = load_tensors(tmp_path / "m")
    tensors["rng.key"] = key
    metadata["state"]["rng"]["pos"] = pos
    save_tensors(tmp_path / "m", tensors, metadata)
    with pytest.raises(ValueError, match="random state"):
        uf.load(tmp_path / "m")


# ------------------------------------------------------------------------------ errors


class Broken(np.random.RandomState):
    """Raises at one of its draws, or returns too little."""

    calls = 0

    def random_sample(self, size=None):
        self.calls += 1
        if self.calls == self.fails_at:
            if self.error is not None:
                raise self.error
            size -= 1
        return super().random_sample(size)


@pytest.mark.parametrize("fails_at", [1, 2, 5, 8])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no more"), None])
def test_a_failing_draw_stops_training_and_leaves_a_model(fails_at, error):
    rng = Broken(0)
    rng.fails_at, rng.error = fails_at, error
    model = uf.BernoulliRBM(4, n_iter=3, batch_size=10, random_state=rng)
    with pytest.raises(ValueError if error is None else type(error)):
        model.fit(data(50, 6))
    assert rng.calls == fails_at
    assert np.isfinite(model.transform(data(50, 6))).all()
    whole_batches = (fails_at - 1) // 2
    expected = Theirs(4, batch_size=10, random_state=np.random.RandomState(0), n_iter=1)
    if whole_batches:
        assert_allclose(
            model.components_, expected.fit(data(50, 6)[: 10 * whole_batches]).components_
        )


@pytest.mark.filterwarnings("ignore:overflow")
def test_divergence_is_reported():
    model = uf.BernoulliRBM(4, learning_rate=1e308, n_iter=3, random_state=0)
    with pytest.raises(uf.DivergenceError):
        model.fit(data(50, 6))


def test_only_bernoulli_visibles():
    with pytest.raises(ValueError, match="visible"):
        configured(visible="gaussian").fit(data(30, 7))


def test_method_and_k_of_an_rbm_work_here(tmp_path):
    X = data(60, 7)
    for options in ({"method": "cd", "k": 2}, {"k": 3}, {"shuffle": True}):
        a = configured(n_iter=4, **options).fit(X)
        assert_identical(a, configured(n_iter=4, **options).fit(X))
        assert np.abs(a.components_ - configured(n_iter=4).fit(X).components_).max() > 1e-3

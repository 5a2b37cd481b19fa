"""The behaviour of uf.RBM as an estimator: arguments, files, determinism, streams, interruption."""

import io
import itertools
import multiprocessing
import os
import pickle
import re
import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import unsupfast as uf

ARRAYS = (
    "components_",
    "intercept_hidden_",
    "intercept_visible_",
    "log_variance_",
    "h_samples_",
)


@pytest.fixture(scope="module")
def digits():
    X = load_digits(return_X_y=True)[0] / 16
    X.setflags(write=False)  # whoever writes into the data is found out
    return X


@pytest.fixture
def small():
    return (np.random.default_rng(0).random((60, 12)) < 0.4).astype(np.float32)


def arrays(model):
    return {name: np.array(getattr(model, name)) for name in ARRAYS}


def assert_same_model(a, b):
    for name in ARRAYS:
        assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name, strict=True)


def assert_other_model(a, b):
    assert not np.array_equal(a.components_, b.components_)


# ------------------------------------------------------------------------------ shapes and dtypes


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_and_dtypes(small, visible, dtype):
    X = small.astype(dtype)
    model = uf.RBM(5, visible=visible, n_iter=2, random_state=0, learning_rate=0.01)
    assert model.fit(X) is model
    shapes = {
        "components_": (5, 12),
        "intercept_hidden_": (5,),
        "intercept_visible_": (12,),
        "log_variance_": (12,),
        "h_samples_": (10, 5),
    }
    for name, shape in shapes.items():
        assert getattr(model, name).shape == shape
        assert getattr(model, name).dtype == dtype
    assert model.n_features_in_ == 12
    assert model.n_iter_ == 2
    H = model.transform(X)
    assert (H.shape, H.dtype) == ((60, 5), dtype)
    assert 0 < H.min() < H.max() < 1
    for back in (model.inverse_transform(H), model.reconstruct(X)):
        assert (back.shape, back.dtype) == ((60, 12), dtype)
    assert_array_equal(model.inverse_transform(H), model.reconstruct(X))
    assert model.free_energy(X).shape == model.score_samples(X).shape == (60,)
    sample = model.sample(7, steps=3)
    assert (sample.shape, sample.dtype) == ((7, 12), dtype)
    assert model.gibbs(X).dtype == (bool if visible == "bernoulli" else dtype)
    assert model.gibbs(X[0]).shape == (12,)
    assert_array_equal(model.get_feature_names_out(), [f"rbm{i}" for i in range(5)])
    if visible == "bernoulli":
        assert_array_equal(model.log_variance_, 0)


@pytest.mark.parametrize(
    ("precision", "given", "expected"),
    [
        ("auto", np.float32, np.float32),
        ("auto", np.float64, np.float64),
        ("auto", np.int64, np.float64),
        ("auto", bool, np.float64),
        ("auto", np.uint8, np.float64),
        ("float32", np.float64, np.float32),
        ("float64", np.float32, np.float64),
        ("bfloat16", np.float64, np.float32),
        ("int16", np.float64, np.float32),
    ],
)
def test_precision_decides_the_dtype(small, precision, given, expected):
    X = small.astype(given)
    model = uf.RBM(3, precision=precision, n_iter=1, random_state=0)
    assert model.fit_transform(X).dtype == expected
    assert model.components_.dtype == expected


def test_one_row_one_unit_one_feature():
    X = np.array([[1.0]])
    model = uf.RBM(1, batch_size=1, n_iter=3, random_state=0).fit(X)
    assert model.transform(X).shape == (1, 1)
    assert model.sample(0, steps=2).shape == (0, 1)
    assert model.sample(2, steps=0).shape == (2, 1)


def test_batches_larger_than_the_data(small):
    model = uf.RBM(3, batch_size=500, n_iter=2, random_state=0).fit(small)
    assert model.h_samples_.shape == (500, 3)
    assert set(np.unique(model.h_samples_)) <= {0, 1}


def test_no_epochs_leave_the_initial_weights(small):
    model = uf.RBM(3, n_iter=0, random_state=0).fit(small)
    assert model.n_iter_ == 0
    assert_array_equal(model.intercept_hidden_, 0)
    assert 0 < np.abs(model.components_).max() < 0.1
    assert model.transform(small).shape == (60, 3)


@pytest.mark.parametrize("n_rows", [8192, 8193, 20_000])
def test_inference_in_chunks(n_rows):
    X = (np.random.default_rng(1).random((n_rows, 6)) < 0.5).astype(np.float32)
    model = uf.RBM(4, n_iter=1, random_state=0).fit(X[:100])
    H = model.transform(X)
    at = np.r_[0:5, 8185:8192, n_rows - 5 : n_rows]
    assert_array_equal(H[at], model.transform(X[at]))
    assert_allclose(model.free_energy(X)[at], model.free_energy(X[at]), rtol=1e-6)
    assert_allclose(model.score_samples(X)[at], model.score_samples(X[at]), rtol=1e-5)
    assert_array_equal(model.transform(sp.csr_array(X)), H)


def test_not_fitted():
    X = np.zeros((2, 3))
    model = uf.RBM(2)
    for call in (
        model.transform,
        model.inverse_transform,
        model.reconstruct,
        model.score_samples,
        model.free_energy,
        model.gibbs,
        model.log_likelihood,
        model.pseudo_log_likelihood,
        lambda X: model.sample(),
        lambda X: model.log_partition(),
        lambda X: model.save("nowhere.safetensors"),
    ):
        with pytest.raises(NotFittedError):
            call(X)
    assert not os.path.exists("nowhere.safetensors")


# ------------------------------------------------------------------------------ determinism

VARIANTS = {
    "pcd": {},
    "cd-k": {"method": "cd", "k": 3},
    "momentum": {"method": "cd", "momentum": 0.7, "weight_decay": 0.001},
    "centering": {"centering": True, "momentum": 0.5},
    "sparsity": {"sparsity_target": 0.1},
    "selectivity": {"selectivity_target": 0.1, "method": "cd"},
    "gaussian": {"visible": "gaussian", "learning_rate": 0.001, "momentum": 0.5},
    "gaussian-centred": {"visible": "gaussian", "learning_rate": 0.001, "centering": True},
    "bfloat16": {"precision": "bfloat16", "k": 2},
    "int16": {"precision": "int16", "k": 2},
    "float64": {"precision": "float64"},
    "schedules": {"learning_rate": [0.2, 0.1, 0.05], "momentum": lambda epoch: 0.1 * epoch},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_seed_same_model(small, variant):
    options = {"n_components": 5, "n_iter": 3, **VARIANTS[variant]}
    model = uf.RBM(random_state=3, **options).fit(small)
    assert_same_model(model, uf.RBM(random_state=3, **options).fit(small))
    assert_same_model(clone(model).fit(small), model)
    assert_other_model(model, uf.RBM(random_state=4, **options).fit(small))


def test_random_state_instance_and_none(small):
    a = uf.RBM(3, n_iter=1, random_state=np.random.RandomState(5)).fit(small)
    assert_same_model(a, uf.RBM(3, n_iter=1, random_state=np.random.RandomState(5)).fit(small))
    assert_other_model(uf.RBM(3, n_iter=1).fit(small), uf.RBM(3, n_iter=1).fit(small))


def test_sampling_follows_random_state(small):
    model = uf.RBM(3, n_iter=1, random_state=0).fit(small)
    for call in (
        lambda seed: model.sample(50, 5, random_state=seed),
        lambda seed: model.log_partition(n_chains=5, n_temperatures=20, random_state=seed).value,
    ):
        assert_array_equal(call(1), call(1))
        assert not np.array_equal(call(1), call(2))


@pytest.mark.parametrize(
    "variant", ["pcd", "centering", "gaussian", "bfloat16", "int16", "float64"]
)
@pytest.mark.parametrize("sparse", [False, True])
def test_any_number_of_threads_gives_the_same_bits(threads, variant, sparse):
    if sparse and "gaussian" in variant:
        pytest.skip("Gaussian units are trained on dense rows")
    rng = np.random.default_rng(0)
    # odd sizes with tails, and large enough to be shared out among threads
    X = (rng.random((500, 301)) < 0.2).astype(np.float32)
    options = {"n_iter": 1, "batch_size": 167, "random_state": 0, **VARIANTS[variant]}
    data = sp.csr_array(X) if sparse else X
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        model = uf.RBM(203, **options).fit(data)
        results.append((model, model.transform(data), model.sample(33, 5)))
    for model, hidden, sample in results[1:]:
        assert_same_model(model, results[0][0])
        assert_array_equal(hidden, results[0][1])
        assert_array_equal(sample, results[0][2])


def fit_bytes(X, connection):
    model = uf.RBM(203, n_iter=1, batch_size=167, random_state=0).fit(X)
    connection.send_bytes(model.components_.tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_gives_the_same_bits_and_does_not_hang(threads):
    X = (np.random.default_rng(0).random((500, 301)) < 0.2).astype(np.float32)
    threads(3)
    expected = uf.RBM(203, n_iter=1, batch_size=167, random_state=0).fit(X).components_.tobytes()
    context = multiprocessing.get_context("fork")
    children = []
    for _ in range(2):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=fit_bytes, args=(X, sender))
        process.start()
        sender.close()
        children.append((process, receiver))
    try:
        for process, receiver in children:
            assert receiver.poll(60), "the child hangs"
            assert receiver.recv_bytes() == expected
            process.join(60)
            assert process.exitcode == 0
    finally:
        for process, _ in children:
            process.kill()
    # and the parent goes on
    again = uf.RBM(203, n_iter=1, batch_size=167, random_state=0).fit(X)
    assert again.components_.tobytes() == expected


def test_models_in_threads_do_not_disturb_each_other(small):
    expected = [uf.RBM(20, n_iter=5, random_state=i).fit(small) for i in range(4)]
    got = [uf.RBM(20, n_iter=5, random_state=i) for i in range(4)]
    workers = [threading.Thread(target=model.fit, args=(small,)) for model in got]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    for a, b in zip(got, expected, strict=True):
        assert_same_model(a, b)


# ------------------------------------------------------------------------------ files


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("sparse", [False, True])
def test_resumed_is_uninterrupted(small, tmp_path, variant, sparse):
    if sparse and "gaussian" in variant:
        pytest.skip("Gaussian units are trained on dense rows")
    X = sp.csr_array(small) if sparse else small
    path = tmp_path / "half.safetensors"
    options = {"n_components": 5, **VARIANTS[variant]}
    whole = uf.RBM(n_iter=5, random_state=1, **options).fit(X)
    half = uf.RBM(n_iter=2, random_state=1, checkpoint=path, **options).fit(X)
    assert_other_model(half, whole)
    # the seed comes from the file
    resumed = uf.RBM(n_iter=5, random_state=99, resume=path, **options).fit(X)
    assert_same_model(resumed, whole)
    assert resumed.n_iter_ == 5
    assert resumed.history_["epoch"] == [1, 2, 3, 4, 5]
    for key, values in whole.history_.items():
        if key != "seconds":
            assert resumed.history_[key] == values
    # and goes on as the whole one would
    assert_same_model(resumed.partial_fit(small[:10]), whole.partial_fit(small[:10]))


def test_resume_through_every_epoch(small, tmp_path):
    """Also when the run dies between checkpoints: the last file counts."""
    path = tmp_path / "c.safetensors"
    whole = uf.RBM(4, n_iter=7, random_state=2, momentum=0.5).fit(small)

    def die(event):
        if event.epoch == 4:
            raise RuntimeError("power cut")

    first = uf.RBM(4, n_iter=7, random_state=2, momentum=0.5, checkpoint=path, checkpoint_every=3)
    with pytest.raises(RuntimeError, match="power cut"):
        first.set_params(callbacks=[die]).fit(small)
    assert uf.load(path).n_iter_ == 3
    second = clone(first).set_params(callbacks=None, resume=path).fit(small)
    assert_same_model(second, whole)
    assert second.history_["epoch"] == list(range(1, 8))


def test_resume_keeps_the_held_out_rows(small, tmp_path):
    path = tmp_path / "c.safetensors"
    options = {"n_components": 4, "validation_fraction": 0.25}
    whole = uf.RBM(n_iter=6, random_state=2, **options).fit(small)
    uf.RBM(n_iter=3, random_state=2, checkpoint=path, **options).fit(small)
    resumed = uf.RBM(n_iter=6, random_state=3, resume=path, **options).fit(small)
    assert_same_model(resumed, whole)
    assert resumed.history_["free_energy_gap"] == whole.history_["free_energy_gap"]


def test_resume_keeps_early_stopping(small, tmp_path):
    """The best epoch and the patience already used belong to the state of training."""
    path = tmp_path / "c.safetensors"
    X = small[:, :6]
    options = {
        "n_components": 8,
        "validation_fraction": 0.3,
        "patience": 4,
        "learning_rate": 0.3,
        "random_state": 0,
    }
    whole = uf.RBM(n_iter=60, **options).fit(X)
    stopped = len(whole.history_["epoch"])
    assert whole.n_iter_ < stopped < 60
    uf.RBM(n_iter=stopped - 1, checkpoint=path, **options).fit(X)
    resumed = uf.RBM(n_iter=60, resume=path, **options).fit(X)
    assert len(resumed.history_["epoch"]) == stopped
    assert_same_model(resumed, whole)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_resume_refuses_what_does_not_fit(small, tmp_path, dtype):
    path = tmp_path / "c.safetensors"
    X = small.astype(dtype)
    uf.RBM(4, n_iter=1, checkpoint=path).fit(X)
    other = np.float32 if dtype == np.float64 else np.float64
    for model, data in (
        (uf.RBM(5, resume=path), X),
        (uf.RBM(4, resume=path), X[:, :5]),
        (uf.RBM(4, resume=path), X.astype(other)),
    ):
        with pytest.raises(ValueError, match=r"resume.*shape"):
            model.fit(data)
    with pytest.raises(OSError, match="missing"):
        uf.RBM(4, resume=tmp_path / "missing").fit(X)
    (tmp_path / "noise").write_bytes(b"\x08" * 100)
    with pytest.raises(ValueError, match="noise"):
        uf.RBM(4, resume=tmp_path / "noise").fit(X)


@pytest.mark.parametrize("variant", VARIANTS)
def test_saved_is_loaded(small, tmp_path, variant):
    path = tmp_path / "m.safetensors"
    model = uf.RBM(5, n_iter=2, random_state=1, **VARIANTS[variant]).fit(small)
    model.save(path)
    loaded = uf.load(path)
    assert type(loaded) is uf.RBM
    assert_same_model(loaded, model)
    assert loaded.history_ == model.history_
    assert loaded.n_iter_ == 2
    assert loaded.n_features_in_ == 12
    assert_array_equal(loaded.transform(small), model.transform(small))
    assert_array_equal(loaded.sample(5, 10), model.sample(5, 10))
    assert_array_equal(loaded.get_feature_names_out(), model.get_feature_names_out())
    expected = {k: v for k, v in model.get_params().items() if not callable(v)}
    got = loaded.get_params()
    for name, value in expected.items():
        assert got[name] == value, name
    if not callable(model.momentum):
        # training goes on with the same chains, velocities and random numbers
        assert_same_model(loaded.partial_fit(small[:10]), model.partial_fit(small[:10]))


def test_numpy_numbers_as_parameters_survive_a_file(small, tmp_path):
    """What np.arange or a search over parameters puts there."""
    path = tmp_path / "m.safetensors"
    model = uf.RBM(np.int64(4), learning_rate=np.float32(0.25), k=np.int32(2), n_iter=1)
    model.set_params(centering=np.bool_(True)).fit(small).save(path)
    loaded = uf.load(path)
    assert loaded.n_components == 4
    assert loaded.learning_rate == 0.25
    assert loaded.k == 2
    assert loaded.centering == 1


def test_bernoulli_rbm_keeps_its_class(small, tmp_path):
    model = uf.BernoulliRBM(3, n_iter=1, random_state=0).fit(small)
    model.save(tmp_path / "m")
    loaded = uf.load(tmp_path / "m")
    assert type(loaded) is uf.BernoulliRBM
    assert_same_model(loaded, model)


def test_feature_names_survive_a_file(tmp_path):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(np.eye(4), columns=list("abcd"))
    model = uf.RBM(2, n_iter=1, random_state=0).fit(X)
    model.save(tmp_path / "m")
    assert_array_equal(uf.load(tmp_path / "m").feature_names_in_, list("abcd"))


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_pickle(small, protocol):
    model = uf.RBM(5, n_iter=2, random_state=1, momentum=0.5).fit(small)
    copy = pickle.loads(pickle.dumps(model, protocol))
    assert_same_model(copy, model)
    assert_array_equal(copy.transform(small), model.transform(small))
    assert_same_model(copy.partial_fit(small[:5]), model.partial_fit(small[:5]))


def test_attributes_set_by_hand_count(small):
    model = uf.RBM(3, n_iter=1, random_state=0).fit(small)
    model.components_ = np.zeros((3, 12), np.float32)
    model.intercept_hidden_ = np.array([0, 100, -100], np.float32)
    assert_allclose(model.transform(small), np.tile([0.5, 1, 0], (60, 1)), atol=1e-6)


# ------------------------------------------------------------------------------ scikit-learn


def test_pipeline_and_grid_search(digits):
    y = load_digits(return_X_y=True)[1][:1000]
    X = digits[:1000]
    search = GridSearchCV(
        make_pipeline(
            uf.RBM(n_iter=10, random_state=0), LogisticRegression(max_iter=100, tol=0.01)
        ),
        {"rbm__n_components": [2, 60], "rbm__learning_rate": [0.05]},
        cv=2,
        error_score="raise",
    ).fit(X, y)
    assert search.best_params_["rbm__n_components"] == 60
    assert search.score(X, y) > 0.5
    assert pickle.loads(pickle.dumps(search)).score(X, y) == search.score(X, y)


@pytest.mark.slow
def test_grid_search_in_processes(digits):
    search = GridSearchCV(
        uf.RBM(8, n_iter=2, random_state=0),
        {"learning_rate": [0.01, 0.1]},
        scoring=lambda model, X, y=None: model.score_samples(X).mean(),
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(digits[:200])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    alone = clone(search).set_params(n_jobs=1).fit(digits[:200])
    assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_clone_copies_parameters_only(small):
    model = uf.RBM(3, k=2, momentum=0.5, learning_rate=[0.1, 0.2], n_iter=1).fit(small)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "components_")


# ------------------------------------------------------------------------------ the loop


def test_history_and_callbacks(small):
    seen = []
    model = uf.RBM(3, n_iter=4, random_state=0, callbacks=[seen.append]).fit(small)
    assert set(model.history_) == {"epoch", "seconds", "pseudo_log_likelihood"}
    assert [event.epoch for event in seen] == model.history_["epoch"] == [1, 2, 3, 4]
    for i, event in enumerate(seen):
        assert isinstance(event, uf.Event)
        assert event.model is model
        assert event.metrics == {key: values[i] for key, values in model.history_.items()}
    assert all(seconds >= 0 for seconds in model.history_["seconds"])
    model.set_params(callbacks=None, visible="gaussian", learning_rate=0.01).fit(small)
    assert set(model.history_) == {"epoch", "seconds", "reconstruction_error"}
    model.set_params(validation_fraction=0.2).fit(small)
    assert {"free_energy_gap", "validation_reconstruction_error"} <= set(model.history_)


def test_callbacks_see_the_model_of_their_epoch(small):
    seen = {}

    def keep(event):
        seen[event.epoch] = event.model.components_.copy(), event.model.n_iter_

    uf.RBM(3, n_iter=3, random_state=0, callbacks=[keep]).fit(small)
    for epoch in (1, 2, 3):
        alone = uf.RBM(3, n_iter=epoch, random_state=0).fit(small)
        assert_array_equal(seen[epoch][0], alone.components_)
        assert seen[epoch][1] == epoch


def test_a_callback_can_stop(small):
    calls = []
    stop = [lambda event: event.epoch == 2, lambda event: calls.append(event.epoch)]
    model = uf.RBM(3, n_iter=9, random_state=0, callbacks=stop).fit(small)
    assert model.n_iter_ == 2
    assert calls == [1, 2]  # every callback is called in the last epoch too
    assert_same_model(model, uf.RBM(3, n_iter=2, random_state=0).fit(small))


def test_an_error_in_a_callback_comes_through(small):
    def fail(event):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        uf.RBM(3, n_iter=3, callbacks=[fail]).fit(small)


def test_held_out_rows_are_held_out(small):
    """Changing held-out rows changes their scores and nothing else."""
    model = uf.RBM(3, n_iter=2, random_state=0, validation_fraction=0.25).fit(small)
    keys = {"free_energy_gap", "validation_pseudo_log_likelihood", "validation_score"}
    assert keys <= set(model.history_)
    trained_on = []
    for row in range(60):
        X = small.copy()
        X[row] = 1 - X[row]
        other = clone(model).set_params(n_iter=1).fit(X)
        first = clone(model).set_params(n_iter=1).fit(small)
        trained_on.append(not np.array_equal(other.components_, first.components_))
        if not trained_on[-1]:
            assert other.history_["free_energy_gap"] != first.history_["free_energy_gap"]
    assert sum(trained_on) == 45
    # the gap is the difference of mean free energies
    held_out = ~np.array(trained_on)
    energy = model.free_energy(small)
    gap = energy[held_out].mean() - energy[~held_out].mean()
    assert model.history_["free_energy_gap"][-1] == pytest.approx(gap, rel=1e-4, abs=1e-5)


def test_early_stopping_restores_the_best_epoch(small):
    X = small[:, :6]
    options = {"validation_fraction": 0.3, "learning_rate": 0.3, "random_state": 0}
    saved = {}

    def keep(event):
        saved[event.epoch] = arrays(event.model)

    model = uf.RBM(8, n_iter=60, patience=4, callbacks=[keep], **options).fit(X)
    scores = model.history_["validation_score"]
    best = int(np.argmax(scores)) + 1
    assert len(scores) == best + 4 < 60
    assert model.n_iter_ == best
    for name, value in saved[best].items():
        assert_array_equal(getattr(model, name), value)
    assert not np.array_equal(model.components_, saved[len(scores)]["components_"])


def test_rate_schedules(small):
    def after(rate, n_iter=3, **options):
        return uf.RBM(3, learning_rate=rate, n_iter=n_iter, random_state=0, **options).fit(small)

    expected = after([0.1, 0.05, 0.02])
    assert_same_model(after((0.1, 0.05, 0.02)), expected)
    assert_same_model(after(lambda epoch: [0.1, 0.05, 0.02][epoch]), expected)
    assert_same_model(after(np.array([0.1, 0.05, 0.02])), expected)
    assert_same_model(after([0.1]), after(0.1))  # the last value holds on
    assert_same_model(after([0.1, 0.05], n_iter=1), after(0.1, n_iter=1))
    assert_other_model(after(0.1), expected)
    constant = after(0.1, momentum=0.5)
    assert_same_model(after(0.1, momentum=lambda epoch: 0.5), constant)
    assert_other_model(after(0.1, momentum=[0.5, 0.9]), constant)


def test_shuffling(small):
    def after(shuffle, X):
        model = uf.RBM(3, n_iter=1, shuffle=shuffle, random_state=0, batch_size=60)
        return model.fit(X).components_

    # one mini-batch of all rows: order matters to rounding only
    assert_allclose(after(True, small), after(False, small), atol=1e-6)
    other = uf.RBM(3, n_iter=2, shuffle=True, random_state=0).fit(small)
    assert_other_model(other, clone(other).set_params(shuffle=False).fit(small))


def test_partial_fit_is_one_update(small):
    """A mini-batch a call is what fit does with rows in their order."""
    model = uf.RBM(3, n_iter=1, shuffle=False, random_state=0, batch_size=10).fit(small)
    steps = uf.RBM(3, random_state=0, batch_size=10)
    for first in range(0, 60, 10):
        assert steps.partial_fit(small[first : first + 10]) is steps
    assert_same_model(steps, model)


def test_fit_forgets_the_fit_before(small):
    model = uf.RBM(3, n_iter=2, random_state=0, momentum=0.5, centering=True).fit(small)
    first = arrays(model)
    model.fit(small)
    for name, value in first.items():
        assert_array_equal(getattr(model, name), value)
    assert model.history_["epoch"] == [1, 2]
    model.fit(small[:, :5])
    assert model.components_.shape == (3, 5)


def test_verbose_prints_a_line_an_epoch(small, capsys):
    uf.RBM(3, n_iter=2, verbose=1, random_state=0).fit(small)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for i, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"\[RBM\] Iteration {i}, pseudo-likelihood = -\d+\.\d\d, time = \d+\.\d\ds", line
        )
    uf.RBM(3, n_iter=2, random_state=0).fit(small)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    uf.RBM(3, n_iter=1, verbose=2, random_state=0).fit(small)
    assert "epoch 1/1" in capsys.readouterr().err


# ------------------------------------------------------------------------------ interruption


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_at_once_and_leaves_a_valid_model():
    X = (np.random.default_rng(0).random((20_000, 100)) < 0.3).astype(np.float32)
    # an epoch of several seconds or more
    model = uf.RBM(200, n_iter=50, k=1000, random_state=0)
    sent = []

    def interrupt():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.7, interrupt)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X)
        stopped = time.monotonic()
    finally:
        timer.cancel()
        timer.join()
    assert stopped - sent[0] < 0.5
    assert model.n_iter_ == 0  # in the middle of the first epoch
    for value in arrays(model).values():
        assert np.isfinite(value).all()
    assert np.abs(model.intercept_visible_).max() > 0.01  # what was learned is kept
    assert model.transform(X[:5]).shape == (5, 200)
    model.partial_fit(X[:10])


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_sampling(small):
    model = uf.RBM(30, n_iter=1, random_state=0).fit(small)
    sent = []

    def interrupt():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    for work in (
        lambda: model.sample(100, steps=10**7),
        lambda: model.log_partition(n_chains=100, n_temperatures=10**6),
    ):
        timer = threading.Timer(0.3, interrupt)
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                work()
            assert time.monotonic() - sent[-1] < 0.5
        finally:
            timer.cancel()
            timer.join()


# ------------------------------------------------------------------------------ divergence


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["pcd", "cd"])
def test_divergence_is_an_error_that_keeps_the_last_epoch(small, tmp_path, dtype, method):
    path = tmp_path / "c.safetensors"
    X = small.astype(dtype)
    good = uf.RBM(4, method=method, n_iter=2, random_state=0, momentum=0.9).fit(X)
    huge = float(np.finfo(dtype).max)
    model = uf.RBM(
        4,
        method=method,
        n_iter=5,
        random_state=0,
        momentum=0.9,
        learning_rate=[0.1, 0.1, huge],
        checkpoint=path,
    )
    with pytest.raises(uf.DivergenceError, match=r"mini-batch \d+.*epoch 3.*learning_rate"):
        model.fit(X)
    assert_same_model(model, good)
    assert model.n_iter_ == 2
    assert model.history_["epoch"] == [1, 2]
    assert_same_model(uf.load(path), good)
    assert_array_equal(model.transform(X), good.transform(X))
    # training can go on from the file
    resumed = uf.RBM(4, method=method, n_iter=3, momentum=0.9, resume=path).fit(X)
    whole = uf.RBM(4, method=method, n_iter=3, random_state=0, momentum=0.9).fit(X)
    assert_same_model(resumed, whole)


def test_divergence_in_the_first_epoch_keeps_the_initial_state(small):
    model = uf.RBM(4, learning_rate=1e300, random_state=0)
    with pytest.raises(uf.DivergenceError, match=r"mini-batch \d+"):
        model.fit(small)
    assert_same_model(model, uf.RBM(4, n_iter=0, random_state=0).fit(small))
    with pytest.raises(FloatingPointError):  # what it is a kind of
        model.fit(small)


def test_divergence_in_partial_fit_keeps_the_state_before(small):
    model = uf.RBM(4, random_state=0, n_iter=2).fit(small)
    before = arrays(model)
    model.set_params(learning_rate=1e300)
    with pytest.raises(uf.DivergenceError, match="mini-batch"):
        for _ in range(20):
            before = arrays(model)
            model.partial_fit(small)
    for name, value in before.items():
        assert_array_equal(getattr(model, name), value)
    assert np.isfinite(model.transform(small)).all()


def test_divergence_in_a_stream_keeps_the_state_before(small):
    batches = [small[:20], small[20:]]
    model = uf.RBM(4, learning_rate=1e300, random_state=0)
    with pytest.raises(uf.DivergenceError):
        model.fit(batches_of(batches))
    assert model.components_.shape == (4, 12)
    assert_array_equal(model.intercept_visible_, np.zeros(12, np.float32))
    assert model.transform(small).shape == (60, 4)


def test_divergence_that_only_the_scores_show_is_noticed(small):
    """Weights near the end of the range are finite, but nothing computed from them is."""
    model = uf.RBM(4, learning_rate=1e38, n_iter=5, random_state=0)
    try:
        with np.errstate(all="ignore"):
            model.fit(small)
    except uf.DivergenceError:
        pass
    assert np.isfinite(model.history_.get("pseudo_log_likelihood", [])).all()


def test_divergent_variances_are_noticed(small):
    """Squares overflow before anything else does: no NaN may slip through."""
    X = np.zeros((8, 3), np.float32)
    X[::2, 0] = 1e25
    plain = uf.units.Gaussian(standardize=False)
    model = uf.RBM(2, visible=plain, learning_rate=1e-30, n_iter=1, random_state=0)
    try:
        model.fit(X)
    except uf.DivergenceError:
        pass
    for name, value in arrays(model).items():
        assert np.isfinite(value).all(), name


# ------------------------------------------------------------------------------ streams


class batches_of:
    """An iterable that can be read again, and counts how often it was."""

    def __init__(self, batches):
        self.batches, self.reads = batches, 0

    def __iter__(self):
        self.reads += 1
        return iter(self.batches)


def test_a_stream_of_one_block_is_the_array(small):
    """Mini-batches do not depend on how the rows arrive."""
    by_stream = []
    for size in (60, 17, 1):
        stream = batches_of([small[i : i + size] for i in range(0, 60, size)])
        by_stream.append(uf.RBM(4, n_iter=3, random_state=0, shuffle=False).fit(stream))
        assert stream.reads <= 4  # once an epoch, and possibly a look at the first batch
    whole = uf.RBM(4, n_iter=3, random_state=0, shuffle=False).fit(small)
    for model in by_stream:
        assert_same_model(model, whole)
        assert model.n_iter_ == 3
        assert model.n_features_in_ == 12
        assert model.history_["epoch"] == [1, 2, 3]


def test_a_stream_of_many_blocks(digits):
    X = digits[:1500].astype(np.float32)
    stream = batches_of([X[i : i + 100] for i in range(0, 1500, 100)])
    model = uf.RBM(30, n_iter=4, batch_size=10, random_state=0).fit(stream)
    whole = uf.RBM(30, n_iter=4, batch_size=10, random_state=0).fit(X)
    assert model.score_samples(X).mean() == pytest.approx(whole.score_samples(X).mean(), abs=1.5)
    assert model.components_.dtype == np.float32


def test_a_stream_of_sparse_batches(small):
    dense = uf.RBM(4, n_iter=2, random_state=0).fit(batches_of([small[:30], small[30:]]))
    sparse = uf.RBM(4, n_iter=2, random_state=0).fit(
        batches_of([sp.csr_array(small[:30]), sp.csr_matrix(small[30:])])
    )
    assert_same_model(dense, sparse)


def test_streams_resume(small, tmp_path):
    path = tmp_path / "c.safetensors"
    stream = batches_of([small[:30], small[30:]])
    whole = uf.RBM(4, n_iter=4, random_state=0).fit(stream)
    uf.RBM(4, n_iter=2, random_state=0, checkpoint=path).fit(stream)
    assert uf.load(path).n_iter_ == 2
    resumed = uf.RBM(4, n_iter=4, random_state=5, resume=path).fit(stream)
    assert_same_model(resumed, whole)
    assert resumed.history_["epoch"] == [1, 2, 3, 4]


def test_an_iterator_can_be_read_once(small):
    def generate():
        yield from (small[:30], small[30:])

    with pytest.raises(ValueError, match=r"X is an iterator.*n_iter"):
        uf.RBM(4, n_iter=2).fit(generate())
    model = uf.RBM(4, n_iter=1, random_state=0).fit(generate())
    assert_same_model(model, uf.RBM(4, n_iter=1, random_state=0).fit(batches_of([small])))


def test_streams_refuse_what_they_cannot_do(small):
    stream = batches_of([small])
    with pytest.raises(ValueError, match="row_weight"):
        uf.RBM(4).fit(stream, row_weight=np.ones(60))
    with pytest.raises(ValueError, match="validation_fraction"):
        uf.RBM(4, validation_fraction=0.1).fit(stream)
    with pytest.raises(ValueError, match="X"):
        uf.RBM(4).fit(batches_of([]))
    with pytest.raises(ValueError, match="3"):
        uf.RBM(4).fit(batches_of([small, small[:, :3]]))
    bad = small.copy()
    bad[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        uf.RBM(4).fit(batches_of([small, bad]))


def test_an_error_in_a_stream_comes_through(small):
    class Broken:
        def __iter__(self):
            yield small
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        uf.RBM(4, n_iter=1).fit(Broken())


def test_memmap(small, tmp_path):
    np.save(tmp_path / "x.npy", small)
    X = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(X, np.memmap)
    model = uf.RBM(4, n_iter=2, random_state=0).fit(X)
    assert_same_model(model, uf.RBM(4, n_iter=2, random_state=0).fit(small))
    assert_array_equal(model.transform(X), model.transform(small))


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_scoring_copies_a_part_of_the_rows_at_a_time(visible):
    X = np.zeros((100_000, 64), np.float32)
    X[::3, ::2] = 1
    X[1::3, 1::2] = 1
    model = uf.RBM(4, n_iter=1, visible=visible, random_state=0).fit(X[:30])
    calls = [model.free_energy, model.score_samples]
    if visible == "bernoulli":
        calls.append(lambda X: model.pseudo_log_likelihood(X, exact=True))
    for call in calls:
        tracemalloc.start()
        try:
            result = call(X)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < X.nbytes / 2
        if np.ndim(result):
            assert_allclose(result[-40:], call(X[-40:]), rtol=1e-6)


# ------------------------------------------------------------------------------ inputs


def unsorted_csr(X):
    csr = sp.csr_array(X)
    for begin, end in itertools.pairwise(csr.indptr):
        csr.indices[begin:end] = csr.indices[begin:end][::-1].copy()
        csr.data[begin:end] = csr.data[begin:end][::-1].copy()
    return sp.csr_array((csr.data, csr.indices, csr.indptr), shape=csr.shape)


def duplicated_csr(X):
    coo = sp.coo_array(X)
    rows, cols = coo.row, coo.col
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=X.shape[0]) * 2)])
    return sp.csr_array(
        (np.repeat(coo.data[order] / 2, 2), np.repeat(cols[order], 2), indptr), shape=X.shape
    )


def strided(X):
    wide = np.full((X.shape[0] * 2, X.shape[1] * 3), np.nan, X.dtype)
    wide[::2, ::3] = X
    return wide[::2, ::3]


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "reversed": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "read-only": lambda X: [c := X.copy(), c.setflags(write=False)][0],
    "list": lambda X: X.tolist(),
    "int": lambda X: X.astype(int),
    "uint8": lambda X: X.astype(np.uint8),
    "bool": lambda X: X.astype(bool),
    "object": lambda X: X.astype(object),
    "float16": lambda X: X.astype(np.float16),
    "csr": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "csc": sp.csc_matrix,
    "coo": sp.coo_array,
    "lil": sp.lil_array,
    "csr-int64": lambda X: [
        c := sp.csr_array(X),
        setattr(c, "indices", c.indices.astype(np.int64)),
        setattr(c, "indptr", c.indptr.astype(np.int64)),
    ][0],
    "csr-unsorted": unsorted_csr,
    "csr-duplicates": duplicated_csr,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_right(small, layout):
    X = small.astype(np.float64)
    model = uf.RBM(4, n_iter=2, random_state=0)
    expected = clone(model).fit(X)
    given = LAYOUTS[layout](X)
    assert_same_model(model.fit(given), expected)
    assert_array_equal(model.transform(given), expected.transform(X))
    assert_allclose(model.free_energy(given), expected.free_energy(X), rtol=1e-13)
    assert_allclose(model.score_samples(given), expected.score_samples(X), rtol=1e-12)
    assert_array_equal(model.reconstruct(given), expected.reconstruct(X))
    steps = uf.RBM(4, random_state=0).partial_fit(given)
    assert_same_model(steps, uf.RBM(4, random_state=0).partial_fit(X))


@pytest.mark.parametrize("layout", ["fortran", "strided", "list", "int", "csc", "csr-unsorted"])
def test_layouts_of_hidden_and_gibbs(small, layout):
    X = small.astype(np.float64)
    model = uf.RBM(4, n_iter=2, random_state=0).fit(X)
    H = (model.transform(X) > 0.5).astype(float)
    if "cs" not in layout:
        assert_array_equal(model.inverse_transform(LAYOUTS[layout](H)), model.inverse_transform(H))
    model.random_state_ = np.random.RandomState(0)
    expected = model.gibbs(X)
    model.random_state_ = np.random.RandomState(0)
    assert_array_equal(model.gibbs(LAYOUTS[layout](X)), expected)


def test_inputs_are_not_written_to(small):
    for X in (small.copy(), sp.csr_array(small), unsorted_csr(small)):
        parts = [X] if isinstance(X, np.ndarray) else [X.data, X.indices, X.indptr]
        before = [part.copy() for part in parts]
        model = uf.RBM(4, n_iter=1, random_state=0).fit(X)
        model.score_samples(X)
        model.pseudo_log_likelihood(X, exact=True)
        model.gibbs(X)
        for part, kept in zip(parts, before, strict=True):
            assert_array_equal(part, kept)


BAD_INPUTS = {
    "empty": (np.zeros((0, 12)), ValueError, "0 sample"),
    "no features": (np.zeros((5, 0)), ValueError, "0 feature"),
    "one-dimensional": (np.zeros(12), ValueError, "2D"),
    "three-dimensional": (np.zeros((2, 3, 4)), ValueError, "dim 3"),
    "scalar": (3.0, (ValueError, TypeError), "scalar|2D"),
    "text": (np.array([["a"] * 12]), (ValueError, TypeError), "string|numeric"),
    "string": ("abc", (ValueError, TypeError), "2D|str"),
    "None": (None, (ValueError, TypeError), "None|2D"),
    "complex": (np.zeros((3, 12), complex), ValueError, "[Cc]omplex"),
    "ragged": ([[0.0] * 12, [0.0]], ValueError, "inhomogeneous|sequence"),
    "dict": ({"a": 1}, (ValueError, TypeError), "dict|2D"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "free_energy"])
def test_bad_data(small, case, method):
    X, error, message = BAD_INPUTS[case]
    model = uf.RBM(4, n_iter=1, random_state=0)
    if method in ("transform", "free_energy"):
        model.fit(small.astype(np.float64))
    with pytest.raises(error, match=message):
        getattr(model, method)(X)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sparse", [False, True])
def test_nan_and_infinity_are_refused(small, value, sparse):
    X = small.copy()
    X[np.nonzero(X)[0][7], np.nonzero(X)[1][7]] = value
    X = sp.csr_array(X) if sparse else X
    fitted = uf.RBM(4, n_iter=1, random_state=0).fit(small)
    before = arrays(fitted)
    calls = [
        fitted.partial_fit,
        fitted.score_samples,
        fitted.free_energy,
        fitted.reconstruct,
        fitted.log_likelihood,
        uf.BernoulliRBM(4).fit,
        uf.BernoulliRBM(4, n_iter=1).fit(small).transform,
    ]
    if sparse or not np.isnan(value):  # NaN in a dense array is a missing value
        calls += [uf.RBM(4).fit, fitted.transform, fitted.impute]
    for call in calls:
        with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
            call(X)
    for name, kept in before.items():
        assert_array_equal(getattr(fitted, name), kept)


def test_wrong_widths_are_refused(small):
    model = uf.RBM(4, n_iter=1, random_state=0).fit(small)
    for call in (
        model.partial_fit,
        model.transform,
        model.free_energy,
        model.score_samples,
        model.reconstruct,
        model.log_likelihood,
    ):
        for X in (small[:, :11], sp.csr_array(small[:, :11])):
            with pytest.raises(ValueError, match=r"X has 11 features.*12"):
                call(X)
    with pytest.raises(ValueError, match=r"H has shape \(60, 12\); expected.*4"):
        model.inverse_transform(small)
    with pytest.raises(ValueError, match=r"H has shape \(4,\)"):
        model.inverse_transform(np.zeros(4))
    for wrong in (small[:, :11], small[0, :11]):
        with pytest.raises(ValueError, match="11"):
            model.gibbs(wrong)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_states_that_are_not_finite_are_refused(small, bad):
    model = uf.RBM(4, n_iter=1, random_state=0).fit(small)
    v, h = small.copy(), np.zeros((3, 4))
    v[7, 3] = h[1, 1] = bad
    with pytest.raises(ValueError, match="v has NaN or infinite"):
        model.gibbs(v)
    with pytest.raises(ValueError, match="v has NaN or infinite"):
        model.gibbs(sp.csr_array(v))
    with pytest.raises(ValueError, match="H has NaN or infinite"):
        model.inverse_transform(h)
    with pytest.raises(ValueError, match="start has NaN or infinite"):
        model.log_partition("reverse_ais", start=v, n_temperatures=3)
    with pytest.raises(TypeError, match="sparse"):
        model.inverse_transform(sp.csr_array(np.ones((3, 4))))
    if np.isinf(bad):
        with pytest.raises(ValueError, match="clamp has infinite"):
            model.sample(2, 1, clamp=v[7])


def test_foreign_byte_order_keeps_the_precision(small):
    foreign = small.astype(small.dtype.newbyteorder(">"))
    model = uf.RBM(4, n_iter=2, random_state=0).fit(foreign)
    assert model.components_.dtype == np.float32
    assert_same_model(model, clone(model).fit(small))
    assert model.transform(foreign).dtype == np.float32


def test_row_weights_are_checked(small):
    good = uf.RBM(4, n_iter=1, random_state=0).fit(small)
    for weight, error in (
        (np.ones(59), ValueError),
        (np.ones((60, 2)), ValueError),
        (-np.ones(60), ValueError),
        (np.full(60, np.nan), ValueError),
        (np.full(60, np.inf), ValueError),
        (["a"] * 60, (ValueError, TypeError)),
    ):
        for method in ("fit", "partial_fit"):
            with pytest.raises(error, match="weight"):
                getattr(uf.RBM(4), method)(small, row_weight=weight)
    ones = clone(good).fit(small, row_weight=np.ones(60))
    assert_allclose(ones.components_, good.components_, atol=1e-7)
    assert_same_model(clone(good).fit(small, row_weight=[1] * 60), ones)
    assert_other_model(clone(good).fit(small, row_weight=np.arange(60)), ones)


# Unlike a mere complaint, the message says which argument, what came, and what was expected.
BAD_ARGUMENTS = [
    ("n_components", (0, -1, 1.5, "4", None, True, np.nan)),
    ("batch_size", (0, -3, 2.5, "a", None)),
    ("n_iter", (-1, 0.5, "a", None)),
    ("k", (0, -1, 1.5, "a", None, 2**40)),
    ("learning_rate", (0, -0.1, np.nan, np.inf, "a", None, [], [0.1, "a"], {}, lambda epoch: "a")),
    ("momentum", (1, -0.1, 1.5, np.nan, "a", None, [], lambda epoch: 2)),
    ("weight_decay", (-1, np.nan, np.inf, "a", None)),
    ("l1", (-1, np.nan, np.inf, "a", None)),
    ("sparsity_target", (0, 1, -0.5, 2, np.nan, "a")),
    ("sparsity_cost", (-1, np.nan, np.inf, "a", None)),
    ("selectivity_target", (0, 1, -0.5, 2, np.nan, "a")),
    ("selectivity_cost", (-1, 1.5, np.nan, np.inf, "a", None)),
    ("method", ("PCD", "", None, 3, ["pcd"])),
    ("visible", ("binary", None, 3)),
    ("precision", ("float16", None, 32, np.float32)),
    ("device", ("tpu", None, 0)),
    ("validation_fraction", (0, 1, -0.1, 2, np.nan, "a", 0.9999)),
    ("checkpoint_every", (0, -1, 0.5, "a", None)),
    ("patience", (0, -1, 1.5, "a")),
    ("centering", ("yes", None, 2)),
    ("learn_sigma", ("yes", None, 2)),
    ("shuffle", ("yes", None, 2)),
    ("verbose", ("loud", None)),
    ("callbacks", (5, [5], "abc")),
    ("checkpoint", (5, 1.5, ["a"])),
    ("resume", (5, 1.5, ["a"])),
]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_ARGUMENTS for value in values],
    ids=lambda x: x if isinstance(x, str) else repr(x)[:24],
)
def test_bad_constructor_arguments_are_named(small, name, value, method):
    model = uf.RBM(**{"n_components": 3, "n_iter": 2, name: value})
    if method == "partial_fit" and (name in ("checkpoint", "resume", "verbose", "callbacks")):
        pytest.skip(f"partial_fit has no use for {name}")
    if value == 0.9999 and method == "partial_fit":
        pytest.skip("partial_fit holds no rows out")
    if name == "patience":
        model.set_params(validation_fraction=0.2)
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(model, method)(small)
    message = str(caught.value)
    assert re.search(rf"\b{name}\b", message)
    assert "expected" in message or "leaves no rows" in message
    # nothing was trained
    assert not hasattr(model, "history_") or not model.history_


@pytest.mark.parametrize("seed", ["a", -1, 1.5])
def test_bad_random_states_are_refused(small, seed):
    model = uf.RBM(3, n_iter=1, random_state=0).fit(small)
    with pytest.raises(ValueError, match=r"[Ss]eed"):
        uf.RBM(3, random_state=seed).fit(small)
    with pytest.raises(ValueError, match=r"[Ss]eed"):
        model.sample(2, 2, random_state=seed)


def test_patience_needs_held_out_rows(small):
    with pytest.raises(ValueError, match="patience needs validation_fraction"):
        uf.RBM(3, patience=2).fit(small)


def test_a_bad_later_rate_keeps_the_epochs_before(small):
    model = uf.RBM(3, learning_rate=[0.1, -1.0], n_iter=3, random_state=0)
    with pytest.raises(ValueError, match="learning_rate"):
        model.fit(small)


def test_a_checkpoint_in_a_missing_folder_is_found_out(small, tmp_path):
    with pytest.raises(OSError, match="missing"):
        uf.RBM(3, n_iter=1, checkpoint=tmp_path / "missing" / "c").fit(small)


def test_bad_arguments_of_methods(small):
    model = uf.RBM(3, n_iter=1, random_state=0).fit(small)
    for name, value in (("n_samples", -1), ("n_samples", 1.5), ("steps", -1), ("steps", "a")):
        with pytest.raises((ValueError, TypeError), match=name):
            model.sample(**{name: value})
    for clamp in (np.zeros(11), np.zeros((3, 12)), np.zeros((2, 2, 12)), 1.0):
        with pytest.raises(ValueError, match="clamp"):
            model.sample(2, 3, clamp=clamp)
    with pytest.raises((ValueError, TypeError), match="clamp"):
        model.sample(2, 3, clamp=["a"] * 12)
    with pytest.raises(ValueError, match="method is 'magic'"):
        model.log_partition("magic")
    for name in ("n_chains", "n_temperatures"):
        for value in (0, -1, 1.5, "a"):
            with pytest.raises((ValueError, TypeError), match=name):
                model.log_partition(**{name: value})
    with pytest.raises((ValueError, TypeError), match=r"start|v has shape"):
        model.log_partition("reverse_ais", start=np.zeros((2, 11)), n_temperatures=3)
    gaussian = uf.RBM(3, visible="gaussian", learning_rate=0.01, n_iter=1).fit(small)
    with pytest.raises(
        ValueError, match=r"finitely many states.*visible is 'gaussian'.*log_likelihood"
    ):
        gaussian.pseudo_log_likelihood(small)
    large = uf.RBM(23, n_iter=0, random_state=0).fit(np.zeros((2, 23)))
    with pytest.raises(ValueError, match=r"8.389e\+06 joint states.*4194304"):
        large.log_partition("exact")


def test_zero_sample_and_reconstruction_shapes(small):
    model = uf.RBM(3, n_iter=1, random_state=0).fit(small)
    assert_array_equal(
        model.sample(3, 0, clamp=np.arange(12) % 2), np.tile(np.arange(12) % 2, (3, 1))
    )
    full = model.sample(3, 5, clamp=np.ones(12))
    assert_array_equal(full, 1)
    means = model.sample(3, 5, clamp=[1.0] + [np.nan] * 11, mean=True)
    assert_array_equal(means[:, 0], 1)
    assert ((means[:, 1:] > 0) & (means[:, 1:] < 1)).all()


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
def test_huge_values_do_not_crash(visible, dtype, sparse):
    X = np.random.default_rng(0).choice([0.0, 1e30, -1e30, 1.0], (40, 12)).astype(dtype)
    data = sp.csr_array(X) if sparse else X
    model = uf.RBM(4, visible=visible, n_iter=2, random_state=0)
    try:
        with np.errstate(all="ignore"):
            model.fit(data)
    except uf.DivergenceError:
        pass
    for name, value in arrays(model).items():
        assert np.isfinite(value).all(), name
    hidden = model.transform(data)
    assert ((hidden >= 0) & (hidden <= 1)).all()
    with np.errstate(all="ignore"):
        model.score_samples(data)
        model.gibbs(X)


def test_saturated_machines_stay_finite(small):
    model = uf.RBM(4, n_iter=1, random_state=0).fit(small)
    model.components_ = np.full((4, 12), 1e4, np.float32)
    model.intercept_visible_ = np.full(12, -1e4, np.float32)
    assert np.isfinite(model.free_energy(small)).all()
    assert np.isfinite(model.score_samples(small)).all()
    assert np.isfinite(model.log_likelihood(small, "exact").value)
    estimate = model.log_partition(n_chains=10, n_temperatures=50)
    assert np.isfinite([estimate.value, *estimate.interval]).all()
    assert set(np.unique(model.sample(5, 10))) <= {0, 1}


# ------------------------------------------------------------------------------ BernoulliRBM's ways


@pytest.fixture(params=[uf.BernoulliRBM, uf.RBM])
def rbm_class(request):
    return request.param


def test_takes_what_scikit_learns_class_takes():
    theirs = pytest.importorskip("sklearn.neural_network").BernoulliRBM
    expected = theirs().get_params()
    assert uf.BernoulliRBM().get_params() == expected
    ours = uf.RBM().get_params()
    assert {name: ours[name] for name in expected} == expected


def test_has_what_scikit_learns_class_has(digits):
    theirs = pytest.importorskip("sklearn.neural_network").BernoulliRBM
    options = {"n_components": 6, "n_iter": 2, "random_state": 0}
    a = theirs(**options).fit(digits[:50])
    b = uf.BernoulliRBM(**options).fit(digits[:50])
    for name, value in vars(a).items():
        assert hasattr(b, name), name
        if isinstance(value, np.ndarray):
            assert getattr(b, name).shape == value.shape
            assert getattr(b, name).dtype == value.dtype
    for name in dir(a):
        if not name.startswith("_"):
            assert hasattr(b, name), name


@pytest.mark.parametrize("by", ["fit", "partial_fit"])
def test_learns_digits_as_well_as_scikit_learn(rbm_class, digits, by):
    X = digits.copy()
    model = rbm_class(64, learning_rate=0.1, n_iter=7, random_state=9, batch_size=10)
    if by == "fit":
        model.fit(X)
    else:
        for _ in range(7):
            for batch in np.array_split(X, 180):
                model.partial_fit(batch)
    assert -22.5 < model.score_samples(X).mean() < -19.5
    assert_array_equal(X, digits)


def test_transform_is_mean_hiddens(rbm_class, digits):
    X = digits[:100]
    model = rbm_class(16, batch_size=5, n_iter=5, random_state=42).fit(X)
    H = model.transform(X)
    assert_array_equal(H, model._mean_hiddens(X))
    z = X @ model.components_.T + model.intercept_hidden_
    assert_allclose(H, 1 / (1 + np.exp(-z)), rtol=1e-12)
    assert_allclose(model._mean_hiddens(X[3]), H[3], rtol=1e-12)


def test_sampled_hiddens_average_to_their_means(rbm_class, digits):
    X = digits[:100]
    model = rbm_class(2, batch_size=5, n_iter=5, random_state=42).fit(X)
    rng = np.random.RandomState(0)
    drawn = np.mean([model._sample_hiddens(X[0], rng) for _ in range(1000)], axis=0)
    assert_allclose(drawn, model._mean_hiddens(X[0]), atol=0.08)
    assert model._sample_hiddens(X[0], rng).dtype == bool


@pytest.mark.parametrize("container", [np.asarray, sp.csc_matrix, sp.csc_array, sp.csr_array])
def test_gibbs_recreates_two_points(rbm_class, container):
    X = container(np.array([[0.0], [1.0]]))
    model = rbm_class(2, batch_size=2, n_iter=3, random_state=0).fit(X)
    # held by strong weights, a step returns what it was given
    model.components_ = np.full((2, 1), 80.0)
    model.intercept_hidden_ = np.full(2, -40.0)
    model.intercept_visible_ = np.full(1, -80.0)
    assert_array_equal(model.gibbs(X), [[False], [True]])


def test_gibbs_moves(rbm_class, digits):
    model = rbm_class(42, batch_size=40, n_iter=5, random_state=42).fit(digits)
    a, b = model.gibbs(digits), model.gibbs(digits)
    assert a.dtype == bool
    assert a.shape == digits.shape
    assert (a != b).any(axis=1).all()


def test_scores_are_not_clipped(rbm_class):
    X = np.vstack([np.zeros(1000), np.ones(1000)])
    model = rbm_class(10, batch_size=2, n_iter=10, random_state=np.random.RandomState(42)).fit(X)
    assert (model.score_samples(X) < -300).all()
    model.random_state = 42
    dense = model.score_samples(X)
    assert_allclose(model.score_samples(sp.lil_array(X)), dense, rtol=1e-12)
    assert_allclose(model.score_samples(sp.csr_matrix(X)), dense, rtol=1e-12)
    with np.errstate(under="ignore"):
        assert np.isfinite(model.score_samples([np.arange(1000) * 100])).all()


@pytest.mark.parametrize("verbose", [True, 10])
@pytest.mark.parametrize("container", [np.asarray, sp.csc_array])
def test_verbose_line_is_scikit_learns(container, verbose, capsys):
    X = container(np.array([[0.0], [1.0]]))
    uf.BernoulliRBM(2, batch_size=2, n_iter=1, random_state=42, verbose=verbose).fit(X)
    assert re.match(
        r"\[BernoulliRBM\] Iteration 1, pseudo-likelihood = -?\d+(\.\d+)?, time = [\d.]+s\n",
        capsys.readouterr().out,
    )


def test_verbose_can_be_captured(digits, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    uf.BernoulliRBM(2, n_iter=2, verbose=1).fit(digits[:20])
    assert out.getvalue().count("Iteration") == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [(np.float32, np.float32), (np.float64, np.float64), (int, np.float64)],
)
def test_transform_keeps_the_dtype(rbm_class, digits, given, expected):
    X = digits[:100].astype(given)
    model = rbm_class(16, batch_size=5, n_iter=5, random_state=42)
    assert model.fit_transform(X).dtype == expected


def test_float32_and_float64_learn_the_same(rbm_class, digits):
    models = {}
    for dtype in (np.float32, np.float64):
        X = digits[:100].astype(dtype)
        models[dtype] = rbm_class(16, batch_size=5, n_iter=5, random_state=42).fit(X)
    a, b = models[np.float32], models[np.float64]
    X = digits[:100]
    assert_allclose(a.transform(X.astype(np.float32)), b.transform(X), rtol=1e-4)
    assert_allclose(a.intercept_hidden_, b.intercept_hidden_, rtol=1e-4, atol=1e-6)
    assert_allclose(a.intercept_visible_, b.intercept_visible_, rtol=1e-4, atol=1e-6)
    assert_allclose(a.components_, b.components_, rtol=1e-3, atol=1e-6)
    assert_array_equal(a.h_samples_, b.h_samples_)


@pytest.mark.parametrize("container", [sp.csc_matrix, sp.csc_array, sp.csr_matrix, sp.csr_array])
def test_small_sparse_data(rbm_class, digits, container):
    X = digits[:100]
    rbm_class(random_state=0).fit(container(X[:4]))
    sparse = rbm_class(64, random_state=9).partial_fit(container(X))
    dense = rbm_class(64, random_state=9).partial_fit(X)
    assert_allclose(sparse.components_, dense.components_, rtol=1e-12, atol=1e-15)
    assert_allclose(sparse.score_samples(X), dense.score_samples(X), rtol=1e-9)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_feature_names_out(digits, method):
    model = uf.BernoulliRBM(10, n_iter=1)
    getattr(model, method)(digits[:50])
    assert_array_equal(model.get_feature_names_out(), [f"bernoullirbm{i}" for i in range(10)])

"""Deep belief networks: layers, generation, labels, the bound on the likelihood, files."""

import copy
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

import unsupfast as uf
from unsupfast import _core

DIGITS = load_digits()
X = (DIGITS.data / 16).astype(np.float32)
Y = DIGITS.target
PLAIN = uf.units.Gaussian(standardize=False)


def small(widths=(30, 20, 25), **options):
    return uf.DBN(widths, **{"n_iter": 3, "batch_size": 50, "random_state": 0, **options})


def assert_same(a, b):
    for one, other in zip(a.layers_, b.layers_, strict=True):
        for name in ("components_", "intercept_hidden_", "intercept_visible_"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("kind", ["array", "csr", "memmap", "float64"])
def test_layers_are_machines_trained_on_the_activities_below(kind, tmp_path):
    rows = X
    if kind == "memmap":
        np.save(tmp_path / "x.npy", X)
        rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    elif kind != "array":
        rows = sp.csr_matrix(X) if kind == "csr" else X.astype(np.float64)
    dbn = small().fit(rows)
    below = rows
    for rbm in dbn.layers_:
        alone = uf.RBM(**rbm.get_params()).fit(below)
        np.testing.assert_array_equal(rbm.components_, alone.components_)
        below = alone.transform(below)
    np.testing.assert_array_equal(dbn.transform(rows), below)
    assert dbn.transform(rows, layer=1).shape == (len(X), 30)
    assert dbn.reconstruct(rows).shape == X.shape
    assert list(dbn.get_feature_names_out()) == [f"dbn{i}" for i in range(25)]


def cut(rows, size):
    return [rows[i : i + size] for i in range(0, rows.shape[0], size)]


class Batches:
    """An iterable that can be read again, and counts how often it was."""

    def __init__(self, batches):
        self.batches, self.reads = batches, 0

    def __iter__(self):
        self.reads += 1
        return iter(self.batches)


@pytest.mark.parametrize("activities", ["mean", "sample"])
def test_streams(activities):
    machine = uf.RBM(batch_size=50, n_iter=3, shuffle=False, method="cd")
    options = {"rbm": machine, "activities": activities, "random_state": 0}
    stream = Batches(cut(X, 300))
    dbn = uf.DBN((30, 20, 25), **options).fit(stream)
    assert dbn.n_features_in_ == 64
    assert 3 * 3 <= stream.reads <= 3 * (3 + 2)  # and a look or two at each layer's first batch
    whole = uf.DBN((30, 20, 25), **options).fit(X)
    if activities == "mean":  # one block, so that the order is the same
        assert_same(dbn, whole)
    assert_same(uf.DBN((30, 20, 25), **options).fit(cut_sparse(X)), dbn)
    with pytest.raises(ValueError, match=r"X is an iterator.*3 layers"):
        small().fit(iter(cut(X, 100)))


def cut_sparse(rows):
    return Batches([sp.csr_matrix(part) for part in cut(rows, 300)])


def test_sampled_activities_are_drawn_anew_in_every_epoch():
    seen = []

    class Spy(uf.RBM):
        def _train_rows(self, rows, order, *rest):
            seen.append(np.asarray(rows))
            return super()._train_rows(rows, order, *rest)

    machine = Spy(n_iter=3, batch_size=50)
    dbn = uf.DBN((30, 20, 25), rbm=machine, activities="sample", random_state=0).fit(X)
    assert [part.shape for part in seen] == [(1797, 64)] * 3 + [(1797, 30)] * 3 + [(1797, 20)] * 3
    p = dbn.transform(X, layer=1).mean(axis=0)
    for part in seen[3:]:
        assert set(np.unique(part)) == {0, 1}
    for part in seen[3:6]:
        assert np.abs(part.mean(axis=0) - p).max() < 5 * 0.5 / np.sqrt(1797)
    for a, b in ((3, 4), (4, 5), (6, 7), (7, 8)):
        assert not np.array_equal(seen[a], seen[b])


def test_activities_are_in_memory_once():
    rows = np.tile(X, (20, 1))  # 9.2 MB, and 14 MB of activities a layer
    machine = uf.RBM(n_iter=1, batch_size=500, precision="float32")
    tracemalloc.start()
    try:
        uf.DBN((100, 100, 100, 100), rbm=machine, random_state=0).fit(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    activities = rows.shape[0] * 100 * 4
    assert peak < 2.5 * activities  # those of a layer, of the next, and working space


def test_each_layer_any_machine():
    machines = [
        uf.RBM(visible="gaussian", learning_rate=0.001, n_iter=2, batch_size=50),
        uf.RBM(method="cd", k=2, n_iter=1, momentum=0.5, centering=True),
    ]
    Z = (255 * X[:, X.std(axis=0) > 0]).astype(np.float32)
    dbn = uf.DBN((20, 10), rbm=machines, random_state=0).fit(Z)
    assert [rbm.visible for rbm in dbn.layers_] == ["gaussian", "bernoulli"]
    assert [rbm.n_iter_ for rbm in dbn.layers_] == [2, 1]
    assert all(rbm.callbacks is None and rbm.resume is None for rbm in dbn.layers_)
    assert np.isfinite(dbn.log_likelihood(Z, n_temperatures=100, n_chains=10).value)
    assert dbn.sample(5, 10).shape == (5, Z.shape[1]) and machines[0].n_components == 256
    one = uf.DBN((20, 10), rbm=machines[0], random_state=0).fit(Z)
    assert [rbm.visible for rbm in one.layers_] == ["gaussian", "bernoulli"]


def test_callbacks_and_history_of_each_layer():
    told = []

    def callback(event):
        told.append((event.metrics["layer"], event.epoch, len(event.model.layers_)))
        return event.metrics["layer"] == 1 and event.epoch == 2

    dbn = small((10, 8), callbacks=[callback]).fit(X)
    assert told == [(1, 1, 1), (1, 2, 1), (2, 1, 2), (2, 2, 2), (2, 3, 2)]
    assert [history["epoch"] for history in dbn.history_] == [[1, 2], [1, 2, 3]]


# ------------------------------------------------------------------------------ files


def test_files(tmp_path):
    dbn = small(labels=True).fit(X, Y)
    dbn.save(tmp_path / "d.safetensors")
    other = uf.load(tmp_path / "d.safetensors")
    assert_same(dbn, other)
    assert repr(other) == repr(dbn)
    np.testing.assert_array_equal(other.predict_proba(X), dbn.predict_proba(X))
    drawn = [m.sample(5, 20, label=7, random_state=3) for m in (dbn, other)]
    np.testing.assert_array_equal(*drawn)


SETTINGS = {
    "mean": {},
    "sample": {"activities": "sample"},
    "labels": {"labels": True},
    "transposed": {
        "hidden_layer_sizes": (30, 64, 40),
        "init": "transposed",
        "activities": "sample",
    },
    "pcd": {"rbm": uf.RBM(n_iter=3, batch_size=50, momentum=0.5, centering=True)},
    "early": {
        "rbm": uf.RBM(n_iter=6, batch_size=50, validation_fraction=0.2, patience=1,
                      learning_rate=(0.1, 5.0, 0.1, 9.0))
    },
}  # fmt: skip


class Stopped(Exception):
    pass


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("layer, epoch", [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_resumed_is_uninterrupted(setting, layer, epoch, tmp_path):
    options = {"hidden_layer_sizes": (30, 20, 25), **SETTINGS[setting]}
    whole = small(options.pop("hidden_layer_sizes"), **options)
    widths = whole.hidden_layer_sizes
    whole.fit(X, Y)
    path = tmp_path / "c.safetensors"
    reached = []

    def stop(event):
        reached.append((event.metrics["layer"], event.epoch))
        if reached[-1] == (layer, epoch):
            raise Stopped

    try:
        small(widths, checkpoint=path, callbacks=[stop], **options).fit(X, Y)
    except Stopped:
        pass
    else:
        assert setting == "early"  # the layer ended before
    # the seed comes from the file
    rest = small(widths, **options).set_params(resume=path, random_state=9).fit(X, Y)
    assert_same(rest, whole)
    for one, other in zip(rest.layers_, whole.layers_, strict=True):
        np.testing.assert_array_equal(one.h_samples_, other.h_samples_)
        assert one.history_["epoch"] == other.history_["epoch"]


KILLED = """
import os, signal, sys
import numpy as np
import unsupfast as uf
path, rows = sys.argv[1:]
def kill(event):
    if (event.metrics["layer"], event.epoch) == (2, 2):
        os.kill(os.getpid(), signal.SIGKILL)
uf.DBN((30, 20, 25), n_iter=3, batch_size=50, random_state=0, checkpoint=path,
       callbacks=[kill]).fit(np.load(rows))
"""


def test_kill_9_loses_nothing_that_was_written(tmp_path):
    path, rows = tmp_path / "c.safetensors", tmp_path / "x.npy"
    np.save(rows, X)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(rows)], timeout=100)
    assert done.returncode == -signal.SIGKILL
    stopped = uf.load(path)
    assert len(stopped.layers_) == 2 and stopped.layers_[1].n_iter_ == 2
    assert stopped.transform(X).shape == (len(X), 20)
    assert_same(small(resume=path, random_state=1).fit(X), small().fit(X))


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_a_valid_network():
    dbn = small((200, 200), rbm=[uf.RBM(n_iter=1), uf.RBM(n_iter=50, k=1000)])
    sent = []

    def interrupt():
        while len(getattr(dbn, "layers_", ())) < 2 or not hasattr(dbn.layers_[1], "components_"):
            time.sleep(0.01)
        time.sleep(0.2)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        dbn.fit(X)
    assert time.monotonic() - sent[0] < 0.5
    thread.join()
    assert len(dbn.layers_) == 2 and dbn.layers_[1].n_iter_ == 0
    assert dbn.transform(X[:5]).shape == (5, 200)
    assert dbn.sample(3, 5).shape == (3, 64)
    assert dbn.layers_[1].callbacks is None


FAULTS = [
    ({"hidden_layer_sizes": ()}, TypeError, "hidden_layer_sizes is ()"),
    ({"hidden_layer_sizes": (3, 0)}, ValueError, "hidden_layer_sizes is (3, 0)"),
    ({"rbm": "rbm"}, TypeError, "rbm is 'rbm'; expected RBM"),
    ({"rbm": [uf.RBM()]}, ValueError, "rbm has 1 machines for the 3 layers"),
    ({"rbm": [uf.RBM(), uf.RBM(), uf.RBM(visible="gaussian")]}, ValueError, "visible='gaussian'"),
    ({"rbm": uf.RBM(learning_rate=-1)}, ValueError, "learning_rate is -1"),
    ({"n_iter": 1.5}, TypeError, "n_iter is 1.5"),
    ({"activities": "states"}, ValueError, "activities is 'states'; expected one of 'mean'"),
    ({"init": "tied"}, ValueError, "init is 'tied'"),
    ({"init": "transposed"}, ValueError, "hidden_layer_sizes[1] of at least 64"),
    ({"labels": 1}, TypeError, "labels is 1"),
    ({"checkpoint": 3}, TypeError, "checkpoint is 3"),
    ({"callbacks": 3}, TypeError, "callbacks is 3"),
    ({"checkpoint_every": 0}, ValueError, "checkpoint_every is 0"),
]


@pytest.mark.parametrize("options, error, message", FAULTS, ids=lambda v: str(v)[:40])
def test_errors_name_the_argument(options, error, message):
    widths = options.pop("hidden_layer_sizes", (30, 20, 25))
    with pytest.raises(error, match=re.escape(message)):
        small(widths, **options).fit(X)
    options["hidden_layer_sizes"] = widths


def test_errors_of_faces(tmp_path):
    dbn = small().fit(X)
    for call, message in [
        (lambda: dbn.transform(X, layer=4), "layer is 4; expected one from 1 to 3"),
        (lambda: dbn.transform(X[:, :5]), "5 features"),
        (lambda: dbn.inverse_transform(np.zeros((2, 7))), r"H has shape (2, 7); expected"),
        (lambda: dbn.sample(2, label=3), "label is 3; expected None"),
        (lambda: dbn.sample(-1), "n_samples is -1"),
        (lambda: dbn.log_likelihood(X, n_samples=0), "n_samples is 0"),
        (lambda: dbn.log_likelihood(X, Y), "y was given"),
        (lambda: small(labels=True).fit(X), "y is None"),
        (lambda: small(labels=True).fit(X, Y[:5]), "y has 5 labels for 1797 rows"),
        (lambda: small(labels=True).fit(Batches([X]), Y), "labels=True needs rows with labels"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    assert not hasattr(dbn, "predict")
    labelled = small(labels=True).fit(X, Y)
    with pytest.raises(ValueError, match="label has 12, which is not among"):
        labelled.sample(2, label=12)
    path = tmp_path / "c.safetensors"
    dbn.save(path)
    with pytest.raises(ValueError, match=r"resume: .*layer 1 has 30 units; expected 31"):
        small((31, 20, 25), resume=path).fit(X)
    with pytest.raises(ValueError, match=r"resume: .*n_features_in_ is 64; expected 63"):
        small(resume=path).fit(X[:, :63])
    dbn.layers_[0].save(path)
    with pytest.raises(ValueError, match="holds a model of class RBM; expected DBN"):
        small(resume=path).fit(X)


# ------------------------------------------------------------------------------ exact enumeration


def states(n):
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_bernoulli(values, p):
    """Log probabilities of rows of `values` (last axis) given rows of means."""
    return values @ np.log(p).T + (1 - values) @ np.log(1 - p).T


def random_network(widths, seed=0, scale=1.0, **options):
    """A tiny network in float64 with random parameters."""
    V = states(widths[0])
    model = uf.DBN(widths[1:], n_iter=0, random_state=seed, **options)
    dbn = model.fit(V, np.arange(len(V)) % 3)
    rng = np.random.default_rng(seed)
    for rbm in dbn.layers_:
        for name in ("components_", "intercept_hidden_", "intercept_visible_"):
            getattr(rbm, name)[...] = scale * rng.standard_normal(getattr(rbm, name).shape)
    return dbn, V


def exact_log_likelihood(dbn, V):
    """log P(v) of rows, by summing over all states of all hidden layers."""
    top = dbn.layers_[-1]
    H = states(top.components_.shape[1])
    log_p = -top.free_energy(H) - top.log_partition("exact").value
    for rbm in reversed(dbn.generative_layers_[:-1]):
        below = states(rbm.components_.shape[1])
        log_conditional = log_bernoulli(below, rbm.inverse_transform(H))  # below x H
        log_p = np.logaddexp.reduce(log_conditional + log_p, axis=1)
        H = below
    assert np.logaddexp.reduce(log_p) == pytest.approx(0, abs=1e-10)
    index = (V @ (1 << np.arange(V.shape[1]))).astype(int)
    return log_p[index]


def exact_bound(dbn, V):
    """The bound of a network with one directed layer, by summing over its hidden states."""
    first, top = dbn.layers_
    q, H = first.transform(V), states(first.components_.shape[0])
    log_q = log_bernoulli(H, q).T  # V x H
    log_joint = log_bernoulli(V, dbn.generative_layers_[0].inverse_transform(H)).T.T
    log_joint = log_joint - top.free_energy(H) - top.log_partition("exact").value
    return (np.exp(log_q) * (log_joint - log_q)).sum(axis=1)


def test_bound_is_that_of_enumeration_and_below_the_likelihood():
    dbn, V = random_network((6, 5, 4))
    exact, bound = exact_log_likelihood(dbn, V), exact_bound(dbn, V)
    assert (bound <= exact + 1e-12).all() and bound.mean() < exact.mean() - 0.1
    rows = np.tile(V, (100, 1))  # as many draws of each
    found = dbn.log_likelihood(rows, method="exact", n_samples=10, random_state=0)
    assert found.value == pytest.approx(bound.mean(), abs=0.02)
    by_ais = dbn.log_likelihood(rows, n_samples=10, n_temperatures=1000, random_state=0)
    assert by_ais.value == pytest.approx(bound.mean(), abs=0.05)
    low, high = by_ais.interval
    assert low < by_ais.value < high


def test_bound_of_deeper_networks_is_below_the_likelihood():
    dbn, V = random_network((5, 4, 4, 3), seed=1)
    exact = exact_log_likelihood(dbn, V).mean()
    rows = np.tile(V, (100, 1))
    found = dbn.log_likelihood(rows, method="exact", random_state=0).value
    assert exact - 3 < found < exact


def test_a_transposed_layer_leaves_the_likelihood_as_it_is():
    rows = (X[:300] > 0.5).astype(np.float64)[:, 16:26]
    machines = [uf.RBM(n_iter=20), uf.RBM(n_iter=0)]
    dbn = uf.DBN((7, 13), rbm=machines, init="transposed", random_state=0).fit(rows)
    alone = dbn.layers_[0].log_likelihood(rows, "exact").value
    top = dbn.layers_[1]
    top.components_[10:] = 0  # beyond the visible units below, random and small until trained
    assert top.components_.shape == (13, 7)
    found = dbn.log_likelihood(rows, method="exact", n_samples=1, random_state=0)
    assert found.value == pytest.approx(alone, abs=1e-10)
    assert exact_log_likelihood(dbn, rows).mean() == pytest.approx(alone, abs=1e-10)
    # from there the likelihood rises, above that of the layer below
    machines = [uf.RBM(n_iter=3), uf.RBM(n_iter=30, learning_rate=0.02)]
    trained = uf.DBN((7, 13), rbm=machines, init="transposed", activities="sample",
                     random_state=0).fit(rows)  # fmt: skip
    alone = trained.layers_[0].log_likelihood(rows, "exact").value
    assert exact_log_likelihood(trained, rows).mean() > alone


def test_samples_follow_the_distribution():
    dbn, V = random_network((4, 3, 3), seed=2)
    p = np.exp(exact_log_likelihood(dbn, V))
    drawn = dbn.sample(20_000, 200, random_state=0)
    counts = np.bincount((drawn @ (1 << np.arange(4))).astype(int), minlength=16)
    deviation = (counts - 20_000 * p) / np.sqrt(20_000 * p * (1 - p))
    assert np.abs(deviation).max() < 4.5
    means = dbn.sample(20_000, 200, mean=True, random_state=1).mean(axis=0)
    np.testing.assert_allclose(means, p @ V, atol=0.02)


# ------------------------------------------------------------------------------ labels


def test_label_probabilities_and_activities_are_exact():
    dbn, V = random_network((5, 4, 3), labels=True)
    assert list(dbn.classes_) == [0, 1, 2]
    top, rows = dbn.layers_[-1], dbn.layers_[0].transform(V)
    joined = [np.hstack([rows, np.tile(one, (len(V), 1))]) for one in np.eye(3)]
    weights = np.exp(-np.stack([top.free_energy(part) for part in joined], axis=1))
    p = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(dbn.predict_proba(V), p, rtol=1e-10)
    given = np.stack([top.transform(part) for part in joined], axis=1)
    np.testing.assert_allclose(dbn.transform(V), np.einsum("nc,ncj->nj", p, given), rtol=1e-10)
    np.testing.assert_array_equal(dbn.predict(V), p.argmax(axis=1))


def test_the_bound_with_labels_is_that_of_rows_and_labels():
    dbn, V = random_network((4, 3, 3), labels=True)
    first, top = dbn.layers_
    H, y = states(3), np.arange(len(V)) % 3
    log_q = log_bernoulli(H, first.transform(V)).T
    log_joint = log_bernoulli(V, first.inverse_transform(H)) - top.log_partition("exact").value
    for i, label in enumerate(y):
        log_joint[i] -= top.free_energy(np.hstack([H, np.tile(np.eye(3)[label], (8, 1))]))
    bound = (np.exp(log_q) * (log_joint - log_q)).sum(axis=1).mean()
    rows, labels = np.tile(V, (300, 1)), np.tile(y, 300)
    found = dbn.log_likelihood(rows, labels, method="exact", random_state=0)
    assert found.value == pytest.approx(bound, abs=0.02)


@pytest.mark.parametrize("activities", ["mean", "sample"])
@pytest.mark.parametrize("widths", [(100,), (60, 100), (60, 40, 100)])
def test_labels_are_learned_and_drawn_from(activities, widths):
    names = np.array([f"digit {i}" for i in Y])
    dbn = uf.DBN(widths, labels=True, activities=activities, n_iter=40, batch_size=10,
                 learning_rate=0.05, random_state=0).fit(X[:1200], names[:1200])  # fmt: skip
    assert dbn.score(X[1200:], names[1200:]) > 0.65
    drawn = dbn.sample(60, 300, label=np.repeat(["digit 0", "digit 1", "digit 7"], 20), mean=True)
    assert drawn.shape == (60, 64)
    assert (dbn.predict(drawn) == np.repeat(["digit 0", "digit 1", "digit 7"], 20)).mean() > 0.4
    assert dbn.reconstruct(X[:3]).shape == (3, 64)


# ------------------------------------------------------------------------------ up-down


def plain_up_down(dbn, v, y, rate, k, step=0):
    """What one update of the algorithm makes, in plain NumPy, from the same random numbers.

    Returns the parameters of recognition, of generation, the weights and the biases of the top
    machine.
    """
    seed = np.random.default_rng([dbn._seed, 6]).integers(2**31)
    high, low = np.random.RandomState(seed).randint(0, 2**32, size=2, dtype=np.uint64)
    seed, streams = int(high) << 32 | int(low), itertools.count()

    def uniforms(p):
        return _core.uniforms(*p.shape, seed, step=step, stream=next(streams))

    def drawn(p):
        return (uniforms(p) < p).astype(float)

    lower, top = dbn.layers_[:-1], dbn.layers_[-1]
    below = dbn.generative_layers_[:-1]
    W, b, c = top.components_.T, top.intercept_visible_, top.intercept_hidden_
    awake = [v]
    for rbm in lower:
        awake.append(drawn(sigmoid(awake[-1] @ rbm.components_.T + rbm.intercept_hidden_)))
    first = awake[-1] if y is None else np.hstack([awake[-1], y])
    labels = first.shape[1] - awake[-1].shape[1]
    last = first
    for _ in range(k):
        z = drawn(sigmoid(last @ W + c)) @ W.T + b
        last = drawn(sigmoid(z))
        if labels:
            p = np.exp(z[:, -labels:])
            passed = (p / p.sum(axis=1, keepdims=True)).cumsum(axis=1)
            last[:, -labels:] = np.eye(labels)[(passed <= uniforms(p)[:, :1]).sum(axis=1)]
    dream = [last[:, : last.shape[1] - labels]]
    for i, rbm in reversed(list(enumerate(below))):
        p = sigmoid(dream[0] @ rbm.components_ + rbm.intercept_visible_)
        dream.insert(0, drawn(p) if i else p)
    r = rate / len(v)
    recognition, generative = [], []
    for i, (up, down) in enumerate(zip(lower, below, strict=True)):
        off = awake[i] - sigmoid(awake[i + 1] @ down.components_ + down.intercept_visible_)
        generative.append(
            (down.components_ + r * awake[i + 1].T @ off, down.intercept_visible_ + r * off.sum(0))
        )
        off = dream[i + 1] - sigmoid(dream[i] @ up.components_.T + up.intercept_hidden_)
        recognition.append(
            (up.components_ + r * off.T @ dream[i], up.intercept_hidden_ + r * off.sum(0))
        )
    h0, hk = sigmoid(first @ W + c), sigmoid(last @ W + c)
    weights = (W + r * (first.T @ h0 - last.T @ hk)).T
    bias = b + r * (first - last).sum(0), c + r * (h0 - hk).sum(0)
    return recognition, generative, weights, bias


def assert_made(dbn, expected):
    recognition, generative, weights, (visible, hidden) = expected
    top = dbn.layers_[-1]
    pairs = [(top.components_, weights), (top.intercept_visible_, visible)]
    pairs.append((top.intercept_hidden_, hidden))
    for rbm, made in zip(dbn.layers_, recognition, strict=False):
        pairs += zip((rbm.components_, rbm.intercept_hidden_), made, strict=True)
    for rbm, made in zip(dbn.generative_layers_, generative, strict=False):
        pairs += zip((rbm.components_, rbm.intercept_visible_), made, strict=True)
    for found, value in pairs:
        np.testing.assert_allclose(found, value, rtol=1e-10)


@pytest.mark.parametrize("widths", [(5,), (6, 4), (5, 7, 3)])
@pytest.mark.parametrize("labels", [False, True])
def test_up_down_is_the_algorithm(widths, labels):
    dbn, V = random_network((6, *widths), labels=labels)
    y = np.arange(len(V)) % 3 if labels else None
    targets = np.eye(3)[y] if labels else None
    options = {"learning_rate": 0.3, "k": 2, "batch_size": 64, "shuffle": False}
    once, twice = copy.deepcopy(dbn), copy.deepcopy(dbn)
    assert once.up_down(V, y, n_iter=1, **options) is once
    assert_made(once, plain_up_down(dbn, V, targets, 0.3, 2))
    assert once.generative_layers_[-1] is once.layers_[-1]
    twice.up_down(V, y, n_iter=2, **options)
    assert_made(twice, plain_up_down(once, V, targets, 0.3, 2, step=1))


def test_up_down_raises_the_likelihood_of_untied_layers(tmp_path):
    rows = (X[:500] > 0.5).astype(np.float64)[:, 16:26]
    dbn = uf.DBN((8, 6), n_iter=5, activities="sample", random_state=0).fit(rows)
    before = exact_log_likelihood(dbn, rows).mean()
    dbn.up_down(rows, n_iter=60, learning_rate=0.1, batch_size=20)
    after = exact_log_likelihood(dbn, rows).mean()
    assert after > before + 0.1 and after >= exact_bound(dbn, rows).mean()
    assert not np.array_equal(dbn.layers_[0].components_, dbn.generative_layers_[0].components_)
    found = dbn.log_likelihood(np.tile(rows, (4, 1)), method="exact", random_state=0).value
    assert found == pytest.approx(exact_bound(dbn, rows).mean(), abs=0.02)
    history = dbn.up_down_history_
    assert history["wake_loss"][-1] < history["wake_loss"][0]
    parts = zip(*(history[n] for n in ("wake_loss", "sleep_loss", "free_energy_difference")),
                strict=True)  # fmt: skip
    np.testing.assert_allclose(history["loss"], [sum(part) for part in parts], rtol=1e-9)
    dbn.save(tmp_path / "d.safetensors")
    other = uf.load(tmp_path / "d.safetensors")
    assert_same(other, dbn)
    np.testing.assert_array_equal(
        other.sample(9, 9, random_state=1), dbn.sample(9, 9, random_state=1)
    )
    path = tmp_path / "d.safetensors"
    with pytest.raises(ValueError, match=r"resume: .*it is of up_down"):
        uf.DBN((8, 6), resume=path).fit(rows)


def test_up_down_resumes(tmp_path):
    path = tmp_path / "u.safetensors"
    options = {"learning_rate": 0.05, "momentum": 0.5, "k": (1, 2)}
    whole = small(labels=True).fit(X, Y).up_down(X, Y, n_iter=4, **options)
    small(labels=True).fit(X, Y).up_down(X, Y, n_iter=2, checkpoint=path, **options)
    rest = small(labels=True).fit(X, Y).up_down(X, Y, n_iter=4, resume=path, **options)
    assert_same(rest, whole)
    assert rest.up_down_history_["epoch"] == [1, 2, 3, 4]
    stream = small().fit(X).up_down(Batches(cut(X, 100)), n_iter=2)
    assert len(stream.up_down_history_["loss"]) == 2


def test_errors_of_up_down():
    dbn = small().fit(X)
    before = [rbm.components_ for rbm in dbn.layers_]
    for call, error, message in [
        (lambda: dbn.up_down(X, Y), ValueError, "y was given"),
        (lambda: dbn.up_down(X + 1), ValueError, "expected [0, 1]"),
        (lambda: dbn.up_down(X, k=0), ValueError, "k is 0 in epoch 0"),
        (lambda: dbn.up_down(X, n_iter=-1), ValueError, "n_iter is -1"),
        (lambda: dbn.up_down(X, resume="no-such-file"), FileNotFoundError, "no-such-file"),
        (lambda: dbn.up_down(X, learning_rate=3e38), uf.DivergenceError, "learning_rate"),
        (lambda: small(labels=True).fit(X, Y).up_down(X), ValueError, "y is None"),
        (lambda: small(labels=True).fit(X, Y).up_down(Batches([X]), Y), ValueError, "iterable"),
        (lambda: small(visible=PLAIN, learning_rate=1e-3).fit(X).up_down(X), ValueError,
         "layer 1 has visible=Gaussian(standardize=False)"),
    ]:  # fmt: skip
        with pytest.raises(error, match=re.escape(message)):
            call()
    for rbm, old in zip(dbn.layers_, before, strict=True):
        np.testing.assert_array_equal(rbm.components_, old)


def test_the_density_of_visibles_integrates_to_one():
    """log p(v|h), which the bound is made of, for kinds of unit other than Bernoulli."""
    rng = np.random.default_rng(0)
    h = rng.integers(0, 2, (1, 3)).astype(np.float64)
    for visible, states in (
        ("spin", np.array(list(itertools.product([-1.0, 1.0], repeat=2)))),
        (uf.units.Softmax(2), np.eye(2)),
        (PLAIN, np.stack(np.meshgrid(*[np.linspace(-9, 9, 400)] * 2), -1).reshape(-1, 2)),
    ):
        X = states[rng.integers(0, len(states), 20)]
        rbm = uf.RBM(3, visible=visible, n_iter=3, learning_rate=0.01, random_state=0).fit(X)
        p = np.exp(rbm._machine().log_visibles(states, np.repeat(h, len(states), axis=0)))
        cell = (18 / 399) ** 2 if visible == PLAIN else 1
        assert p.sum() * cell == pytest.approx(1, rel=1e-6)

"""Updates that are recorded and done again on a GPU: no bit other than those made one by one."""

import numpy as np
import pytest
import scipy.sparse as sp
from on_gpu import GPU, NO_GPU
from sklearn.datasets import load_digits

import unsupfast as uf
from unsupfast import _core, units

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPU, reason=NO_GPU or "no GPU")]

DIGITS = load_digits().data[:250].astype(np.float32) / 16  # 12 mini-batches and half of one
BITS = (DIGITS > 0.5).astype(np.float32)
COMMON = {"n_iter": 2, "batch_size": 20, "random_state": 0, "device": "cuda"}
PLAIN = units.Gaussian(standardize=False)


LEARNED = ("components_", "intercepts_", "intercept_hidden_", "intercept_visible_", "log_variance_")


def trained(made, X, **options):
    """A model, and what it learned and its chains."""
    model = made(**{**COMMON, **options}).fit(X)
    arrays = {}
    for name in (*LEARNED, "h_samples_", "v_samples_"):
        if hasattr(model, name):
            value = getattr(model, name)
            arrays[name] = np.hstack([np.ravel(part) for part in value])
    return model, arrays


def both(monkeypatch, made, X, **options):
    """Trains on whole epochs, and on two mini-batches at a time, which are too few to record."""
    model, recorded = trained(made, X, **options)
    update = made._update

    def in_pieces(self, core, rows, order, *rest):
        size = 2 * COMMON["batch_size"]
        for part in np.split(order, range(size, len(order), size)):
            if diverged := update(self, core, rows, part, *rest):
                return diverged
        return None

    monkeypatch.setattr(made, "_update", in_pieces)
    again, one_by_one = trained(made, X, **options)
    assert one_by_one.keys() == recorded.keys() >= {"components_"}
    for name, value in recorded.items():
        np.testing.assert_array_equal(one_by_one[name], value, err_msg=name)
    assert again._step == model._step > 0
    return model, again


@pytest.mark.parametrize(
    "options",
    [
        {"method": "cd"},
        {"method": "cd", "k": 3, "momentum": 0.5},
        {"method": "pcd", "k": 2, "centering": True},
        {"method": "pcd", "sparsity_target": 0.1, "sparsity_cost": 0.1, "max_norm": 1.0},
        {"method": "cd", "selectivity_target": 0.1, "selectivity_cost": 0.1},
        {"method": "fpcd", "precision": "bfloat16"},
        {"method": "pcd", "precision": "int16"},
        {"method": "pt", "n_temperatures": 3},
        {"method": "pt", "n_temperatures": 4, "k": 2, "precision": "int16"},
        {"method": "cd", "visible": PLAIN, "learning_rate": 1e-3},
        {"method": "cd", "hidden": units.Softmax(4)},
    ],
    ids=lambda a: "-".join(map(str, a.values())),
)
def test_restricted_machines(monkeypatch, options):
    both(monkeypatch, uf.RBM, DIGITS if "visible" in options else BITS, n_components=24, **options)


@pytest.mark.parametrize("widths", [(12,), (12, 8), (10, 9, 8, 7)])
@pytest.mark.parametrize(
    "options",
    [{}, {"k": 2, "momentum": 0.5, "sparsity_target": 0.1}, {"mean_field_iter": 1}],
    ids=lambda a: "-".join(map(str, a)) or "plain",
)
@pytest.mark.parametrize("visible", ["bernoulli", PLAIN], ids=str)
def test_deep_machines(monkeypatch, widths, options, visible):
    X = BITS if visible == "bernoulli" else DIGITS
    options = {"hidden_layer_sizes": widths, "visible": visible, "learning_rate": 0.01, **options}
    model, again = both(monkeypatch, uf.DBM, X, **options)
    assert model.history_["mean_field_sweeps"] == again.history_["mean_field_sweeps"]


@pytest.mark.parametrize("X", [BITS, DIGITS], ids=["bits", "values"])
@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize(
    "options",
    [
        {"method": "cd", "momentum": 0.5},
        {"method": "cd", "k": 2, "weight_decay": 1e-2, "precision": "bfloat16"},
        {"method": "pcd", "k": 2, "sparsity_target": None},
    ],
    ids=lambda a: "-".join(map(str, a.values())),
)
def test_convolutional_machines(monkeypatch, X, visible, options):
    options = {"n_filters": 5, "filter_size": 3, "visible": visible, **options}
    model, again = both(monkeypatch, uf.ConvRBM, X, learning_rate=0.01, **options)
    for name, value in model._carried.items():
        np.testing.assert_array_equal(again._carried[name], value, err_msg=name)


@pytest.mark.parametrize("X", [BITS, DIGITS, sp.csr_array(BITS)], ids=["bits", "values", "csr"])
@pytest.mark.parametrize(
    "made, options",
    [
        (uf.RBM, {"n_components": 24, "method": "cd"}),
        (uf.RBM, {"n_components": 24, "k": 2, "sparsity_target": 0.1}),
        (uf.DBM, {"hidden_layer_sizes": (12, 8)}),
        (uf.ConvRBM, {"n_filters": 5, "filter_size": 3}),
    ],
)
def test_data_too_large_for_a_gpu(monkeypatch, made, options, X):
    """They travel mini-batch by mini-batch."""
    if made is uf.ConvRBM and sp.issparse(X):
        X = X.toarray()  # it takes no others
    _, whole = trained(made, X, **options)
    known, reason = _core.gpus()
    monkeypatch.setattr(_core, "gpus", lambda: ([{**known[0], "memory": 1000}], reason))
    _, apart = trained(made, X, **options)
    _, on_cpu = trained(made, X, **options, device="cpu")
    for name, value in whole.items():
        np.testing.assert_array_equal(apart[name], value, err_msg=name)
        np.testing.assert_allclose(on_cpu[name], value, atol=0.1, err_msg=name)


@pytest.mark.parametrize(
    "made, options",
    [
        (uf.RBM, {"n_components": 24, "method": "pt", "n_temperatures": 3}),
        (uf.DBM, {"hidden_layer_sizes": (12, 8)}),
        (uf.ConvRBM, {"n_filters": 5, "filter_size": 3}),
    ],
)
@pytest.mark.parametrize("X", [BITS, DIGITS], ids=["bits", "values"])
def test_streams_travel(made, options, X):
    options = {**options, "precision": "float64"}  # rounding decides no state
    batches = np.split(X, [7, 100])
    stream = type("Stream", (), {"__iter__": lambda self: iter(batches)})()
    learned = [trained(made, stream, **options, device=name)[1] for name in ("cpu", "cuda")]
    for name, value in learned[0].items():
        np.testing.assert_allclose(learned[1][name], value, atol=1e-9, err_msg=name)

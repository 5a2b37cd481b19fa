"""Deep Boltzmann machines on a GPU: what the CPU does, from the same random numbers."""

import copy
import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from on_gpu import GPU, NO_GPU
from sklearn.datasets import load_digits

import unsupfast as uf
from unsupfast import _core, units

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPU, reason=NO_GPU or "no GPU")]

DIGITS = load_digits().data[:300] / 16
BITS = (DIGITS > 0.5).astype(np.float64)
PLAIN = units.Gaussian(standardize=False)


def arrays(model):
    return [*model.components_, *model.intercepts_, model.log_variance_]


def both(X, *, row_weight=None, **arguments):
    """The same training on both devices, in float64, where rounding decides no sample."""
    arguments = {"hidden_layer_sizes": (20, 12), "n_iter": 3, "batch_size": 40, **arguments}
    arguments = {"learning_rate": 0.05, "k": 2, "random_state": 0, **arguments}
    cpu, gpu = (
        uf.DBM(device=device, **arguments).fit(X, row_weight=row_weight)
        for device in ("cpu", "cuda")
    )
    for one, other in zip(arrays(cpu), arrays(gpu), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-9)
    np.testing.assert_array_equal(gpu.h_samples_, cpu.h_samples_)
    assert gpu.history_["mean_field_sweeps"] == cpu.history_["mean_field_sweeps"]
    assert gpu._synced_core().gpu == 0
    assert cpu._synced_core().gpu == -1
    return cpu, gpu


@pytest.mark.parametrize("widths", [(20,), (20, 12), (16, 10, 8), (12, 20, 6, 9)])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"centering": False},
        {"momentum": 0.5, "weight_decay": 1e-3, "sparsity_target": 0.1},
        {"pretrain": "rbm", "pretrain_iter": 1},
        {"mean_field_iter": 1},
    ],
    ids=lambda a: "-".join(map(str, itertools.chain(*a.items()))) or "plain",
)
def test_training_as_on_the_cpu(widths, arguments):
    both(BITS, hidden_layer_sizes=widths, **arguments)


@pytest.mark.parametrize("form", ["values", "csr of values", "csr of bits"])
def test_rows_in_other_forms(form):
    X = BITS if form == "csr of bits" else DIGITS
    both(sp.csr_array(X) if form.startswith("csr") else X)


CLASSES = np.eye(4)[np.arange(300) % 4]


@pytest.mark.parametrize(
    "visible, X",
    [
        (PLAIN, DIGITS),
        (units.Spin(), 2 * BITS - 1),
        (units.Mixed([(units.Bernoulli(), 32), (PLAIN, 32)]), DIGITS),
        (units.Mixed([(units.Bernoulli(), 64), (units.Softmax(4), 4)]), np.hstack([BITS, CLASSES])),
    ],
    ids=["gaussian", "spin", "bits and gaussian", "bits and classes"],
)
def test_other_visible_units(visible, X):
    both(X, visible=visible, learning_rate=0.005)
    if visible == PLAIN:
        _, gpu = both(X, visible=visible, learning_rate=0.005, pretrain="rbm", pretrain_iter=1)
        assert gpu.log_variance_.any()


def test_weights_of_rows():
    weight = np.random.default_rng(0).integers(0, 3, 300).astype(float)
    weight[:40] = 0  # a mini-batch that weighs nothing
    both(BITS, row_weight=weight, shuffle=False)


def test_streams():
    """Blocks of rows come from the CPU."""
    models = [
        uf.DBM((20, 12), n_iter=1, random_state=0, precision="float64", device=device)
        .fit(iter(np.array_split(BITS, 3)))
        for device in ("cpu", "cuda")
    ]  # fmt: skip
    for one, other in zip(*map(arrays, models), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-9)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precisions(precision):
    """Where rounding decides samples, chains part: the likelihoods stay together."""
    X = BITS.astype(np.float32)
    options = {"n_iter": 20, "learning_rate": 0.05, "random_state": 0, "precision": precision}
    scores = [
        uf.DBM((10, 6), device=device, **options).fit(X).log_likelihood(X, "exact").value
        for device in ("cpu", "cuda")
    ]
    assert abs(scores[0] - scores[1]) < 0.5, scores


@pytest.fixture(scope="module")
def trained():
    """The same model on both devices."""
    gpu = uf.DBM((12, 8, 5), n_iter=10, learning_rate=0.05, random_state=0, device="cuda").fit(BITS)
    return copy.deepcopy(gpu).set_params(device="cpu"), gpu


def test_mean_field_as_on_the_cpu(trained):
    cpu, gpu = trained
    for most, tolerance in ((1, 0.0), (10, 1e-3), (500, 1e-13)):
        for model in trained:
            model.set_params(mean_field_iter=most, mean_field_tol=tolerance)
        for one, other in zip(cpu.mean_field(BITS), gpu.mean_field(BITS), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-10)
        np.testing.assert_allclose(gpu.score_samples(BITS), cpu.score_samples(BITS), atol=1e-9)
        # rows do not meet, and come in any form
        np.testing.assert_allclose(gpu.transform(BITS[7:8]), cpu.transform(BITS)[7:8], atol=1e-10)
        np.testing.assert_allclose(
            gpu.transform(sp.csr_array(BITS)), cpu.transform(BITS), atol=1e-10
        )
    rows = _core.to_gpu(BITS)
    means, sums, sweeps = gpu._synced_core().mean_field(rows, 1e-3, 10)
    again = cpu._synced_core().mean_field(BITS, 1e-3, 10)
    np.testing.assert_allclose(means, again[0], atol=1e-12)
    np.testing.assert_allclose(sums, again[1], atol=1e-9)
    assert sweeps == again[2] < 10 * len(BITS)
    with pytest.raises(ValueError, match="X is on a GPU and the machine is not"):
        cpu._synced_core().mean_field(rows, 1e-3, 10)


def test_sampling_as_on_the_cpu(trained):
    cpu, gpu = trained
    clamp = np.full(64, np.nan)
    clamp[:10] = 0.5
    for options in ({}, {"clamp": clamp}, {"clamp": clamp, "mean": True}, {"mean": True}):
        one, other = (model.sample(30, 6, random_state=1, **options) for model in trained)
        np.testing.assert_allclose(other, one, atol=1e-12, err_msg=str(options))
    start = (model.sample(5, 0, random_state=1) for model in (gpu, cpu))
    np.testing.assert_array_equal(*start)


def test_annealing_as_on_the_cpu(trained):
    exact = trained[0].log_partition("exact").value
    for method in ("ais", "reverse_ais"):
        options = {"n_chains": 100, "n_temperatures": 500, "random_state": 2}
        one, other = (model.log_partition(method, **options).value for model in trained)
        assert abs(one - other) < 1e-6
        assert abs(other - exact) < 0.3
    options = {"n_chains": 50, "n_temperatures": 200, "random_state": 2}
    one, other = (model.log_likelihood(BITS, **options) for model in trained)
    assert abs(one.value - other.value) < 1e-6
    plain = uf.DBM((6, 4), n_iter=3, visible=PLAIN, learning_rate=0.001, random_state=0)
    values = [
        plain.set_params(device=device).fit(DIGITS).log_partition(**options).value
        for device in ("cpu", "cuda")
    ]
    assert abs(values[0] - values[1]) < 1e-6


def test_files_and_resuming(tmp_path):
    path = tmp_path / "dbm.safetensors"
    options = {"momentum": 0.5, "random_state": 0, "device": "cuda", "validation_fraction": 0.1}
    whole = uf.DBM((20, 12), n_iter=4, **options).fit(BITS)
    uf.DBM((20, 12), n_iter=2, checkpoint=path, **options).fit(BITS)
    rest = uf.DBM((20, 12), n_iter=4, resume=path, **options).fit(BITS)
    for one, other in zip(arrays(whole), arrays(rest), strict=True):
        assert one.tobytes() == other.tobytes()
    assert whole.h_samples_.tobytes() == rest.h_samples_.tobytes()
    whole.save(path)
    loaded = uf.load(path)
    assert loaded.device == "auto"  # a file says nothing of the machine it came from
    cpu = loaded.set_params(device="cpu")
    np.testing.assert_allclose(cpu.transform(BITS), whole.transform(BITS), atol=1e-12)
    # and training goes on there
    rest = uf.DBM((20, 12), n_iter=6, resume=path, **{**options, "device": "cpu"}).fit(BITS)
    more = uf.DBM((20, 12), n_iter=6, **options).fit(BITS)
    for one, other in zip(arrays(rest), arrays(more), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_what_diverges_is_noticed():
    X = BITS.astype(np.float32)
    model = uf.DBM((10, 5), n_iter=2, learning_rate=[0.01, 1e200], device="cuda", random_state=0)
    with pytest.raises(uf.DivergenceError, match="of epoch 2"):
        model.fit(X)
    once = uf.DBM((10, 5), n_iter=1, learning_rate=0.01, device="cuda", random_state=0).fit(X)
    for one, other in zip(arrays(model), arrays(once), strict=True):
        np.testing.assert_array_equal(one, other)


def test_small_machines_stay_on_the_cpu():
    assert uf.DBM((10, 5), n_iter=0).fit(BITS)._synced_core().gpu == -1
    assert uf.DBM((400, 500), n_iter=0).fit(BITS)._synced_core().gpu == 0
    with pytest.raises(ValueError, match="no GPU 63"):
        uf.DBM((10, 5), device="cuda:63").fit(BITS)

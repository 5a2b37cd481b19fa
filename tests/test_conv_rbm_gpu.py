"""Convolutional RBMs on a GPU: what the CPU does, from the same random numbers."""

import copy

import numpy as np
import pytest
from on_gpu import GPU, NO_GPU
from sklearn.base import clone
from sklearn.datasets import load_digits

import unsupfast as uf
from unsupfast import _core

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPU, reason=NO_GPU or "no GPU")]

LEARNED = ("components_", "intercept_hidden_", "intercept_visible_")


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:130] / 16


@pytest.fixture(scope="module")
def colours():
    """Images of 12 x 6 pixels with two channels, whose rows are taken in blocks of pixels."""
    return np.random.default_rng(0).random((90, 12 * 6 * 2))


def machine(device="cuda", **options):
    options = {"n_iter": 3, "random_state": 0, "batch_size": 20, **options}
    return uf.ConvRBM(5, 3, device=device, **options)


def both(X, same=1e-9, **options):
    """The same training on both devices; the GPU's model and the CPU's. In float64 rounding decides
    no sample."""
    gpu, cpu = (machine(device, **options).fit(X) for device in ("cuda", "cpu"))
    for name in LEARNED:
        np.testing.assert_allclose(getattr(gpu, name), getattr(cpu, name), atol=same, err_msg=name)
    for name in gpu._carried:
        np.testing.assert_allclose(gpu._carried[name], cpu._carried[name], atol=same, err_msg=name)
    np.testing.assert_allclose(gpu.v_samples_, cpu.v_samples_, atol=same)
    return gpu, cpu


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("form", ["bits", "values"])
@pytest.mark.parametrize(
    "options",
    [
        {"method": "cd", "sparsity_target": None, "momentum": 0},
        {"method": "cd", "k": 2, "momentum": 0.9, "sparsity_target": 0.05, "sparsity_cost": 2.0},
        {"method": "cd", "weight_decay": 1e-2, "pool": 3},
        {"method": "pcd", "k": 2, "sparsity_target": None, "shuffle": False},
        {"method": "pcd", "momentum": [0.5, 0.8], "weight_decay": 1e-3, "pool": 1},
    ],
    ids=lambda a: "-".join(map(str, a)),
)
def test_training_as_on_the_cpu(digits, visible, form, options):
    X = digits - digits.mean() if visible == "gaussian" else digits
    if form == "bits":
        X = (digits > 0.5).astype(float)
    both(X, visible=visible, learning_rate=0.1, **options)


@pytest.mark.parametrize("method", ["cd", "pcd"])
@pytest.mark.parametrize("form", ["bits", "values"])
@pytest.mark.parametrize("image", [(12, 6, 2), (4, 36, 1), (36, 4, 1)], ids=str)
def test_images_of_other_shapes(colours, method, form, image):
    X = colours[:, : np.prod(image)]
    both((X > 0.5).astype(float) if form == "bits" else X, image_shape=image, method=method)


def test_a_few_rows_that_are_not_bits(digits):
    """All rows are values on the GPU then; on the CPU most mini-batches are bits."""
    X = (digits > 0.5).astype(float)
    X[3] *= 0.5
    both(X, method="pcd", shuffle=False)


@pytest.mark.parametrize("method", ["cd", "pcd"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precisions(digits, method, precision):
    """Where rounding decides samples, chains part: what is learned stays together."""
    X = (digits > 0.5).astype(np.float32)
    options = {"method": method, "precision": precision, "n_iter": 20, "sparsity_target": None}
    gpu, cpu = (machine(device, **options).fit(X) for device in ("cuda", "cpu"))
    assert gpu.components_.dtype == np.float32
    scores = [m.set_params(device="cpu").log_likelihood(
        X, n_chains=50, n_temperatures=500, random_state=0).value for m in (gpu, cpu)]  # fmt: skip
    assert abs(scores[0] - scores[1]) < 0.1, scores


def test_streams_and_partial_fit(digits):
    X = (digits > 0.5).astype(float)

    class Batches:
        def __iter__(self):
            return iter((X[:50], X[50:]))

    options = {"n_iter": 2, "precision": "float64"}
    models = [machine(device, **options).fit(Batches()) for device in ("cuda", "cpu")]
    for model in models:
        model.partial_fit(X[:30]).partial_fit(X[30:50])
    for name in LEARNED:
        gpu, cpu = (getattr(model, name) for model in models)
        np.testing.assert_allclose(gpu, cpu, atol=1e-9, err_msg=name)


def test_history_is_that_of_the_cpu(digits):
    gpu, cpu = both((digits > 0.5).astype(float))
    for name in ("reconstruction_error", "activity"):
        np.testing.assert_allclose(gpu.history_[name], cpu.history_[name], rtol=1e-9)


@pytest.mark.parametrize("method", ["cd", "pcd"])
def test_resuming_on_the_gpu_changes_no_bit(digits, method, tmp_path):
    X = (digits > 0.5).astype(np.float32)
    whole = machine(method=method, n_iter=4).fit(X)
    path = tmp_path / "half.safetensors"
    machine(method=method, n_iter=2, checkpoint=path).fit(X)
    half = machine(method=method, n_iter=4, resume=path).fit(X)
    for name in (*LEARNED, "v_samples_"):
        assert getattr(half, name).tobytes() == getattr(whole, name).tobytes()


def test_what_diverges_is_noticed_and_undone(digits):
    X = np.tile(100 * digits, (12, 1))  # more mini-batches than the GPU is asked after
    model = machine(visible="gaussian", learning_rate=[1e-6, 1e6])
    with pytest.raises(uf.DivergenceError, match="not finite after mini-batch 64 of epoch 2"):
        model.fit(X)
    assert model.n_iter_ == 1
    kept = model.components_.copy()
    model.learning_rate = 1e300
    with pytest.raises(uf.DivergenceError, match="not finite after mini-batch 1 of epoch 2"):
        model.partial_fit(1e100 * X[:20])
    np.testing.assert_array_equal(model.components_, kept)


def test_interruption_leaves_a_valid_model(digits):
    X = (digits > 0.5).astype(float)
    core = machine(n_iter=0).fit(X)._synced_core()
    core.set_chains(X[:7])
    options = _core.ConvOptions()
    options.batch_size, options.persistent = 10, True
    seen = []

    def stop(done):
        seen.append(done)
        if done >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        core.train(X, np.arange(130), options, stop)
    assert all(np.isfinite(x).all() for x in core.get_parameters())
    chains = core.get_chains()
    assert chains.shape == (7, 64) and np.isin(chains, (0, 1)).all() and (chains != X[:7]).any()


# ---------------------------------------------------------------------- what it computes


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("form", ["bits", "values"])
def test_computing_as_on_the_cpu(digits, visible, form, tmp_path):
    X = (digits > 0.5).astype(float) if form == "bits" else digits
    gpu = machine(visible=visible).fit(X)
    gpu.save(tmp_path / "crbm.safetensors")
    cpu = uf.load(tmp_path / "crbm.safetensors").set_params(device="cpu")
    assert gpu._synced_core().gpu == 0 and cpu._synced_core().gpu == -1
    for layer in ("pooling", "detection"):
        np.testing.assert_allclose(gpu.transform(X, layer), cpu.transform(X, layer), atol=1e-12)
    np.testing.assert_allclose(gpu.free_energy(X), cpu.free_energy(X), rtol=1e-12)
    np.testing.assert_allclose(gpu.reconstruct(X), cpu.reconstruct(X), atol=1e-12)
    for mean in (False, True):
        for start in (None, X[:20]):
            drawn = [m.sample(20, 5, mean=mean, start=start, random_state=1) for m in (gpu, cpu)]
            np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-9)
    drawn = [m._synced_core() for m in (gpu, cpu)]
    h = [core.hidden_given_visible(X, "sample", 3) for core in drawn]
    np.testing.assert_array_equal(h[0], h[1])
    v = [core.visible_given_hidden(h[0], "sample", 4) for core in drawn]
    np.testing.assert_allclose(v[0], v[1], atol=1e-12)
    np.testing.assert_allclose(gpu.gibbs(X[:5]), cpu.gibbs(X[:5]), atol=1e-12)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_partition_functions(visible):
    """Annealed on the GPU as on the CPU, and right."""
    X = (np.random.default_rng(0).random((40, 20)) < 0.3).astype(float)
    options = {"image_shape": (4, 5), "visible": visible, "random_state": 0, "n_iter": 2}
    gpu = uf.ConvRBM(2, (3, 2), device="cuda", **options).fit(X)
    gpu.components_ = 0.5 * np.random.default_rng(1).standard_normal(gpu.components_.shape)
    cpu = copy.deepcopy(gpu).set_params(device="cpu")
    exact = cpu.log_partition("exact").value
    for method in ("ais", "reverse_ais"):
        gpu_value, cpu_value = (
            m.log_partition(method, n_chains=100, n_temperatures=300, random_state=2).value
            for m in (gpu, cpu)
        )
        assert abs(gpu_value - cpu_value) < 1e-9
        assert abs(gpu_value - exact) < 0.2


def test_rows_that_lie_on_the_gpu(digits):
    core = machine(n_iter=1).fit(digits)._synced_core()
    there = _core.to_gpu(digits)
    for what in ("mean", "pooled", "sample", "log_partition"):
        np.testing.assert_array_equal(
            core.hidden_given_visible(there, what), core.hidden_given_visible(digits, what)
        )
    with pytest.raises(ValueError, match="X is on a GPU and the machine is not"):
        machine("cpu", n_iter=0).fit(digits)._synced_core().hidden_given_visible(there, "mean")


# ---------------------------------------------------------------------- arguments


def test_a_model_moves_when_its_device_is_set(digits):
    model = machine("cpu", n_iter=1).fit(digits)
    on_cpu = model.transform(digits)
    assert model._synced_core().gpu == -1
    model.device = "cuda:0"
    assert model._synced_core().gpu == 0
    np.testing.assert_allclose(model.transform(digits), on_cpu, atol=1e-12)
    assert clone(model).device == "cuda:0"


def test_auto_is_the_cpu_for_small_mini_batches(digits):
    small = machine("auto", n_iter=0).fit(digits)
    large = machine("auto", n_iter=0, batch_size=20_000).fit(digits)
    assert small._gpu() == -1 and large._gpu() == 0


def test_devices_that_are_not_there(digits):
    with pytest.raises(ValueError, match="device is 'gpu'"):
        machine("gpu").fit(digits)
    with pytest.raises(ValueError, match="no GPU 63"):
        machine("cuda:63").fit(digits)

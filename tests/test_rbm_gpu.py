"""RBMs on a GPU: what the CPU does, from the same random numbers."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from on_gpu import GPU, NO_GPU
from sklearn.datasets import load_digits

import unsupfast as uf
from unsupfast import units

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPU, reason=NO_GPU or "no GPU")]


PLAIN = units.Gaussian(standardize=False)  # digits have columns of one value


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data.astype(np.float32)[:300] / 16
    return X


def both(X, *, same=1e-4, float64=True, chains=0.0, **arguments):
    """The same training on both devices; the GPU's model. In float64 rounding decides no binary
    sample, else up to a share of `chains` may differ."""
    arguments = {"n_components": 24, "n_iter": 3, "random_state": 0, "batch_size": 20, **arguments}
    if float64:
        X, arguments["precision"], same = X.astype(np.float64), "float64", 1e-9
    cpu = uf.RBM(device="cpu", **arguments).fit(X)
    gpu = uf.RBM(device="cuda", **arguments).fit(X)
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "log_variance_"):
        np.testing.assert_allclose(getattr(gpu, name), getattr(cpu, name), atol=same, err_msg=name)
    assert gpu.h_samples_.shape == cpu.h_samples_.shape
    apart = np.abs(gpu.h_samples_ - cpu.h_samples_) > 1e-6
    assert not apart.size or apart.mean() <= chains
    return gpu


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "cd"},
        {"method": "cd", "k": 3, "momentum": 0.5, "weight_decay": 1e-3, "l1": 1e-4},
        {"method": "pcd", "k": 2, "centering": True},
        {"method": "pcd", "sparsity_target": 0.1, "sparsity_cost": 0.1},
        {"method": "cd", "centering": True, "sparsity_target": 0.1, "momentum": 0.9},
        {"method": "cd", "selectivity_target": 0.1},
        {"method": "pcd", "optimizer": "adam", "learning_rate": 0.01},
        {"method": "cd", "clip_norm": 0.5, "max_norm": 1.0},
        {"method": "fpcd", "learning_rate": 0.01},
        {"method": "pt", "n_temperatures": 4, "k": 2},
        {"method": "pt", "n_temperatures": 3, "centering": True, "clip_norm": 1.0},
    ],
    ids=lambda a: "-".join(map(str, a)),
)
def test_training_as_on_the_cpu(digits, arguments):
    both(digits > 0.5, **arguments)


@pytest.mark.parametrize("objective", ["joint", "discriminative", "hybrid"])
@pytest.mark.parametrize("method", ["cd", "pcd"])
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_classifiers_as_on_the_cpu(digits, objective, method, form):
    y = np.where(np.arange(300) % 7 == 0, -1, load_digits().target[:300])
    X = digits.astype(np.float64)
    X = sp.csr_array(X) if form == "csr" else X
    arguments = {"objective": objective, "method": method, "beta": 0.5, "missing_label": -1}
    arguments |= {"n_iter": 3, "random_state": 0, "batch_size": 40, "momentum": 0.5}
    cpu = uf.ClassifierRBM(24, device="cpu", **arguments).fit(X, y)
    gpu = uf.ClassifierRBM(24, device="cuda", **arguments).fit(X, y)
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        np.testing.assert_allclose(getattr(gpu, name), getattr(cpu, name), atol=1e-9, err_msg=name)
    np.testing.assert_array_equal(gpu.h_samples_, cpu.h_samples_)
    np.testing.assert_allclose(gpu.predict_proba(X), cpu.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("form", ["values", "csr", "csr of ones"])
def test_rows_that_are_not_bits(digits, form):
    X = digits if form != "csr of ones" else (digits > 0.5).astype(np.float32)
    X = sp.csr_array(X) if form.startswith("csr") else X
    both(X, method="pcd", momentum=0.5)
    both(X, method="pt", n_temperatures=3)


@pytest.mark.parametrize(
    "visible, hidden",
    [
        (PLAIN, "bernoulli"),
        (units.Spin(), units.Bernoulli()),
        (PLAIN, units.ReLU()),
        (units.DoubleReLU(), units.Bernoulli()),
        (units.Bernoulli(), units.Softmax(4)),
        (units.Mixed([(units.Bernoulli(), 32), (PLAIN, 32)]), units.Bernoulli()),
    ],
    ids=str,
)
def test_other_units(digits, visible, hidden):
    X = digits - digits.mean()
    if isinstance(visible, units.Spin):
        X = np.where(digits > 0.5, 1, -1).astype(np.float32)
    elif isinstance(visible, (units.Bernoulli, units.Mixed)):
        X = digits
    arguments = {"visible": visible, "hidden": hidden, "learning_rate": 1e-3, "momentum": 0.5}
    both(X, method="cd", **arguments)
    tempered = both(X, method="pt", n_temperatures=3, **arguments)
    assert tempered.swap_rates_.max() > 0


@pytest.mark.parametrize("method", ["cd", "pcd", "pt"])
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_counts(method, form, tmp_path):
    """Replicated softmax: hidden biases count as often as a row has words."""
    X = np.random.default_rng(0).poisson(0.3, (300, 50)).astype(np.float64)
    X = sp.csr_array(X) if form == "csr" else X
    arguments = {"visible": "replicated_softmax", "method": method, "learning_rate": 0.01}
    gpu = both(X, **arguments, momentum=0.5)
    gpu.save(tmp_path / "rbm.safetensors")
    cpu = uf.load(tmp_path / "rbm.safetensors").set_params(device="cpu")
    np.testing.assert_allclose(gpu.transform(X), cpu.transform(X), atol=1e-12)
    np.testing.assert_allclose(gpu.free_energy(X), cpu.free_energy(X), atol=1e-9)
    drawn = [m.sample(20, 5, total=9, random_state=1) for m in (gpu, cpu)]
    np.testing.assert_array_equal(*drawn)
    assert (drawn[0].sum(axis=1) == 9).all()
    values = [m.log_partition(total=9, n_chains=50, n_temperatures=100, random_state=2).value
              for m in (gpu, cpu)]  # fmt: skip
    assert abs(values[0] - values[1]) < 1e-6


def test_weights_of_rows(digits):
    X = (digits > 0.5).astype(np.float64)
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    models = [
        uf.RBM(8, n_iter=2, random_state=0, batch_size=20, device=device).fit(X, row_weight=weight)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(models[0].components_, models[1].components_, atol=1e-9)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int16"])
def test_precisions(digits, precision):
    """Where rounding decides samples, chains part: the likelihoods stay together. Their
    mean over two seeds has a standard deviation of 0.4; training starts at -44."""
    X = (digits > 0.5).astype(np.float32)
    scores = [
        [
            uf.RBM(10, n_iter=20, random_state=seed, precision=precision, device=device)
            .fit(X).log_likelihood(X, method="exact").value
            for seed in range(2)
        ]
        for device in ("cpu", "cuda")
    ]  # fmt: skip
    assert abs(np.mean(scores[0]) - np.mean(scores[1])) < 1.2, scores


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16", "int16"])
@pytest.mark.parametrize("rows, hidden", [(1100, 700), (2000, 1600)])
def test_large_tiles(rows, hidden, precision):
    """Half-steps that draw bits, of enough tiles for the larger products."""
    X = (np.random.default_rng(0).random((rows, 70)) < 0.3).astype(np.float32)
    options = {"n_components": hidden, "batch_size": rows, "n_iter": 2, "precision": precision}
    both(X, float64=False, same=1e-3, method="pcd", chains=0.01, **options)


def test_computing_as_on_the_cpu(digits, tmp_path):
    X = (digits > 0.5).astype(np.float64)
    gpu = uf.RBM(12, n_iter=3, random_state=0, device="cuda").fit(X)
    gpu.save(tmp_path / "rbm.safetensors")
    cpu = uf.load(tmp_path / "rbm.safetensors").set_params(device="cpu")
    np.testing.assert_allclose(gpu.transform(X), cpu.transform(X), atol=1e-12)
    np.testing.assert_allclose(gpu.free_energy(X), cpu.free_energy(X), atol=1e-9)
    np.testing.assert_allclose(gpu.inverse_transform(gpu.transform(X)),
                               cpu.inverse_transform(cpu.transform(X)), atol=1e-12)  # fmt: skip
    np.testing.assert_array_equal(
        gpu.sample(20, 5, random_state=1), cpu.sample(20, 5, random_state=1)
    )
    exact = cpu.log_partition(method="exact").value
    for method in ("ais", "reverse_ais"):
        values = [m.log_partition(method, n_chains=50, n_temperatures=200, random_state=2).value
                  for m in (gpu, cpu)]  # fmt: skip
        assert abs(values[0] - values[1]) < 1e-6
        assert abs(values[0] - exact) < 0.5


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_chains_in_one_kernel(digits, precision):
    """What samples and anneals many alternations at once: draws part where rounding decides, so the
    first few alternations are compared, and the estimate of log Z."""
    X = (digits > 0.5).astype(np.float32)
    gpu = uf.RBM(12, n_iter=5, random_state=0, precision=precision, device="cuda").fit(X)
    cpu = copy.deepcopy(gpu).set_params(device="cpu")
    drawn = [m.sample(50, 3, random_state=1) for m in (gpu, cpu)]
    assert (drawn[0] != drawn[1]).mean() < 0.002
    exact = cpu.log_partition(method="exact").value
    for method in ("ais", "reverse_ais"):
        found = gpu.log_partition(method, n_chains=100, n_temperatures=500, random_state=2).value
        assert abs(found - exact) < 0.3
    # and in training, where the chains are few and the alternations many
    both(X, float64=False, same=5e-3, method="cd", k=3, precision=precision, n_iter=1, chains=0.01)


def test_deep_networks(digits):
    X = (digits > 0.5).astype(np.float64)
    y = load_digits().target[:300]
    arguments = {"hidden_layer_sizes": (16, 8), "n_iter": 2, "random_state": 0, "batch_size": 20}
    networks = [uf.DBN(device=device, **arguments).fit(X) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(networks[0].transform(X), networks[1].transform(X), atol=1e-9)
    for pretrain in ("rbm", networks[1]):
        classifier = uf.DBNClassifier((16, 8), pretrain=pretrain, n_iter=2, device="cuda")
        assert classifier.set_params(random_state=0).fit(X, y).predict(X).shape == y.shape


def test_resuming_on_the_gpu_changes_no_bit(digits, tmp_path):
    X = (digits > 0.5).astype(np.float32)
    arguments = {"n_components": 16, "random_state": 0, "device": "cuda", "momentum": 0.5}
    whole = uf.RBM(n_iter=4, **arguments).fit(X)
    path = tmp_path / "half.safetensors"
    uf.RBM(n_iter=2, checkpoint=path, **arguments).fit(X)
    half = uf.RBM(n_iter=4, resume=path, **arguments).fit(X)
    assert half.components_.tobytes() == whole.components_.tobytes()
    assert half.h_samples_.tobytes() == whole.h_samples_.tobytes()


def test_what_diverges_is_noticed(digits):
    X = 100 * digits
    model = uf.RBM(8, visible=PLAIN, learning_rate=1e6, device="cuda", random_state=0)
    with pytest.raises(uf.DivergenceError, match="not finite"):
        model.fit(X)


def test_what_needs_the_cpu_says_so(digits):
    X = (digits > 0.5).astype(np.float32)
    model = uf.BernoulliRBM(4)
    model.device = "cuda"
    with pytest.raises(ValueError, match="needs device='cpu'"):
        model.fit(X)
    with pytest.raises(ValueError, match="device is 'gpu'"):
        uf.RBM(4, device="gpu").fit(X)
    with pytest.raises(ValueError, match="no GPU 63"):
        uf.RBM(4, device="cuda:63").fit(X)

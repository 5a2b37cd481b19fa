"""Models of dense layers trained on a GPU: as on the CPU within rounding, the same each time."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from on_gpu import GPU, NO_GPU

import unsupfast as uf
from unsupfast import _core
from unsupfast.models import _device

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPU, reason=NO_GPU or "no GPU")]

RNG = np.random.default_rng(0)
X = RNG.random((300, 20), np.float32)
COUNTS = RNG.poisson(1.0, (300, 20)).astype(np.float32) + 0.25
Y = (X[:, 0] + X[:, 1] > 1).astype(int)
COMMON = {"n_iter": 5, "batch_size": 32, "random_state": 0}

MODELS = {
    "deep": (uf.Autoencoder, {"hidden_layer_sizes": (16, 8)}, X),
    "tied": (uf.Autoencoder, {"hidden_layer_sizes": (16, 8), "tied": True}, X),
    "float64": (uf.Autoencoder, {"hidden_layer_sizes": (16, 8)}, X.astype(np.float64)),
    "bfloat16": (uf.Autoencoder, {"hidden_layer_sizes": (16, 8), "precision": "bfloat16"}, X),
    "mse": (uf.Autoencoder, {"loss": "mse", "activation": "relu", "optimizer": "nesterov"}, X),
    "categorical": (uf.Autoencoder, {"loss": "categorical", "activation": "tanh"}, COUNTS),
    "clipped": (uf.Autoencoder, {"clip_norm": 0.5, "ema": 0.9, "optimizer": "adamw"}, X),
    "decayed": (uf.Autoencoder, {"clip_value": 0.01, "weight_decay": 0.01}, X),
    "masked": (uf.DenoisingAutoencoder, {}, X),
    "noisy": (uf.DenoisingAutoencoder, {"corruption": uf.Gaussian(0.2)}, X),
    "contractive": (uf.ContractiveAutoencoder, {}, X),
    "exact": (
        uf.Autoencoder,
        {"hidden_layer_sizes": (16, 4), "penalties": [uf.Contractive(0.1)]},
        X,
    ),
    "hutchinson": (
        uf.Autoencoder,
        {"hidden_layer_sizes": (16, 8), "penalties": [uf.Contractive(0.1, "hutchinson")]},
        X,
    ),
    "sparse": (uf.SparseAutoencoder, {}, X),
    "l1": (uf.SparseAutoencoder, {"target": None}, X),
    "stacked": (uf.StackedAutoencoder, {"hidden_layer_sizes": (16, 8), "pretrain_iter": 2}, X),
    "lbfgs": (uf.Autoencoder, {"hidden_layer_sizes": 8, "optimizer": "lbfgs"}, X),
    "csr": (uf.Autoencoder, {"loss": "mse"}, sp.csr_matrix(np.where(X > 0.7, X, 0))),
    "vae": (uf.VAE, {"hidden": 16}, X),
    "gaussian": (uf.VAE, {"hidden": 16, "likelihood": "gaussian", "sigma": 0.5}, X),
    "continuous": (uf.VAE, {"hidden": 16, "likelihood": "continuous_bernoulli", "beta": 2.0}, X),
    "annealed": (uf.VAE, {"hidden": 16, "kl_schedule": [0.1, 0.5, 0.5, 1.0], "free_bits": 0.1}, X),
    "iwae": (uf.VAE, {"hidden": 16, "n_importance": 5}, X),
    "classifier": (
        uf.StackedAutoencoderClassifier,
        {"hidden_layer_sizes": (16, 8), "dropout": 0.2, "pretrain_iter": 2},
        X,
    ),
}


def fitted(name, device, **options):
    made, own, data = MODELS[name]
    model = made(**COMMON, **own, device=device, **options)
    return model.fit(data, Y) if name == "classifier" else model.fit(data)


def outputs(model, data):
    names = ("transform", "reconstruct", "score_samples", "predict_proba")
    out = {name: getattr(model, name)(data) for name in names if hasattr(model, name)}
    if isinstance(model, uf.VAE):
        out["log_likelihood"] = model.log_likelihood(data[:5], 300, random_state=0)
        out["sample"] = model.sample(5, random_state=0)
    return out


@pytest.mark.parametrize("name", MODELS)
def test_as_on_the_cpu(name):
    data = MODELS[name][2]
    on_cpu, on_gpu = fitted(name, "cpu"), fitted(name, "cuda")
    loose = {"bfloat16": 2e-2, "lbfgs": 2e-2, "float64": 1e-9}.get(name, 2e-3)
    assert list(on_gpu.history_) == list(on_cpu.history_)
    for key in set(on_cpu.history_) - {"seconds", "error"}:
        np.testing.assert_allclose(on_gpu.history_[key], on_cpu.history_[key], rtol=loose)
    for p in on_gpu.network_.parameters():
        assert isinstance(p.data, np.ndarray)
    expected = outputs(on_cpu, data)
    for key, value in outputs(on_gpu, data).items():
        assert isinstance(value, np.ndarray)
        assert value.dtype == expected[key].dtype
        np.testing.assert_allclose(value, expected[key], rtol=loose, atol=loose, err_msg=key)


@pytest.mark.parametrize("name", ["deep", "clipped", "masked", "annealed", "iwae", "classifier"])
def test_recorded_steps_are_the_same(name, monkeypatch):
    recorded, again = fitted(name, "cuda"), fitted(name, "cuda")
    monkeypatch.setattr(_core, "can_record", lambda: False)
    plain = fitted(name, "cuda")
    for other in (again, plain):
        assert len(other.history_["loss"]) == 5
        assert other.history_["loss"] == recorded.history_["loss"]
        for a, b in zip(other.network_.parameters(), recorded.network_.parameters(), strict=True):
            np.testing.assert_array_equal(a.data, b.data)


def test_most_steps_are_recorded(monkeypatch):
    eager = []
    do = _device.Session._do
    monkeypatch.setattr(_device.Session, "_do", lambda *args: (eager.append(1), do(*args)))
    for name in ("clipped", "masked", "hutchinson", "l1", "vae", "iwae", "csr"):
        eager.clear()
        fitted(name, "cuda")
        # three of every size and, where the loss changes from epoch to epoch, of every epoch
        assert len(eager) <= 6, name


def test_a_step_that_can_not_be_recorded(monkeypatch):
    class Graph:
        def __init__(self, gpu):
            pass

        def finish(self):
            raise RuntimeError("nothing was recorded")

    do = _device.Session._do

    def refuse(session, number, count, step):
        if step is session._now:
            raise RuntimeError("CUDA: a copy from the GPU can't be recorded in a graph")
        do(session, number, count, step)

    expected = fitted("deep", "cuda").history_["loss"]
    monkeypatch.setattr(_core, "can_record", lambda: True)
    monkeypatch.setattr(_core, "Graph", Graph)
    monkeypatch.setattr(_device.Session, "_do", refuse)
    assert fitted("deep", "cuda").history_["loss"] == expected


def test_files_between_devices(tmp_path):
    for name in ("clipped", "vae", "classifier"):
        for device in ("cpu", "cuda"):
            model = fitted(name, device)
            model.save(tmp_path / "m.safetensors")
            loaded = uf.load(tmp_path / "m.safetensors")
            assert loaded.device == "auto"
            expected = outputs(model.set_params(device="cpu"), X)
            for key, value in outputs(loaded.set_params(device="cpu"), X).items():
                np.testing.assert_array_equal(value, expected[key])
            for key, value in outputs(loaded.set_params(device="cuda"), X).items():
                np.testing.assert_allclose(value, expected[key], rtol=1e-4, atol=1e-4)


def test_resumed_training_is_the_same(tmp_path):
    path = tmp_path / "c.safetensors"
    for name in ("clipped", "vae"):
        made, own, data = MODELS[name]
        options = {**COMMON, **own, "device": "cuda"}
        whole = made(**options).fit(data)
        made(**{**options, "n_iter": 2}, checkpoint=path).fit(data)
        rest = made(**options, resume=path).fit(data)
        assert rest.history_["loss"] == whole.history_["loss"]
        np.testing.assert_array_equal(rest.transform(data), whole.transform(data))


def test_best_epoch_and_callbacks():
    seen = []

    def look(event):
        model = event.model
        seen.append((model.transform(X), model.network_.encoder.layers[0].weight))
        np.testing.assert_allclose(copy.deepcopy(model).transform(X), seen[-1][0], atol=1e-5)

    options = {"validation_fraction": 0.2, "patience": 1, "callbacks": [look]}
    on_gpu = fitted("deep", "cuda", **options)
    on_cpu = fitted("deep", "cpu", **options)
    count = len(seen) // 2
    for a, b in zip(seen[:count], seen[count:], strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-3)
        np.testing.assert_allclose(a[1], b[1], atol=1e-3)
    np.testing.assert_allclose(
        on_gpu.history_["validation_loss"], on_cpu.history_["validation_loss"], rtol=1e-4
    )


class Again:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches())


def test_streams_and_partial_fit():
    def batches():
        return [X[i : i + 50] for i in range(0, 300, 50)]

    losses, codes = {}, {}
    for device in ("cpu", "cuda"):
        model = uf.Autoencoder((16, 8), batch_size=2, n_iter=2, device=device, random_state=0)
        losses[device] = model.fit(Again(batches)).history_
        part = uf.VAE((16,), device=device, random_state=0)
        for rows in batches():
            part.partial_fit(rows)
        codes[device] = part.transform(X)
    np.testing.assert_allclose(losses["cuda"]["loss"], losses["cpu"]["loss"], rtol=1e-3)
    np.testing.assert_allclose(codes["cuda"], codes["cpu"], atol=1e-3)


def test_up_down():
    rows, found = (X > 0.5).astype(np.float64), {}
    for device in ("cpu", "cuda"):
        dbn = uf.DBN((12, 10, 8), labels=True, device=device, n_iter=2, random_state=0)
        dbn.fit(rows, Y).up_down(rows, Y, n_iter=4, k=(1, 2), batch_size=32)
        found[device] = dbn
    for a, b in zip(found["cuda"].layers_, found["cpu"].layers_, strict=True):
        np.testing.assert_allclose(a.components_, b.components_, rtol=1e-9)
    for name in ("loss", "wake_loss", "sleep_loss", "free_energy_difference"):
        histories = [found[device].up_down_history_[name] for device in ("cuda", "cpu")]
        np.testing.assert_allclose(*histories, rtol=1e-9)


def blocks():
    """Of mini-batches of 2: two blocks and a shorter one."""
    return [X[i : i + 64] for i in range(0, 300, 64)]


class Copies:
    """In place of a feed: the GPU waits, and every array has memory of its own."""

    def __init__(self, gpu):
        self.gpu = gpu

    def put(self, x):
        return _core.to_gpu(x, self.gpu)


def same(model, other):
    assert model.history_["loss"] == other.history_["loss"]
    for a, b in zip(model.network_.parameters(), other.network_.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("made", [uf.Autoencoder, uf.DenoisingAutoencoder, uf.VAE])
def test_streams_that_travel_train_the_same(made, monkeypatch):
    def fit():
        return made(8, batch_size=2, n_iter=3, device="cuda", random_state=0).fit(Again(blocks))

    fed = fit()
    monkeypatch.setattr(_core, "Feed", Copies)
    same(fed, fit())


def test_nothing_waits_between_the_blocks_of_a_stream(monkeypatch):
    busy = False
    begun = []

    def refuse(owner, name):
        plain = getattr(owner, name)

        def call(*args):
            assert not busy, name
            return plain(*args)

        monkeypatch.setattr(owner, name, call)

    begin, means = _device.Session.begin, _device.Session.means

    def begin_busy(session, *args):
        nonlocal busy
        begin(session, *args)
        begun.append(args[-1])
        busy = True

    def end(session):
        nonlocal busy
        busy = False
        return means(session)

    for name in ("numpy", "item", "__float__"):
        refuse(_core.GpuArray, name)
    for name in ("to_gpu", "gpu_synchronize"):
        refuse(_core, name)
    monkeypatch.setattr(_device, "_LOOKS", 1000)
    monkeypatch.setattr(_device.Session, "begin", begin_busy)
    monkeypatch.setattr(_device.Session, "means", end)
    options = {"batch_size": 2, "n_iter": 2, "device": "cuda", "random_state": 0}
    uf.DenoisingAutoencoder(8, **options).fit(Again(lambda: blocks()[:4]))
    assert begun == [0, 1, 0, 1]


def test_detector():
    found = {}
    for device in ("cpu", "cuda"):
        model = uf.Autoencoder(4, n_iter=5, device=device, random_state=0)
        found[device] = uf.AnomalyDetector(model, contamination=0.1).fit(X).score_samples(X)
    np.testing.assert_allclose(found["cuda"], found["cpu"], rtol=1e-4)


def test_data_too_large_for_a_gpu(monkeypatch):
    known, reason = _core.gpus()
    monkeypatch.setattr(_core, "gpus", lambda: ([{**known[0], "memory": 1000}], reason))
    for name in ("masked", "csr", "classifier"):
        apart = fitted(name, "cuda")
        with monkeypatch.context() as context:
            context.setattr(_core, "gpus", lambda: (known, reason))
            whole = fitted(name, "cuda")
        same(apart, whole)
        with monkeypatch.context() as context:
            context.setattr(_core, "Feed", Copies)
            same(apart, fitted(name, "cuda"))


def test_streams_of_which_only_one_block_fits(monkeypatch):
    """The first is trained on there, the others travel by mini-batches."""

    def fit():
        model = uf.DenoisingAutoencoder(8, batch_size=2, n_iter=2, device="cuda", random_state=0)
        return model.fit(Again(blocks))

    whole, (known, reason) = fit(), _core.gpus()
    room = 2 * 2 * blocks()[0].nbytes  # twice a block of 64 mini-batches
    monkeypatch.setattr(_core, "gpus", lambda: ([{**known[0], "memory": room}], reason))
    apart, begin = [], _device.Session.begin

    def begin_and_tell(session, *args):
        begin(session, *args)
        apart.append(session._apart)

    monkeypatch.setattr(_device.Session, "begin", begin_and_tell)
    same(fit(), whole)
    assert apart == [False] + 5 * [True]


@pytest.mark.parametrize("data", [X, Again(lambda: [X])])
def test_divergence_keeps_the_state_before(data):
    model = uf.Autoencoder(
        (8,), loss="mse", optimizer="sgd", learning_rate=1e30, n_iter=3, device="cuda"
    )
    with pytest.raises(uf.DivergenceError, match="not finite after mini-batch"):
        model.fit(data)
    assert np.isfinite(model.transform(X)).all()


def test_devices_that_there_are_not():
    with pytest.raises(ValueError, match="device is 'gpu'"):
        uf.VAE(device="gpu").fit(X)
    with pytest.raises(ValueError, match="device is 'cuda:63', but there is no GPU 63"):
        uf.VAE(device="cuda:63").fit(X)


def test_auto_is_a_gpu_where_it_is_worth_it(monkeypatch):
    assert _device.choose_gpu("auto", 1) == -1
    assert _device.choose_gpu("auto", 1e9) == 0
    monkeypatch.setattr(_core, "gpus", lambda: ([], "no driver"))
    assert _device.choose_gpu("auto", 1e9) == -1

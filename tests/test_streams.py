"""Networks trained on iterables of batches and on files that are mapped into memory."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

import unsupfast as uf

X = (load_digits().data[:900] / 16).astype(np.float32)
MODELS = {
    "autoencoder": lambda **kw: uf.Autoencoder((20, 5), n_iter=3, random_state=0, **kw),
    "denoising": lambda **kw: uf.DenoisingAutoencoder(20, n_iter=3, random_state=0, **kw),
    "stacked": lambda **kw: uf.StackedAutoencoder(
        (20, 5), pretrain_iter=2, n_iter=3, random_state=0, **kw
    ),
    "vae": lambda **kw: uf.VAE((20,), 3, n_iter=3, random_state=0, **kw),
}


class Batches:
    """An iterable that can be read again, and counts how often it was."""

    def __init__(self, batches):
        self.batches, self.reads = batches, 0

    def __iter__(self):
        self.reads += 1
        return iter(self.batches)


def cut(X, size):
    return Batches([X[i : i + size] for i in range(0, X.shape[0], size)])


def weights(model):
    return {name: p.data for name, p in model.network_.named_parameters()}


def assert_same(a, b):
    for name, value in weights(a).items():
        np.testing.assert_array_equal(value, weights(b)[name], err_msg=name)


def in_order(name, **options):
    """A model that visits the rows in their order, as a stream of one block then does."""
    model = MODELS[name](**options)
    model.shuffle = False
    return model


@pytest.mark.parametrize("name", ["autoencoder", "denoising", "vae"])
def test_a_stream_of_one_block_is_the_array(name):
    whole = in_order(name).fit(X)
    for size in (900, 128, 77):
        stream = cut(X, size)
        model = in_order(name).fit(stream)
        assert stream.reads == 3 + 1  # once an epoch, and the question whether it can be read again
        assert_same(model, whole)
        assert model.history_["loss"] == whole.history_["loss"]
        assert model.n_iter_ == 3 and model.n_features_in_ == 64


@pytest.mark.parametrize("name", MODELS)
def test_many_blocks_learn_as_the_array_does(name):
    small = {"batch_size": 4}  # blocks of 256 rows
    whole = MODELS[name](**small).fit(X)
    model = MODELS[name](**small).fit(cut(X, 100))
    untrained = MODELS[name](**small)
    untrained.n_iter = 0
    before = untrained.fit(X).score_samples(X).mean()
    gain = whole.score_samples(X).mean() - before
    assert model.score_samples(X).mean() - before == pytest.approx(gain, rel=0.15)


def test_noise_differs_from_block_to_block():
    seen = []

    class Spy(uf.Autoencoder):
        def _loss(self, x, noisy, y, draw):
            seen.append(noisy == 0)
            return super()._loss(x, noisy, y, draw)

    ones = np.ones((128, 8), np.float32)
    model = Spy(4, corruption=uf.Masking(0.5), batch_size=1, shuffle=False, n_iter=1)
    model.set_params(random_state=0).fit(cut(ones, 64))
    masks = np.concatenate(seen)
    assert masks.shape == (128, 8)
    assert 0.4 < (masks[:64] == masks[64:]).mean() < 0.6


@pytest.mark.parametrize("pretrain", ["rbm", "autoencoder"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_pretraining_on_a_stream(pretrain, activation):
    options = dict(
        hidden_layer_sizes=(20, 10, 5), activation=activation, pretrain=pretrain, pretrain_iter=2
    )
    stream = cut(X, 100)
    model = uf.Autoencoder(**options, n_iter=2, batch_size=4, random_state=0).fit(stream)
    # as often as there are epochs, of three layers and of the whole, and no more than a look each
    assert 3 * 2 + 2 <= stream.reads <= 3 * 2 + 2 + 1 + 2 * 3
    assert model.history_["loss"][1] < model.history_["loss"][0]
    loss = uf.Autoencoder(**options, n_iter=0, batch_size=4, random_state=0).fit(stream)
    blank = uf.Autoencoder((20, 10, 5), activation=activation, n_iter=0, random_state=0).fit(X)
    assert loss.score_samples(X).mean() > blank.score_samples(X).mean()


def test_sparse_batches():
    dense = MODELS["denoising"]().fit(cut(X, 300))
    sparse = MODELS["denoising"]().fit(cut(sp.csr_matrix(X), 300))
    assert_same(dense, sparse)


def test_streams_resume(tmp_path):
    path = tmp_path / "c.safetensors"
    whole = MODELS["vae"](batch_size=4).set_params(n_iter=4).fit(cut(X, 100))
    MODELS["vae"](batch_size=4, checkpoint=path).set_params(n_iter=2).fit(cut(X, 100))
    rest = MODELS["vae"](batch_size=4, resume=path).set_params(n_iter=4).fit(cut(X, 100))
    assert_same(whole, rest)
    assert whole.history_["loss"] == rest.history_["loss"]


def test_an_iterator_can_be_read_once():
    with pytest.raises(ValueError, match=r"X is an iterator.*n_iter is 3"):
        MODELS["vae"]().fit(iter([X]))
    with pytest.raises(ValueError, match=r"X is an iterator.*pretrain is 'autoencoder'"):
        MODELS["stacked"]().set_params(n_iter=1).fit(iter([X]))
    once = in_order("vae").set_params(n_iter=1)
    assert_same(once.fit(iter([X[:500], X[500:]])), in_order("vae").set_params(n_iter=1).fit(X))


def test_what_streams_refuse():
    bad = X.copy()
    bad[3, 3] = np.nan
    for message, batches, options in [
        ("without any batch", [], {}),
        ("3 columns", [X, X[:, :3]], {}),
        ("NaN", [X, bad], {}),
        ("validation_fraction", [X], {"validation_fraction": 0.1}),
        (r"first rows made of loss='auto', needs data in \[0, 1\]", [X, X * 2], {}),
        (r"loss='bce' needs data in \[0, 1\]", [X, X * 2], {"loss": "bce"}),
    ]:
        with pytest.raises(ValueError, match=message):
            MODELS["autoencoder"](batch_size=10, **options).fit(Batches(batches))
    with pytest.raises(ValueError, match="likelihood='bernoulli' needs"):
        MODELS["vae"](batch_size=10).fit(Batches([X, -X]))
    model = MODELS["autoencoder"](loss="mse", batch_size=10).fit(Batches([X, X * 2]))
    assert model.loss_ == "mse"
    with pytest.raises(ValueError, match="needs data in"):
        MODELS["autoencoder"]().fit(X).partial_fit(X * 2)


def test_divergence_in_a_stream_names_the_mini_batch():
    model = uf.Autoencoder(4, loss="mse", optimizer="sgd", learning_rate=1e-3, batch_size=10,
                           shuffle=False, random_state=0)  # fmt: skip
    batches = [X[:640], np.full((10, 64), 1e25, np.float32)]
    with pytest.raises(uf.DivergenceError, match="mini-batch 65 of epoch 1"):
        model.fit(Batches(batches))
    assert np.isfinite(model.reconstruct(X)).all()


def test_memory_is_that_of_a_block():
    def generate():
        for i in range(60):
            yield np.random.default_rng(i).random((500, 64), np.float32)

    whole = 60 * 500 * 64 * 4
    tracemalloc.start()
    try:
        uf.VAE(8, 2, batch_size=16, n_iter=1, random_state=0).fit(generate())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < whole / 5


@pytest.mark.parametrize("name", ["autoencoder", "denoising", "vae"])
def test_memmap(name, tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    options = {"validation_fraction": 0.2}
    a, b = MODELS[name](**options).fit(mapped), MODELS[name](**options).fit(X)
    assert_same(a, b)
    assert a.history_["validation_loss"] == b.history_["validation_loss"]
    np.testing.assert_array_equal(a.transform(mapped), b.transform(X))


@pytest.mark.parametrize(
    "model",
    [uf.Autoencoder(4), uf.RBM(4, method="cd"), uf.RBM(4, method="cd", visible="gaussian")],
    ids=["autoencoder", "bernoulli", "gaussian"],
)
def test_training_copies_no_mapped_file(model, tmp_path):
    big = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (400_000, 64))
    big[::3, ::2], big[1::3, 1::2] = 1, 1
    big.flush()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    model.set_params(n_iter=1, batch_size=1000, validation_fraction=0.5, random_state=0)
    tracemalloc.start()
    try:
        model.fit(mapped)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < big.nbytes / 4


def test_progress_counts_the_rows_of_all_blocks(monkeypatch):
    import tqdm.auto

    bars = []

    class Bar:
        def __init__(self, total, **_):
            self.total, self.n = total, 0
            bars.append(self)

        def update(self, n):
            self.n += n

        def close(self):
            pass

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    MODELS["vae"](batch_size=4, verbose=2).fit(cut(X, 100))
    uf.RBM(4, batch_size=4, n_iter=2, verbose=2, random_state=0).fit(cut(X, 100))
    assert [bar.n for bar in bars] == [900] * 5 and {bar.total for bar in bars} == {None}
    MODELS["vae"](verbose=2).fit(X)
    assert [(bar.n, bar.total) for bar in bars[5:]] == [(900, 900)] * 3

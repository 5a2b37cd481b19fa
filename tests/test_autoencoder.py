"""Auto-encoders and variational auto-encoders: what they learn, and how they are trained."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_digits

import unsupfast as uf
from unsupfast import DivergenceError, optim
from unsupfast.autograd import Tensor, grad


def digits(n=500, dtype=np.float32):
    return (load_digits().data[:n] / 16).astype(dtype)


def weights(model):
    return {name: p.data.copy() for name, p in model.network_.named_parameters()}


def assert_same(a, b):
    for name, value in weights(a).items():
        np.testing.assert_array_equal(value, weights(b)[name], err_msg=name)


MODELS = {
    "plain": lambda **kw: uf.Autoencoder((20, 5), n_iter=3, random_state=0, **kw),
    "bounded": lambda **kw: uf.Autoencoder(
        (20, 5), loss="mse", output_activation="sigmoid", n_iter=3, random_state=0, **kw
    ),
    "tied": lambda **kw: uf.Autoencoder((20, 5), tied=True, n_iter=3, random_state=0, **kw),
    "denoising": lambda **kw: uf.DenoisingAutoencoder(20, n_iter=3, random_state=0, **kw),
    "contractive": lambda **kw: uf.ContractiveAutoencoder(20, n_iter=3, random_state=0, **kw),
    "sparse": lambda **kw: uf.SparseAutoencoder(20, n_iter=3, random_state=0, **kw),
    "stacked": lambda **kw: uf.StackedAutoencoder(
        (20, 5), pretrain_iter=2, n_iter=3, random_state=0, **kw
    ),
    "rbm": lambda **kw: uf.Autoencoder(
        (20, 5), pretrain="rbm", pretrain_iter=2, n_iter=3, random_state=0, **kw
    ),
    "documents": lambda **kw: uf.Autoencoder(
        (20, 5), loss="categorical", n_iter=3, random_state=0, **kw
    ),
    "vae": lambda **kw: uf.VAE((20,), 3, n_iter=3, random_state=0, **kw),
    "iwae": lambda **kw: uf.VAE((20,), 3, n_importance=4, n_iter=3, random_state=0, **kw),
}


@pytest.mark.parametrize("name", MODELS)
def test_learns_saves_and_pickles(name, tmp_path):
    X = digits()
    model = MODELS[name]().fit(X)
    loss = model.history_["loss"]
    assert len(loss) == 3 and loss[2] < loss[0]
    code = model.transform(X)
    assert code.shape[1] in (3, 5, 20) and code.dtype == np.float32
    np.testing.assert_array_equal(model.reconstruct(X), model.inverse_transform(code))
    assert model.score_samples(X).shape == (len(X),)
    model.save(tmp_path / "m.safetensors")
    for other in (uf.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))):
        assert_same(model, other)
        assert repr(other.get_params()) == repr(model.get_params())
        np.testing.assert_array_equal(other.score_samples(X), model.score_samples(X))
        assert_same(model.partial_fit(X[:50]), other.partial_fit(X[:50]))
        model = uf.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", MODELS)
def test_same_bits_for_any_number_of_threads(name, threads):
    X, models = digits(), []
    for count in (1, 2, 3):
        threads(count)
        models.append(MODELS[name]().fit(X))
    assert_same(models[0], models[1])
    assert_same(models[0], models[2])


@pytest.mark.parametrize("name", ["plain", "denoising", "vae"])
@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_a_resumed_run_is_the_uninterrupted_run(name, optimizer, tmp_path):
    X = digits()
    options = {"optimizer": optimizer, "learning_rate": 0.002}
    if name != "denoising":
        options.update(learning_rate=optim.Cosine(0.002, epochs=5), ema=0.9)
    whole = MODELS[name](**options).set_params(n_iter=5).fit(X)
    part = MODELS[name](**options).set_params(n_iter=2)
    path = tmp_path / "c.safetensors"
    if name == "denoising":  # the thin faces have no checkpoints of their own
        part.fit(X).save(path)
        rest = uf.load(path)
        rest.n_iter = 5
        rest._train(X)
    else:
        part.set_params(checkpoint=path).fit(X)
        rest = clone(part).set_params(n_iter=5, checkpoint=None, resume=path).fit(X)
    assert_same(whole, rest)
    assert whole.history_["loss"] == rest.history_["loss"]


def test_linear_autoencoder_spans_the_pca_subspace():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    X = rng.standard_normal((400, 10)) * np.array([5, 4, 3, 1, 1, 1, 0.5, 0.5, 0.2, 0.1]) @ basis
    X -= X.mean(axis=0)
    model = uf.Autoencoder(
        3,
        activation="identity",
        loss="mse",
        n_iter=4000,
        batch_size=400,
        learning_rate=optim.Cosine(0.02, epochs=4000),
        shuffle=False,
        random_state=0,
    ).fit(X)
    learned = np.linalg.qr(model.network_.decoder.layers[0].weight.T)[0]
    principal = np.linalg.svd(X, full_matrices=False)[2][:3].T
    cosines = np.linalg.svd(learned.T @ principal, compute_uv=False)
    assert np.arccos(np.clip(cosines, -1, 1)).max() < 1e-3


def test_float64_and_bfloat16_agree_with_float32():
    X = digits()
    base = MODELS["plain"]().fit(X)
    double = MODELS["plain"](precision="float64").fit(X)
    assert double.transform(X).dtype == np.float64
    half = MODELS["plain"](precision="bfloat16").fit(X)
    assert abs(base.history_["loss"][-1] - double.history_["loss"][-1]) < 1e-2
    assert abs(base.history_["loss"][-1] - half.history_["loss"][-1]) < 0.3


def test_sparse_rows_train_to_the_bits_of_dense_rows():
    X = digits()
    for name in ("plain", "denoising", "vae"):
        a, b = MODELS[name]().fit(X), MODELS[name]().fit(sp.csr_matrix(X))
        assert_same(a, b)
        np.testing.assert_array_equal(a.transform(X), b.transform(sp.csr_matrix(X)))


def test_contractive_penalty_is_the_norm_of_the_jacobian():
    X = digits(6, np.float64)
    for widths in ((7,), (9, 4)):
        model = uf.Autoencoder(widths, activation="tanh", n_iter=1, random_state=0).fit(X)
        encoder = model.network_.encoder
        total = 0.0
        for row in X:
            x = Tensor(row[None], requires_grad=True)
            for j in range(widths[-1]):
                g = np.zeros((1, widths[-1]))
                g[0, j] = 1
                total += (grad(encoder(x), [x], g)[0] ** 2).sum()
        penalty = uf.Contractive(0.5)
        got = penalty(encoder, X, encoder(X), None).item()
        np.testing.assert_allclose(got, 0.5 * total / len(X), rtol=1e-10)
        # the estimator of the same norm: its mean over directions, within its Monte-Carlo error
        from unsupfast.models._network import Draw

        estimates = [
            uf.Contractive(0.5, "hutchinson")(encoder, X, encoder(X), Draw(0, i)).item()
            for i in range(400)
        ]
        error = np.std(estimates) / np.sqrt(len(estimates))
        assert abs(np.mean(estimates) - got) < 4 * error


def test_categorical_output_is_a_distribution_that_nears_the_rows():
    X = sp.csr_matrix(np.random.default_rng(0).poisson(digits(dtype=np.float64) * 3), dtype=float)
    model = uf.Autoencoder(
        (20, 5), loss="categorical", activation="relu", n_iter=60, random_state=0
    ).fit(X)
    found = model.reconstruct(X)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    p = X.toarray()
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.score_samples(X), np.sum(p * np.log(found), axis=1))
    always = -np.sum(p * np.log(p.mean(axis=0) + 1e-300), axis=1)
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1)
    loss = -model.score_samples(X)
    assert np.all(loss > entropy) and loss.mean() < always.mean() - 0.1


def test_sparsity_reaches_its_target():
    X = digits()
    options = {"n_iter": 60, "learning_rate": 0.01, "random_state": 0}
    free = uf.SparseAutoencoder(20, sparsity=0.0, **options).fit(X)
    sparse = uf.SparseAutoencoder(20, target=0.05, sparsity=5.0, **options).fit(X)
    assert sparse.transform(X).mean() < 0.12 < free.transform(X).mean()


def test_divergence_keeps_the_last_good_state():
    X = digits() * 100
    model = uf.Autoencoder((20,), activation="relu", loss="mse", optimizer="sgd",
                           learning_rate=[1e-7, 1e9], n_iter=3, random_state=0)  # fmt: skip
    with pytest.raises(DivergenceError, match="epoch 2"):
        model.fit(X)
    assert model.n_iter_ == 1
    assert all(np.isfinite(w).all() for w in weights(model).values())
    clipped = clone(model).set_params(clip_norm=1.0, learning_rate=1e-4).fit(X)
    assert np.isfinite(clipped.history_["loss"]).all()


def test_interruption_leaves_a_usable_model():
    def interrupt(event):
        if event.epoch == 2:
            raise KeyboardInterrupt

    model = MODELS["plain"](callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        model.fit(digits())
    assert model.n_iter_ == 2
    assert np.isfinite(model.reconstruct(digits())).all()


def test_early_stopping_keeps_the_best_epoch():
    X = digits(200)
    model = uf.Autoencoder((60, 30), activation="relu", learning_rate=0.02, n_iter=200,
                           validation_fraction=0.3, patience=5, random_state=0).fit(X)  # fmt: skip
    losses = model.history_["validation_loss"]
    assert len(losses) < 200
    held_out = np.random.default_rng([model._seed, 1]).permutation(200)[:60]
    best = -model.score_samples(X[np.sort(held_out)]).mean(dtype=np.float64)
    np.testing.assert_allclose(best, min(losses), rtol=1e-6)


# ------------------------------------------------------------------------------------- classifier


PRETRAINING = [
    None,
    "rbm",
    "autoencoder",
    uf.RBM(method="cd", learning_rate=(0.1, 0.05), n_iter=2),
    uf.ContractiveAutoencoder(n_iter=2, learning_rate=optim.Cosine(0.01, epochs=2)),
]


@pytest.mark.parametrize("pretrain", PRETRAINING, ids=repr)
def test_classifier_learns_and_is_restored(pretrain, tmp_path):
    data = load_digits()
    X, y = (data.data / 16).astype(np.float32), np.array([f"digit {i}" for i in data.target])
    model = uf.StackedAutoencoderClassifier(
        (60, 40), pretrain=pretrain, pretrain_iter=3, n_iter=40, learning_rate=0.005,
        corruption=uf.Masking(0.2), random_state=0,
    ).fit(X[:1200], y[:1200])  # fmt: skip
    assert model.score(X[1200:], y[1200:]) > 0.88
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    model.save(tmp_path / "c.safetensors")
    other = uf.load(tmp_path / "c.safetensors")
    assert repr(other.get_params()) == repr(model.get_params())
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert_same(model.partial_fit(X[:50], y[:50]), other.partial_fit(X[:50], y[:50]))
    with pytest.raises(ValueError, match="not among classes"):
        model.partial_fit(X[:1], ["no digit"])


# ------------------------------------------------------------------------------------ variational


def gaussian_vae(n_iter, **options):
    """Data of a linear-Gaussian model, for which the likelihood is known exactly."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((2, 6))
    X = rng.standard_normal((2000, 2)) @ W + 0.5 * rng.standard_normal((2000, 6))
    model = uf.VAE((16,), 2, activation="tanh", likelihood="gaussian", sigma=0.5, n_iter=n_iter,
                   learning_rate=optim.Cosine(0.01, epochs=n_iter),
                   random_state=0, **options)  # fmt: skip
    covariance = W.T @ W + 0.25 * np.eye(6)
    sign, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    assert sign == 1
    exact = -0.5 * (np.einsum("ij,jk,ik->i", X, np.linalg.inv(covariance), X) + log_det)
    return model.fit(X), X, exact.mean()


def test_bound_is_below_the_likelihood_which_comes_near_the_truth():
    model, X, exact = gaussian_vae(60)
    bound = model.score_samples(X).mean()
    likelihood = model.log_likelihood(X[:500], 500, random_state=1).mean()
    assert bound < model.log_likelihood(X, 100, random_state=1).mean() + 0.02
    assert abs(likelihood - exact) < 0.35
    np.testing.assert_allclose(
        -model.history_["loss"][-1],
        -(model.history_["reconstruction"][-1] + model.history_["kl"][-1] - model._offset(6)),
        rtol=1e-6,
    )
    assert model.active_units(X) == 2


def test_outputs_begin_at_the_means_of_the_features():
    X = digits(300)
    means = X.mean(axis=0)
    assert means.min() == 0 < means.max()  # some features are always zero

    def start(data, likelihood="bernoulli"):
        model = uf.VAE(8, 2, likelihood=likelihood, n_iter=0, random_state=0).fit(data)
        return model.network_.decoder.layers[-1].bias.data

    for data in (X, X.astype(np.float64), sp.csr_matrix(X), iter([X[:100], X[100:]])):
        np.testing.assert_allclose(1 / (1 + np.exp(-start(data))), means, atol=0.0025)
    np.testing.assert_allclose(start(X, "gaussian"), means, atol=1e-6)
    # one row says little, and nothing that is infinite
    assert np.abs(start(X[:1])).max() < 1.2


def test_importance_weighted_bound_is_tighter():
    model, X, _ = gaussian_vae(20, n_importance=8)
    bounds = [model.log_likelihood(X[:500], k, random_state=2).mean() for k in (1, 8, 64)]
    assert bounds[0] < bounds[1] < bounds[2] + 0.01
    assert abs(bounds[1] - model.history_["bound"][-1]) < 0.5


def test_beta_and_free_bits_move_the_divergence():
    X = digits()
    options = {"hidden": (32,), "latent_dim": 4, "n_iter": 60, "random_state": 0}
    kl = {
        name: uf.VAE(**options, **extra).fit(X).history_["kl"][-1]
        for name, extra in {
            "beta": {"beta": 10.0},
            "plain": {},
            "free": {"beta": 10.0, "free_bits": 1.0},
        }.items()
    }
    assert kl["beta"] < kl["plain"]
    assert kl["free"] > 3 > kl["beta"]


def test_samples_and_interpolations():
    X = digits()
    for likelihood in ("bernoulli", "continuous_bernoulli", "gaussian"):
        model = uf.VAE((20,), 2, likelihood=likelihood, n_iter=2, random_state=0).fit(X)
        samples = model.sample(7, random_state=1)
        assert samples.shape == (7, 64)
        np.testing.assert_array_equal(samples, model.sample(7, random_state=1))
        if likelihood != "gaussian":
            assert 0 <= samples.min() and samples.max() <= 1
        line = model.interpolate(X[0], X[1], 5)
        np.testing.assert_allclose(line[[0, -1]], model.reconstruct(X[:2]), rtol=1e-5, atol=1e-6)


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: uf.Autoencoder(()), TypeError, "hidden_layer_sizes"),
        (lambda: uf.Autoencoder((3, 0)), ValueError, "hidden_layer_sizes"),
        (lambda: uf.Autoencoder((3.5,)), TypeError, "hidden_layer_sizes"),
        (lambda: uf.Autoencoder((20, 4, 8)), ValueError, "code, 8 wide, is wider"),
        (lambda: uf.Autoencoder(loss="categorical", pretrain="rbm"), ValueError, "visible"),
        (lambda: uf.Autoencoder(activation="relu6"), ValueError, "activation"),
        (lambda: uf.Autoencoder(output_activation="sigmoid"), ValueError, "loss='auto'"),
        (lambda: uf.Autoencoder(loss="mse", output_activation="relu6"), ValueError, "output_act"),
        (lambda: uf.Autoencoder(loss="l2"), ValueError, "loss"),
        (lambda: uf.Autoencoder(tied=1), TypeError, "tied"),
        (lambda: uf.Autoencoder(corruption=0.3), TypeError, "corruption"),
        (lambda: uf.Autoencoder(penalties=[0.1]), TypeError, "penalties"),
        (lambda: uf.Autoencoder(penalties=uf.L1()), TypeError, "penalties"),
        (lambda: uf.Autoencoder(activation="relu", penalties=[uf.KLSparsity()]), ValueError,
         "KLSparsity needs activities"),
        (lambda: uf.Autoencoder(pretrain=uf.VAE()), ValueError, "pretrain is VAE"),
        (lambda: uf.Autoencoder(pretrain="dbn"), ValueError, "pretrain"),
        (lambda: uf.Autoencoder(optimizer="adagrad"), ValueError, "optimizer"),
        (lambda: uf.Autoencoder(learning_rate=0), ValueError, "learning_rate"),
        (lambda: uf.Autoencoder(learning_rate="fast"), TypeError, "learning_rate"),
        (lambda: uf.Autoencoder(weight_decay=-1), ValueError, "weight_decay"),
        (lambda: uf.Autoencoder(clip_norm=0), ValueError, "clip_norm"),
        (lambda: uf.Autoencoder(patience=3), ValueError, "validation_fraction"),
        (lambda: uf.Autoencoder(ema=1.0), ValueError, "ema"),
        (lambda: uf.Autoencoder(batch_size=0), ValueError, "batch_size"),
        (lambda: uf.Autoencoder(callbacks=3), TypeError, "callbacks"),
        (lambda: uf.SparseAutoencoder(target=1.5), ValueError, "target"),
        (lambda: uf.ContractiveAutoencoder(contraction=-1), ValueError, "weight"),
        (lambda: uf.VAE(latent_dim=0), ValueError, "latent_dim"),
        (lambda: uf.VAE(beta=-1), ValueError, "beta"),
        (lambda: uf.VAE(likelihood="poisson"), ValueError, "likelihood"),
        (lambda: uf.VAE(sigma=0), ValueError, "sigma"),
        (lambda: uf.VAE(n_importance=5, beta=2.0), ValueError, "n_importance"),
        (lambda: uf.VAE(kl_schedule=[-1]), ValueError, "kl_schedule"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(make, error, text):
    with pytest.raises(error, match=text):
        make().fit(digits(20))


def test_bad_data_are_named():
    for X, text in ((-np.eye(4), "at least 0; X has -1"), (np.tri(4, k=-1), "that of row 0")):
        with pytest.raises(ValueError, match=text):
            uf.Autoencoder(3, loss="categorical").fit(X)
    X = digits(20)
    with pytest.raises(ValueError, match="'bce' needs data in"):
        uf.Autoencoder(loss="bce").fit(X * 2)
    with pytest.raises(ValueError, match="'bernoulli' needs data in"):
        uf.VAE().fit(X - 1)
    model = MODELS["plain"]().fit(X)
    for codes, text in (
        (np.zeros((2, 6)), r"shape \(2, 6\); expected \(n_samples, 5\)"),
        (np.zeros(5), r"shape \(5,\); expected codes"),
        (np.full((2, 5), np.nan), "X has NaN"),
    ):
        with pytest.raises(ValueError, match=text):
            model.inverse_transform(codes)
    with pytest.raises(TypeError, match="X is a sparse"):
        model.inverse_transform(sp.csr_array((2, 5)))
    tied = uf.nn.TiedDense(uf.nn.Dense(4, 3))
    with pytest.raises(ValueError, match=r"\(2, 4\); expected \(n_samples, 3\), outputs of the"):
        tied(np.zeros((2, 4), np.float32))
    for bad in (-0.1, 1.1):
        with pytest.raises(ValueError, match="fraction"):
            uf.Masking(bad)
    with pytest.raises(ValueError, match="weight"):
        uf.L1(-1)
    with pytest.raises(ValueError, match="method"):
        uf.Contractive(method="guess")


def test_resuming_another_model_is_refused(tmp_path):
    X, path = digits(50), tmp_path / "m.safetensors"
    MODELS["plain"]().fit(X).save(path)
    with pytest.raises(ValueError, match="resume"):
        MODELS["plain"](resume=path).fit(X[:, :30])
    with pytest.raises(ValueError, match="resume"):
        uf.Autoencoder((7,), resume=path).fit(X)


def test_a_gaussian_machine_is_unrolled_with_its_variances():
    """Up, rows are divided by the variances that the machine learned; down, they are not.

    Both ways are in the units of the data, which the machine was not trained in.
    """
    X = np.random.default_rng(0).normal(5, [0.3, 1, 2, 0.5], (200, 4))
    X[:, 1:3] += 8 * (X[:, :1] > 5)
    machine = uf.RBM(visible="gaussian", method="cd", learning_rate=0.05, n_iter=40)
    model = uf.Autoencoder(
        (3,), activation="sigmoid", loss="mse", pretrain=machine, n_iter=0, random_state=0
    ).fit(X)
    again = clone(machine).set_params(
        n_components=3, random_state=int(np.random.default_rng([model._seed, 4, 0]).integers(2**31))
    )
    again.fit(X)
    assert np.abs(again.log_variance_).max() > 0.1
    assert_allclose(model.transform(X), again.transform(X), rtol=1e-6)
    assert_allclose(model.reconstruct(X), again.reconstruct(X), rtol=1e-6)

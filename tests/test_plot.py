"""Pictures: what is drawn is what was given, into the axes that were given."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

import unsupfast as uf
from unsupfast import plot

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import image as mpimage  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402

RNG = np.random.default_rng(0)
W = RNG.normal(size=(12, 15))
HISTORY = {
    "epoch": [1.0, 2.0, 3.0, 4.0],
    "seconds": [0.5, 0.5, 1.0, 1.0],
    "pseudo_log_likelihood": [-200.0, -150.0, -120.0, -110.0],
    "reconstruction_error": [0.2, 0.1, 0.08, 0.07],
    "free_energy_gap": [None, float("nan"), 0.5, 1.0],
    "my_metric": [1, 2, 3, 4],
}


@pytest.fixture
def ax():
    yield plt.subplots()[1]
    plt.close("all")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def tiles_of(axes):
    return axes.images[0].get_array()


def test_filters_tiles(ax) -> None:
    assert plot.filters(W, (3, 5), ax=ax) is ax
    tiles = tiles_of(ax)
    rows, columns = (tiles.shape[0] - 1) // 4, (tiles.shape[1] - 1) // 6
    assert rows * columns >= 12
    for i, w in enumerate(W):
        top, left = i // columns * 4 + 1, i % columns * 6 + 1
        tile = tiles[top : top + 3, left : left + 5]
        assert np.array_equal(tile, w.reshape(3, 5)) and not np.ma.is_masked(tile)
        # A border all round.
        assert tiles.mask[top - 1, left : left + 5].all() and tiles.mask[top + 3, left - 1]
    low, high = ax.images[0].get_clim()
    assert low == -high == -np.percentile(np.abs(W), 99.5)
    assert "12 filters" in ax.get_title() and "3×5" in ax.get_title()


def test_filters_scale_and_count(ax) -> None:
    plot.filters(W, (3, 5), n=5, ax=ax, limit=2.0, title="mine")
    assert ax.images[0].get_clim() == (-2, 2) and ax.get_title() == "mine"
    assert tiles_of(ax).count() == 5 * 15
    other = plot.filters(np.zeros((2, 4)))
    assert other.images[0].get_clim() == (-1, 1)  # nothing but zeros still has a scale
    assert "5 of 12" in plot.filters(W, (3, 5), n=5).get_title()
    assert plot.filters(W, (3, 5), n=None).images[0].get_array().count() == 12 * 15


def test_filters_of_a_model() -> None:
    axes = plot.filters(SimpleNamespace(components_=W[:, :9]))
    assert tiles_of(axes).count() == 12 * 9
    assert len(axes.figure.axes) == 2  # the colour bar
    assert "weight" in axes.figure.axes[1].get_ylabel()


def test_non_finite_weights_are_drawn_as_gaps(ax) -> None:
    broken = W.copy()
    broken[0, 0] = np.nan
    broken[1, 1] = np.inf
    plot.filters(broken, (3, 5), ax=ax)
    assert tiles_of(ax).count() == 12 * 15 - 2
    assert np.isfinite(ax.images[0].get_clim()).all()


def test_samples(ax) -> None:
    images = RNG.random((7, 16), np.float32)
    for given in (images, images.tolist(), sp.csr_matrix(images)):
        assert plot.samples(given, ax=ax) is ax
        assert tiles_of(ax).count() == 7 * 16 and ax.images[0].get_clim() == (0, 1)
        ax.clear()
    plot.samples(images, n=3, limits=(-1, 2), ax=ax)
    assert tiles_of(ax).count() == 3 * 16 and ax.images[0].get_clim() == (-1, 2)


def test_reconstructions(ax) -> None:
    X, X_hat = np.full((5, 4), 0.25), np.full((5, 4), 0.75)
    plot.reconstructions(X, X_hat, n=5, n_columns=3, ax=ax)
    tiles = tiles_of(ax)
    assert (tiles == 0.25).sum() == (tiles == 0.75).sum() == 20
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["input", "reconstruction"] * 2
    for tick, label in zip(ax.get_yticks(), labels, strict=True):  # each names the row it stands at
        row = tiles[round(tick)].compressed()
        assert np.all(row == (0.25 if label == "input" else 0.75))


def test_reconstructions_by_a_model() -> None:
    model = SimpleNamespace(reconstruct=lambda X: 1 - X)
    axes = plot.reconstructions(np.full((30, 4), 0.1), model)
    assert (tiles_of(axes) == 0.9).sum() == 10 * 4
    with pytest.raises(ValueError, match="X_hat: got shape"):
        plot.reconstructions(np.zeros((5, 4)), np.zeros((3, 4)))


def test_filters_of_networks() -> None:
    X = RNG.random((20, 9), np.float32)
    for model in (uf.Autoencoder((6, 2), n_iter=1), uf.VAE(5, 2, n_iter=1)):
        model.fit(X)
        first = model.network_.encoder.layers[0].weight
        tiles = tiles_of(plot.filters(model, n=None))
        assert tiles.count() == first.size
        np.testing.assert_array_equal(tiles[1:4, 1:4].ravel(), first[:, 0])


def test_codes(ax) -> None:
    points = RNG.normal(size=(50, 2))
    classes = np.array(["b", "a"])[np.arange(50) % 2]
    assert plot.codes(points, classes, ax) is ax
    drawn = ax.collections[0]
    order = np.lexsort(points.T)
    shown = np.asarray(drawn.get_offsets())
    again = np.lexsort(shown.T)
    np.testing.assert_array_equal(shown[again], points[order])
    colours = drawn.get_facecolors()[again]  # each point has the colour of its class
    legend = ax.get_legend()
    assert [t.get_text() for t in legend.get_texts()] == ["a", "b"]
    for name, handle in zip("ab", legend.legend_handles, strict=True):
        expected = matplotlib.colors.to_rgba(handle.get_color())
        np.testing.assert_allclose(colours[classes[order] == name], [expected] * 25)
    assert plot.codes(points).get_legend() is None
    many = plot.codes(points, np.arange(50))
    assert many.get_legend() is None and len(many.figure.axes) == 2


class Linear:
    """Codes and images that can be told from each other: decoding appends zeros."""

    def transform(self, X):
        return np.asarray(X)[:, :2]

    def inverse_transform(self, Z):
        return np.pad(np.asarray(Z), ((0, 0), (0, 2)))


def test_latent_grid(ax) -> None:
    assert plot.latent_grid(Linear(), side=3, ax=ax) is ax
    tiles = tiles_of(ax)
    assert tiles.shape == (10, 10)
    first, second = tiles[1::3, 1::3], tiles[1::3, 2::3]
    edge = 2.3263478740408408  # 99 % of a normal
    np.testing.assert_allclose(first, [[-edge, 0, edge]] * 3, atol=1e-12)
    np.testing.assert_allclose(second.T, [[edge, 0, -edge]] * 3, atol=1e-12)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["-2.33", "0.00", "2.33"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["2.33", "0.00", "-2.33"]
    codes = np.stack([np.linspace(0, 100, 101), np.linspace(5, 7, 101)], axis=1)
    tiles = tiles_of(plot.latent_grid(Linear(), side=3, codes=codes, low=0.1, high=0.9))
    np.testing.assert_allclose(tiles[1, 1::3], [10, 50, 90])
    np.testing.assert_allclose(tiles[1::3, 2], [6.8, 6, 5.2])


def test_interpolations(ax) -> None:
    a, b = np.array([[0.0, 1, 5, 5], [1, 0, 5, 5]]), np.array([[1.0, 0, 6, 6], [3, 0, 6, 6]])
    assert plot.interpolations(Linear(), a, b, n=3, ax=ax) is ax
    tiles = tiles_of(ax)
    values = tiles[1].compressed().reshape(-1, 2)  # the upper halves of the first row's tiles
    np.testing.assert_allclose(values, [[0, 1], [0, 1], [0.5, 0.5], [1, 0], [1, 0]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["input", "decoded", "input"]
    assert (tiles == 5).sum() == 4 and (tiles == 6).sum() == 4  # the inputs at the ends
    for tick, value in zip(ax.get_xticks()[[0, 2]], (5, 6), strict=True):
        assert value in tiles[2, round(tick) - 1 : round(tick) + 2].compressed()
    round_way = tiles_of(plot.interpolations(Linear(), a, b, n=3, path="spherical"))
    np.testing.assert_allclose(round_way[1].compressed().reshape(-1, 2)[2], [np.sqrt(0.5)] * 2)


def test_learning_curves_of_networks() -> None:
    X = RNG.random((60, 9), np.float32)
    plain = uf.Autoencoder(4, n_iter=3, validation_fraction=0.2, random_state=0).fit(X)
    assert plot.history_groups(plain) == [["loss", "validation_loss"]]
    sparse = uf.SparseAutoencoder(4, n_iter=3, random_state=0).fit(X)
    assert plot.history_groups(sparse) == [["loss", "reconstruction_loss"]]
    vae = uf.VAE(4, 2, n_iter=3, random_state=0).fit(X)
    assert plot.history_groups(vae) == [["loss"], ["kl"], ["reconstruction"]]
    axes = plot.learning_curve(vae)
    assert [side.get_ylabel() for side in axes.figure.axes] == [
        "loss",
        "KL divergence (nats/sample)",
    ]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), vae.history_["loss"])
    classifier = uf.StackedAutoencoderClassifier(4, pretrain=None, n_iter=3, random_state=0)
    groups = plot.history_groups(classifier.fit(X, np.arange(60) % 2))
    assert groups == [["loss"], ["error"]]


def test_learning_curve_one_metric(ax) -> None:
    assert plot.learning_curve(HISTORY, ax, metrics="pseudo_log_likelihood", title="T") is ax
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [1, 2, 3, 4]
    assert line.get_ydata().tolist() == HISTORY["pseudo_log_likelihood"]
    assert ax.get_xlabel() == "epoch" and "nats/sample" in ax.get_ylabel()
    assert ax.get_title() == "T" and ax.get_legend() is None


def test_learning_curve_default_is_two_units() -> None:
    axes = plot.learning_curve(SimpleNamespace(history_=HISTORY))
    left, right = axes.figure.axes
    assert "log-likelihood" in left.get_ylabel() and "reconstruction" in right.get_ylabel()
    assert len(left.get_legend().get_texts()) == 2


def test_learning_curve_against_time_skips_gaps(ax) -> None:
    plot.learning_curve(HISTORY, ax, metrics=["free_energy_gap"], x="seconds")
    assert ax.lines[0].get_xdata().tolist() == [2.0, 3.0]
    assert ax.lines[0].get_ydata().tolist() == [0.5, 1.0]
    assert ax.get_xlabel() == "training time (s)"


def test_history_groups() -> None:
    groups = plot.history_groups(
        HISTORY | {"loss": [None] * 4, "validation_pseudo_log_likelihood": [1] * 4}
    )
    assert groups == [
        ["pseudo_log_likelihood", "validation_pseudo_log_likelihood"],
        ["reconstruction_error"],
        ["free_energy_gap"],
        ["my_metric"],
    ]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot.filters(W), ValueError, "15 features are not a square"),
        (lambda: plot.filters(W, (4, 4)), ValueError, r"got \(4, 4\), which is not 15"),
        (lambda: plot.filters(W, (-3, -5)), ValueError, "image_shape"),
        (lambda: plot.filters(W, "3x5"), ValueError, "image_shape"),
        (lambda: plot.filters(W, (3, 5), n=0), ValueError, "n: got 0"),
        (lambda: plot.filters(W, (3, 5), n=2.5), TypeError, "n: got 2.5"),
        (lambda: plot.filters(W, (3, 5), limit=-1), ValueError, "limit"),
        (lambda: plot.filters(W, (3, 5), limit=np.nan), ValueError, "limit"),
        (lambda: plot.filters(W[0]), ValueError, "2 dimensions"),
        (lambda: plot.filters(W, (3, 5), ax="here"), TypeError, "ax"),
        (lambda: plot.samples(np.zeros((0, 4))), ValueError, "nothing to draw"),
        (lambda: plot.samples([["a", "b"]], (1, 2)), ValueError, "expected numbers"),
        (lambda: plot.samples(W, (3, 5), limits=(1, 0)), ValueError, "low < high"),
        (lambda: plot.samples(W, (3, 5), limits=3), ValueError, "limits"),
        (lambda: plot.codes(W), ValueError, "expected \\(n_samples, 2\\)"),
        (lambda: plot.codes(W[:, :2], [1, 2]), ValueError, "classes: got shape"),
        (lambda: plot.codes([[np.nan, 1]]), ValueError, "NaN"),
        (lambda: plot.codes(np.zeros((0, 2))), ValueError, "nothing to draw"),
        (lambda: plot.latent_grid(Linear(), (3, 3)), ValueError, "not 4 features"),
        (lambda: plot.latent_grid(Linear(), side=0), ValueError, "side is 0"),
        (lambda: plot.latent_grid(Linear(), codes=W), ValueError, "codes has shape"),
        (lambda: plot.interpolations(Linear(), W, W[:1], (3, 5)), ValueError, "b: got shape"),
        (lambda: plot.interpolations(Linear(), W, W, (3, 5), path="x"), ValueError, "path: got"),
        (lambda: plot.interpolations(Linear(), W, W, (3, 5), n=0), ValueError, "n: got 0"),
        (lambda: plot.learning_curve({}), ValueError, "no metric"),
        (lambda: plot.learning_curve({"epoch": [1]}), ValueError, "no metric"),
        (lambda: plot.learning_curve([1, 2]), TypeError, "history"),
        (lambda: plot.learning_curve(HISTORY, x="hours"), ValueError, "x: got 'hours'"),
        (lambda: plot.learning_curve({"loss": [1]}, x="seconds"), ValueError, "no 'seconds'"),
        (lambda: plot.learning_curve(HISTORY, metrics="nope"), ValueError, "no 'nope'"),
        (lambda: plot.learning_curve(HISTORY, metrics=[]), ValueError, "0 units"),
        (
            lambda: plot.learning_curve(
                HISTORY, metrics=["my_metric", "free_energy_gap", "reconstruction_error"]
            ),
            ValueError,
            "3 units",
        ),
        (lambda: plot.learning_curve({"epoch": [1, 2], "loss": [1]}), ValueError, "1 entries"),
        (lambda: plot.learning_curve({"loss": ["a"]}), ValueError, "not a list of numbers"),
        (lambda: plot.save("figure", "x.png"), TypeError, "figure"),
    ],
)
def test_bad_input(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()


def test_save(tmp_path, ax) -> None:
    plot.samples(RNG.random((4, 16)), ax=ax)
    for name in ("a.png", "a.svg", "a.pdf"):
        plot.save(ax, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    pixels = mpimage.imread(tmp_path / "a.png")
    assert pixels.ndim == 3 and pixels[..., :3].std() > 0.05
    with pytest.raises(ValueError, match="expected an ending among"):
        plot.save(ax.figure, tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        plot.save(ax, tmp_path / "none" / "a.png")
    assert len(list(tmp_path.iterdir())) == 3


def test_module_needs_matplotlib_only_to_draw() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from unsupfast import plot\n"
        "try: plot.filters([[1.0]])\n"
        "except ImportError as e: print(e)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "pip install 'unsupfast[plot]'" in result.stdout

"""Deep belief networks: layers, generation, labels, the bound on the likelihood, files."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

import unsupfast as uf

DIGITS = load_digits()
X = (DIGITS.data / 16).astype(np.float32)
Y = DIGITS.target


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


def test_files(tmp_path):
    dbn = small(labels=True).fit(X, Y)
    dbn.save(tmp_path / "d.safetensors")
    other = uf.load(tmp_path / "d.safetensors")
    assert_same(dbn, other)
    assert repr(other) == repr(dbn)
    np.testing.assert_array_equal(other.predict_proba(X), dbn.predict_proba(X))
    drawn = [m.sample(5, 20, label=7, random_state=3) for m in (dbn, other)]
    np.testing.assert_array_equal(*drawn)

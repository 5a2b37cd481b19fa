"""A linear auto-encoder is principal component analysis (Baldi and Hornik, 1989)."""

import numpy as np
from scipy.linalg import subspace_angles

import unsupfast as uf


def test_linear_autoencoder_spans_the_principal_subspace():
    X = uf.datasets.digits(dtype=np.float64).data
    centred = X - X.mean(axis=0)
    basis = np.linalg.svd(centred, full_matrices=False)[2][:10].T
    model = uf.Autoencoder(
        10,
        activation="identity",
        loss="mse",
        batch_size=100,
        n_iter=300,
        learning_rate=uf.optim.Cosine(0.05, epochs=300),
        random_state=0,
    ).fit(X)
    decoder = model.network_.decoder.layers[0].weight
    assert subspace_angles(decoder.T, basis).max() < 1e-3
    projected = X.mean(axis=0) + centred @ basis @ basis.T
    np.testing.assert_allclose(model.reconstruct(X), projected, atol=2e-3)

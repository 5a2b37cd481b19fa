"""scikit-learn's own conformance checks, with no expected failure."""

from sklearn.utils.estimator_checks import parametrize_with_checks

import unsupfast as uf


@parametrize_with_checks(
    [
        uf.RBM(4, n_iter=2, random_state=0),
        uf.RBM(4, n_iter=2, method="cd", k=2, centering=True, momentum=0.5, random_state=0),
        uf.RBM(4, n_iter=2, visible="gaussian", learning_rate=0.001, random_state=0),
        uf.BernoulliRBM(4, n_iter=2, random_state=0),
        uf.Autoencoder(4, n_iter=2, random_state=0),
        uf.Autoencoder((5, 3), n_iter=2, tied=True, loss="mse", random_state=0),
        uf.DenoisingAutoencoder(4, n_iter=2, random_state=0),
        uf.ContractiveAutoencoder(4, n_iter=2, random_state=0),
        uf.SparseAutoencoder(4, n_iter=2, random_state=0),
        uf.StackedAutoencoder((5, 3), pretrain_iter=1, n_iter=2, random_state=0),
        uf.StackedAutoencoderClassifier(
            16, pretrain_iter=2, n_iter=60, random_state=0, learning_rate=0.01, batch_size=20
        ),
        uf.VAE(4, 2, likelihood="gaussian", n_iter=2, random_state=0),
    ]
)
def test_sklearn_conformance(estimator, check):
    check(estimator)

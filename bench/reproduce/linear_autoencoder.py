"""A linear auto-encoder finds the subspace of the principal components.

Baldi and Hornik (Neural Networks 2, 1989): squared error has no other minimum. Trains without
activations in float64 and reports the largest principal angle between the decoder's rows and the
first principal components, of the 8x8 digits or of MNIST::

    python bench/reproduce/linear_autoencoder.py
    python bench/reproduce/linear_autoencoder.py --set mnist
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from scipy.linalg import subspace_angles

import unsupfast as uf

PUBLISHED = {"angle": 0.0, "source": "Baldi and Hornik 1989"}
# Components, epochs, batch and rate: the last of these falls to zero, and with it the noise.
SETS: dict[str, tuple[int, int, int, float]] = {
    "digits": (10, 400, 300, 0.05),
    "mnist": (16, 150, 2000, 0.02),
}


def largest_angle(model: Any, X: np.ndarray) -> float:
    """Radians between what the decoder spans and the principal subspace of X."""
    decoder = model.network_.decoder.layers[0].weight
    return float(subspace_angles(decoder.T, common.pca(X, len(decoder))[1]).max())


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--set", choices=SETS, default="digits")
    parser.add_argument("--epochs", type=int, help="default: the set's own")
    args = parser.parse_args()
    report = common.Report(f"linear-autoencoder-{args.set}", args, PUBLISHED)
    X = getattr(uf.datasets, args.set)(dtype=np.float64).data
    components, epochs, batch, rate = SETS[args.set]
    epochs = args.epochs or epochs
    least = common.pca_error(X, X, components)
    angles = []
    for seed in args.seeds:
        model = uf.Autoencoder(
            components,
            activation="identity",
            loss="mse",
            batch_size=batch,
            n_iter=epochs,
            learning_rate=uf.optim.Cosine(rate, epochs=epochs),
            random_state=seed,
            verbose=args.verbose,
        )
        with common.stopwatch() as facts:
            model.fit(X)
        angles.append(largest_angle(model, X))
        error = common.squared_error(X, model.reconstruct(X))
        excess = error / least - 1
        report.add(seed=seed, angle=angles[-1], error=error, excess=excess, epochs=epochs, **facts)
    report.summary(largest_angle=max(angles), pca=least, components=components)


if __name__ == "__main__":
    main()

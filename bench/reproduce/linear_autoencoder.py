"""A linear auto-encoder finds the subspace of the principal components.

Baldi and Hornik (Neural Networks 2, 1989): squared error has no other minimum. Trains without
activations in float64 and reports the largest principal angle between the decoder's rows and the
first principal components, of the 8x8 digits and of MNIST::

    python bench/reproduce/linear_autoencoder.py
    python bench/reproduce/linear_autoencoder.py --sets digits
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
    "digits": (10, 400, 100, 0.05),
    "mnist": (20, 60, 500, 0.01),
}


def load(name: str) -> np.ndarray:
    return getattr(uf.datasets, name)(dtype=np.float64).data


def largest_angle(model: Any, X: np.ndarray) -> float:
    """Radians between what the decoder spans and the principal subspace of X."""
    decoder = model.network_.decoder.layers[0].weight
    return float(subspace_angles(decoder.T, common.pca(X, len(decoder))[1]).max())


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--epochs", type=int, help="default: the set's own")
    args = parser.parse_args()
    report = common.Report("linear-autoencoder", args, PUBLISHED)
    worst: dict[str, float] = {}
    for name in args.sets:
        X = load(name)
        components, epochs, batch, rate = SETS[name]
        epochs = args.epochs or epochs
        least = common.pca_error(X, X, components)
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
            angle = largest_angle(model, X)
            worst[name] = max(angle, worst.get(name, 0.0))
            error = common.squared_error(X, model.reconstruct(X))
            report.add(
                set=name, seed=seed, components=components, angle=angle, error=error,
                excess=error / least - 1, **facts,
            )  # fmt: skip
    report.summary(largest_angle=worst)


if __name__ == "__main__":
    main()

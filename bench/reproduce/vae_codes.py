"""MNIST in two dimensions: the codes of a variational auto-encoder, and what lies between them.

784-512-2 with rectified units, on grey images, as the tutorials train it. Reports the evidence
lower bound of the test images in nats, and draws their codes beside the decoded square of codes::

    python bench/reproduce/vae_codes.py

The targets are grey, so the "likelihood" is a cross-entropy that no model can bring to zero.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from vae_mnist import bound

import unsupfast as uf

PUBLISHED = {
    "loss": 146.95,
    "reconstruction": 140.15,
    "kl": 6.80,
    "source": "Keras' tutorial: convolutional, two codes, 30 epochs; training loss",
}


def codes_and_grid(model: Any, test: np.ndarray, y: np.ndarray, elbo: float) -> Any:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.1), layout="constrained")
    title = f"codes of {len(test)} test images, bound {elbo:.1f} nats"
    uf.plot.codes(model.transform(test), y, ax=left, title=title)
    uf.plot.latent_grid(model, image_shape=(28, 28), side=15, ax=right)
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report("vae-codes", args, PUBLISHED)
    train, test = common.images("train")[: args.rows], common.images("test")[: args.rows]
    found: list[tuple[float, Any]] = []
    for seed in args.seeds:
        model = uf.VAE(
            args.hidden,
            2,
            batch_size=args.batch,
            n_iter=args.epochs,
            learning_rate=uf.optim.Cosine(args.rate, epochs=args.epochs, warmup=1),
            random_state=seed,
            verbose=args.verbose,
        )
        with common.stopwatch() as facts:
            model.fit(train)
        result = bound(model, test)
        found.append((result["elbo"], model))
        report.add(seed=seed, test=result, train=bound(model, train), **facts)
    elbo, model = max(found, key=lambda run: run[0])
    report.summary(test_elbo_mean=float(np.mean([value for value, _ in found])))
    report.picture(codes_and_grid(model, test, common.labels("test")[: args.rows], elbo))


if __name__ == "__main__":
    main()

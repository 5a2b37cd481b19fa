"""Likelihood of a variational auto-encoder on MNIST, trained on one or more samples a row.

784-200-200-50 with tanh units, trained on MNIST's images binarised anew every epoch. Reports the
log-likelihood of the 10,000 test images in nats, from 5000 importance samples a row, on a draw of
their own and on the rows of the fixed binarisation. A run by default takes minutes; the schedule
that is compared with the published figures takes an hour on one core::

    python bench/reproduce/vae_mnist.py                      # the evidence lower bound
    python bench/reproduce/vae_mnist.py --samples 5          # the importance-weighted bound
    python bench/reproduce/vae_mnist.py --samples 5 --full
    python bench/reproduce/vae_mnist.py --epochs 30 --held-out 5000 --rate 0.002

The last line is how recipes are compared: it trains without 5000 of the training images and
reports those in place of the test set.

Burda, Grosse and Salakhutdinov (ICLR 2016) train for 3280 epochs in batches of 20.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import numpy as np

import unsupfast as uf

PUBLISHED = {
    "k=1": -86.76,
    "k=5": -85.54,
    "source": "Burda, Grosse and Salakhutdinov 2016, one stochastic layer",
}
EPOCHS = {1: 60, 5: 20}
FULL = {1: 600, 5: 200}


def binarised(grey: np.ndarray, seed: int) -> np.ndarray:
    """One draw of binary rows, in another order."""
    return next(iter(uf.datasets.Binarized(grey, random_state=seed, batch_rows=len(grey))))


def bound(model: Any, X: np.ndarray) -> dict[str, float]:
    """The evidence lower bound of binary rows and its two parts."""
    mean, sigma = model.encode(X)
    divergence = 0.5 * (mean**2 + sigma**2 - 1 - 2 * np.log(sigma)).sum(axis=1, dtype=np.float64)
    value = float(model.score_samples(X).mean(dtype=np.float64))
    kl = float(divergence.mean())
    return {"elbo": value, "kl": kl, "reconstruction": value + kl}


def likelihood(model: Any, X: np.ndarray, importance: int) -> dict[str, float]:
    """Mean log-likelihood of the rows, and its standard error over them."""
    rows = model.log_likelihood(X, importance, random_state=0)
    return {"mean": float(rows.mean()), "error": float(rows.std() / np.sqrt(len(rows)))}


def samples_and_reconstructions(model: Any, X: np.ndarray) -> Any:
    import matplotlib.pyplot as plt

    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8, 6), height_ratios=(4, 2), layout="constrained"
    )
    uf.plot.samples(model.sample(80, random_state=0), image_shape=(28, 28), ax=top)
    uf.plot.reconstructions(X[:20], model.reconstruct(X[:20]), image_shape=(28, 28), ax=bottom)
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.set_defaults(seeds=[0])
    parser.add_argument("--samples", type=int, default=1, help="of the code per row in training")
    parser.add_argument("--full", action="store_true", help="the long schedule")
    parser.add_argument("--epochs", type=int, help="default: minutes, or those of --full")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--ema", type=float, default=None)
    parser.add_argument("--checkpoint", help="file to continue from and to write every 10 epochs")
    parser.add_argument("--importance", type=int, default=5000, help="samples per test row")
    parser.add_argument("--held-out", type=int, default=0, help="training rows to report instead")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    if args.checkpoint and len(args.seeds) > 1:
        parser.error("--checkpoint holds one training: give one of --seeds")
    k, schedule = args.samples, FULL if args.full else EPOCHS
    epochs = args.epochs or schedule.get(k, schedule[5] * 5 // k)
    name = f"vae-mnist-k{k}" + ("-full" if args.full else "")
    report = common.Report(name, args, PUBLISHED)
    train, test = common.images("train")[: args.rows], common.images("test")[: args.rows]
    fixed = uf.datasets.binarized_mnist("test").data[: args.rows]
    if args.held_out:
        mixed = np.random.default_rng(0).permutation(len(train))
        test, train = train[mixed[: args.held_out]], train[mixed[args.held_out :]]
    found = []
    for seed in args.seeds:
        begun = bool(args.checkpoint) and Path(args.checkpoint).exists()
        passes = uf.load(args.checkpoint).n_iter_ if begun else 0
        model = uf.VAE(
            (200, 200),
            50,
            activation="tanh",
            n_importance=k,
            batch_size=args.batch,
            n_iter=epochs,
            learning_rate=uf.optim.Cosine(args.rate, epochs=epochs),
            ema=args.ema,
            checkpoint=args.checkpoint,
            checkpoint_every=10,
            resume=args.checkpoint if begun else None,
            random_state=seed,
            verbose=args.verbose,
        )
        model.fit(uf.datasets.Binarized(train, random_state=seed, passes=passes))
        seconds = sum(model.history_["seconds"])
        rows = binarised(test, 1000 + seed)
        with common.stopwatch() as watch:
            found.append(likelihood(model, rows, args.importance))
        report.add(
            seed=seed,
            epochs=epochs,
            log_likelihood=found[-1],
            fixed_binarisation=None if args.held_out else likelihood(model, fixed, args.importance),
            test=bound(model, rows),
            train=bound(model, binarised(train, 2000 + seed)),
            active_units=model.active_units(rows),
            training_loss=model.history_["loss"][-1],
            seconds=seconds,
            samples_per_second=epochs * len(train) / seconds,
            likelihood_seconds=watch["seconds"],
        )
    report.summary(mean=float(np.mean([run["mean"] for run in found])))
    report.picture(samples_and_reconstructions(model, rows))


if __name__ == "__main__":
    main()

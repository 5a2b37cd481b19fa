"""Likelihood of a variational auto-encoder on MNIST, trained on one or more samples a row.

784-200-200-50 with tanh units, trained on MNIST's images binarised anew every epoch. Reports the
log-likelihood of the 10,000 test images in nats, from 5000 importance samples a row, on a draw of
their own, and from 1000 on the rows of the fixed binarisation. A run by default takes minutes; the
schedule that is compared with the published figures takes an hour on one core::

    python bench/reproduce/vae_mnist.py                      # the evidence lower bound
    python bench/reproduce/vae_mnist.py --samples 5          # the importance-weighted bound
    python bench/reproduce/vae_mnist.py --samples 5 --full
    python bench/reproduce/vae_mnist.py --epochs 30 --held-out 5000 --rate 0.002

The last line is how recipes are compared: it trains without 5000 of the training images and
reports those in place of the test set.

Burda, Grosse and Salakhutdinov (ICLR 2016) train for 3280 epochs in batches of 20.
"""

from __future__ import annotations

import tempfile
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
# Samples a row, epochs and rate to begin with, one after the other. The rate falls along a cosine
# and begins again (Loshchilov and Hutter, 2017). More samples a row cost more than they teach at
# first, so five go on from a model trained on one.
Phase = tuple[int, int, float]
SHORT: dict[int, list[Phase]] = {1: [(1, 60, 0.003)], 5: [(5, 20, 0.003)]}
ONE: list[Phase] = [(1, 1000, 0.003), (1, 500, 0.0015)]
FULL: dict[int, list[Phase]] = {1: ONE, 5: [*ONE, (5, 800, 0.002)]}


def train_phases(
    X: np.ndarray, phases: list[Phase], path: Path, seed: int, batch: int, verbose: int
) -> Any:
    """Train on rows binarised anew every epoch, from where `path` stands, if it does."""
    rates = [
        uf.optim.Cosine(rate, epochs=epochs).rate(epoch, {})
        for _, epochs, rate in phases
        for epoch in range(epochs)
    ]
    end = 0
    for samples, epochs, _ in phases:
        end += epochs
        done = uf.load(path).n_iter_ if path.exists() else 0
        if done > end and end < len(rates):  # another phase's
            continue
        model = uf.VAE(
            (200, 200),
            50,
            activation="tanh",
            n_importance=samples,
            batch_size=batch,
            n_iter=end,
            learning_rate=rates,
            checkpoint=path,
            checkpoint_every=10,
            resume=path if done else None,
            random_state=seed,
            verbose=verbose,
        )
        model.fit(uf.datasets.Binarized(X, random_state=seed, passes=done))
        model.save(path)
    return model


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
    uf.plot.samples(model.sample(100, random_state=0), image_shape=(28, 28), ax=top)
    uf.plot.reconstructions(X[:10], model.reconstruct(X[:10]), image_shape=(28, 28), ax=bottom)
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.set_defaults(seeds=[0])
    parser.add_argument(
        "--samples", type=int, choices=FULL, default=1, help="of the code per row in training"
    )
    parser.add_argument("--full", action="store_true", help="the long schedule")
    parser.add_argument("--epochs", type=int, help="one phase of this length and --rate")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--checkpoint", help="file to continue from and to write every 10 epochs")
    parser.add_argument("--importance", type=int, default=5000, help="samples per test row")
    parser.add_argument("--fixed-importance", type=int, default=1000, help="fixed binarisation")
    parser.add_argument("--held-out", type=int, default=0, help="training rows to report instead")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    if args.checkpoint and len(args.seeds) > 1:
        parser.error("--checkpoint holds one training: give one of --seeds")
    phases = (FULL if args.full else SHORT)[args.samples]
    if args.epochs:
        phases = [(args.samples, args.epochs, args.rate)]
    name = f"vae-mnist-k{args.samples}" + ("-full" if args.full else "")
    report = common.Report(name, args, PUBLISHED)
    train, test = common.images("train")[: args.rows], common.images("test")[: args.rows]
    fixed = uf.datasets.binarized_mnist("test").data[: args.rows]
    if args.held_out:
        mixed = np.random.default_rng(0).permutation(len(train))
        test, train = train[mixed[: args.held_out]], train[mixed[args.held_out :]]
    found = []
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(args.checkpoint or f"{folder}/vae.safetensors")
            model = train_phases(train, phases, path, seed, args.batch, args.verbose)
        seconds = sum(model.history_["seconds"])
        rows = binarised(test, 1000 + seed)
        with common.stopwatch() as watch:
            found.append(likelihood(model, rows, args.importance))
        report.add(
            seed=seed,
            phases=[{"samples": k, "epochs": n, "rate": rate} for k, n, rate in phases],
            log_likelihood=found[-1],
            fixed_binarisation=None
            if args.held_out
            else likelihood(model, fixed, args.fixed_importance),
            test=bound(model, rows),
            train=bound(model, binarised(train, 2000 + seed)),
            active_units=model.active_units(rows),
            training_loss=model.history_["loss"][-1],
            seconds=seconds,
            samples_per_second=model.n_iter_ * len(train) / seconds,
            likelihood_seconds=watch["seconds"],
        )
    report.summary(mean=float(np.mean([run["mean"] for run in found])))
    report.picture(samples_and_reconstructions(model, rows))


if __name__ == "__main__":
    main()

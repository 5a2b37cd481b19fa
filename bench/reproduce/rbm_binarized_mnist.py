"""Likelihood of an RBM with 500 hidden units on binarised MNIST, against training time.

Trains on MNIST's training images, binarised anew every epoch (or, `-fixed`, on the 50,000 training
rows of the fixed binarisation), and reports the mean log-likelihood of the 10,000 test rows of the
fixed binarisation in nats, with log Z from annealed importance sampling::

    python bench/reproduce/rbm_binarized_mnist.py
    python bench/reproduce/rbm_binarized_mnist.py --method pcd5 cd1 --precision int16 float32

Published for this model and this data: CD-1 -125.53, CD-3 -105.50, CD-25 -86.34 (Salakhutdinov and
Murray, 2008).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import unsupfast as uf
from unsupfast._bench import harness

HIDDEN = 500
PUBLISHED = {"CD-1": -125.53, "CD-3": -105.50, "CD-25": -86.34}


@dataclass(frozen=True)
class Recipe:
    """How to train: options of :class:`unsupfast.RBM`, and how fast the rate falls to zero."""

    options: dict[str, Any]
    rate: float
    epochs: int
    note: str
    fixed: bool = False  # trained on the fixed binarisation


# The rate is constant for half of the epochs, then falls linearly to zero.
RECIPES = {
    "cd1": Recipe({"method": "cd"}, 0.05, 100, "CD-1"),
    "cd10": Recipe({"method": "cd", "k": 10}, 0.05, 30, "CD-10"),
    "pcd": Recipe({"method": "pcd", "centering": True}, 0.05, 100, "PCD-1, centred"),
    "pcd5": Recipe({"method": "pcd", "k": 5, "centering": True}, 0.1, 250, "PCD-5, centred"),
    "pcd-fixed": Recipe(
        {"method": "pcd", "centering": True, "weight_decay": 1e-3},
        0.05,
        150,
        "PCD-1, centred, weight decay 0.001, fixed binarisation",
        fixed=True,
    ),
}


def train(recipe: Recipe, X: Any, *, precision: str, seed: int, epochs: int, rate: float):
    """Train one model.

    Parameters
    ----------
    recipe : Recipe
    X : ndarray of shape (n_samples, 784), or an iterable of such batches
    precision : {"float32", "bfloat16", "int16"}
    seed, epochs : int
    rate : float
        Learning rate of the first half.

    Returns
    -------
    model : RBM
    facts : dict
        Seconds, epochs and samples per second.
    """
    model = uf.RBM(
        HIDDEN,
        batch_size=100,
        learning_rate=lambda epoch: rate * min(1.0, 2.0 * (1.0 - epoch / epochs)),
        n_iter=epochs,
        precision=precision,
        random_state=seed,
        **recipe.options,
    )
    start = time.perf_counter()
    model.fit(X)
    return model, {"seconds": time.perf_counter() - start, "epochs": epochs}


def likelihood(model: Any, X: np.ndarray, temperatures: int) -> dict[str, Any]:
    """Mean log-likelihood with log Z from AIS, with its interval, and from reverse AIS.

    On average the first is no lower than the truth and the second no higher, so a gap between
    them beyond their noise tells of chains that do not keep up.
    """
    start = time.perf_counter()
    options = {"n_chains": 200, "n_temperatures": temperatures}
    estimate = model.log_likelihood(X, method="ais", **options)
    reverse = model.log_likelihood(X, method="reverse_ais", **options).value
    low, high = estimate.interval
    seconds = time.perf_counter() - start
    return {"mean": estimate.value, "low": low, "high": high, "reverse": reverse,
            "seconds": seconds}  # fmt: skip


def draw(model: Any, path: str) -> None:
    """Draw 100 filters, and the means of 100 chains after 1000 Gibbs steps from noise."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    uf.plot.filters(model, image_shape=(28, 28), n=100, ax=left)
    samples = model.sample(100, 1000, mean=True, random_state=0)
    uf.plot.samples(samples, image_shape=(28, 28), ax=right)
    uf.plot.save(figure, path)
    print(f"written: {path}")


def main() -> int:
    """Run the recipes asked for and write one JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", nargs="+", choices=RECIPES, default=["pcd5"])
    parser.add_argument(
        "--precision", nargs="+", choices=("float32", "bfloat16", "int16"), default=["int16"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="default: the recipe's own")
    parser.add_argument("--rate", type=float, help="default: the recipe's own")
    parser.add_argument("--temperatures", type=int, default=20_000)
    parser.add_argument("--picture", help="write filters and samples of the last model here")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--out", help="folder for the JSON (default: bench/results or here)")
    args = parser.parse_args()
    for name in ("epochs", "rate"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            parser.error(f"--{name} must be positive, got {value}")
    try:
        threads = harness.limit_threads(args.threads)
        train_rows = uf.datasets.binarized_mnist("train").data
        grey_rows = uf.datasets.mnist("train").data
        test_rows = uf.datasets.binarized_mnist("test").data
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    info = harness.machine(threads)
    suite = "rbm-quality-" + "-".join(args.method)
    path = harness.result_path(suite, info, harness.output_directory(args.out))
    document: dict[str, Any] = {
        "suite": "rbm-quality",
        "machine": info,
        "arguments": harness.arguments(args),
        "published": PUBLISHED,
        "runs": [],
        "summary": [],
    }
    for method in args.method:
        for precision in args.precision:
            means = []
            for seed in args.seeds:
                recipe = RECIPES[method]
                model, facts = train(
                    recipe,
                    train_rows
                    if recipe.fixed
                    else uf.datasets.Binarized(grey_rows, random_state=seed),
                    precision=precision,
                    seed=seed,
                    epochs=args.epochs or recipe.epochs,
                    rate=args.rate or recipe.rate,
                )
                run = {"method": method, "precision": precision, "seed": seed, "training": facts}
                run["note"] = RECIPES[method].note
                run["test"] = likelihood(model, test_rows, args.temperatures)
                # A model that fits its training rows far better has been overfitted.
                gap = model.free_energy(test_rows).mean() - model.free_energy(train_rows).mean()
                run["train"] = run["test"]["mean"] + float(gap)
                document["runs"].append(run)
                means.append(run["test"]["mean"])
                print(
                    f"{method:6} {precision:9} seed {seed}: test {means[-1]:8.2f} nats "
                    f"(reverse {run['test']['reverse']:8.2f}, train {run['train']:8.2f}), "
                    f"{facts['epochs']} epochs in "
                    f"{facts['seconds']:.0f} s",
                    flush=True,
                )
                harness.write_json(path, document)  # hours of work survive an interruption
            document["summary"].append(
                {
                    "method": method,
                    "precision": precision,
                    "test_mean": float(np.mean(means)),
                    "test_min": float(np.min(means)),
                    "test_max": float(np.max(means)),
                }
            )
            print(
                f"{method:6} {precision:9} mean of {len(means)} seeds: {np.mean(means):.2f} nats "
                f"({np.min(means):.2f} to {np.max(means):.2f}); published CD-25: "
                f"{PUBLISHED['CD-25']:.2f}"
            )
    harness.write_json(path, document)
    print(f"written: {path}")
    if args.picture:
        draw(model, args.picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

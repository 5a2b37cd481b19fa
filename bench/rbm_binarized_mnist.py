"""Likelihood of an RBM with 500 hidden units on binarised MNIST, against training time.

Trains on the 50,000 training rows and reports the mean log-likelihood of the 10,000 test rows in
nats, with log Z from annealed importance sampling::

    python bench/rbm_binarized_mnist.py --method pcd --precision float32 --seconds 180
    python bench/rbm_binarized_mnist.py --method cd1 pcd cd25 --seconds 180  # each

Published for this model and this data: CD-1 -125.53, CD-3 -105.50, CD-25 -86.34 (Salakhutdinov and
Murray, 2008). ``--epochs`` in place of ``--seconds`` makes a run reproducible bit by bit.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import unsupfast as uf
from unsupfast._bench import harness
from unsupfast._bench.rbm import ours_epoch

HIDDEN = 500
PUBLISHED = {"CD-1": -125.53, "CD-3": -105.50, "CD-25": -86.34}


@dataclass(frozen=True)
class Recipe:
    """How to train.

    ``learning_rate`` and ``k`` are functions of the share of the training that is done, 0 to 1.
    """

    method: str
    learning_rate: Callable[[float], float]
    k: Callable[[float], int]
    batch_size: int = 100
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def linear(start: float, end: float = 0.0) -> Callable[[float], float]:
    """Fall in a straight line from ``start`` to ``end``."""
    return lambda done: start + (end - start) * done


def constant(k: int) -> Callable[[float], int]:
    """Return ``k`` always."""
    return lambda done: k


def growing(last: int) -> Callable[[float], int]:
    """Grow geometrically from 1 to ``last``: long chains only pay once the model is good."""
    return lambda done: max(1, round(last**done))


RECIPES = {
    "cd1": Recipe("cd", linear(0.1), constant(1), note="CD-1"),
    "cd25": Recipe("cd", linear(0.1), growing(25), note="CD-k, k growing from 1 to 25"),
    "pcd": Recipe("pcd", linear(0.05), constant(1), note="PCD-1, rate falling to 0"),
    "pcd5": Recipe("pcd", linear(0.1), constant(5), note="PCD-5, rate falling to 0"),
}


def train(
    recipe: Recipe,
    X: np.ndarray,
    *,
    precision: str,
    seed: int,
    seconds: float | None,
    epochs: int | None,
) -> tuple[Any, dict[str, float]]:
    """Train one model within a time budget or for a number of epochs.

    Parameters
    ----------
    recipe : Recipe
    X : ndarray of shape (n_samples, 784)
        Shuffled training rows.
    precision : {"float32", "bfloat16"}
    seed : int
    seconds, epochs : float or int, or None
        Exactly one of them. With ``seconds``, schedules follow the clock.

    Returns
    -------
    model : RBM
    facts : dict
        Seconds, epochs and samples per second.
    """
    model = uf.RBM(
        HIDDEN,
        method=recipe.method,
        k=recipe.k(0.0),
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate(0.0),
        precision=precision,
        n_iter=1,
        random_state=seed,
        **recipe.options,
    )
    start = time.perf_counter()
    model.partial_fit(X[: recipe.batch_size])  # allocates the weights
    # Start at the log-odds of the pixels, so that no time goes into learning the mean image.
    mean = np.clip(X.mean(0, dtype=np.float64), 1.0 / len(X), 1.0 - 1.0 / len(X))
    model.intercept_visible_ = np.log(mean / (1.0 - mean)).astype(np.float32)
    passes = 0
    while True:
        elapsed = time.perf_counter() - start
        done = elapsed / seconds if seconds is not None else passes / (epochs or 1)
        if done >= 1.0:
            break
        model.set_params(learning_rate=recipe.learning_rate(done), k=recipe.k(done))
        ours_epoch(model, X)
        passes += 1
    return model, {
        "seconds": elapsed,
        "epochs": passes,
        "samples_per_s": passes * len(X) / elapsed,
    }


def likelihood(model: Any, X: np.ndarray) -> dict[str, Any]:
    """Mean log-likelihood by AIS, with its interval and the seconds it took."""
    start = time.perf_counter()
    estimate = model.log_likelihood(X, method="ais")
    seconds = time.perf_counter() - start
    # A record (mean, low, high), or a number that carries its interval.
    if isinstance(estimate, tuple):
        mean, low, high = estimate[:3]
    else:
        mean, (low, high) = float(estimate), getattr(estimate, "interval", (None, None))
    return {"mean": float(mean), "low": low, "high": high, "seconds": seconds}


def main() -> int:
    """Run the recipes asked for and write one JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", nargs="+", choices=RECIPES, default=["pcd"])
    parser.add_argument(
        "--precision", nargs="+", choices=("float32", "bfloat16"), default=["float32"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, help="training time of a model (default 180)")
    budget.add_argument("--epochs", type=int, help="in place of --seconds")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--out", help="folder for the JSON (default: bench/results or here)")
    args = parser.parse_args()
    if args.seconds is None and args.epochs is None:
        args.seconds = 180.0
    for name in ("seconds", "epochs"):
        value = getattr(args, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            parser.error(f"--{name} must be positive, got {value}")
    try:
        threads = harness.limit_threads(args.threads)
        train_rows = uf.datasets.binarized_mnist("train").data
        test_rows = uf.datasets.binarized_mnist("test").data
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    info = harness.machine(threads)
    suite = "rbm-quality-" + "-".join(args.method)
    path = harness.result_path(suite, info, harness.output_directory(args.out))
    document: dict[str, Any] = {
        "suite": "rbm-quality",
        "machine": info,
        "arguments": vars(args),
        "published": PUBLISHED,
        "runs": [],
        "summary": [],
    }
    for method in args.method:
        for precision in args.precision:
            means = []
            for seed in args.seeds:
                # The rows of the file are not in random order.
                X = train_rows[np.random.default_rng(seed).permutation(len(train_rows))]
                model, facts = train(
                    RECIPES[method],
                    X,
                    precision=precision,
                    seed=seed,
                    seconds=args.seconds,
                    epochs=args.epochs,
                )
                run = {"method": method, "precision": precision, "seed": seed, "training": facts}
                run["note"] = RECIPES[method].note
                run["test"] = likelihood(model, test_rows)
                # A model that fits its training rows far better has been overfitted.
                run["train"] = likelihood(model, X[:10_000])
                document["runs"].append(run)
                means.append(run["test"]["mean"])
                print(
                    f"{method:6} {precision:9} seed {seed}: test {means[-1]:8.2f} nats "
                    f"(train {run['train']['mean']:8.2f}), {facts['epochs']} epochs in "
                    f"{facts['seconds']:.0f} s, {facts['samples_per_s']:,.0f} samples/s",
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
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Test error of MNIST with a classification RBM, by its three objectives.

Larochelle and Bengio (ICML 2008, table 1) report, with 50,000 rows to train on and 10,000 to stop
early by: trained on log p(x, y) 3.39 per cent (6000 hidden units), on log p(y|x) 1.81 (500), on
both 1.28 (1500), on both with sparse hidden units 1.16 (3000)::

    python bench/reproduce/classifier_rbm.py --what discriminative
    python bench/reproduce/classifier_rbm.py --what hybrid

Here all but the second have 1500, and log p(x, y) is learned by itself with persistent chains.
Rates and weights of the objectives were chosen with ``--validate``, which holds out the last 10,000
of the 60,000 rows and reports those in place of the test set; all are trained on in the end.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import common
import numpy as np

import unsupfast as uf

PUBLISHED = {
    "joint": 3.39,
    "discriminative": 1.81,
    "hybrid": 1.28,
    "sparse": 1.16,
    "source": "Larochelle and Bengio 2008, table 1",
}


@dataclass(frozen=True)
class Recipe:
    """How to train: the rate falls to 0 along half a cosine."""

    objective: str
    hidden: int
    rate: float
    epochs: int
    batch: int
    options: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    "joint": Recipe("joint", 1500, 0.05, 20, 20, {"method": "pcd"}),
    "discriminative": Recipe("discriminative", 500, 0.5, 40, 20),
    "hybrid": Recipe("hybrid", 1500, 0.5, 30, 20, {"alpha": 0.05}),
    "sparse": Recipe("hybrid", 1500, 0.5, 30, 20, {"alpha": 0.05, "sparsity": 5e-5}),
}


def classifier(recipe: Recipe, seed: int, verbose: int) -> uf.ClassifierRBM:
    """The classifier, to be fitted."""
    return uf.ClassifierRBM(
        recipe.hidden,
        objective=recipe.objective,
        learning_rate=[
            float(0.5 * recipe.rate * (1 + np.cos(np.pi * epoch / recipe.epochs)))
            for epoch in range(recipe.epochs)
        ],
        batch_size=recipe.batch,
        n_iter=recipe.epochs,
        random_state=seed,
        verbose=verbose,
        **recipe.options,
    )


def changed(recipe: Recipe, args: Any) -> Recipe:
    """The recipe, with what the command line says."""
    names = ("hidden", "rate", "epochs", "batch")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    options = {
        name: getattr(args, name)
        for name in ("alpha", "sparsity", "momentum", "weight_decay")
        if getattr(args, name) is not None
    }
    return dataclasses.replace(recipe, options={**recipe.options, **options}, **given)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--what", choices=RECIPES, default="hybrid")
    for name in ("hidden", "epochs", "batch"):
        parser.add_argument(f"--{name}", type=int, help="default: the recipe's own")
    for name in ("rate", "alpha", "sparsity", "momentum", "weight-decay"):
        parser.add_argument(f"--{name}", type=float, help="default: the recipe's own")
    parser.add_argument("--validate", action="store_true", help="hold out the last 10,000 rows")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    recipe = changed(RECIPES[args.what], args)
    report = common.Report(f"classifier-rbm-{args.what}", args, PUBLISHED)
    X, y = common.images("train")[: args.rows], common.labels("train")[: args.rows]
    test, target = common.images("test")[: args.rows], common.labels("test")[: args.rows]
    if args.validate:
        X, y, test, target = X[:-10_000], y[:-10_000], X[-10_000:], y[-10_000:]
    errors = []
    for seed in args.seeds:
        model = classifier(recipe, seed, args.verbose)
        with common.stopwatch() as watch:
            model.fit(X, y)
        errors.append(100 * (1 - model.score(test, target)))
        report.add(seed=seed, error=errors[-1], **watch)
    report.summary(error=float(np.mean(errors)), worst=max(errors))


if __name__ == "__main__":
    main()

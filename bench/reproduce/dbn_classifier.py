"""Test error of MNIST classifiers that start from a deep belief network.

``hinton``: 784-500-500-2000-10, trained by CD-1 in batches of 100, then fine-tuned; Hinton and
Salakhutdinov (Science 2006) report 1.2 per cent, Hinton, Osindero and Teh (2006) 1.25 for the
network that is generative. ``deeplearning-net``: 784-1000-1000-1000-10 as in the deep learning
tutorial of LISA lab (100 epochs a layer and fine-tuning by plain gradients, both in batches of 10),
which reports 1.34. ``fast``: the same network in batches of 100, on rounded weights (int16
machines, bfloat16 fine-tuning), within minutes::

    python bench/reproduce/dbn_classifier.py
    python bench/reproduce/dbn_classifier.py --what deeplearning-net

``--validate`` holds out the last 10,000 training rows to choose rates by, and reports those in
place of the test set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import common
import numpy as np

import unsupfast as uf

PUBLISHED = {
    "hinton": 1.2,
    "deeplearning-net": 1.34,
    "source": "Hinton and Salakhutdinov 2006, supporting material; deeplearning.net, DBN tutorial",
}


@dataclass(frozen=True)
class Recipe:
    """How to train: the layers, one by one, and all of them."""

    widths: tuple[int, ...]
    pretrain_rate: float
    pretrain_epochs: int
    batch: int
    rate: float
    epochs: int
    options: dict[str, Any]
    momentum: float = 0.0  # of pre-training, after five epochs
    decay: float = 0.0
    precision: str = "float32"  # of pre-training


RECIPES = {
    "hinton": Recipe(
        (500, 500, 2000), 0.05, 50, 100, 0.05, 100, {"dropout": 0.2}, momentum=0.8, decay=2e-4
    ),
    "fast": Recipe(
        (1000, 1000, 1000),
        0.05,
        40,
        100,
        0.05,
        80,
        {"dropout": 0.2, "precision": "bfloat16"},
        momentum=0.8,
        decay=2e-4,
        precision="int16",
    ),
    "deeplearning-net": Recipe((1000, 1000, 1000), 0.01, 100, 10, 0.1, 50, {"optimizer": "sgd"}),
}


def network(recipe: Recipe, seed: int, verbose: int) -> uf.DBN:
    """The deep belief network, to be fitted."""
    epochs = recipe.pretrain_epochs
    machine = uf.RBM(
        method="cd",
        learning_rate=lambda epoch: recipe.pretrain_rate * min(1.0, 2 * (1 - epoch / epochs)),
        momentum=lambda epoch: min(0.5, recipe.momentum) if epoch < 5 else recipe.momentum,
        weight_decay=recipe.decay,
        batch_size=recipe.batch,
        n_iter=epochs,
        precision=recipe.precision,
    )
    return uf.DBN(recipe.widths, rbm=machine, random_state=seed, verbose=verbose)


def classifier(recipe: Recipe, pretrained: Any, seed: int, verbose: int) -> uf.DBNClassifier:
    """The classifier, to be fitted."""
    return uf.DBNClassifier(
        recipe.widths,
        pretrain=pretrained,
        learning_rate=uf.optim.Cosine(recipe.rate, epochs=recipe.epochs),
        batch_size=recipe.batch,
        n_iter=recipe.epochs,
        random_state=seed,
        verbose=verbose,
        **{"optimizer": "momentum", **recipe.options},
    )


def picture(dbn: uf.DBN, model: uf.DBNClassifier) -> Any:
    """Filters of the first layer before and after fine-tuning."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    uf.plot.filters(dbn.layers_[0], image_shape=(28, 28), ax=axes[0], title="pre-trained")
    uf.plot.filters(model, image_shape=(28, 28), ax=axes[1], title="fine-tuned")
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--what", choices=RECIPES, default="hinton")
    for name in ("pretrain-epochs", "epochs"):
        parser.add_argument(f"--{name}", type=int, help="default: the recipe's own")
    for name in ("pretrain-rate", "rate", "dropout"):
        parser.add_argument(f"--{name}", type=float, help="default: the recipe's own")
    parser.add_argument("--no-pretraining", action="store_true", help="for comparison")
    parser.add_argument("--validate", action="store_true", help="hold out the last 10,000 rows")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    recipe = changed(RECIPES[args.what], args)
    report = common.Report(f"dbn-classifier-{args.what}", args, PUBLISHED)
    X, y = common.images("train")[: args.rows], common.labels("train")[: args.rows]
    test, target = common.images("test")[: args.rows], common.labels("test")[: args.rows]
    if args.validate:
        X, y, test, target = X[:-10_000], y[:-10_000], X[-10_000:], y[-10_000:]
    errors = []
    for seed in args.seeds:
        dbn = None if args.no_pretraining else network(recipe, seed, args.verbose)
        with common.stopwatch() as layers:
            if dbn is not None:
                dbn.fit(X)
        model = classifier(recipe, dbn, seed, args.verbose)
        with common.stopwatch() as tuning:
            model.fit(X, y)
        errors.append(100 * (1 - model.score(test, target)))
        seconds = layers["seconds"] + tuning["seconds"]
        report.add(seed=seed, error=errors[-1], seconds=seconds, pretraining=layers, tuning=tuning)
    report.summary(error=float(np.mean(errors)), worst=max(errors))
    if dbn is not None:
        report.picture(picture(dbn, model))


def changed(recipe: Recipe, args: Any) -> Recipe:
    """The recipe, with what the command line says."""
    import dataclasses

    given = {
        name: getattr(args, name)
        for name in ("pretrain_epochs", "epochs", "pretrain_rate", "rate")
        if getattr(args, name) is not None
    }
    if args.dropout is not None:
        given["options"] = {**recipe.options, "dropout": args.dropout}
    return dataclasses.replace(recipe, **given)


if __name__ == "__main__":
    main()

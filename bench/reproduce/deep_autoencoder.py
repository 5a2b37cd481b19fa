"""How well a deep auto-encoder compresses MNIST to a few numbers, beside PCA.

Hinton and Salakhutdinov (Science 313, 2006) report a squared error of 3.00 per test image for
784-1000-500-250-30, pre-trained by RBMs, and 13.87 for PCA of the same size::

    python bench/reproduce/deep_autoencoder.py
    python bench/reproduce/deep_autoencoder.py --code 2      # the map of digits, beside PCA's
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import unsupfast as uf

PUBLISHED = {
    "deep auto-encoder, 30": 3.00,
    "logistic PCA, 30": 8.01,
    "PCA, 30": 13.87,
    "source": "Hinton and Salakhutdinov 2006",
}
WIDTHS = (1000, 500, 250)


def nearest_accuracy(codes: np.ndarray, known: np.ndarray, others: np.ndarray, y: np.ndarray):
    """Share of rows of `others` (labels y) whose nearest row of `codes` has their label."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1).fit(codes, known).score(others, y)


def maps(model: Any, train: np.ndarray, test: np.ndarray) -> tuple[dict[str, float], Any]:
    """Accuracy of the nearest neighbour in two dimensions, and the two maps side by side."""
    import matplotlib.pyplot as plt

    known, y = common.labels("train")[: len(train)], common.labels("test")[: len(test)]
    mean, basis = common.pca(train, 2)
    codes = {
        "auto-encoder": (model.transform(train), model.transform(test)),
        "PCA": ((train - mean) @ basis, (test - mean) @ basis),
    }
    accuracy = {name: nearest_accuracy(a, known, b, y) for name, (a, b) in codes.items()}
    figure, axes = plt.subplots(1, 2, figsize=(13, 6), layout="constrained")
    for ax, (name, (_, b)) in zip(axes, codes.items(), strict=True):
        uf.plot.codes(b, y, ax=ax)
        ax.set_title(f"{name}: 1-NN accuracy {accuracy[name]:.3f}")
    return accuracy, figure


def rows_and_reconstructions(model: Any, test: np.ndarray) -> Any:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(10, 2.5), layout="constrained")
    uf.plot.reconstructions(test[:20], model.reconstruct(test[:20]), image_shape=(28, 28), ax=ax)
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--code", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--activation", default="elu")
    parser.add_argument("--loss", choices=("bce", "mse"), default="bce")
    parser.add_argument("--pretrain", choices=("rbm", "autoencoder"), default=None)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--untied", action="store_true")
    parser.add_argument("--decay", type=float, default=0.1, help="of weights, by AdamW")
    parser.add_argument("--noise", type=float, default=0.1, help="standard deviation, on inputs")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report(f"deep-autoencoder-{args.code}", args, PUBLISHED)
    train, test = common.images("train")[: args.rows], common.images("test")[: args.rows]
    errors = []
    for seed in args.seeds:
        model = uf.Autoencoder(
            (*WIDTHS, args.code),
            activation=args.activation,
            loss=args.loss,
            output_activation="sigmoid" if args.loss == "mse" else None,
            pretrain=args.pretrain,
            tied=not args.untied,
            optimizer="adamw" if args.decay else "adam",
            weight_decay=args.decay,
            corruption=uf.Gaussian(args.noise) if args.noise else None,
            batch_size=args.batch,
            n_iter=args.epochs,
            learning_rate=uf.optim.Cosine(args.rate, epochs=args.epochs, warmup=1),
            precision=args.precision,
            random_state=seed,
            verbose=args.verbose,
        )
        with common.stopwatch() as facts:
            model.fit(train)
        errors.append(common.squared_error(test, model.reconstruct(test)))
        report.add(
            seed=seed,
            test=errors[-1],
            train=common.squared_error(train, model.reconstruct(train)),
            **facts,
        )
    found: dict[str, Any] = {
        "test_mean": float(np.mean(errors)),
        f"pca_{args.code}": common.pca_error(train, test, args.code),
    }
    if args.code == 2:
        found["nearest_neighbour_accuracy"], figure = maps(model, train, test)
        found["pca_10"] = common.pca_error(train, test, 10)
    else:
        figure = rows_and_reconstructions(model, test)
    report.summary(**found)
    report.picture(figure)


if __name__ == "__main__":
    main()

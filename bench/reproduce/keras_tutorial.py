"""The dense auto-encoders of Keras' tutorial on MNIST: cross-entropy per pixel.

"Building autoencoders in Keras" has a code of 32 rectified units, the same with an L1 penalty on
its activities, and a deep one, 784-128-64-32. All end in sigmoids. A third of the rectified units
of the deep code come to rest, so there is a fourth, the deep one with a linear code::

    python bench/reproduce/keras_tutorial.py

Grey pixels keep a cross-entropy of their own, whatever the model: that floor is reported as well.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from scipy.special import entr

import unsupfast as uf

PUBLISHED = {
    "dense": 0.09,
    "deep": 0.08,
    "source": "Building autoencoders in Keras, 2016",
}
# Keras averages the cross-entropy over pixels and sums the penalty; here both are summed.
L1 = 784 * 1e-4
MODELS: dict[str, dict[str, Any]] = {
    "dense": {"hidden_layer_sizes": 32, "code_activation": "relu"},
    "sparse": {
        "hidden_layer_sizes": 32,
        "code_activation": "relu",
        "penalties": [uf.penalties.L1(L1)],
    },
    "deep": {"hidden_layer_sizes": (128, 64, 32), "code_activation": "relu"},
    "deep-linear": {"hidden_layer_sizes": (128, 64, 32), "code_activation": "identity"},
}


def cross_entropy(model: Any, X: np.ndarray) -> float:
    """Nats per pixel."""
    return -float(model.score_samples(X).mean(dtype=np.float64)) / X.shape[1]


def floor(X: np.ndarray) -> float:
    """The cross-entropy of images with themselves, the least there is."""
    X = X.astype(np.float64)
    return float((entr(X) + entr(1 - X)).mean())


def rows(models: dict[str, Any], test: np.ndarray) -> Any:
    import matplotlib.pyplot as plt

    size = 9, 1.5 * len(models)
    figure, axes = plt.subplots(len(models), 1, figsize=size, layout="constrained")
    for ax, (name, (bce, model)) in zip(axes, models.items(), strict=True):
        title = f"{name}: {bce:.4f} nats per pixel"
        uf.plot.reconstructions(
            test, model, image_shape=(28, 28), n=15, n_columns=15, ax=ax, title=title
        )
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report("keras-tutorial", args, PUBLISHED)
    train, test = common.images("train")[: args.rows], common.images("test")[: args.rows]
    found: dict[str, list[float]] = {}
    drawn: dict[str, Any] = {}
    for name in args.models:
        for seed in args.seeds:
            model = uf.Autoencoder(
                **MODELS[name],
                activation="relu",
                loss="bce",
                batch_size=args.batch,
                n_iter=args.epochs,
                learning_rate=uf.optim.Cosine(args.rate, epochs=args.epochs, warmup=1),
                random_state=seed,
                verbose=args.verbose,
            )
            with common.stopwatch() as facts:
                model.fit(train)
            code, bce = model.transform(test), cross_entropy(model, test)
            found.setdefault(name, []).append(bce)
            drawn[name] = (bce, model)
            report.add(
                model=name,
                seed=seed,
                test=bce,
                train=cross_entropy(model, train),
                mean_code=float(code.mean()),
                active=float((code > 0).mean()),
                units_in_use=int((code.max(axis=0) > 0).sum()),
                **facts,
            )
    report.summary(
        test_mean={name: float(np.mean(values)) for name, values in found.items()},
        floor=floor(test),
    )
    report.picture(rows(drawn, test))


if __name__ == "__main__":
    main()

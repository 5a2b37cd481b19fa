"""Logistic regression on RBM features of scikit-learn's digits, in a pipeline, beside raw pixels.

The data of scikit-learn's example "Restricted Boltzmann machine features for digit classification":
digits of 8 x 8 pixels and their copies shifted by a pixel in four directions, a fifth held out. The
example reports 93 per cent for features of its ``BernoulliRBM`` and 78 for pixels. Rates and sizes
are chosen by ``GridSearchCV`` on the training rows::

    python bench/reproduce/digits_pipeline.py
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler, minmax_scale

import unsupfast as uf

PUBLISHED = {
    "rbm": 0.93,
    "pixels": 0.78,
    "source": "scikit-learn, plot_rbm_logistic_classification",
}


def shifted(images: np.ndarray) -> np.ndarray:
    """The images and their copies shifted by a pixel up, down, left and right, as rows."""
    moved = [images]
    for axis in (1, 2):
        for step in (1, -1):
            copy = np.roll(images, step, axis)
            edge: list[Any] = [slice(None)] * 3
            edge[axis] = 0 if step == 1 else -1
            copy[tuple(edge)] = 0
            moved.append(copy)
    return np.concatenate(moved).reshape(-1, images.shape[1] * images.shape[2])


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--units", nargs="+", type=int, default=[100, 200])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.02, 0.06])
    parser.add_argument("--rows", type=int, help="of the original digits: only the first")
    args = parser.parse_args()
    report = common.Report("digits-pipeline", args, PUBLISHED)
    digits = load_digits()
    X = minmax_scale(shifted(digits.images[: args.rows]), feature_range=(0, 1)).astype(np.float32)
    y = np.tile(digits.target[: args.rows], 5)
    parts = train_test_split(X, y, test_size=0.2, random_state=0)
    train, test, labels, target = parts
    logistic = LogisticRegression(max_iter=5000)
    raw = clone(logistic).set_params(C=100.0).fit(train, labels)
    pixels = accuracy_score(target, raw.predict(test))
    accuracies = []
    for seed in args.seeds:
        pipeline = Pipeline(
            [
                ("rbm", uf.RBM(n_iter=args.epochs, random_state=seed)),
                ("scale", StandardScaler()),
                ("logistic", clone(logistic)),
            ]
        )
        grid = {
            "rbm__n_components": args.units,
            "rbm__learning_rate": args.rates,
            "logistic__C": [1.0, 10.0],
        }
        with common.stopwatch() as facts:
            search = GridSearchCV(clone(pipeline), grid, cv=3).fit(train, labels)
        accuracies.append(accuracy_score(target, search.predict(test)))
        report.add(seed=seed, accuracy=accuracies[-1], chosen=search.best_params_, **facts)
    report.summary(rbm=float(np.mean(accuracies)), worst=min(accuracies), pixels=pixels)
    rbm = search.best_estimator_.named_steps["rbm"]
    report.picture(uf.plot.filters(rbm, image_shape=(8, 8), n=100).figure)


if __name__ == "__main__":
    main()

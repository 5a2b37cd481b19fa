"""Test error of a generative model of digits and labels, before and after up-down training.

784-500-500-2000 with ten label units beside the top but one layer, trained greedily and then by
contrastive wake-sleep with more and more Gibbs steps. The label is the one of lowest free energy.
Hinton, Osindero and Teh (Neural Computation 2006) report 2.49 per cent after greedy training and
1.25 in the end::

    python bench/reproduce/up_down.py

``--validate`` holds out the last 10,000 training rows to choose rates and the number of epochs by
(longer training loses), and reports those in place of the test set. In the picture, whose chains
start from random states, about four samples in ten are dark.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import unsupfast as uf

PUBLISHED = {"greedy": 2.49, "up-down": 1.25, "source": "Hinton, Osindero and Teh 2006"}


def picture(dbn: uf.DBN) -> Any:
    """Ten samples of every class, a row each."""
    names = np.repeat(np.arange(10), 10)
    drawn = dbn.sample(100, 1000, label=names, mean=True, random_state=0)
    title = "samples of every class"
    return uf.plot.samples(drawn, image_shape=(28, 28), title=title).figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--hidden", nargs="+", type=int, default=[500, 500, 2000])
    parser.add_argument("--pretrain-epochs", type=int, default=30, help="per layer")
    parser.add_argument("--pretrain-rate", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=60, help="of up-down training")
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--validate", action="store_true", help="hold out the last 10,000 rows")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report("up-down", args, PUBLISHED)
    X, y = common.images("train")[: args.rows], common.labels("train")[: args.rows]
    test, target = common.images("test")[: args.rows], common.labels("test")[: args.rows]
    if args.validate:
        X, y, test, target = X[:-10_000], y[:-10_000], X[-10_000:], y[-10_000:]
    errors, before = [], []
    epochs = args.pretrain_epochs
    rate = args.pretrain_rate
    for seed in args.seeds:
        machine = uf.RBM(
            method="cd",
            learning_rate=lambda epoch: rate * min(1.0, 2 * (1 - epoch / epochs)),
            momentum=0.5,
            batch_size=args.batch,
            n_iter=epochs,
            precision="int16",
        )
        dbn = uf.DBN(args.hidden, rbm=machine, labels=True, random_state=seed, verbose=args.verbose)
        with common.stopwatch() as greedy:
            dbn.fit(X, y)
        before.append(100 * (1 - dbn.score(test, target)))
        with common.stopwatch() as tuning:
            dbn.up_down(
                X,
                y,
                n_iter=args.epochs,
                # 3, 6 and 10 full steps in the thirds of the training, as published
                k=lambda epoch: (3, 6, 10)[min(2, 3 * epoch // args.epochs)],
                learning_rate=uf.optim.Cosine(args.rate, epochs=args.epochs),
                momentum=args.momentum,
                batch_size=args.batch,
            )
        errors.append(100 * (1 - dbn.score(test, target)))
        seconds = greedy["seconds"] + tuning["seconds"]
        report.add(seed=seed, error=errors[-1], greedy_error=before[-1], seconds=seconds,
                   greedy=greedy, up_down=tuning)  # fmt: skip
    report.summary(error=float(np.mean(errors)), greedy=float(np.mean(before)))
    report.picture(picture(dbn))


if __name__ == "__main__":
    main()

"""Does pre-training help, and with how many layers? Test error with and without it, by depth.

Networks of one to four hidden layers, trained on labels from random weights or from a deep belief
network; five seeds. Erhan et al. (JMLR 2010, figure 1) report on MNIST that pre-training lowers the
error and its spread among seeds, the more so the deeper the network (with four layers about 1.4
against 2 and more per cent)::

    python bench/reproduce/pretraining_depth.py
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import unsupfast as uf

PUBLISHED = {
    "claim": "pre-training lowers the error and its spread among seeds, more so in deep networks",
    "source": "Erhan et al. 2010, figure 1",
}


def picture(errors: dict[str, dict[int, list[float]]], deepest: dict[str, Any]) -> Any:
    """Mean error by depth, bars of standard deviations; filters of the deepest networks."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(16, 4.8), layout="constrained")
    for name, by_depth in errors.items():
        depths = sorted(by_depth)
        means = [float(np.mean(by_depth[d])) for d in depths]
        bars = [float(np.std(by_depth[d])) for d in depths]
        axes[0].errorbar(depths, means, bars, marker="o", capsize=4, label=name)
    axes[0].set_xticks(depths)
    axes[0].set_xlabel("hidden layers")
    axes[0].set_ylabel("test error, per cent")
    axes[0].legend()
    for (name, model), ax in zip(deepest.items(), axes[1:], strict=True):
        title = f"first layer of {len(model.hidden_layer_sizes)}, {name}, fine-tuned"
        uf.plot.filters(model, image_shape=(28, 28), n=100, ax=ax, title=title)
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--depths", nargs="+", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--pretrain-epochs", type=int, default=10, help="per layer")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report("pretraining-depth", args, PUBLISHED)
    X, y = common.images("train")[: args.rows], common.labels("train")[: args.rows]
    test, target = common.images("test")[: args.rows], common.labels("test")[: args.rows]
    machine = uf.RBM(
        method="cd",
        learning_rate=0.05,
        momentum=0.5,
        batch_size=100,
        n_iter=args.pretrain_epochs,
        precision="int16",
    )
    errors: dict[str, dict[int, list[float]]] = {"pre-trained": {}, "random weights": {}}
    models = {}
    for seed in args.seeds:
        # the layers of a network are those of the deepest one: each is trained once
        deepest = uf.DBN((args.width,) * max(args.depths), rbm=machine, random_state=seed)
        with common.stopwatch() as layers:
            deepest.fit(X)
        for depth in args.depths:
            for name, pretrain in (
                ("pre-trained", below(deepest, depth)),
                ("random weights", None),
            ):
                model = uf.DBNClassifier(
                    (args.width,) * depth,
                    pretrain=pretrain,
                    optimizer="momentum",
                    learning_rate=uf.optim.Cosine(args.rate, epochs=args.epochs),
                    batch_size=100,
                    n_iter=args.epochs,
                    precision="bfloat16",
                    random_state=seed,
                    verbose=args.verbose,
                )
                with common.stopwatch() as facts:
                    model.fit(X, y)
                error = 100 * (1 - model.score(test, target))
                errors[name].setdefault(depth, []).append(error)
                models[name] = model
                report.add(what=name, depth=depth, seed=seed, error=error, **facts,
                           pretraining=layers["seconds"] if pretrain else 0.0)  # fmt: skip
    for name, by_depth in errors.items():
        found = {str(d): [float(np.mean(e)), float(np.std(e))] for d, e in by_depth.items()}
        report.summary(**{name: found})
    report.picture(picture(errors, models))


def below(dbn: uf.DBN, depth: int) -> uf.DBN:
    """The network of the lowest layers of a fitted one."""
    import copy

    part = copy.copy(dbn)
    part.hidden_layer_sizes = dbn.hidden_layer_sizes[:depth]
    part.layers_ = dbn.layers_[:depth]
    return part


if __name__ == "__main__":
    main()

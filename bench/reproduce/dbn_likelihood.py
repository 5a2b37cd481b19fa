"""Variational bound on the likelihood of a deep belief network on binarised MNIST.

Two layers, 500 and 2000 units; trained on MNIST's training images, binarised anew every epoch, the
top machine on states drawn from the first layer, from whose transposed weights it starts: there the
bound is the likelihood of the first layer alone. Reports both for the 10,000 test rows of the fixed
binarisation, in nats, by annealed importance sampling. Salakhutdinov and Murray (ICML 2008) report
-86.34 for one layer of 500 and a bound of -86.22 for 500 and 2000::

    python bench/reproduce/dbn_likelihood.py
"""

from __future__ import annotations

import common
import numpy as np

import unsupfast as uf

PUBLISHED = {"rbm": -86.34, "dbn": -86.22, "source": "Salakhutdinov and Murray 2008, section 5"}


def machine(epochs: int, rate: float, k: int, precision: str) -> uf.RBM:
    """Centred PCD; the rate is constant for half of the epochs, then falls linearly to zero."""
    return uf.RBM(
        method="pcd",
        k=k,
        centering=True,
        learning_rate=lambda epoch: rate * min(1.0, 2.0 * (1.0 - epoch / epochs)),
        batch_size=100,
        n_iter=epochs,
        precision=precision,
    )


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--hidden", nargs=2, type=int, default=[500, 2000])
    parser.add_argument("--epochs", type=int, default=80, help="of the first layer (PCD-5)")
    parser.add_argument("--rate", type=float, default=0.1, help="of the first layer")
    parser.add_argument("--top-epochs", type=int, default=60)
    parser.add_argument("--top-rate", type=float, default=0.02)
    parser.add_argument("--k", type=int, default=5, help="Gibbs steps of both layers")
    parser.add_argument("--temperatures", type=int, default=20_000)
    parser.add_argument("--chains", type=int, default=100)
    parser.add_argument("--precision", choices=("int16", "float32"), default="int16")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report("dbn-likelihood", args, PUBLISHED)
    grey = common.images("train")[: args.rows]
    test = uf.datasets.binarized_mnist("test").data[: args.rows]
    ais = {"n_temperatures": args.temperatures, "n_chains": args.chains}
    bounds, alone = [], []
    for seed in args.seeds:
        dbn = uf.DBN(
            args.hidden,
            rbm=[
                machine(args.epochs, args.rate, args.k, args.precision),
                machine(args.top_epochs, args.top_rate, args.k, args.precision),
            ],
            activities="sample",
            init="transposed",
            random_state=seed,
            verbose=args.verbose,
        )
        with common.stopwatch() as facts:
            dbn.fit(uf.datasets.Binarized(grey, random_state=seed))
        first = dbn.layers_[0].log_likelihood(test, random_state=seed, **ais)
        bound = dbn.log_likelihood(test, random_state=seed, **ais)
        alone.append(first.value)
        bounds.append(bound.value)
        report.add(
            seed=seed, bound=common.as_dict(bound), first_layer=common.as_dict(first), **facts
        )
    report.summary(bound=float(np.mean(bounds)), first_layer=float(np.mean(alone)))
    report.picture(common.filters_and_samples(dbn.layers_[0], dbn, steps=1000))


if __name__ == "__main__":
    main()

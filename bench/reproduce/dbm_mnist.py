"""Variational bound on the likelihood of a deep Boltzmann machine on binarised MNIST.

Two hidden layers, 500 and 1000 units: machines trained greedily with doubled inputs (CD-1), then
all layers together, by mean field for the data and persistent chains for the model, with the
centred gradient, on MNIST's training images binarised anew every epoch. Reports the bound for the
10,000 test rows of the fixed binarisation, in nats, log Z by annealed importance sampling.
Salakhutdinov and Hinton (AISTATS 2009) report -84.62::

    python bench/reproduce/dbm_mnist.py
"""

from __future__ import annotations

import common
import numpy as np

import unsupfast as uf

PUBLISHED = {
    "500-1000": -84.62,
    "source": "Salakhutdinov and Hinton 2009",
}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--hidden", nargs="+", type=int, default=[500, 1000])
    parser.add_argument("--pretrain-epochs", type=int, default=10, help="of each layer (CD-1)")
    parser.add_argument("--epochs", type=int, default=40, help="of all layers together")
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--k", type=int, default=5, help="Gibbs steps of an update")
    parser.add_argument("--temperatures", type=int, default=20_000)
    parser.add_argument("--chains", type=int, default=100)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report("dbm-mnist", args, PUBLISHED)
    grey = common.images("train")[: args.rows]
    test = uf.datasets.binarized_mnist("test").data[: args.rows]
    machine = uf.RBM(
        method="cd",
        learning_rate=0.05,
        momentum=0.5,
        weight_decay=2e-4,
        centering=True,
        batch_size=100,
        n_iter=args.pretrain_epochs,
        precision=args.precision,
        device="cpu",
    )
    bounds = []
    for seed in args.seeds:
        dbm = uf.DBM(
            args.hidden,
            pretrain=machine if args.pretrain_epochs else None,
            k=args.k,
            # constant for half of the epochs, then linearly to zero
            learning_rate=lambda epoch: args.rate * min(1.0, 2.0 * (1.0 - epoch / args.epochs)),
            n_iter=args.epochs,
            precision=args.precision,
            random_state=seed,
            verbose=args.verbose,
        )
        with common.stopwatch() as facts:
            dbm.fit(uf.datasets.Binarized(grey, random_state=seed))
        dbm.set_params(mean_field_iter=100, mean_field_tol=1e-4, precision="float32")
        log_z = dbm.log_partition(
            n_temperatures=args.temperatures, n_chains=args.chains, random_state=seed
        )
        score = float(dbm.score_samples(test).mean())
        low, high = log_z.interval
        bound = {"mean": score - log_z.value, "low": score - high, "high": score - low}
        bounds.append(bound["mean"])
        report.add(seed=seed, bound=bound, log_z=common.as_dict(log_z), **facts)
    report.summary(bound=float(np.mean(bounds)))
    report.picture(common.filters_and_samples(dbm.components_[0], dbm, steps=5000))


if __name__ == "__main__":
    main()

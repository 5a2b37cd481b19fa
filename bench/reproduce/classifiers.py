"""Test error of MNIST classifiers whose hidden layers are initialised without labels.

One layer of 1000 units, initialised in six ways and fine-tuned: Rifai et al. (ICML 2011) report, in
per cent, 1.78 for an auto-encoder, 1.68 with weight decay, 1.57 and 1.18 for denoising ones (masked
and Gaussian inputs), 1.30 for an RBM, 1.14 for a contractive one. Three layers of 1000 with masked
inputs: 1.28 (Vincent et al., JMLR 2010)::

    python bench/reproduce/classifiers.py --what ae ae-decay dae-masking dae-gauss cae rbm
    python bench/reproduce/classifiers.py --what sdae-3 --pretrain-epochs 30

Fine-tuning leaves half of the hidden units out at random, which those papers do not. Its rate, the
amounts of noise and contraction and the length of pre-training were chosen by ``--validate``, which
holds out the last 10,000 training rows and reports those in place of the test set.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import unsupfast as uf

PUBLISHED = {
    "ae": 1.78,
    "ae-decay": 1.68,
    "dae-masking": 1.57,
    "rbm": 1.30,
    "dae-gauss": 1.18,
    "cae": 1.14,
    "sdae-3": 1.28,
    "source": "Rifai et al. 2011, table 1; Vincent et al. 2010",
}


def layer_models(epochs: int) -> dict[str, Any]:
    """The model of a layer, by name; it is copied for every layer."""
    plain: dict[str, Any] = {
        "tied": True,
        "n_iter": epochs,
        "learning_rate": uf.optim.Cosine(0.001, epochs=epochs, warmup=1),
        "batch_size": 100,
        "precision": "bfloat16",
    }
    masking = {**plain, "corruption": uf.Masking(0.5)}
    return {
        "ae": uf.Autoencoder(**plain),
        "ae-decay": uf.Autoencoder(weight_decay=1e-3, **plain),
        "dae-masking": uf.Autoencoder(**masking),
        "dae-gauss": uf.Autoencoder(corruption=uf.Gaussian(0.5), **plain),
        "cae": uf.Autoencoder(penalties=(uf.Contractive(0.4),), **plain),
        "rbm": uf.RBM(
            method="cd",
            learning_rate=lambda epoch: 0.1 * (1 - epoch / epochs),
            momentum=0.5,
            weight_decay=2e-4,
            batch_size=100,
            n_iter=epochs,
            precision="int16",
        ),
        "sdae-3": uf.Autoencoder(**masking),
    }


def main() -> None:
    parser = common.parser(__doc__)
    names = list(layer_models(1))
    parser.add_argument("--what", nargs="+", choices=names, default=names)
    parser.add_argument("--pretrain-epochs", type=int, default=100, help="per layer")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.2, help="of fine-tuning, by momentum")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--validate", action="store_true", help="hold out the last 10,000 rows")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report("classifiers-" + "-".join(args.what), args, PUBLISHED)
    X, y = common.images("train")[: args.rows], common.labels("train")[: args.rows]
    test, target = common.images("test")[: args.rows], common.labels("test")[: args.rows]
    if args.validate:
        X, y, test, target = X[:-10_000], y[:-10_000], X[-10_000:], y[-10_000:]
    for name in args.what:
        errors = []
        for seed in args.seeds:
            model = uf.StackedAutoencoderClassifier(
                (1000,) * (3 if name.endswith("-3") else 1),
                pretrain=layer_models(args.pretrain_epochs)[name],
                optimizer="momentum",
                learning_rate=uf.optim.Cosine(args.rate, epochs=args.epochs),
                batch_size=100,
                n_iter=args.epochs,
                dropout=args.dropout,
                precision="bfloat16",
                random_state=seed,
                verbose=args.verbose,
            )
            with common.stopwatch() as facts:
                model.fit(X, y)
            errors.append(100 * (1 - model.score(test, target)))
            report.add(what=name, seed=seed, error=errors[-1], **facts)
        report.summary(**{name: float(np.mean(errors))})


if __name__ == "__main__":
    main()

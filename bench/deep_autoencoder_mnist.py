"""How well a deep auto-encoder compresses MNIST to 30 numbers, and how long that takes.

Hinton and Salakhutdinov (Science 313, 2006) report a squared error of 3.00 per test image for
784-1000-500-250-30, pre-trained by RBMs, and 13.87 for PCA of the same size::

    python bench/deep_autoencoder_mnist.py --out bench/results
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

import unsupfast as uf


def rows(split: str) -> np.ndarray:
    X = uf.datasets.mnist(split).data
    X = X.reshape(len(X), -1).astype(np.float32)
    return X / max(1.0, float(X.max()))


def pca_error(train: np.ndarray, test: np.ndarray, n: int) -> float:
    """Mean squared error per test image of PCA with n components."""
    mean = train.mean(axis=0, dtype=np.float64)
    centred = train - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    basis = vectors[:, -n:]
    rest = (test - mean) - (test - mean) @ basis @ basis.T
    return float((rest**2).sum(axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--activation", default="relu")
    parser.add_argument("--pretrain", choices=("rbm", "autoencoder"), default=None)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--code", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for the JSON")
    args = parser.parse_args()
    train, test = rows("train"), rows("test")
    model = uf.Autoencoder(
        (1000, 500, 250, args.code),
        activation=args.activation,
        pretrain=args.pretrain,
        batch_size=args.batch,
        n_iter=args.epochs,
        learning_rate=uf.optim.Cosine(args.rate, epochs=args.epochs, warmup=1),
        random_state=args.seed,
        verbose=1,
    )
    start = time.perf_counter()
    model.fit(train)
    seconds = time.perf_counter() - start
    found = {
        name: float(((model.reconstruct(X) - X) ** 2).sum(axis=1).mean())
        for name, X in (("train", train), ("test", test))
    }
    pca = pca_error(train, test, args.code)
    print(f"squared error per image: train {found['train']:.2f}, test {found['test']:.2f}")
    print(f"PCA-{args.code}: {pca:.2f}; trained in {seconds:.0f} s")
    if args.out:
        path = args.out / f"deep-autoencoder-mnist-{args.code}.json"
        record = {
            "arguments": {k: str(v) for k, v in vars(args).items()},
            "squared_error": found,
            "pca_squared_error": pca,
            "seconds": seconds,
            "threads": uf.get_num_threads(),
            "history": model.history_,
        }
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"written: {path}")


if __name__ == "__main__":
    main()

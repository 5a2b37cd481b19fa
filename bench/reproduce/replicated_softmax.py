"""Topics of newswire documents by replicated softmax: words, retrieval and perplexity.

Salakhutdinov and Hinton (NIPS 2009) model counts of 2000 words by an RBM whose visible units are
as many softmax units, of shared weights, as a document has words. They retrieve documents by the
cosine between activities of its 50 hidden units, and estimate held-out perplexity by annealed
importance sampling. Here the documents are those of Reuters-21578, and beside it stands latent
semantic analysis of the same size, of log(1 + count) as in documents.py::

    python bench/reproduce/replicated_softmax.py
"""

from __future__ import annotations

from typing import Any

import common
import documents
import numpy as np
from sklearn.decomposition import TruncatedSVD

import unsupfast as uf


def fit(X: Any, code: int, args: Any, seed: int) -> Any:
    return uf.RBM(
        code,
        visible="replicated_softmax",
        method="cd",
        k=args.k,
        optimizer="adam",
        learning_rate=args.rate,
        weight_decay=args.weight_decay,
        batch_size=100,
        n_iter=args.epochs,
        precision="float32",
        random_state=seed,
        verbose=args.verbose,
    ).fit(X)


def topics_of(model: Any, words: np.ndarray, n: int = 8) -> list[list[str]]:
    """The words of the largest weights of every hidden unit."""
    return [words[np.argsort(-weights)[:n]].tolist() for weights in model.components_]


def perplexities(model: Any, X: Any, Y: Any, args: Any) -> dict[str, float]:
    """exp of minus the mean log-likelihood a word: of the model, and of words by frequency alone.

    As in the paper, the mean over documents of that of each document's words.
    """
    rows = np.sort(np.random.default_rng(0).permutation(Y.shape[0])[: args.likelihood_rows])
    share = (np.asarray(X.sum(axis=0)).ravel() + 1) / (X.sum() + X.shape[1])
    own, frequencies = [], []
    for row in rows:
        document = Y[row]
        length = document.sum()
        likelihood = model.log_likelihood(
            document,
            n_chains=args.chains,
            n_temperatures=args.temperatures,
            random_state=0,
        )
        own.append(likelihood.value / length)
        frequencies.append((document @ np.log(share))[0] / length)
    return {
        "perplexity": float(np.exp(-np.mean(own))),
        "perplexity_of_frequencies": float(np.exp(-np.mean(frequencies))),
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--k", type=int, default=1, help="steps of contrastive divergence")
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--weight-decay", type=float, default=0.001)
    parser.add_argument("--codes", nargs="+", type=int, default=[50, 128], help="hidden units")
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    parser.add_argument("--likelihood-rows", type=int, default=50, help="of the perplexity")
    parser.add_argument("--chains", type=int, default=20)
    parser.add_argument("--temperatures", type=int, default=1000)
    args = parser.parse_args()
    report = common.Report(
        "replicated-softmax", args, {"source": "Salakhutdinov and Hinton 2009, figures 2 and 3"}
    )
    X, Y, topics, words = documents.counts()
    X, Y, topics = X[: args.rows], Y[: args.rows], topics[: args.rows]
    relevant = documents.relevance(topics)
    scores: dict[str, Any] = {}
    for code in args.codes:
        lsa = TruncatedSVD(code, n_iter=10, random_state=0).fit(X.log1p())
        scores[f"LSA-{code}"] = documents.retrieval(lsa.transform(Y.log1p()), relevant)
        runs = []
        for seed in args.seeds:
            with common.stopwatch() as facts:
                model = fit(X, code, args, seed)
            score = documents.retrieval(model.transform(Y), relevant)
            runs.append(
                {
                    "mean_average_precision": score["mean_average_precision"],
                    **perplexities(model, X, Y, args),
                }
            )
            report.add(code=code, seed=seed, **runs[-1], **facts)
        scores[f"replicated softmax-{code}"] = score
        report.summary(
            **{
                f"replicated-softmax-{code}": {
                    name: float(np.mean([run[name] for run in runs])) for name in runs[0]
                },
                f"LSA-{code}": scores[f"LSA-{code}"]["mean_average_precision"],
                f"topics-{code}": topics_of(model, words),
            }
        )
    report.summary(rows=X.shape[0], queries=len(topics), curves=scores)
    report.picture(documents.draw(scores, {}, topics))


if __name__ == "__main__":
    main()

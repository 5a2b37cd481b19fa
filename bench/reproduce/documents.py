"""Codes of newswire documents for retrieval, beside latent semantic analysis of the same size.

Hinton and Salakhutdinov (Science 313, 2006) code counts of 2000 words by a 2000-500-250-125-10
auto-encoder with a softmax output and retrieve documents by the cosine between codes. Here the
documents are those of Reuters-21578: trained on all documents outside the test split of "ModApte",
tested on retrieving the others of a test document's topics from that split::

    python bench/reproduce/documents.py
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

import unsupfast as uf

WIDTHS = (500, 250, 125)
WORDS = 2000
DEPTHS = (1, 3, 7, 15, 31, 63, 127, 255, 511, 1023)


def counts() -> tuple[Any, Any, list[tuple[str, ...]], np.ndarray]:
    """Counts of the most frequent words: of rows to train on and to test on; topics; the words.

    Documents that have none of the words are left out.
    """
    every, test = uf.datasets.reuters21578("all"), uf.datasets.reuters21578("test")
    held_out = set(test.texts)
    texts = [text for text in every.texts if text not in held_out]
    vectorizer = CountVectorizer(
        max_features=WORDS, stop_words="english", token_pattern="[a-z]{2,}", dtype=np.float32
    )
    X = vectorizer.fit_transform(texts)
    labelled = [(text, topics) for text, topics in zip(*test[:2], strict=True) if topics]
    Y = vectorizer.transform([text for text, _ in labelled])
    full = np.ravel(Y.sum(axis=1)) > 0
    kept = [topics for (_, topics), there in zip(labelled, full, strict=True) if there]
    words = vectorizer.get_feature_names_out()
    return X[np.ravel(X.sum(axis=1)) > 0], Y[full], kept, words


def relevance(topics: list[tuple[str, ...]]) -> np.ndarray:
    """Whether two documents share a topic, (n, n); a document is not relevant to itself."""
    names = sorted({name for these in topics for name in these})
    has = np.zeros((len(topics), len(names)), np.float32)
    for i, these in enumerate(topics):
        has[i, [names.index(name) for name in these]] = 1
    shared = has @ has.T > 0
    np.fill_diagonal(shared, False)
    return shared


def retrieval(codes: np.ndarray, relevant: np.ndarray) -> dict[str, Any]:
    """Every row queries the others by cosine; means over queries that have relevant rows."""
    unit = normalize(np.asarray(codes, np.float64))
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :-1]
    hits = np.take_along_axis(relevant, order, axis=1)
    hits = hits[hits.any(axis=1)]
    found = np.cumsum(hits, axis=1)
    ranks = np.arange(1, hits.shape[1] + 1)
    precision, total = found / ranks, found[:, -1:]
    average = (precision * hits).sum(axis=1) / total[:, 0]
    at = np.array(DEPTHS) - 1
    return {
        "mean_average_precision": float(average.mean()),
        "precision": precision[:, at].mean(axis=0),
        "recall": (found / total)[:, at].mean(axis=0),
    }


def fit(X: Any, code: int, args: Any, seed: int) -> Any:
    return uf.Autoencoder(
        (*WIDTHS, code),
        activation=args.activation,
        loss="categorical",
        corruption=uf.Masking(args.masking) if args.masking else None,
        weight_decay=args.weight_decay,
        n_iter=args.epochs,
        learning_rate=uf.optim.Cosine(args.rate, epochs=args.epochs, warmup=1),
        precision="float32",
        random_state=seed,
        verbose=args.verbose,
    ).fit(X)


def draw(scores: dict[str, Any], maps: dict[str, np.ndarray], topics: list[Any]) -> Any:
    """Precision against recall, and maps of the documents with one of the commonest topics."""
    import matplotlib.pyplot as plt

    n = 1 + len(maps)
    figure, axes = plt.subplots(
        1, n, figsize=(6 + 6 * len(maps), 5.5), squeeze=False, layout="constrained"
    )
    axes = axes[0]
    for name, score in scores.items():
        axes[0].semilogx(
            score["recall"], score["precision"], "o-",
            label=f"{name}: mean average precision {score['mean_average_precision']:.3f}",
        )  # fmt: skip
    axes[0].set(xlabel="recall", ylabel="precision", title="retrieval of documents by topic")
    axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.15))
    single = np.array([these[0] if len(these) == 1 else "" for these in topics])
    names, sizes = np.unique(single[single != ""], return_counts=True)
    common_ones = names[np.argsort(-sizes)[:8]]
    shown = np.isin(single, common_ones)
    for ax, (name, codes) in zip(axes[1:], maps.items(), strict=True):
        uf.plot.codes(codes[shown], single[shown], ax=ax)
        ax.set_title(name)
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--activation", default="relu")
    parser.add_argument("--masking", type=float, default=0.3, help="share of words left out")
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--codes", nargs="+", type=int, default=[10, 2])
    parser.add_argument("--rows", type=int, help="train and test on the first rows only")
    args = parser.parse_args()
    report = common.Report("documents", args, {"source": "Hinton and Salakhutdinov 2006, figure 4"})
    X, Y, topics = (part[: args.rows] for part in counts()[:3])
    X, Y = X.log1p(), Y.log1p()
    relevant = relevance(topics)
    scores: dict[str, Any] = {}
    maps: dict[str, np.ndarray] = {}
    for code in args.codes:
        lsa = TruncatedSVD(code, n_iter=10, random_state=0).fit(X)
        scores[f"LSA-{code}"] = retrieval(lsa.transform(Y), relevant)
        means = []
        for seed in args.seeds:
            with common.stopwatch() as facts:
                model = fit(X, code, args, seed)
            score = retrieval(model.transform(Y), relevant)
            means.append(score["mean_average_precision"])
            report.add(
                code=code,
                seed=seed,
                mean_average_precision=means[-1],
                cross_entropy=-float(model.score_samples(Y).mean()),
                **facts,
            )
        scores[f"auto-encoder-{code}"] = score
        report.summary(
            **{
                f"auto-encoder-{code}": float(np.mean(means)),
                f"LSA-{code}": scores[f"LSA-{code}"]["mean_average_precision"],
            }
        )
        if code == 2:
            maps = {"auto-encoder, 2": model.transform(Y), "LSA, 2": lsa.transform(Y)}
    report.summary(rows=X.shape[0], queries=len(topics), curves=scores)
    if maps:
        report.picture(draw(scores, maps, topics))


if __name__ == "__main__":
    main()

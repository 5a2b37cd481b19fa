"""Cases of csrc/kernels/classes: what every class makes of a row in a classification RBM."""

import numpy as np
from cases import Case, roundoff, sum_bound, uniforms
from scipy import special

from unsupfast import _core

EXACT = ("float32", "float64")  # no bfloat16 form


def rows_and_weights(rows, hiddens, classes, scale):
    def make(rng, dtype):
        def normal(*shape):
            return (scale * rng.standard_normal(shape)).astype(dtype)

        return {"field": normal(rows, hiddens), "weights": normal(classes, hiddens)}

    return make


def totals(inputs):
    """Total inputs of the hidden units: rows x classes x units."""
    return inputs["field"].astype(np.float64)[:, None] + inputs["weights"].astype(np.float64)


def scores_case(rows, hiddens, classes, scale=1.0, large=False):
    base = rows_and_weights(rows, hiddens, classes, scale)

    def make(rng, dtype):
        return {**base(rng, dtype), "bias": rng.standard_normal(classes).astype(dtype)}

    def run(inputs, _):
        return {"scores": _core.class_scores(**inputs)}

    def reference(inputs, name):
        x, bias = totals(inputs), inputs["bias"].astype(np.float64)
        terms, u = np.logaddexp(0, x), roundoff(name)
        # a factor of a product of 32 is rounded, and so is the sum in the exponential
        off = (sum_bound(hiddens, name) + 8 * u) * terms.sum(axis=2)
        off += u * (np.abs(x) * special.expit(x)).sum(axis=2) + 4 * u * np.sqrt(hiddens)
        return {"scores": (bias + terms.sum(axis=2), off + 4 * u * np.abs(bias) + 8 * u)}

    name = f"{rows}x{hiddens}x{classes}-{scale:g}"
    return Case("ClassScores", name, make, run, reference, EXACT, large)


def shares_case(rows, classes, draw=None):
    def make(rng, dtype):
        label = rng.integers(-1, classes, rows)
        return {
            "scores": (3 * rng.standard_normal((rows, classes)) + 50).astype(dtype),
            "label": label,
            "generative": rng.random(rows).astype(dtype),
            "discriminative": rng.random(rows).astype(dtype),
        }

    def run(inputs, _):
        share, choice = _core.class_shares(**inputs, **(draw or {}))
        return {"share": share, "choice": choice}

    def reference(inputs, name):
        label, u = inputs["label"], roundoff(name)
        p = special.softmax(inputs["scores"].astype(np.float64), axis=1)
        q = np.where(label[:, None] < 0, p, np.arange(classes) == label[:, None])
        generative = inputs["generative"].astype(np.float64)[:, None]
        discriminative = (
            inputs["discriminative"].astype(np.float64)[:, None] * (label >= 0)[:, None]
        )
        share = (generative + discriminative) * q - discriminative * p
        size = (generative + discriminative) * (p + q)
        uniform = uniforms(rows, 1, **(draw or {})).astype(np.float64)
        passed = np.cumsum(p, axis=1)[:, :-1]
        drawn = (uniform >= passed).sum(axis=1)
        sure = (np.abs(uniform - passed) > 64 * u).all(axis=1) | (label >= 0)
        choice = np.where(label < 0, drawn, label)
        return {
            "share": (share, (16 + classes) * u * size),
            "choice": (choice.astype(np.float64), np.where(sure, 0.0, 1.0)),
        }

    return Case(
        "ClassShares", f"{rows}x{classes}" + "-draw" * bool(draw), make, run, reference, EXACT
    )


def activity_case(rows, hiddens, classes, scale=1.0, choose=False, large=False):
    base = rows_and_weights(rows, hiddens, classes, scale)

    def make(rng, dtype):
        share = rng.standard_normal((rows, classes))
        share[: rows // 2] = np.eye(classes)[rng.integers(classes, size=rows // 2)]  # known labels
        inputs = {**base(rng, dtype), "share": share.astype(dtype)}
        return {**inputs, "choice": rng.integers(classes, size=rows) if choose else None}

    def run(inputs, _):
        names = ("activity", "by_class", "chosen")
        return dict(zip(names, _core.class_activity(**inputs), strict=False))

    def reference(inputs, name):
        x, share, u = totals(inputs), inputs["share"].astype(np.float64)[:, :, None], roundoff(name)
        terms, off = share * special.expit(x), (np.abs(x) + 8) * u
        size, off = np.abs(terms), np.abs(terms) * off + 1e-7 * np.abs(share) * (name == "float32")
        out = {
            "activity": (
                terms.sum(axis=1),
                off.sum(axis=1) + sum_bound(classes, name) * size.sum(axis=1),
            ),
            "by_class": (
                terms.sum(axis=0),
                off.sum(axis=0) + sum_bound(rows, name) * size.sum(axis=0),
            ),
        }
        if choose:
            chosen = x[np.arange(rows), inputs["choice"]]
            out["chosen"] = (chosen, 2 * u * np.abs(chosen) + 1e-300)
        return out

    name = f"{rows}x{hiddens}x{classes}-{scale:g}" + "-choose" * choose
    return Case("ClassActivity", name, make, run, reference, EXACT, large)


def class_cases():
    for rows, hiddens, classes in ((1, 1, 1), (0, 4, 3), (3, 31, 2), (5, 32, 3), (7, 33, 10)):
        yield scores_case(rows, hiddens, classes)
        yield activity_case(rows, hiddens, classes)
        yield activity_case(rows, hiddens, classes, choose=True)
    for rows, hiddens, classes in ((2, 1200, 5), (33, 65, 17)):
        yield scores_case(rows, hiddens, classes, 0.01)
        yield scores_case(rows, hiddens, classes, 40)
        yield activity_case(rows, hiddens, classes, 40, choose=True)
    for rows, classes in ((0, 3), (1, 1), (5, 2), (130, 10)):
        yield shares_case(rows, classes)
        yield shares_case(
            rows, classes, {"seed": 2**63 + 1, "step": 7, "stream": 5, "first_row": 9}
        )
    yield scores_case(100, 500, 10, large=True)
    yield activity_case(100, 500, 10, large=True)


CASES = list(class_cases())

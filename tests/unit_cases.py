"""Cases of the Conditional operation: every kind of unit against the formulas of unsupfast.units.

The fields are given, so that errors are those of the functions alone: a log-partition or a mean is
off by a few units in the last place of its largest term, more where the normal distribution's
tails are divided by each other.
"""

import numpy as np
from cases import Case, dtype_of, roundoff, uniforms
from scipy import special

from unsupfast import _core, units

KINDS = {
    "bernoulli": units.Bernoulli(),
    "spin": units.Spin(),
    "gaussian": units.Gaussian(),
    "relu": units.ReLU(),
    "drelu": units.DoubleReLU(),
    "softmax": units.Softmax(3),
    "multinomial": units.ReplicatedSoftmax(),
}


def half_quantile(x, u):
    """Quantile of a normal variable of mean x that is above 0."""
    return np.maximum(0, x - special.ndtri_exp(special.log_ndtr(x) + np.log1p(-u)))


def drawn(kind, x, u, shape):
    """The state at a uniform u, and how far off a kernel may be (1: too close to call)."""
    if kind == "bernoulli":
        p = special.expit(x)
        return (u < p) * 1.0, np.abs(u - p)
    if kind == "spin":
        p = special.expit(2 * x)
        return np.where(u < p, 1.0, -1.0), np.abs(u - p)
    if kind == "gaussian":
        return x + shape[0] * special.ndtri(u + 2.0**-25), None
    if kind == "relu":
        return half_quantile(x, u), None
    (up, down), fields, logs = units.DoubleReLU()._sides(x, shape)
    p = special.expit(logs[0] - logs[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        above = up * half_quantile(fields[0], np.minimum(u / p, 1 - 2.0**-24))
        below = -down * half_quantile(fields[1], np.minimum((u - p) / (1 - p), 1 - 2.0**-24))
    return np.where(u < p, above, below), np.abs(u - p)


def chosen(kind, x, draw, totals, first_unit):
    """One-hot states or counts, and which rows have a draw that is too close to call."""
    m, n = x.shape
    group = n if kind == "multinomial" else 3
    counts = totals.astype(int) if kind == "multinomial" else np.ones(m, int)
    out, close = np.zeros((m, n)), np.zeros((m, n))
    # the numbers of a unit past n are those of a wider layer
    width = first_unit + max(n, counts.max(initial=0))
    u = uniforms(m, width, **draw).astype(np.float64)[:, first_unit:]
    for i in range(m):
        for g in range(0, n, group):
            passed = special.softmax(x[i, g : g + group]).cumsum()
            for d in range(counts[i]):
                at = u[i, d if kind == "multinomial" else g]
                j = min((at >= passed).sum(), group - 1)
                out[i, g + j] += 1
                if np.abs(at - passed).min() < 1e-4:
                    close[i, g : g + group] += 1
    return out, close


def conditional_case(kind, m, n, *, scale=1.0, ratio=-1.0, weighted=False, size=2.0, draw=None,
                     first_unit=0, large=False):  # fmt: skip
    unit = KINDS[kind]
    draw = draw or {}

    def make(rng, dtype):
        inputs = {
            "field": (size * rng.standard_normal((m, n))).astype(dtype),
            "bias": rng.standard_normal(n).astype(dtype),
        }
        if weighted:
            inputs["bias_weight"] = rng.uniform(0.5, 3, m).astype(dtype)
        if kind == "multinomial":
            inputs["totals"] = rng.integers(0, 40, m).astype(dtype)
        if kind == "gaussian":
            inputs["shape"] = np.stack([rng.uniform(0.5, 2, n), np.zeros(n)]).astype(dtype)
        if kind == "drelu":
            shape = np.stack([rng.normal(0, 1, n), rng.uniform(-0.9, 0.9, n)])
            inputs["shape"] = shape.astype(dtype)
        return inputs

    def run(inputs, precision):
        return _core.conditional(
            kind,
            **inputs,
            group=unit.group,
            scale=scale,
            ratio=ratio,
            first_unit=first_unit,
            **draw,
        )

    def reference(inputs, precision):
        u = roundoff(precision)
        exact = {k: v.astype(np.float64) for k, v in inputs.items()}
        dtype = dtype_of(precision)
        factor, part = float(dtype.type(scale)), float(dtype.type(ratio))
        weight = exact.get("bias_weight", np.ones(m))[:, None]
        x = factor * exact["field"] + weight * exact["bias"]
        off = 4 * u * (np.abs(factor * exact["field"]) + np.abs(weight * exact["bias"]))
        totals = exact.get("totals", np.ones(m))
        # a Gaussian unit's partition function is that of variance 1, whatever it samples with
        shape = exact["shape"] if kind == "drelu" else (0.0, 0.0)
        log_z = unit.log_partition(x, shape, totals)
        bound = totals * (np.abs(x) + 1).max(axis=1, initial=0) * (1 if unit.group > 1 else n)
        slope = np.abs(unit.mean(x, shape, totals)).sum(axis=1)
        log_off = (slope + 1) * off.max(axis=1, initial=0) * 4 + 64 * u * bound
        if kind in ("relu", "drelu", "gaussian"):
            log_off += 64 * u * (x**2 * 2 + np.abs(x) * 2).sum(axis=1)
        if ratio >= 0:
            log_z = log_z - unit.log_partition(part * x, shape, totals)
            log_off *= 1 + part
        mean = unit.mean(x, shape, totals)
        # means of rectified units are 1 / |x| far below zero, where 1 / m - |x| loses x^2 of it
        mean_off = 2 * off + 16 * u * (np.abs(mean) + 1)
        if kind in ("relu", "drelu"):
            mean_off = mean_off + 64 * u * (1 + np.abs(x))
        if kind == "multinomial":
            mean_off = totals[:, None] * (4 * off.max(axis=1, keepdims=True) + 32 * u)
        if kind in ("softmax", "multinomial"):
            sample, sample_off = chosen(kind, x, draw, totals, first_unit)
        else:
            at = uniforms(m, first_unit + n, **draw).astype(np.float64)[:, first_unit:]
            sample, gap = drawn(kind, x, at, exact.get("shape"))
            if kind in ("bernoulli", "spin"):
                sample_off = 2.0 * (gap <= off + 8 * u)
            else:
                z = np.abs(special.ndtri(at + 2.0**-25))
                sigma = exact["shape"][0] if kind == "gaussian" else 1
                sample_off = off * 4 + sigma * np.where(z > 5, 1e-3, 4e-6) + 64 * u * np.abs(sample)
                if kind != "gaussian":  # four steps of Newton's; a uniform has 24 bits
                    sample_off = sample_off + 2e-4 + 64 * u * np.abs(x)
                if kind == "drelu":
                    edge = gap < 1e-4  # either side, or the far end of one
                    sample_off = np.where(edge, np.inf, sample_off + 1e-5 / np.maximum(gap, 1e-5))
        return {
            "log_partition": (log_z, log_off),
            "mean": (mean, mean_off),
            "sample": (sample, sample_off),
        }

    options = f"-x{scale}" * (scale != 1) + f"-ratio{ratio}" * (ratio >= 0)
    options += "-weighted" * weighted + f"-size{size}" * (size != 2) + "-draw" * bool(draw)
    options += f"-from{first_unit}" * bool(first_unit)
    return Case("Conditional", f"{kind}-{m}x{n}{options}", make, run, reference,
                ("float32", "float64"), large=large)  # fmt: skip


def conditional_cases():
    draw = {"seed": 0x123456789ABCDEF0, "step": 7, "stream": 3, "first_row": 1000}
    for kind in KINDS:
        group = KINDS[kind].group
        for m, n in ((1, 1), (3, 7), (2, 32), (5, 33), (17, 65)):
            n = -(-n // group) * group
            yield conditional_case(kind, m, n)
            yield conditional_case(kind, m, n, draw=draw, first_unit=5, weighted=True)
        yield conditional_case(kind, 9, 45, scale=0.7, ratio=0.3, draw=draw)
        yield conditional_case(kind, 9, 45, ratio=0.0)
        yield conditional_case(kind, 9, 45, size=8.0, draw=draw)
        yield conditional_case(kind, 0, 9)
        yield conditional_case(kind, 500, 120, draw=draw, large=True)


CASES = list(conditional_cases())

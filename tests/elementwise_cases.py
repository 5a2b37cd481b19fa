"""Cases of the elementwise functions, reductions and dropout; see cases.py for what a case is."""

import numpy as np
from cases import PRECISIONS, TINY, Case, lay_out, roundoff, uniforms
from scipy import special

from unsupfast import _core

EXACT = PRECISIONS[:2]
LENGTHS = (0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 100)


def continuous_cumulant(order):
    """Derivatives of log((exp(z) - 1) / z): closed forms away from 0, Taylor polynomials near it.

    The coefficients B_2k / (2k (2k)!) are those of a sum over the poles, 2 pi i n.
    """

    def value(z):
        z = np.asarray(z, np.longdouble)
        a = np.abs(z)
        near = a < 2
        s = np.where(near, z, 0)
        total = np.zeros_like(z) + (order == 1) * 0.5
        for k in range(1, 40):
            c = 2 * (-1) ** (k + 1) * special.zeta(2 * k) / (2 * k)
            c *= np.longdouble(2 * np.pi) ** (-2 * k)
            factor = np.prod(2.0 * k - np.arange(order)) if 2 * k >= order else 0
            if factor:
                total += c * factor * s ** (2 * k - order)
        a = np.where(near, 2, a)
        e = np.exp(-a)
        p, w = 1 / (1 - e), e / (1 - e) ** 2
        far = {
            1: p - 1 / a,
            2: 1 / a**2 - w,
            3: (2 * p - 1) * w - 2 / a**3,
            4: 6 / a**4 - w * (1 + 6 * w),
        }[order]
        if order == 1:
            far = np.where(z < 0, 1 - far, far)
        if order == 3:
            far = np.where(z < 0, -far, far)
        return np.where(near, total, far).astype(np.float64)

    return value


# What each line of the table means, and how far from it a kernel may be: units of roundoff of the
# value (those with none here round as IEEE says), and of 1.
UNARY = {
    "neg": (np.negative, 0, 0),
    "abs": (np.abs, 0, 0),
    "square": (np.square, 1, 0),
    "reciprocal": (lambda x: 1 / x, 1, 0),
    "relu": (lambda x: np.maximum(x, 0), 0, 0),
    "positive": (lambda x: (x > 0).astype(x.dtype), 0, 0),
    "sqrt": (np.sqrt, 1, 0),
    "continuous_mean": (continuous_cumulant(1), 0, 16),
    "continuous_variance": (continuous_cumulant(2), 8, 4),
    "continuous_third": (continuous_cumulant(3), 16, 4),
    "continuous_fourth": (continuous_cumulant(4), 16, 4),
}
BINARY = {
    "add": (np.add, 1),
    "sub": (np.subtract, 1),
    "mul": (np.multiply, 1),
    "div": (np.divide, 1),
    "maximum": (np.maximum, 0),
    "minimum": (np.minimum, 0),
}


def unary_case(function, n, large=False):
    value, relative, absolute = UNARY[function]

    def make(rng, dtype):
        x = rng.standard_normal(n) * 10.0 ** rng.uniform(-4, 1.5, n)
        return {"x": (np.abs(x) if function == "sqrt" else x).astype(dtype)}

    def run(inputs, precision):
        return {"y": getattr(_core, function)(inputs["x"])}

    def reference(inputs, precision):
        y = value(inputs["x"].astype(np.float64))
        u = roundoff(precision)
        return {"y": (y, 1.5 * u * (relative * np.abs(y) + absolute))}

    return Case("Elementwise", f"{function}-{n}", make, run, reference, EXACT, large)


def binary_case(function, a_shape, b_shape, layout="C", large=False):
    value, relative = BINARY[function]

    def make(rng, dtype):
        a, b = (rng.standard_normal(shape).astype(dtype) for shape in (a_shape, b_shape))
        if layout == "broadcast":
            a = np.broadcast_to(a[:1], a_shape)
        elif layout != "C":
            a = lay_out(a, layout)
        return {"a": a, "b": b}

    def run(inputs, precision):
        return {"y": getattr(_core, function)(inputs["a"], inputs["b"])}

    def reference(inputs, precision):
        y = value(inputs["a"].astype(np.float64), inputs["b"].astype(np.float64))
        return {"y": (y, 1.5 * relative * roundoff(precision) * np.abs(y))}

    shapes = "-".join("x".join(map(str, shape)) for shape in (a_shape, b_shape))
    return Case("Elementwise", f"{function}-{shapes}-{layout}", make, run, reference, EXACT, large)


def power_case(exponent):
    def make(rng, dtype):
        x = rng.uniform(0.2, 5, 37) * (rng.choice([-1, 1], 37) if exponent == int(exponent) else 1)
        return {"x": x.astype(dtype)}

    def run(inputs, precision):
        return {"y": _core.power(inputs["x"], exponent)}

    def reference(inputs, precision):
        y = inputs["x"].astype(np.float64) ** exponent
        return {"y": (y, 2 * max(2, abs(exponent)) * roundoff(precision) * np.abs(y))}

    return Case("Elementwise", f"power-{exponent}", make, run, reference, EXACT)


def where_case(shape, a_shape, b_shape, large=False):
    def make(rng, dtype):
        a, b = (rng.standard_normal(s).astype(dtype) for s in (a_shape, b_shape))
        return {"condition": rng.random(shape) < 0.4, "a": a, "b": b}

    def run(inputs, precision):
        return {"y": _core.where(**inputs)}

    def reference(inputs, precision):
        return {"y": (np.where(*inputs.values()).astype(np.float64), 0)}

    shapes = "-".join("x".join(map(str, s)) for s in (shape, a_shape, b_shape))
    return Case("Elementwise", f"where-{shapes}", make, run, reference, EXACT, large)


def elementwise_cases():
    for function in UNARY:
        for n in LENGTHS:
            yield unary_case(function, n)
        # enough for several threads
        yield unary_case(function, 5003 if "continuous" in function else 200_003, large=True)
    shapes = [
        ((5, 7), (7,)),
        ((5, 1), (1, 7)),
        ((9, 33), (9, 1)),
        ((), (17,)),
        ((3, 1, 4, 1, 5), (2, 1, 3, 1)),
        ((2, 1, 3, 1, 2, 3), (1, 2, 3, 2, 2, 1)),
        ((0, 4), (4,)),
    ]
    for function in BINARY:
        for n in LENGTHS:
            yield binary_case(function, (n,), (n,))
        for a, b in shapes:
            yield binary_case(function, a, b)
            yield binary_case(function, b, a)
        for layout in ("F", "strided", "reversed", "broadcast"):
            for b in ((5, 35), (35,), (5, 1)):
                yield binary_case(function, (5, 35), b, layout)
        yield binary_case(function, (301, 503), (301, 503), large=True)
        yield binary_case(function, (301, 503), (503,), large=True)
        yield binary_case(function, (301, 503), (301, 1), "F", large=True)
    for exponent in (0, 1, 2, 3, 7, 32, 33, -1, -2, -3, 0.5, -0.5, 1.7, -2.25):
        yield power_case(exponent)
    for n in LENGTHS:
        yield where_case((n,), (n,), (n,))
    for a, b in shapes:
        yield where_case(np.broadcast_shapes(a, b), a, b)
    yield where_case((40, 1), (1, 50), (40, 50))
    yield where_case((301, 503), (301, 503), (), large=True)


# -- Reduce. float32 is summed in runs of at most 64 terms a lane whose totals lose nothing.


def reduce_case(function, shape, axis, layout="C", large=False):
    exact = {"sum": np.sum, "mean": np.mean, "max": np.max}[function]

    def make(rng, dtype):
        x = rng.standard_normal(shape).astype(dtype)
        return {"x": x if layout == "C" else lay_out(x, layout)}

    def run(inputs, precision):
        return {
            "y": getattr(_core, function)(inputs["x"], axis),
            "kept": getattr(_core, function)(inputs["x"], axis, True),
        }

    def reference(inputs, precision):
        x = inputs["x"].astype(np.float64)
        size = exact(np.abs(x), axis=axis, keepdims=True)
        bound = 0 * size if function == "max" else 80 * roundoff(precision) * size + TINY
        y = exact(x, axis=axis, keepdims=True)
        flat = exact(x, axis=axis).shape
        return {"y": (y.reshape(flat), bound.reshape(flat)), "kept": (y, bound)}

    name = f"{function}-{'x'.join(map(str, shape))}-{axis}-{layout}"
    return Case("Reduce", name, make, run, reference, EXACT, large)


def reduce_cases():
    for function in ("sum", "mean", "max"):
        for n in LENGTHS[function != "sum" :]:  # the others need an element
            yield reduce_case(function, (n,), None)
            yield reduce_case(function, (5, n), 1)
        for n in LENGTHS:
            yield reduce_case(function, (5, n), 0)
        for shape, axis in (
            ((), None),
            ((3, 4, 5), (0, 2)),
            ((3, 4, 5), 1),
            ((3, 4, 5), (-1, 0)),
            ((2, 3, 4, 5), (1, 3)),
            ((2, 3, 4, 5), ()),
            ((0, 3), 1),
            ((70, 1, 9), (0, 1)),
        ):
            yield reduce_case(function, shape, axis)
        for layout in ("F", "strided", "reversed"):
            for axis in (None, 0, 1):
                yield reduce_case(function, (35, 67), axis, layout)
        for axis in (None, 0, 1):
            yield reduce_case(function, (301, 503), axis, large=True)
        yield reduce_case(function, (2500, 70), 0, large=True)
        yield reduce_case(function, (3, 70_001), 1, large=True)
        yield reduce_case(function, (3, 2500, 40), 1, large=True)
        yield reduce_case(function, (300_007,), None, large=True)


# -- Dropout: which units are left out is exact.


def dropout_case(m, n, rate, large=False):
    draw = {"seed": 0xFEDCBA9876543210, "step": 3, "stream": 1, "first_row": 2}

    def make(rng, dtype):
        return {"x": rng.standard_normal((m, n)).astype(dtype)}

    def run(inputs, precision):
        return {"y": _core.dropout(inputs["x"], rate, **draw)}

    def reference(inputs, precision):
        left_out = uniforms(m, n, **draw) < np.float32(rate)
        y = np.where(left_out, 0, inputs["x"].astype(np.float64) / (1 - rate))
        return {"y": (y, 3 * roundoff(precision) * np.abs(y))}

    return Case("Dropout", f"{m}x{n}-{rate}", make, run, reference, EXACT, large)


def dropout_cases():
    for n in (0, 1, 4, 15, 16, 17, 31, 32, 33, 70):
        yield dropout_case(4, n, 0.3)
    for m in (0, 1, 3):
        yield dropout_case(m, 40, 0.5)
    yield dropout_case(4, 40, 0.0)
    yield dropout_case(200, 300, 0.2, large=True)


# -- Tally.


def tally_case(count):
    def make(rng, dtype):
        values = [np.asarray(x, dtype) for x in rng.standard_normal(count)]
        return {"values": values, "totals": rng.standard_normal(count)}

    def run(inputs, precision):
        totals = inputs["totals"].copy()
        _core.tally(totals, inputs["values"], 0.3)
        return {"totals": totals}

    def reference(inputs, precision):
        added = 0.3 * np.array(inputs["values"], np.float64).reshape(count)
        totals = inputs["totals"] + added
        return {"totals": (totals, 2.0**-50 * (1 + np.abs(totals) + np.abs(added)))}

    return Case("Tally", str(count), make, run, reference, EXACT)


CASES = [
    *elementwise_cases(),
    *reduce_cases(),
    *dropout_cases(),
    *(tally_case(count) for count in (1, 3, 8)),
]
assert len({str(c) for c in CASES}) == len(CASES), "two cases have the same name"

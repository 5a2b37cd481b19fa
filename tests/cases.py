"""The one list of cases: for every operation inputs, a float64 reference and a tolerance.

A case makes its inputs (``make``), runs the operation through ``unsupfast._core`` (``run``) and
says what should come out and how far from it a kernel may be (``reference``: name -> (value,
tolerance)). The tests run every case on every instruction set; benchmarks time the large ones.

Tolerances follow from the arithmetic. A sum of k products in a format of unit roundoff u is off by
at most k u sum |a b| for any order of the terms; for long sums the probabilistic bound 8 sqrt(k) u
(Higham and Mary, SIAM J. Sci. Comput. 41, 2019) is used, which a single dropped term exceeds.
bfloat16 products are exact in float32, so that against exactly rounded operands the bound of
float32 holds unchanged.
"""

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from unsupfast import _core

PRECISIONS = ("float32", "float64", "bfloat16")
BIT_PRECISIONS = (*PRECISIONS, "int16")  # of a left operand of bits


def dtype_of(precision):
    return np.dtype(np.float64 if precision == "float64" else np.float32)


def roundoff(precision):
    return 2.0**-53 if precision == "float64" else 2.0**-24


def to_bfloat16(x):
    """Rounds float32 to the nearest bfloat16, ties to even; the value stays a float32."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (
        (u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    ) << np.uint32(16)
    nan = (u & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(nan, u, rounded).astype(np.uint32).view(np.float32).reshape(np.shape(x))


def operand(x, precision):
    """The values that a kernel of this precision multiplies, as float64."""
    return (to_bfloat16(x) if precision == "bfloat16" else np.asarray(x)).astype(np.float64)


def to_int16(b):
    """The values of b in 16-bit fixed point, the step of a column its largest magnitude / 4095."""
    b = np.asarray(b, np.float32)
    peak = np.abs(b).max(axis=0, initial=0)
    scale = np.where(peak > 0, np.float32(4095) / np.where(peak > 0, peak, 1), 0).astype(np.float32)
    return np.rint(b * scale).astype(np.float64) * (peak / np.float32(4095)).astype(np.float64)


def right_operand(b, precision):
    """The values of a right operand that a kernel of this precision multiplies, as float64."""
    return to_int16(b) if precision == "int16" else operand(b, precision)


def sum_bound(k, precision):
    """Relative error of a sum of k products; in float64 that of the reference comes on top."""
    terms = min(k + 1, 8 * np.sqrt(k) + 2)
    return terms * roundoff(precision) * (2 if precision == "float64" else 1)


TINY = 2.0**-120  # absolute allowance where underflow to zero is permitted


# ---------------------------------------------------------------------- random numbers

PHILOX_M = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
PHILOX_W = (0x9E3779B9, 0xBB67AE85)


def philox4x32(counter, key):
    """Philox4x32-10: four arrays of 32-bit words of counter and two words of key -> four words."""
    low = np.uint64(0xFFFFFFFF)
    c = [np.asarray(x, np.uint64) for x in counter]
    k = [int(x) for x in key]
    for _ in range(10):
        p0, p1 = PHILOX_M[0] * c[0], PHILOX_M[1] * c[2]
        c = [
            (p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]),
            p1 & low,
            (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]),
            p0 & low,
        ]
        k = [(k[i] + PHILOX_W[i]) & 0xFFFFFFFF for i in range(2)]
    return c


def uniforms(rows, cols, seed=0, step=0, stream=0, first_row=0):
    """The uniforms of csrc/philox.h: unit j of row i of (seed, step, stream)."""
    unit = np.arange(cols, dtype=np.uint64)
    row = (np.arange(rows, dtype=np.uint64) + np.uint64(first_row)) & np.uint64(0xFFFFFFFF)
    block = unit // np.uint64(32) * np.uint64(8) + unit % np.uint64(8)
    key = (seed & 0xFFFFFFFF, seed >> 32)
    words = philox4x32(np.broadcast_arrays(block[None, :], row[:, None], step, stream), key)
    word = (unit % np.uint64(32) // np.uint64(8)).astype(np.int64)
    bits = (
        np.choose(np.broadcast_to(word, (rows, cols)), words)
        if rows * cols
        else np.zeros((rows, cols))
    )
    return ((bits.astype(np.uint64) >> np.uint64(8)).astype(np.float64) * 2.0**-24).astype(
        np.float32
    )


# ---------------------------------------------------------------------- operands

LAYOUTS = ("C", "F", "strided", "reversed")


def lay_out(x, layout):
    """The same matrix in another memory layout; what lies between its elements is NaN."""
    if layout == "C":
        return np.ascontiguousarray(x)
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "strided":
        buffer = np.full((2 * x.shape[0] + 1, 3 * x.shape[1] + 2), np.nan, x.dtype)
        view = buffer[1::2, 2::3]
        view[...] = x
        return view
    if layout == "reversed":
        return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
    if layout == "csr":
        return csr(x)
    if layout == "bits":  # zeros and ones
        return x != 0
    raise ValueError(layout)


def csr(x):
    """(indptr, indices, values, shape) of the non-zeros of x."""
    rows, cols = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=x.shape[0])[: x.shape[0]])])
    return (
        indptr.astype(np.int64),
        cols.astype(np.int32),
        np.ascontiguousarray(x[rows, cols]),
        x.shape,
    )


def dense(x):
    """The dense matrix of any form of a left operand."""
    if not isinstance(x, tuple):
        return np.asarray(x) if x.dtype != bool else x.astype(np.float32)
    indptr, indices, values, shape = x
    out = np.zeros(shape, values.dtype)
    out[np.repeat(np.arange(shape[0]), np.diff(indptr)), indices] = values
    return out


def thinned(rng, shape, dtype, density, binary=False):
    x = np.ones(shape) if binary else rng.standard_normal(shape)
    x[rng.random(shape) >= density] = 0
    return x.astype(dtype)


# ---------------------------------------------------------------------- cases


@dataclass(frozen=True)
class Case:
    op: str
    name: str
    make: Callable = field(repr=False)  # (rng, dtype) -> inputs
    run: Callable = field(repr=False)  # (inputs, precision) -> {name: array}
    reference: Callable = field(repr=False)  # (inputs, precision) -> {name: (value, tolerance)}
    precisions: tuple = PRECISIONS
    large: bool = False  # worth timing; also what the runs with several threads compare

    def __str__(self):
        return f"{self.op}-{self.name}"


@functools.cache
def prepared(case, precision):
    """The inputs of a case and what should come out."""
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    inputs = case.make(rng, dtype_of(precision))
    return inputs, case.reference(inputs, precision)


def compare(case, precision):
    """Runs a case on the instruction set in use and asserts that it is within its tolerances."""
    inputs, expected = prepared(case, precision)
    got = case.run(inputs, precision)
    assert got.keys() == expected.keys()
    for name, (value, tolerance) in expected.items():
        out = np.asarray(got[name])
        assert out.shape == np.shape(value), (name, out.shape, np.shape(value))
        error = np.abs(out.astype(np.float64) - value)
        excess = np.where(error <= tolerance, 0, np.inf)  # NaN fails
        if excess.any():
            worst = np.unravel_index(int(np.argmax(error - tolerance)), np.shape(value))
            allowed = np.broadcast_to(tolerance, out.shape)[worst]
            raise AssertionError(
                f"{case} {precision} {_core.get_isa()}: {name}{list(map(int, worst))} is "
                f"{out[worst]}, expected {np.asarray(value)[worst]} +- {allowed:.3g}; "
                f"{int(np.count_nonzero(excess))} of {out.size} are off"
            )


# Sizes around the tiles: rows of 2 to 14, vectors of 2 to 16 lanes, panels of 32 columns.
ROWS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 27, 28, 29, 43)
COLUMNS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 96)
DEPTHS = (0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65)
DENSITIES = (1, 0.5, 0.13, 0.05, 0)

SHAPES = (
    [(m, 37, 19) for m in ROWS]
    + [(9, n, 21) for n in COLUMNS]
    + [(15, 33, k) for k in DEPTHS]
    + [(1, 1, 1), (1, 32, 16), (14, 32, 16), (29, 65, 33), (0, 0, 0), (3, 0, 0), (0, 3, 0)]
)
# The second is deep enough for the left operand to be packed in several blocks.
LARGE_SHAPES = [(150, 97, 301), (281, 5, 8192), (64, 333, 784)]


def product_bound(a, b, precision):
    """How far a kernel's a b may be from the exact product of these operands."""
    return sum_bound(a.shape[1], precision) * (np.abs(a) @ np.abs(b)) + a.shape[1] * TINY


# -- Gemm. Domain: any finite operands; zeros of the left operand may be skipped.


def gemm_case(m, n, k, density=1.0, left="C", right="C", binary=0, large=False):
    def make(rng, dtype):
        a = thinned(rng, (m, k), dtype, density)
        a[:binary] = thinned(rng, (binary, k), dtype, density, binary=True)
        return {
            "a": lay_out(a, left),
            "b": lay_out(rng.standard_normal((k, n)).astype(dtype), right),
        }

    def run(inputs, precision):
        return {"c": _core.matmul(inputs["a"], inputs["b"], precision)}

    def reference(inputs, precision):
        a, b = operand(dense(inputs["a"]), precision), right_operand(inputs["b"], precision)
        return {"c": (a @ b, product_bound(a, b, precision))}

    name = f"{m}x{n}x{k}-{density}-{left}{right}" + f"-{binary}binary" * (binary > 0)
    precisions = BIT_PRECISIONS if left == "bits" else PRECISIONS
    return Case("Gemm", name, make, run, reference, precisions, large=large)


def gemm_cases():
    for i, shape in enumerate(SHAPES):
        yield gemm_case(*shape, density=DENSITIES[i % 3])
    for density in DENSITIES:
        yield gemm_case(31, 65, 133, density)
        for left in (*LAYOUTS[1:], "csr"):
            yield gemm_case(31, 40, 67, density, left)
    for left in LAYOUTS:
        for right in LAYOUTS:
            yield gemm_case(17, 35, 45, 1, left, right)
            yield gemm_case(17, 35, 45, 0.2, left, right)
    for k in (1, 33, 95, 96, 97, 191, 192, 193, 385):  # sampled units, and blocks of a panel's rows
        for left in ("C", "F", "csr"):
            yield gemm_case(31, 35, k, 0.13, left)
            yield gemm_case(31, 35, k, 0.13, left, binary=31)
    for density in DENSITIES:
        yield gemm_case(43, 35, 200, density, binary=43)
        yield gemm_case(43, 35, 200, density, binary=20)  # some tiles are binary, others are not
    for m, n, k in [(0, 5, 3), (1, 1, 1), (5, 0, 7), (15, 33, 0), (43, 65, 70)]:
        yield gemm_case(m, n, k, 0.3, "csr")
    for i, (m, n, k) in enumerate(SHAPES):
        yield gemm_case(m, n, k, DENSITIES[i % len(DENSITIES)], "bits", binary=m)
    for density in DENSITIES:
        yield gemm_case(43, 35, 200, density, "bits", binary=43)
    for k in (1, 4, 6, 31, 32, 61, 133):  # tables: whole words, groups of four bits, the rest
        yield gemm_case(30, 50, k, 0.5, "bits", binary=30)
    yield gemm_case(300, 17, 70, 0.9, "bits", binary=300)
    for shape in LARGE_SHAPES:
        yield gemm_case(*shape, density=1.0, large=True)
        yield gemm_case(*shape, density=0.13, large=True)
        yield gemm_case(*shape, density=0.13, binary=shape[0], large=True)
        yield gemm_case(*shape, density=0.13, left="bits", binary=shape[0], large=True)
    # more positions than 16 bits can tell apart
    yield gemm_case(3, 33, 70_000, density=0.01, left="bits", binary=3, large=True)
    yield gemm_case(3, 33, 70_000, density=0.99, left="bits", binary=3, large=True)


# -- PackPanels, seen through the identity: the product gives the packed operand back, exactly.


def pack_case(k, n, layout):
    def make(rng, dtype):
        b = rng.standard_normal((k, n)) * 10.0 ** rng.integers(-20, 20, (k, n))
        return {"b": lay_out(b.astype(dtype), layout)}

    def run(inputs, precision):
        b = inputs["b"]
        return {"b": _core.matmul(np.eye(b.shape[0], dtype=b.dtype), b, precision)}

    def reference(inputs, precision):
        return {"b": (operand(inputs["b"], precision), 0)}

    return Case("PackPanels", f"{k}x{n}-{layout}", make, run, reference)


def pack_cases():
    for k in (0, 1, 2, 15, 16, 17, 33):
        for n in (0, 1, 31, 32, 33, 65):
            yield pack_case(k, n, "C")
    for layout in LAYOUTS[1:]:
        for k, n in [(1, 1), (17, 33), (32, 32), (33, 70), (64, 15)]:
            yield pack_case(k, n, layout)


# -- TurnPanels, seen through a machine with Gaussian visibles of unit variance: the mean of the
# visibles given one hidden unit is a row of the transposed weights in the format of the product,
# exactly; the mean of the hiddens given one visible unit is the sigmoid of a row of the weights.


def turn_case(visibles, hiddens):
    def make(rng, dtype):
        return {"w": rng.standard_normal((hiddens, visibles)).astype(dtype)}

    def run(inputs, precision):
        w = inputs["w"]
        machine = _core.Rbm(
            [("gaussian", visibles, 1)], [("bernoulli", hiddens, 1)], str(w.dtype), precision
        )
        machine.set_parameters(w, np.zeros(visibles, w.dtype), np.zeros(hiddens, w.dtype))
        return {
            "turned": machine.visible_given_hidden(np.eye(hiddens, dtype=w.dtype), "mean"),
            "same": machine.hidden_given_visible(np.eye(visibles, dtype=w.dtype), "mean"),
            "weights": machine.get_parameters()[0],
        }

    def reference(inputs, precision):
        w = operand(inputs["w"], precision)
        return {
            "turned": (w, 0),
            "same": (special.expit(w.T), 3 * roundoff(precision)),
            "weights": (inputs["w"].astype(np.float64), 0),
        }

    return Case("TurnPanels", f"{visibles}x{hiddens}", make, run, reference)


def turn_cases():
    for visibles in (1, 2, 3, 15, 16, 17, 31, 32, 33, 65):
        for hiddens in (1, 15, 16, 31, 32, 33, 64, 65):
            yield turn_case(visibles, hiddens)
    yield turn_case(130, 97)


# -- HalfStep. Domain: any finite operands, |x| < 87 where softplus has to be relatively exact.


def softplus(x):
    return np.logaddexp(0, x)


def half_step_case(m, n, k, *, gaussian=False, scaled=False, scale=1.0, ratio=-1.0, density=0.5,
                   layout="C", binary=False, draw=None, given=False, field=False,
                   large=False):  # fmt: skip
    draw = draw or {}

    def make(rng, dtype):
        inputs = {
            "states": lay_out(thinned(rng, (m, k), dtype, density, binary), layout),
            "weights": (rng.standard_normal((k, n)) / max(1, k) ** 0.5).astype(dtype),
            "bias": rng.standard_normal(n).astype(dtype),
        }
        if gaussian:
            inputs["sigma"] = rng.uniform(0.5, 2, n).astype(dtype)
        if scaled:
            inputs["k_scale"] = rng.uniform(0.5, 2, k).astype(dtype)
        if given:
            inputs["uniforms"] = rng.random((m, n))
        if field:
            inputs["field"] = rng.standard_normal((m, n)).astype(dtype)
        return inputs

    def run(inputs, precision):
        return _core.half_step(**inputs, scale=scale, ratio=ratio, precision=precision, **draw)

    def reference(inputs, precision):
        u = roundoff(precision)
        dtype = dtype_of(precision)
        states = dense(inputs["states"])
        if scaled:
            states = states * inputs["k_scale"]
        a, w = operand(states, precision), right_operand(inputs["weights"], precision)
        bias = inputs["bias"].astype(np.float64)
        factor, part = float(dtype.type(scale)), float(dtype.type(ratio))
        beside = inputs["field"].astype(np.float64) if field else 0.0
        x = factor * (a @ w + beside) + bias
        off = abs(factor) * product_bound(a, w, precision) + 4 * u * (np.abs(x) + np.abs(bias))
        off += 4 * u * abs(factor) * np.abs(beside)
        if scaled:
            off += abs(factor) * 2 * u * (np.abs(a) @ np.abs(w))
        terms = softplus(x) - (softplus(part * x) if ratio >= 0 else 0)
        size = softplus(x) + (softplus(part * x) if ratio >= 0 else 0)
        term_off = (1 + max(part, 0)) * off + 8 * u * size
        draws = inputs["uniforms"] if given else uniforms(m, n, **draw).astype(np.float64)
        if gaussian:
            mean, mean_off = x, off
            z = special.ndtri(draws + 2.0**-25)
            sigma = inputs["sigma"].astype(np.float64)
            sample = x + sigma * z
            sample_off = off + sigma * np.where(np.abs(z) > 5, 1e-3, 4e-6) + 4 * u * np.abs(sample)
        else:
            mean, mean_off = special.expit(x), off / 4 + 4 * u
            sample = (draws < mean).astype(np.float64)
            sample_off = (np.abs(draws - mean) <= mean_off).astype(np.float64)  # too close to call
        total = terms.sum(axis=1)
        total_off = term_off.sum(axis=1) + sum_bound(n, precision) * size.sum(axis=1)
        out = {
            "mean": (mean, mean_off),
            "sample": (sample, sample_off),
            "log_partition": (total, total_off),
        }
        if not gaussian:
            out["bits"] = out["sample"]
        return out

    options = "-gaussian" * gaussian + "-scaled" * scaled + f"-x{scale}" * (scale != 1)
    options += f"-ratio{ratio}" * (ratio >= 0) + "-draw" * bool(draw) + "-binary" * binary
    options += "-given" * given + "-field" * field + f"-{density}{layout}"
    precisions = BIT_PRECISIONS if layout == "bits" else PRECISIONS
    return Case("HalfStep", f"{m}x{n}x{k}{options}", make, run, reference, precisions, large=large)


def half_step_cases():
    draw = {"seed": 0x123456789ABCDEF0, "step": 7, "stream": 3, "first_row": 1000}
    for i, shape in enumerate(SHAPES):
        yield half_step_case(*shape, gaussian=i % 3 == 2, draw=draw if i % 2 else None)
        yield half_step_case(*shape, given=True)
        yield half_step_case(*shape, gaussian=i % 3 == 1, field=True, scale=0.7, draw=draw)
    yield half_step_case(100, 333, 301, given=True, layout="bits", binary=True)
    yield half_step_case(100, 333, 301, field=True, layout="bits", binary=True, ratio=0.9)
    for gaussian in (False, True):
        for scaled in (False, True):
            for ratio in (-1.0, 0.0, 0.97):
                yield half_step_case(
                    29, 65, 33, gaussian=gaussian, scaled=scaled, ratio=ratio, scale=0.7, draw=draw
                )
        for layout in (*LAYOUTS, "csr"):
            for density in (0.05, 1):
                yield half_step_case(
                    17, 33, 45, gaussian=gaussian, scaled=True, layout=layout, density=density
                )
        for scaled in (False, True):
            yield half_step_case(
                29, 65, 205, gaussian=gaussian, scaled=scaled, binary=True, density=0.2
            )
        yield half_step_case(100, 333, 301, gaussian=gaussian, draw=draw, large=True)
    for i, shape in enumerate(SHAPES):
        yield half_step_case(
            *shape, density=DENSITIES[i % 4], layout="bits", binary=True, draw=draw, scale=0.7,
            ratio=0.9 if i % 2 else -1.0, gaussian=i % 5 == 4,
        )  # fmt: skip


# -- GibbsChain: half-steps that feed each other, so that what one draws wrongly the next ones show.
# Weights and biases are small multiples of a power of two, whose sums are exact in any format and
# order: only a sigmoid's rounding is left, and the seeds are those where no draw comes that close.


def chain_case(m, near, far, steps, betas=None, large=False):
    draw = {"seed": 4, "first_step": 5, "near_stream": 1, "far_stream": 2, "first_row": 40}

    def make(rng, dtype):
        def multiples(*shape):
            return (rng.integers(-8, 9, shape) / 16).astype(dtype)

        inputs = {
            "states": rng.random((m, near)) < 0.5,
            "weights": multiples(near, far),
            "near_bias": multiples(near),
            "far_bias": multiples(far),
        }
        if betas is not None:
            inputs |= {"betas": np.array(betas), "base_bias": multiples(near)}
        return inputs

    def run(inputs, precision):
        return _core.gibbs_chain(**inputs, steps=steps, precision=precision, **draw)

    def reference(inputs, precision):
        v, w, a, b = (
            inputs[n].astype(np.float64) for n in ("states", "weights", "near_bias", "far_bias")
        )
        a0 = inputs["base_bias"].astype(np.float64) if betas is not None else a
        u = roundoff(precision)
        h, mean, log_weight, size = np.zeros((m, far)), a, np.zeros(m), np.zeros(m)
        for s in range(steps):
            start, to = (1.0, 1.0) if betas is None else (betas[s], betas[s + 1])
            x = v @ w + b
            log_weight += (softplus(to * x) - softplus(start * x)).sum(axis=1)
            log_weight += (to - start) * (v @ (a - a0))
            size += (softplus(to * x) + softplus(start * x)).sum(axis=1) + v @ np.abs(a - a0)
            if to == 0:
                continue
            step = 5 + s
            draws = uniforms(m, far, 4, step, 2, 40).astype(np.float64)
            h_mean = special.expit(to * x)
            h = (draws < h_mean).astype(np.float64)
            mean = special.expit(to * (h @ w.T + a) + (1 - to) * a0)
            near_draws = uniforms(m, near, 4, step, 1, 40).astype(np.float64)
            v = (near_draws < mean).astype(np.float64)
            for number, p in ((draws, h_mean), (near_draws, mean)):
                assert not p.size or np.abs(number - p).min() > 4 * u, "a draw too close to call"
        out = {"near": (v, 0)}
        if steps:
            out["far"] = (h, 0)
        if betas is not None:
            out["log_weight"] = (log_weight, 16 * u * size)
        elif steps:
            out["mean"] = (mean, 8 * u)
        return out

    name = f"{m}x{near}x{far}-{steps}" + "-annealed" * (betas is not None)
    return Case("GibbsChain", name, make, run, reference, large=large)


def chain_cases():
    for shape in [(1, 1, 1), (3, 33, 17), (5, 16, 65), (17, 40, 31), (0, 5, 3)]:
        for steps in (0, 1, 4):
            yield chain_case(*shape, steps)
        yield chain_case(*shape, 6, betas=[0, 0.25, 0.375, 1, 0, 0.5, 0])
    yield chain_case(70, 150, 97, 2, large=True)


# -- WeightUpdate. Domain: any finite operands.


def weight_update_case(visibles, hiddens, rows, *, velocity=False, terms=0, row_scale=False, l2=0.0,
                       l1=0.0, layout="F", density=0.5, binary=False, large=False):  # fmt: skip
    rate, momentum = 0.05, 0.9 if velocity else 0.0

    def make(rng, dtype):
        def normal(*shape):
            return rng.standard_normal(shape).astype(dtype)

        weights = normal(visibles, hiddens)
        weights[rng.random(weights.shape) < 0.1] = 0  # where the l1 penalty has no sign
        inputs = {
            "visible": lay_out(thinned(rng, (visibles, rows), dtype, density, binary), layout),
            "hidden": normal(rows, hiddens),
            "weights": weights,
            "velocity": normal(visibles, hiddens) if velocity else None,
            "contrast": np.where(np.arange(rows) < rows // 2, 1.0, -1.0).astype(dtype)
            / dtype.type(max(1, rows // 2)),
        }
        if row_scale:
            inputs["row_scale"] = rng.uniform(0.5, 2, visibles).astype(dtype)
        inputs["rank_one"] = [(normal(visibles), normal(hiddens)) for _ in range(terms)]
        return inputs

    def run(inputs, precision):
        return _core.weight_update(
            **inputs, rate=rate, momentum=momentum, l2=l2, l1=l1, precision=precision
        )

    def reference(inputs, precision):
        u = roundoff(precision)
        real = dtype_of(precision).type
        eta, mu, ridge, lasso = (float(real(v)) for v in (rate, momentum, l2, l1))
        a = operand(dense(inputs["visible"]), precision)
        h = right_operand(inputs["hidden"] * inputs["contrast"][:, None], precision)
        w = inputs["weights"].astype(np.float64)
        gradient = a @ h
        off = product_bound(a, h, precision) + 2 * u * (np.abs(a) @ np.abs(h))
        by_row = inputs.get("row_scale", np.ones(visibles)).astype(np.float64)[:, None]
        parts = [by_row * gradient, -ridge * w, -lasso * np.sign(w)]
        parts += [-np.outer(*(v.astype(np.float64) for v in pair)) for pair in inputs["rank_one"]]
        step = eta * sum(parts)
        step_off = eta * (by_row * off + 8 * u * sum(np.abs(p) for p in parts))
        if velocity:
            carried = mu * inputs["velocity"].astype(np.float64)
            step = step + carried
            step_off = step_off + 4 * u * np.abs(carried)
        dot_off = np.abs(w) * off + sum_bound(hiddens, precision) * np.abs(w * gradient)
        out = {
            "weights": (w + step, step_off + 2 * u * (np.abs(w) + np.abs(step))),
            "row_dot": ((w * gradient).sum(axis=1), dot_off.sum(axis=1) + TINY),
        }
        if velocity:
            out["velocity"] = (step, step_off + 2 * u * np.abs(step))
        return out

    options = "-velocity" * velocity + f"-{terms}terms" * (terms > 0) + "-rowscale" * row_scale
    options += "-l2" * (l2 != 0) + "-l1" * (l1 != 0) + f"-{density}{layout}" + "-binary" * binary
    name = f"{visibles}x{hiddens}x{rows}{options}"
    precisions = BIT_PRECISIONS if layout == "bits" else PRECISIONS
    return Case("WeightUpdate", name, make, run, reference, precisions, large=large)


def weight_update_cases():
    for i, shape in enumerate(SHAPES):
        yield weight_update_case(*shape, velocity=i % 2 == 1, density=DENSITIES[i % 3])
    for velocity in (False, True):
        for terms in (0, 1, 2):
            yield weight_update_case(29, 65, 20, velocity=velocity, terms=terms)
            yield weight_update_case(
                29, 65, 20, velocity=velocity, terms=terms, row_scale=True, l2=0.1, l1=0.03
            )
    for layout in (*LAYOUTS, "csr"):
        for density in (0.1, 1):
            for binary in (False, True):
                yield weight_update_case(
                    45, 33, 20, layout=layout, density=density, velocity=True, binary=binary
                )
    yield weight_update_case(301, 97, 128, velocity=True, terms=2, l2=1e-3, large=True)
    for density in DENSITIES:
        yield weight_update_case(45, 33, 20, layout="bits", density=density, binary=True)
    yield weight_update_case(
        301, 97, 128, velocity=True, terms=2, layout="bits", density=0.2, binary=True, large=True
    )


# -- ColumnSum. Domain: rows contiguous or CSR.


def column_sum_case(rows, cols, *, weighted, sparse=False, padded=False, bits=False, large=False):
    def make(rng, dtype):
        x = thinned(rng, (rows, cols), dtype, 0.3 if sparse or bits else 1)
        if bits:
            x = x != 0
        if padded:  # rows that do not follow each other in memory
            buffer = np.full((rows, cols + 3), np.nan, dtype)
            buffer[:, :cols] = x
            x = buffer[:, :cols]
        weight = rng.standard_normal(rows).astype(dtype) if weighted else None
        return {"x": csr(x) if sparse else x, "weight": weight}

    def run(inputs, precision):
        return {"sum": _core.column_sum(**inputs)}

    def reference(inputs, precision):
        x = dense(inputs["x"]).astype(np.float64)
        w = np.ones(rows) if inputs["weight"] is None else inputs["weight"].astype(np.float64)
        return {"sum": (w @ x, sum_bound(rows, precision) * (np.abs(w) @ np.abs(x)) + TINY)}

    name = f"{rows}x{cols}" + "-weighted" * weighted + "-csr" * sparse + "-padded" * padded
    name += "-bits" * bits
    return Case("ColumnSum", name, make, run, reference, PRECISIONS[:2], large)


def column_sum_cases():
    for rows in (0, 1, 7, 65):
        for cols in (0, 1, 3, 4, 5, 15, 16, 17, 33, 100):
            yield column_sum_case(rows, cols, weighted=False)
            yield column_sum_case(rows, cols, weighted=True)
    for weighted in (False, True):
        for rows, cols in [(0, 4), (1, 1), (20, 33), (65, 100)]:
            yield column_sum_case(rows, cols, weighted=weighted, sparse=True)
            yield column_sum_case(rows, cols, weighted=weighted, padded=True)
            yield column_sum_case(rows, cols, weighted=weighted, bits=True)
        yield column_sum_case(1000, 300, weighted=weighted, large=True)


# -- PackBits, UnpackBits and TurnBits: exact.


def pack_bits_case(rows, cols, count):
    def make(rng, dtype):
        x = thinned(rng, (rows, cols), dtype, 0.4, binary=True)
        return {"x": x, "order": rng.integers(0, max(rows, 1), count if rows else 0)}

    def run(inputs, precision):
        return {"bits": _core.pack_bits(**inputs)}

    def reference(inputs, precision):
        return {"bits": (inputs["x"][inputs["order"]], 0)}

    return Case("PackBits", f"{count}-of-{rows}x{cols}", make, run, reference, PRECISIONS[:2])


def unpack_bits_case(rows, cols):
    def make(rng, dtype):
        return {"x": rng.random((rows, cols)) < 0.4, "like": np.zeros(1, dtype)}

    def run(inputs, precision):
        return {"values": _core.unpack_bits(**inputs)}

    def reference(inputs, precision):
        return {"values": (inputs["x"].astype(np.float64), 0)}

    return Case("UnpackBits", f"{rows}x{cols}", make, run, reference, PRECISIONS[:2])


def turn_bits_case(rows, cols):
    def make(rng, dtype):
        return {"x": rng.random((rows, cols)) < 0.4}

    def run(inputs, precision):
        return {"bits": _core.turn_bits(**inputs)}

    def reference(inputs, precision):
        return {"bits": (inputs["x"].T.astype(np.float64), 0)}

    return Case("TurnBits", f"{rows}x{cols}", make, run, reference, PRECISIONS[:1])


def bit_cases():
    for rows in (0, 1, 31, 32, 33, 65):
        for cols in (0, 1, 8, 31, 32, 33, 100):
            yield pack_bits_case(rows, cols, 40)
            yield unpack_bits_case(rows, cols)
            yield turn_bits_case(rows, cols)


# -- Elementwise: the functions of csrc/simd/vmath.h, with the bounds stated there.


@dataclass(frozen=True)
class Elementary:
    exact: Callable  # long double -> long double
    domain: tuple  # where the bounds hold
    bound: Callable  # (x, exact value, spacing of the dtype there, dtype) -> largest error


def _long(f):
    return lambda x: f(np.asarray(x, np.longdouble))


def _log_bound(x, y, ulp, dtype):
    near_one = (x > 0.7) & (x < 1.5)
    return np.where(near_one, 1e-7 if dtype == np.float32 else 2 * ulp, 2 * ulp)


def _probit_bound(x, y, ulp, dtype):
    return np.where(np.abs(y) > 5, 1e-3, 4e-6)


ELEMENTARY = {
    "exp": Elementary(_long(np.exp), (-87.3, 88.3), lambda x, y, ulp, dtype: 1.5 * ulp),
    "log": Elementary(_long(np.log), (2.0**-126, 3.4e38), _log_bound),
    "sigmoid": Elementary(
        _long(lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-np.abs(x)))),
        (-87, 88),
        lambda x, y, ulp, dtype: np.minimum(3 * ulp, 1e-7),
    ),
    "softplus": Elementary(
        _long(lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))),
        (-87, 1e6),
        lambda x, y, ulp, dtype: 3 * ulp,
    ),
    "tanh": Elementary(_long(np.tanh), (-87, 87), lambda x, y, ulp, dtype: 3 * ulp),
    # u stands for the middle of its interval of 2^-24
    "probit": Elementary(
        lambda u: special.ndtri(np.asarray(u, np.float64) + 2.0**-25),
        (0, 1 - 2.0**-24),
        _probit_bound,
    ),
}


def elementary(function, x):
    return getattr(_core, function)(x)


def vector_error(function, x):
    """Runs a function on x: (result, exact values, stated bound on their distance)."""
    f = ELEMENTARY[function]
    exact = f.exact(x)
    with np.errstate(under="ignore"):
        ulp = np.spacing(np.abs(exact.astype(x.dtype))).astype(np.longdouble)
    return elementary(function, x), exact, f.bound(x, exact, ulp, x.dtype)


def vector_case(function, n, large=False):
    def make(rng, dtype):
        low, high = ELEMENTARY[function].domain
        if function == "log":
            x = np.exp(rng.uniform(-80, 80, n))
        elif function == "probit":
            x = rng.integers(0, 2**24, n) * 2.0**-24
        else:
            x = rng.uniform(max(low, -87), min(high, 87), n)
        return {"x": x.astype(dtype)}

    def run(inputs, precision):
        return {"y": elementary(function, inputs["x"])}

    def reference(inputs, precision):
        f, x = ELEMENTARY[function], inputs["x"]
        exact = f.exact(x)
        ulp = np.spacing(np.abs(exact.astype(x.dtype))).astype(np.float64)
        # rounding `exact` to float64 may cost half a unit there
        slack = 0.5 * ulp if precision == "float64" else 0
        value = exact.astype(np.float64)
        return {"y": (value, f.bound(x, value, ulp, x.dtype) + slack)}

    return Case("Elementwise", f"{function}-{n}", make, run, reference, PRECISIONS[:2], large)


def vector_cases():
    for function in ELEMENTARY:
        for n in (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 1001):
            yield vector_case(function, n)
        yield vector_case(function, 100_003, large=True)


# -- Uniforms, bit for bit.


def uniforms_case(rows, cols, draw, large=False):
    def run(inputs, precision):
        return {"u": _core.uniforms(rows, cols, **inputs)}

    def reference(inputs, precision):
        return {"u": (uniforms(rows, cols, **inputs), 0)}

    name = f"{rows}x{cols}-{'-'.join(hex(v) for v in draw.values())}"
    return Case("Uniforms", name, lambda rng, dtype: draw, run, reference, PRECISIONS[:1], large)


def uniforms_cases():
    top = 0xFFFFFFFF
    draws = [
        {"seed": 0},
        {"seed": 1, "step": 2, "stream": 3, "first_row": 4},
        {"seed": 0xFEDCBA9876543210, "step": top, "stream": top, "first_row": 12345},
        {"seed": 2**64 - 1, "first_row": top - 2},  # the row counter wraps
    ]
    for draw in draws:
        for cols in (0, 1, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 65, 100):
            yield uniforms_case(5, cols, draw)
        for rows in (0, 1, 2, 3, 17):
            yield uniforms_case(rows, 40, draw)
    yield uniforms_case(500, 333, draws[2], large=True)


# -- PeakLoop: the rate must be one that a processor can reach.


def peak_case():
    def run(inputs, precision):
        before = _core.get_num_threads()
        _core.set_num_threads(1)  # so that no time goes into waking threads
        try:
            return {"rate": np.float64(_core.measure_peak(precision, 0.0))}
        finally:
            _core.set_num_threads(before)

    def reference(inputs, precision):
        # two multiply-add pipes of 64-byte vectors at 8 GHz
        most = 8e9 * 2 * 2 * 64 / {"float64": 8, "float32": 4, "bfloat16": 2}[precision]
        least = 1e6
        return {"rate": ((most + least) / 2, (most - least) / 2)}

    return Case("PeakLoop", "rate", lambda rng, dtype: {}, run, reference)


CASES = [
    *gemm_cases(),
    *pack_cases(),
    *turn_cases(),
    *half_step_cases(),
    *chain_cases(),
    *weight_update_cases(),
    *column_sum_cases(),
    *bit_cases(),
    *vector_cases(),
    *uniforms_cases(),
    peak_case(),
]
assert len({str(c) for c in CASES}) == len(CASES), "two cases have the same name"

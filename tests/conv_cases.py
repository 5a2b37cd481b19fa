"""Cases of convolutions (csrc/kernels/conv, and patches as left operands): see cases.py."""

import numpy as np
from cases import (
    BIT_PRECISIONS,
    PRECISIONS,
    Case,
    operand,
    product_bound,
    right_operand,
    roundoff,
    sum_bound,
    thinned,
    uniforms,
)

from unsupfast import _core


def patches(x, size, stride=1, padding=(0, 0)):
    """Every patch of maps (n, height, width, channels) as a row: (n, height, width, taps)."""
    top, left = padding
    x = np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(*windows.shape[:3], size[0] * size[1] * x.shape[3])


def maps(rng, shape, dtype, density, bits=False):
    x = thinned(rng, shape, dtype, density, binary=bits)
    return x != 0 if bits else x


# (maps, (height, width, channels), filters, (rows, columns), stride, padding)
SHAPES = [
    (1, (1, 1, 1), 1, (1, 1), 1, (0, 0)),
    (2, (5, 7, 1), 3, (2, 3), 1, (0, 0)),
    (3, (6, 5, 2), 33, (3, 2), 1, (1, 0)),
    (2, (9, 8, 3), 5, (3, 3), 2, (1, 1)),
    (1, (4, 40, 1), 7, (4, 9), 1, (0, 4)),
    (2, (8, 12, 5), 16, (1, 5), 3, (0, 2)),
    (2, (7, 33, 1), 9, (3, 4), 1, (2, 3)),
    (1, (3, 35, 2), 65, (3, 3), 1, (2, 2)),
    (1, (11, 6, 16), 32, (4, 1), 2, (0, 0)),
    (0, (5, 7, 1), 3, (2, 3), 1, (0, 0)),
]
LARGE = (11, (28, 28, 1), 40, (11, 11), 1, (0, 0))
DENSITIES = (1, 0.3, 0.05)


def described(shape, density, bits):
    n, size, filters, patch, stride, padding = shape
    name = f"{n}x{size}-{filters}x{patch}-{stride}-{padding}-{density}" + "-bits" * bits
    return name.replace(" ", "")


def convolution_case(shape, density, bits=False, large=False):
    n, size, filters, patch, stride, padding = shape

    def make(rng, dtype):
        return {
            "x": maps(rng, (n, *size), dtype, density, bits),
            "w": rng.standard_normal((filters, *patch, size[2])).astype(dtype),
        }

    def run(inputs, precision):
        return {"y": _core.conv(inputs["x"], inputs["w"], stride, padding, precision)}

    def reference(inputs, precision):
        a = patches(operand(inputs["x"], precision), patch, stride, padding)
        b = right_operand(inputs["w"].reshape(filters, -1).T, precision)
        flat = a.reshape(-1, a.shape[3])
        out = (*a.shape[:3], filters)
        return {
            "y": ((flat @ b).reshape(out), product_bound(flat, b, precision).reshape(out)),
        }

    precisions = BIT_PRECISIONS if bits else PRECISIONS
    name = "conv-" + described(shape, density, bits)
    return Case("Gemm", name, make, run, reference, precisions, large)


def transposed(g, w, size, stride, padding):
    """The sum over filters of every pixel, and how many products it has at most."""
    n, rows, cols, _ = g.shape
    top, left = padding
    out = np.zeros((n, size[0] + 2 * top, size[1] + 2 * left, size[2]))
    for r in range(w.shape[1]):
        for s in range(w.shape[2]):
            part = np.tensordot(g, w[:, r, s], 1)
            out[:, r : r + rows * stride : stride, s : s + cols * stride : stride] += part
    return out[:, top : top + size[0], left : left + size[1]]


def transposed_case(shape, density, bits=False, block=0, large=False):
    n, size, filters, patch, stride, padding = shape
    rows = (size[0] + 2 * padding[0] - patch[0]) // stride + 1
    cols = (size[1] + 2 * padding[1] - patch[1]) // stride + 1

    def make(rng, dtype):
        return {
            "g": maps(rng, (n, rows, cols, filters), dtype, density, bits),
            "w": rng.standard_normal((filters, *patch, size[2])).astype(dtype),
        }

    def run(inputs, precision):
        g, w = inputs["g"], inputs["w"]
        return {"x": _core.conv_input(g, w, size[:2], stride, padding, precision, block)}

    def reference(inputs, precision):
        g = operand(inputs["g"], precision)
        if precision == "int16":
            # a column of the right operand holds parts of filters: its step is no larger than this
            w, off = inputs["w"].astype(np.float64), np.abs(inputs["w"]).max() / 4095
        else:
            w, off = operand(inputs["w"], precision), 0
        value = transposed(g, w, size, stride, padding)
        scale = transposed(np.abs(g), np.abs(w), size, stride, padding)
        count = transposed(np.abs(g), np.ones_like(w), size, stride, padding)
        depth = filters * patch[0] * patch[1]
        return {"x": (value, sum_bound(depth, precision) * scale + off * count)}

    precisions = BIT_PRECISIONS if bits else PRECISIONS
    name = described(shape, density, bits) + f"-{block}" * (block > 0)
    return Case("TurnFilters", name, make, run, reference, precisions, large)


def gradient_case(shape, density, bits=False, large=False):
    n, size, filters, patch, stride, padding = shape
    rows = (size[0] + 2 * padding[0] - patch[0]) // stride + 1
    cols = (size[1] + 2 * padding[1] - patch[1]) // stride + 1

    def make(rng, dtype):
        return {
            "x": maps(rng, (n, *size), dtype, density, bits),
            "g": rng.standard_normal((n, rows, cols, filters)).astype(dtype),
        }

    def run(inputs, precision):
        out = _core.conv_filters(
            inputs["x"], inputs["g"], patch, stride, padding, precision, scale=0.5
        )
        return dict(zip(("filters", "sums"), out, strict=True))

    def reference(inputs, precision):
        a = patches(operand(inputs["x"], precision), patch, stride, padding)
        a = a.reshape(-1, a.shape[3]).T
        g = inputs["g"].reshape(-1, filters)
        b, full = operand(g, precision), g.astype(np.float64)
        out = (filters, *patch, size[2])
        plain = "float64" if precision == "float64" else "float32"
        sums_off = sum_bound(len(full), plain) * np.abs(full).sum(axis=0)
        return {
            "filters": (
                0.5 * (a @ b).T.reshape(out),
                0.5 * product_bound(a, b, precision).T.reshape(out),
            ),
            "sums": (0.5 * full.sum(axis=0), sums_off),
        }

    return Case(
        "FilterGradient", described(shape, density, bits), make, run, reference, large=large
    )


def blocks(x, pool):
    """(n, rows, columns, filters) with the units of a block in the last axis, in their order."""
    n, rows, cols, filters = x.shape
    x = x.reshape(n, rows // pool, pool, cols // pool, pool, filters)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, rows // pool, cols // pool, filters, pool**2)


def unblocked(x, pool):
    """The inverse of blocks."""
    n, rows, cols, filters, _ = x.shape
    x = x.reshape(n, rows, cols, filters, pool, pool).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, rows * pool, cols * pool, filters)


def pooling_case(n, size, filters, patch, pool, density, bits=False, ratio=-1.0, scale=1.0,
                 large=False):  # fmt: skip
    draw = {"seed": 2**40 + 11, "step": 5, "stream": 3, "first_row": 17}
    if n == 0:
        draw = {}

    def make(rng, dtype):
        taps = patch[0] * patch[1] * size[2]
        return {
            "x": maps(rng, (n, *size), dtype, density, bits),
            "w": (2 * rng.standard_normal((filters, *patch, size[2])) / taps**0.5).astype(dtype),
            "bias": rng.standard_normal(filters).astype(dtype),
        }

    def run(inputs, precision):
        return _core.pooling_step(
            inputs["x"], inputs["w"], inputs["bias"], pool, scale, ratio, precision=precision,
            **draw
        )  # fmt: skip

    def reference(inputs, precision):
        a = patches(operand(inputs["x"], precision), patch)
        b = right_operand(inputs["w"].reshape(filters, -1).T, precision)
        u = roundoff(precision)
        x = scale * (a @ b) + inputs["bias"].astype(np.float64)
        off = scale * sum_bound(a.shape[3], precision) * (np.abs(a) @ np.abs(b)) + 4 * u * (
            1 + np.abs(x)
        )
        x, off = blocks(x, pool), blocks(off, pool).max(axis=-1, initial=0)
        units = pool**2

        def log_partition(x):
            top = np.maximum(x.max(axis=-1, initial=0), 0)
            return top + np.log(np.exp(-top) + np.exp(x - top[..., None]).sum(axis=-1))

        all_ = log_partition(x)
        mean = np.exp(x - all_[..., None])
        # relative errors of the exponentials, of their sum, and of the division
        mean_off = mean * (2 * off + (units + 16) * u)[..., None]
        pooled, pooled_off = mean.sum(axis=-1), mean_off.sum(axis=-1)
        terms, term_off = all_.copy(), off + (units + 16) * u * (1 + np.abs(all_))
        if ratio >= 0:
            other = log_partition(ratio * x)
            terms -= other
            term_off = term_off + ratio * off + (units + 16) * u * (1 + np.abs(other))
        total = terms.sum(axis=(1, 2, 3))
        count = terms[0].size if n else 0
        total_off = term_off.sum(axis=(1, 2, 3)) + sum_bound(count, precision) * (
            np.abs(all_) + np.abs(terms - all_)
        ).sum(axis=(1, 2, 3))
        draws = uniforms(n, count, **draw).astype(np.float64).reshape(*all_.shape, 1)
        passed = np.cumsum(mean, axis=-1)
        passed_off = np.cumsum(mean_off, axis=-1) + 8 * u
        sample = (draws < passed) & (draws >= passed - mean)
        close = np.abs(draws - passed) <= passed_off
        close = close | np.concatenate([np.zeros_like(close[..., :1]), close[..., :-1]], axis=-1)
        return {
            "mean": (unblocked(mean, pool), unblocked(mean_off, pool)),
            "pooled": (pooled, pooled_off),
            "log_partition": (total, total_off),
            "sample": (
                unblocked(sample.astype(float), pool),
                unblocked(close.astype(float), pool),
            ),
        }

    name = f"{n}x{size}-{filters}x{patch}-{pool}-{density}-{ratio}-{scale}" + "-bits" * bits
    precisions = BIT_PRECISIONS if bits else PRECISIONS
    return Case("PoolingStep", name.replace(" ", ""), make, run, reference, precisions, large)


def convolution_cases():
    for i, shape in enumerate(SHAPES):
        for bits in (False, True):
            density = DENSITIES[i % 3]
            yield convolution_case(shape, density, bits)
            yield gradient_case(shape, density, bits)
            yield transposed_case(shape, density, bits)
            yield transposed_case(shape, DENSITIES[(i + 1) % 3], bits, block=1)
            yield transposed_case(shape, DENSITIES[(i + 2) % 3], bits, block=shape[1][1])
    for bits in (False, True):
        yield convolution_case(LARGE, 0.13, bits, large=True)
        yield gradient_case(LARGE, 0.13, bits, large=True)
        yield transposed_case(LARGE, 0.1, bits, large=True)
    yield transposed_case((2, (6, 48, 3), 8, (3, 5), 1, (0, 0)), 0.3, block=8)
    yield transposed_case((2, (6, 48, 3), 8, (3, 5), 2, (1, 2)), 0.3, block=8)
    yield gradient_case((40, (12, 10, 2), 7, (3, 3), 1, (0, 0)), 0.5)  # several chunks


def pooling_cases():
    yield pooling_case(1, (1, 1, 1), 1, (1, 1), 1, 1)
    yield pooling_case(0, (5, 5, 1), 3, (2, 2), 2, 1)
    yield pooling_case(3, (5, 7, 1), 3, (2, 2), 2, 1)
    yield pooling_case(2, (8, 8, 2), 17, (3, 3), 3, 0.3, ratio=0.5, scale=0.8)
    yield pooling_case(2, (7, 7, 1), 33, (4, 4), 4, 0.3, True, ratio=0.0)
    yield pooling_case(2, (4, 9, 3), 70, (3, 2), 2, 0.5, True)
    yield pooling_case(3, (6, 13, 1), 31, (2, 2), 1, 0.5, True)
    yield pooling_case(9, (28, 28, 1), 40, (11, 11), 2, 0.13, True, large=True)
    yield pooling_case(9, (28, 28, 1), 24, (12, 12), 1, 1, ratio=0.9, large=True)


CASES = [*convolution_cases(), *pooling_cases()]

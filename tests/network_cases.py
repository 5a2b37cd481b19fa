"""Cases of the operations of feed-forward networks; see cases.py for what a case is."""

import numpy as np
from cases import (
    DENSITIES,
    PRECISIONS,
    SHAPES,
    TINY,
    Case,
    dtype_of,
    operand,
    product_bound,
    roundoff,
    softplus,
    sum_bound,
    thinned,
    uniforms,
)
from scipy import special

from unsupfast import _core, ops

ACTIVATIONS = ops.ACTIVATIONS
EXACT = PRECISIONS[:2]

FORWARD = {
    "identity": lambda x: x,
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": softplus,
}
SLOPE = {  # of the output
    "identity": np.ones_like,
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
    "relu": lambda y: (y > 0) * 1.0,
    "leaky_relu": lambda y: np.where(y > 0, 1, 0.01),
    "elu": lambda y: np.where(y > 0, 1, y + 1),
    "softplus": lambda y: -np.expm1(-y),
}
CURVATURE = {
    "sigmoid": lambda y: 1 - 2 * y,
    "tanh": lambda y: -2 * y,
    "elu": lambda y: (y < 0) * 1.0,
    "softplus": lambda y: np.exp(-y),
}


def panels(w):
    return ops.to_panels(np.asarray(w))


def draw_weights(rng, k, n, dtype):
    return (rng.standard_normal((k, n)) / max(1, k) ** 0.5).astype(dtype)


# -- Dense. Every activation has slope at most 1, so errors of its argument do not grow.


def dense_case(m, n, k, activation="identity", *, turned=False, bias=True, density=1, large=False):
    def make(rng, dtype):
        w = draw_weights(rng, k, n, dtype)
        return {
            "x": thinned(rng, (m, k), dtype, density),
            "w": panels(w.T if turned else w),
            "bias": rng.standard_normal(n).astype(dtype) if bias else None,
        }

    def run(inputs, precision):
        x, w, b = inputs["x"], inputs["w"], inputs["bias"]
        return {"y": _core.dense(x, w, n, b, activation, turned, precision == "bfloat16")}

    def reference(inputs, precision):
        w = ops.from_panels(inputs["w"], k if turned else n)
        x = operand(inputs["x"], precision)
        w = operand(np.ascontiguousarray(w.T) if turned else w, precision)
        b = inputs["bias"].astype(np.float64) if bias else np.zeros(n)
        z = x @ w + b
        off = product_bound(x, w, precision) + 4 * roundoff(precision) * (np.abs(z) + np.abs(b))
        y = FORWARD[activation](z)
        return {"y": (y, off + 6 * roundoff(precision) * np.maximum(np.abs(y), 0.1) + TINY)}

    name = f"{m}x{n}x{k}-{activation}-{density}" + "-turned" * turned + "-nobias" * (not bias)
    return Case("Dense", name, make, run, reference, large=large)


def dense_cases():
    for i, shape in enumerate(SHAPES):
        yield dense_case(*shape, ACTIVATIONS[i % 7], turned=i % 2 == 1, density=DENSITIES[i % 3])
    for activation in ACTIVATIONS:
        for turned in (False, True):
            yield dense_case(29, 65, 20, activation, turned=turned, bias=turned)
    yield dense_case(150, 97, 301, "sigmoid", large=True)
    yield dense_case(281, 65, 784, "relu", turned=True, density=0.13, large=True)


# -- Gate, alone and inside the gradient of a layer.


def gate_case(m, n, activation, large=False):
    def make(rng, dtype):
        y = FORWARD[activation](rng.standard_normal((m, n)))
        return {"g": rng.standard_normal((m, n)).astype(dtype), "y": y.astype(dtype)}

    def run(inputs, precision):
        return {"z": _core.gate(inputs["g"], inputs["y"], activation)}

    def reference(inputs, precision):
        g, y = inputs["g"].astype(np.float64), inputs["y"].astype(np.float64)
        z = g * SLOPE[activation](y)
        return {"z": (z, 8 * roundoff(precision) * np.abs(g) + TINY)}

    return Case("Gate", f"{m}x{n}-{activation}", make, run, reference, EXACT, large)


def gate_cases():
    for i, (m, n, _) in enumerate(SHAPES):
        if (m, n) not in [(a, b) for a, b, _ in SHAPES[:i]]:
            yield gate_case(m, n, ACTIVATIONS[i % 7])
    for activation in ACTIVATIONS:
        yield gate_case(31, 70, activation)
    yield gate_case(300, 203, "tanh", large=True)


# -- DenseWeight and DenseUpdate, as a layer's gradient calls them: by x, w and bias.


def gradient_case(
    m,
    n,
    k,
    activation="identity",
    *,
    turned=False,
    added=False,
    columns=False,
    uses=1,
    stepped=None,
    density=1,
    large=False,
):
    def make(rng, dtype):
        w = draw_weights(rng, k, n, dtype)
        like = panels(w.T if turned else w)
        y = FORWARD[activation](rng.standard_normal((m, n)))
        inputs = {
            "x": thinned(rng, (m, k), dtype, density),
            "w": like,
            "g": rng.standard_normal((m, n)).astype(dtype),
            "y": y.astype(dtype),
            "before": panels(draw_weights(rng, *(w.T if turned else w).shape, dtype)),
            "columns": rng.standard_normal(k if turned else n).astype(dtype),
        }
        if stepped:
            inputs["m"] = panels(0.1 * draw_weights(rng, *(w.T if turned else w).shape, dtype))
            inputs["v"] = inputs["m"] ** 2
        return inputs

    numbers = {"rate": 0.01, "beta1": 0.75, "beta2": 0.875, "eps": 2.0**-10, "step": 3}

    def run(inputs, precision):
        w, gw = inputs["w"].copy(), None
        for _ in range(uses):
            gx, gw, gb = _core.dense_grad(
                inputs["g"], inputs["y"], inputs["x"], w, activation, turned,
                precision == "bfloat16", True, True, gw,
            )  # fmt: skip
        if added:
            gw.add(inputs["before"])
        if columns:
            gw.add_columns(inputs["columns"])
        out = {"x": gx, "bias": gb}
        if not stepped:
            return {**out, "w": gw.array()}
        m, v = inputs["m"].copy(), inputs["v"].copy()
        step = _core.Step(stepped, **numbers)
        step.descend((w, m, v, 0.0), gw)
        assert step.finite
        return {**out, "p": w, "m": m, "v": v}

    def reference(inputs, precision):
        u = roundoff(precision)
        z = inputs["g"].astype(np.float64) * SLOPE[activation](inputs["y"].astype(np.float64))
        z_off = 8 * u * np.abs(inputs["g"].astype(np.float64)) * (activation != "identity")
        rounded_z = z.astype(dtype_of(precision))
        rows = inputs["w"].shape[1]
        w = ops.from_panels(inputs["w"], k if turned else n)
        w = operand(w, precision)
        back = w if turned else w.T
        zo, xo = operand(rounded_z, precision), operand(inputs["x"], precision)
        # a derivative that rounds differently may round to the next bfloat16
        slack = z_off + (2.0**-8 * np.abs(z) if precision == "bfloat16" else 0) * (
            activation != "identity"
        )
        out = {
            "x": (zo @ back, product_bound(zo, back, precision) + slack @ np.abs(back)),
            "bias": (
                z.sum(axis=0),
                sum_bound(m, precision) * np.abs(z).sum(axis=0) + z_off.sum(axis=0) + TINY,
            ),
        }
        a, b = (zo, xo) if turned else (xo, zo)
        extra = slack.T @ np.abs(xo) if turned else np.abs(xo).T @ slack
        gw, gw_off = a.T @ b, product_bound(a.T, b, precision) + extra
        assert gw.shape[0] == rows
        gw, gw_off = uses * gw, uses * (gw_off + u * np.abs(gw))
        before = inputs["before"].astype(np.float64)
        gw, gw_off = panels(gw), panels(gw_off)
        if added:
            gw, gw_off = gw + before, gw_off + 2 * u * (np.abs(gw) + np.abs(before))
        if columns:
            numbers_of = np.zeros(32 * len(gw))
            numbers_of[: len(inputs["columns"])] = inputs["columns"]
            more = inputs["w"].astype(np.float64) * numbers_of.reshape(-1, 1, 32)
            gw, gw_off = gw + more, gw_off + 4 * u * (np.abs(gw) + np.abs(more))
        if not stepped:
            return {**out, "w": (gw, gw_off)}
        return {
            **out,
            **stepped_by(
                stepped, inputs["w"], gw, gw_off, inputs["m"], inputs["v"], 0.0, numbers, u
            ),
        }

    options = "-turned" * turned + "-added" * added + "-columns" * columns
    options += f"-{uses}uses" * (uses > 1) + f"-{stepped}" * bool(stepped)
    op = "DenseUpdate" if stepped else "DenseWeight"
    name = f"{m}x{n}x{k}-{activation}-{density}{options}"
    return Case(op, name, make, run, reference, large=large)


def stepped_by(rule, p, g, g_off, m, v, decay, numbers, u):
    """p, m and v after a step, with the largest errors allowed."""
    p, m, v = (a.astype(np.float64) for a in (p, m, v))
    rate, beta1, beta2, eps, step = (
        numbers[name] for name in ("rate", "beta1", "beta2", "eps", "step")
    )
    c1, c2 = 1 - beta1**step, 1 - beta2**step
    size = np.abs(g) + np.abs(decay * p)
    if rule == "adamw":
        p = p - rate * decay * p
    else:
        g = g + decay * p
    g_off = g_off + 4 * u * size
    m_off, v_off = 0.0 * p, 0.0 * p
    if rule == "sgd":
        change, off = g, g_off
    elif rule in ("momentum", "nesterov"):
        m = beta1 * m + g
        m_off = g_off + 4 * u * (np.abs(m) + np.abs(g))
        change, off = (g + beta1 * m, 2 * g_off + m_off) if rule == "nesterov" else (m, m_off)
    else:
        v = beta2 * v + (1 - beta2) * g * g
        v_off = (1 - beta2) * (2 * np.abs(g) * g_off + g_off**2) + 6 * u * v
        if rule == "rmsprop":
            top, top_off, root_of, root_off = g, g_off, v, v_off
        else:
            m = beta1 * m + (1 - beta1) * g
            m_off = (1 - beta1) * g_off + 4 * u * (np.abs(m) + np.abs(g))
            top, top_off, root_of, root_off = m / c1, m_off / c1, v / c2, v_off / c2
        # the square root of a value that is off: between the roots of its ends
        low = np.sqrt(np.maximum(root_of - root_off, 0)) + eps
        bottom = np.sqrt(root_of) + eps
        change = top / bottom
        off = (np.abs(top) + top_off) / low - np.abs(top) / bottom + 8 * u * np.abs(change)
    after = p - rate * change
    p_off = rate * off + 4 * u * (np.abs(p) + rate * np.abs(change)) + TINY
    return {"p": (after, p_off), "m": (m, m_off + TINY), "v": (v, v_off + TINY)}


def gradient_cases():
    for i, shape in enumerate(SHAPES):
        yield gradient_case(*shape, ACTIVATIONS[i % 7], turned=i % 2 == 1, density=DENSITIES[i % 3])
        yield gradient_case(*shape, stepped="adam", turned=i % 2 == 1)
    for turned in (False, True):
        for added in (False, True):
            yield gradient_case(29, 65, 20, "sigmoid", turned=turned, added=added)
            for rule in ("sgd", "momentum", "rmsprop", "adam", "adamw"):
                yield gradient_case(
                    29, 65, 20, turned=turned, added=added, stepped=rule, density=0.9
                )
            for uses in (1, 2, 3):
                for rule in (None, "adam"):
                    yield gradient_case(
                        29, 65, 20, "relu", turned=turned, added=added, columns=True, uses=uses,
                        stepped=rule, density=0.5 if uses == 2 else 1,
                    )  # fmt: skip
    yield gradient_case(9, 17, 33, columns=True, uses=2, stepped="sgd")
    yield gradient_case(150, 97, 301, "tanh", large=True)
    yield gradient_case(150, 97, 301, uses=2, columns=True, stepped="adam", large=True)
    yield gradient_case(150, 97, 301, stepped="adam", large=True)


# -- Optimise, on several tensors at once.


def optimise_case(sizes, rule, *, decay=0.0, scale=1.0, limit=0.0, large=False):
    numbers = {"rate": 0.01, "beta1": 0.75, "beta2": 0.875, "eps": 2.0**-10, "step": 2}

    def make(rng, dtype):
        tensors = []
        for n in sizes:
            p, g, m = (rng.standard_normal(n).astype(dtype) for _ in range(3))
            tensors.append((p, g, m, (m * m * rng.uniform(0.5, 2, n)).astype(dtype)))
        return {"tensors": tensors}

    def run(inputs, precision):
        step = _core.Step(
            "momentum" if rule == "nesterov" else rule, **numbers,
            scale=scale, limit=limit, nesterov=rule == "nesterov",
        )  # fmt: skip
        copies = [tuple(a.copy() for a in t) for t in inputs["tensors"]]
        step.apply([((p, m, v, decay), g) for p, g, m, v in copies])
        assert step.finite
        out = {}
        for i, (p, _, m, v) in enumerate(copies):
            out.update({f"p{i}": p, f"m{i}": m, f"v{i}": v})
        return out

    def reference(inputs, precision):
        u, out = roundoff(precision), {}
        for i, (p, g, m, v) in enumerate(inputs["tensors"]):
            g = g.astype(np.float64) * scale
            if limit:
                g = np.clip(g, -limit, limit)
            parts = stepped_by(rule, p, g, u * np.abs(g), m, v, decay, numbers, u)
            out.update({f"{name}{i}": pair for name, pair in parts.items()})
        return out

    options = f"-decay{decay}" * (decay > 0) + f"-limit{limit}" * (limit > 0)
    name = f"{'x'.join(map(str, sizes))}-{rule}{options}"
    return Case("Optimise", name, make, run, reference, EXACT, large)


def optimise_cases():
    for rule in ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"):
        for n in (0, 1, 7, 8, 15, 16, 17, 33):
            yield optimise_case((n,), rule)
        yield optimise_case((5, 4096, 0, 4097, 33), rule, decay=0.125, scale=0.5, limit=0.75)
    yield optimise_case((20_000, 7, 5000), "adam", large=True)


# -- Likelihood. Domain: targets in [0, 1] but for "squared", |z| < 80.


def loss_reference(kind, z, x):
    """Value by element, and the derivative by z."""
    if kind == "squared":
        return (z - x) ** 2, 2 * (z - x)
    if kind == "bernoulli":
        return softplus(z) - x * z, special.expit(z) - x
    if kind == "categorical":
        top = special.logsumexp(z, axis=1, keepdims=True) if z.shape[1] else z
        total = x.sum(axis=1, keepdims=True)
        return x * (top - z), total * np.exp(z - top) - x
    a = np.abs(z).astype(np.longdouble)
    small = a < 1e-3
    safe = np.where(small, 1, a)
    norm = np.where(
        small, -a / 2 + a * a / 24 - a**4 / 2880, np.log(-np.expm1(-safe) / safe)
    ) + np.maximum(z, 0)
    half = np.where(small, a / 12 - a**3 / 720, 0.5 / np.tanh(safe / 2) - 1 / safe)
    mean = 0.5 + np.sign(z) * half
    return (norm - x * z).astype(np.float64), (mean - x).astype(np.float64)


def likelihood_case(m, n, kind, *, repeat=1, weighted=False, large=False):
    def make(rng, dtype):
        z = rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-3, 1.3, (m, n))
        x = rng.random((m // repeat, n))
        if kind == "categorical":
            x = x / x.sum(axis=1, keepdims=True)
        weight = rng.uniform(0.5, 2, m).astype(dtype) if weighted else None
        return {"z": z.astype(dtype), "x": x.astype(dtype), "weight": weight}

    def run(inputs, precision):
        value, grad = _core.likelihood(
            inputs["z"], inputs["x"], kind, 0.25, repeat, inputs["weight"]
        )
        return {"value": value, "grad": grad}

    def reference(inputs, precision):
        u = roundoff(precision)
        z = inputs["z"].astype(np.float64)
        x = np.repeat(inputs["x"].astype(np.float64), repeat, axis=0)
        terms, slope = loss_reference(kind, z, x)
        size = np.maximum(np.abs(z), 1) * (1 + np.abs(x)) ** (2 if kind == "squared" else 1)
        if kind == "squared":
            size = z * z + x * x + 1
        factor = 0.25 * (1 if inputs["weight"] is None else inputs["weight"][:, None])
        # the continuous Bernoulli's mean loses digits where two close numbers are subtracted
        grad_off = {"squared": 6 * u * (np.abs(z) + np.abs(x)), "bernoulli": 8 * u}.get(
            kind, 16 * u * (1 + np.abs(z) if kind == "categorical" else 1)
        )
        grad = factor * slope
        return {
            "value": (terms.sum(axis=1), (sum_bound(n, precision) + 16 * u) * size.sum(axis=1)),
            "grad": (grad, factor * grad_off + 4 * u * np.abs(grad) + TINY),
        }

    options = f"-repeat{repeat}" * (repeat > 1) + "-weighted" * weighted
    return Case("Likelihood", f"{m}x{n}-{kind}{options}", make, run, reference, EXACT, large)


def likelihood_cases():
    for kind in ("squared", "bernoulli", "continuous_bernoulli", "categorical"):
        for m, n in [(0, 3), (1, 1), (3, 2), (5, 15), (4, 16), (7, 17), (2, 33), (6, 100)]:
            yield likelihood_case(m, n, kind)
        yield likelihood_case(12, 20, kind, repeat=3, weighted=True)
    yield likelihood_case(100, 784, "bernoulli", large=True)


# -- Latent and LatentGrad. Domain: |log variance| < 20.


def latent_case(m, n, samples, draw=None, large=False):
    draw = draw or {}

    def run(inputs, precision):
        z, eps, kl = _core.latent(inputs["head"], samples, **draw)
        return {"z": z, "eps": eps, "kl": kl}

    def reference(inputs, precision):
        u = roundoff(precision)
        head = inputs["head"].astype(np.float64)
        mean, log_variance = head[:, :n], head[:, n:]
        eps = special.ndtri(uniforms(m * samples, n, **draw).astype(np.float64) + 2.0**-25)
        eps_off = np.where(np.abs(eps) > 5, 1e-3, 4e-6)
        sigma = np.repeat(np.exp(log_variance / 2), samples, axis=0)
        centre = np.repeat(mean, samples, axis=0)
        kl = 0.5 * (mean**2 + np.expm1(log_variance) - log_variance)
        size = mean**2 + np.exp(log_variance) + np.abs(log_variance) + 1
        return {
            "z": (
                centre + sigma * eps,
                sigma * (eps_off + 8 * u * np.abs(eps)) + 4 * u * np.abs(centre),
            ),
            "eps": (eps, eps_off),
            "kl": (kl, 8 * u * size),
        }

    def make(rng, dtype):
        return {"head": rng.standard_normal((m, 2 * n)).astype(dtype)}

    name = f"{m}x{n}x{samples}" + "-draw" * bool(draw)
    return Case("Latent", name, make, run, reference, EXACT, large)


def latent_grad_case(m, n, samples, which, large=False):
    def make(rng, dtype):
        def normal(*shape):
            return rng.standard_normal(shape).astype(dtype)

        return {
            "head": normal(m, 2 * n),
            "eps": normal(m * samples, n),
            "gz": normal(m * samples, n) if "z" in which else None,
            "gkl": normal(m, n) if "k" in which else None,
        }

    def run(inputs, precision):
        return {"head": _core.latent_grad(**inputs)}

    def reference(inputs, precision):
        u = roundoff(precision)
        head = inputs["head"].astype(np.float64)
        mean, log_variance = head[:, :n], head[:, n:]
        by_mean, by_log, size = np.zeros((m, n)), np.zeros((m, n)), np.zeros((m, n))
        if inputs["gkl"] is not None:
            k = inputs["gkl"].astype(np.float64)
            by_mean, by_log = k * mean, 0.5 * k * np.expm1(log_variance)
            size = np.abs(k) * (1 + np.abs(mean) + np.exp(log_variance))
        if inputs["gz"] is not None:
            gz = inputs["gz"].astype(np.float64).reshape(m, samples, n)
            noise = inputs["eps"].astype(np.float64).reshape(m, samples, n)
            sigma = np.exp(log_variance / 2)
            by_mean = by_mean + gz.sum(axis=1)
            by_log = by_log + 0.5 * sigma * (gz * noise).sum(axis=1)
            size = size + (np.abs(gz) * (1 + sigma[:, None] * np.abs(noise))).sum(axis=1)
        off = (8 + samples) * u * size
        out = np.concatenate([by_mean, by_log], axis=1)
        return {"head": (out, np.concatenate([off, off], axis=1))}

    name = f"{m}x{n}x{samples}-{which}"
    return Case("LatentGrad", name, make, run, reference, EXACT, large)


def latent_cases():
    top = 0xFFFFFFFF
    for n in (1, 2, 7, 16, 17, 31, 32, 33, 65):
        yield latent_case(5, n, 1)
        yield latent_grad_case(5, n, 1, "zk")
    for m in (0, 1, 3):
        yield latent_case(m, 3, 4, {"seed": 2**63 + 1, "step": 7, "stream": top, "first_row": 9})
        yield latent_grad_case(m, 3, 4, "zk")
    for which in ("z", "k"):
        yield latent_grad_case(6, 20, 3, which)
    yield latent_case(200, 20, 3, large=True)
    yield latent_grad_case(200, 20, 3, "zk", large=True)


# -- TakeRows.


def take_rows_case(m, n, kind, amount=0.3, *, sparse=False, large=False):
    draw = {"seed": 0xFEDCBA9876543210, "step": 3, "stream": 1}

    def make(rng, dtype):
        total = m + 5
        x = rng.random((total, n)).astype(dtype)
        if sparse:
            x = thinned(rng, (total, n), dtype, 0.2)
        return {"x": x, "index": rng.integers(0, total, m)}

    def run(inputs, precision):
        x = inputs["x"]
        if sparse:
            rows, cols = np.nonzero(x)
            indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(x)))])
            x = (indptr.astype(np.int64), cols.astype(np.int32), x[rows, cols])
        clean, corrupted = _core.take_rows(x, inputs["index"], n, kind, amount, **draw)
        return {"clean": clean, "corrupted": corrupted}

    def reference(inputs, precision):
        dtype = dtype_of(precision)
        x = inputs["x"][inputs["index"]].astype(np.float64)
        u = uniforms(len(inputs["x"]), n, **draw)[inputs["index"]].astype(dtype)
        off = np.zeros(x.shape)
        level = dtype.type(amount)
        if kind == "none":
            noisy = x
        elif kind == "masking":
            noisy = np.where(u < level, 0, x)
        elif kind == "salt_pepper":
            noisy = np.where(u < level, np.where(u < level / 2, 0, 1), x)
        elif kind == "bernoulli":
            noisy = u < x
        else:
            z = special.ndtri(u.astype(np.float64) + 2.0**-25)
            noisy = x + float(level) * z
            off = float(level) * np.where(np.abs(z) > 5, 1e-3, 4e-6) + 4 * roundoff(precision) * (
                np.abs(noisy) + np.abs(x)
            )
        return {"clean": (x, 0), "corrupted": (noisy, off)}

    name = f"{m}x{n}-{kind}-{amount}" + "-csr" * sparse
    return Case("TakeRows", name, make, run, reference, EXACT, large)


def take_rows_cases():
    for kind in ("none", "masking", "salt_pepper", "gaussian", "bernoulli"):
        for n in (1, 15, 16, 17, 31, 32, 33, 70):
            yield take_rows_case(4, n, kind)
        for m in (0, 1, 3):
            yield take_rows_case(m, 20, kind, sparse=m == 3)
    for amount in (0.0, 1.0):
        yield take_rows_case(4, 40, "masking", amount)
    yield take_rows_case(200, 300, "masking", large=True)


# -- ColumnNorms and Contraction.


def column_norms_case(k, n, large=False):
    def run(inputs, precision):
        return {"norms": _core.column_norms(panels(inputs["w"]), n)}

    def reference(inputs, precision):
        norms = (inputs["w"].astype(np.float64) ** 2).sum(axis=0)
        return {"norms": (norms, (sum_bound(k, precision) + 2 * roundoff(precision)) * norms)}

    def make(rng, dtype):
        return {"w": rng.standard_normal((k, n)).astype(dtype)}

    return Case("ColumnNorms", f"{k}x{n}", make, run, reference, EXACT, large)


def contraction_case(m, n, activation, large=False):
    def make(rng, dtype):
        h = FORWARD[activation](rng.standard_normal((m, n)))
        return {"h": h.astype(dtype), "norms": rng.uniform(0.5, 2, n).astype(dtype)}

    def run(inputs, precision):
        value, by_h, by_norms = _core.contraction(inputs["h"], inputs["norms"], activation, 0.25)
        return {"value": value, "by_h": by_h, "by_norms": by_norms}

    def reference(inputs, precision):
        u = roundoff(precision)
        h, c = inputs["h"].astype(np.float64), inputs["norms"].astype(np.float64)
        a = SLOPE[activation](h)
        bend = CURVATURE.get(activation, np.zeros_like)(h)
        squares = a * a
        return {
            "value": (squares @ c, (sum_bound(n, precision) + 16 * u) * (np.ones_like(h) @ c)),
            "by_h": (0.5 * a * bend * c, 16 * u * (1 + np.abs(bend)) * c + TINY),
            "by_norms": (
                0.25 * squares.sum(axis=0),
                np.full(n, (sum_bound(m, precision) + 16 * u) * m + TINY),
            ),
        }

    return Case("Contraction", f"{m}x{n}-{activation}", make, run, reference, EXACT, large)


def penalty_cases():
    for k in (0, 1, 33):
        for n in (1, 15, 16, 17, 32, 33, 65):
            yield column_norms_case(k, n)
    yield column_norms_case(301, 203, large=True)
    for activation in ACTIVATIONS:
        yield contraction_case(9, 37, activation)
    for m, n in [(0, 3), (1, 1), (3, 16), (3, 31), (2, 64), (5, 65)]:
        yield contraction_case(m, n, "sigmoid")
    yield contraction_case(150, 203, "tanh", large=True)


CASES = [
    *dense_cases(),
    *gate_cases(),
    *gradient_cases(),
    *optimise_cases(),
    *likelihood_cases(),
    *latent_cases(),
    *take_rows_cases(),
    *penalty_cases(),
]
assert len({str(c) for c in CASES}) == len(CASES), "two cases have the same name"

"""Cases of csrc/kernels/contrast and csrc/kernels/exchange: an update beside its products."""

import numpy as np
from cases import Case, roundoff, sum_bound, uniforms

from unsupfast import _core

EXACT = ("float32", "float64")  # no bfloat16 form


def exact(inputs):
    return {name: np.asarray(x, np.float64) for name, x in inputs.items()}


def near(value, u, size=None):
    """A value and some roundings of what it was computed from."""
    return value, 16 * u * (np.abs(value) + (0 if size is None else size)) + 1e-300


def gradient_case(V, H, *, precision=False, options=None):
    def make(rng, dtype):
        draw = {"dv": V, "dh": H, "visible_offset": V, "hidden_offset": H, "hidden_mean": H}
        inputs = {name: rng.standard_normal(n).astype(dtype) for name, n in draw.items()}
        if precision:
            inputs["precision"] = np.exp(rng.standard_normal(V)).astype(dtype)
        return inputs

    def run(inputs, _):
        given = {"precision": None, **inputs}
        if options is None:
            given["hidden_mean"] = None
        return _core.contrast_gradient(**given, total=12.5, **(options or {}))

    def reference(inputs, name):
        x, u, total = exact(inputs), roundoff(name), 12.5
        o = {"decay": 0.0, "target": -1.0, "cost": 0.0, "centred": False, **(options or {})}
        p = x.get("precision", np.ones(V))
        scale, dh, q = p / total, x["dh"] / total, x["hidden_offset"]
        shift, right = np.zeros(V), np.zeros(H)
        push = np.zeros(H)
        if options is not None:
            q = o["decay"] * q + (1 - o["decay"]) * x["hidden_mean"]
            push = o["cost"] * (o["target"] - q) * (o["target"] >= 0)
            shift, right = p * x["visible_offset"], dh * o["centred"] - push
        size = np.abs(push) + np.abs(dh) + np.abs(x["hidden_offset"]) + np.abs(x["hidden_mean"]) + 1
        return {
            "dv": near(x["dv"] * scale, u),
            "dh": near(dh + push, u, size),
            "row_scale": near(scale, u),
            "hidden_offset": near(q, u, size),
            "offset_shift": near(shift, u),
            "rank_right": near(right, u, size),
        }

    name = f"{V}x{H}" + "-precision" * precision + "".join(f"-{k}" for k in options or ())
    return Case("ContrastGradient", name, make, run, reference, EXACT)


def momentum_case(sizes, momentum, bound=np.inf):
    def make(rng, dtype):
        return {f"{x}{i}": rng.standard_normal(n).astype(dtype)
                for i, n in enumerate(sizes) for x in "pvg"}  # fmt: skip

    def run(inputs, _):
        tensors = [tuple(inputs[f"{x}{i}"].copy() for x in "pvg") for i in range(len(sizes))]
        assert _core.momentum_step(tensors, 0.05, momentum, -bound, bound)
        return {f"{x}{i}": t[j] for i, t in enumerate(tensors) for j, x in enumerate("pv")}

    def reference(inputs, name):
        x, u, out = exact(inputs), roundoff(name), {}
        for i in range(len(sizes)):
            v = momentum * x[f"v{i}"] + 0.05 * x[f"g{i}"]
            size = np.abs(x[f"v{i}"]) + np.abs(x[f"g{i}"]) + np.abs(x[f"p{i}"])
            out[f"p{i}"] = near(np.clip(x[f"p{i}"] + v, -bound, bound), u, size)
            out[f"v{i}"] = near(v, u, size)
        return out

    name = "+".join(map(str, sizes)) + f"-{momentum}" + f"-within{bound}" * (bound < np.inf)
    return Case("MomentumStep", name, make, run, reference, EXACT)


def variance_gradient_case(rows, n, begin, end):
    def make(rng, dtype):
        shapes = {"x": (rows, n), "bias": n, "contrast": rows, "row_scale": n, "row_dot": n}
        return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}

    def run(inputs, _):
        return {"dz": _core.variance_gradient(**inputs, begin=begin, end=end)}

    def reference(inputs, name):
        x = exact(inputs)
        terms = x["contrast"][:, None] * (x["x"] - x["bias"]) ** 2
        dz = x["row_scale"] * (terms.sum(axis=0) / 2 - x["row_dot"])
        size = np.abs(x["row_scale"]) * (np.abs(terms).sum(axis=0) + np.abs(x["row_dot"]))
        inside = (np.arange(n) >= begin) & (np.arange(n) < end)
        bound = (sum_bound(rows, name) + 8 * roundoff(name)) * size
        return {"dz": (np.where(inside, dz, 0), np.where(inside, bound, 0))}

    return Case("VarianceGradient", f"{rows}x{n}-{begin}-{end}", make, run, reference, EXACT)


def variances_case(n):
    def make(rng, dtype):
        return {"z": (3 * rng.standard_normal(n)).astype(dtype)}

    def run(inputs, _):
        precision, sigma = _core.variances(inputs["z"])
        return {"precision": precision, "sigma": sigma}

    def reference(inputs, name):
        z, u = np.asarray(inputs["z"], np.float64), roundoff(name)
        return {"precision": near(np.exp(-z), u), "sigma": near(np.exp(z / 2), u)}

    return Case("Variances", str(n), make, run, reference, EXACT)


def shape_gradient_case(rows, n, begin, end):
    def make(rng, dtype):
        shape = np.stack([rng.standard_normal(n), rng.uniform(-0.9, 0.9, n)])
        return {
            "states": rng.standard_normal((rows, n)).astype(dtype),
            "contrast": rng.standard_normal(rows).astype(dtype),
            "shape": shape.astype(dtype),
        }

    def run(inputs, _):
        return {"g": _core.shape_gradient(**inputs, scale=0.25, begin=begin, end=end)}

    def reference(inputs, name):
        x = exact(inputs)
        y, c = x["states"], x["contrast"][:, None]
        side = np.where(y < 0, -1.0, 1.0)
        terms = np.stack([-c * side * y, c * side * y**2 / (2 * (1 + side * x["shape"][1]) ** 2)])
        inside = (np.arange(n) >= begin) & (np.arange(n) < end)
        bound = (sum_bound(rows, name) + 64 * roundoff(name)) * np.abs(terms).sum(axis=1)
        return {"g": (0.25 * terms.sum(axis=1) * inside, 0.25 * bound * inside)}

    return Case("ShapeGradient", f"{rows}x{n}-{begin}-{end}", make, run, reference, EXACT)


def weigh_case(rows, n, sign, factor, bits=False):
    def make(rng, dtype):
        shapes = {"states": (rows, n), "log_z": rows, "shift": n}
        drawn = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
        return {**drawn, "states": drawn["states"] > 0} if bits else drawn

    def run(inputs, _):
        return {"log_weight": _core.weigh_annealed(**inputs, sign=sign, factor=factor)}

    def reference(inputs, name):
        x = exact(inputs)
        size = np.abs(x["log_z"]) + np.abs(factor) * np.abs(x["states"]) @ np.abs(x["shift"])
        value = sign * x["log_z"] + factor * (x["states"] @ x["shift"])
        return {"log_weight": (value, (n + 4) * 2.0**-52 * size)}

    return Case(
        "WeighAnnealed", f"{rows}x{n}-{sign}-{factor}" + "-bits" * bits, make, run, reference, EXACT
    )


def selective_case(rows, n, target, cost, ties=False):
    def make(rng, dtype):
        drawn = rng.integers(0, 3, (rows, n)) / 2 if ties else rng.random((rows, n))
        return {"activities": drawn.astype(dtype)}

    def run(inputs, _):
        return {"activities": _core.selective_targets(**inputs, target=target, cost=cost)}

    def reference(inputs, name):
        h = exact(inputs)["activities"]
        in_row = h.argsort(axis=1, kind="stable").argsort(axis=1)
        in_column = in_row.argsort(axis=0, kind="stable").argsort(axis=0)
        exponent = 1 / target - 1
        share = (in_column + 0.5) / max(rows, 1)
        value = (1 - cost) * h + cost * share**exponent
        # the logarithm's rounding is multiplied by the exponent
        bound = 8 * roundoff(name) * (np.abs(h) + share**exponent * (2 + exponent * -np.log(share)))
        return {"activities": (value, bound + 1e-37)}

    name = f"{rows}x{n}-{target}-{cost}" + "-ties" * ties
    return Case("SelectiveTargets", name, make, run, reference, EXACT)


def exchange_case(levels, chains, n, first):
    seed, step = 12345678901, 7

    def make(rng, dtype):
        rows = levels * chains
        return {
            "states": rng.random((rows, n)) < 0.5,
            "beside": rng.standard_normal((rows, 2 * n + 1)).astype(dtype),
            "log_ratio": rng.standard_normal(rows),
        }

    def run(inputs, _):
        drawn = _core.exchange_states(**inputs, levels=levels, first=first, seed=seed, step=step)
        return dict(zip(("states", "beside", "tally"), drawn, strict=True))

    def reference(inputs, _):
        ratio = inputs["log_ratio"].reshape(levels, chains)
        u = uniforms(chains, levels, seed, step, 0).T
        order, tally = np.arange(levels * chains).reshape(levels, chains), np.zeros((levels, 2))
        for t in range(first, levels - 1, 2):
            accepted = u[t] < np.exp(ratio[t] - ratio[t + 1])
            order[t : t + 2, accepted] = order[t : t + 2, accepted][::-1]
            tally[t] = accepted.sum(), chains
        order = order.ravel()
        return {
            "states": (inputs["states"][order].astype(np.float64), 0),
            "beside": (inputs["beside"][order].astype(np.float64), 0),
            "tally": (tally, 0),
        }

    return Case("ExchangeStates", f"{levels}x{chains}x{n}-{first}", make, run, reference, EXACT)


def contrast_cases():
    for levels, chains, n in ((1, 3, 5), (2, 1, 1), (3, 5, 33), (4, 7, 64), (9, 40, 100)):
        yield exchange_case(levels, chains, n, 0)
        yield exchange_case(levels, chains, n, 1)
    for rows, n in ((1, 1), (0, 5), (1, 33), (17, 1), (15, 16), (33, 65), (130, 300)):
        yield selective_case(rows, n, 0.1, 0.25)
        yield selective_case(rows, n, 0.5, 1.0, ties=True)
    for V, H in ((1, 1), (33, 7), (5, 130), (300, 200)):
        yield gradient_case(V, H)
        yield gradient_case(V, H, precision=True)
        yield gradient_case(V, H, precision=True, options={"decay": 0.75, "centred": True})
        sparse = {"decay": 0.5, "target": 0.125, "cost": 0.25}
        yield gradient_case(V, H, options=sparse)
        yield gradient_case(V, H, options={**sparse, "centred": True})
    for sizes in ((1,), (33, 0, 5), (300, 7, 129, 1, 2, 3, 4, 5)):
        yield momentum_case(sizes, 0.0)
        yield momentum_case(sizes, 0.875)
        yield momentum_case(sizes, 0.5, bound=0.25)
    for rows, n, begin, end in ((1, 1, 0, 1), (0, 5, 0, 5), (17, 33, 0, 33), (130, 40, 7, 35)):
        yield variance_gradient_case(rows, n, begin, end)
        yield shape_gradient_case(rows, n, begin, end)
    for n in (0, 1, 130):
        yield variances_case(n)
    for rows, n in ((1, 1), (0, 4), (7, 33), (130, 300)):
        yield weigh_case(rows, n, 1.0, 0.25)
        yield weigh_case(rows, n, 1.0, -0.5, bits=True)
        yield weigh_case(rows, n, -1.0, 0.0)


CASES = list(contrast_cases())

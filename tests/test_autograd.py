"""The tape: gradients to second order of every operation, sharing, memory, and hand-over."""

import gc
import weakref

import numpy as np
import pytest

from unsupfast import nn, ops, optim
from unsupfast.autograd import Op, Tensor, check_grads, grad

ACTIVATIONS = ops.ACTIVATIONS


def rng():
    return np.random.default_rng(3)


def normal(*shape):
    return rng().standard_normal(shape)


def positive(*shape):
    return rng().uniform(0.5, 2, shape)


def dense(activation, turned, n):
    k = 5
    w = np.random.default_rng(1).standard_normal((n, k) if turned else (k, n))
    inside = ops.to_panels(np.ones_like(w))  # directions stay off the padding, which is zero

    def function(x, panels, b):
        panels = ops.mul(panels, inside)
        return ops.dense(x, panels, b, n=n, activation=activation, turned=turned)

    return function, [normal(7, k), ops.to_panels(w), normal(n)]


def contraction(activation):
    layer, inputs = dense(activation, False, 40)
    inside = ops.to_panels(np.ones((5, 40)))

    def function(x, panels, b):
        norms = ops.column_norms(ops.mul(panels, inside), n=40)
        return ops.contraction(layer(x, panels, b), norms, activation=activation, scale=0.3)

    return function, inputs


def curve(function):
    """`function`, bent: a linear one has no second derivatives."""
    return lambda *xs: ops.square(function(*xs))


targets = rng().dirichlet(np.ones(4), 6)
AWAY = np.array([[-2.0, -0.7, 0.4], [1.3, 0.9, -1.1]])  # from the corner at 0
LOSSES = ("squared", "bernoulli", "continuous_bernoulli", "categorical")

CASES = {
    "add": (ops.add, [normal(3, 4), normal(4)]),
    "sub": (ops.sub, [normal(3, 1), normal(3, 4)]),
    "mul": (ops.mul, [normal(3, 4), normal(1, 4)]),
    "div": (ops.div, [normal(3, 4), positive(4)]),
    "neg": (ops.neg, [normal(3)]),
    "maximum": (curve(ops.maximum), [AWAY, np.array([0.1, 0.2, 0.3])]),
    "minimum": (curve(ops.minimum), [AWAY, np.array([0.1, 0.2, 0.3])]),
    "abs": (curve(ops.abs), [AWAY]),
    "relu": (curve(ops.relu), [AWAY]),
    "square": (ops.square, [normal(3, 2)]),
    "reciprocal": (ops.reciprocal, [positive(3, 2)]),
    **{
        f"power-{exponent}": (
            lambda a, exponent=exponent: ops.power(a, exponent=exponent),
            [positive(3)],
        )
        for exponent in (3, 2, 1, -1, 0.5, 1.7)
    },
    **{
        f"continuous_cumulant-{order}-{scale}": (
            lambda a, order=order: ops.continuous_cumulant(a, order=order),
            [scale * normal(4, 3)],
        )
        for order in (1, 2)
        for scale in (1e-3, 1, 6)
    },
    "exp": (ops.exp, [normal(3, 2)]),
    "log": (ops.log, [positive(3, 2)]),
    "sqrt": (ops.sqrt, [positive(3, 2)]),
    "tanh": (ops.tanh, [normal(3, 2)]),
    "sigmoid": (ops.sigmoid, [normal(3, 2)]),
    "softplus": (ops.softplus, [normal(3, 2)]),
    "where": (
        lambda a, b: ops.where(ops.mul(a, a), b, condition=np.eye(3) > 0),
        [normal(3, 3), normal(3, 1)],
    ),
    "max": (curve(lambda a: ops.max(a, axis=1)), [AWAY]),
    "max-all": (curve(lambda a: ops.max(a, keepdims=True)), [AWAY]),
    "logsumexp": (lambda a: ops.logsumexp(a, axis=1), [normal(3, 4)]),
    "logsumexp-all": (ops.logsumexp, [normal(3, 4)]),
    "sum-two": (curve(lambda a: ops.sum(a, axis=(0, -1), keepdims=True)), [normal(2, 3, 4)]),
    "sum": (lambda a: ops.power(ops.sum(a, axis=1), exponent=2), [normal(3, 4)]),
    "expand": (
        lambda a: ops.power(ops.expand(a, shape=(3, 4), axis=0), exponent=2),
        [normal(4)],
    ),
    "mean": (lambda a: ops.exp(ops.mean(a, axis=0)), [normal(3, 4)]),
    "mean-all": (lambda a: ops.exp(ops.mean(a)), [normal(3, 4)]),
    "dropout": (curve(lambda a: ops.dropout(a, rate=0.4, seed=1)), [normal(5, 40)]),
    "reshape": (lambda a: ops.exp(ops.reshape(a, shape=(4, 3))), [normal(3, 4)]),
    "transpose": (lambda a: ops.exp(ops.transpose(a)), [normal(3, 4)]),
    "columns": (lambda a: ops.exp(ops.columns(a, start=1, stop=3)), [normal(3, 4)]),
    "pad_columns": (lambda a: ops.exp(ops.pad_columns(a, start=1, width=7)), [normal(3, 4)]),
    **{
        f"matmul-{ta}-{tb}": (
            lambda a, b, ta=ta, tb=tb: ops.matmul(a, b, ta=ta, tb=tb),
            [normal(*((5, 3) if ta else (3, 5))), normal(*((4, 5) if tb else (5, 4)))],
        )
        for ta in (False, True)
        for tb in (False, True)
    },
    **{f"dense-{a}-{t}": dense(a, t, 40) for a in ACTIVATIONS for t in (False, True)},
    "outer": (lambda x, g: ops.outer(x, g), [normal(6, 5), normal(6, 40)]),
    **{
        f"gate-{a}": (
            lambda g, z, a=a: ops.gate(g, _activated(z, a), activation=a),
            [normal(4, 5), normal(4, 5)],
        )
        for a in ("sigmoid", "tanh", "softplus")
    },
    **{
        f"row_losses-{kind}": (
            lambda z, kind=kind: ops.row_losses(z, targets, kind=kind),
            [normal(6, 4)],
        )
        for kind in LOSSES
    },
    "row_losses-repeat": (
        lambda z: ops.row_losses(z, targets, kind="bernoulli", repeat=2),
        [normal(12, 4)],
    ),
    **{
        f"loss-{kind}": (
            lambda z, kind=kind: ops.loss(z, targets, kind=kind, scale=0.7),
            [normal(6, 4)],
        )
        for kind in LOSSES
    },
    "latent": (lambda h: ops.latent(h, samples=3, seed=5)[::2], [normal(5, 6)]),
    "column_norms": (lambda w: ops.column_norms(w, n=64), [normal(2, 5, 32)]),
    **{f"contraction-{a}": contraction(a) for a in ACTIVATIONS},
}


def _activated(z, activation):
    return getattr(ops, activation)(z)


@pytest.mark.parametrize("name", CASES)
def test_gradients_to_second_order(name):
    function, inputs = CASES[name]
    check_grads(function, inputs, order=2)


def test_every_operation_is_checked():
    """Every Op that ops.py holds has a case of its name (up to a dash), checked to second order."""
    named = {name for name, value in vars(ops).items() if isinstance(value, Op)}
    covered = {
        name.split("-")[0].replace("loss", "_loss", name.startswith("loss")) for name in CASES
    }
    assert len(named) > 30
    assert named <= covered, named - covered


def test_names_are_those_of_the_operations():
    for name, value in vars(ops).items():
        if isinstance(value, Op) and not name.startswith("_"):
            assert value.__name__ == name and value.__doc__, name


def test_continuous_bernoulli_near_one_half():
    """Where lambda is 1/2, the logit 0, value and derivatives have their limits."""
    z = np.array([-1e-9, 0.0, 1e-12, 1e-5, -1e-4])
    for dtype, tolerance in ((np.float64, 1e-14), (np.float32, 1e-7)):
        series = (0.5 + z / 12 - z**3 / 720, 1 / 12 - z**2 / 240, -z / 120)
        for order, expected in enumerate(series, start=1):
            got = ops.continuous_cumulant(z.astype(dtype), order=order)
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)
    with pytest.raises(ValueError, match="order is 5"):
        ops.continuous_cumulant(z, order=5)


def test_relu_and_maximum_at_corners():
    x = Tensor(np.array([-1.0, 0.0, 2.0]), requires_grad=True)
    np.testing.assert_array_equal(grad(ops.relu(x), [x])[0], [0, 0, 1])
    np.testing.assert_array_equal(grad(ops.max(ops.mul(x, 0.0)), [x])[0], 0)
    top = Tensor(np.array([3.0, 1.0, 3.0]), requires_grad=True)
    np.testing.assert_array_equal(grad(ops.max(top), [top])[0], [0.5, 0, 0.5])


def test_operands_as_numpy_takes_them():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    for b in (2, 2.5, True, np.float32(3), np.float64(3), np.int32(2), np.arange(3), [1, 2, 3],
              np.arange(3.0), np.arange(3, dtype=">f4"), np.array(4.0, np.float32)):  # fmt: skip
        for ours, theirs in ((ops.add, np.add), (ops.mul, np.multiply), (ops.sub, np.subtract)):
            for got, expected in ((ours(a, b), theirs(a, b)), (ours(b, a), theirs(b, a))):
                assert got.dtype == expected.dtype and got.dtype.isnative, b
                np.testing.assert_array_equal(got, expected)
    assert ops.exp(2).dtype == np.float64 and ops.exp(2).shape == ()
    packed = np.zeros(4, [("flag", "i1"), ("x", "<f8")])["x"]  # neither aligned nor contiguous
    np.testing.assert_array_equal(ops.add(packed, 1.0), np.ones(4))
    assert ops.sum(np.array([True, True, False])) == 2
    np.testing.assert_array_equal(ops.where(1.0, a, condition=[True, False, True])[0], [1, 1, 1])
    for bad, match in ((1j, "complex128"), (np.ones(2, np.float16), "float16")):
        with pytest.raises(TypeError, match=f"{match}; expected float32 or float64"):
            ops.add(bad, bad)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2,\), which do not broadcast"):
        ops.add(a, a[:, 0])
    with pytest.raises(ValueError, match="axis is 2; the array has 2 axes"):
        ops.sum(a, axis=2)
    with pytest.raises(ValueError, match="max of no elements"):
        ops.max(a[:0])


def test_results_lie_as_their_operands_do():
    a = np.asfortranarray(normal(4, 6))
    assert ops.exp(a).flags.f_contiguous and ops.add(a, 1.0).flags.f_contiguous
    assert ops.add(a, np.ones(6)).flags.f_contiguous
    assert ops.sum(np.asfortranarray(normal(3, 4, 5)), axis=1).flags.f_contiguous


def test_sums_of_float32_are_accurate():
    x = np.full(3_000_000, 0.1, np.float32)
    exact = np.sum(x, dtype=np.float64)
    assert abs(float(ops.sum(x)) / exact - 1) < 1e-6
    columns = ops.sum(x.reshape(-1, 3), axis=0)
    np.testing.assert_allclose(columns, exact / 3, rtol=2e-6)
    x[7], x[-1] = np.inf, 1
    assert ops.sum(x) == np.inf and ops.sum(x.reshape(-1, 3), axis=0)[1] == np.inf
    x[9] = np.nan
    assert np.isnan(ops.sum(x)) and np.isnan(ops.max(x))


def test_dropout_keeps_the_mean_and_names_its_numbers(threads):
    x = np.ones((400, 300), np.float32)
    options = {"rate": 0.3, "seed": 5, "step": 2, "stream": 1}
    y = ops.dropout(x, **options)
    kept = (y != 0).mean()
    assert abs(kept - 0.7) < 5 * np.sqrt(0.3 * 0.7 / x.size)
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)
    leaf = Tensor(x, requires_grad=True)
    (g,) = grad(ops.sum(ops.dropout(leaf, **options)), [leaf])
    np.testing.assert_array_equal(g, y)  # the same units
    for count in (1, 2, 3):
        threads(count)
        np.testing.assert_array_equal(ops.dropout(x, **options), y)
    for other in ({"seed": 6}, {"step": 3}, {"stream": 2}):
        assert ((ops.dropout(x, **{**options, **other}) != 0) != (y != 0)).mean() > 0.3
    np.testing.assert_array_equal(ops.dropout(x, rate=0.0), x)
    with pytest.raises(ValueError, match="rate is 1"):
        ops.dropout(x, rate=1.0)
    with pytest.raises(ValueError, match="rate is -1"):
        nn.Dropout(-1)


def test_check_grads_finds_wrong_rules():
    wrong = Op(lambda a: np.sin(a))
    wrong.rule(lambda g, y, a: (ops.mul(g, y),))
    with pytest.raises(AssertionError, match="order 1, input 0"):
        check_grads(wrong, [normal(3)])
    half = Op(lambda a: np.square(a))
    half.rule(lambda g, y, a: (ops.mul(g, ops.mul(a.data if isinstance(a, Tensor) else a, 2.0)),))
    with pytest.raises(AssertionError, match="order 2"):
        check_grads(half, [normal(3)])


def test_arithmetic_of_tensors_and_arrays():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = (3 - x) * x / 2 + np.array([1.0, 1.0]) - (-x) ** 2
    (g,) = grad(y, [x])
    np.testing.assert_allclose(g, 1.5 - x.data - 2 * x.data)
    assert isinstance(np.ones(2) * x, Tensor)
    np.testing.assert_array_equal((x.reshape(1, 2) @ np.eye(2)).data, [[1, 2]])


def test_unused_inputs_have_zero_gradients():
    a, b = (Tensor(normal(2), requires_grad=True) for _ in range(2))
    ga, gb = grad(ops.sum(a), [a, b])
    np.testing.assert_array_equal(ga, 1)
    np.testing.assert_array_equal(gb, 0)
    with pytest.raises(ValueError, match=r"xs\[1\]"):
        grad(ops.sum(a), [a, Tensor(normal(2))])


def test_gradients_by_intermediate_results_and_many_uses():
    x = Tensor(normal(3), requires_grad=True)
    y = ops.exp(x)
    z = ops.sum(ops.mul(y, y) + y + y)
    gy, gx = grad(z, [y, x])
    np.testing.assert_allclose(gy, 2 * y.data + 2)
    np.testing.assert_allclose(gx, gy * y.data)


def test_nothing_is_recorded_without_need_and_nothing_is_kept():
    assert isinstance(ops.exp(normal(3)), np.ndarray)
    x = Tensor(normal(3))
    assert not ops.exp(x).requires_grad
    gc.disable()
    try:
        leaf = Tensor(normal(1000), requires_grad=True)
        middle = ops.exp(leaf)
        loss = ops.sum(ops.mul(middle, middle))
        seen = weakref.ref(middle.data)
        grad(loss, [leaf], create_graph=True)
        del middle, loss
        assert seen() is None  # by reference counts alone
    finally:
        gc.enable()


def test_tensors_share_memory_and_speak_dlpack():
    a = np.arange(4.0)
    t = Tensor(a)
    assert t.data is a and np.asarray(t) is a
    assert np.shares_memory(np.from_dlpack(t), a)
    torch = pytest.importorskip("torch")
    shared = Tensor(torch.from_numpy(a))
    shared.data[0] = 7
    assert a[0] == 7
    with pytest.raises(TypeError, match="no array"):
        Tensor(object())


# ------------------------------------------------------------------------------------- networks


def network(tied=False, dtype=np.float64):
    generator = np.random.default_rng(0)
    first = nn.Dense(9, 40, "tanh", rng=generator, dtype=dtype)
    second = nn.TiedDense(first) if tied else nn.Dense(40, 9, rng=generator, dtype=dtype)
    return nn.Sequential([first, second])


def test_layers_take_gradients_and_rows_in_any_order():
    net, x = network(), np.random.default_rng(1).standard_normal((6, 9))
    weights = np.random.default_rng(2).standard_normal((6, 9))

    def gradients(rows, order):
        y = net(rows)
        shaped = np.array(weights, order=order)
        return grad(ops.sum(ops.mul(y, shaped)), net.parameters())

    expected = gradients(x, "C")
    for rows, order in ((np.asfortranarray(x), "F"), (np.repeat(x, 2, axis=0)[::2], "C")):
        for a, b in zip(gradients(rows, order), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    ones = grad(ops.sum(net(x)), net.parameters())  # whose gradient is one number, repeated
    again = grad(ops.sum(ops.mul(net(x), np.ones((6, 9)))), net.parameters())
    for a, b in zip(ones, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("penalty", [None, "contractive", "square"])
def test_steps_fused_with_gradients_are_the_steps(penalty, tied, rule):
    def penalised(net, x):
        first = net.layers[0]
        code = first(x)
        loss = ops.loss(net.layers[1](code), x, kind="squared")
        if penalty == "contractive":
            norms = ops.column_norms(first.panels, n=40)
            loss = loss + ops.contraction(code, norms, activation="tanh", scale=0.1)
        elif penalty == "square":
            loss = loss + ops.sum(first.panels * first.panels) * 0.1
        return loss

    x = normal(20, 9)
    results = []
    for fused in (False, True):
        net = network(tied)
        parameters = net.parameters()
        optimizer = optim.make_optimizer(rule, weight_decay=0.1)
        for _ in range(3):
            loss = penalised(net, x)
            descent = optimizer.begin(parameters, 0.01)
            if fused:
                grad(loss, parameters, consumer=descent)
            else:
                for i, g in enumerate(grad(loss, parameters)):
                    descent(i, g)
            assert descent.finish()
        results.append([p.data for p in parameters])
    assert len(results[0]) == (3 if tied else 4)
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_of_a_tied_network():
    net, x = network(tied=True), normal(6, 9)
    inside = ops.to_panels(np.ones((9, 40)))
    layer, decoder = net.layers

    def function(panels, b, c):
        panels = ops.mul(panels, inside)
        h = ops.dense(x, panels, b, n=40, activation="tanh")
        return ops.loss(ops.dense(h, panels, c, n=9, turned=True), x, kind="squared")

    check_grads(function, [layer.panels.data, layer.bias.data, decoder.bias.data])


def test_a_non_finite_step_is_noticed():
    net = network()
    parameters = net.parameters()
    descent = optim.SGD().begin(parameters, 1.0)
    for i, p in enumerate(parameters):
        descent(i, np.full_like(p.data, np.nan if i == 1 else 0))
    assert not descent.finish()


def test_panels_hold_the_matrix():
    for k, n in [(0, 1), (1, 1), (3, 32), (5, 33), (7, 100)]:
        w = normal(k, n)
        panels = ops.to_panels(w)
        assert panels.shape == (-(-n // 32), k, 32)
        np.testing.assert_array_equal(ops.from_panels(panels, n), w)


def test_schedules():
    assert [optim.StepDecay(1.0, every=2).rate(i, {}) for i in range(4)] == [1, 1, 0.1, 0.1]
    cosine = optim.Cosine(2.0, epochs=10)
    assert cosine.rate(0, {}) == 2 and abs(cosine.rate(5, {}) - 1) < 1e-12
    assert abs(cosine.rate(10, {})) < 1e-12
    assert [optim.Schedule(1.0, warmup=3).rate(i, {}) for i in range(4)] == [0.25, 0.5, 0.75, 1]
    plateau = optim.Plateau(1.0, patience=2)
    assert plateau.rate(4, {"loss": [3, 2, 2, 2]}) == 0.5
    assert plateau.rate(4, {"loss": [4, 3, 2, 1]}) == 1

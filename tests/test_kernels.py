"""Every operation on every instruction set against the float64 references of cases.py."""

import os
import subprocess
import sys

import numpy as np
import pytest
from cases import (
    BIT_PRECISIONS,
    LAYOUTS,
    PRECISIONS,
    compare,
    csr,
    dtype_of,
    lay_out,
    operand,
    prepared,
    product_bound,
    thinned,
)
from cases import CASES as ENGINE_CASES
from class_cases import CASES as CLASS_CASES
from contrast_cases import CASES as CONTRAST_CASES
from conv_cases import CASES as CONV_CASES
from elementwise_cases import CASES as ELEMENTWISE_CASES
from network_cases import CASES as NETWORK_CASES
from unit_cases import CASES as UNIT_CASES

from unsupfast import _core

CASES = [
    *ENGINE_CASES,
    *CLASS_CASES,
    *CONTRAST_CASES,
    *CONV_CASES,
    *ELEMENTWISE_CASES,
    *NETWORK_CASES,
    *UNIT_CASES,
]

pytestmark = pytest.mark.kernels

EXACT = ("float32", "float64")  # formats whose sums do not depend on skipped zeros
OPS = sorted(_core.catalogue())
# Of the CPU's kernels these have the plain loops alone: they are nothing beside the products around
# them, or are made of other operations.
PLAIN = {
    "ClassShares", "ContrastGradient", "ExchangeStates", "GibbsChain", "MomentumStep",
    "ShapeGradient", "Tally", "UnpackBits", "Variances", "WeighAnnealed",
}  # fmt: skip


def bits(x):
    return np.ascontiguousarray(x).tobytes()


def flat(result):
    """Everything an operation returned, as bytes."""
    return {name: bits(value) for name, value in result.items()}


# ---------------------------------------------------------------------- the list is complete


@pytest.mark.parametrize("op", OPS)
def test_every_operation_has_kernels_and_cases(op):
    backends = _core.catalogue()[op]
    assert {"ref"} | ({"base"} if op not in PLAIN else set()) <= set(backends)
    if _core.build_facts()["cuda_built"]:
        assert "cuda" in backends
    assert any(case.op == op for case in CASES)


def test_every_case_is_of_an_operation():
    assert {case.op for case in CASES} == set(OPS)


# ---------------------------------------------------------------------- against the reference


@pytest.mark.parametrize("precision", BIT_PRECISIONS)
@pytest.mark.parametrize("op", OPS)
def test_reference(op, precision, isa):
    cases = [case for case in CASES if case.op == op and precision in case.precisions]
    if not cases:
        pytest.skip(f"{op} has no {precision} form")
    failures = []
    for case in cases:
        try:
            compare(case, precision)
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, f"{len(failures)} of {len(cases)} cases:\n" + "\n".join(failures[:5])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_samples_are_almost_never_too_close_to_call(precision):
    """The tolerance of Bernoulli samples leaves out |u - p| within rounding: that must be rare."""
    (case,) = (c for c in CASES if c.op == "HalfStep" and c.large and "gaussian" not in c.name)
    _, expected = prepared(case, precision)
    undecided = expected["sample"][1]
    assert undecided.size > 30_000
    assert undecided.mean() < 1e-3


# ---------------------------------------------------------------------- layouts


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
def test_transposed_operands(transpose_a, transpose_b, precision, isa):
    rng = np.random.default_rng(1)
    for density in (1, 0.1):
        for m, n, k in [(1, 1, 1), (17, 33, 45), (29, 64, 16), (0, 3, 2), (3, 0, 2), (3, 2, 0)]:
            a = thinned(rng, (m, k), dtype_of(precision), density)
            b = rng.standard_normal((k, n)).astype(a.dtype)
            expected = _core.matmul(a, b, precision)
            exact_a, exact_b = operand(a, precision), operand(b, precision)
            bound = product_bound(exact_a, exact_b, precision)
            assert np.all(np.abs(expected - exact_a @ exact_b) <= bound)
            for left in LAYOUTS:
                for right in LAYOUTS:
                    got = _core.matmul(
                        lay_out(a.T if transpose_a else a, left),
                        lay_out(b.T if transpose_b else b, right),
                        precision,
                        transpose_a,
                        transpose_b,
                    )
                    assert bits(got) == bits(expected), (m, n, k, density, left, right)


@pytest.mark.parametrize("precision", EXACT)
def test_sparse_rows_give_the_bits_of_dense_rows(precision, isa):
    rng = np.random.default_rng(2)
    for density in (0, 0.05, 0.13, 0.5, 1):
        for m, n, k in [(1, 1, 1), (29, 65, 133), (43, 33, 400)]:
            a = thinned(rng, (m, k), dtype_of(precision), density)
            a[: m // 2] = a[: m // 2] != 0
            b = rng.standard_normal((k, n)).astype(a.dtype)
            assert bits(_core.matmul(csr(a), b, precision)) == bits(_core.matmul(a, b, precision))


def test_stored_zeros_and_empty_rows_of_csr(isa):
    b = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    indptr = np.array([0, 0, 3, 3, 4, 4])
    indices = np.array([0, 2, 3, 1], np.int32)
    values = np.array([2, 0, -1, 5], np.float32)
    expected = np.zeros((5, 3), np.float32)
    expected[1] = 2 * b[0] - b[3]
    expected[3] = 5 * b[1]
    np.testing.assert_array_equal(_core.matmul((indptr, indices, values, (5, 4)), b), expected)


# ---------------------------------------------------------------------- skipping zeros


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
@pytest.mark.parametrize("density", [0, 0.05, 0.13, 0.5, 1])
@pytest.mark.parametrize("precision", EXACT)
def test_skipping_zeros_changes_no_bit(density, precision, layout, isa):
    """Against the same sums with ones times zeros at their end, which leave no zeros to skip."""
    rng = np.random.default_rng(3)
    m, n, k, more = 43, 67, 401, 2000
    a = thinned(rng, (m, k), dtype_of(precision), density)
    a[:20] = a[:20] != 0  # sampled units
    a[:, 7] = 0  # for the proof below
    b = rng.standard_normal((k, n)).astype(a.dtype)

    def alone():
        return _core.matmul(lay_out(a, layout), b, precision)

    def filled():
        ones, zeros = np.ones((m, more), a.dtype), np.zeros((more, n), a.dtype)
        return _core.matmul(lay_out(np.hstack([a, ones]), layout), np.vstack([b, zeros]), precision)

    assert bits(alone()) == bits(filled())

    # The proof that the two took different ways: 0 * Inf is NaN only where it is computed.
    b[7] = np.inf
    assert np.isnan(filled()).all()
    if density <= 0.13 and isa != "ref":
        assert np.isfinite(alone()).all()


# ---------------------------------------------------------------------- threads


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("op", [op for op in OPS if op != "PeakLoop"])
def test_the_number_of_threads_changes_no_bit(op, precision, isa, threads):
    if isa == "ref":
        pytest.skip("reference kernels run on one thread")
    cases = [case for case in CASES if case.op == op and precision in case.precisions]
    if not cases:
        pytest.skip(f"{op} has no {precision} form")
    for case in [c for c in cases if c.large] + cases[:: max(1, len(cases) // 15)]:
        inputs, _ = prepared(case, precision)
        threads(1)
        expected = flat(case.run(inputs, precision))
        for count in (2, 3, 8):
            threads(count)
            assert flat(case.run(inputs, precision)) == expected, (str(case), count)


# ---------------------------------------------------------------------- NaN and infinity


@pytest.mark.parametrize("density", [0.1, 1])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_nan_and_infinity_in_the_left_operand(precision, density, isa):
    rng = np.random.default_rng(4)
    a = thinned(rng, (30, 70), dtype_of(precision), density)
    b = rng.standard_normal((70, 40)).astype(a.dtype)
    clean = _core.matmul(a, b, precision)
    for column in (0, 1, 33, 69):
        for row in (0, 13, 29):
            for bad in (np.nan, np.inf, -np.inf):
                x = a.copy()
                x[row, column] = bad
                for left in (x, np.asfortranarray(x), csr(x)):
                    got = _core.matmul(left, b, precision)
                    if np.isnan(bad):
                        assert np.isnan(got[row]).all()
                    else:
                        np.testing.assert_array_equal(got[row], bad * np.sign(b[column]))
                    # what the others lose or gain is rounding: their tile may have changed its kind
                    np.testing.assert_allclose(
                        np.delete(got, row, 0), np.delete(clean, row, 0), rtol=1e-5, atol=1e-5
                    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_nan_and_infinity_in_the_right_operand(precision, isa):
    rng = np.random.default_rng(5)
    a = rng.standard_normal((30, 70)).astype(dtype_of(precision))
    b = rng.standard_normal((70, 40)).astype(a.dtype)
    clean = _core.matmul(a, b, precision)
    for row, column in [(0, 0), (69, 39), (31, 32), (68, 31)]:
        for bad in (np.nan, np.inf, -np.inf):
            x = b.copy()
            x[row, column] = bad
            got = _core.matmul(a, x, precision)
            np.testing.assert_array_equal(got[:, column], bad * np.sign(a[:, row]))
            assert bits(np.delete(got, column, 1)) == bits(np.delete(clean, column, 1))


@pytest.mark.parametrize("dtype", EXACT)
def test_nan_reaches_means_sums_and_weights(dtype, isa):
    rng = np.random.default_rng(6)
    states = rng.standard_normal((9, 20)).astype(dtype)
    weights = rng.standard_normal((20, 35)).astype(dtype)
    bias = np.zeros(35, dtype)
    states[4, 3] = np.nan
    out = _core.half_step(states, weights, bias, precision=dtype)
    np.testing.assert_array_equal(np.isnan(out["mean"]).all(axis=1), np.arange(9) == 4)
    np.testing.assert_array_equal(np.isnan(out["log_partition"]), np.arange(9) == 4)

    assert np.array_equal(np.isnan(_core.column_sum(states)), np.arange(20) == 3)

    hidden = rng.standard_normal((9, 35)).astype(dtype)
    out = _core.weight_update(
        states.T, hidden, weights, None, np.ones(9, dtype), rate=0.1, precision=dtype
    )
    np.testing.assert_array_equal(np.isnan(out["weights"]).all(axis=1), np.arange(20) == 3)
    assert np.isfinite(np.delete(out["weights"], 3, 0)).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_training_notices_weights_that_are_not_finite(precision, isa):
    visibles, hiddens = 37, 65
    dtype = dtype_of(precision)
    x = np.ones((2, visibles), dtype)
    options = _core.TrainOptions()
    options.persistent = False
    options.learning_rate = 1e-3
    for place in [None, (0, 0), (64, 36), (32, 31), (31, 32)]:
        for bad in (np.nan, np.inf, -np.inf):
            weights = np.full((hiddens, visibles), 0.01, dtype)
            if place:
                weights[place] = bad
            machine = _core.Rbm(
                [("bernoulli", visibles, 1)], [("bernoulli", hiddens, 1)], str(dtype), precision
            )
            machine.set_parameters(weights, np.zeros(visibles, dtype), np.zeros(hiddens, dtype))
            stopped = machine.train(x, np.arange(2), None, options)
            assert stopped == ((0, "weights") if place else None), (place, bad)


# ---------------------------------------------------------------------- other faces


@pytest.mark.parametrize("precision", PRECISIONS)
def test_packed_operands_give_the_same_bits(precision, isa):
    rng = np.random.default_rng(7)
    dtype = dtype_of(precision)
    weights = rng.standard_normal((45, 67)).astype(dtype) / 7
    packed = _core.PackedProduct(weights, precision)
    for density in (0.1, 1):
        a = thinned(rng, (29, 45), dtype, density)
        out = np.full((29, 67), np.nan, dtype)
        packed.multiply(a, out)
        assert bits(out) == bits(_core.matmul(a, weights, precision))
        packed.half_step(a, out, 11)
        bias = np.zeros(67, dtype)
        assert bits(out) == bits(
            _core.half_step(a, weights, bias, seed=11, precision=precision)["sample"]
        )


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_half_step_of_part_of_a_batch(precision, gaussian, isa):
    """A row's result is the same in any batch, once first_row says which row it is."""
    rng = np.random.default_rng(8)
    dtype = dtype_of(precision)
    states = rng.standard_normal((45, 30)).astype(dtype)
    weights = rng.standard_normal((30, 67)).astype(dtype)
    bias = rng.standard_normal(67).astype(dtype)
    options = {"seed": 5, "step": 6, "stream": 7, "ratio": 0.5, "precision": precision}
    if gaussian:
        options["sigma"] = np.ones(67, dtype)
    whole = _core.half_step(states, weights, bias, first_row=100, **options)
    for begin, end in [(0, 1), (0, 14), (13, 29), (44, 45), (20, 45)]:
        part = _core.half_step(states[begin:end], weights, bias, first_row=100 + begin, **options)
        for name, value in part.items():
            assert bits(value) == bits(whole[name][begin:end]), (name, begin, end)


def test_strides_that_are_no_multiple_of_the_element(isa):
    records = np.zeros((9, 7), [("x", np.float32), ("y", np.int16)])
    records["x"] = np.arange(63).reshape(9, 7)
    b = np.ones((7, 3), np.float32)
    try:
        got = _core.matmul(records["x"], b)
    except ValueError:
        return
    np.testing.assert_array_equal(got, records["x"] @ b)


def test_arguments_that_do_not_fit_are_refused():
    a, b = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    with pytest.raises(ValueError, match="inner sizes are 4 and 5"):
        _core.matmul(a, b, transpose_b=True)
    with pytest.raises(ValueError, match="two dimensions"):
        _core.matmul(a[0], b)
    with pytest.raises(TypeError, match="float32 or float64"):
        _core.matmul(a.astype(np.int32), b)
    with pytest.raises(TypeError, match="differ in dtype"):
        _core.matmul(a, b.astype(np.float64))
    with pytest.raises(ValueError, match="needs float32 data"):
        _core.matmul(a.astype(np.float64), b.astype(np.float64), "bfloat16")
    with pytest.raises(ValueError, match="precision is 'float16'"):
        _core.matmul(a, b, "float16")
    with pytest.raises(ValueError, match="bias has shape"):
        _core.half_step(a, b, np.zeros(4, np.float32))


@pytest.mark.parametrize(
    "broken",
    [
        {"indices": [0, 4]},  # a column that is not there
        {"indices": [-1, 0]},
        {"indices": [2, 1], "indptr": [0, 2, 2]},  # not sorted
        {"indices": [1, 1], "indptr": [0, 2, 2]},  # twice
        {"indptr": [0, 3, 2]},
        {"indptr": [1, 1, 2]},
        {"indptr": [0, 1]},  # too few rows
    ],
)
def test_broken_csr_is_refused(broken):
    parts = {"indptr": [0, 1, 2], "indices": [0, 3]} | broken
    left = (
        np.array(parts["indptr"]),
        np.array(parts["indices"], np.int32),
        np.ones(2, np.float32),
        (2, 4),
    )
    with pytest.raises(ValueError, match="CSR"):
        _core.matmul(left, np.ones((4, 5), np.float32))


# ---------------------------------------------------------------------- instruction sets


def test_unknown_instruction_sets_are_refused():
    before = _core.get_isa()
    with pytest.raises(ValueError, match="unknown instruction set 'sse9'"):
        _core.set_isa("sse9")
    with pytest.raises(ValueError, match="unknown instruction set 'cuda'"):
        _core.set_isa("cuda")
    assert _core.get_isa() == before


@pytest.mark.parametrize("name", _core.available_isas())
def test_the_environment_selects_the_instruction_set(name):
    # the extension alone: importing the whole package takes longer than the test needs
    code = (
        "import importlib.util as u, sys; "
        "spec = u.spec_from_file_location('_core', sys.argv[1]); "
        "core = u.module_from_spec(spec); spec.loader.exec_module(core); "
        "print(core.get_isa())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, _core.__file__],
        env={**os.environ, "UNSUPFAST_ISA": name},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert out.stdout.strip() == name, out.stderr

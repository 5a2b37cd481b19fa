"""Random numbers: the published generator, the counter layout of csrc/philox.h, uniformity."""

import numpy as np
import pytest
from cases import philox4x32, uniforms
from scipy import stats

from unsupfast import _core

pytestmark = pytest.mark.kernels

FULL = 0xFFFFFFFF
# kat_vectors of Random123: counter, key, result
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_known_answers_of_the_reference(counter, key, result):
    assert tuple(int(w) for w in philox4x32(counter, key)) == result


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_known_answers_of_the_kernels(counter, key, result, isa):
    """Counter word 0 is the block of units: known answers with a block small enough to reach."""
    block, row, step, stream = counter
    if block > 1000:
        block = 5  # the published block is 2^29 units away; the reference stands in
        result = [int(w) for w in philox4x32((block, row, step, stream), key)]
    first = block // 8 * 32 + block % 8
    u = _core.uniforms(1, first + 25, key[0] | key[1] << 32, step, stream, row)[0]
    words = u[[first + 8 * w for w in range(4)]] * 2**24
    assert [int(w) for w in words] == [r >> 8 for r in result]


def test_every_instruction_set_draws_the_same(isa):
    rng = np.random.default_rng(1)
    for rows, cols in [(1, 1), (3, 31), (7, 32), (5, 33), (64, 100), (33, 784)]:
        for _ in range(5):
            seed = int(rng.integers(0, 2**64, dtype=np.uint64))
            step, stream, first_row = (int(v) for v in rng.integers(0, 2**32, 3))
            got = _core.uniforms(rows, cols, seed, step, stream, first_row)
            assert got.dtype == np.float32
            expected = uniforms(rows, cols, seed, step, stream, first_row)
            assert got.tobytes() == expected.tobytes(), (rows, cols, seed, step, stream, first_row)


def test_a_row_draws_the_same_in_any_batch(isa):
    whole = _core.uniforms(50, 77, 9, 8, 7, 1000)
    for begin, end in [(0, 1), (0, 13), (13, 50), (49, 50), (1, 4)]:
        part = _core.uniforms(end - begin, 77, 9, 8, 7, 1000 + begin)
        np.testing.assert_array_equal(part, whole[begin:end])
    # nor does the number of units of a layer matter
    np.testing.assert_array_equal(_core.uniforms(50, 40, 9, 8, 7, 1000), whole[:, :40])


def test_the_half_step_draws_these_numbers(isa):
    """With weights of zero and a bias of logit(p), a sample is [u < p]."""
    rows, cols, p = 37, 100, 0.3
    bias = np.full(cols, np.log(p / (1 - p)), np.float32)
    out = _core.half_step(
        np.ones((rows, 4), np.float32), np.zeros((4, cols), np.float32), bias,
        seed=2**40 + 1, step=2, stream=3, first_row=4,
    )  # fmt: skip
    expected = _core.uniforms(rows, cols, 2**40 + 1, 2, 3, 4) < out["mean"]
    np.testing.assert_array_equal(out["sample"], expected)
    assert 0 < out["sample"].mean() < 1


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_given_uniforms_are_compared_as_float64(isa, precision):
    rows, cols = 37, 100
    rng = np.random.default_rng(0)
    operands = (np.ones((rows, 2), precision), np.zeros((2, cols), precision))
    bias = rng.standard_normal(cols).astype(precision)
    mean = _core.half_step(*operands, bias, precision=precision)["mean"].astype(np.float64)
    edge = np.where(rng.random(mean.shape) < 0.5, mean, np.nextafter(mean, 0))
    out = _core.half_step(*operands, bias, precision=precision, uniforms=edge)
    np.testing.assert_array_equal(out["sample"], edge < mean)
    np.testing.assert_array_equal(out["bits"], edge < mean)
    # a unit that is surely on, or off, is that for the uniform nearest to saying otherwise
    for x, expected in ((100, 1), (-1000, 0)):
        last = np.full(mean.shape, 1 - 2.0**-53 if expected else 2.0**-53)
        out = _core.half_step(
            *operands, np.full(cols, x, precision), precision=precision, uniforms=last
        )
        np.testing.assert_array_equal(out["sample"], expected)


def test_given_uniforms_are_checked():
    a, b, bias = np.ones((3, 2), np.float32), np.ones((2, 4), np.float32), np.ones(4, np.float32)
    with pytest.raises(ValueError, match=r"uniforms has shape \(4, 3\)"):
        _core.half_step(a, b, bias, uniforms=np.zeros((4, 3)))
    with pytest.raises(TypeError, match="uniforms"):
        _core.half_step(a, b, bias, uniforms=np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match="Bernoulli"):
        _core.half_step(a, b, bias, sigma=bias, uniforms=np.zeros((3, 4)))


def test_range_and_resolution():
    u = _core.uniforms(2000, 1000, 3)
    assert u.min() >= 0 and u.max() < 1
    np.testing.assert_array_equal(u * 2**24 % 1, 0)
    assert u.min() < 1e-5 and u.max() > 1 - 1e-5
    assert (u * 2**24 % 2).mean() == pytest.approx(0.5, abs=0.002)  # the lowest bit is used


def test_any_part_of_the_counter_gives_other_numbers():
    base = {"seed": 1, "step": 2, "stream": 3, "first_row": 4}
    draws = [_core.uniforms(20, 50, **base)]
    for name in base:
        draws.append(_core.uniforms(20, 50, **base | {name: base[name] + 100}))
    draws.append(_core.uniforms(20, 50, **base | {"seed": 1 + 2**32}))
    flat = np.array([d.ravel() for d in draws])
    for i in range(len(flat)):
        for j in range(i):
            assert (flat[i] == flat[j]).mean() < 0.01
    assert np.abs(np.corrcoef(flat) - np.eye(len(flat))).max() < 0.17  # 5 sigma


@pytest.mark.parametrize(
    "arrange",
    [
        lambda u: u,
        lambda u: u[:, 0],  # one unit over many rows
        lambda u: u[:1000, 32:64],  # one panel
    ],
    ids=["all", "one unit", "one panel"],
)
def test_uniform(arrange):
    counts = np.histogram(arrange(_core.uniforms(20_000, 128, 7)), 64, (0, 1))[0]
    assert 1e-4 < stats.chisquare(counts).pvalue < 1 - 1e-4


@pytest.mark.parametrize(
    "pairs",
    [
        lambda u: (u[:, :-1], u[:, 1:]),  # neighbouring units
        lambda u: (u[:-1], u[1:]),  # neighbouring rows
        lambda u: (u[:, :8], u[:, 8:16]),  # words of one block
        lambda u: (u, _core.uniforms(*u.shape, 7, 1)),  # neighbouring steps
        lambda u: (u, _core.uniforms(*u.shape, 7, 0, 1)),  # streams
        lambda u: (u, _core.uniforms(*u.shape, 8)),  # seeds
    ],
    ids=["units", "rows", "words", "steps", "streams", "seeds"],
)
def test_pairs_are_independent(pairs):
    x, y = (v.ravel() for v in pairs(_core.uniforms(4000, 128, 7)))
    counts = np.histogram2d(x, y, 16, ((0, 1), (0, 1)))[0]
    assert 1e-4 < stats.chisquare(counts.ravel()).pvalue < 1 - 1e-4

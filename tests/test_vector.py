"""The elementary functions keep the error bounds stated in csrc/simd/vmath.h."""

import numpy as np
import pytest
from cases import ELEMENTARY, elementary, vector_error

from unsupfast import _core

pytestmark = pytest.mark.kernels

DTYPES = (np.float32, np.float64)
LARGEST = float(np.finfo(np.float32).max)


def points(function, dtype, count=40_001):
    """An even grid over the domain, another one around the difficult places, and the ends."""
    low, high = ELEMENTARY[function].domain
    if function == "probit":
        ends = np.arange(3000)
        k = np.concatenate([ends, np.arange(0, 2**24, 401), 2**24 - 1 - ends])
        return (np.unique(k) * 2.0**-24).astype(dtype)
    if function == "log":
        grid = [np.exp(np.linspace(-87.3, 88.7, count)), np.linspace(0.5, 2.5, count), [1.0]]
    else:
        grid = [np.linspace(max(low, -87.3), min(high, 88.3), count), np.linspace(-1, 1, count)]
        small = np.exp(np.linspace(-80, 0, 1001))
        grid += [small, -small, [0.0, low, high]]
    x = np.concatenate(grid).astype(dtype)
    return np.unique(np.clip(x, dtype(low), dtype(high)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ELEMENTARY)
def test_error_bound(function, dtype, isa):
    x = points(function, dtype)
    y, exact, bound = vector_error(function, x)
    assert y.dtype == dtype
    ratio = np.abs(y - exact) / bound
    worst = int(np.argmax(np.where(np.isnan(ratio), np.inf, ratio)))
    assert ratio[worst] <= 1, (x[worst], y[worst], exact[worst], float(ratio[worst]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ELEMENTARY)
def test_monotone(function, dtype, isa):
    """Rising, up to the error bound; strictly where steps are larger than it."""
    y, exact, bound = vector_error(function, points(function, dtype))
    rise, allowed = np.diff(y.astype(np.longdouble)), bound[1:] + bound[:-1]
    assert (rise >= -allowed).all()
    clear = np.diff(exact) > allowed
    assert clear.sum() > 1000
    assert (rise[clear] > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ELEMENTARY)
def test_every_lane_and_every_tail(function, dtype, isa):
    """A value's result does not depend on where in the array it stands."""
    x = points(function, dtype)[::601][:67].copy()
    whole = elementary(function, x)
    alone = np.concatenate([elementary(function, x[i : i + 1]) for i in range(len(x))])
    assert whole.tobytes() == alone.tobytes()
    for n in range(35):
        assert elementary(function, x[:n]).tobytes() == whole[:n].tobytes()
    assert elementary(function, x[::-1].copy()).tobytes() == whole[::-1].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["exp", "sigmoid", "softplus"])
def test_nan_stays_nan(function, dtype, isa):
    x = np.zeros(19, dtype)
    x[[0, 5, 17]] = np.nan
    word = np.uint32 if dtype == np.float32 else np.uint64
    x.view(word)[17] |= word(0x1FF)  # another of the NaNs
    np.testing.assert_array_equal(np.isnan(elementary(function, x)), np.isnan(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_outside_its_range(dtype, isa):
    x = np.array([88.3, 89, 1e4, LARGEST, np.inf, -87.3, -88, -1e4, -LARGEST, -np.inf], dtype)
    y = _core.exp(x)
    with np.errstate(over="ignore", under="ignore"):
        np.testing.assert_allclose(y, np.exp(x), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_outside_its_range(dtype, isa):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([0, -0.0, -1, np.inf, -np.inf, np.nan, tiny, 1000 * tiny], dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_allclose(_core.log(x), np.log(x), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_is_a_probability(dtype, isa):
    big = np.array([17, 88, 100, 800, 1e4, LARGEST, np.inf], dtype)
    up, down = _core.sigmoid(big), _core.sigmoid(-big)
    assert (up <= 1).all() and (up[1:] == 1).all()
    assert (down >= 0).all() and (down[2:] < 2e-38).all()
    assert _core.sigmoid(np.zeros(1, dtype))[0] == 0.5
    x = points("sigmoid", dtype)
    y, z = _core.sigmoid(x), _core.sigmoid(-x)
    assert ((y >= 0) & (y <= 1)).all()
    np.testing.assert_allclose(y + z, 1, atol=2e-7 if dtype == np.float32 else 4e-16)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softplus_does_not_overflow(dtype, isa):
    big = np.array([89, 800, 1e4, LARGEST, np.inf], dtype)
    np.testing.assert_array_equal(_core.softplus(big), big)
    tail = _core.softplus(-big)
    assert ((tail >= 0) & (tail < 1.3e-38)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_of_powers_of_two(dtype, isa):
    n = np.arange(-126, 128)
    y = _core.log(np.ldexp(1.0, n).astype(dtype))
    assert y[126] == 0
    np.testing.assert_allclose(y, n * np.log(2), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_probit_is_bounded_and_odd(dtype, isa):
    """The quantiles of the first and the last interval of 2^-24 are the largest: +-5.42."""
    k = np.unique(np.concatenate([np.arange(2000), np.arange(0, 2**24, 4001)]))
    low = _core.probit((k * 2.0**-24).astype(dtype))
    high = _core.probit(((2**24 - 1 - k) * 2.0**-24).astype(dtype))
    assert (np.abs(low) < 5.43).all() and (np.abs(high) < 5.43).all()
    tolerance = np.where(np.abs(low) > 5, 2e-3, 8e-6)
    assert (np.abs(low + high) <= tolerance).all()

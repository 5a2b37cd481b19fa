"""Input of a GPU that travels while it computes."""

import numpy as np
import pytest
from on_gpu import GPU, NO_GPU

from unsupfast import _core

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.kernels,
    pytest.mark.skipif(not GPU, reason=NO_GPU or "no GPU"),
]

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_values_arrive(dtype):
    feed = _core.Feed(0)
    # growing, shrinking, and empty in either slot
    shapes = [(0, 3), (3, 4), (), (5,), (1000, 70), (0,), (0, 2), (7, 1), (2000, 70), (2, 3, 4)]
    for shape in shapes:
        x = RNG.integers(0, 100, shape).astype(dtype)
        y = feed.put(x)
        assert (y.shape, y.dtype, y.gpu) == (shape, dtype, 0)
        np.testing.assert_array_equal(y.numpy(), x)


def test_other_layouts_come_in_c_order():
    x = RNG.random((40, 30))
    feed = _core.Feed(0)
    for view in (x.T, x[::2, 1::3], x[::-1]):
        np.testing.assert_array_equal(feed.put(view).numpy(), view)


def test_what_no_gpu_takes_is_refused():
    feed = _core.Feed(0)
    for x in (np.array(["a"]), np.zeros(2, complex), np.zeros(2, ">f4")):
        with pytest.raises(ValueError, match="expected plain numbers"):
            feed.put(x)
    with pytest.raises(RuntimeError, match="no GPU 63"):
        _core.Feed(63)


def test_the_source_may_change_and_the_gpu_lag_behind():
    feed, x = _core.Feed(0), np.empty((300, 1000))
    total, expected = _core.gpu_zeros(x.shape, x.dtype), np.zeros_like(x)
    for i in range(50):
        x[...] = i
        total = total + feed.put(x)
        expected += x
    np.testing.assert_array_equal(total.numpy(), expected)


def test_later_arrays_overwrite_earlier_ones():
    feed = _core.Feed(0)
    first, _, third = (feed.put(np.full(5000, float(i))) for i in range(3))
    np.testing.assert_array_equal(third.numpy(), 2.0)
    assert (first.numpy() != 0).all()


def test_the_last_array_outlives_its_feed():
    x = RNG.random(5000)
    y = _core.Feed(0).put(x)
    np.testing.assert_array_equal(y.numpy(), x)


def test_graphs_refuse_it():
    feed = _core.Feed(0)
    graph = _core.Graph(0)
    with pytest.raises(RuntimeError, match="can't be recorded"):
        feed.put(np.zeros(3))
    graph.finish()

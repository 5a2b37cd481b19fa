"""The thread pool: its size, its neighbours, and what survives a fork."""

import multiprocessing
import os
import threading

import numpy as np
import pytest

import unsupfast
from unsupfast import _core

TIMEOUT = 120


def product(seed=0):
    """A product large enough for every thread to get a share."""
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal((300, 300)).astype(np.float32) for _ in range(2))
    return _core.matmul(a, b)


def test_number_of_threads(threads):
    for count in (1, 3, 2):
        threads(count)
        assert _core.get_num_threads() == count == unsupfast.get_num_threads()
        assert np.isfinite(product()).all()
    for every in (0, -1):
        threads(every)
        assert _core.get_num_threads() == len(os.sched_getaffinity(0))


def test_threadpoolctl_sees_and_limits_the_threads(threads):
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def seen():
        return [
            pool["num_threads"]
            for pool in threadpoolctl.threadpool_info()
            if pool["user_api"] == "unsupfast"
        ]

    threads(3)
    assert seen() == [3]
    expected = product()
    with threadpoolctl.threadpool_limits(1, user_api="unsupfast"):
        assert _core.get_num_threads() == 1
        assert seen() == [1]
        np.testing.assert_array_equal(product(), expected)
    assert _core.get_num_threads() == 3
    with threadpoolctl.threadpool_limits(2):  # every library at once
        assert _core.get_num_threads() == 2
    assert seen() == [3]


def test_threads_start_and_stop_with_the_number(threads):
    def running():
        return len(os.listdir("/proc/self/task"))

    threads(1)
    product()
    threads(2)
    product()
    two = running()
    threads(6)
    product()
    assert running() == two + 4
    threads(2)
    product()
    assert running() == two


def _answer(pipe):
    first = product()
    _core.set_num_threads(2)
    pipe.send((first, product(), _core.get_num_threads()))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the fork under test
def test_a_forked_child_computes(threads):
    threads(3)
    expected = product()  # the parent's pool is running
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=_answer, args=(send,))
        child.start()
        try:
            assert receive.poll(TIMEOUT), "the child hangs"
            first, second, count = receive.recv()
            child.join(TIMEOUT)
            assert child.exitcode == 0
        finally:
            child.kill()
        np.testing.assert_array_equal(first, expected)
        np.testing.assert_array_equal(second, expected)
        assert count == 2
    np.testing.assert_array_equal(product(), expected)  # the parent's pool still is
    assert _core.get_num_threads() == 3


def test_joblib_workers_compute(threads):
    joblib = pytest.importorskip("joblib")
    threads(2)
    results = joblib.Parallel(n_jobs=2, backend="loky", timeout=TIMEOUT)(
        joblib.delayed(product)(seed) for seed in range(4)
    )
    for seed, result in enumerate(results):
        np.testing.assert_array_equal(result, product(seed))


def test_two_python_threads_at_once(threads):
    threads(3)
    rounds, expected = 40, [product(0), product(1)]
    equal = [0, 0]
    start = threading.Barrier(2)

    def work(i):
        start.wait(TIMEOUT)
        for _ in range(rounds):
            equal[i] += np.array_equal(product(i), expected[i])

    workers = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(2)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(TIMEOUT)
    assert not any(w.is_alive() for w in workers), "a thread hangs"
    assert equal == [rounds, rounds]

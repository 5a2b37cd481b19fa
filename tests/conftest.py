"""Fixtures that every test file may use."""

import os
import signal
from pathlib import Path

import pytest

from unsupfast import _core


@pytest.fixture(params=_core.available_isas())
def isa(request):
    """Every instruction set this build and processor can run, one after the other."""
    before = _core.get_isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)


@pytest.fixture
def threads():
    """A function that sets the number of threads; the number from before returns afterwards."""
    before = _core.get_num_threads()
    yield _core.set_num_threads
    _core.set_num_threads(before)


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, in the processes that a test starts as well: the shell's jobs in the
    background are started deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data sets, named by UNSUPFAST_DATA."""
    name = os.environ.get("UNSUPFAST_DATA")
    if not name:
        pytest.skip("UNSUPFAST_DATA is not set: no real data sets here")
    path = Path(name)
    if not path.is_dir():
        pytest.skip(f"UNSUPFAST_DATA={name} is not a folder")
    return path

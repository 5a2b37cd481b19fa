"""Every operation on a GPU against the float64 references of the case lists."""

import cases
import class_cases
import contrast_cases
import conv_cases
import elementwise_cases
import network_cases
import numpy as np
import pytest
import unit_cases
from on_gpu import CHAINS, GPU, NO_GPU, OnGpu

from unsupfast import _core

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.kernels,
    pytest.mark.skipif(not GPU, reason=NO_GPU or "no GPU"),
]

MODULES = (
    cases, class_cases, contrast_cases, conv_cases, elementwise_cases, network_cases, unit_cases
)  # fmt: skip
CASES = [case for module in MODULES for case in module.CASES]
OPS = sorted(op for op in _core.catalogue() if op != "PeakLoop")
BATCH = 60  # cases a test


@pytest.fixture(autouse=True)
def on_gpu(monkeypatch):
    for module in MODULES:
        monkeypatch.setattr(module, "_core", OnGpu())


def batches():
    for op in OPS:
        for precision in cases.BIT_PRECISIONS:
            own = [case for case in CASES if case.op == op and precision in case.precisions]
            if op == "GibbsChain" and (precision == "float64" or not CHAINS):
                continue
            for first in range(0, len(own), BATCH):
                part = own[first : first + BATCH]
                yield pytest.param(part, precision, id=f"{op}-{precision}-{first // BATCH}")


@pytest.mark.parametrize("part, precision", list(batches()))
def test_reference(part, precision):
    failures = []
    for case in part:
        for module in MODULES:
            module._core.known.clear()
        try:
            cases.compare(case, precision)
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, f"{len(failures)} of {len(part)} cases:\n" + "\n".join(failures[:5])


def large_cases():
    """Products of enough tiles for the larger ones: of 64 rows, of 128, and Hopper's."""
    draw = {"seed": 3, "step": 5, "stream": 1}
    for m, n, k in [(1100, 700, 70), (2000, 1600, 70)]:
        for layout in ("C", "bits"):
            binary = layout == "bits"
            yield cases.gemm_case(m, n, k, 0.5, layout, binary=m * binary)
            for field in (False, True):
                yield cases.half_step_case(
                    m, n, k, layout=layout, binary=binary, draw=draw, field=field, gaussian=binary
                )
            yield cases.weight_update_case(m, n, k, layout=layout, binary=binary, velocity=True)
        yield network_cases.dense_case(m, n, k, "tanh")
        yield network_cases.dense_case(m, n, k, "relu", turned=True)
        yield network_cases.gradient_case(k, n, m, "sigmoid")
        yield network_cases.gradient_case(k, n, m, stepped="adam")


@pytest.mark.slow
@pytest.mark.parametrize("precision", cases.BIT_PRECISIONS)
@pytest.mark.parametrize("case", list(large_cases()), ids=str)
def test_large_tiles(case, precision):
    if precision not in case.precisions:
        pytest.skip(f"{case.op} has no {precision} form")
    cases.compare(case, precision)


@pytest.mark.parametrize("precision", cases.PRECISIONS)
@pytest.mark.parametrize("op", OPS)
def test_two_runs_give_the_same_bits(op, precision):
    own = [case for case in CASES if case.op == op and precision in case.precisions]
    if not own or (op == "GibbsChain" and (precision == "float64" or not CHAINS)):
        pytest.skip(f"{op} has no {precision} form here")
    for case in [c for c in own if c.large] + own[:: max(1, len(own) // 10)]:
        inputs, _ = cases.prepared(case, precision)
        first = {name: np.asarray(y).tobytes() for name, y in case.run(inputs, precision).items()}
        again = {name: np.asarray(y).tobytes() for name, y in case.run(inputs, precision).items()}
        assert first == again, str(case)

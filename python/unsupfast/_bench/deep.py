"""Updates of a deep Boltzmann machine of two hidden layers, as this package and PyTorch do them.

The same work for both: ten sweeps of mean field for every row, five Gibbs steps of as many
persistent chains, and a step along the difference, without centring, momentum or decay. The mean
activities of the lowest hidden layer stand for its last states.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .gpu import import_torch, recorded, synchronised
from .harness import Contender
from .peers import RBMProblem

__all__ = ["contenders", "flops"]

TOP, SWEEPS, STEPS = 1000, 10, 5
ALL_SWEEPS = -1.0  # a tolerance that no row comes to rest within


def flops(visible: int, hidden: int) -> float:
    """Multiplications and additions in the products of an update, for each row."""
    low = 1 + 2 * STEPS + 2  # fields of the data, half-steps, gradient
    high = 2 * SWEEPS + 2 * STEPS + 2
    return 2.0 * hidden * (low * visible + high * TOP)


def contenders(
    problem: RBMProblem, threads: int, compiled: bool, device: str = "cpu"
) -> Iterator[Contender]:
    """This package in float32 and bfloat16, and PyTorch in both, eager and compiled."""
    rows = len(problem.X)
    work = rows * flops(*problem.W.shape)
    shorts = (("bfloat16", "bf16"), ("float32", "f32"))
    for precision, short in shorts:
        name = f"unsupfast {short}"
        setup = functools.partial(_ours, problem, precision, device)
        yield Contender(name, name, setup, rows, work, precision=precision, ours=True)
    for precision, short in shorts:
        for compile_it in (False, True)[: 1 + compiled]:
            yield Contender(
                f"PyTorch {'compile' if compile_it else 'eager'} {short}",
                f"PyTorch {short}",
                functools.partial(_torch, problem, precision, compile_it, threads, device),
                rows,
                work,
                precision=precision,
            )


def _start(problem: RBMProblem) -> tuple[np.ndarray, np.ndarray]:
    """Weights up to the top, and its biases: units that are on half of the time."""
    weights = np.random.default_rng(0).normal(0, 0.05, (problem.W.shape[1], TOP))
    return weights.astype(np.float32), np.zeros(TOP, np.float32)


def _ours(problem: RBMProblem, precision: str, device: str) -> Callable[[], Any]:
    import unsupfast as uf

    hidden, batch = problem.W.shape[1], problem.batch
    model = uf.DBM((hidden, TOP), k=STEPS, centering=False, precision=precision, device=device)
    model.set_params(learning_rate=problem.learning_rate, batch_size=batch, random_state=0)
    model.partial_fit(problem.X[:batch])
    above, bias = _start(problem)
    model.components_ = [np.ascontiguousarray(problem.W.T), np.ascontiguousarray(above.T)]
    model.intercepts_ = [problem.b.copy(), problem.c.copy(), bias]
    core, order = model._load_core(), np.arange(len(problem.X))
    rows = model._rows(model._resident(problem.X))
    options = model._options(0, batch)
    call = functools.partial(core.train, rows, order, None, options, ALL_SWEEPS, SWEEPS)
    return call if core.gpu < 0 else synchronised(call)


def _torch(
    problem: RBMProblem, precision: str, compiled: bool, threads: int, device: str
) -> Callable[[], None]:
    torch = import_torch()
    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    batch, rate = problem.batch, problem.learning_rate
    above, top_bias = _start(problem)
    W, U, a, b, c = (
        torch.from_numpy(x).to(device)
        for x in (problem.W.copy(), above, problem.b.copy(), problem.c.copy(), top_bias)
    )
    X = torch.from_numpy(problem.X).to(device, dtype)
    chain = torch.zeros(batch, problem.W.shape[1], dtype=dtype, device=device)
    sigmoid = torch.sigmoid

    def draw(p: Any) -> Any:
        return (torch.rand_like(p) < p).to(dtype)

    def step(v: Any, h: Any) -> tuple[Any, ...]:
        W_, U_ = W.to(dtype), U.to(dtype)
        below = torch.addmm(b, v, W_) if dtype == torch.float32 else (v @ W_).float() + b
        low = sigmoid(2 * below - b).to(dtype)  # b + 2 v W
        high = sigmoid((low @ U_).float() + c).to(dtype)
        for sweep in range(SWEEPS):
            if sweep:
                high = sigmoid((low @ U_).float() + c).to(dtype)
            low = sigmoid(below + (high @ U_.t()).float()).to(dtype)
        for _ in range(STEPS):
            x = draw(sigmoid((h @ W_.t()).float() + a))
            t = draw(sigmoid((h @ U_).float() + c))
            p = sigmoid((x @ W_ + t @ U_.t()).float() + b)
            h = draw(p)
        p = p.to(dtype)
        both = torch.cat([low, -p])
        dW = torch.cat([v, x]).t() @ both
        dU = torch.cat([low, p]).t() @ torch.cat([high, -t])
        da, dc = v.float().sum(0) - x.float().sum(0), high.float().sum(0) - t.float().sum(0)
        return h, dW.float(), dU.float(), da, both.float().sum(0), dc

    if compiled:
        torch._dynamo.reset()
        step = torch.compile(step, dynamic=False)

    def call() -> None:
        with torch.no_grad():
            h = chain
            for first in range(0, len(X), batch):
                h, *gradients = step(X[first : first + batch], h)
                for parameter, gradient in zip((W, U, a, b, c), gradients, strict=True):
                    parameter.add_(gradient, alpha=rate / batch)
            chain.copy_(h)

    return call if device == "cpu" else recorded(torch, call)

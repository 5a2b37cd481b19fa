"""Greedy pre-training of a deep belief network as a whole, beside PyTorch and JAX.

The work is the same for all: layer by layer, five passes of CD-1 over the rows, from fresh
parameters in every call. A layer above the lowest is trained on the mean activities of the one
below, computed once, or on states drawn from those of all layers below, anew in every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .gpu import import_torch
from .harness import BENCH_HINT, Contender
from .peers import RBMProblem, _JaxCD, _TorchCD

__all__ = ["WIDTHS", "flops", "jax_contenders", "layers", "ours_contenders", "torch_contenders"]

WIDTHS = (500, 500, 2000)
EPOCHS = 5  # of a layer; in practice more, so that what lies between layers counts less


def layers(X: np.ndarray, batch: int, learning_rate: float) -> list[RBMProblem]:
    """The tasks of the layers; rows of the upper ones are activities of machines below at random.

    Those rows are for what trains the layers by themselves; the others make their own.
    """
    generator = np.random.default_rng(0)
    rows = X[: len(X) // batch * batch]
    made = []
    for width in WIDTHS:
        W = generator.normal(0, 0.01, (rows.shape[1], width)).astype(np.float32)
        zeros = np.zeros(rows.shape[1], np.float32), np.zeros(width, np.float32)
        made.append(RBMProblem(np.ascontiguousarray(rows), W, *zeros, batch, 1, learning_rate))
        rows = 1 / (1 + np.exp(-(rows @ W)))
    return made


def flops(tasks: Sequence[RBMProblem], states: bool) -> float:
    """Floating-point operations of all layers, and of the products between them."""
    ups = [2.0 * p.X.shape[0] * p.W.size for p in tasks[:-1]]
    between = EPOCHS * sum(sum(ups[:i]) for i in range(len(tasks))) if states else sum(ups)
    return EPOCHS * sum(p.flops for p in tasks) + between


def _contender(
    tasks: Sequence[RBMProblem], states: bool, name: str, group: str, setup: Any, **more: Any
) -> Any:
    return Contender(
        name=name,
        group=group,
        setup=setup,
        units=EPOCHS * tasks[0].X.shape[0],
        flops=flops(tasks, states),
        **more,
    )


# -------------------------------------------------------------------------- this package


def ours_contenders(
    tasks: Sequence[RBMProblem], states: bool, precisions: tuple[str, ...]
) -> Iterator[Contender]:
    """Yield ``DBN.fit``; on means also the fits of its machines one after the other."""
    for precision in precisions:
        short = {"float32": "f32", "bfloat16": "bf16", "int16": "i16"}.get(precision, precision)
        form = _Ours(tasks, states, precision)
        for name, setup in (("", form.whole), (" RBMs alone", form.apart))[: 1 if states else 2]:
            title = f"unsupfast {short}{name}"
            yield _contender(tasks, states, title, title, setup, precision=precision, ours=True)


class _Ours:
    def __init__(self, tasks: Sequence[RBMProblem], states: bool, precision: str) -> None:
        self.tasks, self.activities = tasks, "sample" if states else "mean"
        self.options = {
            "method": "cd",
            "learning_rate": tasks[0].learning_rate,
            "batch_size": tasks[0].batch,
            "n_iter": EPOCHS,
            "precision": precision,
            "device": "cpu",
            "random_state": 0,
        }

    def whole(self) -> Callable[[], None]:
        import unsupfast as uf

        model = uf.DBN(WIDTHS, activities=self.activities, momentum=0.0, **self.options)
        return lambda: model.fit(self.tasks[0].X)

    def apart(self) -> Callable[[], None]:
        import unsupfast as uf

        # on the activities that the network's own layers have
        rows, given = self.tasks[0].X, []
        for width in WIDTHS:
            given.append((uf.RBM(width, **self.options), rows))
            rows = given[-1][0].fit_transform(rows)

        def call() -> None:
            for rbm, rows in given:
                rbm.fit(rows)

        return call


# --------------------------------------------------------------------------------- peers


def torch_contenders(
    tasks: Sequence[RBMProblem], states: bool, threads: int, *, compiled: bool = True
) -> Iterator[Contender]:
    """Yield PyTorch's forms in float32: eager or compiled, ``bernoulli`` or ``rand < p``."""
    for mode in ["eager"] + ["compile"] * compiled:
        for sampler in ("bernoulli", "rand"):
            form = _Torch(tasks, states, threads, mode, sampler)
            name = f"PyTorch {mode} f32 {sampler}"
            yield _contender(tasks, states, name, "PyTorch f32", form.setup)


class _Torch:
    def __init__(
        self, tasks: Sequence[RBMProblem], states: bool, threads: int, mode: str, sampler: str
    ) -> None:
        self.tasks, self.states, self.threads, self.sampler = tasks, states, threads, sampler
        self.forms = [_TorchCD(p, threads, "float32", mode, sampler, "cpu") for p in tasks]

    def setup(self) -> Callable[[], None]:
        torch = import_torch()
        torch.set_num_threads(self.threads)
        torch._dynamo.reset()
        data = torch.from_numpy(self.tasks[0].X.copy())
        steps = [form.step(torch, torch.float32) for form in self.forms]
        fresh = [tuple(x.clone() for x in (form.W, form.b, form.c)) for form in self.forms]
        means, drawn = ([torch.empty(len(data), w) for w in WIDTHS[:-1]] for _ in range(2))

        def up(i: int, rows: Any) -> Any:
            form = self.forms[i]
            p = torch.addmm(form.c, rows, form.W, out=means[i]).sigmoid_()
            if not self.states:
                return p
            if self.sampler == "bernoulli":
                return torch.bernoulli(p, out=drawn[i])
            return drawn[i].uniform_().lt_(p)

        def call() -> None:
            with torch.no_grad():
                rows = data
                for i, (form, step) in enumerate(zip(self.forms, steps, strict=True)):
                    for x, start in zip((form.W, form.b, form.c), fresh[i], strict=True):
                        x.copy_(start)
                    for epoch in range(EPOCHS):
                        if self.states:
                            rows = data
                            for below in range(i):
                                rows = up(below, rows)
                        elif i and epoch == 0:
                            rows = up(i - 1, rows)
                        for v0 in rows.split(form.problem.batch):
                            step(v0)

        return call


def jax_contenders(tasks: Sequence[RBMProblem], states: bool) -> Iterator[Contender]:
    """Yield JAX's forms in float32: a layer's epoch as one program, or an update."""
    for generator, mode in (("threefry2x32", "scan"), ("threefry2x32", "step")):
        form = _Jax(tasks, states, generator, mode)
        yield _contender(tasks, states, f"JAX jit {mode} f32", "JAX f32", form.setup)


class _Jax:
    def __init__(
        self, tasks: Sequence[RBMProblem], states: bool, generator: str, mode: str
    ) -> None:
        self.tasks, self.states, self.mode = tasks, states, mode
        self.forms = [_JaxCD(p, "float32", generator, mode) for p in tasks]

    def setup(self) -> Callable[[], None]:
        try:
            import jax
            import jax.numpy as jnp
        except ImportError as error:
            raise ImportError(f"JAX is not installed; {BENCH_HINT}") from error

        programs = [form.programs(jax, jnp, jnp.float32) for form in self.forms]
        data = jnp.asarray(self.tasks[0].X)

        @jax.jit
        def up(carry: Any, rows: Any, key: Any) -> Any:
            W, _, c, _ = carry
            p = jax.nn.sigmoid(jnp.matmul(rows, W, precision="highest") + c)
            return (jax.random.uniform(key, p.shape) < p).astype(p.dtype) if self.states else p

        def call() -> None:
            rows = data
            below: list[Any] = []
            keys = iter(jax.random.split(jax.random.key(0), EPOCHS * len(self.forms) ** 2))
            for form, (one, epoch) in zip(self.forms, programs, strict=True):
                carry = form.start(jax, jnp)
                for number in range(EPOCHS):
                    if self.states:
                        rows = data
                        for layer in below:
                            rows = up(layer, rows, next(keys))
                    elif below and number == 0:
                        rows = up(below[-1], rows, next(keys))
                    batches = rows.reshape(-1, form.problem.batch, rows.shape[1])
                    if self.mode == "scan":
                        carry = epoch(carry, batches)
                        continue
                    for v0 in batches:
                        carry = one(carry, v0)
                below.append(carry)
            jax.block_until_ready(carry)

        return call

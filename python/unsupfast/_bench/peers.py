"""Contrastive divergence as PyTorch, JAX and scikit-learn users would write it to run fast.

The work is the same for all. With v0 a batch of B binary rows and W, b, c the weights, visible and
hidden biases, CD-k draws h ~ p(h|v), v ~ p(v|h) k times and steps along
``(v0' p(h|v0) - vk' p(h|vk)) / B`` with a constant learning rate, no momentum and no decay.
The last visible state is a binary sample, as it is in scikit-learn. With Gaussian visible units of
variance 1, rows are real numbers and v ~ N(h W' + b, 1).

Each peer gets its fastest honest form: no autograd, preallocated buffers and in-place updates in
PyTorch; one compiled program with donated buffers in JAX, one call a step or one an epoch; the
batch update without input validation in scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .gpu import import_torch, recorded
from .harness import BENCH_HINT, Contender

__all__ = [
    "RBMProblem",
    "cd_flops",
    "jax_contenders",
    "sklearn_contenders",
    "torch_contenders",
]


@dataclass(frozen=True)
class RBMProblem:
    """Data and start of one training task.

    Parameters
    ----------
    X : ndarray of shape (batches * batch, visible), float32
        Rows of 0 and 1; one timed call goes through all of them once.
    W : ndarray of shape (visible, hidden), float32
    b, c : ndarray
        Visible and hidden biases.
    batch, k : int
        Rows a batch, Gibbs steps an update.
    learning_rate : float
    gaussian : bool
        Whether visible units are Gaussian, and rows real numbers.
    """

    X: np.ndarray
    W: np.ndarray
    b: np.ndarray
    c: np.ndarray
    batch: int
    k: int
    learning_rate: float = 0.05
    gaussian: bool = False

    @property
    def flops(self) -> float:
        """Floating-point operations of one pass over ``X``."""
        return self.X.shape[0] * cd_flops(self.k, *self.W.shape)


def cd_flops(k: int, visible: int, hidden: int, positive: bool = True) -> float:
    """Multiplications and additions in matrix products that CD-k spends on one sample.

    k steps of two half-steps, the positive phase, and two products for the gradient. Zeros count
    as work like any other number, whoever skips them.
    """
    half_steps = 2 * k + int(positive) + 2
    return half_steps * 2.0 * visible * hidden


def activity(problem: RBMProblem, W: np.ndarray, c: np.ndarray) -> dict[str, float]:
    """Mean p(h|v) over (at most 2000 of) the rows, and the greatest weight."""
    X = problem.X[:2000]
    p = 1.0 / (1.0 + np.exp(-(X @ np.asarray(W, np.float32) + np.asarray(c, np.float32))))
    return {"mean_h": float(p.mean()), "max_abs_weight": float(np.abs(W).max())}


def _missing(package: str) -> ImportError:
    return ImportError(f"{package} is not installed; {BENCH_HINT}")


# ---------------------------------------------------------------------------------- PyTorch


def torch_contenders(
    problem: RBMProblem, threads: int, *, compiled: bool = True, device: str = "cpu"
) -> Iterator[Contender]:
    """Yield PyTorch's forms: eager or compiled, float32 or bf16, ``bernoulli`` or ``rand < p``.

    Parameters
    ----------
    problem : RBMProblem
    threads : int
        Passed to ``torch.set_num_threads``.
    compiled : bool
        Whether to include ``torch.compile``.
    device : {"cpu", "cuda"}
        On a GPU a pass over the rows is one CUDA graph, and ``torch.compile`` tunes its kernels.

    Notes
    -----
    Not listed: uniforms drawn in bf16, whose 8 bits make a unit of probability 0.0005 fire with
    0.0024 (and which are no faster); ``mode="max-autotune"``, whose C++ matrix products want
    constant weights.
    """
    forms = [
        (precision, mode, sampler)
        for precision in ("float32", "bfloat16")
        for mode in ["eager"] + ["compile"] * compiled
        for sampler in ("bernoulli", "rand")
    ]
    for precision, mode, sampler in forms:
        form = _TorchCD(problem, threads, precision, mode, sampler, device)
        short = "f32" if precision == "float32" else "bf16"
        yield Contender(
            name=f"PyTorch {mode} {short} {sampler}",
            group=f"PyTorch {short}",
            setup=form.setup,
            units=problem.X.shape[0],
            flops=problem.flops,
            precision=precision,
            report=form.report,
        )


class _TorchCD:
    """CD-k in PyTorch. ``setup`` imports it, so that listing contenders costs nothing."""

    def __init__(
        self,
        problem: RBMProblem,
        threads: int,
        precision: str,
        mode: str,
        sampler: str,
        device: str,
    ) -> None:
        self.problem, self.threads, self.device = problem, threads, device
        self.precision, self.mode, self.sampler = precision, mode, sampler

    def setup(self) -> Callable[[], None]:
        torch = import_torch()
        torch.set_num_threads(self.threads)
        # Every form is compiled anew; without a reset the limit on recompilations strikes.
        torch._dynamo.reset()
        p = self.problem
        dtype = torch.float32 if self.precision == "float32" else torch.bfloat16
        step = self.step(torch, dtype)
        # 0 and 1 are exact in bf16: the data are converted once, not once a step.
        batches = torch.from_numpy(p.X.copy()).to(self.device, dtype).split(p.batch)

        def call() -> None:
            with torch.no_grad() if self.mode != "eager" else torch.inference_mode():
                for v0 in batches:
                    step(v0)

        if self.device == "cpu":
            return call
        return recorded(torch, call)

    def report(self) -> dict[str, float]:
        return activity(self.problem, self.W.cpu().numpy(), self.c.cpu().numpy())

    def step(self, torch: Any, dtype: Any) -> Callable[[Any], None]:
        """A function that makes one update with a mini-batch, from the start's parameters."""
        p = self.problem
        self.W = torch.from_numpy(p.W.copy()).to(self.device)
        self.b = torch.from_numpy(p.b.copy()).to(self.device)
        self.c = torch.from_numpy(p.c.copy()).to(self.device)
        return (self._eager if self.mode == "eager" else self._compiled)(torch, dtype)

    def _eager(self, torch: Any, dtype: Any) -> Callable[[Any], None]:
        W, b, c, k = self.W, self.b, self.c, self.problem.k
        gaussian = self.problem.gaussian
        n, (visible, hidden) = self.problem.batch, self.problem.W.shape
        scale = self.problem.learning_rate / n
        here = {"dtype": dtype, "device": self.device}
        h0, hk, hs = (torch.empty(n, hidden, **here) for _ in range(3))
        pv, vs = (torch.empty(n, visible, **here) for _ in range(2))
        same = dtype == torch.float32
        Wt, bt, ct = (W, b, c) if same else (t.to(dtype) for t in (W, b, c))
        gradient = None if same else torch.empty(visible, hidden, **here)

        def draw_bernoulli(p: Any, out: Any) -> None:
            torch.bernoulli(p, out=out)

        def draw_rand(p: Any, out: Any) -> None:
            torch.lt(uniform[p.shape[1]].uniform_(), p, out=out)

        def draw_rand_in_place(p: Any, out: Any) -> None:
            out.uniform_().lt_(p)

        if self.sampler == "bernoulli":
            draw = draw_bernoulli
        elif same:
            draw = draw_rand_in_place
        else:
            uniform = {w: torch.empty(n, w, device=self.device) for w in (visible, hidden)}
            draw = draw_rand

        def step(v0: Any) -> None:
            if not same:  # operands are rounded copies of float32 master weights
                Wt.copy_(W), bt.copy_(b), ct.copy_(c)
            p = torch.addmm(ct, v0, Wt, out=h0).sigmoid_()
            for _ in range(k):
                draw(p, hs)
                if gaussian:
                    torch.addmm(bt, hs, Wt.t(), out=vs).add_(pv.normal_())
                else:
                    torch.addmm(bt, hs, Wt.t(), out=pv).sigmoid_()
                    draw(pv, vs)
                p = torch.addmm(ct, vs, Wt, out=hk).sigmoid_()
            if same:
                W.addmm_(v0.t(), h0, alpha=scale)
                W.addmm_(vs.t(), hk, alpha=-scale)
            else:
                W.add_(torch.mm(v0.t(), h0, out=gradient), alpha=scale)
                W.sub_(torch.mm(vs.t(), hk, out=gradient), alpha=scale)
            b.add_((v0 - vs).sum(0), alpha=scale)
            c.add_((h0 - hk).sum(0), alpha=scale)

        return step

    def _compiled(self, torch: Any, dtype: Any) -> Callable[[Any], None]:
        k, scale = self.problem.k, self.problem.learning_rate / self.problem.batch
        same, gaussian = dtype == torch.float32, self.problem.gaussian
        if self.sampler == "bernoulli":
            draw = torch.bernoulli
        else:

            def draw(p: Any) -> Any:
                return (torch.rand_like(p, dtype=torch.float32) < p).to(p.dtype)

        def step(W: Any, b: Any, c: Any, v0: Any) -> None:
            Wt, bt, ct = W.to(dtype), b.to(dtype), c.to(dtype)
            h0 = torch.addmm(ct, v0, Wt).sigmoid()
            p = h0
            for _ in range(k):
                x = torch.addmm(bt, draw(p), Wt.t())
                vs = x + torch.randn_like(x) if gaussian else draw(x.sigmoid())
                p = torch.addmm(ct, vs, Wt).sigmoid()
            if same:
                W.addmm_(v0.t(), h0, alpha=scale)
                W.addmm_(vs.t(), p, alpha=-scale)
            else:
                W.add_(v0.t() @ h0 - vs.t() @ p, alpha=scale)
            b.add_((v0 - vs).sum(0), alpha=scale)
            c.add_((h0 - p).sum(0), alpha=scale)

        tuned = "default" if self.device == "cpu" else "max-autotune-no-cudagraphs"
        compiled = torch.compile(step, dynamic=False, fullgraph=True, mode=tuned)
        return lambda v0: compiled(self.W, self.b, self.c, v0)


# -------------------------------------------------------------------------------------- JAX


def jax_contenders(problem: RBMProblem) -> Iterator[Contender]:
    """Yield JAX's forms: one program a step or an epoch, two generators, float32 or bf16."""
    forms = (("threefry2x32", "step"), ("threefry2x32", "scan"), ("unsafe_rbg", "step"))
    for precision in ("float32", "bfloat16"):
        for generator, mode in forms:
            form = _JaxCD(problem, precision, generator, mode)
            short = "f32" if precision == "float32" else "bf16"
            yield Contender(
                name=f"JAX jit {mode} {short} {generator.split('2')[0]}",
                group=f"JAX {short}",
                setup=form.setup,
                units=problem.X.shape[0],
                flops=problem.flops,
                precision=precision,
                report=form.report,
            )


class _JaxCD:
    """CD-k as one XLA program whose parameters are donated, that is updated in place."""

    def __init__(self, problem: RBMProblem, precision: str, generator: str, mode: str) -> None:
        self.problem, self.precision = problem, precision
        self.generator, self.mode = generator, mode

    def setup(self) -> Callable[[], None]:
        try:
            import jax
            import jax.numpy as jnp
        except ImportError as error:
            raise _missing("JAX") from error
        p = self.problem
        dtype = jnp.float32 if self.precision == "float32" else jnp.bfloat16
        one, epoch = self.programs(jax, jnp, dtype)
        self.carry = self.start(jax, jnp)
        data = jnp.asarray(p.X.reshape(-1, p.batch, p.X.shape[1]), dtype)
        if self.mode == "scan":

            def call() -> None:
                self.carry = epoch(self.carry, data)
                jax.block_until_ready(self.carry)

        else:
            batches = [jnp.array(v0) for v0 in data]

            def call() -> None:
                carry = self.carry
                for v0 in batches:
                    carry = one(carry, v0)
                self.carry = jax.block_until_ready(carry)

        return call

    def start(self, jax: Any, jnp: Any) -> Any:
        """Parameters and a random key, in memory of their own: programs take it over."""
        p = self.problem
        key = jax.random.key(0, impl=self.generator)
        return jnp.array(p.W), jnp.array(p.b), jnp.array(p.c), key

    def programs(self, jax: Any, jnp: Any, dtype: Any) -> tuple[Any, Any]:
        """One update as a program, and a pass over stacked mini-batches as one."""
        k, scale = self.problem.k, self.problem.learning_rate / self.problem.batch
        gaussian = self.problem.gaussian

        def dot(a: Any, b: Any) -> Any:  # "highest": float32 products of float32 on a GPU too
            return jnp.matmul(a, b, precision="highest", preferred_element_type=jnp.float32)

        def draw(key: Any, p: Any) -> Any:  # what jax.random.bernoulli does
            return (jax.random.uniform(key, p.shape) < p).astype(dtype)

        def step(carry: Any, v0: Any) -> tuple[Any, None]:
            W, b, c, key = carry
            Wt = W.astype(dtype)
            key, *keys = jax.random.split(key, 2 * k + 1)
            h0 = jax.nn.sigmoid(dot(v0, Wt) + c)
            h = h0
            for i in range(k):
                x = dot(draw(keys[2 * i], h), Wt.T) + b
                if gaussian:
                    vk = (x + jax.random.normal(keys[2 * i + 1], x.shape)).astype(dtype)
                else:
                    vk = draw(keys[2 * i + 1], jax.nn.sigmoid(x))
                h = jax.nn.sigmoid(dot(vk, Wt) + c)
            W = W + scale * (dot(v0.T, h0.astype(dtype)) - dot(vk.T, h.astype(dtype)))
            b = b + scale * (v0.astype(jnp.float32) - vk.astype(jnp.float32)).sum(0)
            c = c + scale * (h0 - h).sum(0)
            return (W, b, c, key), None

        one = jax.jit(lambda carry, v0: step(carry, v0)[0], donate_argnums=0)
        epoch = jax.jit(lambda carry, v: jax.lax.scan(step, carry, v)[0], donate_argnums=0)
        return one, epoch

    def report(self) -> dict[str, float]:
        return activity(self.problem, np.asarray(self.carry[0]), np.asarray(self.carry[2]))


# ----------------------------------------------------------------------------- scikit-learn


def sklearn_contenders(problem: RBMProblem) -> Iterator[Contender]:
    """Yield scikit-learn's BernoulliRBM: PCD-1, float32, without input validation."""
    if problem.k != 1:
        raise ValueError(f"scikit-learn's BernoulliRBM has k = 1 only, got {problem.k}")
    form = _SklearnPCD(problem)
    yield Contender(
        name="scikit-learn f32",
        group="scikit-learn",
        setup=form.setup,
        units=problem.X.shape[0],
        flops=problem.flops,
        report=form.report,
    )


class _SklearnPCD:
    def __init__(self, problem: RBMProblem) -> None:
        self.problem = problem

    def setup(self) -> Callable[[], None]:
        try:
            from sklearn.neural_network import BernoulliRBM
        except ImportError as error:
            raise _missing("scikit-learn") from error
        p = self.problem
        model = BernoulliRBM(
            p.W.shape[1], learning_rate=p.learning_rate, batch_size=p.batch, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(p.X[: p.batch])
        model.components_ = np.asarray(p.W.T, dtype=np.float32, order="F").copy(order="F")
        model.intercept_visible_, model.intercept_hidden_ = p.b.copy(), p.c.copy()
        model.h_samples_ = np.zeros((p.batch, p.W.shape[1]), np.float32)
        self.model = model
        random_state = np.random.RandomState(0)

        def call() -> None:
            for start in range(0, p.X.shape[0], p.batch):
                model._fit(p.X[start : start + p.batch], random_state)

        return call

    def report(self) -> dict[str, float]:
        model = self.model
        return activity(self.problem, model.components_.T, model.intercept_hidden_)

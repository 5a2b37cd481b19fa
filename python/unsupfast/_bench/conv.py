"""Training speed of convolutional RBMs with probabilistic max-pooling, against PyTorch.

The work is the same for all. With v0 a batch of B binary images, CD-1 draws detection units
h ~ p(h|v0), at most one of a block, then v1 ~ p(v|h), and steps along the difference of
``v * p(h|v)`` at v0 and v1, and of the sums for the biases, divided by B and the number of
positions of a filter: no momentum, no decay, no push towards sparsity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .gpu import import_torch
from .harness import Contender

__all__ = ["ConvProblem", "contenders"]

IMAGE, FILTER, FILTERS, POOL, BATCH = 28, 11, 40, 2, 100
PLACES = IMAGE - FILTER + 1
LEARNING_RATE = 0.5


@dataclass(frozen=True)
class ConvProblem:
    """Binary images (batches * BATCH, IMAGE**2) and where everybody starts."""

    X: np.ndarray
    W: np.ndarray  # FILTERS x FILTER**2
    a: np.ndarray  # 1
    b: np.ndarray  # FILTERS

    @classmethod
    def of(cls, X: np.ndarray, batches: int = 10) -> ConvProblem:
        """Start at a short training: on fresh filters states are random, and few are zeros."""
        import unsupfast as uf

        model = _model(3, learning_rate=LEARNING_RATE, sparsity_target=0.02, sparsity_cost=1.0)
        model.fit(X[:4000])
        parameters = model.components_, model.intercept_visible_, model.intercept_hidden_
        assert isinstance(model, uf.ConvRBM)
        return cls(np.ascontiguousarray(X[: batches * BATCH]), *parameters)

    @property
    def flops(self) -> float:
        """Of one pass over X by dense convolutions: three half-steps and two gradients."""
        return len(self.X) * 5 * 2.0 * PLACES**2 * FILTER**2 * FILTERS

    def activity(self, W: np.ndarray, b: np.ndarray) -> dict[str, float]:
        """Mean p(h|v) over some rows, and the greatest weight."""
        model = _model(0, precision="float32").fit(self.X[:BATCH])
        model.components_ = np.ascontiguousarray(W, np.float32)
        model.intercept_hidden_ = np.ascontiguousarray(b, np.float32)
        mean = model.transform(self.X[:500], layer="detection").mean()
        return {"mean_h": float(mean), "max_abs_weight": float(np.abs(W).max())}


def _model(n_iter: int, **options: Any) -> Any:
    import unsupfast as uf

    return uf.ConvRBM(
        FILTERS,
        FILTER,
        pool=POOL,
        batch_size=BATCH,
        n_iter=n_iter,
        device="cpu",
        random_state=0,
        **options,
    )


def contenders(
    problem: ConvProblem, threads: int, *, torch: bool, compiled: bool
) -> Iterator[Contender]:
    """Yield this package's forms and PyTorch's."""
    for precision, short in (("float32", "f32"), ("bfloat16", "bf16")):
        ours = _Ours(problem, precision)
        yield Contender(
            name=f"unsupfast {short}",
            group=f"unsupfast {short}",
            setup=ours.setup,
            units=len(problem.X),
            flops=problem.flops,
            precision=precision,
            ours=True,
            report=ours.report,
        )
    for mode in (["eager"] + ["compile"] * compiled) * torch:
        for form in ("conv", "conv channels_last", "fold"):
            theirs = _Torch(problem, threads, mode, form)
            yield Contender(
                name=f"PyTorch {mode} f32 {form}",
                group="PyTorch f32",
                setup=theirs.setup,
                units=len(problem.X),
                flops=problem.flops,
                precision="float32",
                report=theirs.report,
            )


class _Ours:
    def __init__(self, problem: ConvProblem, precision: str) -> None:
        self.problem, self.precision = problem, precision

    def setup(self) -> Callable[[], None]:
        p = self.problem
        model = _model(
            0, precision=self.precision, momentum=0.0, sparsity_target=None,
            learning_rate=LEARNING_RATE,
        ).fit(p.X)  # fmt: skip
        model.components_, model.intercept_visible_, model.intercept_hidden_ = p.W, p.a, p.b
        self.core = core = model._new_core()
        order, options = np.arange(len(p.X)), model._options(0, BATCH)
        return lambda: core.train(p.X, order, options)

    def report(self) -> dict[str, float]:
        W, _, b = self.core.get_parameters()
        return self.problem.activity(W, b)


class _Torch:
    """CD-1 in PyTorch, without autograd. `form` says how the products are made.

    conv: ``conv2d``, ``conv_transpose2d`` and the convolution that is the weight gradient;
    fold: matrix products with ``unfold``'s patches, which two products share, and ``fold``.
    """

    def __init__(self, problem: ConvProblem, threads: int, mode: str, form: str) -> None:
        self.problem, self.threads, self.mode, self.form = problem, threads, mode, form

    def setup(self) -> Callable[[], None]:
        torch = import_torch()
        torch.set_num_threads(self.threads)
        p = self.problem
        self.W = torch.from_numpy(p.W.reshape(FILTERS, 1, FILTER, FILTER).copy())
        self.a, self.b = torch.from_numpy(p.a.copy()), torch.from_numpy(p.b.copy())
        X = torch.from_numpy(p.X.reshape(-1, BATCH, 1, IMAGE, IMAGE).copy())
        layout = torch.contiguous_format
        if self.form.endswith("channels_last"):
            layout = torch.channels_last
            self.W = self.W.to(memory_format=layout)
        step = _fold_step(torch) if self.form == "fold" else _conv_step(torch, layout)
        if self.mode == "compile":
            step = torch.compile(step)
        rate = LEARNING_RATE / (BATCH * PLACES**2)

        def call() -> None:
            with torch.no_grad():
                for v0 in X:
                    dW, da, db = step(v0, self.W, self.a, self.b)
                    self.W.add_(dW, alpha=rate)
                    self.a.add_(da, alpha=rate)
                    self.b.add_(db, alpha=rate)

        return call

    def report(self) -> dict[str, float]:
        return self.problem.activity(
            self.W.contiguous().reshape(FILTERS, -1).numpy(), self.b.numpy()
        )


def _pooled(torch: Any, x: Any) -> tuple[list[Any], Any]:
    """Weights exp(x - top) of the four units of each block, and those weights' sum with "off"."""
    blocks = x.view(x.shape[0], FILTERS, PLACES // 2, 2, PLACES // 2, 2)
    units = [blocks[:, :, :, i, :, j] for i in range(2) for j in range(2)]
    top = torch.relu(
        torch.maximum(torch.maximum(units[0], units[1]), torch.maximum(units[2], units[3]))
    )
    weights = [torch.exp(u - top) for u in units]
    return weights, torch.exp(-top) + weights[0] + weights[1] + weights[2] + weights[3]


def _maps(torch: Any, units: list[Any]) -> Any:
    """The four units of each block, back in their places."""
    rows = [torch.stack(units[i : i + 2], dim=-1) for i in (0, 2)]
    return torch.stack(rows, dim=3).reshape(units[0].shape[0], FILTERS, PLACES, PLACES)


def _means(torch: Any, x: Any) -> Any:
    weights, total = _pooled(torch, x)
    return _maps(torch, [w / total for w in weights])


def _means_and_samples(torch: Any, x: Any) -> tuple[Any, Any]:
    weights, total = _pooled(torch, x)
    left = torch.rand_like(total) * total
    samples = []
    for w in weights:
        samples.append(((left >= 0) & (left < w)).float())
        left = left - w
    return _maps(torch, [w / total for w in weights]), _maps(torch, samples)


def _conv_step(torch: Any, layout: Any) -> Callable[..., Any]:
    F = torch.nn.functional

    def gradient(v: Any, h: Any) -> Any:
        return F.conv2d(v.transpose(0, 1), h.transpose(0, 1)).transpose(0, 1)

    def step(v0: Any, W: Any, a: Any, b: Any) -> Any:
        v0 = v0.to(memory_format=layout)
        h0, h = _means_and_samples(torch, F.conv2d(v0, W, b).contiguous())
        p = torch.sigmoid(F.conv_transpose2d(h.to(memory_format=layout), W, a))
        v1 = (torch.rand_like(p) < p).float()
        h1 = _means(torch, F.conv2d(v1, W, b).contiguous())
        return gradient(v0, h0) - gradient(v1, h1), (v0 - v1).sum(), (h0 - h1).sum((0, 2, 3))

    return step


def _fold_step(torch: Any) -> Callable[..., Any]:
    F = torch.nn.functional

    def fields(patches: Any, W: Any, b: Any) -> Any:
        return (W @ patches + b[:, None]).view(-1, FILTERS, PLACES, PLACES)

    def gradient(patches: Any, h: Any) -> Any:
        return torch.bmm(h.flatten(2), patches.transpose(1, 2)).sum(0)

    def step(v0: Any, W4: Any, a: Any, b: Any) -> Any:
        W = W4.view(FILTERS, -1)
        patches0 = F.unfold(v0, FILTER)
        h0, h = _means_and_samples(torch, fields(patches0, W, b))
        p = torch.sigmoid(F.fold(W.t() @ h.flatten(2), (IMAGE, IMAGE), FILTER) + a)
        v1 = (torch.rand_like(p) < p).float()
        patches1 = F.unfold(v1, FILTER)
        h1 = _means(torch, fields(patches1, W, b))
        dW = gradient(patches0, h0) - gradient(patches1, h1)
        return dW.view_as(W4), (v0 - v1).sum(), (h0 - h1).sum((0, 2, 3))

    return step

"""Auto-encoders and a classifier as PyTorch and JAX users would write them to run fast.

The work is the same for all: a pass over the rows in mini-batches, sigmoid layers (rectifiers in
the variational model), cross-entropy from logits summed over pixels (of classes in the classifier),
and Adam. PyTorch gets its fused Adam; JAX one compiled step with donated buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .gpu import import_torch, recorded
from .harness import BENCH_HINT, Contender

__all__ = ["Task", "jax_contenders", "torch_contenders"]

RATE, CONTRACTION, MASKED = 1e-3, 0.1, 0.3


@dataclass(frozen=True)
class Task:
    """One network on one data set.

    Parameters
    ----------
    kind : {"deep", "vae", "cae", "dae", "classifier"}
        A mirrored auto-encoder, a variational one, one tied layer with the contractive penalty or
        with masked inputs, and a classifier.
    X : ndarray of shape (rows, sizes[0]), float32
    sizes : tuple of int
        Widths from the input to the code (of the classifier: to the logits).
    batch : int
    y : ndarray of shape (rows,), int64, or None
        Classes.
    """

    kind: str
    X: np.ndarray
    sizes: tuple[int, ...]
    batch: int
    y: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return len(self.X) // self.batch * self.batch

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of every layer."""
        down = list(zip(self.sizes, self.sizes[1:], strict=False))
        if self.kind == "classifier":
            return down
        up = [(b, a) for a, b in reversed(down)]
        if self.kind == "vae":
            down[-1] = (down[-1][0], 2 * down[-1][1])
        return down + up

    @property
    def flops(self) -> float:
        """Of the matrix products of one pass: three a layer, but no gradient by the input."""
        weights = [a * b for a, b in self.layers]
        return self.rows * 2.0 * (3 * sum(weights) - weights[0])


def _missing(package: str) -> ImportError:
    return ImportError(f"{package} is not installed; {BENCH_HINT}")


# ---------------------------------------------------------------------------------- PyTorch


def torch_contenders(
    task: Task, threads: int, *, compiled: bool = True, device: str = "cpu"
) -> Iterator[Contender]:
    """PyTorch's forms: eager or compiled, float32 or bfloat16 products (autocast).

    On a GPU a pass over the rows is one CUDA graph.
    """
    for precision, short in (("float32", "f32"), ("bfloat16", "bf16")):
        for mode in ["eager"] + ["compile"] * compiled:
            yield Contender(
                f"PyTorch {mode} {short}",
                f"PyTorch {short}",
                partial(_torch_setup, task, threads, precision, mode == "compile", device),
                task.rows,
                task.flops,
                precision,
            )


def _torch_setup(
    task: Task, threads: int, precision: str, compiled: bool, device: str
) -> Callable[[], Any]:
    torch = import_torch()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    functional, last = torch.nn.functional, len(task.layers) - 1
    code = -1 if task.kind == "classifier" else last // 2
    act = torch.relu if task.kind == "vae" else torch.sigmoid
    linears = [torch.nn.Linear(a, b, device=device) for a, b in task.layers]
    parameters: list[Any] = [p for layer in linears for p in layer.parameters()]
    if task.kind in ("cae", "dae"):
        parameters = [linears[0].weight, linears[0].bias, linears[1].bias]
    optimizer = torch.optim.Adam(parameters, RATE, fused=True, capturable=device == "cuda")

    def loss(x: Any, y: Any) -> Any:
        total: Any = 0.0
        if task.kind in ("cae", "dae"):
            weight = linears[0].weight
            noisy = x * (torch.rand_like(x) >= MASKED) if task.kind == "dae" else x
            h = torch.sigmoid(functional.linear(noisy, weight, linears[0].bias))
            z = functional.linear(h, weight.t(), linears[1].bias)
            if task.kind == "cae":
                slope = h * (1 - h)
                total = CONTRACTION * ((slope * slope) @ (weight * weight).sum(1)).sum()
        else:
            z = x
            for i, layer in enumerate(linears):
                z = layer(z)
                if task.kind == "vae" and i == code:
                    mean, log_variance = z.float().chunk(2, 1)
                    z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
                    total = 0.5 * (mean * mean + log_variance.exp() - 1 - log_variance).sum()
                elif i not in (code, last):
                    z = act(z)
        z = z.float()
        if task.kind == "classifier":
            return functional.cross_entropy(z, y)
        fit = functional.binary_cross_entropy_with_logits(z, x, reduction="sum")
        return (fit + total) / len(x)

    step: Any = loss
    if compiled:
        torch._dynamo.reset()
        step = torch.compile(
            loss, mode="default" if device == "cpu" else "max-autotune-no-cudagraphs"
        )
    rows = torch.from_numpy(task.X[: task.rows].copy()).to(device).split(task.batch)
    targets = rows
    if task.y is not None:
        targets = torch.from_numpy(task.y[: task.rows].copy()).to(device).split(task.batch)
    batches = list(zip(rows, targets, strict=True))
    bf16 = precision == "bfloat16"

    def call() -> None:
        for x, y in batches:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                value = step(x, y)
            value.backward()
            optimizer.step()

    if device == "cpu":
        return call
    return recorded(torch, call)


# -------------------------------------------------------------------------------------- JAX


def jax_contenders(task: Task) -> Iterator[Contender]:
    """JAX: one compiled step a mini-batch, its state donated."""
    yield Contender(
        "JAX jit f32", "JAX f32", partial(_jax_setup, task), task.rows, task.flops, "float32"
    )


def _jax_setup(task: Task) -> Callable[[], Any]:
    try:
        import jax
        import jax.numpy as jnp
    except ImportError as error:
        raise _missing("JAX") from error
    jax.config.update("jax_default_matmul_precision", "highest")  # float32, on a GPU too
    generator = np.random.default_rng(0)
    last = len(task.layers) - 1
    code = -1 if task.kind == "classifier" else last // 2
    act = jax.nn.relu if task.kind == "vae" else jax.nn.sigmoid
    weights = [
        jnp.asarray(generator.normal(0, (1 / a) ** 0.5, (a, b)), jnp.float32)
        for a, b in task.layers
    ]
    biases = [jnp.zeros(b, jnp.float32) for _, b in task.layers]
    tied = task.kind in ("cae", "dae")
    parameters = (weights[:1] if tied else weights, biases)

    def loss(parameters: Any, x: Any, y: Any, key: Any) -> Any:
        weights, biases = parameters
        total: Any = 0.0
        if tied:
            noisy = x
            if task.kind == "dae":
                noisy = x * (jax.random.uniform(key, x.shape) >= MASKED)
            h = jax.nn.sigmoid(noisy @ weights[0] + biases[0])
            z = h @ weights[0].T + biases[1]
            if task.kind == "cae":
                slope = h * (1 - h)
                total = CONTRACTION * ((slope * slope) @ (weights[0] ** 2).sum(0)).sum()
        else:
            z = x
            for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
                z = z @ w + b
                if task.kind == "vae" and i == code:
                    mean, log_variance = jnp.split(z, 2, 1)
                    noise = jax.random.normal(key, mean.shape)
                    z = mean + jnp.exp(0.5 * log_variance) * noise
                    total = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum()
                elif i not in (code, last):
                    z = act(z)
        if task.kind == "classifier":
            return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()
        return ((jax.nn.softplus(z) - x * z).sum() + total) / len(x)

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any, y: Any) -> Any:
        parameters, m, v, t, key = state
        key, draw = jax.random.split(key)
        value, g = jax.value_and_grad(loss)(parameters, x, y, draw)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate, c2 = RATE / (1 - 0.9**t), 1 - 0.999**t
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v / c2) + 1e-8), parameters, m, v
        )
        return (parameters, m, v, t, key), value

    def zeros() -> Any:
        return jax.tree.map(jnp.zeros_like, parameters)

    state = [(parameters, zeros(), zeros(), jnp.float32(0), jax.random.key(0))]
    targets = task.X if task.y is None else task.y
    batches = [
        (jnp.asarray(task.X[i : i + task.batch]), jnp.asarray(targets[i : i + task.batch]))
        for i in range(0, task.rows, task.batch)
    ]

    def call() -> None:
        for x, y in batches:
            state[0], value = step(state[0], x, y)
        value.block_until_ready()

    return call

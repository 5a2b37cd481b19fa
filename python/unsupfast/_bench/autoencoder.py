"""Training speed against PyTorch and JAX: auto-encoders (deep, variational, contractive,
denoising) and the fine-tuning of a classifier."""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import _core
from . import gpu, harness, network_peers
from .harness import Contender, Result
from .network_peers import Task

__all__ = ["add_arguments", "run"]

TASKS = ("deep", "vae", "cae", "dae", "classifier")
# Rows a call goes through: long enough that a call is not all overhead.
ROWS = 4000
ROWS_OF_LARGE = 4096  # a mini-batch on a GPU


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this suite."""
    parser.add_argument("--what", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument(
        "--data",
        choices=("mnist", "random"),
        default="mnist",
        help="random: no zeros that could be skipped (default: mnist)",
    )
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--no-peers", action="store_true", help="only this package")


def images(data: str, rows_wanted: int = ROWS) -> tuple[np.ndarray, np.ndarray, str]:
    """Rows of 784 grey values in [0, 1], their classes, and what they are."""
    generator = np.random.default_rng(0)
    if data == "mnist":
        from unsupfast import datasets

        try:
            mnist = datasets.mnist("train")
            rows = generator.permutation(len(mnist.data))[:rows_wanted]
            X = mnist.data[rows].reshape(len(rows), -1).astype(np.float32)
            assert mnist.target is not None
            return X / max(1.0, float(X.max())), mnist.target[rows], "MNIST"
        except FileNotFoundError:
            print("note: MNIST not found (UNSUPFAST_DATA); using random rows")
    X = generator.random((rows_wanted, 784), np.float32)
    return X, generator.integers(0, 10, rows_wanted), "uniform random"


def tasks(what: str, X: np.ndarray, y: np.ndarray, device: str = "cpu") -> Iterator[Task]:
    """The networks and batch sizes of a suite."""
    large = device == "cuda"
    if what == "deep":
        sizes = (784, 1000, 500, 250, 30)
        for batch in (128, 4096) if large else (100, 1000):
            yield Task("deep", X, sizes, batch)
    elif what == "vae":
        for batch in (128, 4096) if large else (128, 1000):
            yield Task("vae", X, (784, 512, 2), batch)
    elif what == "classifier":
        yield Task(what, X, (784, 500, 500, 2000, 10), 128, y)
    else:
        yield Task(what, X, (784, 1000), 128)


def ours_model(task: Task, precision: str = "float32", device: str = "cpu") -> Any:
    """This package's estimator for a task."""
    import unsupfast as uf

    common: dict[str, Any] = {
        "batch_size": task.batch,
        "n_iter": 1,
        "precision": precision,
        "device": device,
        "random_state": 0,
        "shuffle": False,
    }
    if task.kind == "vae":
        return uf.VAE(task.sizes[1:-1], task.sizes[-1], **common)
    if task.kind == "cae":
        return uf.Autoencoder(
            task.sizes[1:], tied=True, loss="bce", penalties=[uf.Contractive(0.1)], **common
        )
    if task.kind == "dae":
        return uf.Autoencoder(
            task.sizes[1:], tied=True, loss="bce", corruption=uf.Masking(0.3), **common
        )
    if task.kind == "classifier":
        return uf.StackedAutoencoderClassifier(task.sizes[1:-1], pretrain=None, **common)
    return uf.Autoencoder(task.sizes[1:], loss="bce", **common)


def ours_setup(task: Task, model: Any) -> Callable[[], Any]:
    """A pass of `model` over the rows of a task."""
    targets = None
    if task.y is None:
        model.fit(task.X[: task.batch])
    else:
        model.partial_fit(task.X[: task.batch], task.y[: task.batch], np.unique(task.y))
        targets = np.eye(task.sizes[-1], dtype=np.float32)[task.y]
    order = np.arange(task.rows)

    def call() -> None:
        model._train_rows(task.X, targets, order, 0, task.batch)

    if model.device == "cpu":
        return call
    training = model._training(0)
    training.__enter__()
    done = gpu.synchronised(call)
    done.training = training  # the data stay on the GPU for as long as the function lives
    return done


def share_of_python(call: Callable[[], Any], calls: int = 5) -> float:
    """The share of a call's time that is not spent in compiled functions of this package."""
    inside = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **options: Any) -> Any:
            nonlocal inside
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                inside += time.perf_counter() - start

        return wrapper

    class Step(_core.Step):
        apply, descend = timed(_core.Step.apply), timed(_core.Step.descend)

    functions = {name: f for name, f in vars(_core).items() if inspect.isbuiltin(f)}
    replaced: dict[str, Any] = {name: timed(f) for name, f in functions.items()}
    replaced["Step"] = Step
    shares = []
    with unittest.mock.patch.multiple(_core, **replaced):
        for _ in range(calls):
            inside, start = 0.0, time.perf_counter()
            call()
            shares.append(1 - inside / (time.perf_counter() - start))
    return statistics.median(shares)


def ours_contenders(task: Task, device: str = "cpu") -> Iterator[Contender]:
    """This package's rows, one a precision."""
    for precision, short in (("float32", "f32"), ("bfloat16", "bf16")):
        calls: list[Callable[[], Any]] = []

        def setup(precision: str = precision, calls: Any = calls) -> Callable[[], Any]:
            calls.append(ours_setup(task, ours_model(task, precision, device)))
            return calls[0]

        def report(calls: Any = calls) -> dict[str, Any]:
            return {"share_of_python": share_of_python(calls[0])}

        name = f"unsupfast {short}"
        told = report if device == "cpu" else None
        yield Contender(name, name, setup, task.rows, task.flops, precision, True, told)


def plain_contender(task: Task, device: str = "cpu") -> Contender:
    """The same auto-encoder without penalty or corruption: what those cost."""

    def setup() -> Callable[[], Any]:
        model = ours_model(task, device=device).set_params(penalties=(), corruption=None)
        return ours_setup(task, model)

    name = "unsupfast f32, plain"
    return Contender(name, name, setup, task.rows, task.flops, "float32", True)


def run(args: argparse.Namespace, threads: int, progress: Callable[[str], None]) -> list[Result]:
    """Measure every task asked for and print its table."""
    device = args.device
    X, y, name = images(args.data, ROWS if device == "cpu" else 8 * ROWS_OF_LARGE)
    options = {
        "rounds": args.rounds,
        "turn_seconds": args.turn_seconds,
        "peak_of": gpu.ceiling if device == "cuda" else None,
        "progress": progress,
    }
    results = []
    for what in args.what:
        for task in tasks(what, X, y, device):
            contenders = list(ours_contenders(task, device))
            if what in ("cae", "dae"):
                contenders.append(plain_contender(task, device))
            if not args.no_peers:
                contenders += network_peers.torch_contenders(
                    task, threads, compiled=not args.no_compile, device=device
                )
                contenders += network_peers.jax_contenders(task)
            widths = "-".join(map(str, task.sizes))
            title = f"{what} {widths}, Adam, batch {task.batch}, {name}"
            result = harness.measure(contenders, title=title, **options)
            rates = {row["name"]: row["rate_median"] for row in result.rows}
            plain, full = rates.get("unsupfast f32, plain"), rates.get("unsupfast f32")
            if plain and full:
                result.info["cost_over_plain"] = plain / full - 1
            progress("")
            print(harness.format_result(result), flush=True)
            for row in result.rows:
                if "report" in row:
                    print(f"  {row['name']}: {row['report']['share_of_python']:.1%} in Python")
            if "cost_over_plain" in result.info:
                print(f"cost over the plain model: {result.info['cost_over_plain']:.1%}")
            results.append(result)
    return results

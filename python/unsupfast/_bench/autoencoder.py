"""Training speed of auto-encoders against PyTorch and JAX: deep, variational, contractive."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import harness, network_peers
from .harness import Contender, Result
from .network_peers import Task

__all__ = ["add_arguments", "run"]

TASKS = ("deep", "vae", "cae", "dae")
# Rows a call goes through: long enough that a call is not all overhead.
ROWS = 4000


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


def images(data: str) -> tuple[np.ndarray, str]:
    """Rows of 784 grey values in [0, 1], and what they are."""
    generator = np.random.default_rng(0)
    if data == "mnist":
        from unsupfast import datasets

        try:
            X = datasets.mnist("train").data
            X = X[generator.permutation(len(X))[:ROWS]].reshape(ROWS, -1).astype(np.float32)
            return X / max(1.0, float(X.max())), "MNIST"
        except FileNotFoundError:
            print("note: MNIST not found (UNSUPFAST_DATA); using random rows")
    return generator.random((ROWS, 784), np.float32), "uniform random"


def tasks(what: str, X: np.ndarray) -> Iterator[Task]:
    """The networks and batch sizes of a suite."""
    if what == "deep":
        sizes = (784, 1000, 500, 250, 30)
        for batch in (100, 1000):
            yield Task("deep", X, sizes, batch)
    elif what == "vae":
        for batch in (128, 1000):
            yield Task("vae", X, (784, 512, 2), batch)
    else:
        yield Task(what, X, (784, 1000), 128)


def ours_model(task: Task, precision: str = "float32") -> Any:
    """This package's estimator for a task."""
    import unsupfast as uf

    common: dict[str, Any] = {
        "batch_size": task.batch,
        "n_iter": 1,
        "precision": precision,
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
    return uf.Autoencoder(task.sizes[1:], loss="bce", **common)


def ours_contenders(task: Task) -> Iterator[Contender]:
    """This package's rows, one a precision."""
    for precision, short in (("float32", "f32"), ("bfloat16", "bf16")):

        def setup(precision: str = precision) -> Callable[[], Any]:
            model = ours_model(task, precision).fit(task.X[: task.batch])
            order = np.arange(len(task.X) // task.batch * task.batch)
            return lambda: model._train_rows(task.X, None, order, 0, task.batch)

        name = f"unsupfast {short}"
        yield Contender(name, name, setup, task.rows, task.flops, precision, True)


def plain_contender(task: Task) -> Contender:
    """The same auto-encoder without penalty or corruption: what those cost."""

    def setup() -> Callable[[], Any]:
        model = ours_model(task).set_params(penalties=(), corruption=None)
        model.fit(task.X[: task.batch])
        order = np.arange(len(task.X) // task.batch * task.batch)
        return lambda: model._train_rows(task.X, None, order, 0, task.batch)

    name = "unsupfast f32, plain"
    return Contender(name, name, setup, task.rows, task.flops, "float32", True)


def run(args: argparse.Namespace, threads: int, progress: Callable[[str], None]) -> list[Result]:
    """Measure every task asked for and print its table."""
    X, name = images(args.data)
    options = {
        "rounds": args.rounds,
        "turn_seconds": args.turn_seconds,
        "progress": progress,
    }
    results = []
    for what in args.what:
        for task in tasks(what, X):
            contenders = list(ours_contenders(task))
            if what in ("cae", "dae"):
                contenders.append(plain_contender(task))
            if not args.no_peers:
                contenders += network_peers.torch_contenders(
                    task, threads, compiled=not args.no_compile
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
            if "cost_over_plain" in result.info:
                print(f"cost over the plain model: {result.info['cost_over_plain']:.1%}")
            results.append(result)
    return results

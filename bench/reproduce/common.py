"""What the reproductions share: arguments, images, and the record of every run."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import unsupfast as uf
from unsupfast._bench import harness


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the options that every reproduction has.

    Parameters
    ----------
    doc : str
        Docstring of the script.
    """
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    made.add_argument("--threads", type=int, help="default: all cores")
    made.add_argument("--out", help="folder for JSON and picture (default: bench/results or here)")
    made.add_argument("--verbose", type=int, default=0, help="1: a line per epoch")
    return made


def images(split: str) -> np.ndarray:
    """MNIST as rows of 784 grey values in [0, 1], float32."""
    return np.ascontiguousarray(uf.datasets.mnist(split).data, np.float32)


def labels(split: str) -> np.ndarray:
    return uf.datasets.mnist(split).target


def as_dict(estimate: Any) -> dict[str, float]:
    """An annealed likelihood and its interval."""
    low, high = estimate.interval
    return {"mean": estimate.value, "low": low, "high": high}


def filters_and_samples(lowest: Any, model: Any, steps: int) -> Any:
    """Filters of the lowest layer, and means of the visible units from chains of the model."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    uf.plot.filters(lowest, image_shape=(28, 28), ax=axes[0])
    drawn = model.sample(100, steps, mean=True, random_state=0)
    uf.plot.samples(drawn, image_shape=(28, 28), ax=axes[1])
    return figure


def pca(train: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and basis (features x n) of the first n principal components, float64."""
    mean = train.mean(axis=0, dtype=np.float64)
    centred = train - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return mean, vectors[:, : -n - 1 : -1]


def squared_error(X: np.ndarray, reconstruction: np.ndarray) -> float:
    """Mean over rows of the squared error summed over features."""
    return float(((X - reconstruction) ** 2).sum(axis=1, dtype=np.float64).mean())


def pca_error(train: np.ndarray, test: np.ndarray, n: int) -> float:
    """Squared error per test row of PCA with n components."""
    mean, basis = pca(train, n)
    return squared_error(test, mean + (test - mean) @ basis @ basis.T)


class Report:
    """The runs of a reproduction: printed as they come, and written after each.

    Parameters
    ----------
    name : str
        Of the files: ``reproduce-<name>.json``, ``.png``.
    args : Namespace
        Of :func:`parser`.
    published : dict
        The figures that others report, and where.
    """

    def __init__(self, name: str, args: argparse.Namespace, published: dict[str, Any]):
        info = harness.machine(harness.limit_threads(args.threads))
        self.path = harness.output_directory(args.out) / f"reproduce-{name}.json"
        self.document: dict[str, Any] = {
            "reproduction": name,
            "machine": info,
            "arguments": harness.arguments(args),
            "published": published,
            "runs": [],
        }

    def add(self, **run: Any) -> None:
        """Print a run and write all of them: hours of work survive an interruption."""
        self.document["runs"].append(run)
        harness.write_json(self.path, self.document)
        print("  ".join(f"{key} {_short(value)}" for key, value in run.items()), flush=True)

    def summary(self, **facts: Any) -> None:
        """Print what the runs say together and write it."""
        self.document.setdefault("summary", {}).update(facts)
        harness.write_json(self.path, self.document)
        for key, value in facts.items():
            print(f"{key}: {_short(value)}")
        print(f"written: {self.path}")

    def picture(self, figure: Any) -> None:
        from PIL import Image  # comes with matplotlib

        path: Path = self.path.with_suffix(".png")
        uf.plot.save(figure, path, dpi=100)
        # 256 colours take a third of the room
        drawn = Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        drawn.save(path, optimize=True)
        print(f"written: {path}")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{k} {_short(v)}" for k, v in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_short, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextlib.contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Seconds by the clock and of all processors, filled in at the end."""
    facts: dict[str, float] = {}
    clock, processors = time.perf_counter(), time.process_time()
    yield facts
    facts["seconds"] = time.perf_counter() - clock
    facts["cpu_seconds"] = time.process_time() - processors

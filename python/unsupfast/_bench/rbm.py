"""Training speed of RBMs: CD-k against PyTorch and JAX, PCD against scikit-learn, CSR input,
convolutional RBMs against PyTorch."""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from . import annealing, conv, dbn, deep, gpu, harness, peers
from .harness import Contender, Result
from .peers import RBMProblem

__all__ = ["add_arguments", "run"]

HIDDEN = 500
LEARNING_RATE = 0.05
# Long enough that a call is not all overhead, short enough that rounds alternate quickly.
BATCHES_PER_CALL = {100: 50, 1024: 8}
ROWS_ON_GPU = 60_000  # a pass over MNIST
DBN_ROWS = 10_000  # so that what is done once an epoch counts about as little as on whole data sets


# -------------------------------------------------------------------------- this package


def ours_model(problem: RBMProblem, method: str, precision: str, device: str = "cpu") -> Any:
    """Return this package's RBM, standing at the start weights of ``problem``."""
    import unsupfast as uf

    units: dict[str, Any] = {}
    if problem.gaussian:  # of variance 1, as the peers' are
        units = {"visible": uf.units.Gaussian(standardize=False), "learn_sigma": False}
    model = uf.RBM(
        problem.W.shape[1],
        **units,
        method=method,
        k=problem.k,
        batch_size=problem.batch,
        learning_rate=problem.learning_rate,
        precision=precision,
        device=device,
        n_iter=1,
        random_state=0,
    )
    model.partial_fit(problem.X[: problem.batch])  # allocates the learned attributes
    model.components_ = np.ascontiguousarray(problem.W.T)
    model.intercept_visible_ = problem.b.copy()
    model.intercept_hidden_ = problem.c.copy()
    return model


def ours_epoch(model: Any, X: Any) -> Callable[[], None]:
    """Return a function that trains `model` for one pass over X: the call that ``fit`` makes."""
    machine = model._load_core()
    rows, order = model._rows(model._resident(X)), np.arange(X.shape[0])
    options = model._options(0, model.batch_size)
    call = functools.partial(machine.train, rows, order, None, options)
    return call if machine.gpu < 0 else gpu.synchronised(call)


def ours_contenders(
    problem: RBMProblem,
    method: str = "cd",
    precisions: tuple[str, ...] = ("float32", "bfloat16", "int16"),
    device: str = "cpu",
) -> Iterator[Contender]:
    """Yield this package's rows, one a precision."""
    for precision in precisions:
        short = {"float32": "f32", "bfloat16": "bf16", "int16": "i16"}.get(precision, precision)
        form = _Ours(problem, method, precision, device)
        yield Contender(
            name=f"unsupfast {short}",
            group=f"unsupfast {short}",
            setup=form.setup,
            units=problem.X.shape[0],
            flops=problem.flops,
            precision=precision,
            ours=True,
            report=form.report,
        )


class _Ours:
    def __init__(self, problem: RBMProblem, method: str, precision: str, device: str) -> None:
        self.problem, self.method, self.precision = problem, method, precision
        self.device = device

    def setup(self) -> Callable[[], None]:
        self.model = ours_model(self.problem, self.method, self.precision, self.device)
        return ours_epoch(self.model, self.problem.X)

    def report(self) -> dict[str, float]:
        model = self.model
        return peers.activity(self.problem, model.components_.T, model.intercept_hidden_)


# ---------------------------------------------------------------------------------- data


def images(rows: int, seed: int = 0) -> tuple[np.ndarray, str]:
    """Return shuffled binary images, real ones where they can be found, and their name."""
    from unsupfast import datasets

    generator = np.random.default_rng(seed)
    try:
        X = datasets.binarized_mnist("train").data
    except FileNotFoundError:
        print("note: binarised MNIST not found (UNSUPFAST_DATA); using random rows, 13 % ones")
        return (generator.random((rows, 784)) < 0.13).astype(np.float32), "Bernoulli(0.13)"
    # The file's rows are not in random order.
    return X[generator.permutation(len(X))[:rows]], "binarised MNIST"


def real_rows(rows: int, features: int = 784, factors: int = 50, seed: int = 0) -> np.ndarray:
    """Standardised real rows whose columns share factors: for Gaussian visible units."""
    generator = np.random.default_rng(seed)
    loadings = generator.standard_normal((factors, features), dtype=np.float32)
    X = generator.choice(np.array([-1, 1], np.float32), (rows, factors)) @ loadings / factors**0.5
    X += generator.standard_normal(X.shape, dtype=np.float32)
    return (X - X.mean(axis=0)) / X.std(axis=0)


def start_weights(
    X: np.ndarray,
    hidden: int,
    steps: int = 400,
    batch: int = 100,
    seed: int = 0,
    gaussian: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights after a short CD-1 training in NumPy.

    Speed depends on the states: a kernel that skips zeros would look too good or too bad on the
    near-random states of untrained weights.
    """
    generator = np.random.default_rng(seed)
    W = generator.normal(0.0, 0.01, (X.shape[1], hidden)).astype(np.float32)
    b = np.zeros(X.shape[1], np.float32)
    if not gaussian:
        mean = np.clip(X.mean(0), 0.005, 0.995)
        b = np.log(mean / (1.0 - mean)).astype(np.float32)
    c = np.zeros(hidden, np.float32)

    def sigmoid(a: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-a))

    def draw(p: np.ndarray) -> np.ndarray:
        return (generator.random(p.shape, dtype=np.float32) < p).astype(np.float32)

    rate = np.float32((0.001 if gaussian else 0.1) / batch)
    for index in range(steps):
        v0 = X[np.arange(index * batch, (index + 1) * batch) % len(X)]
        h0 = sigmoid(v0 @ W + c)
        x = draw(h0) @ W.T + b
        vk = x + generator.standard_normal(x.shape, np.float32) if gaussian else draw(sigmoid(x))
        hk = sigmoid(vk @ W + c)
        W += rate * (v0.T @ h0 - vk.T @ hk)
        b += rate * (v0 - vk).sum(0)
        c += rate * (h0 - hk).sum(0)
    return W, b, c


def reuters(features: int = 2000) -> tuple[sp.csr_matrix, str]:
    """Word counts clipped to 0/1, from Reuters-21578 where it can be found, else synthetic."""
    from unsupfast import datasets

    try:
        texts = datasets.reuters21578("all").texts
    except FileNotFoundError:
        print("note: Reuters-21578 not found (UNSUPFAST_DATA); using Zipf-distributed rows")
        return zipf_rows(10_000, features, 0.02), "synthetic Zipf, 2 % dense"
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        max_features=features, binary=True, stop_words="english", dtype=np.float32
    )
    X = sp.csr_matrix(vectorizer.fit_transform(texts))
    X = X[np.random.default_rng(0).permutation(X.shape[0])]
    return X, f"Reuters-21578, {features} most frequent words, 0/1"


def zipf_rows(rows: int, features: int, density: float, seed: int = 0) -> sp.csr_matrix:
    """Random 0/1 rows in CSR whose column frequencies fall like 1/rank."""
    generator = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, features + 1)
    # Scale the weights so that the frequencies, capped below 1, have the wanted mean.
    low, high = 0.0, float(features) ** 2
    for _ in range(100):
        middle = 0.5 * (low + high)
        if np.minimum(weight * middle, 0.6).mean() < density:
            low = middle
        else:
            high = middle
    frequency = np.minimum(weight * high, 0.6)
    # In blocks, so that memory is measured against the sparse matrix, not a dense scratch.
    blocks = [
        sp.csr_matrix(generator.random((min(500, rows - i), features)) < frequency)
        for i in range(0, rows, 500)
    ]
    return sp.vstack(blocks, format="csr").astype(np.float32)


def _problem(
    X: np.ndarray, start: tuple[np.ndarray, ...], batch: int, k: int, device: str = "cpu"
) -> RBMProblem:
    rows = batch * BATCHES_PER_CALL.get(batch, max(1, 8192 // batch))
    if device == "cuda":
        rows = ROWS_ON_GPU // batch * batch
    data = np.ascontiguousarray(X[np.arange(rows) % len(X)])
    W, b, c = start
    return RBMProblem(data, W, b, c, batch, k, LEARNING_RATE)


# -------------------------------------------------------------------------------- suites


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``unsupfast bench rbm``."""
    parser.add_argument(
        "--what",
        nargs="+",
        choices=("cd", "conv", "pcd", "csr", "large", "ais", "gaussian", "dbn", "dbm"),
        help="default: cd conv pcd csr ais gaussian dbn; on a GPU cd large ais",
    )
    parser.add_argument("--k", nargs="+", type=int, default=[1, 10], help="Gibbs steps, for cd")
    parser.add_argument("--batch", nargs="+", type=int, default=[100, 1024], help="for cd")
    parser.add_argument("--precisions", nargs="+", help="of ours, for cd (default: all)")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=("torch", "compile", "jax", "sklearn"),
        default=["torch", "compile", "jax", "sklearn"],
        help="compile: torch.compile beside eager PyTorch",
    )
    parser.add_argument("--only-peers", action="store_true", help="leave this package out")


def run(args: argparse.Namespace, threads: int, say: Callable[[str], None]) -> list[Result]:
    """Run the suites asked for and return their results."""
    results: list[Result] = []
    options = {
        "rounds": args.rounds,
        "turn_seconds": args.turn_seconds,
        "progress": say,
    }

    def done(result: Result) -> None:
        results.append(result)
        print(harness.format_result(result) + "\n", flush=True)

    if args.device == "cuda":
        options["peak_of"] = gpu.ceiling
    if not args.what:
        on_cpu = args.device == "cpu"
        on_gpu = ["cd", "large", "ais"]
        args.what = ["cd", "conv", "pcd", "csr", "ais", "gaussian", "dbn"] if on_cpu else on_gpu
    if {"cd", "pcd", "ais", "dbn", "dbm"} & set(args.what):
        X, source = images(10_000)
        start = start_weights(X, HIDDEN)
    if "cd" in args.what:
        for k in args.k:
            for batch in args.batch:
                problem = _problem(X, start, batch, k, args.device)
                done(_cd(problem, source, args, threads, options))
    if "gaussian" in args.what:
        real = real_rows(10_000)
        of_real = start_weights(real, HIDDEN, gaussian=True)
        for batch in args.batch:
            task = _problem(real, of_real, batch, 1, args.device)
            problem = replace(task, learning_rate=0.001, gaussian=True)
            done(_cd(problem, "standardised real rows", args, threads, options))
    if "dbn" in args.what:
        for states in (False, True):
            done(_dbn(X, source, states, args, threads, options))
    if "large" in args.what:
        rows = (np.random.default_rng(0).random((16 * 4096, 4096)) < 0.2).astype(np.float32)
        W = np.random.default_rng(1).normal(0, 0.01, (4096, 4096)).astype(np.float32)
        zeros = np.zeros(4096, np.float32)
        problem = RBMProblem(rows, W, zeros, zeros.copy(), 4096, 1, LEARNING_RATE)
        done(_cd(problem, "Bernoulli(0.2)", args, threads, options))
    if "conv" in args.what and args.device == "cpu" and not args.only_peers:
        done(_conv(args, threads, options))
    if "ais" in args.what:
        chains, temperatures = (1000, 10_000) if args.device == "cuda" else (100, 1000)
        problem = _problem(X, start, 1024, 1)
        contenders = annealing.contenders(problem, chains, temperatures, threads, args.device)
        title = f"AIS, 784x{HIDDEN}, {chains} chains, {temperatures} temperatures"
        done(harness.measure(contenders, title=title, unit="chain temperatures", **options))
    if "dbm" in args.what:
        problem = _problem(X, start, 100, 1)
        contenders = deep.contenders(problem, threads, "compile" in args.peers, args.device)
        title = f"DBM, 784x{HIDDEN}x{deep.TOP}, batch 100, {source}"
        done(harness.measure(contenders, title=title, **options))
    if "pcd" in args.what:
        done(_pcd(_problem(X, start, 100, 1), source, args, options))
    if "csr" in args.what and not args.only_peers:
        done(_csr(args, threads, options))
    return results


def _facts(problem: RBMProblem, source: str) -> dict[str, Any]:
    return {
        "data": source,
        "visible": problem.W.shape[0],
        "hidden": problem.W.shape[1],
        "batch": problem.batch,
        "k": problem.k,
        "learning_rate": problem.learning_rate,
        "flops_per_sample": problem.flops / problem.X.shape[0],
        # Kernels that skip zeros gain from these; report() has the values after the run.
        "mean_v_start": float(problem.X.mean()),
        "mean_h_start": peers.activity(problem, problem.W, problem.c)["mean_h"],
    }


def _cd(
    problem: RBMProblem,
    source: str,
    args: argparse.Namespace,
    threads: int,
    options: dict[str, Any],
) -> Result:
    contenders: list[Contender] = []
    if not args.only_peers:
        wanted = args.precisions or ("float32", "bfloat16", "int16")[: 2 if problem.gaussian else 3]
        contenders += ours_contenders(problem, precisions=tuple(wanted), device=args.device)
    if {"torch", "compile"} & set(args.peers):
        contenders += peers.torch_contenders(
            problem, threads, compiled="compile" in args.peers, device=args.device
        )
    if "jax" in args.peers:
        contenders += peers.jax_contenders(problem)
    title = (
        f"CD-{problem.k}, {'x'.join(map(str, problem.W.shape))}, "
        f"{'Gaussian visibles, ' * problem.gaussian}batch {problem.batch}, {source}"
    )
    result = harness.measure(contenders, title=title, **options)
    result.info.update(_facts(problem, source))
    return result


def _dbn(
    X: np.ndarray,
    source: str,
    states: bool,
    args: argparse.Namespace,
    threads: int,
    options: dict[str, Any],
) -> Result:
    """Pre-training of all layers as a whole, and what of ours is not the training of a layer."""
    batch = 100
    layers = dbn.layers(X[:DBN_ROWS], batch, LEARNING_RATE)
    contenders: list[Contender] = []
    if not args.only_peers:
        contenders += dbn.ours_contenders(layers, states, tuple(args.precisions or ("float32",)))
    if {"torch", "compile"} & set(args.peers):
        contenders += dbn.torch_contenders(
            layers, states, threads, compiled="compile" in args.peers
        )
    if "jax" in args.peers:
        contenders += dbn.jax_contenders(layers, states)
    widths = "-".join(map(str, (X.shape[1], *dbn.WIDTHS)))
    title = f"DBN {widths}, {dbn.EPOCHS} epochs of CD-1 a layer, batch {batch}, {source}"
    title += ", layers trained on " + ("states" if states else "means")
    result = harness.measure(contenders, title=title, **options)
    facts = {"rows": layers[0].X.shape[0], "flops": dbn.flops(layers, states)}
    result.info.update({"data": source, "batch": batch, **facts})
    return result


def _conv(args: argparse.Namespace, threads: int, options: dict[str, Any]) -> Result:
    X, source = images(10_000)
    problem = conv.ConvProblem.of(X)
    contenders = conv.contenders(
        problem, threads, torch="torch" in args.peers, compiled="compile" in args.peers
    )
    title = (
        f"convolutional CD-1, {conv.IMAGE}x{conv.IMAGE}, {conv.FILTERS} filters of "
        f"{conv.FILTER}x{conv.FILTER}, pool {conv.POOL}, batch {conv.BATCH}, {source}"
    )
    result = harness.measure(contenders, title=title, **options)
    result.info.update(problem.activity(problem.W, problem.b), mean_v=float(problem.X.mean()))
    return result


def _pcd(
    problem: RBMProblem, source: str, args: argparse.Namespace, options: dict[str, Any]
) -> Result:
    contenders: list[Contender] = []
    if not args.only_peers:
        contenders += ours_contenders(problem, method="pcd")
    if "sklearn" in args.peers:
        contenders += peers.sklearn_contenders(problem)
    title = f"PCD-1, 784x{HIDDEN}, batch {problem.batch}, {source}"
    result = harness.measure(contenders, title=title, **options)
    result.info.update(_facts(problem, source))
    return result


def _csr(args: argparse.Namespace, threads: int, options: dict[str, Any]) -> Result:
    """Our CSR path against dense rows, ours and PyTorch's, and the memory it takes."""
    X, source = reuters()
    X = X[:5000]
    dense = X.toarray()
    problem = RBMProblem(
        dense, *start_weights(dense, HIDDEN, steps=100), batch=500, k=1, learning_rate=0.05
    )
    contenders = []
    for name, rows in (("CSR", X), ("dense", dense)):

        def setup(rows: Any = rows) -> Callable[[], None]:
            model = ours_model(problem, "cd", "float32")
            return ours_epoch(model, rows)

        contenders.append(
            Contender(
                name=f"unsupfast f32 {name}",
                group=f"unsupfast {name}",
                setup=setup,
                units=X.shape[0],
                flops=problem.flops,
                ours=True,
            )
        )
    if "torch" in args.peers:
        contenders += peers.torch_contenders(problem, threads, compiled=False)
    title = f"CD-1 on {source}, {X.shape[1]}x{HIDDEN}, batch 500, {X.nnz / np.prod(X.shape):.2%}"
    result = harness.measure(contenders, title=title, **options)
    result.info.update(_facts(problem, source))
    result.info["density"] = X.nnz / float(np.prod(X.shape))
    result.info["memory"] = csr_memory()
    for line in result.info["memory"]:
        if "growth_bytes" in line:
            print(
                f"  {line['rows']} rows, {line['density']:.0%} dense: "
                f"fit took {line['growth_bytes'] / 2**20:.1f} MiB more, "
                f"non-zeros {line['csr_bytes'] / 2**20:.1f} MiB, "
                f"dense rows would be {line['dense_bytes'] / 2**20:.0f} MiB"
            )
    return result


# Read in a child process: the peak of a process that has done other things says nothing.
_MEMORY_CHILD = """
import json, sys
from unsupfast._bench import rbm
print(json.dumps(rbm.csr_memory_child(int(sys.argv[1]), float(sys.argv[2]))))
"""


def csr_memory() -> list[dict[str, Any]]:
    """Peak memory that training on CSR takes, for several sizes; empty where Linux is not."""
    if not Path("/proc/self/clear_refs").exists():
        return []
    found = []
    for rows, density in ((5000, 0.02), (20000, 0.02), (20000, 0.04), (40000, 0.02)):
        command = [sys.executable, "-c", _MEMORY_CHILD, str(rows), str(density)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            found.append({"rows": rows, "density": density, "failed": lines[-1] if lines else ""})
        else:
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def csr_memory_child(rows: int, density: float) -> dict[str, Any]:
    """Train once on CSR and return by how much the peak rose above what was there before."""
    import unsupfast as uf

    X = zipf_rows(rows, 2000, density)
    # A first small fit pays for threads, code pages and workspaces, which do not grow with X.
    model = uf.RBM(HIDDEN, method="cd", batch_size=500, n_iter=1, random_state=0)
    model.fit(X[:1000])
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from the present
    before = _status("VmRSS")
    model.fit(X)
    return {
        "rows": rows,
        "density": X.nnz / (rows * 2000),
        "nnz": int(X.nnz),
        "csr_bytes": int(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes),
        "dense_bytes": rows * 2000 * 4,
        "growth_bytes": _status("VmHWM") - before,
    }


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")

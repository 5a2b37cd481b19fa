"""The command line: ``unsupfast demo | train | sample | transform | plot | info | bench``.

Exit status: 0 done; 1 training diverged or another failure at run time; 2 wrong usage or input,
with one line on standard error; 130 interrupted. Results go to standard output, progress and
remarks to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import _cli_plot
from ._cli_common import (
    DATA_HELP,
    PICTURES,
    Usage,
    add_data_options,
    height_by_width,
    load_data,
    load_model,
    natural,
    note,
    positive,
    writable,
)
from ._cli_plot import check_drawable, check_image_shape, draw_curves, draw_tiles, samples

__all__ = ["main"]

_BATCH = 4096  # rows at a time where a whole data set streams through a model


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        The arguments; those of the process if None.

    Returns
    -------
    int
        Exit status, as above.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["bench"]:
            # Handed on untouched: argparse would take options like --help for its own.
            return _bench(arguments[1:])
        parser = _parser()
        args = parser.parse_args(arguments)
        if args.run is None:
            parser.print_help(sys.stderr)
            return 2
        status = args.run(args)
        sys.stdout.flush()
        return int(status or 0)
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a wrong option
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as interrupt:
        note(f"unsupfast: {interrupt or 'interrupted'}")
        return 130
    except BrokenPipeError:
        # The reader went away (`unsupfast info | head`): no error, but the interpreter must not try
        # to flush what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Usage, ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        return _fail(error, 2)
    except (ArithmeticError, RuntimeError) as error:
        return _fail(error, 1)


def _fail(error: BaseException, status: int) -> int:
    if os.environ.get("UNSUPFAST_TRACEBACK"):
        raise error
    text = " ".join(str(error).split()) or type(error).__name__
    note(f"unsupfast: error: {text}")
    return status


# ------------------------------------------------------------------------------------- arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unsupfast",
        description="Fast unsupervised neural networks.",
        epilog="UNSUPFAST_DATA: folder of the data sets. UNSUPFAST_TRACEBACK=1: show where an "
        "error comes from.",
    )
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Callable[..., Any], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    demo = command("demo", _demo, "train an RBM on digits in seconds, evaluate it, draw pictures")
    demo.add_argument("--out", metavar="DIR", default="unsupfast-demo", help="default: %(default)s")
    demo.add_argument("--seed", type=natural, default=0, help="default: %(default)s")

    train = command("train", _train, "train a model and save it")
    train.add_argument("model", choices=["rbm"], help="kind of model")
    train.add_argument("--data", required=True, metavar="NAME|PATH", help=DATA_HELP)
    add_data_options(train)
    train.add_argument("--out", required=True, metavar="FILE", help="model.safetensors")
    train.add_argument("--n-components", type=int, default=500, help="default: %(default)s")
    train.add_argument(
        "--method", choices=["cd", "pcd"], default="pcd", help="default: %(default)s"
    )
    train.add_argument("--k", type=int, default=1, help="Gibbs steps an update (%(default)s)")
    train.add_argument("--learning-rate", type=float, default=0.05, help="default: %(default)s")
    train.add_argument("--batch-size", type=int, default=100, help="default: %(default)s")
    train.add_argument("--n-iter", type=int, default=10, help="epochs (%(default)s)")
    train.add_argument("--momentum", type=float, default=0.0, help="default: %(default)s")
    train.add_argument("--weight-decay", type=float, default=0.0, help="default: %(default)s")
    train.add_argument(
        "--visible",
        choices=["bernoulli", "gaussian"],
        default="bernoulli",
        help="default: %(default)s",
    )
    train.add_argument("--precision", default="auto", help="auto, float32, bfloat16, ...")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    train.add_argument("--random-state", type=natural, default=None, metavar="SEED")
    train.add_argument(
        "--validation",
        metavar="FRACTION|NAME|PATH",
        help="hold out this fraction of the data, or evaluate on this data after training",
    )
    train.add_argument("--checkpoint", metavar="FILE", help="write the whole state every epoch")
    train.add_argument("--resume", metavar="FILE", help="go on from a checkpoint")
    train.add_argument("--quiet", action="store_true", help="no progress bar")

    sample = command("sample", _sample, "draw samples from a saved model")
    sample.add_argument("model", metavar="MODEL", help="a saved model")
    sample.add_argument("-n", "--n-samples", type=positive, default=64, help="default: 64")
    sample.add_argument("--steps", type=positive, default=1000, help="Gibbs steps (1000)")
    sample.add_argument("--out", required=True, metavar="FILE", help=".npy, or a picture: .png")
    sample.add_argument(
        "--mean", action="store_true", help="means of the last step, as pictures have it anyway"
    )
    sample.add_argument(
        "--image-shape", type=height_by_width, metavar="HxW", help="default: a square"
    )
    sample.add_argument("--random-state", type=natural, default=None, metavar="SEED")

    transform = command("transform", _transform, "write the hidden activities of data")
    transform.add_argument("model", metavar="MODEL", help="a saved model")
    transform.add_argument("--data", required=True, metavar="NAME|PATH", help=DATA_HELP)
    add_data_options(transform)
    transform.add_argument("--out", required=True, metavar="FILE", help="codes.npy")

    plot = command("plot", _cli_plot.run, "draw a saved model")
    _cli_plot.add_arguments(plot)

    info = command("info", _info, "say what was built, what is usable here, and why not")
    info.add_argument("--json", action="store_true", help="for programs")

    # Only for the list of commands: main() hands `bench` on before this parser is asked.
    commands.add_parser("bench", help="compare speeds (rbm, autoencoder, gemm)", add_help=False)
    return parser


# -------------------------------------------------------------------------------------- commands


def _demo(args: argparse.Namespace) -> int:
    import unsupfast

    from . import datasets

    folder = Path(args.out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise Usage(f"--out: {args.out!r} is a file, expected a folder") from None

    digits = datasets.digits()
    # Binary pictures, because a log-likelihood of grey levels under binary units means nothing.
    # Shuffled, so that the held-out part is not other people's handwriting.
    order = np.random.default_rng(args.seed).permutation(len(digits.data))
    data = (digits.data[order] >= 0.5).astype(np.float32)
    held_out, training = data[:297], data[297:]

    epochs = 100
    from tqdm import tqdm

    bar = tqdm(total=epochs, desc="training", unit="epoch", leave=False, disable=None)

    def progress(event: Any) -> None:
        bar.set_postfix({"pseudo-LL": f"{event.metrics['pseudo_log_likelihood']:.2f}"}, False)
        bar.update()

    model = unsupfast.RBM(
        128,
        method="pcd",
        k=1,
        # Falling to zero, which averages out the noise of the chains: held out -17.0, -16.5 and
        # -17.3 nats with seeds 0 to 2, against -25.3, -29.5 and -23.7 at a constant 0.1.
        learning_rate=[0.1 * (1 - epoch / epochs) for epoch in range(epochs)],
        batch_size=20,
        n_iter=epochs,
        weight_decay=1e-3,
        validation_fraction=0.1,
        random_state=args.seed,
        callbacks=[progress],
    )
    start = time.perf_counter()
    with bar:
        model.fit(training)
    seconds = time.perf_counter() - start

    print("data             scikit-learn's digits, 8x8, binarised: 1500 to train, 297 held out")
    print(f"model            RBM, 64 visible and {model.n_components} hidden units, PCD-1")
    used = len(training) - math.ceil(0.1 * len(training))
    print(f"training         {_speed(model, used)}; {seconds:.2f} s with measuring")
    pseudo = float(model.pseudo_log_likelihood(held_out, exact=True))
    print(f"pseudo-LL        {pseudo:.2f} nats/sample, held out")
    result = model.log_likelihood(held_out, method="ais")
    low, high = result.interval
    print(
        f"log-likelihood   {result.value:.2f} nats/sample, held out (AIS, interval {low:.2f} to "
        f"{high:.2f})"
    )
    # What a model that knows only how often each pixel is on would get, to compare with.
    rate = (training.sum(0, dtype=np.float64) + 0.5) / (len(training) + 1)
    base = (held_out * np.log(rate) + (1 - held_out) * np.log1p(-rate)).sum(1).mean()
    print(f"  independent    {base:.2f} nats/sample with pixels taken as independent")

    model.save(folder / "model.safetensors")
    fantasies = model.sample(100, steps=1000, mean=True, random_state=args.seed)
    draw_tiles("filters", folder / "filters.png", model, digits.image_shape)
    draw_tiles("samples", folder / "samples.png", fantasies, digits.image_shape)
    draw_curves(model, folder / "learning-curve.png")
    written = ("model.safetensors", "filters.png", "samples.png", "learning-curve.png")
    print(f"written          {folder}: {', '.join(written)}")
    return 0


def _check_probabilities(data: Any, option: str) -> None:
    """RBM takes any finite value for Bernoulli units, as scikit-learn does; from a file, it is an
    oversight."""
    low, high = float(data.min()), float(data.max())
    if low < 0 or high > 1:  # false for NaN, which the model names itself
        raise Usage(
            f"{option}: values from {low:g} to {high:g}, expected 0 to 1 for Bernoulli units; "
            "rescale (--scale), or use --visible gaussian"
        )


def _train(args: argparse.Namespace) -> int:
    import unsupfast

    out = writable("--out", args.out)
    if args.checkpoint is not None:
        args.checkpoint = str(writable("--checkpoint", args.checkpoint))
    if args.resume is not None and not Path(args.resume).is_file():
        raise Usage(f"--resume: {args.resume!r} is no file")
    fraction, held_out = _validation(args)
    data, _, name, _ = load_data(args.data, args.key, args.scale)
    if held_out is not None and held_out.shape[1] != data.shape[1]:
        raise Usage(
            f"--validation: has {held_out.shape[1]} columns, the training data {data.shape[1]}"
        )

    if args.visible == "bernoulli":
        _check_probabilities(data, "--data")
        if held_out is not None:
            _check_probabilities(held_out, "--validation")
    model = unsupfast.RBM(
        args.n_components,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        n_iter=args.n_iter,
        # A bar for people, a line an epoch for logs.
        verbose=0 if args.quiet else 2 if sys.stderr.isatty() else 1,
        random_state=args.random_state,
        method=args.method,
        k=args.k,
        visible=args.visible,
        momentum=args.momentum,
        weight_decay=args.weight_decay,
        precision=args.precision,
        device=args.device,
        validation_fraction=fraction,
        checkpoint=args.checkpoint,
        resume=args.resume,
    )
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its lines are progress, not results
            model.fit(data)
    except KeyboardInterrupt:
        # The checkpoint keeps the last whole epoch, which can be resumed exactly; the model file
        # gets the weights as they are now.
        kept = "nothing was saved"
        if args.checkpoint is not None:
            kept = "no epoch was finished, nothing was saved"
            if hasattr(model, "components_"):
                model.save(out)
                kept = f"the model so far is in {out}"
            if Path(args.checkpoint).is_file():
                kept += f"; go on with --resume {args.checkpoint}"
        raise KeyboardInterrupt(f"interrupted: {kept}") from None
    seconds = time.perf_counter() - start
    model.save(out)

    rows = data.shape[0]
    print(f"data             {name}, {rows} x {data.shape[1]}")
    print(f"model            RBM, {args.n_components} hidden units, {args.method.upper()}-{args.k}")
    used = rows - math.ceil(rows * (fraction or 0.0))
    print(f"training         {_speed(model, used)}; {seconds:.2f} s with measuring")
    _print_last(model.history_)
    if held_out is not None:
        _print_held_out(model, data, held_out)
    print(f"written          {out}")
    return 0


def _speed(model: Any, samples: int) -> str:
    """Epochs, their time and samples/s from the history, which leaves out measuring."""
    seconds = model.history_["seconds"]
    total = float(np.sum(seconds))
    rate = samples * len(seconds) / total if total > 0 else float("nan")
    return f"{len(seconds)} epochs in {total:.2f} s, {rate:,.0f} samples/s"


def _validation(args: argparse.Namespace) -> tuple[float | None, Any]:
    """--validation as (fraction, None), (None, data) or (None, None)."""
    if args.validation is None:
        return None, None
    try:
        fraction = float(args.validation)
    except ValueError:
        return None, load_data(args.validation, args.key, args.scale).data
    if not 0 < fraction < 1:
        raise Usage(f"--validation: got {args.validation}, expected a fraction between 0 and 1")
    return fraction, None


def _print_last(history: Mapping[str, Sequence[Any]]) -> None:
    for metric, values in history.items():
        if metric in ("epoch", "seconds", "validation_score") or not values:
            continue
        last = values[-1]
        if isinstance(last, (int, float, np.number)) and math.isfinite(float(last)):
            print(f"  {metric.replace('_', ' '):<22} {float(last):.4g} after the last epoch")


def _print_held_out(model: Any, data: Any, held_out: Any) -> None:
    """How the model does on data given with --validation; a growing gap means overfitting."""
    seen = data[: held_out.shape[0]]
    gap = _mean(model.free_energy, held_out) - _mean(model.free_energy, seen)
    print(f"  held-out free-energy gap {gap:.3f} nats (held-out minus training)")
    if model.visible == "bernoulli":
        pseudo = float(model.pseudo_log_likelihood(held_out))
        print(f"  held-out pseudo-LL {pseudo:.3f} nats/sample")


def _mean(function: Callable[[Any], Any], data: Any) -> float:
    from .datasets import stream_batches

    total = 0.0
    for batch in stream_batches(data, _BATCH):
        total += float(np.sum(function(batch), dtype=np.float64))
    return total / data.shape[0]


def _sample(args: argparse.Namespace) -> int:
    out = writable("--out", args.out, ".npy", *PICTURES)
    picture = out.suffix.lower() != ".npy"
    if picture:
        check_drawable(out)
    model = load_model(args.model)
    if picture:
        check_image_shape(args.image_shape, model)
    # In pictures the means of the last step show more than their random 0s and 1s.
    mean = args.mean or picture
    drawn = samples(model, args.n_samples, args, mean=mean)
    if picture:
        draw_tiles("samples", out, drawn, args.image_shape)
    else:
        from .io import atomic_write

        with atomic_write(out) as file:
            np.save(file, np.asarray(drawn), allow_pickle=False)
    steps = f" after {args.steps} steps" if hasattr(model, "gibbs") else ""
    print(f"{args.n_samples} samples of {drawn.shape[1]} features{steps}: {out}")
    return 0


def _transform(args: argparse.Namespace) -> int:
    from .datasets import stream_batches
    from .io import atomic_write

    out = writable("--out", args.out, ".npy")
    model = load_model(args.model)
    data, _, name, _ = load_data(args.data, args.key, args.scale)
    if data.shape[1] != model.n_features_in_:
        raise Usage(
            f"--data: {name} has {data.shape[1]} columns, the model takes {model.n_features_in_}"
        )
    shape: tuple[int, ...] = ()
    with atomic_write(out) as file:
        # Written as it is made, so that neither data nor codes need to fit into memory.
        for batch in stream_batches(data, _BATCH):
            codes = np.ascontiguousarray(model.transform(batch))
            if not shape:
                shape = (data.shape[0], codes.shape[1])
                header = {
                    "descr": np.lib.format.dtype_to_descr(codes.dtype),
                    "fortran_order": False,
                    "shape": shape,
                }
                np.lib.format.write_array_header_1_0(file, header)
            file.write(codes.data)
    print(f"codes of {name}, {shape[0]} x {shape[1]}: {out}")
    return 0


def _info(args: argparse.Namespace) -> int:
    import unsupfast

    facts = unsupfast.build_info()
    if args.json:
        print(json.dumps(facts, indent=2, default=str))
    else:
        print("\n".join(_readable(facts)))
    return 0


def _readable(facts: Mapping[str, Any], indent: str = "") -> list[str]:
    width = max((len(str(key)) for key in facts), default=0)
    lines = []
    for key, value in facts.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}", *_readable(value, indent + "  ")]
            continue
        if isinstance(value, bool):
            value = "yes" if value else "no"
        elif value is None or (isinstance(value, (str, list, tuple)) and not value):
            value = "none"
        elif isinstance(value, (list, tuple)):
            value = ", ".join(map(str, value))
        lines.append(f"{indent}{name:<{width}}  {value}")
    return lines


def _bench(arguments: list[str]) -> int:
    if importlib.util.find_spec(f"{__package__}._bench") is None:
        raise Usage("bench: this installation has no benchmarks")
    module = importlib.import_module(f"{__package__}._bench")
    return int(module.main(arguments) or 0)


if __name__ == "__main__":
    sys.exit(main())

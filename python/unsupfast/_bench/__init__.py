"""Speed comparisons: ``unsupfast bench rbm``, ``autoencoder`` and ``gemm``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark suite.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after ``unsupfast bench``; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, or 2 for a wrong option value.
    """
    from . import autoencoder, gemm, harness, rbm

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, help="same for everybody (default: all cores)")
    common.add_argument("--rounds", type=int, default=9, help="turns each contender gets")
    common.add_argument("--turn-seconds", type=float, default=0.2, help="length of a turn")
    common.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="for everybody")
    common.add_argument("--quick", action="store_true", help="3 short rounds: a smoke test")
    common.add_argument("--out", help="folder for the JSON (default: bench/results or here)")
    common.add_argument("--no-json", action="store_true", help="print only")
    parser = argparse.ArgumentParser(prog="unsupfast bench", description=__doc__)
    suites = parser.add_subparsers(dest="suite", required=True)
    for name, module in (("rbm", rbm), ("autoencoder", autoencoder), ("gemm", gemm)):
        module.add_arguments(suites.add_parser(name, parents=[common], help=module.__doc__))
    args = parser.parse_args(argv)
    if args.quick:
        args.rounds, args.turn_seconds = 3, 0.05

    # JAX takes a GPU where it finds one, and most of its memory.
    os.environ.setdefault("JAX_PLATFORMS", args.device)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        threads = harness.limit_threads(args.threads)
        info = harness.machine(threads, args.device)
    except ValueError as error:
        print(f"unsupfast bench: {error}", file=sys.stderr)
        return 2
    versions = ", ".join(f"{name} {version}" for name, version in info["versions"].items())
    print(
        f"{info['processor']}, {info['cores']} cores, {threads} threads; {info.get('gpu', 'CPU')}"
    )
    print(versions + "\n", flush=True)

    def say(text: str) -> None:
        # Only for people watching: a log should hold the tables alone.
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    module = {"rbm": rbm, "autoencoder": autoencoder, "gemm": gemm}[args.suite]
    before = harness.bandwidth() if args.device == "cpu" else None
    results = module.run(args, threads, say)
    say("")
    after = harness.bandwidth() if args.device == "cpu" else None
    rates = [rate for rate in (before, after) if rate is not None]
    if rates:
        print("copy bandwidth: " + ", ".join(f"{rate / 1e9:.1f} GB/s" for rate in rates))
    if not args.no_json:
        path = harness.result_path(args.suite, info, harness.output_directory(args.out))
        document = {
            "suite": args.suite,
            "machine": info,
            "arguments": harness.arguments(args),
            "copy_bandwidth_bytes_per_s": rates,
            "results": [result.as_dict() for result in results],
        }
        harness.write_json(path, document)
        print(f"written: {path}")
    return 0

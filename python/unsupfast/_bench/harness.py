"""Measure several contenders in one process, in alternation.

Machines drift: clocks change, neighbours come and go. Times taken minutes apart can therefore not
be compared. Here every round gives each contender one turn (A B C A B C ...), the peak of the
machine is measured in the same rounds, and what is reported are medians and their ratios.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "Contender",
    "Result",
    "arguments",
    "bandwidth",
    "core",
    "format_result",
    "limit_threads",
    "machine",
    "measure",
    "output_directory",
    "result_path",
    "write_json",
]

SETTLE_SECONDS = 0.06
BENCH_HINT = "pip install 'unsupfast[bench]'"


@dataclass
class Contender:
    """One way of doing the work.

    Parameters
    ----------
    name : str
        Shown in the table; unique within a measurement.
    group : str
        Contenders of one group are forms of the same thing (say PyTorch in float32: eager,
        compiled, ...). Ratios are taken against the fastest form of a group.
    setup : callable
        Called once, untimed; returns the function to be timed.
    units : float
        Units of work (samples, products) that one call of that function does.
    flops : float
        Floating-point operations that one call does, 0 where that makes no sense.
    precision : str
        Which peak the rate is compared with.
    ours : bool
        True for this package's own rows, False for peers.
    report : callable, optional
        Called after the last round; its dictionary is kept in the JSON.
    """

    name: str
    group: str
    setup: Callable[[], Callable[[], Any]]
    units: float
    flops: float = 0.0
    precision: str = "float32"
    ours: bool = False
    report: Callable[[], dict[str, Any]] | None = None


@dataclass
class _Entry:
    """A contender in the race: its function, calls a turn, and seconds a call so far."""

    contender: Contender
    call: Callable[[], Any]
    setup_seconds: float
    calls: int = 1
    seconds: list[float] = field(default_factory=list)
    retired: bool = False


@dataclass
class Result:
    """What one measurement found.

    Attributes
    ----------
    title : str
        The work measured.
    unit : str
        What ``units`` of a contender count.
    rows : list of dict
        One a contender: name, group, rates (median, min, max), GFLOP/s, share of peak, seconds.
    ratios : dict
        For each of our rows, the ratio of medians to the fastest form of every other group.
    peak : dict
        Peak FLOP/s by precision (median, min, max over the rounds); empty where not measured.
    failed : dict
        Contenders that could not run, with the reason.
    info : dict
        Anything the suite adds, for example mean activities.
    """

    title: str
    unit: str
    rows: list[dict[str, Any]]
    ratios: dict[str, dict[str, float]]
    peak: dict[str, dict[str, float]]
    failed: dict[str, str]
    info: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the plain dictionary that is written to JSON."""
        return {
            "title": self.title,
            "unit": self.unit,
            "info": self.info,
            "peak_flops": self.peak,
            "contenders": self.rows,
            "ratios_of_medians": self.ratios,
            "failed": self.failed,
        }


def core() -> Any | None:
    """Return the compiled extension, or None where it is not there."""
    try:
        from unsupfast import _core
    except ImportError:
        return None
    return _core


def limit_threads(threads: int | None) -> int:
    """Give every library the same number of threads and return that number.

    Parameters
    ----------
    threads : int or None
        None means all cores that this process may use.

    Notes
    -----
    Call it before PyTorch and JAX are imported. Restricting the processors themselves is what
    reaches every thread pool alike: JAX, for one, has no option for the number.
    """
    available = _usable_cores()
    if threads is None:
        threads = available
    if not 1 <= threads <= available:
        raise ValueError(f"threads must be in 1..{available}, got {threads}")
    if threads < available:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        else:
            print(f"note: no processor affinity on {sys.platform}; JAX may use every core")
        # Extensions imported before this line have read the environment already.
        try:
            import threadpoolctl

            threadpoolctl.threadpool_limits(threads)
        except ImportError:
            pass
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    # The CPU suites must not find JAX on a GPU.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    module = core()
    for name in ("set_num_threads", "set_threads"):
        if module is not None and hasattr(module, name):
            getattr(module, name)(threads)
            break
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    return threads


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# The instruction sets that decide how fast matrix products can be.
_FEATURES = "avx2 fma avx512f avx512_vnni avx512_bf16 amx_bf16 amx_int8 asimd bf16 i8mm sve"


def _processor() -> dict[str, Any]:
    """Name, family and features of the processor; virtual machines may shorten the name."""
    fields: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.split("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    flags = fields.get("flags", fields.get("Features", "")).split()
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "family_model": f"{fields.get('cpu family', '?')}/{fields.get('model', '?')}",
        "features": [name for name in _FEATURES.split() if name in flags],
    }


def machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Describe the machine and the software of this run."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for name in ("unsupfast", "numpy", "scipy", "scikit-learn", "torch", "jax", "jaxlib"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    info: dict[str, Any] = {
        **_processor(),
        "architecture": platform.machine(),
        "cores": _usable_cores(),
        "threads": threads,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()}",
        "versions": versions,
        "backend": device,
    }
    if device == "cuda":
        module = core()
        gpus, reason = module.gpus() if module is not None else ([], "no compiled module")
        if not gpus:
            raise ValueError(f"--device cuda: {reason}")
        info["gpu"] = gpus[0]["name"]
    try:
        import unsupfast

        info["build"] = _plain(unsupfast.build_info())
    except (ImportError, AttributeError):
        info["build"] = None
    return info


def bandwidth() -> float | None:
    """Copy bandwidth in bytes/s, or None where the extension cannot measure it."""
    module = core()
    if module is None or not hasattr(module, "measure_bandwidth"):
        return None
    return float(module.measure_bandwidth())


def _peak(precision: str, seconds: float) -> float | None:
    module = core()
    if module is None or not hasattr(module, "measure_peak"):
        return None
    try:
        return float(module.measure_peak(precision, seconds))
    except (ValueError, RuntimeError):  # a precision that this processor has no instruction for
        return None


def measure(
    contenders: Iterable[Contender],
    *,
    title: str,
    unit: str = "samples",
    rounds: int = 9,
    turn_seconds: float = 0.2,
    screen_rounds: int = 3,
    keep: float = 0.75,
    peak_seconds: float = 0.05,
    peak_of: Callable[[str, float], float | None] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Result:
    """Measure contenders in alternation.

    Parameters
    ----------
    contenders : iterable of Contender
        All are set up and warmed up before the first round.
    title, unit : str
        Heading and name of the unit of work.
    rounds : int
        Turns each contender gets.
    turn_seconds : float
        A turn repeats the call until it lasts about this long.
    screen_rounds, keep : int, float
        After ``screen_rounds`` rounds, forms of a peer that reach less than ``keep`` of the best
        form of their group get no further turns (they stay in the table). Time goes to the
        comparison that counts: the fastest forms.
    peak_seconds : float
        Length of the FMA loop that is run once a round for every precision present.
    peak_of : callable, optional
        What to compare rates with instead: FLOP/s of (precision, seconds).
    progress : callable, optional
        Called with short messages.

    Returns
    -------
    Result
    """
    say = progress or (lambda text: None)
    entries: list[_Entry] = []
    failed: dict[str, str] = {}
    for contender in contenders:
        say(f"setting up {contender.name}")
        start = time.perf_counter()
        try:
            call = contender.setup()
            call()
        except Exception as error:  # a peer that fails must not end the run
            # A failure of ours is a defect, not a gap in the table.
            if contender.ours and not isinstance(error, (ImportError, AttributeError)):
                raise
            failed[contender.name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            continue
        entry = _Entry(contender, call, time.perf_counter() - start)
        once = _timed(call, 1)
        entry.calls = max(1, round(turn_seconds / max(once, 1e-9)))
        entries.append(entry)

    precisions = sorted({e.contender.precision for e in entries if e.contender.flops})
    peaks: dict[str, list[float]] = {name: [] for name in precisions}
    # The collector may strike in anybody's turn; run it between rounds instead.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for index in range(rounds):
            say(f"round {index + 1}/{rounds}")
            gc.collect()
            for name in precisions:
                value = (peak_of or _peak)(name, peak_seconds)
                if value is not None:
                    peaks[name].append(value)
            for entry in entries:
                if entry.retired:
                    continue
                # The workers of the contender before still spin for a while (OpenBLAS's for
                # 30 ms) and would take cores from this one; its own must be awake.
                time.sleep(SETTLE_SECONDS)
                entry.call()
                entry.seconds.append(_timed(entry.call, entry.calls))
            if index + 1 == screen_rounds:
                _retire(entries, keep)
    finally:
        if collecting:
            gc.enable()

    peak = {name: _spread(values) for name, values in peaks.items() if values}
    rows = [_row(entry, peak) for entry in entries]
    return Result(title, unit, rows, _ratios(rows), peak, failed)


def _timed(call: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _rate(entry: _Entry) -> float:
    return entry.contender.units / statistics.median(entry.seconds)


def _retire(entries: Sequence[_Entry], keep: float) -> None:
    best: dict[str, float] = {}
    for entry in entries:
        group = entry.contender.group
        best[group] = max(best.get(group, 0.0), _rate(entry))
    for entry in entries:
        slow = _rate(entry) < keep * best[entry.contender.group]
        entry.retired = slow and not entry.contender.ours


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _row(entry: _Entry, peak: dict[str, dict[str, float]]) -> dict[str, Any]:
    contender = entry.contender
    median = statistics.median(entry.seconds)
    flops = contender.flops / median
    row: dict[str, Any] = {
        "name": contender.name,
        "group": contender.group,
        "ours": contender.ours,
        "precision": contender.precision,
        "units_per_call": contender.units,
        "calls_per_turn": entry.calls,
        "turns": len(entry.seconds),
        "rate_median": contender.units / median,
        "rate_min": contender.units / max(entry.seconds),
        "rate_max": contender.units / min(entry.seconds),
        "gflops": flops / 1e9 if contender.flops else None,
        "share_of_peak": None,
        "setup_seconds": entry.setup_seconds,
        "seconds_per_call": entry.seconds,
    }
    if contender.flops and contender.precision in peak:
        row["share_of_peak"] = flops / peak[contender.precision]["median"]
    if contender.report is not None:
        row["report"] = _plain(contender.report())
    return row


def _ratios(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    best: dict[str, float] = {}
    for row in rows:
        best[row["group"]] = max(best.get(row["group"], 0.0), row["rate_median"])
    return {
        row["name"]: {
            group: row["rate_median"] / rate
            for group, rate in best.items()
            if group != row["group"]
        }
        for row in rows
        if row["ours"]
    }


def format_result(result: Result) -> str:
    """Return a plain-text table of a result."""
    peers = [row["rate_median"] for row in result.rows if not row["ours"]]
    best = max(peers, default=0.0)
    header = (f"{result.unit}/s", "min", "max", "GFLOP/s", "of peak", "vs best peer")
    table = [("", *header)]
    for row in sorted(result.rows, key=lambda item: -item["rate_median"]):
        share = row["share_of_peak"]
        table.append(
            (
                row["name"],
                _number(row["rate_median"]),
                _number(row["rate_min"]),
                _number(row["rate_max"]),
                "-" if row["gflops"] is None else f"{row['gflops']:.1f}",
                "-" if share is None else f"{100 * share:.0f} %",
                f"{row['rate_median'] / best:.2f}x" if best else "-",
            )
        )
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = [result.title]
    for line in table:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells))
    for name, value in result.peak.items():
        lines.append(
            f"  FMA peak {name}: {value['median'] / 1e9:.0f} GFLOP/s "
            f"({value['min'] / 1e9:.0f} to {value['max'] / 1e9:.0f})"
        )
    for name, ratios in result.ratios.items():
        text = ", ".join(f"{ratio:.2f}x {group}" for group, ratio in ratios.items())
        if text:
            lines.append(f"  {name}: {text}")
    for name, reason in result.failed.items():
        lines.append(f"  left out: {name} ({reason})")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the work: all but where its record goes."""
    return {name: value for name, value in vars(args).items() if name != "out"}


def output_directory(path: str | None) -> Path:
    """Where results go: the path given, else ``bench/results`` of a checkout, else here."""
    if path is not None:
        return Path(path)
    checkout = Path("bench") / "results"
    return checkout if checkout.is_dir() else Path(".")


def result_path(suite: str, info: dict[str, Any], directory: Path) -> Path:
    """Return ``<directory>/<suite>-<processor>-<threads>t.json``, or ``<suite>-<gpu>.json``."""
    name = str(info.get("gpu", info["processor"]))
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"
    threads = "" if "gpu" in info else f"-{info['threads']}t"
    return directory / f"{suite}-{slug}{threads}.json"


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document of plain values and NumPy scalars or arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A reader never sees half a file, and an interrupted run keeps the last good one.
    scratch = path.with_suffix(".json.tmp")
    scratch.write_text(json.dumps(_plain(document), indent=1) + "\n", encoding="utf-8")
    os.replace(scratch, path)


def _plain(value: Any) -> Any:
    """Turn NumPy scalars, tuples and paths into what JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)

"""What the commands share: messages, arguments, data and models they name."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_DATASETS = {
    "digits": (),
    "mnist": ("train", "test"),
    "fashion-mnist": ("train", "test"),
    "binarized-mnist": ("train", "valid", "test"),
    "olivetti": (),
}
DATA_HELP = (
    "digits, mnist, fashion-mnist, binarized-mnist or olivetti, with a split as in mnist:test; "
    "or a .npy, .npz or IDX file of one sample a row (of images: flattened)"
)
PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


class Usage(Exception):
    """Wrong input that is not an error of the library: one line, exit status 2."""


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", help="array to take from a .npz file that holds several")
    parser.add_argument(
        "--scale",
        default="auto",
        metavar="auto|none|NUMBER",
        help="divide the values of a file by NUMBER; auto: by 255 if it holds bytes above 1",
    )


def natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"got {value}, expected 0 or more")
    return value


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {value}, expected 1 or more")
    return value


# argparse quotes the name of the function for text that is no number at all.
natural.__name__ = positive.__name__ = "integer"


def height_by_width(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and int(p) > 0 for p in parts):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected HEIGHTxWIDTH, as in 28x28")
    return int(parts[0]), int(parts[1])


class Data(NamedTuple):
    """What `--data` names: an array, memmap or CSR matrix of shape (n, d), and what is known of
    it."""

    data: Any
    image_shape: tuple[int, int] | None
    name: str
    target: np.ndarray | None = None


def load_data(spec: str, key: str | None = None, scale: str = "auto") -> Data:
    from . import datasets

    name, _, split = spec.partition(":")
    if name in _DATASETS:
        if split and split not in _DATASETS[name]:
            splits = ", ".join(_DATASETS[name]) or "none"
            raise Usage(f"--data: {name} has no split {split!r} (it has {splits})")
        maker = getattr(datasets, name.replace("-", "_"))
        found = maker(split) if split else maker()
        return Data(found.data, found.image_shape, found.name, found.target)
    path = Path(spec).expanduser()
    if not path.exists():
        raise Usage(f"--data: {spec!r} is no file, and no data set ({', '.join(_DATASETS)})")
    data = _read(path, key)
    shape: tuple[int, int] | None = None
    if data.ndim > 2:
        if data.ndim == 3:
            shape = (int(data.shape[1]), int(data.shape[2]))
        data = data.reshape(len(data), math.prod(data.shape[1:]))
    if data.ndim != 2 or 0 in data.shape:
        raise Usage(f"{path}: holds shape {data.shape}, expected samples in rows, at least one")
    return Data(_scaled(data, scale, path), shape, path.name)


def _read(path: Path, key: str | None) -> Any:
    from .readers import read_array, regular_file

    regular_file(path)  # before it is opened: opening a pipe would wait for ever
    # Mapped if that is possible, so that data larger than memory pass through.
    with path.open("rb") as file:
        magic = file.read(4)
    mappable = magic[:4] == b"\x93NUM" or magic[:2] == b"\0\0"
    return read_array(path, mmap=mappable, key=key)


def _scaled(data: Any, scale: str, path: Path) -> Any:
    divisor = 1.0
    if scale == "auto" and data.dtype == np.uint8 and data.max() > 1:
        divisor = 255.0
        note(f"unsupfast: {path}: bytes above 1, taken for grey levels: divided by 255 (--scale)")
    elif scale not in ("auto", "none"):
        try:
            divisor = float(scale)
        except ValueError:
            divisor = 0.0
        if not (math.isfinite(divisor) and divisor > 0):
            raise Usage(f"--scale: got {scale!r}, expected auto, none or a positive number")
    # Everything but float64 is computed in float32; a mapped file of floats stays mapped.
    dtype = np.float64 if data.dtype.kind == "f" and data.dtype.itemsize == 8 else np.float32
    if divisor == 1:
        return data if data.dtype.kind == "f" and data.dtype.itemsize >= 4 else data.astype(dtype)
    if isinstance(data, np.ndarray):
        return np.divide(data, dtype(divisor), dtype=dtype, casting="unsafe")
    return (data.astype(dtype) / dtype(divisor)).astype(dtype)


def load_model(path: str) -> Any:
    import unsupfast  # registers the model classes

    return unsupfast.load(path)


def writable(option: str, path: str, *endings: str) -> Path:
    """Refuse a place that cannot be written before the work is done, not after it."""
    target = Path(path).expanduser()
    if endings and target.suffix.lower() not in endings:
        raise Usage(f"{option}: got {path!r}, expected a name that ends in {' or '.join(endings)}")
    if target.is_dir():
        raise Usage(f"{option}: {path!r} is a folder, expected the name of a file")
    if not target.parent.is_dir():
        raise Usage(f"{option}: the folder {str(target.parent)!r} does not exist")
    if not os.access(target.parent, os.W_OK):
        raise Usage(f"{option}: the folder {str(target.parent)!r} cannot be written")
    return target

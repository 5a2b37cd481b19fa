"""The pictures of ``unsupfast.plot`` as plain PNG files, for where matplotlib is not installed."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from .io import atomic_write
from .plot._arrays import dense_rows, tile_shape, tiled, weights_of
from .plot._curves import history_groups, history_of, label_of, series

__all__ = ["filters", "learning_curve", "samples", "write_png"]

_GREY = ((0, 0, 0), (255, 255, 255))
_BLUE_WHITE_RED = ((5, 48, 97), (103, 169, 207), (247, 247, 247), (239, 138, 98), (103, 0, 31))
_LINES = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40))
_BORDER, _FAINT, _INK = 140, 225, 40
# Letters of 3 x 5 dots; an octal digit is a row.
_GLYPHS = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz0123456789-./()",
        "25755 65656 34443 65556 74647 74644 34553 55755 72227 11152 55655 44447 57755 65555 25552 "
        "65644 25573 65655 34216 72222 55557 55552 55775 55255 55222 71247 75557 26227 71747 71317 "
        "55711 74717 74757 71111 75757 75717 00700 00002 11244 12221 42224".split(),
        strict=True,
    )
)


def filters(components: Any, image_shape: tuple[int, int] | None, n: int | None) -> np.ndarray:
    """Pixels of weight vectors in tiles: blue negative, red positive, one scale for all."""
    rows = dense_rows("components", weights_of(components), n)
    limit = float(np.percentile(np.abs(rows), 99.5)) or 1.0
    return _tiles(rows, image_shape, -limit, limit, _BLUE_WHITE_RED)


def samples(images: Any, image_shape: tuple[int, int] | None, n: int | None) -> np.ndarray:
    """Pixels of images in tiles: 0 black, 1 white."""
    return _tiles(dense_rows("images", images, n), image_shape, 0.0, 1.0, _GREY)


def learning_curve(history: Any) -> np.ndarray:
    """Pixels of every metric over the epochs, a panel for each unit of measurement."""
    record = history_of(history)
    groups = history_groups(record)
    if not groups:
        raise ValueError("history: holds no metric to draw")
    return np.vstack([_panel(record, group) for group in groups])


def write_png(path: Any, pixels: np.ndarray) -> None:
    """Write pixels, uint8 of shape (height, width, 3), atomically."""
    height, width, _ = pixels.shape
    lines = np.pad(
        pixels.reshape(height, -1), ((0, 0), (1, 0))
    )  # each begins with its filter, none

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    with atomic_write(path) as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)))
        file.write(chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)))
        file.write(chunk(b"IEND", b""))


def _tiles(rows, image_shape, low: float, high: float, colours) -> np.ndarray:
    grid = tiled(rows, tile_shape(image_shape, rows.shape[1]))
    place = (np.nan_to_num(grid) - low) / (high - low) * (len(colours) - 1)
    channels = [np.interp(place, range(len(colours)), channel) for channel in np.transpose(colours)]
    pixels = np.stack(channels, axis=-1).round().astype(np.uint8)
    pixels[np.isnan(grid)] = _BORDER
    zoom = max(1, round(800 / max(grid.shape)))
    return pixels.repeat(zoom, 0).repeat(zoom, 1)


def _panel(record, metrics: list[str], width: int = 900, height: int = 340) -> np.ndarray:
    left, right, top, bottom = 90, 20, 40, 50
    canvas = np.full((height, width, 3), 255.0)
    curves = [series(name, record[name]) for name in metrics]
    finite = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    low, high = float(finite.min()), float(finite.max())
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin
    epochs = max(map(len, curves))
    first, last = (1.0, float(epochs)) if epochs > 1 else (0.0, 2.0)

    def across(x):
        return left + (x - first) / (last - first) * (width - left - right)

    def down(y):
        return top + (high - y) / (high - low) * (height - top - bottom)

    for y in _ticks(low, high):
        canvas[round(down(y)), left : width - right] = _FAINT
        _write(canvas, f"{y:g}", left - 8, round(down(y)) - 5, align=1.0)
    for x in _ticks(first, last):
        if x == int(x):
            canvas[top : height - bottom, round(across(x))] = _FAINT
            _write(canvas, f"{x:g}", round(across(x)), height - bottom + 8, align=0.5)
    canvas[top : height - bottom, [left, width - right]] = _INK
    canvas[[top, height - bottom], left : width - right + 1] = _INK
    for curve, colour in zip(curves, _LINES * len(curves), strict=False):
        known = np.flatnonzero(np.isfinite(curve))
        x, y = across(known + 1.0), down(curve[known])
        # Points a quarter of a pixel apart, each a soft dot: a smooth line of even width.
        length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        along = np.linspace(0, length[-1], int(length[-1] * 4) + 1)
        _dots(canvas, np.interp(along, length, x), np.interp(along, length, y), 1.3, colour)
        if len(known) <= 30:
            _dots(canvas, x, y, 3.5, colour)
    at = _write(canvas, label_of(metrics[0])[0], left, 14) + 24
    if len(metrics) > 1:
        for name, colour in zip(metrics, _LINES * len(metrics), strict=False):
            canvas[17:21, at : at + 24] = colour
            at = _write(canvas, label_of(name)[1], at + 32, 14) + 24
    _write(canvas, "epoch", (left + width - right) // 2, height - bottom + 28, align=0.5)
    return canvas.round().astype(np.uint8)


def _ticks(low: float, high: float) -> np.ndarray:
    """About five round numbers from low to high."""
    rough = (high - low) / 5
    step = 10.0 ** np.floor(np.log10(rough))
    step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= rough * 0.999)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step + 0.0  # no -0


def _dots(canvas: np.ndarray, x: np.ndarray, y: np.ndarray, radius: float, colour) -> None:
    """Blends discs into the canvas; where they overlap, the densest counts."""
    cover = np.zeros(canvas.shape[:2])
    reach = int(radius + 2)
    row, column = np.rint(y).astype(int), np.rint(x).astype(int)
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            distance = np.hypot(row + i - y, column + j - x)
            np.maximum.at(cover, (row + i, column + j), np.clip(radius + 0.5 - distance, 0, 1))
    canvas += cover[..., None] * (np.array(colour) - canvas)


def _write(canvas: np.ndarray, text: str, x: int, y: int, align: float = 0.0, zoom: int = 2) -> int:
    """Writes small capitals at (x, y), moved left by `align` of their width; returns the end."""
    x -= round(align * (4 * len(text) - 1) * zoom)
    for letter in text:
        for i, digit in enumerate(_GLYPHS.get(letter, "00000")):
            for j in range(3):
                if int(digit) >> (2 - j) & 1:
                    top, left = y + i * zoom, x + j * zoom
                    canvas[top : top + zoom, left : left + zoom] = _INK
        x += 4 * zoom
    return x

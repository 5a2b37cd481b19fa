"""Data sets, safe readers and streaming.

Five small image sets (:func:`digits`, :func:`mnist`, :func:`fashion_mnist`,
:func:`binarized_mnist`, :func:`olivetti`), newswire documents (:func:`reuters21578`), readers for
the array formats that images come in (:func:`read_idx`, :func:`read_array`), and
:func:`stream_batches`, which walks through data that does not fit into memory.

Nothing is downloaded. Files are looked for in ``<root>/<set>/`` for each of these roots, in order:

1. the ``data_home`` argument,
2. the environment variable ``UNSUPFAST_DATA``,
3. the cache folder, ``$XDG_CACHE_HOME/unsupfast`` or ``~/.cache/unsupfast``.
"""

from __future__ import annotations

import html
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .readers import (
    DEFAULT_MAX_BYTES,
    PathLike,
    float_dtype,
    read_array,
    read_idx,
    stream_batches,
)

__all__ = [
    "DEFAULT_MAX_BYTES",
    "Binarized",
    "Dataset",
    "Documents",
    "binarized_mnist",
    "digits",
    "fashion_mnist",
    "mnist",
    "olivetti",
    "read_array",
    "read_idx",
    "reuters21578",
    "search_folders",
    "stream_batches",
]


class Binarized:
    """Grey rows made binary anew in every pass: an iterable of batches for ``fit``.

    A value is on with its own probability, rounded to a multiple of 1/255. Models of binary data
    overfit far less on such a stream than on one fixed draw (the training of Salakhutdinov and
    Murray, "On the quantitative analysis of deep belief networks", ICML 2008).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Values in [0, 1].
    random_state : int, default=0
        Seed of orders and draws.
    passes : int, default=0
        Passes made before: what a training that is resumed had seen.
    batch_rows : int, default=6400
        Rows of a batch.

    Attributes
    ----------
    passes : int
        Passes begun so far; the next one follows from it and the seed alone.

    Raises
    ------
    ValueError
        If X is not 2-D or has values outside [0, 1], or batch_rows is not positive.
    """

    def __init__(self, X, *, random_state: int = 0, passes: int = 0, batch_rows: int = 6400):
        X = np.asarray(X)
        if X.ndim != 2:
            raise ValueError(f"X has shape {X.shape}; expected (n_samples, n_features)")
        if X.size and not (X.min() >= 0 and X.max() <= 1):  # NaN fails as well
            raise ValueError(f"X has values from {X.min()} to {X.max()}; expected [0, 1]")
        if batch_rows < 1:
            raise ValueError(f"batch_rows is {batch_rows}; expected at least 1")
        self._levels = np.rint(X * 255).astype(np.uint8)
        self.random_state, self.passes, self.batch_rows = random_state, passes, batch_rows

    def __iter__(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng([self.random_state, self.passes])
        self.passes += 1
        order = rng.permutation(len(self._levels))
        for i in range(0, len(order), self.batch_rows):
            rows = self._levels[order[i : i + self.batch_rows]]
            yield (rng.integers(0, 255, rows.shape, np.uint8) < rows).astype(np.float32)


class Dataset(NamedTuple):
    """A data set in memory.

    Attributes
    ----------
    data : ndarray of shape (n_samples, n_features)
        C-contiguous, float32 or float64, values in [0, 1].
    target : ndarray of shape (n_samples,) or None
        Class labels (int64), or None for a set without labels.
    image_shape : tuple of int
        Height and width; ``data[i].reshape(image_shape)`` is the i-th picture.
    name : str
        Name of the set and, where there is one, the split.
    """

    data: np.ndarray
    target: np.ndarray | None
    image_shape: tuple[int, int]
    name: str

    def __repr__(self) -> str:
        labels = "no labels" if self.target is None else f"{np.unique(self.target).size} classes"
        return (
            f"Dataset({self.name!r}: data {self.data.shape} {self.data.dtype}, "
            f"images {self.image_shape[0]}x{self.image_shape[1]}, {labels})"
        )


# ------------------------------------------------------------------------------------- the sets


def digits(*, dtype: npt.DTypeLike = np.float32) -> Dataset:
    """Handwritten digits, 8x8, that come with scikit-learn: needs no file.

    Parameters
    ----------
    dtype : dtype, default=float32
        float32 or float64.

    Returns
    -------
    Dataset
        1797 samples of 64 features in [0, 1] (the 17 grey levels divided by 16), 10 classes.

    Raises
    ------
    ValueError
        If `dtype` is neither float32 nor float64.

    Notes
    -----
    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998 (its test part), through :func:`sklearn.datasets.load_digits`.
    """
    from sklearn.datasets import load_digits

    dt = float_dtype(dtype)
    bunch = load_digits()
    data = np.ascontiguousarray(bunch.data / 16.0, dtype=dt)
    return Dataset(data, bunch.target.astype(np.int64), (8, 8), "digits")


def mnist(
    split: str = "train",
    *,
    dtype: npt.DTypeLike = np.float32,
    data_home: PathLike | None = None,
) -> Dataset:
    """MNIST handwritten digits, 28x28.

    Parameters
    ----------
    split : {"train", "test"}, default="train"
        60000 training or 10000 test samples.
    dtype : dtype, default=float32
        float32 or float64.
    data_home : path, default=None
        A folder to look in first; it holds a folder ``mnist``.

    Returns
    -------
    Dataset
        784 features in [0, 1] (grey levels divided by 255), 10 classes.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message names every place looked at and the files to put there.
    ValueError
        If `split` or `dtype` is unknown, or a file is malformed.

    Notes
    -----
    Source: Y. LeCun, C. Cortes, C. Burges, the IDX files of ``yann.lecun.com/exdb/mnist``, gzipped
    or not: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte``,
    ``t10k-labels-idx1-ubyte``.
    """
    return _idx_images("mnist", split, dtype, data_home)


def fashion_mnist(
    split: str = "train",
    *,
    dtype: npt.DTypeLike = np.float32,
    data_home: PathLike | None = None,
) -> Dataset:
    """Fashion-MNIST pictures of clothing, 28x28.

    Parameters
    ----------
    split : {"train", "test"}, default="train"
        60000 training or 10000 test samples.
    dtype : dtype, default=float32
        float32 or float64.
    data_home : path, default=None
        A folder to look in first; it holds a folder ``fashion-mnist``.

    Returns
    -------
    Dataset
        784 features in [0, 1] (grey levels divided by 255), 10 classes.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message names every place looked at and the files to put there.
    ValueError
        If `split` or `dtype` is unknown, or a file is malformed.

    Notes
    -----
    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", 2017 (arXiv:1708.07747), MIT licence.
    The files have MNIST's names.
    """
    return _idx_images("fashion-mnist", split, dtype, data_home)


def binarized_mnist(
    split: str = "train",
    *,
    dtype: npt.DTypeLike = np.float32,
    data_home: PathLike | None = None,
) -> Dataset:
    """Statically binarised MNIST, on which likelihoods of RBMs, DBNs and VAEs are published.

    Parameters
    ----------
    split : {"train", "valid", "test"}, default="train"
        50000, 10000 and 10000 samples.
    dtype : dtype, default=float32
        float32 or float64.
    data_home : path, default=None
        A folder to look in first; it holds a folder ``binarized-mnist``.

    Returns
    -------
    Dataset
        784 features that are exactly 0 or 1, no labels.

    Raises
    ------
    FileNotFoundError
        If the file is missing; the message names every place looked at and the file to put there.
    ValueError
        If `split` or `dtype` is unknown, or the file is malformed.

    Notes
    -----
    Rows are in the order of the file, which is **not** MNIST's order (so labels of MNIST do not
    fit), and the test rows are sorted by class: shuffle before cutting mini-batches or taking a
    subset.

    Source: R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks",
    ICML 2008; the files are H. Larochelle's, with rows packed by ``numpy.packbits(axis=1)`` into
    ``binarized_mnist_packed.npz`` (arrays ``train``, ``valid``, ``test`` of shape (n, 98),
    uint8).
    """
    _one_of("split", split, ("train", "valid", "test"))
    dt = float_dtype(dtype)
    path = _find("binarized-mnist", ("binarized_mnist_packed.npz",), data_home)
    packed = read_array(path, key=split)
    if packed.ndim != 2 or packed.shape[1] != 98 or packed.dtype != np.uint8:
        raise ValueError(
            f"{path}: array {split!r} is {packed.dtype} of shape {packed.shape}, expected uint8 of "
            "shape (n, 98): rows of 784 bits packed with numpy.packbits(axis=1)"
        )
    # The stored array may be in Fortran order; astype(order="C") also settles that.
    data = np.unpackbits(packed, axis=1).astype(dt, order="C")
    return Dataset(data, None, (28, 28), f"binarized-mnist {split}")


def olivetti(*, dtype: npt.DTypeLike = np.float32, data_home: PathLike | None = None) -> Dataset:
    """Olivetti (ORL) faces: 40 persons, 10 pictures each, 64x64.

    Parameters
    ----------
    dtype : dtype, default=float32
        float32 or float64.
    data_home : path, default=None
        A folder to look in first; it holds a folder ``olivetti``.

    Returns
    -------
    Dataset
        400 samples of 4096 features in [0, 1] (grey levels divided by 255); the target is the
        person.

    Raises
    ------
    FileNotFoundError
        If the file is missing; the message names every place looked at and the file to put there.
    ValueError
        If `dtype` is unknown or the file is malformed.

    Notes
    -----
    Source: AT&T Laboratories Cambridge, F. Samaria, A. Harter, 1994; ``olivettifaces.npz`` holds
    ``faces`` (400, 64, 64), uint8, upright, ten consecutive rows a person.
    """
    dt = float_dtype(dtype)
    path = _find("olivetti", ("olivettifaces.npz",), data_home)
    faces = read_array(path, key="faces")
    if faces.shape != (400, 64, 64) or faces.dtype != np.uint8:
        raise ValueError(
            f"{path}: array 'faces' is {faces.dtype} of shape {faces.shape}, "
            "expected uint8 of shape (400, 64, 64)"
        )
    target = np.repeat(np.arange(40, dtype=np.int64), 10)
    return Dataset(_grey(faces, dt), target, (64, 64), "olivetti")


class Documents(NamedTuple):
    """Texts in memory.

    Attributes
    ----------
    texts : list of str
        Title and body of each document; make counts of words of them with scikit-learn's
        ``CountVectorizer``.
    topics : list of tuple of str
        Topics of each document, none or several.
    name : str
        Name of the set and of the split.
    """

    texts: list[str]
    topics: list[tuple[str, ...]]
    name: str

    def __repr__(self) -> str:
        kinds = {topic for topics in self.topics for topic in topics}
        return f"Documents({self.name!r}: {len(self.texts)} texts, {len(kinds)} topics)"


def reuters21578(split: str = "train", *, data_home: PathLike | None = None) -> Documents:
    """Reuters-21578: newswire of 1987, with topics.

    Parameters
    ----------
    split : {"train", "test", "all"}, default="train"
        The "ModApte" split of documents whose topics an indexer assigned (9,603 and 3,299), or all
        21,578 documents.
    data_home : path, default=None
        A folder to look in first; it holds a folder ``reuters21578``.

    Returns
    -------
    Documents

    Raises
    ------
    FileNotFoundError
        If the file is missing; the message names every place looked at and the file to put there.
    ValueError
        If `split` is unknown or the archive is damaged or holds no documents.

    Notes
    -----
    Source: Reuters-21578, Distribution 1.0, D. Lewis; ``reuters21578.tar.gz`` holds the ``.sgm``
    files. It is read in memory; nothing is unpacked.
    """
    _one_of("split", split, ("train", "test", "all"))
    path = _find("reuters21578", ("reuters21578.tar.gz",), data_home)
    texts, topics = [], []
    for attributes, story in _stories(path):
        known = 'TOPICS="YES"' in attributes and f'LEWISSPLIT="{split.upper()}"' in attributes
        if split != "all" and not known:
            continue
        parts = (re.search(f"<{tag}>(.*?)</{tag}>", story, re.DOTALL) for tag in ("TITLE", "BODY"))
        texts.append(html.unescape("\n".join(part[1] for part in parts if part)))
        listed = re.search("<TOPICS>(.*?)</TOPICS>", story)
        topics.append(tuple(re.findall("<D>(.*?)</D>", listed[1])) if listed else ())
    if not texts:
        raise ValueError(f"{path}: holds no documents of split {split!r}")
    return Documents(texts, topics, f"reuters21578 {split}")


def _stories(path: Path) -> Iterator[tuple[str, str]]:
    """Attributes and content of every REUTERS element of an archive of SGML files, by name."""
    try:
        with tarfile.open(path) as archive:
            members = [m for m in archive.getmembers() if m.isfile() and m.name.endswith(".sgm")]
            if sum(member.size for member in members) > DEFAULT_MAX_BYTES:
                raise ValueError(f"{path}: holds more than {DEFAULT_MAX_BYTES} bytes of documents")
            contents = [
                archive.extractfile(m).read()  # type: ignore[union-attr]
                for m in sorted(members, key=lambda member: member.name)
            ]
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: damaged archive ({error})") from error
    for content in contents:
        yield from re.findall("<REUTERS(.*?)>(.*?)</REUTERS>", content.decode("latin-1"), re.DOTALL)


def search_folders(data_home: PathLike | None = None) -> list[Path]:
    """Folders in which data sets are looked for, first to last.

    Parameters
    ----------
    data_home : path, default=None
        A folder to look in before all others.

    Returns
    -------
    list of Path
        `data_home` if given, ``UNSUPFAST_DATA`` if set, then the cache folder. They need not exist.
    """
    folders = []
    if data_home is not None:
        folders.append(Path(data_home).expanduser())
    if env := os.environ.get("UNSUPFAST_DATA"):
        folders.append(Path(env).expanduser())
    # The XDG specification says that a relative path there is to be ignored.
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(xdg) if os.path.isabs(xdg) else Path("~/.cache").expanduser()
    folders.append(base / "unsupfast")
    return folders


def _find(name: str, files: Sequence[str], data_home: PathLike | None) -> Path:
    """The first existing file among `files` (alternatives of one file) in ``<root>/<name>``."""
    places = [folder / name for folder in search_folders(data_home)]
    for place in places:
        for file in files:
            if (place / file).is_file():
                return place / file
    hint = "" if os.environ.get("UNSUPFAST_DATA") else " (the variable UNSUPFAST_DATA is not set)"
    raise FileNotFoundError(
        f"{name}: found no {' or '.join(files)} in {', '.join(map(str, places))}{hint}; put the "
        f"file there, or set UNSUPFAST_DATA to a folder that holds {name}/{files[0]}"
    )


def _idx_images(name: str, split: str, dtype: npt.DTypeLike, data_home: PathLike | None) -> Dataset:
    _one_of("split", split, ("train", "test"))
    dt = float_dtype(dtype)
    stem = "train" if split == "train" else "t10k"
    image_file, label_file = f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"
    image_path = _find(name, (image_file + ".gz", image_file), data_home)
    label_path = _find(name, (label_file + ".gz", label_file), data_home)
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8:
        raise ValueError(
            f"{image_path}: holds {images.dtype} of shape {images.shape}, expected uint8 of shape "
            "(n, 28, 28)"
        )
    if labels.shape != images.shape[:1] or labels.dtype != np.uint8:
        raise ValueError(
            f"{label_path}: holds {labels.dtype} of shape {labels.shape}, expected uint8 of shape "
            f"({len(images)},), one label for each image of {image_path.name}"
        )
    return Dataset(_grey(images, dt), labels.astype(np.int64), (28, 28), f"{name} {split}")


def _grey(images: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """uint8 images as rows in [0, 1]; divided, not multiplied by 1/255: 255 gives exactly 1."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    out = np.empty(rows.shape, dtype)
    np.divide(rows, dtype.type(255), out=out, dtype=dtype)
    return out


def _one_of(name: str, value: object, options: Sequence[str]) -> None:
    if value not in options:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, options))}")

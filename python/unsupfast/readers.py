"""Readers of array files that trust nothing in them, and streaming.

:func:`read_idx` and :func:`read_array` treat a file as untrusted: nothing in it is ever executed or
unpickled, sizes in a header are checked against the file before memory is asked for, and compressed
data cannot expand without bound. :func:`stream_batches` walks through data that does not fit into
memory.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

__all__ = [
    "DEFAULT_MAX_BYTES",
    "PathLike",
    "float_dtype",
    "read_array",
    "read_idx",
    "regular_file",
    "stream_batches",
]

#: What a reader takes into memory at most unless told otherwise (8 GiB).
DEFAULT_MAX_BYTES = 8 << 30

# Deflate cannot expand by more than 1032 : 1, so a header that claims more than that is a lie, and
# can be refused before anything is allocated.
_MAX_DEFLATE_RATIO = 1032
_GZIP_MAGIC = b"\x1f\x8b"
_NPY_MAGIC = b"\x93NUMPY"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_NDIM = 32
_MAX_NPY_HEADER = 10_000  # what NumPy parses at most
_CHUNK = 1 << 22

PathLike = str | os.PathLike[str]


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


# ---------------------------------------------------------------------------------- the readers


def read_idx(path: PathLike, *, max_bytes: int = DEFAULT_MAX_BYTES) -> np.ndarray:
    """Read an IDX file (the format of MNIST), gzipped or not.

    Parameters
    ----------
    path : path
        The file. Whether it is gzipped is told from its content, not its name.
    max_bytes : int, default=8 GiB
        Refuse an array of more bytes than this.

    Returns
    -------
    ndarray
        The array in native byte order: uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    ValueError
        If the file is no IDX file, is truncated, has bytes left over, claims more than it holds or
        more than `max_bytes`, or its compressed data are damaged. The message names the path.
    OSError
        If the file cannot be opened.

    Notes
    -----
    Source of the format: ``yann.lecun.com/exdb/mnist`` (magic ``0, 0, type, ndim``, then big-endian
    32-bit extents, then the values in C order, big-endian).
    """
    _check_limit(max_bytes)
    path = regular_file(path)
    with open(path, "rb") as file:
        return _read_idx_open(path, file, max_bytes)


def read_array(
    path: PathLike,
    *,
    mmap: bool = False,
    key: str | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Any:
    """Read a numeric array from a ``.npy``, ``.npz`` or IDX (``.gz`` or not) file.

    Parameters
    ----------
    path : path
        The file. The format is told from the content, not the name.
    mmap : bool, default=False
        Map the file read-only instead of reading it, for data larger than memory. Possible for
        ``.npy`` and uncompressed IDX. A mapped array keeps the byte order of the file.
    key : str, default=None
        Which array of a ``.npz`` file to take; needed if it holds more than one. A file made by
        :func:`scipy.sparse.save_npz` needs none and gives a CSR matrix.
    max_bytes : int, default=8 GiB
        Refuse to read an array of more bytes than this into memory. Mapping has no such limit.

    Returns
    -------
    ndarray, memmap or scipy.sparse.csr_matrix
        Booleans, integers or floats, of any number of dimensions.

    Raises
    ------
    ValueError
        If the format is unknown, the file is malformed, truncated, has bytes left over, claims more
        than it holds or more than `max_bytes`, holds anything but numbers (pickled objects are
        never loaded), or if `mmap` or `key` does not fit the format. The message names the path.
    OSError
        If the file cannot be opened.
    """
    _check_limit(max_bytes)
    path = regular_file(path)
    with open(path, "rb") as file:
        magic = file.read(6)
        file.seek(0)
        if magic[:4] in _ZIP_MAGICS:
            if mmap:
                raise ValueError(f"{path}: mmap=True needs a .npy file; a .npz cannot be mapped")
            return _read_npz(path, file, key, max_bytes)
        if key is not None:
            raise ValueError(f"{path}: key={key!r} was given, but only a .npz file has keys")
        if magic == _NPY_MAGIC:
            return _read_npy_file(path, file, mmap, max_bytes)
        if magic[:2] == _GZIP_MAGIC or magic[:2] == b"\0\0":
            return _read_idx_open(path, file, max_bytes, mmap)
    raise ValueError(
        f"{path}: not a .npy, .npz or IDX file (it begins with {magic!r}); text formats are not "
        "read, convert them with numpy.save"
    )


def _read_idx_open(path: Path, file: BinaryIO, max_bytes: int, mmap: bool = False) -> np.ndarray:
    size = os.fstat(file.fileno()).st_size
    compressed = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    if not compressed:
        dtype, shape, offset = _idx_header(path, file)
        _check_claim(path, dtype, shape, size - offset, exact=True)
        if mmap:
            return _map(path, dtype, shape, offset, "C")
        _check_memory(path, dtype, shape, max_bytes)
        return _fill(path, file, dtype, shape, "C")
    if mmap:
        raise ValueError(f"{path}: mmap=True needs an uncompressed file, this one is gzipped")
    try:
        with gzip.GzipFile(fileobj=file) as unzipped:
            dtype, shape, _ = _idx_header(path, unzipped)
            _check_claim(path, dtype, shape, size * _MAX_DEFLATE_RATIO, exact=False)
            _check_memory(path, dtype, shape, max_bytes)
            out = _fill(path, unzipped, dtype, shape, "C")
            # One byte more than expected tells a bomb from an array without unpacking it, and at
            # the true end of the stream makes gzip compare its checksum.
            if unzipped.read(1):
                raise ValueError(f"{path}: more data than the {out.nbytes} bytes its header claims")
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip data: {error}") from error
    return out


def _idx_header(path: Path, file: _Readable) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise ValueError(f"{path}: not an IDX file (it begins with {head!r})")
    code, ndim = head[2], head[3]
    if code not in _IDX_DTYPES:
        raise ValueError(f"{path}: unknown IDX type code 0x{code:02x}")
    if not 1 <= ndim <= _MAX_NDIM:
        raise ValueError(f"{path}: IDX header claims {ndim} dimensions, expected 1 to {_MAX_NDIM}")
    extents = file.read(4 * ndim)
    if len(extents) < 4 * ndim:
        raise ValueError(f"{path}: truncated in the IDX header")
    shape = tuple(int(e) for e in np.frombuffer(extents, ">u4"))
    return np.dtype(_IDX_DTYPES[code]), shape, 4 + 4 * ndim


def _read_npy_file(path: Path, file: BinaryIO, mmap: bool, max_bytes: int) -> np.ndarray:
    dtype, shape, order, offset = _npy_header(path, file)
    _check_claim(path, dtype, shape, os.fstat(file.fileno()).st_size - offset, exact=True)
    if mmap:
        return _map(path, dtype, shape, offset, order)
    _check_memory(path, dtype, shape, max_bytes)
    return _fill(path, file, dtype, shape, order)


def _npy_header(path: Path, file: Any) -> tuple[np.dtype[Any], tuple[int, ...], str, int]:
    fmt = np.lib.format
    try:
        version = fmt.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = fmt.read_array_header_1_0(file)
        elif version == (2, 0):
            # NumPy would first ask for all the memory that the length claims, up to 4 GiB.
            size = file.read(4)
            length = int.from_bytes(size, "little")
            if length > _MAX_NPY_HEADER:
                raise ValueError(f"its header claims {length} bytes")
            shape, fortran, dtype = fmt.read_array_header_2_0(io.BytesIO(size + file.read(length)))
        else:
            # Version 3 differs only in field names, and arrays with fields are refused below.
            raise ValueError(f"unsupported .npy version {version[0]}.{version[1]}")
    except Exception as error:
        # NumPy's parser meets hostile text here and may fail in many ways (syntax, tokens, types,
        # recursion); whichever it is, the header is bad.
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: malformed .npy header: {reason}") from error
    if dtype.hasobject:
        raise ValueError(f"{path}: holds pickled Python objects ({dtype}), which are never loaded")
    if dtype.kind not in "biuf":
        raise ValueError(f"{path}: holds {dtype}, expected booleans, integers or floats")
    if len(shape) > _MAX_NDIM or any(isinstance(n, bool) or n < 0 for n in shape):
        raise ValueError(f"{path}: malformed .npy header: shape {shape}")
    return dtype, shape, "F" if fortran else "C", file.tell()


def _read_npz(path: Path, file: BinaryIO, key: str | None, max_bytes: int) -> Any:
    try:
        with zipfile.ZipFile(file) as archive:
            members = {
                i.filename.removesuffix(".npy"): i for i in archive.infolist() if not i.is_dir()
            }
            if key is None and {"format", "shape", "data", "indices", "indptr"} <= members.keys():
                return _read_sparse(path, archive, members, max_bytes)
            if key is None:
                if len(members) != 1:
                    raise ValueError(
                        f"{path}: holds {len(members)} arrays ({_listing(members)}), give key= to "
                        "choose one"
                    )
                key = next(iter(members))
            if key not in members:
                raise ValueError(f"{path}: no array {key!r}, it holds {_listing(members)}")
            return _read_member(path, archive, members[key], max_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        # RuntimeError: encrypted member; NotImplementedError, its child: a zip feature Python
        # lacks.
        raise ValueError(f"{path}: damaged or unsupported .npz file: {error}") from error


def _listing(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "nothing"


def _read_member(
    path: Path,
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    max_bytes: int,
    kinds: str = "biuf",
) -> np.ndarray:
    name = info.filename.removesuffix(".npy")
    where = Path(f"{path}[{name}]")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{where}: compressed by method {info.compress_type}, expected deflate")
    # The archive's directory is as untrusted as the rest: what it claims must fit the file's size.
    total = os.fstat(archive.fp.fileno()).st_size if archive.fp is not None else 0
    ratio = 1 if info.compress_type == zipfile.ZIP_STORED else _MAX_DEFLATE_RATIO
    if info.compress_size > total or info.file_size > info.compress_size * ratio + 64:
        raise ValueError(
            f"{where}: claims {info.file_size} bytes out of {info.compress_size} compressed ones "
            f"in a file of {total}"
        )
    with archive.open(info) as member:
        dtype, shape, order, offset = _npy_header(where, member)
        _check_claim(where, dtype, shape, info.file_size - offset, exact=True)
        _check_memory(where, dtype, shape, max_bytes)
        out = _fill(where, member, dtype, shape, order)
        member.read(1)  # reaching the end makes zipfile compare its checksum
        return out


def _read_sparse(
    path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], max_bytes: int
) -> Any:
    """A matrix written by scipy.sparse.save_npz; each part is checked before they are joined."""
    info = members["format"]
    if info.file_size > 4096:
        raise ValueError(f"{path}: malformed sparse matrix: 'format' has {info.file_size} bytes")
    raw = archive.read(info)
    # The format's name is the one string in the file: as bytes (S3) or, from older SciPy, text
    # (U3).
    if not raw.endswith((b"csr", "csr".encode("utf-32-le"))):
        raise ValueError(f"{path}: holds a sparse matrix that is not CSR; convert it with .tocsr()")
    parts = {
        n: _read_member(path, archive, members[n], max_bytes)
        for n in ("shape", "data", "indices", "indptr")
    }
    try:
        if parts["shape"].shape != (2,):
            raise ValueError(f"shape of shape {parts['shape'].shape}")
        rows, cols = (int(n) for n in parts["shape"])
        matrix = sp.csr_matrix(
            (parts["data"], parts["indices"], parts["indptr"]), shape=(rows, cols)
        )
        matrix.check_format(full_check=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: malformed sparse matrix: {error}") from error
    return matrix


def float_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        dt = np.dtype(dtype)
    except TypeError:
        dt = np.dtype(object)
    if dtype is None or dt not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype: got {dtype!r}, expected float32 or float64")
    return dt


def _check_limit(max_bytes: int) -> None:
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, (int, np.integer)):
        raise TypeError(f"max_bytes: got {max_bytes!r}, expected an int")
    if max_bytes < 0:
        raise ValueError(f"max_bytes: got {max_bytes}, expected 0 or more")


def regular_file(path: PathLike) -> Path:
    path = Path(path)
    mode = path.stat().st_mode  # raises FileNotFoundError
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise ValueError(f"{path}: is {kind}, expected a .npy, .npz or IDX file")
    return path


def _check_claim(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], held: int, *, exact: bool
) -> None:
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > held:
        raise ValueError(
            f"{path}: truncated or false header: it claims {dtype} of shape {shape}, "
            f"{claimed} bytes, but the file holds {'' if exact else 'at most '}{held}"
        )
    if exact and claimed < held:
        raise ValueError(f"{path}: {held - claimed} bytes left over after {dtype} of shape {shape}")


def _check_memory(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], max_bytes: int) -> None:
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > max_bytes:
        raise ValueError(
            f"{path}: {dtype} of shape {shape} is {claimed} bytes, more than max_bytes={max_bytes}"
            "; raise the limit, or map the file (read_array with mmap=True) if it is a .npy"
        )


def _fill(
    path: Path, file: _Readable, dtype: np.dtype[Any], shape: tuple[int, ...], order: str
) -> np.ndarray:
    """Read exactly the claimed values, piece by piece, into one new array in native byte order."""
    nbytes = math.prod(shape) * dtype.itemsize
    buffer = np.empty(nbytes, np.uint8)
    done = 0
    while done < nbytes:
        piece = file.read(min(_CHUNK, nbytes - done))
        if not piece:
            raise ValueError(f"{path}: truncated: {done} of {nbytes} bytes")
        buffer[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    if nbytes == 0:
        return np.empty(shape, dtype.newbyteorder("="))
    if dtype.kind == "b":
        buffer = buffer != 0  # a Boolean that is stored as neither 0 nor 1 would be undefined
    out = buffer.view(dtype).reshape(shape, order="F" if order == "F" else "C")
    if not dtype.isnative:
        out = out.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return out


def _map(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, order: str
) -> np.ndarray:
    if math.prod(shape) == 0:  # the system cannot map nothing
        return np.empty(shape, dtype)
    return np.memmap(
        path, dtype, mode="r", offset=offset, shape=shape, order="F" if order == "F" else "C"
    )


# ------------------------------------------------------------------------------------- streaming


def stream_batches(
    source: Any,
    batch_size: int,
    *,
    dtype: npt.DTypeLike | None = np.float32,
    shuffle: bool = False,
    random_state: Any = None,
    drop_last: bool = False,
) -> Iterator[Any]:
    """Walk through data in batches without ever holding all of it in memory.

    Parameters
    ----------
    source : array, memmap, sparse matrix, or iterable of batches
        Data of shape (n_samples, n_features); or an iterable whose items are such arrays (or sparse
        matrices) of any, and differing, numbers of rows, which are cut and joined anew. Anything
        with ``shape`` and slicing counts as an array (an HDF5 data set, say).
    batch_size : int
        Rows of a batch; the last one may have fewer.
    dtype : dtype, default=float32
        float32 or float64, or None to keep what comes. Values are converted, not rescaled.
    shuffle : bool, default=False
        Visit the rows in random order; for an ndarray, memmap or sparse matrix.
    random_state : int, Generator or None, default=None
        Seed of the order.
    drop_last : bool, default=False
        Leave out a last batch that is not full.

    Yields
    ------
    ndarray or scipy.sparse.csr_matrix
        Shape (at most batch_size, n_features). Dense batches are C-contiguous and in native byte
        order; unless a conversion was needed they may share memory with the source.

    Raises
    ------
    TypeError, ValueError
        At the call if an argument does not fit; while iterating if an item of the iterable does not
        (not 2-D, another number of columns, dense among sparse); the message counts the item.

    Notes
    -----
    At most one batch and one item of the source are in memory, besides, for ``shuffle=True``, eight
    bytes a row.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise TypeError(f"batch_size: got {batch_size!r}, expected an int")
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, expected 1 or more")
    size = int(batch_size)
    dt = None if dtype is None else float_dtype(dtype)

    if sp.issparse(source) or (hasattr(source, "shape") and hasattr(source, "__getitem__")):
        if len(source.shape) != 2:
            raise ValueError(f"source: got shape {tuple(source.shape)}, expected 2 dimensions")
        if sp.issparse(source):
            source = source.tocsr()
        order = None
        if shuffle:
            if not (sp.issparse(source) or isinstance(source, np.ndarray)):
                raise TypeError(
                    f"shuffle: got {type(source).__name__}, expected an ndarray, memmap or sparse "
                    "matrix"
                )
            order = np.random.default_rng(random_state).permutation(source.shape[0])
        return _cut(source, size, dt, order, drop_last)

    if isinstance(source, (str, bytes, os.PathLike)):
        raise TypeError(
            f"source: got the path {source!r}, expected data; open it with read_array(mmap=True)"
        )
    if not isinstance(source, Iterable):
        raise TypeError(
            f"source: got {type(source).__name__}, expected an array or an iterable of batches"
        )
    if shuffle:
        raise ValueError("shuffle: an iterable of batches can only be taken in the order it comes")
    return _rebatch(source, size, dt, drop_last)


def _cut(
    source: Any, size: int, dtype: np.dtype[Any] | None, order: np.ndarray | None, drop_last: bool
) -> Iterator[Any]:
    n = source.shape[0]
    for start in range(0, n - size + 1 if drop_last else n, size):
        stop = min(start + size, n)
        yield _batch(source[start:stop] if order is None else source[order[start:stop]], dtype)


def _batch(rows: Any, dtype: np.dtype[Any] | None) -> Any:
    if sp.issparse(rows):
        rows = rows.tocsr()
        return rows if dtype is None else rows.astype(dtype, copy=False)
    # A plain ndarray, not a memmap: the caller should not have to care.
    rows = np.asarray(rows)
    wanted = rows.dtype.newbyteorder("=") if dtype is None else dtype
    return np.ascontiguousarray(rows, dtype=wanted)


def _rebatch(
    source: Iterable[Any], size: int, dtype: np.dtype[Any] | None, drop_last: bool
) -> Iterator[Any]:
    pieces: list[Any] = []
    held = 0
    columns: int | None = None
    is_sparse = False
    for count, item in enumerate(source):
        rows: Any = item if sp.issparse(item) else np.asarray(item)
        if len(rows.shape) != 2:
            raise ValueError(
                f"source: batch {count} has shape {tuple(rows.shape)}, expected 2 dimensions"
            )
        if columns is None:
            columns, is_sparse = rows.shape[1], sp.issparse(rows)
        if rows.shape[1] != columns:
            raise ValueError(
                f"source: batch {count} has {rows.shape[1]} columns, the ones before have {columns}"
            )
        if sp.issparse(rows) != is_sparse:
            raise ValueError(f"source: batch {count} mixes sparse and dense with those before")
        if is_sparse:
            rows = rows.tocsr()
        start = 0
        while rows.shape[0] - start >= size - held:
            stop = start + size - held
            pieces.append(rows[start:stop])
            yield _join(pieces, dtype)
            pieces, held, start = [], 0, stop
        if start < rows.shape[0]:
            # A copy, so that a source may refill one buffer, and a big item is not kept alive.
            pieces.append(rows[start:].copy())
            held += rows.shape[0] - start
    if pieces and not drop_last:
        yield _join(pieces, dtype)


def _join(pieces: list[Any], dtype: np.dtype[Any] | None) -> Any:
    if len(pieces) == 1:
        return _batch(pieces[0], dtype)
    joined = sp.vstack(pieces, format="csr") if sp.issparse(pieces[0]) else np.concatenate(pieces)
    return _batch(joined, dtype)

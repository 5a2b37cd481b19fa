"""Data sets, readers of untrusted files, streaming."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from unsupfast import datasets
from unsupfast.datasets import read_array, read_idx, stream_batches

DATA = os.environ.get("UNSUPFAST_DATA")


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [n for n in names if DATA is None or not (Path(DATA) / n).is_dir()]
    return pytest.mark.skipif(
        bool(missing), reason=f"needs the folders {missing} in UNSUPFAST_DATA ({DATA or 'not set'})"
    )


def idx_bytes(array: np.ndarray, code: int = 0x08, dtype: str = ">u1") -> bytes:
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(dtype).tobytes()


def npy_bytes(array: np.ndarray, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy_header(text: str) -> bytes:
    body = text.encode("latin1")
    body += b" " * (-(len(body) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class Bomb:
    """Leaves a file behind if anybody unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.marker,))


# ------------------------------------------------------------------------------------- data sets


@pytest.mark.parametrize("dtype", [np.float32, np.float64, "float32"])
def test_digits(dtype) -> None:
    found = datasets.digits(dtype=dtype)
    assert found.data.shape == (1797, 64) and found.data.dtype == np.dtype(dtype)
    assert found.data.flags.c_contiguous and found.image_shape == (8, 8)
    assert found.data.min() == 0 and found.data.max() == 1
    assert np.array_equal(np.unique(found.data * 16), np.arange(17))
    assert found.target.dtype == np.int64 and len(np.unique(found.target)) == 10
    assert "1797" in repr(found) and len(repr(found)) < 200


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, object, None, "no such type"])
def test_dtype_must_be_float(dtype) -> None:
    with pytest.raises(ValueError, match="dtype"):
        datasets.digits(dtype=dtype)


@needs("mnist")
def test_mnist() -> None:
    train, test = datasets.mnist(), datasets.mnist("test", dtype=np.float64)
    assert train.data.shape == (60000, 784) and train.data.dtype == np.float32
    assert test.data.shape == (10000, 784) and test.data.dtype == np.float64
    # The means that are known of the canonical files.
    assert train.data.mean(dtype=np.float64) == pytest.approx(0.13066, abs=1e-5)
    assert test.data.mean() == pytest.approx(0.13251, abs=1e-5)
    assert train.data.max() == 1 and train.data.flags.c_contiguous
    assert train.target[:5].tolist() == [5, 0, 4, 1, 9]


@needs("fashion-mnist")
def test_fashion_mnist() -> None:
    found = datasets.fashion_mnist("test")
    assert found.data.shape == (10000, 784)
    assert np.bincount(found.target).tolist() == [1000] * 10


@needs("binarized-mnist")
@pytest.mark.parametrize(("split", "n"), [("train", 50000), ("valid", 10000), ("test", 10000)])
def test_binarized_mnist(split, n) -> None:
    found = datasets.binarized_mnist(split)
    assert found.data.shape == (n, 784) and found.data.dtype == np.float32
    assert found.data.flags.c_contiguous and found.target is None
    assert np.array_equal(np.unique(found.data), [0, 1])
    # Upright: the border is dark, the middle is not.
    images = found.data.reshape(-1, 28, 28)
    assert images[:, :3].mean() < 0.01 < 0.3 < images[:, 12:16, 12:16].mean()


@needs("olivetti")
def test_olivetti() -> None:
    found = datasets.olivetti()
    assert found.data.shape == (400, 4096) and found.image_shape == (64, 64)
    assert np.bincount(found.target).tolist() == [10] * 40
    # Rows of one person resemble each other more than those of two.
    centred = found.data - found.data.mean(0)
    alike = np.corrcoef(centred)
    same = found.target[:, None] == found.target
    assert alike[same].mean() > 0.3 > 0.05 > alike[~same].mean()


@needs("reuters21578")
@pytest.mark.parametrize(
    ("split", "n", "with_topics"), [("train", 9603, 7775), ("test", 3299, 3019)]
)
def test_reuters21578(split, n, with_topics) -> None:
    # the numbers of the "ModApte" split in the collection's own README
    found = datasets.reuters21578(split)
    assert len(found.texts) == len(found.topics) == n
    assert np.count_nonzero([len(topics) > 0 for topics in found.topics]) == with_topics
    about = [text for text, topics in zip(*found[:2], strict=True) if "coffee" in topics]
    assert np.mean(["coffee" in text.lower() for text in about]) > 0.9
    assert not any("&lt;" in text for text in found.texts)


def tar_of(path, **members) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_documents_from_own_files(tmp_path) -> None:
    folder = tmp_path / "reuters21578"
    folder.mkdir()
    path = folder / "reuters21578.tar.gz"
    story = (
        b'<REUTERS TOPICS="YES" LEWISSPLIT="%s">\n<TOPICS><D>tea</D><D>rice</D></TOPICS>'
        b"<TEXT><TITLE>A &lt;B></TITLE><BODY>caf\xe9 %d</BODY></TEXT></REUTERS>\n"
    )
    tar_of(path, b_sgm=story % (b"TRAIN", 2), a_sgm=story % (b"TRAIN", 1), c_txt=b"<REUTERS>")
    found = datasets.reuters21578(data_home=tmp_path)
    assert found.texts == ["A <B>\ncaf\xe9 1", "A <B>\ncaf\xe9 2"]
    assert found.topics == [("tea", "rice")] * 2 and "2 topics" in repr(found)
    with pytest.raises(ValueError, match="no documents of split 'test'"):
        datasets.reuters21578("test", data_home=tmp_path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged archive"):
            datasets.reuters21578(data_home=tmp_path)


@pytest.mark.parametrize("split", ["validation", "", None, 3])
def test_unknown_split(split) -> None:
    for maker in (
        datasets.mnist,
        datasets.fashion_mnist,
        datasets.binarized_mnist,
        datasets.reuters21578,
    ):
        with pytest.raises(ValueError, match="split"):
            maker(split)


def test_missing_file_says_where_it_looked(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNSUPFAST_DATA", str(tmp_path / "env"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError) as caught:
        datasets.mnist(data_home=tmp_path / "home")
    text = str(caught.value)
    for place in ("home/mnist", "env/mnist", "cache/unsupfast/mnist"):
        assert str(tmp_path / place) in text
    assert "train-images-idx3-ubyte.gz" in text and "UNSUPFAST_DATA" in text
    monkeypatch.delenv("UNSUPFAST_DATA")
    with pytest.raises(FileNotFoundError, match="not set"):
        datasets.olivetti()


def test_search_order(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNSUPFAST_DATA", str(tmp_path / "env"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    folders = datasets.search_folders(tmp_path / "home")
    assert folders == [
        tmp_path / "home",
        tmp_path / "env",
        Path("~/.cache/unsupfast").expanduser(),
    ]


def test_mnist_from_own_files(tmp_path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    images = np.arange(3 * 784, dtype=np.uint8).reshape(3, 28, 28)
    write(folder / "t10k-images-idx3-ubyte", idx_bytes(images))  # one plain, one gzipped
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    write(labels, gzip.compress(idx_bytes(np.array([7, 8, 9]))))
    found = datasets.mnist("test", data_home=tmp_path)
    assert np.array_equal(found.data, images.reshape(3, -1).astype(np.float32) / np.float32(255))
    assert found.target.tolist() == [7, 8, 9]
    write(labels, gzip.compress(idx_bytes(np.array([7, 8]))))
    with pytest.raises(ValueError, match="one label for each image"):
        datasets.mnist("test", data_home=tmp_path)


def test_wrong_content_of_a_set(tmp_path) -> None:
    for name, file, array in [
        ("binarized-mnist", "binarized_mnist_packed.npz", {"train": np.zeros((4, 784), np.uint8)}),
        ("olivetti", "olivettifaces.npz", {"faces": np.zeros((400, 64, 63), np.uint8)}),
    ]:
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / file, **array)
    for maker in (datasets.binarized_mnist, datasets.olivetti):
        with pytest.raises(ValueError, match="expected uint8 of shape"):
            maker(data_home=tmp_path)


# ------------------------------------------------------------------------------------------- IDX


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_read_idx(tmp_path, code, dtype, packed) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    content = idx_bytes(array, code, dtype)
    path = write(tmp_path / "x", gzip.compress(content) if packed else content)
    found = read_idx(path)
    assert found.dtype.isnative and found.dtype.kind == dtype[1] and found.flags.writeable
    assert np.array_equal(found, array)
    assert np.array_equal(read_array(path), array)


def test_read_idx_empty(tmp_path) -> None:
    assert read_idx(write(tmp_path / "x", idx_bytes(np.zeros((0, 28))))).shape == (0, 28)


GOOD = idx_bytes(np.arange(100).reshape(10, 10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX"),
        (b"\0\0\x08", "not an IDX"),
        (b"\1\0\x08\1", "not an IDX"),
        (b"\0\0\x07\1\0\0\0\0", "type code 0x07"),
        (b"\0\0\x08\0", "0 dimensions"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255, "255 dimensions"),
        (b"\0\0\x08\2\0\0\0\1\0", "truncated in the IDX header"),
        (GOOD[:-1], "truncated or false header"),
        (GOOD + b"\0", "1 bytes left over"),
        (b"\0\0\x0e\3" + b"\xff" * 12 + b"\0" * 8, "claims float64|claims >f8"),
        (b"\0\0\x0e\x20" + b"\xff" * 128, "truncated or false header"),
    ],
)
def test_malformed_idx(tmp_path, content, message) -> None:
    path = write(tmp_path / "bad.idx", content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    # The same behind gzip, where the size is not known beforehand.
    path = write(tmp_path / "bad.idx.gz", gzip.compress(content))
    with pytest.raises(ValueError, match=r"bad\.idx\.gz"):
        read_idx(path)


def test_damaged_gzip(tmp_path) -> None:
    packed = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 255, (100, 100))))
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # in the checksum
    middle = bytearray(packed)
    middle[len(packed) // 2] ^= 0xFF
    for content in (packed[:-20], packed[:5], bytes(flipped), bytes(middle), packed + b"tail"):
        with pytest.raises(ValueError, match=r"x\.gz"):
            read_idx(write(tmp_path / "x.gz", content))


def peak_of(function) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_gzip_bomb_is_not_unpacked(tmp_path) -> None:
    zeros = b"\0" * (64 << 20)
    # A small array with 64 MiB behind it; and a claim far beyond what the file can expand to.
    behind = write(tmp_path / "behind.gz", gzip.compress(GOOD + zeros))
    claims = write(
        tmp_path / "claims.gz", gzip.compress(b"\0\0\x08\1\xff\xff\xff\xff" + zeros[:99])
    )
    for path in (behind, claims):
        assert path.stat().st_size < 100_000
        assert peak_of(lambda path=path: read_idx(path)) < 16 << 20
    # An honest claim, but more than the caller allows.
    honest = write(
        tmp_path / "honest.gz", gzip.compress(b"\0\0\x08\1" + struct.pack(">I", 64 << 20) + zeros)
    )
    assert peak_of(lambda: read_idx(honest, max_bytes=1 << 20)) < 16 << 20
    with pytest.raises(ValueError, match="max_bytes=1048576"):
        read_idx(honest, max_bytes=1 << 20)
    assert read_idx(honest).shape == (64 << 20,)


@pytest.mark.parametrize(
    ("limit", "error"), [(-1, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_bad_limit(tmp_path, limit, error) -> None:
    path = write(tmp_path / "x", GOOD)
    for reader in (read_idx, read_array):
        with pytest.raises(error, match="max_bytes"):
            reader(path, max_bytes=limit)


# ------------------------------------------------------------------------------------ npy and npz


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
        np.arange(12, dtype=">i4").reshape(3, 4),
        np.eye(3, dtype=bool),
        np.zeros((0, 5), np.float32),
        np.float64(3.5),
        np.arange(6, dtype=np.float16),
    ],
    ids=["f8", "fortran", "big-endian", "bool", "empty", "scalar", "f2"],
)
def test_read_npy(tmp_path, array, mmap) -> None:
    path = write(tmp_path / "x.npy", npy_bytes(array))
    found = read_array(path, mmap=mmap)
    assert np.array_equal(found, array) and found.shape == np.shape(array)
    if mmap:
        assert found.size == 0 or (isinstance(found, np.memmap) and not found.flags.writeable)
    else:
        assert found.dtype.isnative and type(found) is np.ndarray


def test_read_idx_mapped(tmp_path) -> None:
    path = write(tmp_path / "x", GOOD)
    found = read_array(path, mmap=True)
    assert isinstance(found, np.memmap) and np.array_equal(found.ravel(), np.arange(100))
    with pytest.raises(ValueError, match="uncompressed"):
        read_array(write(tmp_path / "x.gz", gzip.compress(GOOD)), mmap=True)


NPY = npy_bytes(np.arange(100.0).reshape(10, 10))
DEEP = "-" * 9000 + "1"


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .npy"),
        (b"1,2,3\n4,5,6\n", "text formats are not read"),
        (NPY[:8], "malformed"),
        (NPY[:60], "malformed"),
        (NPY[:-1], "truncated or false header"),
        (NPY + NPY, "left over"),
        (b"\x93NUMPY\x09\x00" + NPY[8:], "version"),
        (b"\x93NUMPY\x03\x00" + NPY[8:], "version"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**9,)}"), "malformed"),
        (
            npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
            "8000000000000 bytes",
        ),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "malformed"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -3)}"), "malformed"),
        (npy_header("{'descr': '<f8', 'fortran_order': 1, 'shape': ()}"), "malformed"),
        (npy_header("{'descr': 'nonsense', 'fortran_order': False, 'shape': ()}"), "malformed"),
        (npy_header("{'shape': (), 1: 2}"), "malformed"),
        (npy_header("{'descr': "), "malformed"),
        (npy_header("__import__('os').abort()"), "malformed"),
        (npy_header("[" * 5000), "malformed"),
        (npy_header(DEEP), "malformed"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 300), "malformed"),
        (npy_bytes(np.zeros(3, complex)), "complex"),
        (npy_bytes(np.array(["a"])), "<U1"),
        (npy_bytes(np.zeros(3, "M8[s]")), "datetime"),
        (npy_bytes(np.zeros(3, "i4,f4")), "f0"),
        (npy_bytes(np.array([None, {}]), allow_pickle=True), "pickled"),
    ],
)
def test_malformed_npy(tmp_path, content, message, mmap) -> None:
    path = write(tmp_path / "bad.npy", content)
    with pytest.raises(ValueError, match=message) as caught:
        read_array(path, mmap=mmap)
    assert str(path) in str(caught.value)


def test_npy_of_version_2(tmp_path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(6.0).reshape(2, 3), version=(2, 0))
    whole = buffer.getvalue()
    path = write(tmp_path / "x.npy", whole)
    for mmap in (False, True):
        assert read_array(path, mmap=mmap).tolist() == [[0, 1, 2], [3, 4, 5]]
    for stop in (9, 12, 40):
        with pytest.raises(ValueError, match="malformed"):
            read_array(write(tmp_path / "short.npy", whole[:stop]))
    # The length of the header, 32 bits, is as untrusted as the rest.
    path = write(tmp_path / "long.npy", whole[:8] + b"\xff\xff\xff\xff" + whole[12:])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="claims 4294967295 bytes"):
            read_array(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 24


def test_pickles_are_never_loaded(tmp_path) -> None:
    marker = tmp_path / "executed"
    objects = np.empty(1, object)
    objects[0] = Bomb(marker)
    write(tmp_path / "a.npy", npy_bytes(objects, allow_pickle=True))
    np.savez(tmp_path / "a.npz", x=objects)
    write(tmp_path / "a.pkl", pickle.dumps(Bomb(marker)))
    # Bytes that NumPy's own reader would hand to pickle, with a header that lies about the type.
    for name in ("a.npy", "a.npz", "a.pkl"):
        for mmap in (False, name == "a.npy"):
            with pytest.raises(ValueError, match=name):
                read_array(tmp_path / name, mmap=mmap)
    assert not marker.exists()


@pytest.mark.parametrize("saver", [np.savez, np.savez_compressed])
def test_read_npz(tmp_path, saver) -> None:
    one, two = np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(4, dtype=">i2")
    saver(tmp_path / "one.npz", x=one)
    saver(tmp_path / "two.npz", x=one, y=two)
    assert np.array_equal(read_array(tmp_path / "one.npz"), one)
    assert np.array_equal(read_array(tmp_path / "two.npz", key="y"), two)
    with pytest.raises(ValueError, match=r"holds 2 arrays \(x, y\)"):
        read_array(tmp_path / "two.npz")
    with pytest.raises(ValueError, match="no array 'z'"):
        read_array(tmp_path / "two.npz", key="z")
    with pytest.raises(ValueError, match="cannot be mapped"):
        read_array(tmp_path / "one.npz", mmap=True)
    with pytest.raises(ValueError, match="only a"):
        read_array(write(tmp_path / "x.npy", NPY), key="x")


def zip_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_malformed_npz(tmp_path) -> None:
    good = zip_of(tmp_path / "x.npz", {"x.npy": NPY}, zipfile.ZIP_STORED).read_bytes()
    changed = bytearray(good)
    changed[good.index(NPY[-16:])] ^= 1  # a value, which the checksum notices
    encrypted = bytearray(good)
    encrypted[6] |= 1
    encrypted[good.index(b"PK\1\2") + 8] |= 1
    for content in (good[:100], good[:-30], bytes(changed), bytes(encrypted), b"PK\3\4junk"):
        with pytest.raises(ValueError, match=r"x\.npz"):
            read_array(write(tmp_path / "x.npz", content))
    for members in ({}, {"x.npy": NPY[:-8]}, {"x.npy": NPY + b"\0"}, {"x.npy": b"text"}):
        with pytest.raises(ValueError, match=r"y\.npz"):
            read_array(zip_of(tmp_path / "y.npz", members))
    with pytest.raises(ValueError, match="method 14"):
        read_array(zip_of(tmp_path / "z.npz", {"x.npy": NPY}, zipfile.ZIP_LZMA))


def test_zip_bomb_is_not_unpacked(tmp_path) -> None:
    size = 64 << 20
    header = npy_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},)}}")
    bomb = zip_of(tmp_path / "bomb.npz", {"x.npy": header + b"\0" * size})
    assert bomb.stat().st_size < 100_000
    assert peak_of(lambda: read_array(bomb, max_bytes=1 << 20)) < 16 << 20
    # A directory that claims more than its data can expand to.
    content = bytearray(bomb.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 24 : entry + 28] = struct.pack("<I", 0xFFFFFFF0)
    lying = write(tmp_path / "lying.npz", bytes(content))
    assert peak_of(lambda: read_array(lying)) < 16 << 20
    assert read_array(bomb).shape == (size,)


def test_read_sparse_npz(tmp_path) -> None:
    matrix = sp.random(20, 30, 0.2, format="csr", random_state=0)
    sp.save_npz(tmp_path / "m.npz", matrix)
    found = read_array(tmp_path / "m.npz")
    assert found.format == "csr" and (found != matrix).nnz == 0
    sp.save_npz(tmp_path / "c.npz", matrix.tocsc())
    with pytest.raises(ValueError, match="not CSR"):
        read_array(tmp_path / "c.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([0, 99], np.int32)},
        {"indices": np.array([0, -1], np.int32)},
        {"indptr": np.array([0, 5, 2], np.int32)},
        {"indptr": np.array([0, 2], np.int32)},
        {"shape": np.array([2, 3, 4])},
        {"shape": np.array([-2, 3])},
        {"data": np.array([1.0])},
    ],
)
def test_hostile_sparse_npz(tmp_path, change) -> None:
    parts = {
        "format": np.array(b"csr"),
        "shape": np.array([2, 3]),
        "data": np.array([1.0, 2.0]),
        "indices": np.array([0, 2], np.int32),
        "indptr": np.array([0, 1, 2], np.int32),
    }
    path = tmp_path / "m.npz"
    np.savez(path, **parts)
    assert read_array(path).toarray().tolist() == [[1, 0, 0], [0, 0, 2]]
    np.savez(path, **(parts | change))
    with pytest.raises(ValueError, match=r"m\.npz: malformed sparse matrix"):
        read_array(path)


def test_not_a_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "none.npy")
    with pytest.raises(ValueError, match="is a folder"):
        read_array(tmp_path)
    if hasattr(os, "mkfifo"):  # opening one would wait for a writer, for ever
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ValueError, match="not a regular file"):
            read_idx(tmp_path / "pipe")


def test_huge_sparse_file_is_mapped_not_read(tmp_path) -> None:
    path = tmp_path / "huge.npy"
    shape = (1 << 30, 16)  # 64 GiB of holes
    with open(path, "wb") as file:
        file.write(npy_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"))
        start = file.tell()
        try:
            file.truncate(start + 4 * shape[0] * shape[1])
        except OSError:
            pytest.skip("this file system has no sparse files of 64 GiB")
    with pytest.raises(ValueError, match="mmap=True"):
        read_array(path)
    mapped = read_array(path, mmap=True)
    assert mapped.shape == shape
    batch = next(stream_batches(mapped, 100))
    assert batch.shape == (100, 16) and not batch.any()


# ------------------------------------------------------------------------------------- streaming

X = np.arange(23 * 4, dtype=np.float32).reshape(23, 4)


@pytest.mark.parametrize("size", [1, 5, 22, 23, 24, 1000])
@pytest.mark.parametrize("form", ["array", "csr", "csc", "pieces", "sparse pieces", "generator"])
def test_stream_covers_everything_in_order(size, form) -> None:
    cuts = [0, 0, 3, 4, 16, 17, 17, 23]
    pieces = [X[a:b] for a, b in itertools.pairwise(cuts)]
    source = {
        "array": X,
        "csr": sp.csr_matrix(X),
        "csc": sp.csc_matrix(X),
        "pieces": pieces,
        "sparse pieces": [sp.csr_matrix(p) for p in pieces],
        "generator": (p for p in pieces),
    }[form]
    batches = list(stream_batches(source, size))
    assert [b.shape[0] for b in batches] == [size] * (23 // size) + [23 % size] * (23 % size > 0)
    dense = [b.toarray() if sp.issparse(b) else b for b in batches]
    assert np.array_equal(np.concatenate(dense), X)
    assert all(sp.issparse(b) == ("s" in form[:2] and form != "pieces") for b in batches)


def test_stream_drop_last() -> None:
    for source in (X, [X[:11], X[11:]]):
        assert [len(b) for b in stream_batches(source, 5, drop_last=True)] == [5, 5, 5, 5]
        assert list(stream_batches(source, 24, drop_last=True)) == []


def test_stream_layouts_and_types() -> None:
    for source in (np.asfortranarray(X), X.astype(">f8"), X[::-1][::-1], X.astype(np.uint8)):
        for batch in stream_batches(source, 7):
            assert batch.dtype == np.float32 and batch.flags.c_contiguous and batch.dtype.isnative
    assert next(stream_batches(X.astype(">i4"), 7, dtype=None)).dtype == np.dtype(np.int32)
    assert next(stream_batches(sp.csr_matrix(X), 7, dtype=np.float64)).dtype == np.float64


def test_stream_from_a_file(tmp_path) -> None:
    np.save(tmp_path / "x.npy", X)
    batches = list(stream_batches(read_array(tmp_path / "x.npy", mmap=True), 10))
    assert all(type(b) is np.ndarray for b in batches)
    assert np.array_equal(np.concatenate(batches), X)


def test_stream_shuffle() -> None:
    for source in (X, sp.csr_matrix(X)):
        runs = []
        for _ in range(2):
            rows = list(stream_batches(source, 5, shuffle=True, random_state=3))
            runs.append(np.concatenate([r.toarray() if sp.issparse(r) else r for r in rows]))
        assert np.array_equal(*runs) and not np.array_equal(runs[0], X)
        assert np.array_equal(np.sort(runs[0], axis=0), X)
    with pytest.raises(ValueError, match="shuffle"):
        stream_batches([X], 5, shuffle=True)


def test_stream_may_reuse_one_buffer() -> None:
    def refill():
        buffer = np.empty((3, 4), np.float32)
        for start in range(0, 21, 3):
            buffer[:] = X[start : start + 3]
            yield buffer

    assert np.array_equal(np.concatenate(list(stream_batches(refill(), 5))), X[:21])


def test_stream_takes_no_more_than_it_needs() -> None:
    taken = []

    def source():
        for i in range(100):
            taken.append(i)
            yield X[:10]

    batches = stream_batches(source(), 20)
    next(batches)
    assert len(taken) == 2


@pytest.mark.parametrize(
    ("source", "size", "options", "error", "message"),
    [
        (X, 0, {}, ValueError, "batch_size"),
        (X, 2.0, {}, TypeError, "batch_size"),
        (X, True, {}, TypeError, "batch_size"),
        (X, 2, {"dtype": int}, ValueError, "dtype"),
        (X[0], 2, {}, ValueError, "2 dimensions"),
        ("x.npy", 2, {}, TypeError, "read_array"),
        (3, 2, {}, TypeError, "iterable"),
    ],
)
def test_stream_refuses_at_the_call(source, size, options, error, message) -> None:
    with pytest.raises(error, match=message):
        stream_batches(source, size, **options)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([X, X[0]], "batch 1 has shape"),
        ([X, X[:, :3]], "batch 1 has 3 columns"),
        ([X, sp.csr_matrix(X)], "batch 1 mixes"),
    ],
)
def test_stream_refuses_bad_items(items, message) -> None:
    with pytest.raises(ValueError, match=message):
        list(stream_batches(items, 5))


# ------------------------------------------------------------------------ dynamic binarisation


def test_binarized_draws_anew_in_every_pass():
    X = np.repeat([[0.0, 0.2, 0.5, 1.0]], 20_000, axis=0)
    stream = datasets.Binarized(X, random_state=3, batch_rows=6000)
    first, second = (np.concatenate(list(stream)) for _ in range(2))
    assert first.shape == second.shape == X.shape and first.dtype == np.float32
    assert set(np.unique(first)) == {0, 1}
    assert stream.passes == 2
    for drawn in (first, second):
        # four standard errors
        assert np.abs(drawn.mean(axis=0) - X[0]).max() < 4 * 0.5 / np.sqrt(len(X))
    assert (first[:, 1:3] != second[:, 1:3]).mean() > 0.3
    again = datasets.Binarized(X, random_state=3, passes=1)
    np.testing.assert_array_equal(np.concatenate(list(again)).mean(axis=0)[[0, 3]], [0, 1])
    resumed = datasets.Binarized(X, random_state=3, passes=1, batch_rows=6000)
    np.testing.assert_array_equal(np.concatenate(list(resumed)), second)


def test_binarized_visits_every_row_once():
    X = np.eye(50)
    rows = np.concatenate(list(datasets.Binarized(X, batch_rows=7)))
    np.testing.assert_array_equal(rows.sum(axis=0), np.ones(50))


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (np.zeros(3), {}, "shape"),
        ([[0.5, 1.5]], {}, r"\[0, 1\]"),
        ([[0.5, np.nan]], {}, r"\[0, 1\]"),
        ([[0.5]], {"batch_rows": 0}, "batch_rows"),
    ],
)
def test_binarized_refuses(X, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.Binarized(X, **options)

"""Saving and loading: round trips, atomicity, damaged and foreign files."""

from __future__ import annotations

import json
import os
import pickle
import stat
import struct

import numpy as np
import pytest
import safetensors.numpy

from unsupfast import io as uio
from unsupfast.io import load, load_tensors, register_model, save_model, save_tensors

TENSORS = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(20, dtype=np.int64)[::3],
    "big": np.arange(5, dtype=">f8"),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 7), np.float32),
    "flags": np.array([True, False]),
    "bytes": np.arange(9, dtype=np.uint8),
}


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(uio, "_models", {})


def test_round_trip(tmp_path) -> None:
    meta = {
        "name": "ünïcode",
        "nested": {"list": [1, 2.5, None, True], "tuple": (1, 2)},
        "numpy": [np.float32(0.5), np.int64(7), np.bool_(True), np.arange(3)],
        "nan": float("nan"),
        "big": 2**128 - 1,
    }
    save_tensors(tmp_path / "m.safetensors", TENSORS, meta)
    tensors, found = load_tensors(tmp_path / "m.safetensors")
    assert tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert np.array_equal(tensors[name], array) and tensors[name].shape == array.shape
        assert tensors[name].dtype == array.dtype.newbyteorder("=") and tensors[name].dtype.isnative
        assert tensors[name].flags.writeable
    assert found["name"] == meta["name"] and found["big"] == meta["big"]
    assert found["nested"] == {"list": [1, 2.5, None, True], "tuple": [1, 2]}
    assert found["numpy"] == [0.5, 7, True, [0, 1, 2]] and np.isnan(found["nan"])


def test_floats_are_exact(tmp_path) -> None:
    values = [0.1, 1e-300, 5e-324, 1.7976931348623157e308, np.nextafter(1, 2)]
    save_tensors(tmp_path / "m", {}, {"values": values})
    assert load_tensors(tmp_path / "m")[1]["values"] == values


def test_other_readers_understand_the_file(tmp_path) -> None:
    save_tensors(tmp_path / "m.safetensors", TENSORS, {"a": 1})
    raw = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    assert np.array_equal(raw["fortran"], TENSORS["fortran"])
    with safetensors.safe_open(tmp_path / "m.safetensors", "numpy") as file:
        header = file.metadata()
    assert header["format"] == "unsupfast" and header["format_version"] == "1"
    assert json.loads(header["metadata"]) == {"a": 1}


def test_same_content_same_bytes(tmp_path) -> None:
    for name in ("a", "b"):
        save_tensors(tmp_path / name, TENSORS, {"x": [1, 2]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("tensors", "meta", "message"),
    [
        ({"x": np.array([None])}, {}, r"tensors\['x'\]: got object"),
        ({"x": np.array(["a"])}, {}, r"tensors\['x'\]"),
        ({"x": np.zeros(2, complex)}, {}, "complex128"),
        ({1: np.zeros(2)}, {}, "got the name 1"),
        ({}, {"a": {"b": [1, {2}]}}, r"metadata\['a'\]\['b'\]\[1\]: got set"),
        ({}, {"a": {1: 2}}, r"metadata\['a'\]: got the key 1"),
        ({}, {"a": print}, "builtin_function"),
        ({}, {"a": b"bytes"}, "bytes"),
    ],
)
def test_what_cannot_be_stored(tmp_path, tensors, meta, message) -> None:
    with pytest.raises(TypeError, match=message):
        save_tensors(tmp_path / "m", tensors, meta)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------ atomicity


def test_failure_keeps_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "m"
    save_tensors(path, {"x": np.zeros(3)})
    old = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_tensors(path, {"x": np.ones(3)})
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == ["m"]


def test_interruption_keeps_the_old_file(tmp_path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        with uio.atomic_write(path) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_data_reach_the_disk_before_the_name(tmp_path, monkeypatch) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        calls.append((kind, os.fstat(descriptor).st_size > 0))
        fsync(descriptor)

    def spy_replace(source, target):
        calls.append(("replace", os.path.dirname(source) == os.path.dirname(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    save_tensors(tmp_path / "m", {"x": np.zeros(3)})
    assert [kind for kind, _ in calls] == (["file", "replace", "folder"][: 2 + (os.name != "nt")])
    assert calls[0][1] and calls[1][1]


@pytest.mark.skipif(os.name == "nt", reason="permissions and links of POSIX")
def test_permissions_and_links(tmp_path) -> None:
    before = os.umask(0o027)
    try:
        save_tensors(tmp_path / "real", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640
    (tmp_path / "link").symlink_to("real")
    save_tensors(tmp_path / "link", {"x": np.ones(2)})
    assert (tmp_path / "link").is_symlink() and "x" in load_tensors(tmp_path / "real")[0]


def test_bad_places(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        save_tensors(tmp_path / "none" / "m", {})
    with pytest.raises(IsADirectoryError):
        save_tensors(tmp_path, {})
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "none")
    with pytest.raises(OSError):
        load_tensors(tmp_path)


# ------------------------------------------------------------------------------------- bad files


def with_header(header: dict | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def ours(metadata: str = "{}", version: str = "1", **tensors: dict) -> dict:
    head = {"format": "unsupfast", "format_version": version, "metadata": metadata}
    return {"__metadata__": head, **tensors}


@pytest.fixture
def good(tmp_path) -> bytes:
    save_tensors(tmp_path / "good", {"x": np.arange(100.0)}, {"a": 1})
    return (tmp_path / "good").read_bytes()


def test_truncated_at_every_length(tmp_path, good) -> None:
    path = tmp_path / "cut"
    for length in range(0, len(good), 7):
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match="cut"):
            load_tensors(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(ValueError, match="cut"):
        load_tensors(path)


def test_damaged_bytes_never_crash(tmp_path, good) -> None:
    path = tmp_path / "flipped"
    for position in range(0, len(good) - 800):  # the header, byte by byte
        changed = bytearray(good)
        changed[position] ^= 0x15
        path.write_bytes(bytes(changed))
        try:
            tensors, _ = load_tensors(path)
        except ValueError as error:
            assert "flipped" in str(error)
        else:  # a letter of a name or of the metadata may change unnoticed
            assert all(isinstance(t, np.ndarray) for t in tensors.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello, this is a text file\n", "not a safetensors"),
        (pickle.dumps({"a": 1}), "not a safetensors"),
        (struct.pack("<Q", 2**63) + b"{}", "not a safetensors"),
        (with_header(b"[1, 2]"), "not a safetensors"),
        (with_header({}), "not one of unsupfast"),
        (with_header({"__metadata__": {"format": "pt"}}), "format is 'pt'"),
        (with_header(ours(version="2")), "upgrade"),
        (with_header(ours(version="999999999")), "upgrade"),
        (with_header(ours(version="²")), "format_version"),
        (with_header(ours(version="-1")), "format_version"),
        (with_header(ours(version="")), "format_version"),
        (with_header(ours(metadata="{")), "not JSON"),
        (with_header(ours(metadata="[1]")), "expected a dict"),
        (with_header(ours(metadata="[" * 100_000)), "not JSON"),
        (
            with_header(ours(x={"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]})),
            "damaged",
        ),
        (
            with_header(ours(x={"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}), b"\0" * 8),
            "damaged",
        ),
        (
            with_header(ours(x={"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}), b"\0" * 8),
            "damaged",
        ),
    ],
)
def test_foreign_and_hostile_files(tmp_path, content, message) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_tensors(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ValueError, match=message):
        load(path)


# ---------------------------------------------------------------------------------------- models


class Toy:
    def __init__(self, weights, rate):
        self.weights, self.rate = weights, rate

    def _get_state(self):
        return {"weights": self.weights}, {"rate": self.rate}

    @classmethod
    def _from_state(cls, tensors, meta):
        if meta["rate"] < 0:
            raise ValueError("rate is negative")
        return cls(tensors["weights"], meta["rate"])


def test_model_round_trip(tmp_path, registry) -> None:
    assert register_model(Toy) is Toy
    save_model(Toy(np.eye(3), 0.1), tmp_path / "toy")
    found = load(tmp_path / "toy")
    tensors, meta, name = uio.load_state(tmp_path / "toy")
    assert name == "Toy" and meta == {"rate": 0.1} and np.array_equal(tensors["weights"], np.eye(3))
    assert type(found) is Toy and found.rate == 0.1 and np.array_equal(found.weights, np.eye(3))


def test_decorator_with_a_name(tmp_path, registry) -> None:
    @register_model(name="Other")
    class Renamed(Toy):
        pass

    save_model(Renamed(np.eye(2), 1.0), tmp_path / "m")
    assert load_tensors(tmp_path / "m")[1]["model"] == "Other"
    assert type(load(tmp_path / "m")) is Renamed


def test_registry_refuses(tmp_path, registry) -> None:
    register_model(Toy)
    register_model(Toy)  # again the same: fine
    with pytest.raises(ValueError, match="taken by"):
        register_model(name="Toy")(type("Imposter", (Toy,), {}))
    with pytest.raises(TypeError, match="_get_state"):
        register_model(dict)
    with pytest.raises(TypeError, match="expected a class"):
        register_model(3)
    with pytest.raises(TypeError, match="Derived is not registered"):
        save_model(type("Derived", (Toy,), {})(np.eye(2), 1.0), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_load_unknown_or_unfit(tmp_path, registry) -> None:
    register_model(Toy)
    path = tmp_path / "m"
    for tensors, meta, message in [
        ({}, {}, "no model"),
        ({}, {"model": 3}, "no model"),
        ({}, {"model": "os.system", "state": {}}, "class 'os.system', known are Toy"),
        ({}, {"model": "Toy", "state": {"rate": 1}}, "does not fit Toy: missing 'weights'"),
        ({}, {"model": "Toy", "state": {}}, "missing 'rate'"),
        ({}, {"model": "Toy", "state": [1]}, "no model"),
        ({}, {"model": "Toy", "state": {"rate": -1}}, "rate is negative"),
    ]:
        save_tensors(path, tensors, meta)
        with pytest.raises(ValueError, match=message) as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_an_interrupt_as_the_file_opens_leaves_nothing(tmp_path, monkeypatch) -> None:
    # A signal that comes during a call is raised as the call returns.
    def opens_then_interrupted(call):
        def wrapper(*args, **options):
            call(*args, **options)
            raise KeyboardInterrupt

        return wrapper

    monkeypatch.setattr("os.open", opens_then_interrupted(os.open))
    monkeypatch.setattr("builtins.open", opens_then_interrupted(open))
    with pytest.raises(KeyboardInterrupt), uio.atomic_write(tmp_path / "m"):
        pass
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []

"""The command line: exit status, messages, files."""

from __future__ import annotations

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import unsupfast
from unsupfast import cli

RNG = np.random.default_rng(0)
BITS = (RNG.random((60, 16)) < 0.3).astype(np.float32)
QUICK = ["--n-components", "6", "--n-iter", "2", "--batch-size", "10", "--quiet"]


def run(capsys, *args) -> tuple[int, str, str]:
    status = cli.main([str(a) for a in args])
    out, err = capsys.readouterr()
    return status, out, err


def fails(capsys, message: str, *args, status: int = 2) -> None:
    code, out, err = run(capsys, *args)
    assert code == status and out == ""
    assert message in err and err.count("\n") == 1 and err.startswith("unsupfast: error: ")


@pytest.fixture
def bits(tmp_path) -> Path:
    np.save(tmp_path / "bits.npy", BITS)
    return tmp_path / "bits.npy"


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "model.safetensors"
    unsupfast.RBM(6, n_iter=3, random_state=0).fit(BITS).save(path)
    return path


# -------------------------------------------------------------------------------------- the whole


@pytest.fixture(params=["matplotlib", "plain"])
def pictures(request, monkeypatch) -> str:
    """With matplotlib, and as if it were not installed."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    else:
        pytest.importorskip("matplotlib")
    return request.param


def png(path: Path) -> np.ndarray:
    """The pixels of a picture written without matplotlib: (height, width, 3)."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(body),)
        chunks[body[:4]] = body[4:]
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 2, 0, 0, 0]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, 3)


def test_demo(tmp_path, capsys, pictures) -> None:
    status, out, err = run(capsys, "demo", "--out", tmp_path / "a" / "b", "--seed", 1)
    assert status == 0 and "error" not in err
    assert "samples/s" in out and "nats/sample" in out and "interval" in out
    names = {p.name for p in (tmp_path / "a" / "b").iterdir()}
    assert names == {"model.safetensors", "filters.png", "samples.png", "learning-curve.png"}
    assert all(name in out for name in names)
    # It learned: far better than pixels taken as independent, on data that it has not seen.
    value, base = (
        float(line.split(" nats")[0].split()[-1])
        for line in out.splitlines()
        if line.strip().startswith(("log-likelihood", "independent"))
    )
    assert value > base + 5
    assert unsupfast.load(tmp_path / "a" / "b" / "model.safetensors").n_features_in_ == 64


def test_plain_pictures_show_the_values(tmp_path, capsys, monkeypatch, model) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    fitted = unsupfast.load(model)
    line = ["sample", model, "-n", 4, "--steps", 5, "--random-state", 1, "--mean", "--out"]
    assert run(capsys, *line, tmp_path / "s.png")[0] == 0
    assert run(capsys, *line, tmp_path / "s.npy")[0] == 0
    pixels = png(tmp_path / "s.png")
    pixels = pixels[:: len(pixels) // 11, :: len(pixels) // 11, 0]  # 2 x 2 tiles of 4 x 4
    tiles = [pixels[i : i + 4, j : j + 4].ravel() for i in (1, 6) for j in (1, 6)]
    assert np.abs(tiles - 255 * np.load(tmp_path / "s.npy")).max() <= 0.5

    assert run(capsys, "plot", "filters", model, "--out", tmp_path / "f.png")[0] == 0
    pixels = png(tmp_path / "f.png").astype(int)
    pixels = pixels[:: len(pixels) // 16, :: len(pixels) // 16]
    cut = [pixels[i : i + 4, j : j + 4] for i in (1, 6, 11) for j in (1, 6)]
    redness = np.array([(tile[..., 0] - tile[..., 2]).ravel() for tile in cut])
    far = np.abs(fitted.components_) > 0.3 * np.abs(fitted.components_).max()
    assert (np.sign(redness) == np.sign(fitted.components_))[far].all()

    # A blue curve that falls and rises with the history, between the axes of its panel.
    assert run(capsys, "plot", "curve", model, "--out", tmp_path / "c.png")[0] == 0
    pixels = png(tmp_path / "c.png")
    rows, columns = np.nonzero((pixels == (31, 119, 180)).all(axis=-1))
    height = [rows[columns == c].mean() for c in (columns.min(), columns.max())]
    history = fitted.history_["pseudo_log_likelihood"]
    assert np.sign(height[0] - height[1]) == np.sign(history[-1] - history[0])
    assert 40 <= rows.min() and rows.max() <= 290

    for words in (("plot", "curve", model), ("sample", model)):
        fails(capsys, "needs matplotlib", *words, "--out", tmp_path / "x.pdf")


def test_train_sample_transform_plot(tmp_path, capsys, bits, pictures) -> None:
    model = tmp_path / "m.safetensors"
    args = ["train", "rbm", "--data", bits, "--out", model, "--random-state", 3, *QUICK]
    status, out, err = run(capsys, *args)
    assert status == 0 and "60 x 16" in out and str(model) in out and err == ""
    fitted = unsupfast.load(model)
    assert fitted.components_.shape == (6, 16) and len(fitted.history_["epoch"]) == 2

    codes = tmp_path / "codes.npy"
    assert run(capsys, "transform", model, "--data", bits, "--out", codes)[0] == 0
    assert np.array_equal(np.load(codes), fitted.transform(BITS))

    drawn = tmp_path / "s.npy"
    line = ["sample", model, "-n", 5, "--steps", 20, "--out", drawn, "--random-state", 1]
    assert run(capsys, *line)[0] == 0
    assert np.array_equal(np.load(drawn), fitted.sample(5, steps=20, random_state=1))

    assert run(capsys, "sample", model, "-n", 4, "--steps", 5, "--out", tmp_path / "s.png")[0] == 0
    for what in ("filters", "samples", "curve"):
        picture = tmp_path / f"{what}.png"
        assert run(capsys, "plot", what, model, "--out", picture)[0] == 0
        assert picture.read_bytes()[:4] == b"\x89PNG"


def test_plots_of_networks(tmp_path, capsys, bits) -> None:
    pytest.importorskip("matplotlib")
    names = ("vae", "flat", "wide", "deep")
    vae, flat, wide, deep = (tmp_path / f"{name}.safetensors" for name in names)
    unsupfast.VAE(8, 2, n_iter=2, random_state=0).fit(BITS).save(vae)
    unsupfast.Autoencoder((8, 2), n_iter=2, random_state=0).fit(BITS).save(flat)
    unsupfast.Autoencoder(8, n_iter=2, random_state=0).fit(BITS).save(wide)
    unsupfast.DBM((8, 4), n_iter=2, random_state=0).fit(BITS).save(deep)
    out = tmp_path / "p.png"
    data = ["--data", bits]
    for what, model, options in [
        ("filters", vae, []),
        ("filters", wide, ["-n", 3]),
        ("samples", vae, ["-n", 4]),
        ("curve", vae, []),
        ("filters", deep, []),
        ("samples", deep, ["-n", 4]),
        ("curve", deep, []),
        ("curve", flat, []),
        ("reconstructions", wide, data),
        ("codes", flat, data),
        ("codes", vae, data),
        ("grid", vae, ["-n", 4]),
        ("grid", flat, ["-n", 4, *data]),
        ("interpolations", wide, data),
    ]:
        status, text, err = run(capsys, "plot", what, model, "--out", out, *options)
        assert status == 0 and str(out) in text, err
        assert out.read_bytes()[:4] == b"\x89PNG"
        out.unlink()
    assert run(capsys, "sample", vae, "-n", 3, "--out", tmp_path / "s.npy")[0] == 0
    assert np.load(tmp_path / "s.npy").shape == (3, 16)

    narrow = tmp_path / "narrow.npy"
    np.save(narrow, BITS[:, :9])
    for message, what, model, options in [
        ("Autoencoder is no model to draw samples from", "samples", wide, []),
        ("have 8 dimensions, expected 2", "codes", wide, data),
        ("have 8 dimensions, expected 2", "grid", wide, []),
        ("known from data alone", "grid", flat, []),
        ("name some", "reconstructions", wide, []),
        ("has 9 columns", "codes", vae, ["--data", narrow]),
    ]:
        fails(capsys, message, "plot", what, model, "--out", out, *options)
    assert not out.exists()


def test_plots_of_labelled_data(tmp_path, capsys, monkeypatch) -> None:
    pytest.importorskip("matplotlib")
    X = unsupfast.datasets.digits().data
    model, out = tmp_path / "m.safetensors", tmp_path / "p.svg"
    unsupfast.VAE(8, 2, n_iter=1, random_state=0).fit(X).save(model)
    line = ["plot", "codes", model, "--data", "digits", "--out", out]
    assert run(capsys, *line)[0] == 0
    assert "codes of digits" in out.read_text()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    fails(capsys, "codes: needs matplotlib", *line[:-1], tmp_path / "p.png")


def test_train_again_gives_the_same_file(tmp_path, capsys, bits) -> None:
    found = []
    for name in ("a", "b"):
        args = ["train", "rbm", "--data", bits, "--out", tmp_path / name, "--random-state", 3]
        assert run(capsys, *args, *QUICK)[0] == 0
        found.append(unsupfast.load(tmp_path / name))
    assert np.array_equal(found[0].components_, found[1].components_)


def test_train_resumes(tmp_path, capsys, bits) -> None:
    base = ["train", "rbm", "--data", bits, "--random-state", 3, "--n-components", 6, "--quiet"]
    whole, half, both, kept = (tmp_path / n for n in ("whole", "half", "both", "kept"))
    assert run(capsys, *base, "--out", whole, "--n-iter", 4)[0] == 0
    assert run(capsys, *base, "--out", half, "--n-iter", 2, "--checkpoint", kept)[0] == 0
    assert run(capsys, *base, "--out", both, "--n-iter", 4, "--resume", kept)[0] == 0
    one, two = unsupfast.load(whole), unsupfast.load(both)
    assert np.array_equal(one.components_, two.components_)
    assert one.history_["epoch"] == two.history_["epoch"]


def test_validation(tmp_path, capsys, bits) -> None:
    out = tmp_path / "m"
    for given in ("0.25", bits):
        args = ["train", "rbm", "--data", bits, "--out", out, "--validation", given, *QUICK]
        assert run(capsys, *args)[0] == 0
    assert "held-out free-energy gap" in run(capsys, *args)[1]
    np.save(tmp_path / "narrow.npy", BITS[:, :9])
    args[args.index("--validation") + 1] = tmp_path / "narrow.npy"
    fails(capsys, "--validation: has 9 columns", *args)
    for bad in ("0", "1", "-0.5", "nan"):
        fails(capsys, "--validation", *args[:-9], f"--validation={bad}", *QUICK)


def test_data_formats(tmp_path, capsys, model) -> None:
    grey = (BITS[:8] * 255).astype(np.uint8)
    fitted = unsupfast.load(model)
    np.savez(tmp_path / "two.npz", x=BITS[:8], y=BITS)
    sp.save_npz(tmp_path / "sparse.npz", sp.csr_matrix(BITS[:8]))
    np.save(tmp_path / "cube.npy", BITS[:8].reshape(8, 4, 4))
    np.save(tmp_path / "bytes.npy", grey)
    head = b"\0\0\x08\3" + struct.pack(">3I", 8, 4, 4)
    (tmp_path / "idx.gz").write_bytes(gzip.compress(head + grey.tobytes()))
    for name, options in [
        ("two.npz", ["--key", "x"]),
        ("sparse.npz", []),
        ("cube.npy", []),
        ("bytes.npy", []),
        ("bytes.npy", ["--scale", "255"]),
        ("idx.gz", []),
    ]:
        args = ["transform", model, "--data", tmp_path / name, "--out", tmp_path / "c.npy"]
        status, _, err = run(capsys, *args, *options)
        assert status == 0, err
        assert np.allclose(np.load(tmp_path / "c.npy"), fitted.transform(BITS[:8]), atol=1e-6)
    fails(capsys, "holds 2 arrays", *args[:3], tmp_path / "two.npz", *args[4:])
    fails(capsys, "--scale", *args, "--scale", "0")


def test_transform_in_pieces(tmp_path, capsys, model, bits, monkeypatch) -> None:
    monkeypatch.setattr(cli, "_BATCH", 7)
    assert run(capsys, "transform", model, "--data", bits, "--out", tmp_path / "c.npy")[0] == 0
    expected = unsupfast.load(model).transform(BITS)
    assert np.allclose(np.load(tmp_path / "c.npy"), expected, atol=1e-6)


def test_info(capsys) -> None:
    status, out, _ = run(capsys, "info")
    assert status == 0 and unsupfast.build_info()["version"] in out
    status, out, _ = run(capsys, "info", "--json")
    assert status == 0 and json.loads(out)["version"] == unsupfast.build_info()["version"]


# -------------------------------------------------------------------------------------- bad input


def test_usage(capsys) -> None:
    assert run(capsys)[0] == 2
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for command in ("demo", "train", "sample", "transform", "plot", "info", "bench"):
        assert command in out
    for args in (
        ["nonsense"],
        ["train"],
        ["train", "gan", "--data", "digits", "--out", "x"],
        ["train", "rbm", "--data", "digits", "--out", "x", "--n-iter", "many"],
        ["sample", "m", "--out", "x.npy", "-n", "0"],
        ["plot", "filters", "m", "--out", "x.png", "--image-shape", "8"],
        ["demo", "--seed", "-1"],
    ):
        assert run(capsys, *args)[0] == 2


def test_help_of_every_command(capsys) -> None:
    for command in ("demo", "train", "sample", "transform", "plot", "info", "bench"):
        status, out, _ = run(capsys, command, "--help")
        assert status == 0 and f"unsupfast {command}" in out


def test_bad_data(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("UNSUPFAST_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "text.csv").write_text("1,2\n3,4\n")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    objects = np.array([None, {}])
    np.save(tmp_path / "pickle.npy", objects, allow_pickle=True)
    np.save(tmp_path / "line.npy", np.zeros(5))
    np.save(tmp_path / "empty.npy", np.zeros((0, 5)))
    np.save(tmp_path / "nan.npy", np.full((5, 4), np.nan))
    np.save(tmp_path / "large.npy", np.full((5, 4), 7.0))
    for name, message in [
        ("nowhere.npy", "is no file, and no data set"),
        (str(tmp_path), "is a folder"),
        ("mnist", "found no train-images-idx3-ubyte.gz"),
        ("mnist:valid", "no split 'valid'"),
        ("digits:train", "no split 'train'"),
        ("text.csv", "text formats are not read"),
        ("cut.npy", "malformed"),
        ("pickle.npy", "pickled"),
        ("line.npy", "expected samples in rows"),
        ("empty.npy", "expected samples in rows"),
        ("nan.npy", "NaN"),
        ("large.npy", "values from 7 to 7, expected 0 to 1"),
    ]:
        data = tmp_path / name if "." in name and (tmp_path / name).exists() else name
        out = tmp_path / "never.safetensors"
        fails(capsys, message, "train", "rbm", "--data", data, "--out", out, *QUICK)
        assert not out.exists()


def test_bad_options(tmp_path, capsys, bits) -> None:
    base = ["train", "rbm", "--data", bits, "--out", tmp_path / "m", *QUICK]
    for options, message in [
        (["--n-components", "0"], "n_components"),
        (["--batch-size", "-1"], "batch_size"),
        (["--precision", "float8"], "precision"),
        (["--device", "abacus"], "device"),
        (["--learning-rate", "nan"], "learning_rate"),
        (["--resume", tmp_path / "none"], "--resume"),
        (["--resume", bits], str(bits)),
        (["--out", tmp_path / "none" / "m"], "does not exist"),
        (["--out", tmp_path], "is a folder"),
        (["--checkpoint", tmp_path / "none" / "c"], "--checkpoint"),
    ]:
        fails(capsys, message, *base, *options)
    assert not (tmp_path / "m").exists()


def test_bad_models(tmp_path, capsys, model, bits) -> None:
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:-4])
    out = tmp_path / "x.npy"
    fails(capsys, "none.safetensors", "sample", tmp_path / "none.safetensors", "--out", out)
    fails(capsys, "cut.safetensors", "sample", tmp_path / "cut.safetensors", "--out", out)
    fails(capsys, "expected a name that ends in", "sample", model, "--out", tmp_path / "x.txt")
    np.save(tmp_path / "wide.npy", np.zeros((3, 17), np.float32))
    wide = tmp_path / "wide.npy"
    fails(capsys, "has 17 columns", "transform", model, "--data", wide, "--out", out)
    assert not out.exists()
    pytest.importorskip("matplotlib")
    line = ["plot", "filters", model, "--out", tmp_path / "x.png", "--image-shape", "3x5"]
    fails(capsys, "3x5 is not the model's 16 features", *line)


def test_failure_at_run_time_is_status_1(tmp_path, capsys, bits, monkeypatch) -> None:
    def fit(self, X):
        raise FloatingPointError("components_ is not finite\nin step 12")

    monkeypatch.setattr(unsupfast.RBM, "fit", fit)
    args = ["train", "rbm", "--data", bits, "--out", tmp_path / "m", *QUICK]
    fails(capsys, "not finite in step 12", *args, status=1)


def test_traceback_on_request(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNSUPFAST_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        cli.main(["sample", str(tmp_path / "none"), "--out", str(tmp_path / "x.npy")])


# ----------------------------------------------------------------------------------- interruption


def interrupt(*args, started: Path | None = None) -> subprocess.CompletedProcess:
    """Run a training that would take for ever, and press Ctrl-C when `started` exists."""
    command = [sys.executable, "-m", "unsupfast.cli", "train", "rbm", *map(str, args)]
    # Its own session, so that the signal reaches it alone.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while started is not None and not started.exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_a_valid_model(tmp_path, bits) -> None:
    model, kept = tmp_path / "m", tmp_path / "kept"
    args = ["--data", bits, "--out", model, "--n-iter", 10**7, "--n-components", 6]
    result = interrupt(*args, "--checkpoint", kept, started=kept)
    assert result.returncode == 130, result.stderr
    assert "Traceback" not in result.stderr and "--resume" in result.stderr
    for path in (model, kept):
        assert np.isfinite(unsupfast.load(path).transform(BITS)).all()
    assert {p.name for p in tmp_path.iterdir()} == {"bits.npy", "m", "kept"}


def test_ctrl_c_without_checkpoint(tmp_path, capsys, bits, monkeypatch) -> None:
    def fit(self, X):
        raise KeyboardInterrupt

    monkeypatch.setattr(unsupfast.RBM, "fit", fit)
    args = ["train", "rbm", "--data", bits, "--out", tmp_path / "m", *QUICK]
    status, _, err = run(capsys, *args)
    assert status == 130 and "nothing was saved" in err and not (tmp_path / "m").exists()


def test_closed_pipe_is_no_error() -> None:
    code = "import sys; from unsupfast.cli import main; sys.exit(main(['info']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    assert process.wait(60) == 0 and "Traceback" not in errors and "Exception" not in errors

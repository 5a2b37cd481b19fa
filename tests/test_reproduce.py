"""The scripts of the reproductions run: tiny versions of each, from arguments to files."""

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "bench" / "reproduce"

CLASSIFIERS = "classifiers-ae-ae-decay-dae-masking-dae-gauss-cae-rbm-sdae-3"

# Script, its arguments, the file it writes, and whether it draws.
RUNS = [
    ("vae_mnist", "--rows 200 --epochs 2 --importance 20", "vae-mnist-k1", True),
    ("vae_mnist", "--rows 200 --epochs 1 --importance 20 --samples 5", "vae-mnist-k5", True),
    ("vae_codes", "--rows 200 --epochs 2 --hidden 16", "vae-codes", True),
    ("keras_tutorial", "--rows 200 --epochs 2", "keras-tutorial", True),
    ("deep_autoencoder", "--rows 200 --epochs 2", "deep-autoencoder-30", True),
    ("deep_autoencoder", "--rows 200 --epochs 1 --code 2 --loss mse", "deep-autoencoder-2", True),
    ("classifiers", "--rows 200 --epochs 1 --pretrain-epochs 1", CLASSIFIERS, False),
    (
        "dbn_likelihood",
        "--rows 200 --hidden 20 784 --epochs 2 --top-epochs 1 --temperatures 50",
        "dbn-likelihood",
        True,
    ),
    (
        "dbm_mnist",
        "--rows 200 --hidden 20 15 10 --pretrain-epochs 1 --epochs 2 --temperatures 50",
        "dbm-mnist",
        True,
    ),
    ("digits_pipeline", "--rows 300 --epochs 2 --units 20 --rates 0.05", "digits-pipeline", True),
    (
        "pretraining_depth",
        "--rows 200 --epochs 1 --pretrain-epochs 1 --width 20 --depths 1 3",
        "pretraining-depth",
        True,
    ),
    ("up_down", "--rows 200 --epochs 3 --pretrain-epochs 1 --hidden 20 20 30", "up-down", True),
    ("dbn_classifier", "--rows 200 --epochs 1 --pretrain-epochs 1", "dbn-classifier-hinton", True),
    ("classifier_rbm", "--rows 200 --epochs 1 --hidden 20", "classifier-rbm-hybrid", False),
    ("documents", "--rows 1100 --epochs 1", "documents", True),
    (
        "replicated_softmax",
        "--rows 1100 --epochs 1 --codes 5 --likelihood-rows 2 --temperatures 20",
        "replicated-softmax",
        True,
    ),
    ("conv_rbm", "--rows 200 --epochs 1 --filters 4 --labels 100 200", "conv-rbm", True),
    ("linear_autoencoder", "--set digits --epochs 2", "linear-autoencoder-digits", False),
]


def needs_data(data_dir):
    for name in ("mnist", "binarized-mnist", "reuters21578"):
        if not (data_dir / name).is_dir():
            pytest.skip(f"{data_dir} holds no folder {name}")


@pytest.mark.parametrize("script, arguments, name, drawn", RUNS)
def test_script_runs_and_records(script, arguments, name, drawn, tmp_path, monkeypatch, request):
    if "digits" not in f"{script} {arguments}":
        needs_data(request.getfixturevalue("data_dir"))
    if drawn:
        pytest.importorskip("matplotlib").use("agg")
    monkeypatch.syspath_prepend(SCRIPTS)
    out = ["--out", str(tmp_path), "--seeds", "0"]
    monkeypatch.setattr(sys, "argv", [script, *arguments.split(), *out])
    runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
    record = json.loads((tmp_path / f"reproduce-{name}.json").read_text())
    assert record["published"] and record["summary"]
    assert all(run["seconds"] > 0 for run in record["runs"]) and record["runs"]
    assert (tmp_path / f"reproduce-{name}.png").exists() == drawn

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.networks import propensity

import fastprop
from fastprop.checkpoint.directory import write_checkpoint
from fastprop.cli import main
from fastprop.model_paths import model_paths


@pytest.fixture
def folder(tmp_path):
    network = propensity(np.random.default_rng(0), n_features=60, n_heads=3)
    write_checkpoint(tmp_path / "model", "retail", 3, network, labels=["beer", "wine", "bread"])
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_compiles_and_inspects(folder, capsys, weights):
    path = folder / "retail.fastprop"
    assert run("compile", folder / "model", "-o", path, "--weights", weights) == 0
    assert "60 features, 3 labels" in capsys.readouterr().err.replace("\n", " ")
    assert run("inspect", path, "--json", "--checksum") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["epoch"], facts["weights"]) == ("retail", 3, weights)
    assert facts["labels"] == ["beer", "wine", "bread"]
    assert facts["checksum_is_right"] is True
    assert facts["files"]["compiled"]["bytes"] == path.stat().st_size
    assert run("inspect", path) == 0
    assert "engine: native" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_named(folder, capsys):
    path = folder / "gone" / "retail.fastprop"
    assert run("compile", folder / "model", "-o", path) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said == f"error: {path}: cannot be written: there is no folder {folder / 'gone'}"


def test_damage_is_reported(folder, capsys):
    path = folder / "retail.fastprop"
    assert run("compile", folder / "model", "-o", path) == 0
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    assert run("inspect", path) == 0
    assert run("inspect", path, "--checksum") == 1
    assert "SHA-256" in capsys.readouterr().err
    assert run("compile", path, "-o", path) == 1
    assert run("inspect", folder / "model", "--checksum") == 2


def write_rows(folder):
    rng = np.random.default_rng(1)
    table = pa.table(
        {
            "customer_id": np.arange(20),
            "indices": [sorted(rng.choice(60, 5, replace=False).tolist()) for _ in range(20)],
            "values": [rng.random(5).tolist() for _ in range(20)],
            "region": ["eu", "us"] * 10,
        }
    )
    pq.write_table(table, folder / "rows.parquet")


def score(model, folder, output, *options):
    subprocess.run(
        [
            *(sys.executable, "-m", "fastprop.cli", "score", model, folder / "rows.parquet"),
            *("--output", f"{folder / output}/", *options),
        ],
        check=True,
        timeout=120,
    )


def test_scores_as_the_checkpoint_does(folder):
    path = folder / "retail.fastprop"
    assert run("compile", folder / "model", "-o", path) == 0
    write_rows(folder)
    score(folder / "model", folder, "a")
    score(path, folder, "b")
    scores = [pq.read_table(folder / name / "part-00000.parquet") for name in "ab"]
    assert scores[0].equals(scores[1])
    manifest = json.loads((folder / "b" / "_manifest.json").read_text())
    assert list(manifest["job"]["model"]) == ["compiled"]


def test_a_directory_of_models_may_hold_compiled_ones(folder):
    models = folder / "models"
    shutil.copytree(folder / "model", models / "eu")
    assert run("compile", folder / "model", "-o", models / "us.fastprop") == 0
    (models / "notes.txt").write_text("no model")
    assert model_paths(models) == {"eu": models / "eu", "us": models / "us.fastprop"}
    write_rows(folder)
    score(models, folder, "both", "--model-column", "region")
    score(folder / "model", folder, "one")
    scores = [pq.read_table(folder / name / "part-00000.parquet") for name in ("both", "one")]
    assert scores[0].equals(scores[1])
    (models / "us").mkdir()
    with pytest.raises(fastprop.InvalidInputError, match=r"both us and us.fastprop"):
        model_paths(models)

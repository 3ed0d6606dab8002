from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.models import listed, rows_for
from support.networks import propensity

import fastprop
from fastprop.checkpoint.directory import write_checkpoint
from fastprop.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    network = propensity(np.random.default_rng(0), n_features=60, n_heads=30)
    write_checkpoint(folder, "retail", 3, network)
    rows = listed(rows_for(fastprop.load_model(folder), 40))
    table = pa.table(
        {
            "who": pa.array(range(40)),
            "columns": pa.array([columns for columns, _ in rows], pa.list_(pa.int64())),
            "amounts": pa.array([values for _, values in rows], pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, folder / "rows.parquet")
    return folder


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(["verify", *map(str, arguments)])
    return caught.value.code


COLUMNS = ("--id-column", "who", "--indices-column", "columns", "--values-column", "amounts")


def test_a_table_and_a_verdict(folder, capsys):
    assert run(folder, folder / "rows.parquet", *COLUMNS, "--rows", 10, "--threads", "1,2") == 0
    text = capsys.readouterr().out
    assert "retail, epoch 3" in text
    assert "40 given rows, 10 made-up rows (seed 0), 11 edge cases; 30 labels" in text
    for title in ("native", "mxnet behind our kernel", "mxnet, whole graph", "graph as saved"):
        assert title in text
    assert "differences are from plain NumPy in float64" in text
    assert "allowed: float32 2e-06, bfloat16 0.01, int8 0.05; 99.00% of the best 20 labels" in text
    assert text.splitlines()[-1] == "passed"


def test_json(folder, capsys):
    assert run(folder, folder / "rows.parquet", *COLUMNS, "--max-rows", 8, "--json") == 0
    captured = capsys.readouterr()
    assert "the first 8 rows" in captured.err
    facts = json.loads(captured.out)
    assert facts["passed"] is True
    assert (facts["n_given"], facts["n_random"], facts["k"]) == (8, 256, 20)
    assert 1 in facts["threads"]
    check = facts["checks"][0]
    assert (check["engine"], check["precision"], check["status"]) == (
        "native",
        "float32",
        "passed",
    )
    assert 0 < check["max_difference"] < 2e-6


def test_a_compiled_file_by_itself(folder, tmp_path, capsys):
    file = tmp_path / "retail.fastprop"
    fastprop.load_model(folder).compile(file)
    assert run(file, folder / "rows.parquet", *COLUMNS, "--rows", 10, "--threads", "1,2") == 0
    text = capsys.readouterr().out
    assert "native, compiled file" in text
    assert "over the steps and weights that the file holds" in text
    assert "no comparison with MXNet: a compiled file holds no graph" in text
    assert text.splitlines()[-1] == "passed"
    assert run(file, "--rows", 10, "--threads", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out)["judge"] == "steps"
    assert run(file, "--rows", 10, "--threads", 1, "--tolerance", 0) == 1
    assert run(file, "--compiled", file) == 1
    assert "compiled itself" in capsys.readouterr().err


def test_a_failed_verdict_is_exit_code_1(folder, capsys):
    arguments = (folder, "--rows", 20, "--threads", 1, "--bfloat16-tolerance", 1e-9)
    assert run(*arguments) == 1
    text = capsys.readouterr().out
    assert "FAILED: native (bfloat16 scalar" in text
    assert "): a score differs by" in text
    assert text.splitlines()[-1] == "FAILED"
    assert run(*arguments, "--json") == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False
    assert run(folder, "--rows", 0, "--threads", 1, "--tolerance", 0) == 1


def test_engines_that_cannot_run_are_named(tmp_path, capsys):
    network = propensity(np.random.default_rng(0), n_heads=4, n_classes=(2, 3, 3, 5))
    write_checkpoint(tmp_path, "retail", 3, network)
    assert run(tmp_path, "--rows", 10, "--threads", 1) == 0
    text = capsys.readouterr().out
    if "not run: native" in text:
        assert "the native engine cannot run 'retail'" in text


@pytest.mark.parametrize("threads", ["0", "1,x", ""])
def test_wrong_usage(folder, threads, capsys):
    assert run(folder, "--threads", threads) == 2
    assert "--threads" in capsys.readouterr().err


def test_bad_rows_are_an_error(folder, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text(
        '{"customer_id": 1, "indices": [1, 900], "values": [1.0, 2.0]}\n'
    )
    assert run(folder, tmp_path / "rows.jsonl") == 1
    assert "900" in capsys.readouterr().err

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.networks import propensity, random_rows

from fastprop import CSR
from fastprop._reference import reference_outputs
from fastprop.checkpoint.directory import write_checkpoint
from fastprop.cli import main

BOTH_KINDS = ["--features-column", "f", "--values-column", "v"]
LABELS = ["beer", "wine", "bread"]


def csr_of(table):
    indices, values = (table[name].combine_chunks() for name in ("indices", "values"))
    return CSR(
        indices.offsets.to_numpy(),
        indices.values.to_numpy(),
        values.values.to_numpy(),
        (len(table), 60),
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint, 200 rows with ids from 500, and the scores that they should get."""
    folder = tmp_path_factory.mktemp("score")
    rng = np.random.default_rng(0)
    network = propensity(rng, n_features=60, n_heads=3)
    write_checkpoint(folder / "model", "retail", 3, network, labels=LABELS)
    rows = random_rows(rng, 200, 60)
    offsets = pa.array(np.asarray(rows.indptr, dtype=np.int32))
    table = pa.table(
        {
            "customer_id": np.arange(500, 700),
            "indices": pa.ListArray.from_arrays(offsets, pa.array(rows.indices)),
            "values": pa.ListArray.from_arrays(offsets, pa.array(rows.data)),
        }
    )
    pq.write_table(table, folder / "rows.parquet", row_group_size=50)
    heads = reference_outputs(network, {"data": rows})
    return folder, np.stack([head[:, 0] for head in heads], axis=1)


def run(files, *arguments):
    """Run the command in a process of its own, where MXNet may be loaded."""
    folder, _ = files
    return subprocess.run(
        [sys.executable, "-m", "fastprop.cli", "score", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_scores_are_those_of_the_network(files):
    folder, expected = files
    done = run(files, "model", "rows.parquet", "--output", "scores.parquet", "--threads", "2")
    assert done.returncode == 0, done.stderr
    assert "200 rows to scores.parquet in " in done.stderr
    assert "peak memory" in done.stderr
    table = pq.read_table(folder / "scores.parquet")
    assert table.schema.names == ["customer_id", "scores"]
    assert table["customer_id"].to_pylist() == list(range(500, 700))
    np.testing.assert_allclose(np.array(table["scores"].to_pylist()), expected, atol=2e-6)


def test_parts_with_the_best_labels_and_a_resumed_run(files):
    folder, expected = files
    arguments = ["model", "rows.parquet", "--output", "top", "--top-k", "2", "--part-rows", "100"]
    done = run(files, *arguments, "--name", "retail", "--epoch", "3")
    assert done.returncode == 0, done.stderr
    top = pq.read_table(folder / "top")["top"].to_pylist()
    best = np.argsort(-expected, axis=1)[:, :2]
    assert [[entry["label"] for entry in row] for row in top] == [
        [LABELS[label] for label in row] for row in best
    ]
    before = {name: (folder / "top" / name).read_bytes() for name in os.listdir(folder / "top")}
    again = run(files, *arguments)
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1].startswith("error: top: holds files already")
    os.remove(folder / "top/part-00001.parquet")
    again = run(files, *arguments, "--resume")
    assert again.returncode == 0, again.stderr
    assert "1 of 2 parts were there from an earlier run" in again.stderr
    after = {name: (folder / "top" / name).read_bytes() for name in os.listdir(folder / "top")}
    assert after == before


def test_each_region_with_its_own_model(files):
    folder, expected = files
    other = propensity(np.random.default_rng(1), n_features=60, n_heads=3)
    for region, network in (("eu", None), ("us", other)):
        target = folder / "models" / region
        if network is None:
            shutil.copytree(folder / "model", target)
        else:
            write_checkpoint(target, "retail", 3, network, labels=LABELS)
    table = pq.read_table(folder / "rows.parquet")
    regions = ["eu", "us"] * 100
    pq.write_table(table.append_column("region", pa.array(regions)), folder / "regions.parquet")
    arguments = ["models", "regions.parquet", "--model-column", "region"]
    done = run(files, *arguments, "--output", "regions/", "--json", "--histogram")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["parts"], summary["bad_rows"]) == (200, 1, 0)
    assert summary["peak_memory"] > 0
    assert summary["processor_seconds"] > 0
    scores = np.array(pq.read_table(folder / "regions")["scores"].to_pylist())
    np.testing.assert_allclose(scores[::2], expected[::2], atol=2e-6)
    rows = csr_of(table)
    heads = reference_outputs(other, {"data": rows})
    wanted = np.stack([head[:, 0] for head in heads], axis=1)
    np.testing.assert_allclose(scores[1::2], wanted[1::2], atol=2e-6)
    counts = json.loads((folder / "regions/_histogram.json").read_text())["labels"]
    assert list(counts) == LABELS
    assert [sum(row) for row in counts.values()] == [200] * 3
    manifest = json.loads((folder / "regions/_manifest.json").read_text())
    assert set(manifest["job"]["model"]) == {"eu", "us"}
    # Another model in the directory is another job; a directory without a model is an error.
    shutil.copytree(folder / "model", folder / "models/asia")
    again = run(files, *arguments, "--output", "regions/", "--histogram", "--resume")
    assert "cannot be resumed, since this is another job: model" in again.stderr
    (folder / "models/empty").mkdir()
    again = run(files, *arguments, "--output", "other/")
    assert again.returncode == 1
    assert again.stderr.startswith("error: models/empty")


def test_bad_rows(files):
    folder, _ = files
    (folder / "bad.jsonl").write_text(
        '{"customerId": 1, "indices": [1], "values": [1.0]}\n'
        '{"customerId": 2, "indices": [60], "values": [1.0]}\n'
        '{"customerId": 3, "features": {"4": NaN}}\n'
        '{"customerId": 4, "features": null}\n'
    )
    done = run(files, "model", "bad.jsonl", "--output", "bad.csv")
    assert done.returncode == 1
    message = "error: bad.jsonl, line 2 (id 2): indices[0] is 60, outside 0 to 59"
    assert done.stderr.splitlines()[-1] == message
    assert not (folder / "bad.csv").exists()
    done = run(
        files, "model", "bad.jsonl", "--output", "bad.out.jsonl", "--on-bad-row", "quarantine"
    )
    assert done.returncode == 0, done.stderr
    assert "2 bad rows were left out" in done.stderr
    assert "1 null rows have a null result" in done.stderr
    lines = [json.loads(line) for line in (folder / "bad.out.jsonl").read_text().splitlines()]
    assert [line["customerId"] for line in lines] == [1, 4]
    assert list(lines[0]["predictions"]) == LABELS
    assert lines[1]["predictions"] is None
    side = (folder / "bad.out.jsonl.quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in side] == [2, 3]


def test_kept_columns_and_null_rows(files):
    folder, _ = files
    table = pq.read_table(folder / "rows.parquet").slice(0, 4)
    nulls = pa.array([False, True, False, False])
    for name in ("indices", "values"):
        column = pa.array(table[name].to_pylist(), table[name].type, mask=nulls.to_numpy(False))
        table = table.set_column(table.schema.get_field_index(name), name, column)
    (folder / "day=7").mkdir()
    pq.write_table(table.append_column("age", pa.array([1, 2, 3, 4])), folder / "day=7/in.parquet")
    arguments = ["model", "day=7/in.parquet", "--keep-column", "day", "--keep-column", "age"]
    done = run(files, *arguments, "--output", "kept.csv", "--null-rows", "bad")
    assert done.returncode == 1
    assert "row 1 (id 501): is null" in done.stderr
    limits = ["--batch-rows", "2", "--read-ahead", "1"]
    done = run(files, *arguments, "--output", "kept.csv", "--top-k", "1", *limits)
    assert done.returncode == 0, done.stderr
    lines = [line.split(",")[:3] for line in (folder / "kept.csv").read_text().splitlines()]
    wanted = [["500", "7", "1"], ["502", "7", "3"], ["503", "7", "4"]]
    assert lines == [["id", "day", "age"], *wanted]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model", "rows.parquet"], "--output"),
        (["model", "--output", "x"], "INPUT"),
        (["model", "rows.parquet", "--output", "x", "--top-k", "0"], "--top-k"),
        (["model", "rows.parquet", "--output", "x", "--format", "xml"], "--format"),
        (["model", "rows.parquet", "--output", "x", "--resume", "--overwrite"], "--resume"),
        (["model", "x.npz", "--output", "x", *BOTH_KINDS], "--features-column"),
        (["model", "rows.parquet", "--output", "x", "--positive-index", "b"], "positive-index"),
        (["model", "rows.parquet", "--output", "x", "--threshold", "nan"], "--threshold"),
    ],
)
def test_usage(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["score", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "rows.parquet", "--output", "x.csv"], "none"),
        (
            ["none", "rows.parquet", "--output", "x", "--model-column", "r"],
            "none: cannot be read: No such file or directory",
        ),
        (["model", "rows.parquet", "--output", "x.csv", "--epoch", "9"], "epoch 9"),
        (["model", "none.parquet", "--output", "x.csv"], "none.parquet: no such file"),
        (["model", "rows.parquet", "--output", "x.csv", "--id-column", "id"], "no column 'id'"),
        (["model", "rows.parquet", "--output", "x.dat"], "names no output format"),
        (
            ["model", "rows.parquet", "--output", "gone/far/x.parquet"],
            "error: gone/far/x.parquet: cannot be written: there is no folder gone/far",
        ),
        (["model", "rows.parquet", "./rows.parquet", "--output", "x.csv"], "is named twice"),
    ],
)
def test_failures_are_one_sentence(files, arguments, message):
    done = run(files, *arguments)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr

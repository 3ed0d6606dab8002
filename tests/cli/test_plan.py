from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.networks import propensity, random_rows

from fastprop.checkpoint.directory import write_checkpoint
from fastprop.cli import main, plan

REPORT = Path(__file__).parent.parent.parent / "benchmarks/results/0.1.0.json"
TOLD = ["--rate", "10000", "--nonzeros", "200", "--categories", "3000"]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["plan", *arguments])
    return caught.value.code, capsys.readouterr()


def answer(capsys, *arguments):
    code, printed = run(capsys, *arguments, "--json")
    assert code == 0, printed.err
    return json.loads(printed.out)


def test_a_told_rate(capsys):
    told = answer(
        capsys, "--customers", "36M", *TOLD, "--share", "0.5", "--cores", "4", "--deadline", "1"
    )
    assert told["job"]["customers"] == 36_000_000
    assert told["core_hours"] == pytest.approx(2.0)
    assert told["hours"] == pytest.approx(0.5)
    assert told["executors"] == 1
    code, printed = run(capsys, "--customers", "36M", *TOLD, "--cores", "4", "--deadline", "1")
    assert code == 0
    for text in ("36,000,000 customers", "core-hours", "time on 4 cores", "executors for 1 hours"):
        assert text in printed.out


def test_a_report_of_fastprop_bench(capsys):
    found = answer(capsys, "--customers", "1_000", "--from", str(REPORT), "--top-k", "20")
    report = json.loads(REPORT.read_text())
    measured = {each["name"]: each["rows_per_second"] for each in report["contenders"]}
    assert found["rate"]["rows_per_second"] == measured["fastprop-top20@2"] / 2
    assert found["job"]["nonzeros"] == 200
    assert found["job"]["categories"] == 3000
    weights = 4 * (300_000 * 256 + 256 * 128 + 2 * 128 * 3000)
    assert found["job"]["parameter_bytes"] == weights
    code, printed = run(capsys, "--customers", "1k", "--from", str(REPORT), "--nonzeros", "400")
    assert code == 0
    assert "the rate was measured with 200 non-zeros" in printed.err


def test_a_sample_is_measured(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "_SAMPLE_SECONDS", 0.05)
    rng = np.random.default_rng(0)
    network = propensity(rng, n_features=60, n_heads=3)
    write_checkpoint(tmp_path / "model", "retail", 3, network)
    rows = random_rows(rng, 200, 60)
    offsets = pa.array(np.asarray(rows.indptr, dtype=np.int32))
    columns = [pa.ListArray.from_arrays(offsets, pa.array(c)) for c in (rows.indices, rows.data)]
    table = pa.table([np.arange(200), *columns], names=["customer_id", "indices", "values"])
    sample = tmp_path / "rows.parquet"
    pq.write_table(table, sample)
    arguments = ["--model", str(tmp_path / "model"), "--input", str(sample), "--threads", "1"]
    for further in ([], ["--top-k", "2"]):
        found = answer(capsys, "--customers", "1M", *arguments, *further)
        nonzeros = len(rows.indices) / 200
        assert found["job"]["nonzeros"] == pytest.approx(nonzeros)
        assert found["job"]["categories"] == 3
        assert found["rate"]["rows_per_second"] > 0
        assert found["bytes_read"] == pytest.approx(1e6 * sample.stat().st_size / 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", str(REPORT)], "--customers"),
        (["--customers", "3.5", *TOLD], "no whole number"),
        (["--customers", "many", *TOLD], "no whole number"),
        (["--customers", "0", *TOLD], "no whole number"),
        (["--customers", "3"], "name one of"),
        (["--customers", "3", *TOLD, "--from", str(REPORT)], "name one of"),
        (["--customers", "3", "--model", "x"], "go together"),
        (["--customers", "3", "--rate", "3"], "--rate needs"),
        (["--customers", "3", "--from", "none.json"], "none.json"),
        (["--customers", "3", "--from", "a\0b"], "no path holds a NUL character"),
    ],
)
def test_usage(capsys, arguments, message):
    code, printed = run(capsys, *arguments)
    assert code == 2
    assert message in printed.err


def test_failures_are_one_sentence(capsys, tmp_path):
    for text in ("{", "[" * 100_000):
        (tmp_path / "x.json").write_text(text)
        code, printed = run(capsys, "--customers", "3", "--from", str(tmp_path / "x.json"))
        assert code == 1
        assert "x.json: no JSON" in printed.err
    (tmp_path / "x.json").write_text("{}")
    code, printed = run(capsys, "--customers", "3", "--from", str(tmp_path / "x.json"))
    assert code == 1
    assert "no report of fastprop bench" in printed.err

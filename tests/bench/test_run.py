"""Runs in earnest, with tiny workloads; no timed value is asserted."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.models import rows_for, saved
from support.networks import factorization_machine
from support.operator_networks import WIDTH, Bench
from support.transactions import random_table

from fastprop.bench.machine import IdleTime, ProcessorTime, machine_facts, machine_ticks
from fastprop.bench.process import ContenderError, ContenderProcess
from fastprop.bench.registry import BASELINE, contender_specs
from fastprop.bench.report import read_report
from fastprop.bench.settings import BenchSettings, WorkloadSettings
from fastprop.bench.worker import process_memory
from fastprop.bench.workload import prepare_workload
from fastprop.cli import main

WORKLOAD = ["--workload", "small", "--features", "400", "--nonzeros", "10", "--hidden", "16,8"]
TINY = [*WORKLOAD, "--categories", "30", "--rows", "96", "--batch-size", "32", "--threads", "1"]
SHORT = ["--duration", "0.02", "--windows", "2", "--batch-sizes", "1,32"]


def bench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["bench", *TINY, *SHORT, *arguments])
    return int(caught.value.code or 0)


def test_a_run_checks_times_and_names(tmp_path, capsys):
    path, table = tmp_path / "out.json", tmp_path / "out.csv"
    names = f"{BASELINE},scipy@1,fastprop@1,fastprop-top20@1,fastprop-lists@1,fastprop-single"
    missing = "fastprop-imaginary@1"
    engines = ["--engines", "auto,imaginary", "--contenders", f"{names},{missing}"]
    assert bench(*engines, "--json", str(path), "--csv", str(table)) == 0
    report = read_report(path)
    found = {entry["name"]: entry for entry in report["contenders"]}
    assert set(found) == {*names.split(","), missing}
    assert found[missing]["status"] == "missing"
    assert "imaginary" in found[missing]["reason"]
    for name in names.split(","):
        entry = found[name]
        assert entry["status"] == "measured", entry
        assert 0 <= entry["error"] <= 2e-6
        assert entry["timing"]["windows"] >= 1
        assert entry["timing"]["calls"] >= 1
        assert entry["rows_per_second"] > 0
        assert entry["versions"]
        assert entry["memory"]["peak"] > 0
    assert found[BASELINE]["timing"]["rows_per_call"] == 1
    assert found["fastprop@1"]["timing"]["rows_per_call"] % 32 == 0
    assert found["fastprop@1"]["counts"]["pool_missed"] == 0
    assert set(found["fastprop-lists@1"]["tried"]) > {"stream(rows)"}
    assert [point["rows"] for point in report["sweeps"]["fastprop@1"]] == [1, 32]
    assert report["limits"][0]["product"] > 0
    assert report["workload"]["layers"] == [16, 8, 30]
    shown = capsys.readouterr().out
    assert "Throughput" in shown
    assert f"({missing}) missing:" in shown
    assert len(table.read_text().splitlines()) == 1 + len(found)
    compare(path, report, capsys)


def compare(path, report, capsys):
    """An earlier run that was much faster, by ratios, makes the command fail."""
    show = ["--show", str(path), "--yardstick", "scipy@1"]
    assert bench(*show, "--baseline", str(path)) == 0
    for entry in report["contenders"]:
        if entry["name"] == "fastprop@1":
            entry["rows_per_second"] *= 2
    earlier = path.with_name("earlier.json")
    earlier.write_text(json.dumps(report))
    assert bench(*show, "--baseline", str(earlier)) == 1
    output = capsys.readouterr()
    assert "fastprop@1: more than 10% slower" in output.err


def test_a_model_of_your_own_is_scored(tmp_path, capsys):
    from support.models import retail

    retail(tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(
            json.dumps({"customer_id": n, "indices": [n, n + 9], "values": [1.0, 0.5]}) + "\n"
            for n in range(40)
        )
    )
    with pytest.raises(SystemExit) as caught:
        main(
            [
                *("bench", "--model", str(tmp_path / "model"), "--input", str(rows), *SHORT),
                *("--threads", "1", "--contenders", "fastprop@1", "--no-limits"),
                *("--json", str(tmp_path / "o.json")),
            ]
        )
    assert not caught.value.code
    report = read_report(tmp_path / "o.json")
    assert report["workload"]["n_rows"] == 40
    assert report["contenders"][0]["status"] == "measured"
    assert report["limits"] == []
    assert "40 rows" in capsys.readouterr().out


LISTS = ("contenders", "hidden", "threads", "engines", "precisions")
COUNTS = ("features", "nonzeros", "categories", "rows", "batch-size", "repetitions", "windows")
SPANS = ("duration", "time-limit")
NO_SPAN = ("0", "-1", "nan", "inf", "-inf", "1e400")
PATHS = ("json", "csv", "markdown", "plot", "baseline", "show", "history")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--contenders", "tensorflow"], "no contender is called 'tensorflow'"),
        (["--hidden", "16,x"], "not a list of positive whole numbers"),
        (["--data", "x.parquet"], "--data goes with --workload online-retail"),
        (["--input", "x.parquet"], "--input goes with --model"),
        (["--nonzeros", "500"], "cannot have 500"),
        (["--json", "/nowhere/at/all.json"], "no such directory"),
        (["--plot", "out.txt"], "a picture ends in one of .png, .svg, .pdf"),
        (["--model", "here", "--input", "x.parquet"], "--model does not go with --workload"),
        (["--model", "here"], "--model needs --input"),
        (["--threads", "0"], "'0' is not a list of positive whole numbers"),
        (["--history", "/dev"], "/dev: there is no report of workload small"),
        (["--baseline", "/nowhere.json"], "/nowhere.json"),
        (["--skew", "11"], "skew: 11.0 must be positive, and at most 10"),
        (["--hidden", "2147483647,2147483647"], "hidden: that is an array of"),
        *(([f"--{name}", ""], f"--{name}") for name in LISTS),
        (["--precisions", "float32,half"], "'half' is none of float32, bfloat16, int8"),
        *(([f"--{name}", text], f"--{name}") for name in SPANS for text in ("", "x", *NO_SPAN)),
        *(([f"--{name}", "9" * 30], f"--{name}") for name in COUNTS),
        *(([f"--{name}", "a\0b"], "NUL character") for name in PATHS),
        *(([f"--{name}", "/"], f"--{name}") for name in PATHS if name != "history"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, text, capsys):
    assert bench(*arguments) != 0
    assert text in capsys.readouterr().err


def test_contenders_are_listed(capsys):
    assert bench("--list") == 0
    assert "fastprop-top20@1" in capsys.readouterr().out


def spec(name: str):
    specs = contender_specs(BenchSettings(threads=(1,), batch_size=16))
    return next(item for item in specs if item.name == name)


def test_a_run_out_of_time_times_everybody_once(tmp_path):
    path = tmp_path / "out.json"
    names = ["--contenders", "fastprop@1,fastprop-single", "--no-limits"]
    assert bench(*names, "--time-limit", "0.01", "--repetitions", "3", "--json", str(path)) == 0
    report = read_report(path)
    assert [entry["timing"]["windows"] for entry in report["contenders"]] == [1, 1]
    assert [entry["timing"]["calls"] for entry in report["contenders"]] == [3, 3]
    assert report["sweeps"] == {}
    assert any("did not agree" in note for note in report["notes"])


def test_transactions_are_scored_and_the_history_is_shown(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="bare machine: matplotlib is not installed")
    names = ["CustomerID", "StockCode", "InvoiceDate", "Quantity", "UnitPrice", "InvoiceNo"]
    columns = ["customer_id", "item", "time", "quantity", "price", "order", "country"]
    lines = random_table(0).select(columns).rename_columns([*names, "Country"])
    pq.write_table(lines, tmp_path / "retail.parquet")
    (tmp_path / "reports").mkdir()
    retail = ["--workload", "online-retail", "--hidden", "8", "--categories", "5", *SHORT]
    outputs = {"markdown": tmp_path / "out.md", "plot": tmp_path / "out.svg"}
    with pytest.raises(SystemExit) as caught:
        main(
            [
                *("bench", *retail, "--data", str(tmp_path / "retail.parquet"), "--no-limits"),
                *("--threads", "1", "--contenders", f"fastprop@1,fastprop-single,{BASELINE}"),
                *("--json", str(tmp_path / "reports/first.json")),
                *(part for name, path in outputs.items() for part in (f"--{name}", str(path))),
            ]
        )
    assert not caught.value.code
    workload = read_report(tmp_path / "reports/first.json")["workload"]
    assert workload["layers"] == [8, 5]
    assert 30 <= workload["n_rows"] <= 40  # a row a customer
    assert outputs["markdown"].read_text().startswith("## online-retail: ")
    assert "<svg" in outputs["plot"].read_text(encoding="utf-8")
    capsys.readouterr()
    history = ["--history", str(tmp_path / "reports"), "--plot", str(tmp_path / "history.png")]
    with pytest.raises(SystemExit) as caught:
        main(["bench", "--workload", "online-retail", *history])
    assert not caught.value.code
    shown = capsys.readouterr().out
    assert "workload online-retail" in shown
    assert "first" in shown
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_fastprop_makes_the_command_fail(tmp_path, capsys):
    path = tmp_path / "out.json"
    assert bench("--contenders", "fastprop@1", "--no-limits", "--json", str(path)) == 0
    report = read_report(path)
    (entry,) = report["contenders"]
    del entry["timing"]
    entry.update(status="wrong", reason="score 0.5 of row 1")
    path.write_text(json.dumps(report))
    capsys.readouterr()
    assert bench("--show", str(path)) == 1
    assert "(fastprop@1) gave a wrong answer: score 0.5 of row 1" in capsys.readouterr().out


SETTINGS = WorkloadSettings(
    "tiny", n_features=100, nonzeros=5, hidden=(8,), categories=4, n_rows=16
)


@pytest.mark.parametrize(
    ("name", "package", "forms"),
    [
        ("torch@1", "torch", 9),
        ("torch-single", "torch", 2),
        ("onnxruntime@1", "onnxruntime", 3),
        ("scipy@1", "scipy", 2),
        ("mxnet-batch", "mxnet", 0),
        ("fastprop-lists@1", "fastprop", 3),
        ("fastprop-top20@1", "fastprop", 0),
    ],
)
def test_contenders_give_the_right_scores_in_every_form(name, package, forms):
    if not find_spec(package):
        pytest.skip(f"bare machine: {package} is not installed")
    one = spec(name)
    with prepare_workload(SETTINGS) as workload, ContenderProcess(one.environment) as process:
        prepared = process.call("prepare", one, workload, 2e-6, timeout=120)
        assert 0 <= prepared.error <= 2e-6
        assert prepared.checked_rows == 16
        assert len(prepared.tried) == forms or len(set(prepared.tried)) >= min(forms, 2)
        # A form whose answer is wrong is told by a rate of 0.
        assert all(rate > 0 for rate in prepared.tried.values()), prepared.tried
        assert prepared.facts["versions"][package]
        timed = process.call("window", 60.0, 3, timeout=60)
        assert len(timed.window.seconds) == 3
        assert timed.window.rows == prepared.rows_per_call
        if one.rows_per_call is None:
            assert process.call("sweep", 2, 0.01, timeout=60).rows == 2
        process.call("close", timeout=60)


def sparse_layer_alone(made):
    return made.op("sigmoid", made.hidden(5))


def tanh_of_a_layer(made):
    return made.op("tanh", made.layer("fc", made.op("tanh", made.hidden()), WIDTH, 5))


def regression(made):
    return made.layer("fc", made.hidden(), WIDTH, 5)


@pytest.mark.parametrize("make", [sparse_layer_alone, tanh_of_a_layer, regression])
@pytest.mark.parametrize("name", ["torch@1", "onnxruntime@1", "scipy@1"])
def test_contenders_score_other_chains_of_layers(tmp_path, name, make):
    package = name.partition("@")[0]
    if not find_spec(package):
        pytest.skip(f"bare machine: {package} is not installed")
    made = Bench(np.random.default_rng(0))
    model = saved(tmp_path, made.network([make(made)]))
    one = spec(name)
    with (
        prepare_workload(model=model, rows=rows_for(model, 20)) as workload,
        ContenderProcess(one.environment) as process,
    ):
        if (package, make) == ("torch", sparse_layer_alone):
            with pytest.raises(ContenderError, match="no layer after the sparse one") as caught:
                process.call("prepare", one, workload, 1e-5, timeout=120)
            assert caught.value.status == "missing"
            return
        prepared = process.call("prepare", one, workload, 1e-5, timeout=120)
        assert prepared.error <= 1e-5
        assert all(rate > 0 for rate in prepared.tried.values()), prepared.tried


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("fastprop@1", {"options": {"predictor": {"warp": 9}}}, "predictors have no option warp"),
        ("fastprop@1", {"options": {"predictor": {"isa": "mmx"}}}, "mmx"),
        ("scipy@1", {}, "the network is not a chain of layers"),
    ],
)
def test_a_contender_that_cannot_run_is_missing(tmp_path, name, changes, reason):
    model = saved(tmp_path, factorization_machine(np.random.default_rng(0)))
    rows = rows_for(model, 4)
    one = replace(spec(name), **changes)
    with (
        prepare_workload(model=model, rows=rows) as workload,
        ContenderProcess(one.environment) as process,
    ):
        with pytest.raises(ContenderError, match=reason) as caught:
            process.call("prepare", one, workload, 2e-6, timeout=60)
        assert caught.value.status == "missing"


def test_a_wrong_answer_is_not_timed():
    with prepare_workload(SETTINGS) as workload, ContenderProcess({}) as process:
        with pytest.raises(ContenderError, match="differs by") as caught:
            process.call("prepare", spec("fastprop@1"), workload, 1e-12, timeout=60)
        assert caught.value.status == "wrong"


def test_a_process_that_does_not_listen_is_killed(monkeypatch):
    monkeypatch.setattr("fastprop.bench.process.SERVE", "import time; time.sleep(600)")
    monkeypatch.setattr("fastprop.bench.process.GRACE_SECONDS", 0.2)
    with ContenderProcess({"FASTPROP_MARK": "1"}) as process:
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_takes_too_long_is_ended():
    with ContenderProcess({}) as process:
        with pytest.raises(ContenderError, match=r"took longer than 0\.01 seconds"):
            process.call("memory", timeout=0.01)
        with pytest.raises(ContenderError, match="ended with code"):
            process.call("memory", timeout=30)


def test_a_failure_is_passed_on():
    with ContenderProcess({}) as process:
        with pytest.raises(ContenderError, match="KeyError") as caught:
            process.call("probe", "nothing", {}, timeout=60)
        assert caught.value.status == "failed"
        assert process.call("memory", timeout=60)["peak"] > 0


def test_memory_is_read_from_the_kernel(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmHWM:\t  2048 kB\nRssAnon:\t 1024 kB\nRssFile:\t 512 kB\n")
    assert process_memory(status) == {"peak": 2 << 20, "private": 1 << 20, "mapped": 512 << 10}
    assert process_memory(tmp_path / "none") == {}


def test_processor_time_is_told_apart(tmp_path):
    def write(busy: int, idle: int, own: int) -> None:
        folder = tmp_path / "proc" / "7"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/stat").write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0 0 0\n")
        fields = ["S", *["0"] * 10, str(own), "0", "0"]
        (folder / "stat").write_text("7 (a (b) c) " + " ".join(fields))

    write(100, 100, 10)
    watch = ProcessorTime([7, 8], tmp_path)
    idle = IdleTime(tmp_path)
    with idle.watching([7]):
        write(160, 140, 50)
    assert watch.own_ticks() == 40
    assert watch.foreign_share() == pytest.approx(0.2)
    assert idle.share() == pytest.approx(0.4)
    assert machine_ticks(tmp_path / "none") == (0, 0)


def test_the_machine_is_described(tmp_path):
    facts = machine_facts()
    assert facts["cores"] >= 1
    assert facts["cpu"]
    json.dumps(facts)
    cache = tmp_path / "sys/devices/system/cpu/cpu0/cache/index0"
    cache.mkdir(parents=True)
    for name, text in (("level", "1"), ("type", "Data"), ("size", "32K")):
        (cache / name).write_text(text)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("model name\t: Fast One\nflags\t: avx2 fma\n\n")
    facts = machine_facts(tmp_path)
    assert facts["cpu"] == "Fast One"
    assert facts["flags"] == ["avx2", "fma"]
    assert facts["caches"] == {"L1d": "32K"}

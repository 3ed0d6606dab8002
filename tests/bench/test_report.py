from __future__ import annotations

import copy
import csv
import io
import json

import pytest

from fastprop.bench import plot
from fastprop.bench.compare import compare_reports
from fastprop.bench.contenders.base import ContenderSpec, MissingContenderError, optional
from fastprop.bench.history import history_table, read_history
from fastprop.bench.process import ContenderError
from fastprop.bench.registry import BASELINE, contender_specs, select_specs
from fastprop.bench.report import (
    TIMES,
    duration,
    read_report,
    report_notes,
    report_tables,
    to_csv,
    to_json,
    to_markdown,
)
from fastprop.bench.run import SCHEMA, Running, assemble, disturbance_notes, idle_notes
from fastprop.bench.settings import BenchSettings
from fastprop.bench.timing import Window
from fastprop.bench.worker import Measured, Prepared
from fastprop.bench.workload import Workload
from fastprop.cli import main
from fastprop.errors import EngineError, InvalidInputError

WORKLOAD = Workload(
    name="tiny",
    model_directory="m",
    model_name="bench",
    epoch=1,
    rows_directory="r",
    n_rows=100,
    n_features=500,
    n_labels=30,
    nonzeros=2000,
    layers=(16, 8, 30),
    description="a | small one",
)
MACHINE = {
    "cpu": "A processor",
    "cores": 2,
    "flags": ["avx2"],
    "caches": {"L2": "1M", "L3": "32M"},
    "huge_pages": "madvise",
    "python": "3.11.0",
}
LIMITS = [
    {
        "threads": threads,
        "means": {"gather": "numpy take"},
        "copy": 10.0 * threads,
        "fill": 8.0 * threads,
        "gather": 6.0 * threads,
        "gather_uniform": 5.0 * threads,
        "products": {},
        "product": 100.0 * threads,
    }
    for threads in (1, 2)
]


def prepared(rows: int) -> Prepared:
    return Prepared(0.1, 0.5, 3e-7, 64, "", {}, rows, rows, {"versions": {"thing": "1.2"}})


def running(name: str, kind: str, rate: float, *, threads: int = 2, rows: int = 100) -> Running:
    single = rows == 1
    spec = ContenderSpec(name, f"The {name}", kind, threads, rows, 1 if single else None)
    windows = [Window(rows, (rows / rate,) * 40) for _ in range(3)]
    counters = {}
    if kind == "fastprop":
        counters = {"rows": 4000.0, "sparse_seconds": 0.004, "bytes_copied": 8000, "pool_peak": 7.0}
    return Running(
        spec,
        prepared=prepared(rows),
        measured=[Measured(window, counters) for window in windows],
        memory={"peak": 1 << 20, "private": 1 << 19},
    )


def made(fastprop_rate: float = 50_000.0, created: str = "2024-01-01T00:00:00+00:00") -> dict:
    contenders = [
        running(BASELINE, "mxnet", 10.0, rows=1),
        running("mxnet-batch", "mxnet", 2000.0),
        running("torch@2", "torch", 25_000.0),
        running("fastprop@1", "fastprop", fastprop_rate / 2, threads=1),
        running("fastprop@2", "fastprop", fastprop_rate),
        running("fastprop-single", "fastprop", 20_000.0, threads=1, rows=1),
        Running(ContenderSpec("onnxruntime@2", "ONNX Runtime", "onnxruntime")),
    ]
    contenders[4].sweep = {1: [Window(1, (1e-4,))], 8: [Window(8, (2e-4,)), Window(8, (4e-4,))]}
    contenders[-1].fail(ContenderError("missing", "it is not there"))
    header = {
        "schema": SCHEMA,
        "created": created,
        "command": "fastprop bench",
        "fastprop": "1.0",
        "machine": MACHINE,
    }
    settings = BenchSettings()
    return assemble(contenders, WORKLOAD, settings, header=header, limits=LIMITS, notes=["A note"])


def entry(report: dict, name: str) -> dict:
    return next(item for item in report["contenders"] if item["name"] == name)


def test_a_report_holds_rates_factors_and_shares():
    report = made()
    fast = entry(report, "fastprop@2")
    assert fast["rows_per_second"] == pytest.approx(50_000)
    assert fast["times_baseline"] == pytest.approx(5000)
    assert fast["nonzeros_per_second"] == pytest.approx(1_000_000)
    moved = 20 * 16 * 4 + 20 * 8 + 30 * 4
    assert fast["gigabytes_per_second"] == pytest.approx(50_000 * moved / 1e9)
    assert fast["roofline_share"] == pytest.approx(50_000 * report["work"]["floor_seconds"]["2"])
    assert fast["stages"] == {"sparse": pytest.approx(1e-6)}
    assert fast["bytes_copied_per_row"] == 2
    assert fast["counts"]["pool_peak"] == 7
    assert fast["timing"]["agreed"] is True
    assert report["sweeps"]["fastprop@2"][1] == {
        "rows": 8,
        "rows_per_second": pytest.approx(30_000),
        "seconds": 4e-4,
    }
    missing = entry(report, "onnxruntime@2")
    assert (missing["status"], missing["reason"]) == ("missing", "it is not there")
    assert "timing" not in missing


def test_a_contender_without_agreement_is_noted():
    unsettled = running("fastprop@2", "fastprop", 100.0)
    unsettled.measured.append(Measured(Window(100, (5.0,))))
    report = assemble([unsettled], WORKLOAD, BenchSettings(), header={}, limits=[], notes=[])
    assert entry(report, "fastprop@2")["times_baseline"] is None
    assert any("fastprop@2 did not agree" in note for note in report["notes"])


def test_a_report_survives_its_file(tmp_path):
    report = made()
    path = tmp_path / "out.json"
    path.write_text(to_json(report), encoding="utf-8")
    assert read_report(path) == report
    path.write_text(json.dumps({**report, "schema": 99}))
    with pytest.raises(InvalidInputError, match="version 99"):
        read_report(path)
    for text in ("{", "[]", "{}", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(InvalidInputError, match=r"out\.json"):
            read_report(path)


DAMAGES = {
    "no contenders": lambda report: report.update(contenders=5),
    "no workload": lambda report: report.pop("workload"),
    "no kind": lambda report: report["contenders"][0].pop("kind"),
    "no rate": lambda report: report["contenders"][0].update(rows_per_second=[]),
    "no time": lambda report: report.update(created=None),
}
DAMAGED = [
    *(("show", damage) for damage in ("no contenders", "no workload", "no kind")),
    *(("baseline", damage) for damage in ("no contenders", "no workload", "no rate")),
    *(("history", damage) for damage in ("no contenders", "no workload", "no kind", "no time")),
]


@pytest.mark.parametrize(("option", "damage"), DAMAGED)
def test_a_damaged_report_is_named(tmp_path, capsys, option, damage):
    good, bad = tmp_path / "good.json", tmp_path / "bad" / "out.json"
    bad.parent.mkdir()
    report = made()
    report["workload"]["name"] = "reference"
    good.write_text(to_json(report))
    DAMAGES[damage](report)
    bad.write_text(to_json(report))
    arguments = {
        "show": ["--show", bad, "--csv", tmp_path / "out.csv"],
        "baseline": ["--show", good, "--baseline", bad],
        "history": ["--history", bad.parent],
    }
    with pytest.raises(SystemExit) as caught:
        main(["bench", *map(str, arguments[option])])
    assert caught.value.code == 1
    assert f"error: {bad.parent}" in (told := capsys.readouterr().err)
    assert "a damaged report of fastprop bench" in told


def test_tables_fit_their_columns():
    tables = {table.title: table for table in report_tables(made())}
    assert set(tables) == {
        "Throughput",
        "Latency",
        "Load, memory, accuracy, calls",
        "By rows a call",
        "Stages",
        "Machine, as measured",
        "Versions and forms of use",
    }
    for table in tables.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}
    throughput = {row[0]: row for row in tables["Throughput"].rows}
    assert next(iter(throughput)) == f"The {BASELINE}"
    assert throughput["The fastprop@2"][1:5] == ("2", "50,000", "±0.0 %", "5,000")
    assert "The fastprop-single" not in throughput
    latency = {row[0]: row for row in tables["Latency"].rows}
    assert latency["The fastprop-single"][1] == "50 µs"
    # 120 calls are too few for a 99.9th percentile.
    assert latency["The fastprop-single"][4:6] == ("50 µs", "-")


def test_whoever_is_missing_is_named():
    notes = report_notes(made())
    assert notes[0] == "ONNX Runtime (onnxruntime@2) missing: it is not there"
    assert "A note" in notes
    assert "- ONNX Runtime (onnxruntime@2) missing: it is not there" in to_markdown(made())


def test_markdown_tables_are_well_formed():
    text = to_markdown(made())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert any("| 50,000 |" in row for row in rows)
    assert text.startswith("## tiny: a | small one\n\nA processor, 2 cores")
    header = next(row for row in rows if row.startswith("| contender"))
    rule = rows[rows.index(header) + 1]
    assert header.count("|") == rule.count("|")


def test_csv_has_a_line_a_contender():
    lines = list(csv.DictReader(io.StringIO(to_csv(made()))))
    by_name = {line["name"]: line for line in lines}
    assert len(lines) == 7
    assert float(by_name["fastprop@2"]["rows_per_second"]) == pytest.approx(50_000)
    assert float(by_name["fastprop-single"]["p50"]) == pytest.approx(5e-5)
    assert by_name["fastprop@2"]["peak_memory"] == str(1 << 20)
    assert by_name["onnxruntime@2"]["reason"] == "it is not there"
    assert by_name["onnxruntime@2"]["rows_per_second"] == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (4.81e-5, "48.1 µs"), (0.0032, "3.2 ms"), (1.5, "1.5 s"), (0.9999e-6, "1 µs")],
)
def test_durations_are_short(value, text):
    assert duration(value) == text


def test_comparison_is_by_ratios():
    slower_machine = made()
    for item in slower_machine["contenders"]:
        if "rows_per_second" in item:
            item["rows_per_second"] /= 3
    changes = compare_reports(made(), slower_machine, tolerance=0.01)
    assert [change.name for change in changes] == ["fastprop@1", "fastprop@2", "fastprop-single"]
    assert {change.yardstick for change in changes} == {"torch@2"}
    assert not any(change.is_loss for change in changes)


def test_a_loss_past_the_tolerance_is_one():
    after = made(fastprop_rate=44_000)
    changes = {c.name: c for c in compare_reports(made(), after, tolerance=0.1)}
    assert changes["fastprop@2"].change == pytest.approx(-0.12)
    assert changes["fastprop@2"].is_loss
    assert not changes["fastprop-single"].is_loss
    changes = compare_reports(made(), after, tolerance=0.15, yardstick=BASELINE)
    assert not any(change.is_loss for change in changes)


def test_what_cannot_be_compared_is_refused():
    other = copy.deepcopy(made())
    other["workload"]["n_features"] = 7
    with pytest.raises(InvalidInputError, match="n_features"):
        compare_reports(made(), other, tolerance=0.1)
    with pytest.raises(InvalidInputError, match="nobody"):
        compare_reports(made(), made(), tolerance=0.1, yardstick="nobody")


def test_history_is_in_the_order_of_time(tmp_path):
    (tmp_path / "b-first.json").write_text(to_json(made(created="2024-01-01T00:00:00+00:00")))
    (tmp_path / "a-second.json").write_text(
        to_json(made(100_000, created="2024-02-01T00:00:00+00:00"))
    )
    milestones = read_history(tmp_path)
    assert [item["milestone"] for item in milestones] == ["b-first", "a-second"]
    assert [item["many"] for item in milestones] == [pytest.approx(5000), pytest.approx(10_000)]
    assert milestones[0]["single"] == pytest.approx(2000)
    assert milestones[0]["batched"] == pytest.approx(200)
    assert milestones[0]["torch"] == pytest.approx(2500)
    assert milestones[0]["p50"] == pytest.approx(5e-5)
    table = history_table(milestones)
    assert {len(row) for row in table.rows} == {len(table.columns)}
    with pytest.raises(InvalidInputError, match="no report of workload other"):
        read_history(tmp_path, "other")


def without(report: dict, *kinds: str, **changes) -> dict:
    contenders = [item for item in report["contenders"] if item["kind"] not in kinds]
    names = [item["name"] for item in contenders]
    sweeps = {name: points for name, points in report["sweeps"].items() if name in names}
    return {**report, "contenders": contenders, "sweeps": sweeps, **changes}


FACTOR = f"rows a second (log scale); {TIMES} is the factor over MXNet, a record a call"


@pytest.mark.parametrize(
    ("report", "shown", "hidden"),
    [
        (made(), [FACTOR, f"50,000 rows/s   5,000 {TIMES}", "limit, 1 thread"], "not a chain"),
        (without(made(), "mxnet"), ["rows a second (log scale)", "PyTorch"], FACTOR),
        (without(made(), limits=[]), ["not a chain of layers"], "operations per byte, "),
        (without(made(), "fastprop"), [FACTOR, "10 rows/s"], "sparse layer alone:"),
        (
            without(made(), "fastprop", "mxnet", "torch", limits=[], work=None),
            ["Not measured: ONNX Runtime (the report says why)."],
            "rows/s",
        ),
    ],
)
def test_pictures_show_what_was_measured(tmp_path, report, shown, hidden):
    pytest.importorskip("matplotlib", reason="bare machine: matplotlib is not installed")
    plot.draw_report(report, tmp_path / "out.svg")
    # Text is drawn as paths, each after a comment that holds it.
    text = (tmp_path / "out.svg").read_text(encoding="utf-8")
    for words in shown:
        assert f"<!-- {words}" in text, words
    assert f"<!-- {hidden}" not in text
    plot.draw_report(report, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kinds", [[], ["torch"]])
def test_a_picture_of_the_history_is_drawn(tmp_path, kinds):
    pytest.importorskip("matplotlib", reason="bare machine: matplotlib is not installed")
    (tmp_path / "one.json").write_text(to_json(without(made(), *kinds)))
    plot.draw_history(read_history(tmp_path), tmp_path / "history.svg")
    text = (tmp_path / "history.svg").read_text(encoding="utf-8")
    assert f"<!-- 5,000 {TIMES} -->" in text
    assert ("<!-- PyTorch (its fastest) -->" in text) == (not kinds)


def test_a_picture_needs_matplotlib_and_an_extension(tmp_path, monkeypatch):
    with pytest.raises(InvalidInputError, match=r"\.png"):
        plot.draw_report(made(), tmp_path / "out.txt")

    def absent(name):
        raise MissingContenderError(f"{name} is not installed")

    monkeypatch.setattr(plot, "optional", absent)
    with pytest.raises(EngineError, match="matplotlib"):
        plot.draw_report(made(), tmp_path / "out.png")


@pytest.mark.parametrize(
    ("machine", "noted"),
    [
        ({"load_before": 0.5, "cores": 2}, ""),
        ({"load_before": 0.6, "cores": 2}, "the machine was not idle: load 0.6 on 2 processors"),
    ],
)
def test_a_machine_that_was_not_idle_is_noted(machine, noted):
    assert "".join(idle_notes(machine)).startswith(noted)
    assert bool(idle_notes(machine)) == bool(noted)


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("stolen_share", "other guests of the host"),
        ("foreign_share", "other programs"),
        ("idle_contenders_share", "contenders whose turn it was not"),
    ],
)
def test_whoever_else_used_the_processors_is_noted(name, who):
    little = {"stolen_share": 0.0, "foreign_share": 0.02, "idle_contenders_share": 0.01}
    assert disturbance_notes(little) == []
    assert disturbance_notes({**little, name: 0.25}) == [
        f"{who} took 25% of the processors during the measurement"
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ModuleNotFoundError("no", name="sleef"),
            r'sleef is not installed: pip install "fastprop\[bench\]"',
        ),
        (ImportError("libomp.so: too old"), "import torch: libomp.so: too old"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named(monkeypatch, error, reason):
    def broken(name):
        raise error

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(MissingContenderError, match=reason):
        optional("torch")


def test_contenders_are_picked_by_pattern():
    specs = contender_specs(BenchSettings(threads=(1, 2), engines=("auto", "other")))
    names = [spec.name for spec in specs]
    assert len(set(names)) == len(names)
    assert names[0] == BASELINE
    assert {"fastprop@1", "fastprop@2", "fastprop-other@2", "torch-compiled@1"} <= set(names)
    assert {"fastprop-single", "fastprop-lists@2", "fastprop-top20@2"} <= set(names)
    picked = select_specs(specs, ("torch@*", BASELINE))
    assert [spec.name for spec in picked] == [BASELINE, "torch@1", "torch@2"]
    with pytest.raises(InvalidInputError, match="no contender is called 'tensorflow'"):
        select_specs(specs, ("tensorflow",))
    plain = contender_specs(BenchSettings(precisions=("float32",)))
    assert not any("bf16" in spec.name or "int8" in spec.name for spec in plain)
    several = contender_specs(BenchSettings(threads=(2,), engines=("auto", "mxnet")))
    reduced = {spec.name: spec for spec in several if not spec.same_work and spec.tolerance}
    assert set(reduced) == {"fastprop-bf16@2", "fastprop-bf16-mxnet@2", "fastprop-int8@2"}

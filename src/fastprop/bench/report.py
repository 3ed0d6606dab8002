"""Reports: as JSON, and as tables that the terminal, Markdown and CSV share."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastprop.bench.registry import BASELINE
from fastprop.bench.run import SCHEMA
from fastprop.errors import FastpropError, InvalidInputError

__all__ = [
    "RULES",
    "TIMES",
    "TableData",
    "read_report",
    "reading",
    "report_notes",
    "report_tables",
    "to_csv",
    "to_json",
    "to_markdown",
]

RULES = (
    "Same rows for all, in memory in the layout each API takes; what the API copies is timed.",
    "Scores are delivered to NumPy, float32, all labels (top-k: indices and scores).",
    "Every answer was compared with plain NumPy in float64 before it was timed.",
    "Each contender has a process of its own, in the environment it would choose, and its fastest "
    "form of use; they are timed in turn.",
)
TIMES = "\N{MULTIPLICATION SIGN}"
PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9")
STAGES = ("assemble", "check", "fill", "sparse", "graph", "deliver")
CSV_COLUMNS = (
    "name",
    "title",
    "threads",
    "status",
    "reason",
    "rows_per_second",
    "slowest",
    "fastest",
    "agreed",
    "times_baseline",
    "nonzeros_per_second",
    "gigabytes_per_second",
    "gigaflops",
    "roofline_share",
    "rows_per_call",
    *PERCENTILES,
    "load_seconds",
    "peak_memory",
    "private_memory",
    "error",
    "form",
)


@dataclass(frozen=True)
class TableData:
    """A table before it is drawn.

    Parameters
    ----------
    title : str
    columns : tuple of str
    rows : list of tuple of str
    right : tuple of int
        Columns that are flush right.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    right: tuple[int, ...]


def to_json(report: dict[str, Any]) -> str:
    """Write a report as JSON."""
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises
    ------
    InvalidInputError
        The file is no report, or one of another version.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}: no JSON: {error}") from error
    if not isinstance(report, dict) or "contenders" not in report:
        raise InvalidInputError(f"{path}: not a report of fastprop bench")
    if report.get("schema") != SCHEMA:
        raise InvalidInputError(
            f"{path}: a report of version {report.get('schema')}, and {SCHEMA} is understood"
        )
    return report


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file of a report in which something is missing, or is of another type."""
    try:
        yield
    except FastpropError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InvalidInputError(
            f"{path}: a damaged report of fastprop bench ({error!r}); take the file as --json "
            "wrote it"
        ) from error


def measured(report: dict[str, Any], *, single: bool) -> list[dict[str, Any]]:
    """Contenders with figures; a row a call, or many."""
    return [
        entry
        for entry in report["contenders"]
        if "timing" in entry and bool(entry.get("single")) == single
    ]


def report_tables(report: dict[str, Any]) -> list[TableData]:
    """Make the tables of a report; those with nothing to say are left out."""
    tables = [
        throughput_table(report),
        latency_table(report),
        resource_table(report),
        sweep_table(report),
        stage_table(report),
        limit_table(report),
        version_table(report),
    ]
    return [table for table in tables if table.rows]


def throughput_table(report: dict[str, Any]) -> TableData:
    """Rows a second of every contender, the baseline first."""
    rows: list[tuple[str, ...]] = []
    for entry in [*baseline_entries(report), *measured(report, single=False)]:
        timing = entry["timing"]
        spread = (timing["fastest"] - timing["slowest"]) / 2 / timing["rows_per_second"]
        rows.append(
            (
                entry["title"],
                threads_text(entry),
                rate(entry["rows_per_second"]),
                f"±{100 * spread:.1f} %" + ("" if timing["agreed"] else " !"),
                times(entry.get("times_baseline")),
                rate(entry["nonzeros_per_second"] / 1e6),
                decimal(entry.get("gigabytes_per_second")),
                decimal(entry.get("gigaflops")),
                percent(entry.get("roofline_share")),
            )
        )
    columns = (
        "contender",
        "threads",
        "rows/s",
        "spread",
        f"{TIMES} naive",
        "Mnnz/s",
        "GB/s",
        "GFLOP/s",
        "limit",
    )
    return TableData("Throughput", columns, rows, tuple(range(1, len(columns))))


def resource_table(report: dict[str, Any]) -> TableData:
    """Load time, memory, accuracy, and the calls that were timed."""
    rows: list[tuple[str, ...]] = []
    for entry in report["contenders"]:
        if "timing" in entry:
            memory = entry.get("memory", {})
            latency = entry["timing"]["latency"]
            rows.append(
                (
                    entry["title"],
                    threads_text(entry),
                    seconds(entry["load_seconds"]),
                    mebibytes(memory.get("peak")),
                    mebibytes(memory.get("private")),
                    f"{entry['error']:.1e}",
                    f"{entry['timing']['rows_per_call']:,}",
                    duration(latency["p50"]),
                    duration(latency.get("p99")),
                )
            )
    columns = (
        "contender",
        "threads",
        "load",
        "peak MiB",
        "private MiB",
        "error",
        "rows a call",
        "P50",
        "P99",
    )
    return TableData("Load, memory, accuracy, calls", columns, rows, tuple(range(1, len(columns))))


def baseline_entries(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The baseline, where it was measured: it is shown among those that score many rows a call."""
    return [entry for entry in measured(report, single=True) if entry["name"] == BASELINE]


def threads_text(entry: dict[str, Any]) -> str:
    """MXNet's own default is not ours to count."""
    return "default" if entry["kind"] == "mxnet" else str(entry["threads"])


def latency_table(report: dict[str, Any]) -> TableData:
    """Percentiles of one-row calls."""
    rows: list[tuple[str, ...]] = []
    for entry in measured(report, single=True):
        latency = entry["timing"]["latency"]
        rows.append(
            (
                entry["title"],
                *(duration(latency.get(name)) for name in PERCENTILES),
                duration(latency["max"]),
                f"{entry['timing']['calls']:,}",
                times(entry.get("times_baseline")),
            )
        )
    columns = (
        "one row a call",
        *(name.upper() for name in PERCENTILES),
        "max",
        "calls",
        f"{TIMES} naive",
    )
    return TableData("Latency", columns, rows, tuple(range(1, len(columns))))


def sweep_table(report: dict[str, Any]) -> TableData:
    """Rows a second, and the time of a call, by the number of rows a call."""
    sizes = sorted({point["rows"] for points in report["sweeps"].values() for point in points})
    rows: list[tuple[str, ...]] = []
    for name, points in report["sweeps"].items():
        by_size = {point["rows"]: point for point in points}
        found = [by_size.get(size) for size in sizes]
        speeds = (rate(point["rows_per_second"]) if point else "" for point in found)
        rows.append((f"{name}, rows/s", *speeds))
        rows.append(
            (f"{name}, a call", *(duration(point["seconds"]) if point else "" for point in found))
        )
    columns = ("rows a call", *(f"{size:,}" for size in sizes))
    return TableData("By rows a call", columns, rows, tuple(range(1, len(columns))))


def stage_table(report: dict[str, Any]) -> TableData:
    """Where fastprop's time goes, and what it copies and allocates."""
    rows: list[tuple[str, ...]] = []
    for entry in report["contenders"]:
        stages = entry.get("stages")
        if stages:
            counts = entry["counts"]
            rows.append(
                (
                    f"{entry['title']} ({entry['threads']})",
                    *(f"{1e6 * stages.get(stage, 0):.2f}" for stage in STAGES),
                    f"{entry['bytes_copied_per_row']:,.0f}",
                    f"{counts.get('pool_missed', 0):,.0f}",
                    mebibytes(counts.get("pool_peak")),
                )
            )
    columns = (
        "µs a row, all workers",
        *STAGES,
        "B copied",
        "misses",
        "pool MiB",
    )
    return TableData("Stages", columns, rows, tuple(range(1, len(columns))))


def limit_table(report: dict[str, Any]) -> TableData:
    """What the machine was measured to do."""
    rows: list[tuple[str, ...]] = []
    floors = (report.get("work") or {}).get("floor_seconds", {})
    for limit in report["limits"]:
        threads = limit["threads"]
        floor = floors.get(str(threads))
        rows.append(
            (
                str(threads),
                decimal(limit["copy"]),
                decimal(limit["fill"]),
                decimal(limit.get("gather")),
                decimal(limit.get("gather_uniform")),
                decimal(limit["product"]),
                "" if floor is None else rate(1 / floor),
            )
        )
    columns = (
        "threads",
        "copy GB/s",
        "fill GB/s",
        "weight rows GB/s",
        "uniform rows GB/s",
        "product GFLOP/s",
        "limit rows/s",
    )
    return TableData("Machine, as measured", columns, rows, tuple(range(len(columns))))


def version_table(report: dict[str, Any]) -> TableData:
    """Versions, form of use and threads of every contender that was loaded."""
    rows: list[tuple[str, ...]] = []
    for entry in report["contenders"]:
        if "versions" in entry:
            versions = ", ".join(f"{k} {v}" for k, v in entry["versions"].items() if v)
            rows.append((entry["name"], versions, entry.get("form", "")))
    return TableData("Versions and forms of use", ("contender", "versions", "form"), rows, ())


def report_notes(report: dict[str, Any]) -> list[str]:
    """List who is missing and why, and what else the reader has to know."""
    words = {"missing": "missing", "wrong": "gave a wrong answer", "failed": "failed"}
    notes = [
        f"{entry['title']} ({entry['name']}) {words[entry['status']]}: {entry['reason']}"
        for entry in report["contenders"]
        if entry["status"] != "measured"
    ]
    notes += [
        f"{entry['title']} ({entry['name']}): no time was left to measure it"
        for entry in report["contenders"]
        if entry["status"] == "measured" and "timing" not in entry
    ]
    if report["limits"]:
        means = max(report["limits"], key=lambda limit: limit["threads"])["means"]
        named = ", ".join(f"{what} by {how}" for what, how in means.items())
        notes.append(f"The machine's limits are the best that was measured: {named}.")
    return [*notes, *report["notes"], *RULES]


def machine_line(report: dict[str, Any]) -> str:
    """The machine in a line."""
    machine = report["machine"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {', '.join(machine['flags'])}, "
        f"L2 {machine['caches'].get('L2', '?')}, L3 {machine['caches'].get('L3', '?')}, "
        f"huge pages: {machine['huge_pages'] or 'unknown'}, Python {machine['python']}"
    )


def to_markdown(report: dict[str, Any]) -> str:
    """Write a report as Markdown."""
    workload = report["workload"]
    lines = [f"## {workload['name']}: {workload['description']}", "", machine_line(report), ""]
    if report.get("command"):
        lines += [f"    {report['command']}", ""]
    for table in report_tables(report):
        rule = ["---:" if n in table.right else "---" for n in range(len(table.columns))]
        lines += [f"### {table.title}", ""]
        lines += [markdown_row(table.columns), markdown_row(rule)]
        lines += [markdown_row(row) for row in table.rows]
        lines.append("")
    lines += [f"- {note}" for note in report_notes(report)]
    return "\n".join(lines) + "\n"


def markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def to_csv(report: dict[str, Any]) -> str:
    """Write one line a contender; times in seconds, memory in bytes."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for entry in report["contenders"]:
        timing = entry.get("timing", {})
        memory = entry.get("memory", {})
        line = {**timing, **timing.get("latency", {}), **entry}
        line.update(peak_memory=memory.get("peak"), private_memory=memory.get("private"))
        writer.writerow(line)
    return stream.getvalue()


def rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def decimal(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def times(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2f}"


def percent(value: float | None) -> str:
    return (
        "" if value is None else f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.2g} %"
    )


def seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def mebibytes(value: float | None) -> str:
    return "" if value is None else f"{value / 2**20:,.0f}"


def duration(value: float | None) -> str:
    """A short time: `48.1 µs`, `3.20 ms`, `1.50 s`; a dash where there is none."""
    if value is None:
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"

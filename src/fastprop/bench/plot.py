"""The picture of a run: throughput, batch sizes, latency, and the limits of the machine."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastprop.bench.contenders.base import MissingContenderError, optional
from fastprop.bench.registry import BASELINE
from fastprop.bench.report import (
    TIMES,
    baseline_entries,
    duration,
    machine_line,
    measured,
    rate,
    times,
)
from fastprop.errors import EngineError, InvalidInputError

__all__ = ["FORMATS", "draw_history", "draw_report"]

FORMATS = (".png", ".svg", ".pdf")
COLOURS: Mapping[str, str] = {
    "fastprop": "#0a7d55",
    "torch": "#e0662d",
    "mxnet": "#3b6fb6",
    "scipy": "#8a5fb0",
    "onnxruntime": "#7a7a7a",
}
INK, GRID = "#222222", "#d9d9d9"
SETTINGS: Mapping[str, Any] = {
    "font.size": 10.5,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "axes.labelcolor": INK,
    "svg.hashsalt": "fastprop",
}


def figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure without a screen, and the module of its settings.

    Raises
    ------
    EngineError
        Matplotlib is not installed.
    """
    try:
        made = optional("matplotlib.figure").Figure(
            figsize=(width, height), layout="constrained", facecolor="white"
        )
        return made, optional("matplotlib")
    except MissingContenderError as error:
        raise EngineError(f"a picture needs matplotlib: {error}") from error


def check_path(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise InvalidInputError(f"{path}: a picture ends in one of {', '.join(FORMATS)}")


def draw_report(report: dict[str, Any], path: Path) -> None:
    """Draw a report.

    Parameters
    ----------
    report : dict
        What `run_bench` returned or `read_report` read.
    path : Path
        Ends in `.png`, `.svg` or `.pdf`.

    Raises
    ------
    InvalidInputError
        The extension is none of these.
    EngineError
        Matplotlib is not installed.
    """
    check_path(path)
    bars = len(bar_entries(report))
    made, matplotlib = figure(16.5, 9.6 + 0.2 * max(bars - 10, 0))
    with matplotlib.rc_context(dict(SETTINGS)):
        grid = made.add_gridspec(2, 2, height_ratios=[max(bars, 6) * 0.36 + 1, 4.2])
        draw_bars(made.add_subplot(grid[0, :]), report)
        lower = grid[1, :].subgridspec(1, 3, width_ratios=[1, 1.62, 1.45])
        ticker = optional("matplotlib.ticker")
        draw_sweep(made.add_subplot(lower[0]), report, "rows_per_second", ticker)
        draw_sweep(made.add_subplot(lower[1]), report, "seconds", ticker)
        draw_roofline(made.add_subplot(lower[2]), report)
        workload = report["workload"]
        made.suptitle(
            f"fastprop {report['fastprop']}, workload “{workload['name']}”: "
            f"{workload['description']}\n{machine_line(report)}",
            x=0.01,
            ha="left",
            fontsize=11.5,
        )
        made.supxlabel(footer(report), x=0.01, ha="left", fontsize=8.5, color="#555555")
        made.savefig(path, dpi=120)


def footer(report: dict[str, Any]) -> str:
    """Versions, who is missing, and how it was measured."""
    versions: dict[str, str] = {}
    for entry in report["contenders"]:
        versions.update({k: v for k, v in entry.get("versions", {}).items() if v})
    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    missing = [e["title"] for e in report["contenders"] if e["status"] != "measured"]
    lines = [
        f"{report['created']}  {named}",
        "Medians of windows timed in turn, each contender in a process of its own, answers checked "
        "against float64 NumPy, scores delivered to NumPy. Whiskers: slowest and fastest window.",
    ]
    if missing:
        lines.append(f"Not measured: {', '.join(missing)} (the report says why).")
    lines += [note[0].upper() + note[1:] + "." for note in report["notes"]]
    return "\n".join(part for line in lines for part in textwrap.wrap(line, 210))


def bar_entries(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [*baseline_entries(report), *measured(report, single=False)]


def label_of(entry: dict[str, Any]) -> str:
    if entry["kind"] == "mxnet":
        return str(entry["title"])
    threads = entry["threads"]
    return f"{entry['title']}, {threads} thread{'s' if threads > 1 else ''}"


def draw_bars(axes: Any, report: dict[str, Any]) -> None:
    """Rows a second on a log scale, with the factor over the baseline."""
    entries = bar_entries(report)
    axes.set_title("Throughput")
    if not entries:
        return
    values = [entry["rows_per_second"] for entry in entries]
    spread = [
        [v - e["timing"]["slowest"] for v, e in zip(values, entries)],
        [e["timing"]["fastest"] - v for v, e in zip(values, entries)],
    ]
    places = range(len(entries))
    bars = axes.barh(
        places,
        values,
        xerr=spread,
        height=0.72,
        color=[COLOURS[entry["kind"]] for entry in entries],
        error_kw={"elinewidth": 1, "ecolor": INK, "capsize": 2},
    )
    for bar, entry in zip(bars, entries):
        bar.set_alpha(0.6 if entry["threads"] == 1 else 1.0)
    axes.set_yticks(places, [label_of(entry) for entry in entries])
    axes.invert_yaxis()
    axes.set_xscale("log")
    low, high = min(values), max(values)
    for place, entry, value in zip(places, entries, values):
        factor = entry.get("times_baseline")
        text = f"{rate(value)} rows/s"
        if factor is not None and entry["name"] != BASELINE:
            text += f"   {times(factor)} {TIMES}"
        axes.annotate(
            text,
            (entry["timing"]["fastest"], place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold" if entry["kind"] == "fastprop" else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
        )
    for number, (threads, limit) in enumerate(limit_rates(report)):
        axes.axvline(limit, color=INK, linestyle=":", linewidth=1.2, zorder=0)
        axes.annotate(
            f"limit, {threads} thread{'s' if threads != '1' else ''}",
            (limit, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 2 + 11 * number),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
        high = max(high, limit)
    axes.set_xlim(low / 2, high * (high / low) ** 0.16 * 2)
    axes.grid(visible=False, axis="y")
    if any(entry["name"] == BASELINE for entry in entries):
        axes.set_xlabel(
            f"rows a second (log scale); {TIMES} is the factor over MXNet, a record a call"
        )
    else:
        axes.set_xlabel("rows a second (log scale)")


def limit_rates(report: dict[str, Any]) -> list[tuple[str, float]]:
    """Rows a second that the measured limits of the machine allow, by number of threads."""
    floors = (report.get("work") or {}).get("floor_seconds", {})
    return [(threads, 1 / seconds) for threads, seconds in floors.items()]


def draw_sweep(axes: Any, report: dict[str, Any], quantity: str, ticker: Any) -> None:
    """Rows a second, or the time of a call, against the number of rows a call."""
    is_rate = quantity == "rows_per_second"
    axes.set_title("Throughput by rows a call" if is_rate else "Time of a call by rows a call")
    by_name = {entry["name"]: entry for entry in report["contenders"]}
    for name, points in report["sweeps"].items():
        entry = by_name[name]
        axes.plot(
            [point["rows"] for point in points],
            [point[quantity] for point in points],
            marker="o",
            markersize=4.5,
            color=COLOURS[entry["kind"]],
            label=label_of(entry),
        )
    for entry in report["contenders"]:
        if "timing" not in entry:
            continue
        latency, rows = entry["timing"]["latency"], entry["timing"]["rows_per_call"]
        value = entry["rows_per_second"] if is_rate else latency["p50"]
        colour = COLOURS[entry["kind"]]
        if entry["kind"] == "mxnet":
            marker = {BASELINE: "s", "mxnet-batch": "D"}.get(entry["name"], "^")
            label = entry["title"].replace(" a batch, ", " a batch,\n")
            axes.plot([rows], [value], marker, markersize=6, color=colour, label=label)
        elif entry["single"] and not is_rate and "-vector" not in entry["name"]:
            beyond = latency.get("p99", latency["max"]) - value
            axes.errorbar(
                [rows],
                [value],
                [[0], [beyond]],
                fmt="_",
                markersize=11,
                capsize=4,
                color=colour,
                label=f"{entry['title']}:\nP50 {duration(value)}, whisker to P99",
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    form = (lambda value, _: f"{value:,.0f}") if is_rate else (lambda value, _: duration(value))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(form))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if not is_rate and axes.get_legend_handles_labels()[1]:
        # It serves the panel to the left as well.
        axes.legend(fontsize=8.5, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_xlabel("rows a call")
    axes.set_ylabel("rows a second" if is_rate else "time of a call (median)")


def draw_roofline(axes: Any, report: dict[str, Any]) -> None:
    """GFLOP/s against operations a byte, under the machine's measured limits."""
    axes.set_title("Roofline")
    axes.set_xlabel("operations per byte moved")
    axes.set_ylabel("GFLOP/s")
    work = report.get("work")
    limits = report["limits"]
    if work is None or not limits:
        axes.text(0.5, 0.5, "not a chain of layers", transform=axes.transAxes, ha="center")
        return
    limit = max(limits, key=lambda found: found["threads"])
    moved = work["gathered_bytes"] + work["read_bytes"] + work["written_bytes"]
    whole = (work["sparse_operations"] + work["dense_operations"]) / moved
    sparse = work["sparse_operations"] / (work["gathered_bytes"] + work["read_bytes"])
    product = limit["product"]
    low = min(sparse, whole) / 3
    high = product / min(limit["copy"], limit["gather"]) * 4
    for name, text, style in (("gather", "random weight rows", "-"), ("copy", "copy", "--")):
        corner = product / limit[name]
        axes.plot(
            [low, corner],
            [limit[name] * low, product],
            style,
            color=INK,
            linewidth=1.4,
            label=f"{text}, {limit[name]:.0f} GB/s",
        )
    axes.plot(
        [low, high], [product, product], color="#999999", label=f"product, {product:.0f} GFLOP/s"
    )
    names = {"mxnet": "MXNet", "scipy": "SciPy", "onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
    seen: set[str] = set()
    points = [limit["gather"] * low]
    for entry in bar_entries(report):
        # Whoever moves fewer bytes than the others (top-k, bfloat16) has no place here.
        if "gigaflops" not in entry:
            continue
        kind = entry["kind"]
        several = entry["threads"] > 1
        axes.plot(
            [whole],
            [entry["gigaflops"]],
            "o",
            color=COLOURS[kind],
            markersize=7,
            markerfacecolor=COLOURS[kind] if several else "white",
            label=None if kind in seen or not several else names.get(kind, kind),
        )
        if several:
            seen.add(kind)
        if entry["name"] != BASELINE:
            points.append(entry["gigaflops"])
    own = best_stage(report)
    if own is not None:
        name, seconds = own
        axes.plot(
            [sparse],
            [work["sparse_operations"] / seconds / 1e9],
            "D",
            color=COLOURS["fastprop"],
            markersize=7,
            label=f"sparse layer alone:\n{name}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(points) / 2, product * 2)
    axes.legend(
        fontsize=8.5,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        alignment="left",
        title=f"lines: {limit['threads']} threads; hollow: 1 thread",
        title_fontsize=8.5,
    )


def best_stage(report: dict[str, Any]) -> tuple[str, float] | None:
    """The contender whose sparse stage is the fastest, and its wall-clock seconds a row."""
    found = [
        (entry["stages"]["sparse"] / entry["threads"], label_of(entry))
        for entry in measured(report, single=False)
        if entry.get("stages", {}).get("sparse") and "gigaflops" in entry
    ]
    if not found:
        return None
    seconds, name = min(found)
    return name, seconds


def draw_history(milestones: list[dict[str, Any]], path: Path) -> None:
    """Draw how the improvement over the baseline has grown.

    Parameters
    ----------
    milestones : list of dict
        As `history.read_history` gives them.
    path : Path
        Ends in `.png`, `.svg` or `.pdf`.
    """
    check_path(path)
    made, matplotlib = figure(11, 6)
    with matplotlib.rc_context(dict(SETTINGS)):
        axes = made.add_subplot()
        axes.set_title("Improvement over MXNet's Module, a record a call")
        series = (
            ("many", "fastprop, many rows a call (its fastest)", COLOURS["fastprop"], "o"),
            ("single", "fastprop, one row a call", "#63b598", "s"),
            ("torch", "PyTorch (its fastest)", COLOURS["torch"], "^"),
            ("batched", "MXNet Module, batched (its fastest)", COLOURS["mxnet"], "D"),
        )
        names = [milestone["label"] for milestone in milestones]
        for key, text, colour, marker in series:
            points = [
                (place, milestone[key])
                for place, milestone in enumerate(milestones)
                if milestone.get(key)
            ]
            if not points:
                continue
            axes.plot(*zip(*points), marker=marker, color=colour, label=text)
            if key in ("many", "single"):
                for place, value in points:
                    axes.annotate(
                        f"{times(value)} {TIMES}",
                        (place, value),
                        xytext=(0, 8),
                        textcoords="offset points",
                        ha="center",
                        fontweight="bold",
                    )
        axes.set_yscale("log")
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_xticks(range(len(names)), names)
        axes.margins(y=0.15)
        axes.set_ylabel("factor over the baseline of the same run (log scale)")
        axes.set_xlabel("milestone, workload and machine")
        axes.legend(frameon=False, loc="best")
        made.savefig(path, dpi=120)

"""How the improvement over the naive baseline has grown from milestone to milestone.

fastprop bench --history benchmarks/results --plot history.png
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from fastprop.bench.registry import BASELINE
from fastprop.bench.report import TIMES, TableData, duration, rate, read_report, reading, times
from fastprop.errors import InvalidInputError

__all__ = ["history_table", "read_history"]


def read_history(directory: Path, workload: str | None = None) -> list[dict[str, Any]]:
    """Read the reports of a directory, oldest first.

    Parameters
    ----------
    directory : Path
        Holds a report (`*.json`) a milestone, named after it.
    workload : str, optional
        Only reports of this workload.

    Returns
    -------
    list of dict
        `milestone`, `created`, `version`, `workload`, `machine`, `label`, `baseline` (rows a
        second), and factors over the baseline: `many`, `single`, `batched`, `torch`; `p50` of one
        row in seconds. None where a run did not measure it.

    Raises
    ------
    InvalidInputError
        There is no report, or a file is none.
    """
    found = []
    for path in sorted(directory.glob("*.json")):
        report = read_report(path)
        with reading(path):
            if workload is None or report["workload"]["name"] == workload:
                found.append(milestone(path.stem, report))
    if not found:
        of = f" of workload {workload}" if workload else ""
        raise InvalidInputError(f"{directory}: there is no report{of} (*.json)")
    return sorted(found, key=lambda item: item["created"])


def milestone(name: str, report: dict[str, Any]) -> dict[str, Any]:
    """What the history keeps of a report."""
    entries = [entry for entry in report["contenders"] if "rows_per_second" in entry]
    own = [entry for entry in entries if entry["kind"] == "fastprop"]
    singles = [entry for entry in own if entry["single"]]
    machine = report["machine"]
    fastest = min(singles, key=lambda entry: entry["timing"]["latency"]["p50"], default=None)
    return {
        "milestone": name,
        "created": report["created"],
        "version": report["fastprop"],
        "workload": report["workload"]["name"],
        "machine": f"{machine['cpu']}, {machine['cores']} cores",
        "label": "\n".join([name, report["workload"]["name"], *textwrap.wrap(machine["cpu"], 26)]),
        "baseline": next((e["rows_per_second"] for e in entries if e["name"] == BASELINE), None),
        # Top-k delivers less than all scores, and bfloat16 less than float32.
        "many": best([e for e in own if not e["single"] and e["same_work"]]),
        "single": best(singles),
        "batched": best([e for e in entries if e["name"].startswith("mxnet-batch")]),
        "torch": best([e for e in entries if e["kind"] == "torch" and not e["single"]]),
        "p50": None if fastest is None else fastest["timing"]["latency"]["p50"],
    }


def best(entries: list[dict[str, Any]]) -> float | None:
    factors = [entry["times_baseline"] for entry in entries if entry.get("times_baseline")]
    return max(factors, default=None)


def history_table(milestones: list[dict[str, Any]]) -> TableData:
    """Put milestones into a table."""
    rows: list[tuple[str, ...]] = [
        (
            item["milestone"],
            item["created"][:10],
            item["version"],
            item["machine"],
            "" if item["baseline"] is None else rate(item["baseline"]),
            times(item["many"]),
            times(item["single"]),
            duration(item["p50"]),
            times(item["torch"]),
            times(item["batched"]),
        )
        for item in milestones
    ]
    columns = (
        "milestone",
        "date",
        "version",
        "machine",
        "naive rows/s",
        f"fastprop {TIMES}",
        f"one row {TIMES}",
        "one row P50",
        f"PyTorch {TIMES}",
        f"MXNet batched {TIMES}",
    )
    return TableData("Improvement over the naive baseline", columns, rows, tuple(range(4, 10)))

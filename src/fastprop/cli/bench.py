"""`fastprop bench`: fastprop beside what a user could pick instead, and beside the machine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastprop.cli.lists import NameList, NumberList
from fastprop.cli.number import COUNT, MOST, NUMBER, SEED, NumberRange
from fastprop.cli.path import PathType

if TYPE_CHECKING:
    from fastprop.bench.settings import BenchSettings, WorkloadSettings
    from fastprop.bench.workload import Workload

__all__ = ["command"]

_MOST_ROWS = 1 << 20  # of a batch
_PRECISIONS = ("float32", "bfloat16", "int8")
_WORKLOADS = ("reference", "small", "wide", "many", "online-retail")
_EPILOG = """
\b
Examples:
  fastprop bench --workload reference --json out.json --plot out.png
  fastprop bench --workload small --contenders 'fastprop*,torch*'
  fastprop bench --model models/retail --input customers.parquet
  fastprop bench --workload reference --baseline earlier.json --tolerance 0.1
  fastprop bench --history benchmarks/results --plot history.png
  fastprop bench --show out.json --markdown out.md
"""


@dataclass(frozen=True)
class _Options:
    """What the command was given; see its help."""

    workload: str | None
    model_dir: str | None
    name: str | None
    epoch: int | None
    inputs: tuple[str, ...]
    data: str | None
    features: int | None
    nonzeros: int | None
    skew: float | None
    hidden: tuple[int, ...] | None
    categories: int | None
    rows: int | None
    seed: int | None
    batch_size: int
    batch_sizes: tuple[int, ...] | None
    threads: tuple[int, ...] | None
    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    contenders: tuple[str, ...]
    limits: bool
    list_only: bool
    duration: float | None
    repetitions: int | None
    windows: int | None
    time_limit: float | None
    json_path: Path | None
    csv_path: Path | None
    markdown_path: Path | None
    plot_path: Path | None
    baseline: Path | None
    tolerance: float
    yardstick: str | None
    show: Path | None
    history: Path | None


_OUTPUT = PathType(dir_okay=False, writable=True)
_SECONDS = NumberRange(min=0, max=86_400, min_open=True)


@click.command(
    name="bench",
    epilog=_EPILOG,
    help=(
        "Measure scoring on this machine: fastprop beside MXNet's Module, SciPy, PyTorch and ONNX "
        "Runtime, each in a process of its own, in turn, and beside what the machine can do.\n\n"
        "Every answer is compared with plain NumPy before it is timed; a contender that is not "
        "installed is named. Exit code 1 if fastprop is wrong, or slower than --baseline allows."
    ),
)
@click.option(
    "--workload",
    type=click.Choice(_WORKLOADS),
    help="A checkpoint and rows that are made up.  [default: reference]",
)
@click.option("--model", "model_dir", metavar="DIR", help="Your own checkpoint; needs --input.")
@click.option("--name", metavar="NAME", help="Which model of --model; the only one by default.")
@click.option("--epoch", type=click.IntRange(min=0), metavar="N", help="The latest by default.")
@click.option(
    "--input", "inputs", multiple=True, metavar="FILE", help="Rows for --model; may be repeated."
)
@click.option("--data", metavar="FILE", help="Transactions for the workload online-retail.")
@click.option("--features", type=COUNT, metavar="N", help="Width of a row.")
@click.option("--nonzeros", type=COUNT, metavar="N", help="Entries a row.")
@click.option("--skew", type=NUMBER, metavar="X", help="Columns are N·uˣ; 1 is uniform.")
@click.option("--hidden", type=NumberList(MOST), metavar="N,N", help="Widths of the hidden layers.")
@click.option("--categories", type=COUNT, metavar="N", help="Number of heads.")
@click.option("--rows", type=COUNT, metavar="N", help="Distinct rows.")
@click.option("--seed", type=SEED, metavar="N", help="Of what is made up.")
@click.option(
    "--batch-size", type=click.IntRange(min=1, max=_MOST_ROWS), default=512, show_default=True
)
@click.option(
    "--batch-sizes",
    type=NumberList(_MOST_ROWS, none=True),
    metavar="N,N",
    help="Rows a call in the comparison by size; '' for none.",
)
@click.option(
    "--threads",
    type=NumberList(1024),
    metavar="N,N",
    help="Numbers of threads.  [default: 1 and all]",
)
@click.option(
    "--engines",
    type=NameList(),
    default="auto",
    show_default=True,
    metavar="NAME,NAME",
    help="fastprop's engines.",
)
@click.option(
    "--precisions",
    type=NameList(_PRECISIONS),
    default="float32,bfloat16,int8",
    show_default=True,
    metavar="NAME,NAME",
    help="Leave bfloat16 and int8 out to hold weights in float32 only.",
)
@click.option(
    "--contenders",
    type=NameList(),
    default="*",
    metavar="PATTERN,…",
    help="Who takes part; see --list.",
)
@click.option("--list", "list_only", is_flag=True, help="List the contenders and stop.")
@click.option(
    "--limits/--no-limits", default=True, help="Whether to measure what the machine can do."
)
@click.option("--duration", type=_SECONDS, metavar="SECONDS", help="Of a window.  [default: 0.5]")
@click.option("--repetitions", type=COUNT, metavar="N", help="Calls a window.")
@click.option("--windows", type=COUNT, metavar="N", help="At most.  [default: 10]")
@click.option(
    "--time-limit", type=_SECONDS, metavar="SECONDS", help="No new round later.  [default: 240]"
)
@click.option("--json", "json_path", type=_OUTPUT, metavar="PATH", help="Write the report.")
@click.option("--csv", "csv_path", type=_OUTPUT, metavar="PATH", help="Write a line a contender.")
@click.option("--markdown", "markdown_path", type=_OUTPUT, metavar="PATH", help="Write the tables.")
@click.option(
    "--plot", "plot_path", type=_OUTPUT, metavar="PATH", help="Draw a picture: .png, .svg or .pdf."
)
@click.option(
    "--baseline",
    type=PathType(dir_okay=False),
    metavar="FILE",
    help="Compare with an earlier --json, by ratios.",
)
@click.option("--tolerance", type=NUMBER, default=0.1, show_default=True, help="For --baseline.")
@click.option("--yardstick", metavar="NAME", help="Contender that ratios are taken to.")
@click.option(
    "--show",
    type=PathType(dir_okay=False),
    metavar="FILE",
    help="Show an earlier --json instead of measuring.",
)
@click.option(
    "--history",
    type=PathType(exists=True, file_okay=False),
    metavar="DIR",
    help="Show the milestones in a directory of reports of one workload.",
)
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Measure; see the command's help."""
    given = _Options(**options)
    if given.history is not None:
        _history(given.history, given)
        return
    settings = _settings(given)
    if given.list_only:
        _list(settings)
        return
    _check_paths(given)
    from fastprop.bench.report import read_report, reading

    if given.show is None:
        report = _measure(given, settings, context)
        is_good = _tell(report, given)
    else:
        report = read_report(given.show)
        with reading(given.show):
            is_good = _tell(report, given)
    if given.baseline is not None:
        earlier = read_report(given.baseline)
        with reading(given.baseline):
            is_good &= _compare(earlier, report, given)
    if not is_good:
        context.exit(1)


def _tell(report: dict[str, Any], given: _Options) -> bool:
    """Write and print a report, and tell whether fastprop was right."""
    own = [entry for entry in report["contenders"] if entry["kind"] == "fastprop"]
    is_right = all(entry["status"] != "wrong" for entry in own)
    _write(report, given)
    _print(report)
    return is_right


def _settings(given: _Options) -> BenchSettings:
    from fastprop import _core
    from fastprop.bench.settings import BenchSettings, MeasureSettings

    measure = {
        "window_seconds": given.duration,
        "repetitions": given.repetitions,
        "max_windows": given.windows,
        "time_limit": given.time_limit,
    }
    stated: dict[str, Any] = {name: value for name, value in measure.items() if value is not None}
    if given.windows is not None:
        stated["agreeing"] = min(given.windows, MeasureSettings.agreeing)
    sizes = given.batch_sizes
    return BenchSettings(
        batch_size=given.batch_size,
        batch_sizes=BenchSettings.batch_sizes if sizes is None else sizes,
        threads=given.threads or tuple(sorted({1, _core.cpu_count()})),
        engines=given.engines,
        contenders=given.contenders,
        precisions=given.precisions,
        limits=given.limits,
        measure=MeasureSettings(**stated),
    )


def _workload_settings(given: _Options) -> WorkloadSettings:
    from fastprop.bench.settings import WORKLOADS

    stated = {
        "n_features": given.features,
        "nonzeros": given.nonzeros,
        "skew": given.skew,
        "hidden": given.hidden,
        "categories": given.categories,
        "n_rows": given.rows,
        "seed": given.seed,
    }
    changes: dict[str, Any] = {name: value for name, value in stated.items() if value is not None}
    return replace(WORKLOADS[given.workload or "reference"], **changes)


@contextmanager
def _workload(given: _Options, context: click.Context) -> Iterator[Workload]:
    from fastprop.bench.settings import ONLINE_RETAIL
    from fastprop.bench.workload import prepare_workload

    if given.model_dir is None and given.inputs:
        raise click.UsageError("--input goes with --model", context)
    if given.model_dir is not None:
        if not given.inputs:
            raise click.UsageError("--model needs --input", context)
        if given.workload is not None:
            raise click.UsageError("--model does not go with --workload", context)
        from fastprop import load_model
        from fastprop.bench.inputs import read_rows

        model = load_model(given.model_dir, given.name, given.epoch)
        rows = read_rows(model, list(given.inputs), given.rows or 4096)
        with prepare_workload(model=model, rows=rows) as workload:
            yield workload
        return
    settings = _workload_settings(given)
    if given.data is None:
        with prepare_workload(settings) as workload:
            yield workload
        return
    if settings.name != ONLINE_RETAIL:
        raise click.UsageError(f"--data goes with --workload {ONLINE_RETAIL}", context)
    from fastprop.bench.inputs import retail_rows

    rows, n_labels = retail_rows(given.data, settings.n_rows)
    mean = max(round(int(rows.indptr[-1]) / rows.shape[0]), 1)
    categories = given.categories or n_labels
    shaped = replace(settings, n_features=rows.shape[1], nonzeros=mean, categories=categories)
    with prepare_workload(shaped, rows=rows) as workload:
        yield workload


def _measure(given: _Options, settings: BenchSettings, context: click.Context) -> dict[str, Any]:
    from fastprop.bench.run import run_bench
    from fastprop.cli.console import say

    command_line = shlex.join(["fastprop", "bench", *_arguments()])
    say("making the workload")
    with _workload(given, context) as workload:
        say(f"{workload.name}: {workload.description}")
        return run_bench(workload, settings, command=command_line, tell=say)


def _arguments() -> list[str]:
    """What the command was called with, where it was called from a shell."""
    arguments = sys.argv[1:]
    return arguments[arguments.index("bench") + 1 :] if "bench" in arguments else []


def _list(settings: BenchSettings) -> None:
    from fastprop.bench.registry import contender_specs
    from fastprop.cli.console import print_table

    rows = [(spec.name, spec.title, str(spec.threads)) for spec in contender_specs(settings)]
    print_table(["name", "contender", "threads"], rows, right=[2])


def _check_paths(given: _Options) -> None:
    """Refuse what cannot be written before minutes have passed."""
    from fastprop.bench.plot import check_path, figure

    if given.plot_path is not None:
        check_path(given.plot_path)
        figure(1, 1)
    for name in ("json_path", "csv_path", "markdown_path", "plot_path"):
        path = getattr(given, name)
        if path is not None and not path.parent.is_dir():
            raise FileNotFoundError(2, "no such directory", str(path.parent))
    if given.baseline is not None:
        from fastprop.bench.report import read_report

        read_report(given.baseline)


def _write(report: dict[str, Any], given: _Options) -> None:
    from fastprop.bench.plot import draw_report
    from fastprop.bench.report import to_csv, to_json, to_markdown

    texts = {
        getattr(given, name): make(report)
        for name, make in (
            ("json_path", to_json),
            ("csv_path", to_csv),
            ("markdown_path", to_markdown),
        )
        if getattr(given, name) is not None
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    if given.plot_path is not None:
        draw_report(report, given.plot_path)


def _print(report: dict[str, Any]) -> None:
    from fastprop.bench.report import machine_line, report_notes, report_tables
    from fastprop.cli.console import heading, print_table, print_text

    workload = report["workload"]
    heading(f"{workload['name']}: {workload['description']}")
    print_text(machine_line(report))
    for table in report_tables(report):
        heading(table.title)
        print_table(list(table.columns), table.rows, right=list(table.right))
    print_text("")
    for note in report_notes(report):
        print_text(f"- {note}")


def _compare(earlier: dict[str, Any], report: dict[str, Any], given: _Options) -> bool:
    """Print the comparison and tell whether it is good."""
    from fastprop.bench.compare import compare_reports
    from fastprop.cli.console import heading, print_table, warn

    changes = compare_reports(earlier, report, tolerance=given.tolerance, yardstick=given.yardstick)
    heading(f"against {given.baseline} (rows/s over those of {changes[0].yardstick})")
    rows = [
        (
            change.name,
            f"{change.before:.4g}",
            f"{change.after:.4g}",
            f"{100 * change.change:+.1f} %",
            "slower" if change.is_loss else "",
        )
        for change in changes
    ]
    print_table(["contender", "before", "now", "change", ""], rows, right=[1, 2, 3])
    losses = [change.name for change in changes if change.is_loss]
    if losses:
        warn(f"{', '.join(losses)}: more than {given.tolerance:.0%} slower than before")
    return not losses


def _history(directory: Path, given: _Options) -> None:
    from fastprop.bench.history import history_table, read_history
    from fastprop.bench.plot import draw_history
    from fastprop.bench.report import reading
    from fastprop.cli.console import heading, print_table

    workload = given.workload or "reference"
    milestones = read_history(directory, workload)
    with reading(directory):
        table = history_table(milestones)
        heading(f"{table.title}, workload {workload}")
        print_table(list(table.columns), table.rows, right=list(table.right))
        if given.plot_path is not None:
            draw_history(milestones, given.plot_path)

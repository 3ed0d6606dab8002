"""`fastprop verify`: whether every engine, precision and thread count gives the right scores."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastprop.cli.lists import NumberList
from fastprop.cli.number import COUNT, SEED, NumberRange
from fastprop.cli.options import RowColumns, model_options, row_options
from fastprop.cli.path import PathType

if TYPE_CHECKING:
    from fastprop.cli.checkpoints import ModelChoice
    from fastprop.model import Model
    from fastprop.typing import CSR
    from fastprop.verify import Check, VerifyReport

__all__ = ["command"]

_EPILOG = """
\b
Examples:
  fastprop verify models/retail
  fastprop verify models/retail customers.parquet --rows 1000 --json > verdict.json
  fastprop verify models/retail --compiled retail.fastprop
  fastprop verify retail.fastprop
  fastprop verify models/retail --bfloat16-tolerance 0.02 --min-agreement 0.95
"""


@click.command(
    name="verify",
    epilog=_EPILOG,
    help=(
        "Score rows with MODEL, a checkpoint's directory or a compiled file, through every engine, "
        "precision, instruction set of this processor and number of threads, and compare with "
        "plain NumPy in float64 and with MXNet running the graph as it was saved.\n\n"
        "A compiled file alone is compared with the steps and weights that it holds, computed by "
        "NumPy in float64: whether they are a checkpoint's, --compiled beside that checkpoint "
        "tells.\n\n"
        "The rows are made up, edge cases among them, and the first of the INPUT files, in any "
        "format that `fastprop score` reads. Engines that cannot run are named with the reason. "
        "Scores are probabilities; where they are larger than 1 the tolerances grow with the "
        "largest.\n\n"
        "Exit code 1 if a score is too far off, the best labels differ, or scores depend on the "
        "number of threads."
    ),
)
@click.argument("model_dir", metavar="MODEL")
@click.argument("inputs", metavar="[INPUT]...", nargs=-1)
@model_options
@click.option(
    "--compiled",
    "compiled_path",
    type=PathType(exists=True, dir_okay=False),
    metavar="FILE",
    help="What `fastprop compile` made of the checkpoint, to be verified as well.",
)
@click.option(
    "--rows",
    "random_rows",
    type=click.IntRange(min=0, max=1 << 31),
    default=256,
    show_default=True,
    metavar="N",
    help="Rows that are made up, beside the edge cases.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of what is made up.")
@click.option(
    "--max-rows",
    type=click.IntRange(min=1, max=1 << 31),
    default=4096,
    show_default=True,
    metavar="N",
    help="At most this many rows of INPUT.",
)
@click.option(
    "--threads",
    type=NumberList(1024),
    metavar="N,N",
    help="Numbers of threads.  [default: 1, 2 and all]",
)
@click.option("--top-k", type=COUNT, default=20, show_default=True, metavar="K")
@click.option(
    "--tolerance",
    type=NumberRange(min=0),
    metavar="X",
    help="Largest difference of a float32 score.  [default: 2e-06]",
)
@click.option(
    "--bfloat16-tolerance",
    type=NumberRange(min=0),
    metavar="X",
    help="Largest difference of a score from bfloat16 weights.  [default: 0.01]",
)
@click.option(
    "--int8-tolerance",
    type=NumberRange(min=0),
    metavar="X",
    help="Largest difference of a score from int8 weights.  [default: 0.05]",
)
@click.option(
    "--min-agreement",
    type=NumberRange(min=0, max=1),
    default=0.99,
    show_default=True,
    metavar="X",
    help="Least share of the best K labels that must be right.",
)
@click.option(
    "--int8-min-agreement",
    type=NumberRange(min=0, max=1),
    default=0.95,
    show_default=True,
    metavar="X",
    help="The same for int8 weights.",
)
@row_options
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.pass_context
def command(
    context: click.Context,
    *,
    model_dir: str,
    inputs: tuple[str, ...],
    choice: ModelChoice,
    compiled_path: Path | None,
    random_rows: int,
    seed: int,
    max_rows: int,
    threads: tuple[int, ...] | None,
    top_k: int,
    tolerance: float | None,
    bfloat16_tolerance: float | None,
    int8_tolerance: float | None,
    min_agreement: float,
    int8_min_agreement: float,
    columns: RowColumns,
    as_json: bool,
) -> None:
    """Verify a model; see the command's help."""
    from fastprop import _core
    from fastprop.cli.console import print_json, progress
    from fastprop.compiled.model import CompiledModel
    from fastprop.verify import DEFAULT_TOLERANCES, VerifySettings, verify_model

    tolerances = dict(DEFAULT_TOLERANCES)
    if tolerance is not None:
        tolerances["float32"] = tolerance
    if bfloat16_tolerance is not None:
        tolerances["bfloat16"] = bfloat16_tolerance
    if int8_tolerance is not None:
        tolerances["int8"] = int8_tolerance
    settings = VerifySettings(
        random_rows=random_rows,
        seed=seed,
        threads=threads or tuple(sorted({1, 2, _core.cpu_count()})),
        k=top_k,
        tolerances=tolerances,
        min_agreement=min_agreement,
        int8_min_agreement=int8_min_agreement,
    )
    model = choice.load(model_dir)
    compiled = None if compiled_path is None else CompiledModel(compiled_path)
    given = None
    if inputs:
        given = _read(model, inputs, max_rows, columns)
    with progress(f"verifying {model.name}", unit="steps") as bar:

        def show(done: int, total: int, what: str) -> None:
            bar.update(done, total=total, description=f"verifying {model.name}: {what}")

        report = verify_model(model, settings, rows=given, compiled=compiled, progress=show)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    if not report.passed:
        context.exit(1)


def _read(
    model: Model,
    paths: tuple[str, ...],
    max_rows: int,
    columns: RowColumns,
) -> CSR:
    from fastprop.cli.console import say
    from fastprop.io.batches import ReadOptions
    from fastprop.io.first_rows import read_first_rows

    options = ReadOptions(n_features=model.n_features, batch_rows=max_rows, **columns.names)
    rows = read_first_rows(paths, max_rows, options, input_format=columns.input_format)
    if rows.shape[0] == max_rows:
        say(f"the first {max_rows:,} rows of the input are taken; --max-rows takes more")
    return rows


def _print(report: VerifyReport) -> None:
    from fastprop.cli.console import heading, print_table, print_text

    epoch = "" if report.epoch is None else f", epoch {report.epoch}"
    heading(f"{report.model}{epoch}")
    rows = f"{report.n_random:,} made-up rows (seed {report.seed})"
    rows += f", {report.n_edge_cases} edge cases"
    if report.n_given:
        rows = f"{report.n_given:,} given rows, {rows}"
    threads = ", ".join(map(str, report.threads))
    print_text(f"{rows}; {report.n_labels:,} labels; {threads} threads")
    columns = ["engine", "weights", "kernels", "largest", "mean", "from MXNet"]
    columns += [f"best {report.k}", "verdict"]
    print_table(columns, map(_cells, _tried(report.checks)), right=[3, 4, 5, 6])
    for line in _notes(report):
        print_text(f"- {line}")
    print_text("passed" if report.passed else "FAILED")


def _tried(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if check.status != "unavailable"]


def _cells(check: Check) -> tuple[str, ...]:
    way = check.way
    weights = way.precision
    if way.isa and way.weights != weights:
        weights += f", {way.weights}"
    return (
        way.title,
        weights,
        way.isa or "-",
        _number(check.max_difference),
        _number(check.mean_difference),
        _number(check.mxnet_max_difference),
        "-" if check.top_k_agreement is None else f"{check.top_k_agreement:.2%}",
        "passed" if check.status == "passed" else "FAILED",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _notes(report: VerifyReport) -> list[str]:
    judges = {
        "numpy": "differences are from plain NumPy in float64",
        "mxnet": "differences are from MXNet, the graph as saved",
        "steps": "differences are from plain NumPy in float64 over the steps and weights that the "
        "file holds; --compiled beside its checkpoint tells whether they are the checkpoint's",
        "none": "there is nothing to compare with",
    }
    lines = [judges[report.judge]]
    for name, problem in report.oracles.items():
        if problem:
            lines.append(f"no comparison with {'MXNet' if name == 'mxnet' else 'NumPy'}: {problem}")
    limits = {check.way.precision: check.tolerance for check in report.checks}
    allowed = ", ".join(f"{precision} {limit:.2g}" for precision, limit in limits.items())
    lines.append(
        f"allowed: {allowed}; {report.min_agreement:.2%} of the best {report.k} labels "
        f"({report.int8_min_agreement:.2%} with int8); "
        "the same bits for every number of threads"
    )
    failed = [check for check in report.checks if check.status == "failed"]
    for (title, reason), group in groupby(failed, key=lambda item: (item.way.title, item.reason)):
        kinds = [f"{check.way.weights} {check.way.isa or ''}".strip() for check in group]
        lines.append(f"FAILED: {title} ({', '.join(kinds)}): {reason}")
    worst = max(_tried(report.checks), key=lambda check: check.max_difference or 0, default=None)
    if worst is not None and worst.worst:
        lines.append(f"largest of all: {worst.way.title}, {worst.way.weights}, at {worst.worst}")
    absent = [check for check in report.checks if check.status == "unavailable"]
    for (title, reason), group in groupby(absent, key=lambda item: (item.way.title, item.reason)):
        precisions = ", ".join(dict.fromkeys(check.way.weights for check in group))
        lines.append(f"not run: {title} ({precisions}): {reason}")
    return lines

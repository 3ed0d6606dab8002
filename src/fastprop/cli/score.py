"""`fastprop score`: files of sparse rows in, files of scores out."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastprop.cli.number import NUMBER
from fastprop.cli.options import RowColumns, model_options, row_options

if TYPE_CHECKING:
    from fastprop.cli.checkpoints import ModelChoice
    from fastprop.io.pipeline import ScoreProgress, ScoreSummary

__all__ = ["command"]

_EPILOG = """
\b
Examples:
  fastprop score models/retail customers.parquet --output scores.parquet
  fastprop score models/retail customers/ --output scores/ --top-k 20 --resume
  fastprop score models/retail 's3://bucket/day=*/*.parquet' --output scores/ \\
      --features-column features --on-bad-row quarantine
  fastprop score models/retail customers.jsonl.gz --output top.jsonl --threshold 0.5
  fastprop score --model-column region models/ customers/ --output scores/ --top-k 20
"""


@click.command(
    name="score",
    epilog=_EPILOG,
    help=(
        "Score INPUT files with the checkpoint in MODEL_DIR, or with a compiled model.\n\n"
        "INPUT is a file, a directory or a pattern of Parquet, Arrow IPC, JSON lines, svmlight or "
        "SciPy NPZ files, local or a URI. Parquet and Arrow hold an id column and either two list "
        "columns or one column of structs, maps or Spark vectors.\n\n"
        "Without --top-k and --threshold every label's score is written.\n\n"
        "With --model-column MODEL_DIR holds a checkpoint directory for each value of that column, "
        "models/eu and models/us, and each row is scored with its own.\n\n"
        "Memory does not grow with the input: --batch-rows and --read-ahead bound it."
    ),
)
@click.argument("model_dir", metavar="MODEL_DIR")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option(
    "--output",
    required=True,
    metavar="PATH",
    help="A file, replaced when the new one is whole; or a directory for parts (a path without an "
    "extension or with a / at its end).",
)
@model_options
@click.option(
    "--model-column",
    metavar="NAME",
    help="Column, key or folder (NAME=…) that names each row's model, a directory in MODEL_DIR.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["parquet", "jsonl", "csv"]),
    help="Of the output; by default that of its extension, else parquet.",
)
@row_options
@click.option(
    "--keep-column",
    "keep_columns",
    multiple=True,
    metavar="NAME",
    help="Write this column too, of Parquet and Arrow files or of folders NAME=…; may be repeated.",
)
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="K", help="Keep a row's best K labels."
)
@click.option("--threshold", type=NUMBER, metavar="T", help="Keep labels that score at least T.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Worker threads; by default one for each core that this process may use.",
)
@click.option(
    "--on-bad-row",
    type=click.Choice(["error", "skip", "quarantine"]),
    default="error",
    show_default=True,
    help="Stop at a row that cannot be scored, leave it out, or leave it out and list it in a "
    "side file.",
)
@click.option(
    "--null-rows",
    type=click.Choice(["keep", "bad"]),
    default="keep",
    show_default=True,
    help="Give a row that is null a null result, or take it for a bad row.",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted run has stopped.")
@click.option("--overwrite", is_flag=True, help="Remove an earlier run's parts first.")
@click.option(
    "--batch-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows read and scored at once; decides how much memory is used.  [default: 8192, fewer "
    "where all scores of many labels are kept]",
)
@click.option(
    "--read-ahead",
    type=click.IntRange(min=1),
    metavar="N",
    default=2,
    show_default=True,
    help="Batches that may wait to be scored, and as many to be written.",
)
@click.option(
    "--part-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Input rows a part.  [default: 262144]",
)
@click.option(
    "--compression",
    type=click.Choice(["zstd", "snappy", "none"]),
    default="zstd",
    show_default=True,
    help="Of Parquet output.",
)
@click.option(
    "--svmlight-base",
    type=click.Choice(["0", "1"]),
    default="0",
    show_default=True,
    help="Number of the first column in svmlight files.",
)
@click.option(
    "--readers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads that read; each beyond the first holds 65,536 rows or a row group.  [default: "
    "one for each 8 worker threads]",
)
@click.option(
    "--histogram",
    is_flag=True,
    help="Count each label's scores in 20 bins: in _histogram.json of a directory, or in "
    "PATH.histogram.json beside a file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def command(
    context: click.Context,
    *,
    model_dir: str,
    inputs: tuple[str, ...],
    output: str,
    choice: ModelChoice,
    output_format: str | None,
    columns: RowColumns,
    keep_columns: tuple[str, ...],
    top_k: int | None,
    threshold: float | None,
    threads: int | None,
    on_bad_row: str,
    null_rows: str,
    resume: bool,
    overwrite: bool,
    batch_rows: int | None,
    part_rows: int | None,
    compression: str,
    svmlight_base: str,
    model_column: str | None,
    read_ahead: int,
    readers: int | None,
    histogram: bool,
    as_json: bool,
) -> None:
    """Score files; see the command's help."""
    if resume and overwrite:
        raise click.UsageError("--resume does not go with --overwrite", context)

    from fastprop._core import cpu_count
    from fastprop.checks import as_path
    from fastprop.cli.console import print_json, progress, say, warn
    from fastprop.io.files import locate
    from fastprop.io.pipeline import (
        ScoreOptions,
        score_files,
        score_files_by_model,
        writes_directory,
    )
    from fastprop.model_paths import model_paths

    further: dict[str, Any] = {} if part_rows is None else {"part_rows": part_rows}
    options = ScoreOptions(
        top_k=top_k,
        threshold=threshold,
        output_format=output_format,
        input_format=columns.input_format,
        **columns.names,
        keep_columns=keep_columns,
        on_bad_row=on_bad_row,
        null_rows=null_rows,
        batch_rows=batch_rows,
        read_ahead=read_ahead,
        readers=readers or max(1, (threads or cpu_count()) // 8),
        histogram=histogram,
        resume=resume,
        overwrite=overwrite,
        svmlight_base=int(svmlight_base),
        compression=compression,
        **further,
    )
    folders = (
        {"": as_path("MODEL_DIR", model_dir)} if model_column is None else model_paths(model_dir)
    )
    identity: dict[str, Any] = {}
    if writes_directory(output):
        identity = {each: choice.identity(folder) for each, folder in folders.items()}
    with ExitStack() as stack:
        models = choice.models(folders, threads, stack)
        title = (
            Path(model_dir).resolve().name if model_column is None else f"{len(models):,} models"
        )
        bar = stack.enter_context(progress(f"scoring with {title}", unit="rows"))

        def show(state: ScoreProgress) -> None:
            bar.update(state.rows, total=state.total_rows)

        if model_column is None:
            (model,) = models.values()
            summary = score_files(
                model.open(),
                inputs,
                output,
                n_features=model.n_features,
                labels=model.labels,
                options=options,
                model=identity.get(""),
                progress=show,
            )
        else:
            summary = score_files_by_model(
                models,
                inputs,
                output,
                column=model_column,
                options=options,
                model=identity,
                progress=show,
            )
    for note in summary.notes:
        warn(note)
    for line in describe(summary, locate(output).name):
        say(line)
    if as_json:
        print_json(asdict(summary))


def describe(summary: ScoreSummary, output: str) -> list[str]:
    """Put what a run did into a few lines."""
    from fastprop.cli.console import format_bytes, format_count, format_seconds

    lines = [
        f"{summary.rows:,} rows to {output} in {format_seconds(summary.seconds)}: "
        f"{format_count(summary.rows_per_second)} rows/s, "
        f"peak memory {format_bytes(summary.peak_memory)}"
    ]
    if summary.resumed_parts:
        lines.append(
            f"{summary.resumed_parts:,} of {summary.parts:,} parts were there from an earlier run"
        )
    if summary.null_rows:
        lines.append(f"{summary.null_rows:,} null rows have a null result")
    if summary.bad_rows:
        lines.append(f"{summary.bad_rows:,} bad rows were left out")
    return lines

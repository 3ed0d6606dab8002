"""`fastprop plan`: how many core-hours, executors, bytes and how much memory a population needs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastprop.cli.number import NUMBER
from fastprop.cli.path import PathType
from fastprop.errors import InvalidInputError

if TYPE_CHECKING:
    from fastprop.capacity import Capacity, Job, Rate

__all__ = ["command"]

_SAMPLE_ROWS = 1 << 16
_SAMPLE_SECONDS = 3.0
_SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}
_EPILOG = """
\b
Examples:
  fastprop plan --customers 300M --from out.json --top-k 20 --deadline 6
  fastprop plan --customers 300M --model models/retail --input sample.parquet --cores 64
  fastprop plan --customers 300M --rate 20000 --nonzeros 200 --categories 3000 --cores 64 --json

docs/formats.md, "Capacity", has the formulas.
"""


def _count(_context: click.Context, param: click.Parameter, given: str | None) -> int | None:
    """Read a whole number, with k, M or G (or B) behind it if so wished."""
    if given is None:
        return None
    text = given.replace("_", "").replace(",", "")
    factor = _SUFFIXES.get(text[-1:], 1)
    try:
        number = float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        number = float("nan")
    if not 1 <= number < 2**63 or number != int(number):
        raise click.BadParameter(
            f"{given!r} is no whole number of at least 1, such as 300M", param=param
        )
    return int(number)


@dataclass(frozen=True)
class _Options:
    """What the command was given; see its help."""

    customers: int
    report: Path | None
    model_dir: str | None
    inputs: tuple[str, ...]
    rate: float | None
    nonzeros: float | None
    categories: int | None
    top_k: int | None
    cores: int | None
    cores_per_executor: int
    deadline: float | None
    share: float | None
    batch_rows: int | None
    bytes_per_nonzero: float | None
    threads: int | None
    as_json: bool


@click.command(
    name="plan",
    epilog=_EPILOG,
    help=(
        "Work out what scoring a population takes: core-hours, hours, bytes, memory, executors.\n\n"
        "How fast a core scores is taken from a report of fastprop bench (--from), measured now "
        "(--model and --input), or told (--rate)."
    ),
)
@click.option(
    "--customers", callback=_count, required=True, metavar="N", help="Rows, such as 300M."
)
@click.option(
    "--from",
    "report",
    type=PathType(exists=True, dir_okay=False),
    metavar="FILE",
    help="A report: fastprop bench --json FILE.",
)
@click.option("--model", "model_dir", metavar="DIR", help="Measure this checkpoint now …")
@click.option("--input", "inputs", multiple=True, metavar="FILE", help="… with these rows.")
@click.option("--rate", type=NUMBER, metavar="R", help="Rows/s that one core scores.")
@click.option("--nonzeros", type=NUMBER, metavar="Z", help="Entries a row.  [default: as measured]")
@click.option("--categories", callback=_count, metavar="N", help="Labels.  [default: as measured]")
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="K", help="Labels kept a row; all by default."
)
@click.option("--cores", type=click.IntRange(min=1), metavar="N", help="Cores there are.")
@click.option(
    "--cores-per-executor", type=click.IntRange(min=1), default=4, show_default=True, metavar="N"
)
@click.option("--deadline", type=NUMBER, metavar="HOURS", help="Hours there are.")
@click.option(
    "--share",
    type=NUMBER,
    metavar="S",
    help="What reading and writing leave of the rows/s of scoring alone.  [default: 0.8]",
)
@click.option(
    "--batch-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="As of fastprop score.  [default: what that takes]",
)
@click.option(
    "--bytes-per-nonzero",
    type=NUMBER,
    metavar="B",
    help="Of the input files.  [default: those of --input, else 6.3]",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="To measure with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Work out what a population needs; see the command's help."""
    options = _Options(**given)
    ways = [options.report is not None, options.model_dir is not None, options.rate is not None]
    if sum(ways) != 1:
        raise click.UsageError("name one of --from, --model and --rate", context)
    if (options.model_dir is None) != (not options.inputs):
        raise click.UsageError("--model and --input go together", context)
    if options.rate is not None and not (options.nonzeros and options.categories):
        raise click.UsageError("--rate needs --nonzeros and --categories", context)

    from fastprop.capacity import BYTES_PER_NONZERO, SHARE, Job, estimate

    rate, sample = _rate(options)
    job = Job(
        customers=options.customers,
        nonzeros=options.nonzeros or rate.nonzeros or 0,
        categories=options.categories or rate.categories or 0,
        top_k=options.top_k,
        parameter_bytes=rate.parameter_bytes,
        batch_rows=options.batch_rows,
        bytes_per_nonzero=options.bytes_per_nonzero or sample or BYTES_PER_NONZERO,
    )
    share = SHARE if options.share is None else options.share
    capacity = estimate(
        job,
        rate,
        share=share,
        cores=options.cores,
        deadline_hours=options.deadline,
        cores_per_executor=options.cores_per_executor,
    )
    _show(options, job, rate, share, capacity)


def _rate(options: _Options) -> tuple[Rate, float | None]:
    """The rate, and the bytes a non-zero of the sample if there is one."""
    from fastprop.capacity import Rate, rate_of_report

    if options.rate is not None:
        return Rate(options.rate, "as told"), None
    if options.report is not None:
        try:
            report = json.loads(options.report.read_text())
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{options.report}: no JSON: {error}") from error
        top_k = options.top_k is not None
        return rate_of_report(report, top_k=top_k, name=str(options.report)), None
    return _measure(options)


def _measure(options: _Options) -> tuple[Rate, float | None]:
    from fastprop import load_model
    from fastprop.bench.inputs import read_rows
    from fastprop.capacity import Rate
    from fastprop.cli.console import say
    from fastprop.model import stored_bytes

    assert options.model_dir is not None
    model = load_model(options.model_dir)
    rows = read_rows(model, list(options.inputs), _SAMPLE_ROWS)
    n_rows = rows.shape[0]
    nonzeros = float(rows.indptr[-1] - rows.indptr[0]) / n_rows
    say(f"measuring with {n_rows:,} rows")
    with model.predictor(threads=options.threads) as predictor:
        calls, began, seconds = -1, 0.0, 0.0
        while seconds < _SAMPLE_SECONDS:
            calls += 1
            if calls == 0:
                predictor.predict_top_k(rows, options.top_k or 1)  # warms up
                began = time.perf_counter()
                continue
            if options.top_k is None:
                predictor.predict(rows)
            else:
                predictor.predict_top_k(rows, options.top_k)
            seconds = time.perf_counter() - began
        threads = predictor.threads
    network = model.network
    parameters = sum(map(stored_bytes, {**network.arguments, **network.auxiliary}.values()))
    rate = Rate(
        calls * n_rows / seconds / threads,
        f"measured now, {threads} threads",
        nonzeros=max(nonzeros, 1e-9),
        categories=model.n_labels,
        parameter_bytes=parameters,
    )
    return rate, _bytes_per_nonzero(model.n_features, options, nonzeros)


def _bytes_per_nonzero(n_features: int, options: _Options, nonzeros: float) -> float | None:
    """Bytes of the sample's files by their non-zeros; None where their rows are not counted."""
    from fastprop.capacity import BYTES_PER_ID
    from fastprop.io.batches import ReadOptions
    from fastprop.io.files import find_inputs
    from fastprop.io.readers import open_reader

    size, n_rows = 0, 0
    for file in find_inputs(options.inputs):
        for piece in open_reader(file, ReadOptions(n_features=n_features)).slices():
            if piece.rows is None:
                return None
            n_rows += piece.rows
        size += file.size
    a_row = size / max(n_rows, 1) - BYTES_PER_ID
    return a_row / nonzeros if a_row > 0 and nonzeros > 0 else None


def _show(options: _Options, job: Job, rate: Rate, share: float, capacity: Capacity) -> None:
    from fastprop.cli.console import (
        format_bytes,
        format_count,
        format_seconds,
        print_json,
        print_table,
        warn,
    )

    if rate.scaled_to(job) < rate.rows_per_second:
        warn(
            f"the rate was measured with {format_count(rate.nonzeros or 0)} non-zeros and "
            f"{format_count(rate.categories or 0)} categories a row; it is taken to fall with the "
            "larger of both ratios, which is at worst too slow: measure your own model"
        )
    if options.as_json:
        print_json(
            {
                "job": asdict(job),
                "rate": asdict(rate),
                "share": share,
                "cores_per_executor": options.cores_per_executor,
                **asdict(capacity),
            }
        )
        return
    per_core = capacity.rows_per_second_per_core
    kept = "all scores" if job.top_k is None else f"the best {job.scores_kept}"
    rows: list[tuple[str, str]] = [
        ("a customer", f"{job.nonzeros:,.0f} non-zeros, {job.categories:,} categories, {kept}"),
        ("rows/s a core, scoring", f"{format_count(rate.rows_per_second)} ({rate.source})"),
        ("rows/s a core, all in all", f"{format_count(per_core)} (share {share:g})"),
        ("core-hours", f"{capacity.core_hours:,.2f}"),
    ]
    if capacity.hours is not None:
        time_needed = format_seconds(capacity.hours * 3600)
        rows.append((f"time on {options.cores:,} cores", time_needed))
    if capacity.executors is not None:
        rows.append(
            (
                f"executors for {options.deadline:g} hours",
                f"{capacity.executors:,} of {options.cores_per_executor} cores",
            )
        )
    rows += [
        ("bytes read", format_bytes(capacity.bytes_read)),
        ("bytes written", format_bytes(capacity.bytes_written)),
        ("memory an executor", format_bytes(capacity.memory_per_executor)),
    ]
    print_table(["To score", f"{job.customers:,} customers"], rows)

"""`fastprop compile`: a checkpoint to one file that is mapped, not read."""

from __future__ import annotations

import time
from pathlib import Path

import click

__all__ = ["command"]

_EPILOG = """
\b
Examples:
  fastprop compile models/retail -o retail.fastprop
  fastprop compile models/retail -o retail.fastprop --weights bfloat16
  fastprop score retail.fastprop customers.parquet --output scores.parquet
"""


@click.command(
    name="compile",
    epilog=_EPILOG,
    help=(
        "Compile the checkpoint in MODEL_DIR to one file, which holds packed parameters, the steps "
        "that are run, and labels.\n\n"
        "The file loads in milliseconds, is shared by all processes of a host and needs no MXNet. "
        "Commands that take MODEL_DIR to score take it too. Fails where the native engine does not "
        "know an operator, and names the node."
    ),
)
@click.argument("model_dir", metavar="MODEL_DIR")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="PATH",
    help="The file, replaced when the new one is whole.",
)
@click.option("--name", metavar="NAME", help="Which model; by default the only one there.")
@click.option("--epoch", type=click.IntRange(min=0), metavar="N", help="By default the latest.")
@click.option(
    "--weights",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="How weights are held: as they are, or rounded to 8 bits of precision at half the memory.",
)
@click.option(
    "--positive-index",
    metavar="I|all",
    default="0",
    show_default=True,
    help="Column of a two-class head that is its score; 'all' gives every class its label.",
)
@click.pass_context
def command(
    context: click.Context,
    *,
    model_dir: str,
    output: str,
    name: str | None,
    epoch: int | None,
    weights: str,
    positive_index: str,
) -> None:
    """Compile a checkpoint; see the command's help."""
    from fastprop import load_model
    from fastprop.cli.console import format_bytes, format_seconds, say
    from fastprop.cli.score import parse_positive_index
    from fastprop.errors import InvalidInputError

    if Path(model_dir).is_file():
        raise InvalidInputError(f"{model_dir}: a file, and the directory of a checkpoint is needed")
    index = parse_positive_index(positive_index, context)
    started = time.perf_counter()
    load_model(model_dir, name, epoch, positive_index=index).compile(output, weights=weights)
    seconds = time.perf_counter() - started
    model = load_model(output)
    say(
        f"{output}: {model.name}"
        + ("" if model.epoch is None else f", epoch {model.epoch}")
        + f", {model.n_features:,} features, {model.n_labels:,} labels, {weights}, "
        + f"{format_bytes(Path(output).stat().st_size)}, in {format_seconds(seconds)}"
    )

"""`fastprop compile`: a checkpoint to one file that is mapped, not read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastprop.cli.options import model_options

if TYPE_CHECKING:
    from fastprop.cli.checkpoints import ModelChoice

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
@model_options
@click.option(
    "--weights",
    type=click.Choice(["float32", "bfloat16", "int8"]),
    default="float32",
    show_default=True,
    help="How weights are held: as they are; rounded to 8 bits of precision at half the memory; or "
    "the dense layers in 254 steps of each column's greatest weight, with the sparse one rounded.",
)
def command(
    *,
    model_dir: str,
    output: str,
    choice: ModelChoice,
    weights: str,
) -> None:
    """Compile a checkpoint; see the command's help."""
    from fastprop import load_model
    from fastprop.cli.console import format_bytes, format_seconds, say
    from fastprop.errors import InvalidInputError

    if Path(model_dir).is_file():
        raise InvalidInputError(f"{model_dir}: a file, and the directory of a checkpoint is needed")
    started = time.perf_counter()
    choice.load(model_dir).compile(output, weights=weights)
    seconds = time.perf_counter() - started
    model = load_model(output)
    say(
        f"{output}: {model.name}"
        + ("" if model.epoch is None else f", epoch {model.epoch}")
        + f", {model.n_features:,} features, {model.n_labels:,} labels, {weights}, "
        + f"{format_bytes(Path(output).stat().st_size)}, in {format_seconds(seconds)}"
    )

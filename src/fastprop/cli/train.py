"""`fastprop train`: rows and a dictionary to a checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from fastprop.cli.number import COUNT, SEED, NumberRange
from fastprop.cli.path import PathType

__all__ = ["command"]

_EPILOG = """
\b
Examples:
  fastprop train training/ --output models/retail --name retail
  fastprop train training/ --output models/retail --hidden 1024 --warm-start --learning-rate 1e-4
  fastprop train training/ --output models/large --hidden 256 --hidden 128 --stream
"""


@click.command(
    name="train",
    epilog=_EPILOG,
    help=(
        "Train a network on what `fastprop features` left in FOLDER: rows.parquet and "
        "dictionary.json.\n\n"
        "Writes NAME-symbol.json, NAME-0001.params and so on, NAME-labels.txt and "
        'NAME-features.txt. Needs MXNet: pip install "fastprop[mxnet]".'
    ),
)
@click.argument("folder", type=PathType(exists=True, file_okay=False))
@click.option(
    "--output",
    required=True,
    type=PathType(file_okay=False),
    help="Folder for the checkpoint.",
)
@click.option("--name", default="model", show_default=True, help="Name of the checkpoint.")
@click.option(
    "--hidden",
    type=COUNT,
    multiple=True,
    default=(256, 128),
    show_default=True,
    help="Width of a hidden layer; repeat for more layers.",
)
@click.option(
    "--activation",
    type=click.Choice(["relu", "sigmoid", "softrelu", "softsign", "tanh"]),
    default="relu",
    show_default=True,
)
@click.option("--dropout", type=NumberRange(0, 1, max_open=True), default=0.0)
@click.option(
    "--heads",
    type=click.Choice(["separate", "fused"]),
    default="separate",
    show_default=True,
    help="Form of the heads in the checkpoint.",
)
@click.option(
    "--warm-start",
    is_flag=True,
    help="Begin with the effect of repeated purchases (one hidden layer).",
)
@click.option("--epochs", type=COUNT, default=5, show_default=True)
@click.option("--batch-size", type=COUNT, default=256, show_default=True)
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam", show_default=True)
@click.option(
    "--learning-rate", type=NumberRange(0, min_open=True), default=1e-3, show_default=True
)
@click.option("--weight-decay", type=NumberRange(0), default=0.0)
@click.option("--label-smoothing", type=NumberRange(0, 1, max_open=True), default=0.0)
@click.option(
    "--validation-share",
    type=NumberRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of the customers that is kept from training to measure on.",
)
@click.option(
    "--patience",
    type=COUNT,
    help="Stop after so many epochs without a better validation log-loss.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--stream", is_flag=True, help="Read the rows anew in each epoch, not into memory.")
def command(
    folder: Path,
    output: Path,
    name: str,
    hidden: tuple[int, ...],
    activation: str,
    dropout: float,
    heads: str,
    warm_start: bool,
    epochs: int,
    batch_size: int,
    optimizer: str,
    learning_rate: float,
    weight_decay: float,
    label_smoothing: float,
    validation_share: float,
    patience: int | None,
    seed: int,
    stream: bool,
) -> None:
    """Train a network."""
    from fastprop.cli import console
    from fastprop.training import FitSettings, TrainingJob, run_job_in_process
    from fastprop.training.report import TrainingDisplay

    job = TrainingJob(
        rows=(str(folder / "rows.parquet"),),
        dictionary=str(folder / "dictionary.json"),
        output=str(output),
        name=name,
        validation_share=validation_share,
        hidden=hidden,
        activation=activation,
        dropout=dropout,
        heads=heads,
        warm_start=warm_start,
        stream=stream,
        fit=FitSettings(
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            label_smoothing=label_smoothing,
            patience=patience,
            seed=seed,
        ),
    )
    with TrainingDisplay(console) as display:
        result = run_job_in_process(job, on_step=display.on_step, on_epoch=display.on_epoch)
    console.print_text(f"written: {output / name}-*, best epoch {result.best_epoch}")

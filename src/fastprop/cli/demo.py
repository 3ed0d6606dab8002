"""`fastprop demo`: train, load, score and compare in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastprop.cli.number import COUNT, SEED
from fastprop.cli.path import PathType

if TYPE_CHECKING:
    from fastprop.demo.run import DemoResult

__all__ = ["command"]

_EPILOG = """
\b
Examples:
  fastprop demo
  fastprop demo --seed 7 --output /tmp/shop
  fastprop demo --data online_retail.parquet
"""


@click.command(
    name="demo",
    epilog=_EPILOG,
    help=(
        "Train a network on a made-up shop or on your own transactions, load its checkpoint "
        "without MXNet's Python package, score everyone, and show how good and how fast that was."
        "\n\n"
        "--data takes a Parquet or CSV file with the columns of the UCI Online Retail set: "
        "InvoiceNo, StockCode, Quantity, InvoiceDate, UnitPrice, CustomerID, Country; the options "
        "below name others. A quarter of the customers is held out of training: what they bought "
        "in the last weeks is predicted from what came before."
    ),
)
@click.option("--data", type=PathType(exists=True, dir_okay=False), help="Transactions.")
@click.option(
    "--output",
    type=PathType(file_okay=False),
    default=Path("fastprop-demo"),
    show_default=True,
    help="Folder for what the demo writes.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--items",
    type=click.IntRange(min=10, max=1_000_000),
    default=1500,
    show_default=True,
    help="Predict at most so many items.",
)
@click.option(
    "--weeks",
    type=COUNT,
    default=4,
    show_default=True,
    help="Length of the period that is predicted.",
)
@click.option(
    "--hidden",
    type=click.IntRange(min=32, max=1 << 20),
    help="Width of the hidden layer; by default a unit for each item and some more, at most 1024.",
)
@click.option("--epochs", type=COUNT, default=2, show_default=True)
@click.option("--customer-column", default="CustomerID", show_default=True)
@click.option("--item-column", default="StockCode", show_default=True)
@click.option("--time-column", default="InvoiceDate", show_default=True)
@click.option("--quantity-column", default="Quantity", show_default=True, help="'' for none.")
@click.option("--price-column", default="UnitPrice", show_default=True, help="'' for none.")
@click.option("--order-column", default="InvoiceNo", show_default=True, help="'' for none.")
@click.option(
    "--attribute-column",
    "attribute_columns",
    multiple=True,
    default=("Country",),
    show_default=True,
    help="Describes the customer; may be repeated. '' for none.",
)
def command(
    data: Path | None,
    output: Path,
    seed: int,
    items: int,
    weeks: int,
    hidden: int | None,
    epochs: int,
    customer_column: str,
    item_column: str,
    time_column: str,
    quantity_column: str,
    price_column: str,
    order_column: str,
    attribute_columns: tuple[str, ...],
) -> None:
    """Run the demo."""
    from fastprop.cli import console
    from fastprop.demo.run import DemoSettings, run_demo
    from fastprop.features.settings import LabelSettings, TransactionColumns

    settings = DemoSettings(
        output=output,
        data=data,
        columns=TransactionColumns(
            customer=customer_column,
            item=item_column,
            time=time_column,
            quantity=quantity_column or None,
            price=price_column or None,
            order=order_column or None,
            attributes=tuple(name for name in attribute_columns if name),
        ),
        seed=seed,
        hidden=hidden,
        epochs=epochs,
        labels=LabelSettings(max_labels=items, horizon_days=7 * weeks),
    )
    _show(run_demo(settings, console), settings.labels.horizon_days)


def _show(result: DemoResult, horizon_days: int) -> None:
    from fastprop.cli import console

    described = any(line.description for line in result.view.top)
    names = ["#", "item", "description", "score", "bought before", f"next {horizon_days} days"]
    rows: list[list[object]] = [
        [
            number,
            line.label,
            line.description,
            f"{line.score:.3f}",
            f"{line.lines_before} x" if line.lines_before else "-",
            "bought" if line.bought else "-",
        ]
        for number, line in enumerate(result.view.top, start=1)
    ]
    if not described:
        names.pop(2)
        rows = [row[:2] + row[3:] for row in rows]
    console.print_table(
        names,
        rows,
        title=f"Customer {result.view.customer_id}, held out, of about average result",
        right=[0, len(names) - 3],
    )
    console.print_table(
        ["ranking", "precision@10", "standard error", "x popularity"],
        [
            [row.name, f"{row.precision:.4f}", f"{row.standard_error:.4f}", f"{row.lift:.2f}"]
            for row in result.rankings
        ],
        title=(
            f"{result.evaluated:,} held-out customers, {result.n_labels:,} items, "
            f"the {horizon_days} days from {result.cutoff}"
        ),
        right=[1, 2, 3],
    )
    speed = result.speed
    console.print_table(
        ["scorer", "rows a second", "times"],
        [
            [f"fastprop, {speed.threads} threads", f"{speed.fastprop:,.0f}", f"{speed.ratio:,.0f}"],
            ["MXNet Module, one record a call", f"{speed.naive:,.1f}", "1"],
        ],
        title=f"Throughput on this checkpoint, medians of {speed.turns} turns",
        right=[1, 2],
    )
    console.print_text(
        f"model: {result.model_directory}\n"
        f"top 20 of {result.customers:,} customers: {result.scores} "
        f"({result.scored_rows_per_second:,.0f} customers a second, written)\n"
        f"all in {console.format_seconds(result.seconds)}"
    )

"""`fastprop features`: transactions to sparse feature vectors and labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastprop.cli.number import NUMBER
from fastprop.cli.path import PathType

if TYPE_CHECKING:
    from fastprop.features.build import BuildReport

__all__ = ["command"]

_EPILOG = """
\b
Examples:
  fastprop features lines.parquet --output training/ --category-column department
  fastprop features today.parquet --output daily/ --dictionary training/dictionary.json
  fastprop features online_retail.parquet --output training/ --customer-column CustomerID \\
      --item-column StockCode --time-column InvoiceDate --quantity-column Quantity \\
      --price-column UnitPrice --order-column InvoiceNo --attribute-column Country
"""


@click.command(
    name="features",
    epilog=_EPILOG,
    help=(
        "Turn TRANSACTIONS (Parquet or CSV files of timestamped purchase lines) into rows.\n\n"
        "Without --dictionary, rows for training: features of what came before some cut-offs, "
        "labels of what was bought in the days after them, in OUTPUT/rows.parquet, and the "
        "meaning of every column in OUTPUT/dictionary.json.\n\n"
        "With --dictionary, rows for scoring: the same features of new transactions, without "
        "labels."
    ),
)
@click.argument(
    "transactions",
    nargs=-1,
    required=True,
    type=PathType(exists=True, dir_okay=False),
)
@click.option(
    "--output",
    required=True,
    type=PathType(file_okay=False),
    help="Folder for the rows.",
)
@click.option(
    "--dictionary",
    type=PathType(exists=True, dir_okay=False),
    help="Apply this saved dictionary.",
)
@click.option("--customer-column", default="customer_id", show_default=True)
@click.option("--item-column", default="item", show_default=True)
@click.option("--time-column", default="time", show_default=True)
@click.option("--category-column", help="Group of an item.")
@click.option("--quantity-column", help="Negative for a cancellation.")
@click.option("--price-column")
@click.option("--order-column", help="Beginning with C for a cancellation.")
@click.option(
    "--attribute-column",
    "attribute_columns",
    multiple=True,
    help="Describes the customer; may be repeated.",
)
@click.option(
    "--cutoff",
    help="Last cut-off, such as 2011-11-12; by default as late as the data allow.",
)
@click.option(
    "--label-level", type=click.Choice(["item", "category"]), default="item", show_default=True
)
@click.option(
    "--horizon-days",
    type=click.IntRange(min=1),
    default=28,
    show_default=True,
    help="Length of a label period.",
)
@click.option("--max-labels", type=click.IntRange(min=1), default=1500, show_default=True)
@click.option(
    "--min-label-customers",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="What fewer customers bought is no label.",
)
@click.option(
    "--cutoffs",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Number of cut-offs; each gives a row a customer.",
)
@click.option(
    "--step-days",
    type=click.IntRange(min=1),
    default=28,
    show_default=True,
    help="Days between cut-offs.",
)
@click.option(
    "--half-life-days",
    "half_lives",
    type=NUMBER,
    multiple=True,
    default=(30.0, 120.0),
    show_default=True,
    help="Of recency-weighted counts; may be repeated.",
)
@click.option(
    "--window-days",
    "windows",
    type=click.IntRange(min=1),
    multiple=True,
    default=(28, 84, 365),
    show_default=True,
    help="End of a window of counts; may be repeated.",
)
@click.option(
    "--min-customers",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Items of fewer customers get no features.",
)
@click.option(
    "--hash-width",
    type=click.IntRange(min=1),
    help="Hash items and categories into so many columns.",
)
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    help="Work on so many parts of the customers, one at a time; by default one for each "
    "4,000,000 lines.",
)
def command(
    transactions: tuple[Path, ...],
    output: Path,
    dictionary: Path | None,
    customer_column: str,
    item_column: str,
    time_column: str,
    category_column: str | None,
    quantity_column: str | None,
    price_column: str | None,
    order_column: str | None,
    attribute_columns: tuple[str, ...],
    cutoff: str | None,
    label_level: str,
    horizon_days: int,
    max_labels: int,
    min_label_customers: int,
    cutoffs: int,
    step_days: int,
    half_lives: tuple[float, ...],
    windows: tuple[int, ...],
    min_customers: int,
    hash_width: int | None,
    partitions: int | None,
) -> None:
    """Make rows."""
    from fastprop.cli import console
    from fastprop.features import (
        FeatureDictionary,
        FeatureSettings,
        LabelSettings,
        TransactionColumns,
        build_scoring_file,
        build_training_files,
    )

    columns = TransactionColumns(
        customer=customer_column,
        item=item_column,
        time=time_column,
        category=category_column,
        quantity=quantity_column,
        price=price_column,
        order=order_column,
        attributes=attribute_columns,
    )
    with console.progress("reading transactions", unit="partitions") as bar:

        def tell(description: str, done: int, total: int) -> None:
            bar.update(done, total=total, description=description)

        if dictionary is not None:
            report = build_scoring_file(
                transactions,
                output,
                FeatureDictionary.load(dictionary),
                columns=columns,
                cutoff=cutoff,
                partitions=partitions,
                progress=tell,
            )
        else:
            _, report = build_training_files(
                transactions,
                output,
                columns=columns,
                features=FeatureSettings(
                    half_lives_days=half_lives,
                    windows_days=windows,
                    min_customers=min_customers,
                    hash_width=hash_width,
                ),
                labels=LabelSettings(
                    level=label_level,
                    horizon_days=horizon_days,
                    max_labels=max_labels,
                    min_customers=min_label_customers,
                    cutoffs=cutoffs,
                    step_days=step_days,
                ),
                last_cutoff=cutoff,
                partitions=partitions,
                progress=tell,
            )
    _show(report, output, training=dictionary is None)


def _show(report: BuildReport, output: Path, *, training: bool) -> None:
    from fastprop.cli import console

    read, extract = report.read, report.extract
    lines: list[tuple[str, Any]] = [
        ("lines read", read.lines),
        ("  purchases", read.purchases),
        ("  without a customer", read.without_customer),
        ("  without an item or a time", read.without_item_or_time),
        ("  cancellations", read.cancellations),
        ("  without a price or quantity", read.unpriced),
        ("cut-offs", ", ".join(report.cutoffs)),
        ("rows", report.rows),
        ("features", report.n_features),
        ("labels", report.n_labels),
    ]
    if training:
        lines.append(("labels that are true", report.positives))
    lines += [
        ("items without a feature", len(extract.unseen_items)),
        ("  lines that name them", extract.unseen_item_lines),
        ("customers with an unknown attribute", extract.unseen_attribute_values),
    ]
    console.print_table(
        ["", "count"],
        [(name, f"{value:,}" if isinstance(value, int) else value) for name, value in lines],
        right=[1],
    )
    files = [output / "rows.parquet"] + ([output / "dictionary.json"] if training else [])
    console.print_text("written: " + ", ".join(map(str, files)))

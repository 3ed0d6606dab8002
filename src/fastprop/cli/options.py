"""Options that several commands have, each group of them one argument of the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import click

from fastprop.cli.checkpoints import ModelChoice

__all__ = ["RowColumns", "model_options", "row_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class RowColumns:
    """Of which format input files are, and in which of their columns rows are."""

    input_format: str | None
    id_column: str
    indices_column: str | None
    values_column: str | None
    features_column: str | None

    @property
    def names(self) -> dict[str, Any]:
        """The columns, as `ReadOptions` and `ScoreOptions` call them."""
        lists = (self.indices_column, self.values_column)
        if lists != (None, None):
            lists = (self.indices_column or "indices", self.values_column or "values")
        return {
            "id_column": self.id_column,
            "indices_column": lists[0],
            "values_column": lists[1],
            "features_column": self.features_column,
        }


def packed(argument: str, pack: Callable[..., Any], *options: Any) -> Callable[[Command], Command]:
    """Make what adds options to a command, which is given them as one argument."""

    def add(command: Command) -> Command:
        @wraps(command)
        def call(*arguments: Any, **values: Any) -> Any:
            own = {name: values.pop(name) for name in names}
            return command(*arguments, **values, **{argument: pack(**own)})

        decorated: Any = call
        for option in reversed(options):
            decorated = option(decorated)
        names = [parameter.name for parameter in decorated.__click_params__[-len(options) :]]
        return cast(Command, decorated)

    return add


def row_columns(**values: Any) -> RowColumns:
    lists = values["indices_column"], values["values_column"]
    if values["features_column"] is not None and lists != (None, None):
        raise click.UsageError(
            "--features-column does not go with --indices-column and --values-column",
            click.get_current_context(),
        )
    return RowColumns(**values)


def read_positive_index(
    context: click.Context, parameter: click.Parameter, text: str
) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or len(text) > 9:
        raise click.BadParameter(f"{text!r} is neither a number nor 'all'", context, parameter)
    return int(text)


model_options = packed(
    "choice",
    ModelChoice,
    click.option("--name", metavar="NAME", help="Which model; by default the only one there."),
    click.option("--epoch", type=click.IntRange(min=0), metavar="N", help="By default the latest."),
    click.option(
        "--positive-index",
        metavar="I|all",
        default="0",
        show_default=True,
        callback=read_positive_index,
        help="Column of a two-class head that is its score; 'all' gives every class its label.",
    ),
)
row_options = packed(
    "columns",
    row_columns,
    click.option(
        "--input-format",
        type=click.Choice(["parquet", "arrow", "jsonl", "svmlight", "npz"]),
        help="Of all inputs; by default that of each one's extension.",
    ),
    click.option("--id-column", default="customer_id", show_default=True, metavar="NAME"),
    click.option(
        "--indices-column", metavar="NAME", help="List of column numbers.  [default: indices]"
    ),
    click.option("--values-column", metavar="NAME", help="List of values.  [default: values]"),
    click.option(
        "--features-column",
        metavar="NAME",
        help="Struct, map or vector; taken where there are no two list columns.  "
        "[default: features]",
    ),
)

"""Columns of a Parquet or Arrow file: which are needed, and batches out of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fastprop.errors import InvalidInputError
from fastprop.io.arrow import feature_columns
from fastprop.io.batches import Place, ReadOptions, RowBatch, checked_batch, plain_ids
from fastprop.io.routing import RoutedBatch, routed_batch

__all__ = ["Columns", "column_batches", "needed_columns"]


@dataclass(frozen=True)
class Columns:
    """The columns of a file that are read.

    Parameters
    ----------
    id : str
    features : tuple of str
        One, or indices and values.
    model : str or None
        Names each row's model.
    kept : tuple of str
        Go to the output.
    id_type : pyarrow.DataType
    kept_types : tuple of pyarrow.DataType
        In which ids and kept columns are given.
    """

    id: str
    features: tuple[str, ...]
    model: str | None
    kept: tuple[str, ...]
    id_type: Any
    kept_types: tuple[Any, ...]

    @property
    def names(self) -> list[str]:
        """Every column once."""
        model = () if self.model is None else (self.model,)
        return list(dict.fromkeys([self.id, *self.features, *model, *self.kept]))


def needed_columns(schema: Any, options: ReadOptions, name: str) -> Columns:
    """Choose the columns to read.

    Raises
    ------
    InvalidInputError
        If one is missing; names the file and the columns that there are.
    """
    route = options.route
    wanted = [(options.id_column, "the id", "")]
    if route is not None:
        wanted.append((route.column, "the model", f", and no folder {route.column}=…"))
    wanted += [(column, "the output", f", and no folder {column}=…") for column in options.keep]
    for column, purpose, further in wanted:
        count = schema.names.count(column)
        if count != 1:
            problem = "more than one column" if count else "no column"
            raise InvalidInputError(
                f"{name}: {problem} {column!r} for {purpose}{'' if count else further} "
                f"(there are: {', '.join(schema.names)})"
            )
    try:
        features = feature_columns(
            schema,
            features_column=options.features_column,
            indices_column=options.indices_column,
            values_column=options.values_column,
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"{name}: {error}") from error
    return Columns(
        id=options.id_column,
        features=features,
        model=None if route is None else route.column,
        kept=options.keep,
        id_type=_plain_type(schema.field(options.id_column).type),
        kept_types=tuple(_plain_type(schema.field(column).type) for column in options.keep),
    )


def _plain_type(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def column_batches(
    batch: Any, columns: Columns, first: int, name: str, options: ReadOptions
) -> Iterator[RowBatch | RoutedBatch]:
    """Cut a record batch into row batches of at most `options.batch_rows` rows, borrowing it."""
    for start in range(0, batch.num_rows, options.batch_rows):
        piece = batch.slice(start, options.batch_rows)
        place = Place(name, "row", first + start)
        ids, *kept = (plain_ids(piece.column(each)) for each in (columns.id, *columns.kept))
        data = pa.RecordBatch.from_arrays(
            [piece.column(column) for column in columns.features], names=columns.features
        )
        if columns.model is None:
            yield checked_batch(ids, data, place, options, tuple(kept))
        else:
            models = plain_ids(piece.column(columns.model))
            yield routed_batch(ids, data, models, place, options, tuple(kept))

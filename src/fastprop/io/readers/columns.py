"""Columns of a Parquet or Arrow file: which are needed, and batches out of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from fastprop.errors import InvalidInputError
from fastprop.io.arrow import feature_columns
from fastprop.io.batches import Place, ReadOptions, RowBatch, checked_batch, plain_ids
from fastprop.io.routing import RoutedBatch, routed_batch

__all__ = ["column_batches", "id_type_of", "needed_columns"]


def needed_columns(schema: Any, options: ReadOptions, name: str) -> list[str]:
    """Choose the columns to read: the id, those that hold the rows, and that of the model's name.

    Raises
    ------
    InvalidInputError
        If one is missing; names the file and the columns that there are.
    """
    if schema.names.count(options.id_column) != 1:
        raise InvalidInputError(
            f"{name}: no column {options.id_column!r} for the id "
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
    columns = [options.id_column, *features]
    if options.route is not None:
        column = options.route.column
        if schema.names.count(column) != 1:
            raise InvalidInputError(
                f"{name}: no column {column!r} for the model, and no folder {column}=… "
                f"(there are: {', '.join(schema.names)})"
            )
        columns.append(column)
    return columns


def id_type_of(schema: Any, options: ReadOptions) -> Any:
    """Return the type in which the ids of a file are given."""
    kind = schema.field(options.id_column).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def column_batches(
    batch: Any, columns: list[str], first: int, name: str, options: ReadOptions
) -> Iterator[RowBatch | RoutedBatch]:
    """Cut a record batch into row batches of at most `options.batch_rows` rows, borrowing it."""
    for start in range(0, batch.num_rows, options.batch_rows):
        piece = batch.slice(start, options.batch_rows)
        ids = plain_ids(piece.column(columns[0]))
        place = Place(name, "row", first + start)
        features = columns[1:] if options.route is None else columns[1:-1]
        data = pa.RecordBatch.from_arrays(
            [piece.column(column) for column in features], names=features
        )
        if options.route is None:
            yield checked_batch(ids, data, place, options)
        else:
            models = plain_ids(piece.column(columns[-1]))
            yield routed_batch(ids, data, models, place, options)

"""Features on Spark: for each customer the very vector that `fastprop.features` gives."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, types

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.features.dictionary import FeatureDictionary
from fastprop.features.extract import microseconds
from fastprop.features.settings import TransactionColumns
from fastprop.spark.bootstrap import on_workers
from fastprop.spark.schema import column_of, field_type
from fastprop.spark.shipping import wheels_of

__all__ = ["build_features"]

_DAY = 86_400_000_000
_INTEGERS = (types.IntegerType, types.LongType, types.ShortType, types.ByteType)
_REALS = (types.FloatType, types.DoubleType)  # integers with nulls, as other tools write them


def build_features(
    transactions: DataFrame,
    dictionary: FeatureDictionary | str | os.PathLike[str],
    *,
    columns: TransactionColumns | None = None,
    cutoff: np.datetime64 | str | None = None,
    partitions: int | None = None,
) -> DataFrame:
    """Make a feature vector for each customer with a purchase before the cut-off.

    Parameters
    ----------
    transactions : DataFrame
        A line a row.
    dictionary : FeatureDictionary or path
        The one that the model was trained with; a path is of this machine.
    columns : TransactionColumns, optional
        What each column is.
    cutoff : datetime64 or str, optional
        Nothing at or after it is looked at; by default the midnight that ends the day of the last
        purchase, which takes a job of its own to find.
    partitions : int, optional
        Into how many parts the customers are cut; by default `spark.sql.shuffle.partitions`. A
        worker holds the lines of one part: a few million are well.

    Returns
    -------
    DataFrame
        `customer_id` (bigint or string), `indices array<int>`, `values array<float>`: what
        `PropensityModel` takes as `indicesCol` and `valuesCol`.

    Raises
    ------
    InvalidInputError
        A column is missing, or there is no purchase.
    """
    columns = columns or TransactionColumns()
    if not isinstance(dictionary, FeatureDictionary):
        dictionary = FeatureDictionary.load(dictionary)
    for name in columns.names:
        field_type(transactions.schema, name, "transactions")
    id_type = _id_type(field_type(transactions.schema, columns.customer, "transactions"), columns)
    known = column_of(transactions, columns.customer).isNotNull()
    lines = transactions.where(known).select(
        *[column_of(transactions, name) for name in columns.names]
    )
    archives = wheels_of(transactions.sparkSession)
    moment = _after_last(lines, columns, archives) if cutoff is None else microseconds(cutoff)
    customer = column_of(lines, columns.customer)
    together = (
        lines.repartition(customer)
        if partitions is None
        else lines.repartition(partitions, customer)
    )
    maker = on_workers(
        "fastprop.spark.features_worker",
        "make_rows",
        (dictionary, columns, moment),
        archives=archives,
    )
    schema = types.StructType(
        [
            types.StructField("customer_id", id_type),
            types.StructField("indices", types.ArrayType(types.IntegerType())),
            types.StructField("values", types.ArrayType(types.FloatType())),
        ]
    )
    return together.mapInArrow(maker, schema)


def _id_type(kind: types.DataType, columns: TransactionColumns) -> types.DataType:
    if isinstance(kind, types.StringType):
        return types.StringType()
    if isinstance(kind, (*_INTEGERS, *_REALS)):
        return types.LongType()
    raise DTypeError(
        f"column {columns.customer!r}: {kind.simpleString()}, and strings or integers are needed"
    )


def _after_last(lines: DataFrame, columns: TransactionColumns, archives: tuple[str, ...]) -> int:
    """The midnight that ends the day of the last purchase, in microseconds since 1970."""
    finder = on_workers(
        "fastprop.spark.features_worker", "last_purchase", columns, archives=archives
    )
    found: list[Any] = lines.mapInArrow(finder, "last long").collect()
    if not found:
        raise InvalidInputError("transactions: there is no purchase among the lines")
    last = max(int(row["last"]) for row in found)
    return -(-(last + 1) // _DAY) * _DAY

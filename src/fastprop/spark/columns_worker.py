"""What workers do for `propensity_udf`: columns in, a column out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa

from fastprop.errors import InvalidInputError
from fastprop.spark.task import Columns, ScoringTask
from fastprop.spark.worker import score_columns

__all__ = ["score_arrow", "score_pandas"]


def score_arrow(task: ScoringTask, *columns: Any) -> Any:
    """Score one column of rows, or indices and values, as Arrow arrays."""
    if len(columns) == 1:
        used = Columns(features="features")
    elif len(columns) == 2:
        used = Columns(indices="indices", values="values")
    else:
        raise InvalidInputError(f"{len(columns)} columns: one of rows is needed, or two arrays")
    batch = pa.RecordBatch.from_arrays(list(columns), names=list(used.of_rows))
    (scored,) = score_columns(replace(task, columns=used), batch)
    return scored


def score_pandas(task: ScoringTask, *columns: Any) -> Any:
    """Score columns as pandas has them: series of arrays, or a struct's as a data frame."""
    arrays = []
    for column in columns:
        if hasattr(column, "columns"):
            fields = [pa.Array.from_pandas(column[name]) for name in column.columns]
            arrays.append(pa.StructArray.from_arrays(fields, names=list(column.columns)))
        else:
            arrays.append(pa.Array.from_pandas(column))
    return score_arrow(task, *arrays).to_pandas()

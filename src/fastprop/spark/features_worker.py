"""What workers do for `build_features`: the lines of some customers to their rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from fastprop.features.build import scoring_rows
from fastprop.features.dictionary import FeatureDictionary
from fastprop.features.rows import rows_to_table
from fastprop.features.settings import TransactionColumns
from fastprop.features.transactions import Transactions

__all__ = ["last_purchase", "make_rows"]

_BATCH_ROWS = 4096


def make_rows(
    argument: tuple[FeatureDictionary, TransactionColumns, int], batches: Iterator[Any]
) -> Iterator[Any]:
    """Make the rows of a partition that holds every line of its customers."""
    dictionary, columns, cutoff = argument
    lines = [batch for batch in batches if batch.num_rows]
    if not lines:
        return
    transactions = Transactions.from_table(pa.Table.from_batches(lines), columns)
    rows, _ = scoring_rows(transactions, dictionary, cutoff=np.datetime64(cutoff, "us"))
    table = rows_to_table(rows).select(["customer_id", "indices", "values"])
    yield from table.to_batches(max_chunksize=_BATCH_ROWS)


def last_purchase(columns: TransactionColumns, batches: Iterator[Any]) -> Iterator[Any]:
    """Find the time of the last purchase, in microseconds; one row, or none without purchases."""
    latest: int | None = None
    for batch in batches:
        if batch.num_rows:
            time = Transactions.from_table(pa.Table.from_batches([batch]), columns).time
            if len(time):
                latest = max(int(time.max()), int(time.max()) if latest is None else latest)
    if latest is not None:
        yield pa.RecordBatch.from_arrays([pa.array([latest], pa.int64())], names=["last"])

"""Transactions larger than memory: cut by a hash of the customer into temporary Parquet files.

Every line of a customer is in one partition, so that each is worked on alone and exactly.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fastprop.checks import instance, whole_number
from fastprop.errors import InvalidInputError
from fastprop.features.files import data_paths, reading
from fastprop.features.hashing import hash_ids
from fastprop.features.settings import TransactionColumns
from fastprop.features.transactions import Transactions, concatenate_batches, read_batches

__all__ = ["PARTITION_LINES", "TransactionFiles"]

PARTITION_LINES = 4_000_000
MOST_PARTITIONS = 1 << 20
_SEED = 7  # unlike that of any split, so that partitions and splits are independent


class TransactionFiles:
    """Transactions of some files, a partition of customers at a time; a context manager.

    Parameters
    ----------
    paths : sequence of paths
        Parquet or CSV files of the same columns.
    columns : TransactionColumns
        What each column is.
    partitions : int, optional
        Number of partitions. By default one for each 4,000,000 lines of the Parquet files; a
        single one is read straight from the files and kept in memory.
    temporary : path, optional
        Where the partitions are written for as long as the context lasts.

    Examples
    --------
    >>> with TransactionFiles(["lines.parquet"], TransactionColumns()) as files:  # doctest: +SKIP
    ...     for transactions in files:
    ...         print(transactions.report)
    """

    def __init__(
        self,
        paths: Sequence[str | PathLike[str]],
        columns: TransactionColumns,
        *,
        partitions: int | None = None,
        temporary: str | PathLike[str] | None = None,
    ) -> None:
        if partitions is not None:
            partitions = whole_number("partitions", partitions, MOST_PARTITIONS)
        self._paths = data_paths("paths", paths)
        self._columns = instance("columns", columns, TransactionColumns)
        self._partitions = partitions
        self._parent = temporary
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._only: Transactions | None = None

    def __enter__(self) -> TransactionFiles:
        """Read or partition the files."""
        count = self._partitions or -(-self._count_lines() // PARTITION_LINES) or 1
        batches = read_batches(self._paths, self._columns)
        if count == 1:
            self._only = concatenate_batches(batches, self._columns)
        else:
            self._directory = tempfile.TemporaryDirectory(prefix="fastprop-", dir=self._parent)
            try:
                self._write_partitions(batches, Path(self._directory.name), count)
            except BaseException:
                self._directory.cleanup()
                raise
        self._partitions = count
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the temporary files."""
        self._only = None
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def __len__(self) -> int:
        """Return the number of partitions."""
        return self._partitions or 0

    def __iter__(self) -> Iterator[Transactions]:
        """Give the transactions of each partition that has a line, always in the same order."""
        if self._only is not None:
            yield self._only
        elif self._directory is not None:
            for path in sorted(Path(self._directory.name).iterdir()):
                yield Transactions.from_table(pq.read_table(path), self._columns)
        else:
            raise InvalidInputError("TransactionFiles: used outside its `with` block")

    def _count_lines(self) -> int:
        lines = 0
        for path in self._paths:
            if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
                with reading(path):
                    lines += pq.read_metadata(path).num_rows
        return lines

    def _write_partitions(self, batches: Iterator[Any], directory: Path, count: int) -> None:
        writers: dict[int, Any] = {}
        try:
            for batch in batches:
                named = batch.column(self._columns.customer)
                # Lines without a customer only have to be counted: any partition will do.
                present = pc.is_valid(named).to_numpy()
                part = np.zeros(len(batch), np.int64)
                hashed = hash_ids(_hashable(named.drop_null()), seed=_SEED)
                part[present] = (hashed % np.uint64(count)).astype(np.int64)
                for number in np.unique(part):
                    if number not in writers:
                        path = directory / f"part-{number:05d}.parquet"
                        writers[number] = pq.ParquetWriter(path, batch.schema)
                    lines = batch.filter(pa.array(part == number))
                    writers[number].write_table(lines.cast(writers[number].schema))
        finally:
            for writer in writers.values():
                writer.close()


def _hashable(column: Any) -> Any:
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return pc.cast(column, pa.int64())
    return pc.cast(column, pa.string())

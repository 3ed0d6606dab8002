"""Parquet: row groups are the unit; pages are read through a small buffer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from fastprop.io.batches import ReadOptions, RowBatch
from fastprop.io.files import InputFile
from fastprop.io.readers.base import Slice, reading
from fastprop.io.readers.columns import column_batches, needed_columns
from fastprop.io.routing import RoutedBatch

__all__ = ["ParquetReader"]

# Memory is a buffer and a page a column, however large the row groups are. Remote files pay a
# round trip a buffer, so theirs is larger. The file is not mapped: mapped pages would count as
# the process's memory.
_LOCAL_BUFFER = 1 << 20
_REMOTE_BUFFER = 8 << 20


class ParquetReader:
    """A Parquet file with an id column and columns of sparse rows.

    Parameters
    ----------
    file : InputFile
    options : ReadOptions
    """

    notes: tuple[str, ...] = ()

    def __init__(self, file: InputFile, options: ReadOptions) -> None:
        self._file = file
        self._options = options
        with reading(file.name), self._open() as parquet:
            schema = parquet.schema_arrow
            self._columns = needed_columns(schema, options, file.name)
            metadata = parquet.metadata
            self._rows = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]

    @property
    def id_type(self) -> Any:
        """The Arrow type of the ids."""
        return self._columns.id_type

    @property
    def kept_types(self) -> tuple[Any, ...]:
        """The Arrow types of the columns that are kept."""
        return self._columns.kept_types

    def slices(self) -> list[Slice]:
        """Return a slice a row group."""
        slices, first = [], 0
        for number, rows in enumerate(self._rows):
            slices.append(Slice(number, number + 1, rows, first))
            first += rows
        return slices

    def read(self, part: Slice) -> Iterator[RowBatch | RoutedBatch]:
        """Read the row groups of a slice in order."""
        first = part.first
        with reading(self._file.name), self._open() as parquet:
            batches = parquet.iter_batches(
                batch_size=self._options.batch_rows,
                row_groups=list(range(part.start, part.stop)),
                columns=self._columns.names,
                use_threads=False,
            )
            for batch in batches:
                yield from column_batches(
                    batch, self._columns, first, self._file.name, self._options
                )
                first += batch.num_rows

    def _open(self) -> Any:
        location = self._file.location
        source = location.filesystem.open_input_file(location.path)
        return pq.ParquetFile(
            source,
            pre_buffer=False,
            buffer_size=_LOCAL_BUFFER if location.is_local else _REMOTE_BUFFER,
        )

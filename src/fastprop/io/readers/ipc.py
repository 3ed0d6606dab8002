"""Arrow IPC: the file format by record batches, the stream format from its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from fastprop.io.batches import ReadOptions, RowBatch
from fastprop.io.files import InputFile
from fastprop.io.readers.base import Slice, reading
from fastprop.io.readers.columns import column_batches, needed_columns
from fastprop.io.routing import RoutedBatch

__all__ = ["IpcReader"]

_FILE_MAGIC = b"ARROW1"


class IpcReader:
    """An Arrow IPC file or stream, told apart by the first bytes; memory is one record batch.

    Parameters
    ----------
    file : InputFile
    options : ReadOptions
    """

    notes: tuple[str, ...] = ()

    def __init__(self, file: InputFile, options: ReadOptions) -> None:
        self._file = file
        self._options = options
        with reading(file.name):
            with self._open() as source:
                self._is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            with self._open() as source, self._reader(source) as reader:
                schema = reader.schema
                self._columns = needed_columns(schema, options, file.name)

    @property
    def id_type(self) -> Any:
        """The Arrow type of the ids."""
        return self._columns.id_type

    @property
    def kept_types(self) -> tuple[Any, ...]:
        """The Arrow types of the columns that are kept."""
        return self._columns.kept_types

    def slices(self) -> list[Slice]:
        """Return a slice a record batch, or the whole stream as one."""
        if not self._is_file:
            return [Slice(0, 1, None, 0)]
        slices, first = [], 0
        with reading(self._file.name), self._open() as source:
            # Only the ids are loaded to learn the number of rows.
            with self._reader(source) as whole:
                number = whole.schema.get_field_index(self._options.id_column)
            options = pa.ipc.IpcReadOptions(included_fields=[number])
            with pa.ipc.open_file(source, options=options) as reader:
                for batch in range(reader.num_record_batches):
                    rows = reader.get_batch(batch).num_rows
                    slices.append(Slice(batch, batch + 1, rows, first))
                    first += rows
        return slices

    def read(self, part: Slice) -> Iterator[RowBatch | RoutedBatch]:
        """Read the record batches of a slice in order."""
        first = part.first
        with reading(self._file.name), self._open() as source, self._reader(source) as reader:
            batches = (
                (reader.get_batch(number) for number in range(part.start, part.stop))
                if self._is_file
                else iter(reader)
            )
            for whole in batches:
                batch = whole.select(self._columns.names)
                batch.validate(full=True)
                yield from column_batches(
                    batch, self._columns, first, self._file.name, self._options
                )
                first += batch.num_rows

    def _open(self) -> Any:
        location = self._file.location
        return location.filesystem.open_input_file(location.path)

    def _reader(self, source: Any) -> Any:
        return pa.ipc.open_file(source) if self._is_file else pa.ipc.open_stream(source)

"""JSON lines: an id with `indices` and `values`, or with `features` by column number.

Blocks of lines of the first form go through Arrow's parser. What that refuses, and the second
form, goes line by line through `json`, which can say which line is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from fastprop.errors import InvalidInputError
from fastprop.io.batches import BadRow, Place, ReadOptions, RowBatch, checked_batch
from fastprop.io.files import InputFile
from fastprop.io.readers.base import Slice, reading
from fastprop.io.readers.text import Block, compression_of, read_blocks, scan
from fastprop.io.routing import RoutedBatch, routed_batch

__all__ = ["JsonLinesReader"]

_FALLBACK_ID = "customerId"
_PEEK_ROWS = 1000
_MODEL = "model"
_NAMES = ["indices", "values", _MODEL]
# Arrow's parser crashes where the first record is null (seen with pyarrow 25).
_FIRST_OBJECT = re.compile(rb"[ \t\r\n]*\{")


class _RecordError(Exception):
    """A line that is no record; carries the reason and, where it could be read, the id."""

    def __init__(self, reason: str, row_id: Any = None) -> None:
        super().__init__(reason)
        self.row_id = row_id


class JsonLinesReader:
    """A JSON lines file, plain or compressed.

    Parameters
    ----------
    file : InputFile
    options : ReadOptions
        `id_column` names the id's key (`customerId` is tried after it); the names of the other
        columns are the other keys.

    Notes
    -----
    The first record decides what the id's key is and whether ids are integers or strings.
    """

    notes: tuple[str, ...] = ()
    kept_types: tuple[Any, ...] = ()

    def __init__(self, file: InputFile, options: ReadOptions) -> None:
        self._file = file
        self._options = options
        self._indices = options.indices_column or "indices"
        self._values = options.values_column or "values"
        self._features = options.features_column or "features"
        self._named = replace(
            options, features_column=None, indices_column="indices", values_column="values"
        )
        with reading(file.name):
            self._id_key, self._id_type, self._is_flat = self._peek()

    @property
    def id_type(self) -> Any:
        """The Arrow type of the ids: int64 or string."""
        return self._id_type

    def slices(self) -> list[Slice]:
        """Return slices of some megabytes; a compressed file is one slice."""
        if compression_of(self._file.name) is not None:
            return [Slice(0, self._file.size, None, 0, 1)]
        with reading(self._file.name):
            return [part for part, _ in scan(self._file, comments=False)]

    def read(self, part: Slice) -> Iterator[RowBatch | RoutedBatch]:
        """Read the lines of a slice in order."""
        with reading(self._file.name):
            for block, _ in read_blocks(self._file, part, comments=False):
                ids, data, place, bad = self._parse(block)
                for start in range(0, max(len(ids), 1), self._options.batch_rows):
                    stop = start + self._options.batch_rows
                    assert place.numbers is not None
                    batch = self._batch(
                        ids[start:stop],
                        data.slice(start, self._options.batch_rows),
                        replace(place, numbers=place.numbers[start:stop]),
                    )
                    yield replace(batch, bad=batch.bad + bad)
                    bad = ()

    def _batch(self, ids: Any, data: Any, place: Place) -> RowBatch | RoutedBatch:
        if self._options.route is None:
            return checked_batch(ids, data, place, self._named)
        rows = data.select(["indices", "values"])
        return routed_batch(ids, rows, data.column(_MODEL), place, self._named)

    def _peek(self) -> tuple[str, Any, bool]:
        """Look for the first good record: the id's key and type, and the form of the rows."""
        start = Slice(0, self._file.size, None, 0, 1)
        for block, _ in read_blocks(self._file, start, comments=False):
            for row in range(min(block.lines.size, _PEEK_ROWS)):
                try:
                    record = _object(block.line(row))
                except _RecordError:
                    continue
                for key in (self._options.id_column, _FALLBACK_ID):
                    if type(record.get(key)) in (int, str):
                        kind = pa.int64() if isinstance(record[key], int) else pa.string()
                        return key, kind, self._indices in record
            break
        return self._options.id_column, pa.string(), True

    def _parse(self, block: Block) -> tuple[Any, Any, Place, tuple[BadRow, ...]]:
        parsed = self._parse_fast(block) if self._is_flat and block.lines.size else None
        if parsed is None:
            return self._parse_slowly(block)
        place = Place(self._file.name, "line", 0, block.lines)
        return parsed[0], parsed[1], place, ()

    def _parse_fast(self, block: Block) -> tuple[Any, Any] | None:
        if _FIRST_OBJECT.match(block.data) is None:
            return None
        fields = [
            (self._id_key, self._id_type),
            (self._indices, pa.list_(pa.int64())),
            (self._values, pa.list_(pa.float64())),
        ]
        route = self._options.route
        if route is not None:
            if route.column in (self._id_key, self._indices, self._values):
                return None
            fields.append((route.column, pa.string()))
        schema = pa.schema(fields)
        try:
            table = pyarrow.json.read_json(
                pa.BufferReader(block.data),
                read_options=pyarrow.json.ReadOptions(
                    use_threads=False, block_size=len(block.data) + 1
                ),
                parse_options=pyarrow.json.ParseOptions(
                    explicit_schema=schema, unexpected_field_behavior="ignore"
                ),
            )
        except pa.ArrowInvalid:
            return None
        columns = [table.column(name) for name in schema.names]
        # A missing key reads as null here: the slow way tells one from the other.
        if table.num_rows != block.lines.size or any(column.null_count for column in columns[:3]):
            return None
        ids, *data = (column.combine_chunks() for column in columns)
        if isinstance(ids, pa.ChunkedArray):
            return None
        return ids, pa.RecordBatch.from_arrays(data, names=_NAMES[: len(data)])

    def _parse_slowly(self, block: Block) -> tuple[Any, Any, Place, tuple[BadRow, ...]]:
        ids, indices, values, models, lines, bad = [], [], [], [], [], []
        for row, line in enumerate(block.lines.tolist()):
            try:
                row_id, columns, numbers, model = self._record(block.line(row))
            except _RecordError as error:
                if not self._options.collect_faults:
                    raise InvalidInputError(f"{self._file.name}, line {line}: {error}") from error
                bad.append(BadRow(error.row_id, self._file.name, "line", line, str(error)))
                continue
            ids.append(row_id)
            indices.append(columns)
            values.append(numbers)
            models.append(model)
            lines.append(line)
        arrays = [_join(indices, pa.int64()), _join(values, pa.float64())]
        if self._options.route is not None:
            arrays.append(pa.array(models, pa.string()))
        data = pa.RecordBatch.from_arrays(arrays, names=_NAMES[: len(arrays)])
        place = Place(self._file.name, "line", 0, np.array(lines, dtype=np.int64))
        return pa.array(ids, self._id_type), data, place, tuple(bad)

    def _record(self, text: bytes) -> tuple[Any, Any, Any, str | None]:
        record = _object(text)
        row_id = self._checked_id(record)
        model = self._model(record, row_id)
        features: Any = record
        if self._indices not in record and self._values not in record:
            if self._features not in record:
                raise _RecordError(
                    f"has neither {self._indices!r} and {self._values!r} nor {self._features!r}",
                    row_id,
                )
            features = record[self._features]
        if features is None:
            return row_id, None, None, model
        if not isinstance(features, dict):
            raise _RecordError(f"{self._features!r} is not an object", row_id)
        if self._indices in features or self._values in features:
            if not (self._indices in features and self._values in features):
                raise _RecordError(f"{self._indices!r} and {self._values!r} go together", row_id)
            columns, numbers = features[self._indices], features[self._values]
            if columns is None and numbers is None:
                return row_id, None, None, model
        else:
            columns, numbers = _by_column(features, row_id), list(features.values())
        return (
            row_id,
            _array(columns, pa.int64(), "indices", row_id),
            _array(numbers, pa.float64(), "values", row_id),
            model,
        )

    def _model(self, record: dict[str, Any], row_id: Any) -> str | None:
        """The name of the record's model, which may be a number; None where there is none."""
        if self._options.route is None:
            return None
        name = record.get(self._options.route.column)
        if name is None or type(name) in (int, str):
            return None if name is None else str(name)
        raise _RecordError(f"{self._options.route.column!r} is {name!r}, no model's name", row_id)

    def _checked_id(self, record: dict[str, Any]) -> Any:
        if self._id_key not in record:
            raise _RecordError(f"has no {self._id_key!r}")
        row_id = record[self._id_key]
        expected = int if self._id_type == pa.int64() else str
        if type(row_id) is not expected:
            raise _RecordError(
                f"{self._id_key!r} is {row_id!r}; the first record has "
                f"{'an integer' if expected is int else 'a string'} there",
                row_id,
            )
        if isinstance(row_id, int) and not -(1 << 63) <= row_id < 1 << 63:
            raise _RecordError(f"{self._id_key!r} does not fit 64 bits", row_id)
        return row_id


def _object(text: bytes) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _RecordError(f"is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise _RecordError("is not a JSON object")
    return record


def _by_column(features: dict[str, Any], row_id: Any) -> list[int]:
    for key in features:
        if not (key.isascii() and key.isdigit()):
            raise _RecordError(f"features: {key!r} is not a column number", row_id)
    return [int(key) for key in features]


def _array(items: Any, kind: Any, name: str, row_id: Any) -> Any:
    if not isinstance(items, list):
        raise _RecordError(f"{name} is not a list", row_id)
    if any(isinstance(item, bool) for item in items):
        raise _RecordError(f"{name}: true and false are not numbers", row_id)
    try:
        # Made without a type and then cast: given a type, Arrow would cut 1.5 down to 1.
        array = pa.array(items)
        if not (pa.types.is_null(array.type) or pa.types.is_primitive(array.type)):
            raise _RecordError(f"{name}: {array.type} elements are not numbers", row_id)
        return array.cast(kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _RecordError(f"{name}: {error}", row_id) from error


def _join(rows: list[Any], kind: Any) -> Any:
    """Join the rows' arrays, None for a null row, into one list array."""
    present = [row for row in rows if row is not None]
    child = pa.concat_arrays(present) if present else pa.array([], kind)
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([0 if row is None else len(row) for row in rows], out=offsets[1:])
    validity = None
    if len(present) < len(rows):
        validity = pa.array([row is not None for row in rows]).buffers()[1]
    return pa.Array.from_buffers(
        pa.large_list(kind), len(rows), [validity, pa.py_buffer(offsets)], children=[child]
    )

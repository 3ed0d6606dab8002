"""svmlight / LIBSVM text: `label column:value column:value … # comment` a line.

Labels and `qid:` are read over. A row's id is its number in the file, from 0, as no id is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from fastprop.errors import InvalidInputError
from fastprop.io.batches import BadRow, Place, ReadOptions, RowBatch, checked_batch
from fastprop.io.files import InputFile
from fastprop.io.readers.base import Slice, reading
from fastprop.io.readers.text import Block, compression_of, read_blocks, scan

__all__ = ["SvmlightReader"]

_TOO_LARGE = 1 << 62
_COMMENT = re.compile(rb"#[^\n]*")
_LABEL = re.compile(rb"^[ \t]*[^\s:]+(?=\s|\Z)", re.MULTILINE)
_QUERY = re.compile(rb"(?<=[ \t])qid:[^\s]*")
_COLUMN_0 = re.compile(rb"(?:^|[ \t])0:", re.MULTILINE)
_TO_CSV = bytes.maketrans(b" \t\r:", b"\n\n\n,")


class SvmlightReader:
    """An svmlight file, plain or compressed.

    Parameters
    ----------
    file : InputFile
    options : ReadOptions
        `svmlight_base` says whether its columns count from 0 or 1.
    """

    kept_types: tuple[Any, ...] = ()

    def __init__(self, file: InputFile, options: ReadOptions) -> None:
        self._file = file
        self._options = options
        self._notes: tuple[str, ...] = ()
        self._named = replace(
            options, features_column=None, indices_column="indices", values_column="values"
        )

    @property
    def id_type(self) -> Any:
        """The Arrow type of the ids: int64."""
        return pa.int64()

    @property
    def notes(self) -> tuple[str, ...]:
        """A warning where the columns seem to count from 1 but are read from 0."""
        return self._notes

    def slices(self) -> list[Slice]:
        """Return slices of some megabytes; a compressed file is one slice."""
        if compression_of(self._file.name) is not None:
            return [Slice(0, self._file.size, None, 0, 1)]
        slices, has_column_0 = [], False
        with reading(self._file.name):
            for part, block in scan(self._file, comments=True):
                slices.append(part)
                has_column_0 = has_column_0 or _COLUMN_0.search(block.data) is not None
        if slices and not has_column_0 and self._options.svmlight_base == 0:
            self._notes = (
                f"{self._file.name}: columns are counted from 0, and no row holds column 0; "
                "if the file counts them from 1, as LIBSVM does, set the svmlight base to 1",
            )
        return slices

    def read(self, part: Slice) -> Iterator[RowBatch]:
        """Read the lines of a slice in order."""
        with reading(self._file.name):
            for block, first in read_blocks(self._file, part, comments=True):
                ids, data, lines, bad = self._parse(block, first)
                for start in range(0, max(ids.size, 1), self._options.batch_rows):
                    stop = start + self._options.batch_rows
                    batch = checked_batch(
                        pa.array(ids[start:stop]),
                        data.slice(start, self._options.batch_rows),
                        Place(self._file.name, "line", 0, lines[start:stop]),
                        self._named,
                    )
                    yield replace(batch, bad=batch.bad + bad)
                    bad = ()

    def _parse(
        self, block: Block, first: int
    ) -> tuple[npt.NDArray[np.int64], Any, npt.NDArray[np.int64], tuple[BadRow, ...]]:
        ids = np.arange(first, first + block.lines.size)
        data = self._parse_fast(block)
        if data is not None:
            return ids, data, block.lines, ()
        keep = np.ones(ids.size, dtype=bool)
        columns, values, lengths, bad = [], [], [], []
        for row, line in enumerate(block.lines.tolist()):
            try:
                row_columns, row_values = self._row(block.line(row))
            except ValueError as error:
                if not self._options.collect_faults:
                    raise InvalidInputError(f"{self._file.name}, line {line}: {error}") from error
                bad.append(BadRow(int(ids[row]), self._file.name, "line", line, str(error)))
                keep[row] = False
                continue
            columns.extend(row_columns)
            values.extend(row_values)
            lengths.append(len(row_columns))
        data = _record_batch(
            np.array(lengths, dtype=np.int64),
            pa.array(columns, pa.int64()),
            pa.array(values, pa.float64()),
        )
        return ids[keep], data, block.lines[keep], tuple(bad)

    def _parse_fast(self, block: Block) -> Any | None:
        """Let Arrow's CSV parser read the pairs of all lines as two columns."""
        text = block.data
        if b"#" in text:
            text = _COMMENT.sub(b"", text)
        text = _LABEL.sub(b"", text)
        if b"qid:" in text:
            text = _QUERY.sub(b"", text)
        # Line ends stay as they are, so lines of the shortened text are those of the block.
        ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
        colons = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord(":"))
        if b"," in text:
            return None
        per_line = np.diff(np.searchsorted(colons, ends), prepend=0)
        if ends.size < block.n_lines:
            per_line = np.append(per_line, colons.size - int(per_line.sum()))
        lengths = per_line[block.lines - block.first_line]
        if int(lengths.sum()) != colons.size:
            return None
        columns, values = pa.array([], pa.int64()), pa.array([], pa.float32())
        if colons.size:
            pairs = _read_pairs(text.translate(_TO_CSV))
            if pairs is None or len(pairs[0]) != colons.size:
                return None
            columns, values = pairs
        elif text.strip():
            return None
        base = self._options.svmlight_base
        if base:
            numbers = columns.to_numpy() - base
            if numbers.size and int(numbers.min()) < 0:
                return None
            columns = pa.array(numbers)
        return _record_batch(lengths, columns, values)

    def _row(self, text: bytes) -> tuple[list[int], list[float]]:
        columns, values = [], []
        for number, token in enumerate(text.partition(b"#")[0].split()):
            column, colon, value = token.partition(b":")
            if not colon and number == 0:
                continue
            if column == b"qid":
                continue
            try:
                columns.append(int(column) - self._options.svmlight_base)
                values.append(float(value))
            except ValueError:
                shown = token.decode("utf-8", "replace")
                raise ValueError(f"{shown!r} is not column:value") from None
            if not 0 <= columns[-1] < _TOO_LARGE:
                raise ValueError(
                    f"column {int(column)}, where columns are counted from "
                    f"{self._options.svmlight_base}"
                )
        return columns, values


def _read_pairs(text: bytes) -> tuple[Any, Any] | None:
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(text),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, column_names=["column", "value"], block_size=len(text) + 1
            ),
            parse_options=pyarrow.csv.ParseOptions(quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={"column": pa.int64(), "value": pa.float32()}, null_values=[]
            ),
        )
    except pa.ArrowInvalid:
        return None
    columns, values = (column.combine_chunks() for column in table.columns)
    return columns, values


def _record_batch(lengths: npt.NDArray[np.int64], columns: Any, values: Any) -> Any:
    offsets = np.zeros(lengths.size + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    shared = pa.py_buffer(offsets)
    arrays = [
        pa.Array.from_buffers(
            pa.large_list(child.type), lengths.size, [None, shared], children=[child]
        )
        for child in (columns, values)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=["indices", "values"])

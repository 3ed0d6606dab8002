"""What readers give to the scoring pipeline: a batch of rows, their ids and where they are from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastprop.errors import InvalidInputError
from fastprop.io.arrow import ArrowRows, arrow_faults, arrow_rows
from fastprop.io.faults import RowFault, take_rows

if TYPE_CHECKING:
    from fastprop.io.routing import Route

__all__ = [
    "BadRow",
    "Place",
    "ReadOptions",
    "RowBatch",
    "bad_rows",
    "checked_batch",
    "default_batch_rows",
    "located",
    "plain_ids",
]


_BATCH_ROWS = 8192
_BATCH_SCORES = 12 << 20  # scores of a batch where all are kept: 48 MiB
_BATCH_STEP = 1024


def default_batch_rows(n_labels: int, *, ranked: bool) -> int:
    """Rows that are scored at once where nobody says: fewer where all scores of many are kept."""
    if ranked:
        return _BATCH_ROWS
    rows = min(_BATCH_ROWS, _BATCH_SCORES // max(n_labels, 1))
    return max(rows // _BATCH_STEP * _BATCH_STEP, 256)


@dataclass(frozen=True)
class ReadOptions:
    """How rows are read; the same for all files of a run.

    Parameters
    ----------
    n_features : int
        Number of columns of the model.
    id_column : str
        The column, or the key, that names a row.
    features_column, indices_column, values_column : str, optional
        The columns that hold a row, as for `fastprop.io.arrow.arrow_rows`.
    batch_rows : int
        Most rows a batch.
    collect_faults : bool
        Report faulty rows in `RowBatch.bad` and go on, where it is possible to go on, instead of
        raising the first.
    svmlight_base : int
        The number of the first column in svmlight files, 0 or 1.
    keep_null_rows : bool
        Null rows have a null result; else they are faulty.
    keep : tuple of str
        Further columns that go to the output, from the files or from their folders' names.
    route : Route, optional
        Rows go to several models, whose numbers of columns it holds; then readers give
        `RoutedBatch`.
    """

    n_features: int
    id_column: str = "customer_id"
    features_column: str | None = None
    indices_column: str | None = None
    values_column: str | None = None
    batch_rows: int = 8192
    collect_faults: bool = False
    svmlight_base: int = 0
    keep_null_rows: bool = True
    keep: tuple[str, ...] = ()
    route: Route | None = None


@dataclass(frozen=True, eq=False)
class Place:
    """Where the rows of a batch are from.

    Parameters
    ----------
    file : str
        The file's name as it was given or found.
    unit : {"row", "line"}
        What is counted: rows from 0, lines from 1.
    first : int
        Number of the batch's first row.
    numbers : ndarray of int64, shape (n_rows,), optional
        Number of every row, where they do not follow each other.
    """

    file: str
    unit: str
    first: int
    numbers: npt.NDArray[np.int64] | None = None

    def number(self, row: int) -> int:
        """Return the number in the file of a row of the batch."""
        return self.first + row if self.numbers is None else int(self.numbers[row])

    def all_numbers(self, n_rows: int) -> npt.NDArray[np.int64]:
        """Return the numbers in the file of all rows of the batch."""
        if self.numbers is not None:
            return self.numbers
        return np.arange(self.first, self.first + n_rows)

    def text(self, row: int) -> str:
        """Name a row of the batch: `customers.parquet, row 17`."""
        return f"{self.file}, {self.unit} {self.number(row)}"

    def select(self, keep: npt.NDArray[np.bool_]) -> Place:
        """Return the place of the rows that a mask keeps."""
        return replace(self, numbers=self.all_numbers(keep.size)[keep])


@dataclass(frozen=True)
class BadRow:
    """A row that is left out of the results.

    Parameters
    ----------
    id : object
        Its id, or None where that could not be read.
    file, unit, number
        Its place, as in `Place`.
    reason : str
        What is wrong with it.
    """

    id: Any
    file: str
    unit: str
    number: int
    reason: str


@dataclass(frozen=True, eq=False)
class RowBatch:
    """Rows in the order of the file.

    Parameters
    ----------
    ids : pyarrow.Array, shape (n_rows,)
        Ids of the rows.
    rows : ArrowRows
        The rows themselves.
    place : Place
        Where they are from.
    bad : tuple of BadRow
        Rows of the same stretch of the file that could not be read, and are not in `rows`.
    kept : tuple of pyarrow.Array, each of shape (n_rows,)
        Columns that go to the output.
    """

    ids: Any
    rows: ArrowRows
    place: Place
    bad: tuple[BadRow, ...] = ()
    kept: tuple[Any, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows that can be scored."""
        return len(self.ids)

    def without(self, faults: list[RowFault]) -> RowBatch:
        """Copy the batch without its faulty rows, which go to `bad`."""
        keep = np.ones(self.n_rows, dtype=bool)
        keep[[fault.row for fault in faults]] = False
        nulls, mask = self.rows.null_rows, pa.array(keep)
        return RowBatch(
            ids=self.ids.filter(mask),
            rows=ArrowRows(
                csr=take_rows(self.rows.csr, keep),
                null_rows=None if nulls is None else nulls[keep],
                elements_copied=self.rows.elements_copied,
            ),
            place=self.place.select(keep),
            bad=self.bad + bad_rows(faults, self.ids, self.place),
            kept=tuple(column.filter(mask) for column in self.kept),
        )


def bad_rows(faults: list[RowFault], ids: Any, place: Place) -> tuple[BadRow, ...]:
    """Describe faulty rows of a batch by id and place."""
    return tuple(
        BadRow(
            id=ids[fault.row].as_py(),
            file=place.file,
            unit=place.unit,
            number=place.number(fault.row),
            reason=fault.reason,
        )
        for fault in faults
    )


def checked_batch(
    ids: Any, data: Any, place: Place, options: ReadOptions, kept: tuple[Any, ...] = ()
) -> RowBatch:
    """Make a batch of a record batch, raising or collecting the faults in its structure.

    These are what `arrow_rows` refuses, and null rows where they count as bad.

    Parameters
    ----------
    ids : pyarrow.Array
        Ids of the rows.
    data : pyarrow.RecordBatch
        The columns that hold the rows.
    place : Place
        Where they are from.
    options : ReadOptions
        Names of the columns, and whether faults are collected.
    kept : tuple of pyarrow.Array
        Columns that go to the output.

    Raises
    ------
    InvalidInputError
        If a row is faulty and faults are not collected; names its place and id.
    """
    columns: dict[str, Any] = {
        "n_features": options.n_features,
        "features_column": options.features_column,
        "indices_column": options.indices_column,
        "values_column": options.values_column,
    }
    try:
        batch = RowBatch(ids, arrow_rows(data, **columns), place, kept=kept)
    except InvalidInputError as error:
        try:
            faults = arrow_faults(data, **columns)
        except InvalidInputError:  # of the column, where no row can be told from another
            faults = []
        if not faults:
            raise type(error)(f"{place.file}: {error}") from error
        if not options.collect_faults:
            raise located(faults[0], ids, place) from error
        keep = np.ones(len(ids), dtype=bool)
        keep[[fault.row for fault in faults]] = False
        mask = pa.array(keep)
        batch = RowBatch(
            ids=ids.filter(mask),
            rows=arrow_rows(data.filter(mask), **columns),
            place=place.select(keep),
            bad=bad_rows(faults, ids, place),
            kept=tuple(column.filter(mask) for column in kept),
        )
    return batch if options.keep_null_rows else without_null_rows(batch, options)


def without_null_rows(batch: RowBatch, options: ReadOptions) -> RowBatch:
    """Take the null rows for bad ones."""
    nulls = batch.rows.null_rows
    if nulls is None or not nulls.any():
        return batch
    faults = [RowFault(row, "", "is null") for row in np.flatnonzero(nulls).tolist()]
    if not options.collect_faults:
        raise located(faults[0], batch.ids, batch.place)
    return batch.without(faults)


def located(fault: RowFault, ids: Any, place: Place) -> InvalidInputError:
    """Return the error of a fault, with the row's place and id."""
    return fault.error(f"{place.text(fault.row)} (id {ids[fault.row].as_py()!r}): {fault.reason}")


def plain_ids(column: Any) -> Any:
    """Return ids as one array of a plain type: chunks joined, dictionaries decoded."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    return column

"""Rows as training and scoring take them, in memory and as Parquet.

The columns of a file: `customer_id`, `indices list<int32>`, `values list<float>`; and for
training `cutoff timestamp[us]` and `labels list<int32>`, the numbers of the labels that are true.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fastprop.checks import whole_number
from fastprop.errors import InvalidInputError, ShapeError
from fastprop.features import sparse
from fastprop.features.files import data_path, reading, writing
from fastprop.typing import CSR

__all__ = ["RowWriter", "SparseRows", "read_rows", "rows_from_table", "rows_to_table"]

_N_FEATURES = b"fastprop.n_features"
_N_LABELS = b"fastprop.n_labels"


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Some customers: their features, and for training their labels.

    Parameters
    ----------
    customer_ids : ndarray of int64 or object (str), shape (n_rows,)
        Whose row it is. A customer has a row a cut-off.
    features : CSR, shape (n_rows, n_features)
        Sparse features.
    labels : CSR, shape (n_rows, n_labels), optional
        An entry for each label that is true, with the number of its class as the value: 0 where
        there are two classes. A label without an entry has the last class.
    cutoffs : ndarray of datetime64[us], shape (n_rows,), optional
        The moment up to which features look back and from which labels look ahead.

    Raises
    ------
    ShapeError
        If the parts differ in the number of rows.
    """

    customer_ids: npt.NDArray[Any]
    features: CSR
    labels: CSR | None = None
    cutoffs: npt.NDArray[np.datetime64] | None = None

    def __post_init__(self) -> None:
        for name, count in (
            ("features", self.features.shape[0]),
            ("labels", len(self) if self.labels is None else self.labels.shape[0]),
            ("cutoffs", len(self) if self.cutoffs is None else len(self.cutoffs)),
        ):
            if count != len(self):
                raise ShapeError(f"{name}: {count} rows for {len(self)} customers")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.customer_ids)

    def take(self, rows: npt.NDArray[Any]) -> SparseRows:
        """Copy the rows named, in the order named."""
        return SparseRows(
            customer_ids=self.customer_ids[rows],
            features=sparse.take_rows(self.features, rows),
            labels=None if self.labels is None else sparse.take_rows(self.labels, rows),
            cutoffs=None if self.cutoffs is None else self.cutoffs[rows],
        )

    @staticmethod
    def concatenate(parts: Sequence[SparseRows]) -> SparseRows:
        """Put parts below one another; a column that one part lacks is dropped from all."""
        labels = [part.labels for part in parts if part.labels is not None]
        cutoffs = [part.cutoffs for part in parts if part.cutoffs is not None]
        return SparseRows(
            customer_ids=np.concatenate([part.customer_ids for part in parts]),
            features=sparse.stack_rows([part.features for part in parts]),
            labels=sparse.stack_rows(labels) if len(labels) == len(parts) else None,
            cutoffs=np.concatenate(cutoffs) if len(cutoffs) == len(parts) else None,
        )


def rows_to_table(rows: SparseRows) -> Any:
    """Turn rows into a `pyarrow.Table` with the columns named above; values are borrowed."""
    kind = pa.string() if rows.customer_ids.dtype == object else None
    columns: dict[str, Any] = {"customer_id": pa.array(rows.customer_ids, kind)}
    if rows.cutoffs is not None:
        columns["cutoff"] = pa.array(rows.cutoffs.astype("datetime64[us]"))
    columns["indices"] = _lists(rows.features.indptr, rows.features.indices, np.int32)
    columns["values"] = _lists(rows.features.indptr, rows.features.data, np.float32)
    metadata = {_N_FEATURES: str(rows.features.shape[1])}
    if rows.labels is not None:
        if rows.labels.data.any():
            raise InvalidInputError("labels: a file holds labels of two classes only")
        columns["labels"] = _lists(rows.labels.indptr, rows.labels.indices, np.int32)
        metadata[_N_LABELS] = str(rows.labels.shape[1])
    return pa.table(columns).replace_schema_metadata(metadata)


def rows_from_table(table: Any, *, source: str = "table") -> SparseRows:
    """Turn a table written by `rows_to_table` back into rows.

    Raises
    ------
    InvalidInputError
        If a column is missing or the widths are not in its metadata; names `source`.
    """
    metadata = table.schema.metadata or {}
    missing = [n for n in ("customer_id", "indices", "values") if n not in table.column_names]
    if missing or _N_FEATURES not in metadata:
        what = f"column {missing[0]!r}" if missing else "the number of features in its metadata"
        raise InvalidInputError(
            f"{source}: lacks {what}: expected a file that `fastprop features` wrote"
        )
    indptr, indices = _flatten(table.column("indices"), np.int32)
    values_indptr, values = _flatten(table.column("values"), np.float32)
    if not np.array_equal(indptr, values_indptr):
        raise ShapeError(f"{source}: `indices` and `values` differ in length")
    width = int(metadata[_N_FEATURES])
    labels = None
    if "labels" in table.column_names and _N_LABELS in metadata:
        label_indptr, label_indices = _flatten(table.column("labels"), np.int32)
        labels = CSR(
            indptr=label_indptr,
            indices=_checked(label_indices, int(metadata[_N_LABELS]), f"{source}: labels"),
            data=np.zeros(len(label_indices), np.float32),
            shape=(len(table), int(metadata[_N_LABELS])),
        )
    cutoffs = None
    if "cutoff" in table.column_names:
        cutoffs = table.column("cutoff").to_numpy().astype("datetime64[us]")
    return SparseRows(
        customer_ids=table.column("customer_id").to_numpy(),
        features=CSR(
            indptr=indptr,
            indices=_checked(indices, width, f"{source}: indices"),
            data=values.astype(np.float32, copy=False),
            shape=(len(table), width),
        ),
        labels=labels,
        cutoffs=cutoffs,
    )


def read_rows(path: str | PathLike[str], *, batch_rows: int = 1 << 16) -> Iterator[SparseRows]:
    """Read a file of rows in pieces of at most `batch_rows`.

    Raises
    ------
    InvalidInputError
        If the file is not one that `RowWriter` wrote.
    """
    path = data_path("path", path)
    batch_rows = whole_number("batch_rows", batch_rows, (1 << 31) - 1)
    with reading(path), pq.ParquetFile(path) as file:
        metadata = file.schema_arrow.metadata
        for batch in file.iter_batches(batch_size=batch_rows):
            table = pa.Table.from_batches([batch]).replace_schema_metadata(metadata)
            yield rows_from_table(table, source=str(path))


class RowWriter:
    """Writes rows to one Parquet file, part by part; a context manager.

    The file appears under its name when it is complete: an interrupted run leaves none.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = data_path("path", path)
        self._partial = self._path.with_name(f".{self._path.name}.partial")
        self._writer: Any = None
        self._table_schema: Any = None
        self.n_rows = 0

    def __enter__(self) -> RowWriter:
        """Return the writer."""
        return self

    def write(self, rows: SparseRows) -> None:
        """Append rows, which all parts must have with the same columns and widths."""
        table = rows_to_table(rows)
        if self._writer is None:
            self._table_schema = table.schema
            with writing(self._path):
                self._writer = pq.ParquetWriter(self._partial, table.schema)
        elif not table.schema.equals(self._table_schema, check_metadata=True):
            raise ShapeError(f"{self._path}: a part differs from the first in columns or widths")
        with writing(self._path):
            self._writer.write_table(table, row_group_size=1 << 14)
        self.n_rows += len(rows)

    def __exit__(self, kind: object, *_rest: object) -> None:
        """Close the file; put it in its place unless the body failed."""
        if self._writer is None:
            return
        with writing(self._path):
            self._writer.close()
            if kind is None:
                self._partial.replace(self._path)
            else:
                self._partial.unlink()


def _lists(indptr: Any, flat: Any, dtype: Any) -> Any:
    if indptr[-1] > np.iinfo(np.int32).max:
        raise ShapeError(f"{int(indptr[-1]):,} entries do not fit one list array: write parts")
    return pa.ListArray.from_arrays(
        pa.array(indptr.astype(np.int32)), pa.array(flat.astype(dtype, copy=False))
    )


def _flatten(column: Any, dtype: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    lengths = [np.zeros(1, np.int64)]
    flat: list[npt.NDArray[Any]] = [np.zeros(0, dtype)]
    for chunk in column.chunks:
        offsets = chunk.offsets.to_numpy()
        lengths.append(np.diff(offsets).astype(np.int64))
        flat.append(chunk.flatten().to_numpy(zero_copy_only=False))
    return np.cumsum(np.concatenate(lengths)), np.concatenate(flat)


def _checked(indices: npt.NDArray[Any], width: int, what: str) -> npt.NDArray[np.int32]:
    if len(indices) and (indices.min() < 0 or indices.max() >= width):
        bad = int(np.flatnonzero((indices < 0) | (indices >= width))[0])
        raise InvalidInputError(f"{what}: {int(indices[bad])} is not below {width}")
    return indices.astype(np.int32, copy=False)

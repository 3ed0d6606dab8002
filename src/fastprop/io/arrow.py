"""Arrow columns of sparse rows as CSR matrices that borrow their buffers.

A list array already is CSR: its offsets are `indptr`, its child is `indices` or `values`. What
cannot be borrowed is copied and counted in `ArrowRows.elements_copied`: dense rows of a
VectorUDT column, element types other than int32, int64, float and double, and null rows that
still own entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastprop.checks import column_name, integer
from fastprop.errors import DTypeError, InvalidInputError, ShapeError
from fastprop.io.faults import RowFault, first_per_row, raise_first, rows_of_entries
from fastprop.io.results import scores_to_arrow, top_k_to_arrow
from fastprop.typing import CSR

__all__ = [
    "ArrowRows",
    "arrow_faults",
    "arrow_rows",
    "feature_columns",
    "is_arrow",
    "iter_arrow_rows",
    "scores_to_arrow",
    "top_k_to_arrow",
]

_LAYOUTS = (
    "struct<indices: list<int>, values: list<float>>, map<int, float>, "
    "list<struct<int, float>>, Spark's vector type, or two list columns"
)
_SPARSE, _DENSE = 0, 1  # the `type` field of Spark's VectorUDT


@dataclass(frozen=True, eq=False)
class ArrowRows:
    """Sparse rows out of Arrow memory.

    Parameters
    ----------
    csr : CSR
        Views of the Arrow buffers, which they keep alive; `indptr` may start above 0.
    null_rows : ndarray of bool, shape (n_rows,), or None
        Rows that are null; they have no entries in `csr`. None where there is none.
    elements_copied : int
        Entries that had to be copied or converted; 0 where everything is borrowed.
    """

    csr: CSR
    null_rows: npt.NDArray[np.bool_] | None
    elements_copied: int = 0


def is_arrow(data: object) -> bool:
    """Tell whether `arrow_rows` or `iter_arrow_rows` can be asked to read an object."""
    kinds = (pa.RecordBatch, pa.Table, pa.ChunkedArray, pa.Array, pa.RecordBatchReader)
    return isinstance(data, kinds)


def arrow_rows(
    data: Any,
    *,
    n_features: int,
    features_column: str | None = None,
    indices_column: str | None = None,
    values_column: str | None = None,
    first_row: int = 0,
) -> ArrowRows:
    """Read a column of sparse rows as a CSR matrix, borrowing its memory.

    Parameters
    ----------
    data : pyarrow.RecordBatch, Table, ChunkedArray or Array
        In one chunk; see `iter_arrow_rows` for several.
    n_features : int
        Number of columns of the result.
    features_column : str, optional
        The column that holds the rows. Without any name, the columns `indices` and `values` are
        taken, else the column `features`, else the only column that can be read.
    indices_column, values_column : str, optional
        The two list columns that hold the rows.
    first_row : int
        Number of the first row in error messages.

    Returns
    -------
    ArrowRows

    Raises
    ------
    InvalidInputError
        If a column is missing or an element inside a row is null; names the place.
    ShapeError
        If a row has not as many values as indices, or a vector's size is not `n_features`.
    DTypeError
        If a column has a type that holds no sparse rows.

    Notes
    -----
    Column numbers and values are not looked at: the predictor checks them.
    """
    n_features, first_row = integer("n_features", n_features), integer("first_row", first_row)
    raw = _raw_rows(data, features_column, indices_column, values_column)
    rows = _to_rows(raw, n_features)
    if rows is None:
        raise_first(_structural_faults(raw, n_features), first_row=first_row)
        raise AssertionError("rows were refused without a fault")
    return rows


def arrow_faults(
    data: Any,
    *,
    n_features: int,
    features_column: str | None = None,
    indices_column: str | None = None,
    values_column: str | None = None,
) -> list[RowFault]:
    """Find all rows that `arrow_rows` would refuse; at most one fault a row, ordered by row."""
    raw = _raw_rows(data, features_column, indices_column, values_column)
    return first_per_row(_structural_faults(raw, n_features))


def iter_arrow_rows(
    data: Any,
    *,
    n_features: int,
    features_column: str | None = None,
    indices_column: str | None = None,
    values_column: str | None = None,
    first_row: int = 0,
) -> Iterator[ArrowRows]:
    """Read sparse rows chunk by chunk; rows in error messages are numbered over all chunks.

    Parameters
    ----------
    data : pyarrow.Table, ChunkedArray, RecordBatchReader, RecordBatch or Array
        Any number of chunks.
    n_features, features_column, indices_column, values_column, first_row
        As for `arrow_rows`.

    Yields
    ------
    ArrowRows
        One a chunk, also for empty chunks.
    """
    chunks: Any
    if isinstance(data, pa.Table):
        chunks = data.to_batches() or [_one_chunk(data)]
    elif isinstance(data, pa.ChunkedArray):
        chunks = data.chunks
    elif isinstance(data, pa.RecordBatchReader):
        chunks = data
    else:
        chunks = [data]
    for chunk in chunks:
        yield arrow_rows(
            chunk,
            n_features=n_features,
            features_column=features_column,
            indices_column=indices_column,
            values_column=values_column,
            first_row=first_row,
        )
        first_row += len(chunk) if isinstance(chunk, pa.Array) else chunk.num_rows


def feature_columns(
    schema: Any,
    *,
    features_column: str | None = None,
    indices_column: str | None = None,
    values_column: str | None = None,
) -> tuple[str, ...]:
    """Choose the columns that hold the rows: one name, or indices then values.

    Raises
    ------
    InvalidInputError
        If a named column is missing, or no name was given and the choice is unclear.
    """
    for name, column in (
        ("features_column", features_column),
        ("indices_column", indices_column),
        ("values_column", values_column),
    ):
        if column is not None:
            column_name(name, column)
    try:
        names = list(schema.names)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"a column's name is not UTF-8: {error}") from None
    if (indices_column is None) != (values_column is None):
        raise InvalidInputError("indices_column and values_column go together")
    if features_column is not None and indices_column is not None:
        raise InvalidInputError("either features_column or indices_column and values_column")
    wanted: tuple[str, ...] = ()
    if features_column is not None:
        wanted = (features_column,)
    elif indices_column is not None and values_column is not None:
        wanted = (indices_column, values_column)
    elif "indices" in names and "values" in names:
        wanted = ("indices", "values")
    elif "features" in names:
        wanted = ("features",)
    else:
        readable = [field.name for field in schema if _is_features(field.type)]
        if len(readable) != 1:
            columns = ", ".join(f"{field.name}: {field.type}" for field in schema)
            raise InvalidInputError(
                f"which column holds the features is unclear; name it (there are: {columns})"
            )
        wanted = (readable[0],)
    for name in wanted:
        if names.count(name) != 1:
            problem = "no column" if name not in names else "more than one column"
            raise InvalidInputError(f"{problem} {name!r} (there are: {', '.join(names)})")
    return wanted


@dataclass(frozen=True, eq=False)
class _Lists:
    """A list column: row `i` owns `child[offsets[i]:offsets[i + 1]]`."""

    offsets: npt.NDArray[Any]
    child: Any
    nulls: npt.NDArray[np.bool_] | None

    @property
    def lengths(self) -> npt.NDArray[Any]:
        lengths: npt.NDArray[Any] = np.diff(self.offsets)
        if self.nulls is not None:
            lengths = np.where(self.nulls, 0, lengths)
        return lengths

    def without_null_entries(self) -> _Lists:
        """Give null rows no entries; copies the child if one of them owns some."""
        lengths = self.lengths
        if self.nulls is None or np.array_equal(lengths, np.diff(self.offsets)):
            return self
        begin, end = int(self.offsets[0]), int(self.offsets[-1])
        entries = np.repeat(~self.nulls, np.diff(self.offsets))
        offsets = np.zeros_like(self.offsets)
        np.cumsum(lengths, out=offsets[1:])
        return _Lists(
            offsets, self.child.slice(begin, end - begin).filter(pa.array(entries)), self.nulls
        )


@dataclass(frozen=True, eq=False)
class _Raw:
    """Rows as the columns have them, before anything is checked."""

    indices: _Lists
    values: _Lists
    nulls: npt.NDArray[np.bool_] | None  # of the row as a whole
    kinds: npt.NDArray[np.int64] | None = None  # VectorUDT only: _SPARSE or _DENSE; -1 for null
    sizes: npt.NDArray[np.int64] | None = None  # VectorUDT only: -1 for null

    @property
    def n_rows(self) -> int:
        return self.indices.offsets.size - 1


def _raw_rows(
    data: Any, features_column: str | None, indices_column: str | None, values_column: str | None
) -> _Raw:
    try:
        return _rows_of_columns(data, features_column, indices_column, values_column)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"a name in the Arrow data is not UTF-8: {error}") from None
    except KeyError as error:
        # Of a type that Arrow has and pyarrow has no class for; it gives the type's number.
        if not isinstance(error.args[0], int):
            raise
        raise DTypeError(
            f"the Arrow data holds a type that pyarrow cannot read (number {error})"
        ) from None


def _rows_of_columns(
    data: Any, features_column: str | None, indices_column: str | None, values_column: str | None
) -> _Raw:
    if isinstance(data, pa.RecordBatchReader):
        raise InvalidInputError("a record batch reader has many chunks: use iter_arrow_rows")
    if isinstance(data, (pa.Table, pa.RecordBatch)):
        columns = feature_columns(
            data.schema,
            features_column=features_column,
            indices_column=indices_column,
            values_column=values_column,
        )
        arrays = [_sound(_one_chunk(data.column(name)), name) for name in columns]
        if len(arrays) == 2:
            indices = _lists(arrays[0], columns[0])
            values = _lists(arrays[1], columns[1])
            return _Raw(indices, values, _either(indices.nulls, values.nulls))
        return _features(arrays[0], columns[0])
    return _features(_sound(_one_chunk(data), "the array"), "the array")


def _sound(array: Any, name: str) -> Any:
    """The array, if its offsets stay inside of its buffers: Arrow data from elsewhere may lie."""
    try:
        array.validate(full=True)
    except pa.ArrowException as error:
        raise InvalidInputError(f"{name}: {error}") from error
    return array


def _one_chunk(data: Any) -> Any:
    if isinstance(data, pa.ChunkedArray):
        if data.num_chunks > 1:
            raise InvalidInputError(f"{data.num_chunks} chunks at once: use iter_arrow_rows")
        data = data.chunk(0) if data.num_chunks else pa.array([], data.type)
    elif isinstance(data, pa.Table):
        return pa.RecordBatch.from_arrays(
            [_one_chunk(column) for column in data.columns], schema=data.schema
        )
    if isinstance(data, pa.ExtensionArray):
        data = data.storage
    if not isinstance(data, pa.Array):
        raise DTypeError(f"expected Arrow data, got {type(data).__name__}")
    return data


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_pairs(kind: Any) -> bool:
    if not _is_list(kind):
        return False
    pair = kind.value_type
    return (
        bool(pa.types.is_struct(pair))
        and pair.num_fields == 2
        and bool(pa.types.is_integer(pair.field(0).type))
        and bool(pa.types.is_floating(pair.field(1).type))
    )


def _is_features(kind: Any) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind):
        names = [kind.field(number).name for number in range(kind.num_fields)]
        return "indices" in names and "values" in names
    if pa.types.is_map(kind):
        return bool(pa.types.is_integer(kind.key_type))
    return _is_pairs(kind)


def _features(array: Any, name: str) -> _Raw:
    kind = array.type
    if not _is_features(kind):
        raise DTypeError(f"{name}: {kind} holds no sparse rows; expected {_LAYOUTS}")
    nulls = _null_mask(array)
    if pa.types.is_map(kind):
        offsets = _offsets(array)
        keys, items = array.keys, array.items
        return _Raw(_Lists(offsets, keys, nulls), _Lists(offsets, items, nulls), nulls)
    if _is_list(kind):
        offsets = _offsets(array)
        # A null pair hides in the parent's validity, which the fields do not show.
        pairs = array.values
        keys, items = pairs.flatten() if pairs.null_count else (pairs.field(0), pairs.field(1))
        return _Raw(_Lists(offsets, keys, nulls), _Lists(offsets, items, nulls), nulls)
    indices = _lists(array.field("indices"), f"{name}.indices")
    values = _lists(array.field("values"), f"{name}.values")
    fields = {kind.field(number).name for number in range(kind.num_fields)}
    if {"type", "size"} <= fields:
        kinds = _numbers(array.field("type"), f"{name}.type")
        sizes = _numbers(array.field("size"), f"{name}.size")
        row_nulls = _either(nulls, values.nulls)
        return _Raw(indices, values, row_nulls, kinds, sizes)
    return _Raw(indices, values, _either(nulls, _either(indices.nulls, values.nulls)))


def _lists(array: Any, name: str) -> _Lists:
    if not _is_list(array.type):
        raise DTypeError(f"{name}: expected a list column, got {array.type}")
    return _Lists(_offsets(array), array.values, _null_mask(array))


def _offsets(array: Any) -> npt.NDArray[Any]:
    if len(array) == 0:
        return np.zeros(1, dtype=np.int32)
    offsets: npt.NDArray[Any] = array.offsets.to_numpy(zero_copy_only=True)
    return offsets


def _null_mask(array: Any) -> npt.NDArray[np.bool_] | None:
    if array.null_count == 0:
        return None
    mask: npt.NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return mask


def _numbers(array: Any, name: str) -> npt.NDArray[np.int64]:
    """Integers of whatever type as int64, null as -1."""
    if not pa.types.is_integer(array.type):
        raise DTypeError(f"{name}: expected integers, got {array.type}")
    wide = array.cast(pa.int64(), safe=False)  # what is beyond it is no size, and stays none
    filled = wide.fill_null(-1) if wide.null_count else wide
    numbers: npt.NDArray[np.int64] = filled.to_numpy(zero_copy_only=False)
    return numbers


def _either(
    left: npt.NDArray[np.bool_] | None, right: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.bool_] | None:
    if left is None or right is None:
        return right if left is None else left
    return left | right


def _to_rows(raw: _Raw, n_features: int) -> ArrowRows | None:
    """Build the CSR matrix, or return None where a row is faulty."""
    if raw.kinds is not None and not _vectors_are_sound(raw, n_features):
        return None
    copied = 0
    indices, values = raw.indices, raw.values
    if raw.nulls is not None:
        indices = _Lists(indices.offsets, indices.child, raw.nulls).without_null_entries()
        values = _Lists(values.offsets, values.child, raw.nulls).without_null_entries()
        if indices.child is not raw.indices.child or values.child is not raw.values.child:
            copied = int(values.offsets[-1])
    if raw.kinds is not None and np.any(raw.kinds == _DENSE):
        return _mixed_vectors(raw, values, n_features)

    shift = int(indices.offsets[0]) - int(values.offsets[0])
    offsets, others = indices.offsets, values.offsets
    if others is not offsets and not np.array_equal(offsets - shift, others):
        return None
    keys, items = indices.child, values.child
    if shift > 0:
        keys, offsets = keys.slice(shift), others
    elif shift < 0:
        items = items.slice(-shift)
    begin, end = int(offsets[0]), int(offsets[-1])
    if keys.slice(begin, end - begin).null_count or items.slice(begin, end - begin).null_count:
        return None
    if keys.type not in _INDICES or items.type not in _VALUES:
        keys = _converted(keys.slice(begin, end - begin), _INDICES, "indices")
        items = _converted(items.slice(begin, end - begin), _VALUES, "values")
        offsets = offsets - begin
        copied, end = end - begin, end - begin
    csr = CSR(offsets, _view(keys, end), _view(items, end), (raw.n_rows, n_features))
    return ArrowRows(csr, raw.nulls, copied)


def _vectors_are_sound(raw: _Raw, n_features: int) -> bool:
    assert raw.kinds is not None
    assert raw.sizes is not None
    present = np.ones(raw.n_rows, dtype=bool) if raw.nulls is None else ~raw.nulls
    sparse, dense = present & (raw.kinds == _SPARSE), present & (raw.kinds == _DENSE)
    sound = not np.any(present & ~sparse & ~dense)
    sound = sound and not np.any(sparse & (raw.sizes != n_features))
    if raw.indices.nulls is not None:
        sound = sound and not np.any(sparse & raw.indices.nulls)
    return sound and not np.any(dense & (raw.values.lengths != n_features))


def _mixed_vectors(raw: _Raw, values: _Lists, n_features: int) -> ArrowRows | None:
    """Copy sparse and dense vectors into one CSR matrix; zeros of dense ones are left out."""
    assert raw.kinds is not None
    lengths = np.diff(values.offsets)
    begin, end = int(values.offsets[0]), int(values.offsets[-1])
    dense = raw.kinds == _DENSE
    expected = np.where(dense, lengths, raw.indices.lengths)
    if raw.nulls is not None:
        expected = np.where(raw.nulls, 0, expected)
    if not np.array_equal(expected, lengths):
        return None
    items = values.child.slice(begin, end - begin)
    if items.null_count:
        return None
    data = _view(_converted(items, _VALUES, "values"), end - begin)

    rows = np.repeat(np.arange(raw.n_rows), lengths)
    columns = np.arange(end - begin, dtype=np.int64) - (values.offsets[:-1] - begin)[rows]
    of_sparse = ~dense[rows]
    entries = raw.indices.offsets[:-1][rows[of_sparse]] + columns[of_sparse]
    keys = raw.indices.child.take(pa.array(entries))
    if keys.null_count:
        return None
    columns[of_sparse] = _view(_converted(keys, _INDICES, "indices"), len(keys))
    keep = of_sparse | (data != 0)
    indptr = np.zeros(raw.n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows[keep], minlength=raw.n_rows), out=indptr[1:])
    csr = CSR(indptr, columns[keep], data[keep], (raw.n_rows, n_features))
    return ArrowRows(csr, raw.nulls, int(indptr[-1]))


_INDICES: dict[Any, np.dtype[Any]] = {
    pa.int32(): np.dtype(np.int32),
    pa.int64(): np.dtype(np.int64),
}
_VALUES: dict[Any, np.dtype[Any]] = {
    pa.float32(): np.dtype(np.float32),
    pa.float64(): np.dtype(np.float64),
}


def _converted(array: Any, kinds: dict[Any, Any], name: str) -> Any:
    if array.type in kinds:
        return array
    integer, floating = pa.types.is_integer(array.type), pa.types.is_floating(array.type)
    if not (integer or (floating and kinds is _VALUES)):
        raise DTypeError(f"{name}: elements of type {array.type} cannot be used")
    try:
        return array.cast(pa.int64() if kinds is _INDICES else pa.float64())
    except pa.ArrowInvalid as error:
        raise DTypeError(f"{name}: {error}") from error


def _view(array: Any, length: int) -> npt.NDArray[Any]:
    """Borrow the first elements of a primitive array; nulls among them must be ruled out."""
    dtype: np.dtype[Any] = {**_INDICES, **_VALUES}[array.type]
    buffer = array.buffers()[1]
    if buffer is None or length == 0:
        return np.empty(0, dtype=dtype)
    view: npt.NDArray[Any] = np.frombuffer(
        buffer, dtype=dtype, count=length, offset=array.offset * dtype.itemsize
    )
    view.flags.writeable = False  # as Arrow arrays are, whatever their memory allows
    return view


def _structural_faults(raw: _Raw, n_features: int) -> list[RowFault]:
    present = np.ones(raw.n_rows, dtype=bool) if raw.nulls is None else ~raw.nulls
    faults = []
    dense = np.zeros(raw.n_rows, dtype=bool)
    if raw.kinds is not None and raw.sizes is not None:
        dense = present & (raw.kinds == _DENSE)
        sparse = present & (raw.kinds == _SPARSE)
        for row in np.flatnonzero(present & ~dense & ~sparse).tolist():
            faults.append(RowFault(row, "type", f"is {int(raw.kinds[row])}, not 0 or 1"))
        for row in np.flatnonzero(sparse & (raw.sizes != n_features)).tolist():
            size = "null" if raw.sizes[row] < 0 else int(raw.sizes[row])
            faults.append(RowFault(row, "size", _unlike_model(size, n_features), ShapeError))
        for row in np.flatnonzero(dense & (raw.values.lengths != n_features)).tolist():
            size = int(raw.values.lengths[row])
            faults.append(RowFault(row, "size", _unlike_model(size, n_features), ShapeError))
        if raw.indices.nulls is not None:
            for row in np.flatnonzero(sparse & raw.indices.nulls).tolist():
                faults.append(RowFault(row, "indices", "is null"))
    counts = (raw.indices.lengths, raw.values.lengths)
    for row in np.flatnonzero(present & ~dense & (counts[0] != counts[1])).tolist():
        what = f"{int(counts[0][row])} indices and {int(counts[1][row])} values"
        faults.append(RowFault(row, "", what, ShapeError))
    for name, lists in (("indices", raw.indices), ("values", raw.values)):
        faults.extend(_null_elements(lists, name, present))
    return faults


def _unlike_model(size: object, n_features: int) -> str:
    return f"is {size}, the model has {n_features} features"


def _null_elements(lists: _Lists, name: str, present: npt.NDArray[np.bool_]) -> Iterator[RowFault]:
    begin, end = int(lists.offsets[0]), int(lists.offsets[-1])
    child = lists.child.slice(begin, end - begin)
    if child.null_count == 0:
        return
    entries = begin + np.flatnonzero(child.is_null().to_numpy(zero_copy_only=False))
    rows = rows_of_entries(lists.offsets, entries)
    for row, entry in zip(rows.tolist(), entries.tolist()):
        if present[row]:
            yield RowFault(row, f"{name}[{entry - int(lists.offsets[row])}]", "is null")

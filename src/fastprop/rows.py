"""Whatever callers hold rows in, brought to the forms that the predictor works on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import index
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt

from fastprop.checks import shown
from fastprop.errors import DTypeError, ShapeError
from fastprop.typing import CSRLike, FloatArray

if TYPE_CHECKING:
    from fastprop.io.arrow import ArrowRows

__all__ = [
    "BorrowedRows",
    "ChunkedRows",
    "DenseRows",
    "ListedRows",
    "Rows",
    "as_rows",
    "check_stream",
    "from_csr",
    "is_csr",
    "is_single_row",
    "is_vector",
]

INDEX_TYPES = (np.dtype(np.int32), np.dtype(np.int64))
VALUE_TYPES = (np.dtype(np.float32), np.dtype(np.float64))
MAX_COLUMNS = (1 << 63) - 1

# Bits of `ndarray.flags.num`: NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_ALIGNED.
C_CONTIGUOUS = 0x0001
ALIGNED = 0x0100


@dataclass(eq=False)  # not frozen: that takes a microsecond longer to make, in each call
class BorrowedRows:
    """CSR arrays of the types that the core reads, and how many bytes that took to arrange."""

    indptr: npt.NDArray[Any]
    indices: npt.NDArray[Any]
    data: npt.NDArray[Any]
    n_columns: int
    bytes_copied: int = 0
    null_rows: npt.NDArray[np.bool_] | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1


@dataclass(frozen=True, eq=False)
class ChunkedRows:
    """Several CSR matrices, one after the other: the chunks of a table, each where it lies."""

    chunks: tuple[BorrowedRows, ...]

    @property
    def n_rows(self) -> int:
        """Number of rows of all chunks."""
        return sum(chunk.n_rows for chunk in self.chunks)

    @property
    def bytes_copied(self) -> int:
        """Bytes that were copied to arrange them."""
        return sum(chunk.bytes_copied for chunk in self.chunks)

    @property
    def null_rows(self) -> npt.NDArray[np.bool_] | None:
        """The rows that are null; None where there is none."""
        if all(chunk.null_rows is None for chunk in self.chunks):
            return None
        return np.concatenate(
            [
                np.zeros(chunk.n_rows, dtype=np.bool_)
                if chunk.null_rows is None
                else chunk.null_rows
                for chunk in self.chunks
            ]
        )


@dataclass(frozen=True, eq=False)
class ListedRows:
    """Python objects, one a row, not looked at yet."""

    rows: list[Any]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class DenseRows:
    """A C-contiguous float32 matrix, a row a customer."""

    matrix: FloatArray
    bytes_copied: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.matrix)


Rows = Union[BorrowedRows, ChunkedRows, ListedRows, DenseRows]


def is_vector(item: Any) -> bool:
    """Whether it has what a sparse vector has."""
    return hasattr(item, "indices") and hasattr(item, "values") and hasattr(item, "size")


def is_csr(item: Any) -> bool:
    """Whether it has what a CSR matrix has."""
    return hasattr(item, "indptr") and hasattr(item, "indices") and hasattr(item, "shape")


def is_single_row(item: Any) -> bool:
    """Whether an item of a stream is one sparse row rather than a batch of rows."""
    if isinstance(item, (tuple, Mapping)):
        return True
    return is_vector(item) and not is_csr(item)


def is_matrix(rows: Any) -> bool:
    """Whether it is one of SciPy's sparse matrices or arrays, in whatever format."""
    return hasattr(rows, "tocsr") and hasattr(rows, "format")


def is_data_frame(rows: Any) -> bool:
    return type(rows).__name__ == "DataFrame"


def is_bare_pair(rows: Any) -> bool:
    """Whether it is one row's indices and values, rather than two rows or batches."""
    if not isinstance(rows, tuple) or len(rows) != 2:
        return False
    firsts: list[Any] = []
    for part in rows:
        if not isinstance(part, (list, tuple, np.ndarray)) or getattr(part, "ndim", 1) != 1:
            return False
        firsts.extend(part[:1])
    return bool(firsts) and all(isinstance(first, (int, float, np.number)) for first in firsts)


def check_stream(rows: Any, row_axes: int) -> None:
    """Refuse one batch where an iterable of rows or of batches is taken.

    Parameters
    ----------
    rows : object
        What a stream is asked of.
    row_axes : int
        Axes of a dense row; an array of more axes than a batch of these has holds batches.

    Raises
    ------
    DTypeError
        Says what to do instead.
    """
    kind = type(rows).__name__
    dense = isinstance(rows, np.ndarray) and rows.dtype != object and rows.ndim <= 1 + row_axes
    # A reader of record batches is an iterable of batches itself.
    arrow = is_arrow(rows) and kind != "RecordBatchReader"
    if is_csr(rows) or is_matrix(rows) or arrow or dense or is_data_frame(rows):
        raise DTypeError(
            f"rows is a {kind}, which is one batch: predict scores it; stream takes an iterable "
            "of batches or of rows, such as [rows]"
        )
    if is_bare_pair(rows) or isinstance(rows, Mapping) or is_vector(rows):
        raise DTypeError(f"rows is one row, a {kind}; put it in a list: [row]")
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
        raise DTypeError(f"rows is a {kind}, and an iterable of batches or of rows is needed")


def as_rows(
    rows: Any,
    *,
    n_features: int,
    row_shape: tuple[int, ...],
    sparse: bool,
    first_row: int = 0,
) -> Rows:
    """Recognise what the caller's rows are held in.

    Parameters
    ----------
    rows : list of sparse rows, CSR-like, Arrow data or 2-D array
        See `Predictor.predict`.
    n_features : int
        Columns that the model has.
    row_shape : tuple of int
        Shape of a dense row.
    sparse : bool
        Whether the model takes sparse rows.
    first_row : int
        Number of the first row in error messages.

    Raises
    ------
    ShapeError, DTypeError
        The arrays do not fit together, or hold what no row can be made of.
    """
    if sparse and isinstance(rows, list):
        return ListedRows(rows)
    if is_csr(rows):
        return from_csr(rows)
    if is_arrow(rows):
        if not sparse:
            raise DTypeError("the model takes dense rows: a 2-D array, not Arrow data")
        return from_arrow(rows, n_features, first_row)
    if is_matrix(rows):
        remedy = "csr is needed: rows.tocsr()"
        if not sparse:
            remedy = "the model takes dense rows: rows.toarray()"
        raise DTypeError(f"rows is a {rows.format} matrix, and {remedy}")
    if not sparse:
        return from_dense(rows, row_shape)
    if isinstance(rows, np.ndarray) and (rows.dtype != object or rows.ndim != 1):
        raise DTypeError(
            f"rows is a dense {rows.dtype} array, and the model takes sparse rows: a list of "
            "sparse vectors, a CSR matrix or Arrow data"
        )
    if is_data_frame(rows):
        raise DTypeError(
            f"rows is a {type(rows).__module__.split('.')[0]} DataFrame, and Arrow data is needed: "
            "such as pyarrow.Table.from_pandas(rows)"
        )
    if is_vector(rows):
        raise DTypeError("rows is one sparse vector; put it in a list: [vector]")
    if is_bare_pair(rows):
        raise DTypeError(
            "rows is one pair (indices, values); put it in a list: [(indices, values)]"
        )
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise DTypeError(
            f"rows is a {type(rows).__name__}, and a list of sparse rows, a CSR matrix or Arrow "
            "data is needed"
        )
    return ListedRows(list(rows))


def is_arrow(rows: Any) -> bool:
    module = sys.modules.get("pyarrow")
    if module is None:
        return False
    kinds = ("Table", "RecordBatch", "ChunkedArray", "Array", "RecordBatchReader")
    return isinstance(rows, tuple(getattr(module, kind) for kind in kinds))


def from_arrow(rows: Any, n_features: int, first_row: int) -> BorrowedRows | ChunkedRows:
    """Borrow Arrow data chunk by chunk; chunks are not joined, since that would copy them."""
    from fastprop.io.arrow import iter_arrow_rows

    chunks = [
        arrow_chunk(chunk)
        for chunk in iter_arrow_rows(rows, n_features=n_features, first_row=first_row)
        if chunk.csr.shape[0]
    ]
    if len(chunks) == 1:
        return chunks[0]
    return ChunkedRows(tuple(chunks))


def arrow_chunk(chunk: ArrowRows) -> BorrowedRows:
    borrowed = from_csr(chunk.csr)
    return replace(
        borrowed,
        bytes_copied=borrowed.bytes_copied + 12 * chunk.elements_copied,
        null_rows=chunk.null_rows,
    )


def from_csr(rows: CSRLike) -> BorrowedRows:
    """Borrow the arrays of a CSR matrix, if they fit together."""
    form = getattr(rows, "format", "csr")
    if form != "csr":
        raise DTypeError(f"rows is a {form} matrix, and csr is needed: rows.tocsr()")
    shape = rows.shape
    try:
        n_rows, n_columns = shape
        n_rows, n_columns = index(n_rows), index(n_columns)
    except (TypeError, ValueError):
        raise shape_error(shape) from None
    if n_rows < 0 or n_columns < 0:
        raise ShapeError(f"rows.shape is {shape}, and no dimension may be negative")
    if n_columns > MAX_COLUMNS:
        raise ShapeError(f"rows.shape is {shown(shape)}, and no model has as many features")
    indptr = index_array(rows.indptr, "rows.indptr")
    indices = index_array(rows.indices, "rows.indices")
    data = value_array(rows.data, "rows.data")
    if len(indptr[0]) != n_rows + 1:
        raise ShapeError(
            f"rows.indptr has {len(indptr[0])} elements, and rows.shape is {shape}: "
            f"{n_rows + 1} are needed"
        )
    if len(indices[0]) != len(data[0]):
        raise ShapeError(
            f"rows.indices has {len(indices[0])} elements and rows.data has {len(data[0])}"
        )
    return BorrowedRows(
        indptr=indptr[0],
        indices=indices[0],
        data=data[0],
        n_columns=n_columns,
        bytes_copied=indptr[1] + indices[1] + data[1],
    )


def shape_error(shape: Any) -> ShapeError | DTypeError:
    """The error of what is no pair of whole numbers."""
    try:
        numbers = tuple(map(index, shape))
    except TypeError:
        return DTypeError(f"rows.shape is {shown(shape)}, and two whole numbers are needed")
    return ShapeError(f"rows.shape is {shown(numbers)}, and two dimensions are needed")


def some_array(given: Any, name: str) -> npt.NDArray[Any]:
    if type(given) is np.ndarray:
        return given
    try:
        return np.asarray(given)
    except ValueError as error:  # such as lists of unequal lengths
        raise ShapeError(f"{name} is no array: {error}") from None


def index_array(given: Any, name: str) -> tuple[npt.NDArray[Any], int]:
    """Borrow a 1-D array of int32 or int64; other integers are converted, and counted."""
    array = some_array(given, name)
    if is_ready(array, INDEX_TYPES):
        return array, 0
    if array.ndim != 1:
        raise ShapeError(f"{name} has {array.ndim} dimensions, and 1 is needed")
    if array.dtype.kind not in "iu" and array.size:
        raise DTypeError(f"{name} holds {array.dtype}, and integers are needed")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ShapeError(f"{name} holds {array.max()}, which no index can be")
    return arrange(array, INDEX_TYPES, np.dtype(np.int64))


def value_array(given: Any, name: str) -> tuple[npt.NDArray[Any], int]:
    """Borrow a 1-D array of float32 or float64; other numbers are converted, and counted."""
    array = some_array(given, name)
    if is_ready(array, VALUE_TYPES):
        return array, 0
    if array.ndim != 1:
        raise ShapeError(f"{name} has {array.ndim} dimensions, and 1 is needed")
    if array.dtype.kind not in "fiub" and array.size:
        raise DTypeError(f"{name} holds {array.dtype}, and real numbers are needed")
    return arrange(array, VALUE_TYPES, np.dtype(np.float64))


def is_ready(array: npt.NDArray[Any], types: tuple[np.dtype[Any], ...]) -> bool:
    """Whether the core can read a 1-D array as it is; `np.require` asks ten times the time."""
    ready = C_CONTIGUOUS | ALIGNED
    return array.ndim == 1 and array.dtype in types and array.flags.num & ready == ready


def arrange(
    array: npt.NDArray[Any], types: tuple[np.dtype[Any], ...], other: np.dtype[Any]
) -> tuple[npt.NDArray[Any], int]:
    """The array itself if the core can read it, else a copy that it can; and the bytes copied."""
    wanted = array.dtype if array.dtype in types else other
    if array.size == 0:
        array = np.empty(0, dtype=wanted)  # of whatever type it was
    compact = array
    if array.dtype.itemsize > wanted.itemsize:
        with np.errstate(over="ignore"):  # of a long double; infinite values are refused by place
            compact = array.astype(wanted)
    arranged = np.require(compact, dtype=wanted, requirements=["C", "A"])
    return arranged, 0 if arranged is array else arranged.nbytes


def from_dense(rows: Any, row_shape: tuple[int, ...]) -> DenseRows:
    """A 2-D matrix from an array or nested sequences; borrowed where it is float32 and compact."""
    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise ShapeError(f"rows is no matrix: {error}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"rows holds {array.dtype}, and real numbers are needed")
    width = int(np.prod(row_shape, dtype=np.int64))
    if array.ndim == 0 or array.shape[1:] not in (row_shape, (width,)):
        wanted = ", ".join(["n_rows", *map(str, row_shape)])
        raise ShapeError(f"rows has shape {array.shape}, and ({wanted}) is needed")
    return DenseRows(*dense_matrix(array))


def dense_matrix(array: npt.NDArray[Any]) -> tuple[FloatArray, int]:
    """A C-contiguous float32 matrix of the array, further axes side by side; and bytes copied."""
    matrix = np.require(array, dtype=np.float32, requirements=["C", "A"])
    copied = 0 if matrix is array else matrix.nbytes
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    return matrix.reshape(array.shape[0], width), copied

"""Operations on whole CSR matrices in NumPy: take, stack, join, densify, group.

All of them return new arrays (int64 `indptr`, int32 `indices`, float32 `data`) and are safe to
call from any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.errors import ShapeError
from fastprop.typing import CSR

__all__ = [
    "empty_csr",
    "from_pairs",
    "join_columns",
    "stack_rows",
    "sum_duplicates",
    "take_rows",
    "to_dense",
]


def empty_csr(n_rows: int, n_columns: int) -> CSR:
    """Return a matrix without entries."""
    return CSR(
        indptr=np.zeros(n_rows + 1, np.int64),
        indices=np.zeros(0, np.int32),
        data=np.zeros(0, np.float32),
        shape=(n_rows, n_columns),
    )


def from_pairs(
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    values: npt.NDArray[Any],
    *,
    shape: tuple[int, int],
) -> CSR:
    """Build a matrix from entries that are already sorted by row.

    Parameters
    ----------
    rows, columns : ndarray of int64, shape (nnz,)
        Where each entry is; `rows` does not decrease.
    values : ndarray of float, shape (nnz,)
        The entries.
    shape : tuple of int
        Rows and columns.
    """
    indptr = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
    return CSR(
        indptr=indptr,
        indices=columns.astype(np.int32, copy=False),
        data=values.astype(np.float32, copy=False),
        shape=shape,
    )


def take_rows(matrix: CSR, rows: npt.NDArray[Any]) -> CSR:
    """Copy the rows named, in the order named; a row may be named more than once."""
    starts = matrix.indptr[rows].astype(np.int64, copy=False)
    lengths = matrix.indptr[rows + 1].astype(np.int64, copy=False) - starts
    indptr = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    source = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
    return CSR(
        indptr=indptr,
        indices=matrix.indices[source].astype(np.int32, copy=False),
        data=matrix.data[source].astype(np.float32, copy=False),
        shape=(len(rows), matrix.shape[1]),
    )


def stack_rows(matrices: Sequence[CSR]) -> CSR:
    """Put matrices of equal width below one another.

    Raises
    ------
    ShapeError
        If there is none, or the widths differ.
    """
    widths = {matrix.shape[1] for matrix in matrices}
    if len(widths) != 1:
        raise ShapeError(f"stack_rows: expected matrices of one width, got {sorted(widths)}")
    ends = np.cumsum([0] + [int(matrix.indptr[-1]) for matrix in matrices])
    tails = [matrix.indptr[1:].astype(np.int64) + end for matrix, end in zip(matrices, ends)]
    return CSR(
        indptr=np.concatenate([np.zeros(1, np.int64), *tails]),
        indices=np.concatenate([matrix.indices for matrix in matrices]).astype(np.int32),
        data=np.concatenate([matrix.data for matrix in matrices]).astype(np.float32),
        shape=(sum(matrix.shape[0] for matrix in matrices), widths.pop()),
    )


def join_columns(blocks: Sequence[CSR], *, n_columns: int) -> CSR:
    """Merge matrices of the same rows whose column numbers already belong to the whole.

    Entries of a row come block after block, so that the columns of a row ascend if they do within
    each block and from block to block.
    """
    n_rows = blocks[0].shape[0]
    if any(block.shape[0] != n_rows for block in blocks):
        raise ShapeError(f"join_columns: row counts differ: {[block.shape[0] for block in blocks]}")
    lengths = np.stack([np.diff(block.indptr) for block in blocks])
    indptr = np.zeros(n_rows + 1, np.int64)
    np.cumsum(lengths.sum(axis=0), out=indptr[1:])
    indices = np.empty(indptr[-1], np.int32)
    data = np.empty(indptr[-1], np.float32)
    starts = indptr[:-1].copy()
    for block, length in zip(blocks, lengths):
        place = np.repeat(starts - block.indptr[:-1], length) + np.arange(block.indptr[-1])
        indices[place] = block.indices
        data[place] = block.data
        starts += length
    return CSR(indptr=indptr, indices=indices, data=data, shape=(n_rows, n_columns))


def to_dense(matrix: CSR) -> npt.NDArray[np.float32]:
    """Return the matrix as a dense array, duplicates summed."""
    dense = np.zeros(matrix.shape, np.float32)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    np.add.at(dense, (rows, matrix.indices), matrix.data)
    return dense


def sum_duplicates(matrix: CSR) -> CSR:
    """Return the matrix with the columns of each row ascending and each there once."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, rows))
    rows, columns, data = rows[order], matrix.indices[order], matrix.data[order]
    if not len(rows):
        return matrix
    new = np.ones(len(rows), np.bool_)
    new[1:] = (np.diff(rows) != 0) | (np.diff(columns) != 0)
    return from_pairs(
        rows[new],
        columns[new].astype(np.int64),
        np.add.reduceat(data, np.flatnonzero(new)),
        shape=matrix.shape,
    )

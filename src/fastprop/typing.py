"""Types shared by the whole package: sparse rows, CSR matrices, array aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Union

import numpy as np
import numpy.typing as npt

__all__ = [
    "CSR",
    "CSRLike",
    "FloatArray",
    "IndexArray",
    "SparseRow",
    "SparseVector",
    "SparseVectorLike",
]

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[Any]


class SparseVectorLike(Protocol):
    """What `SparseVector` and PySpark's `pyspark.ml.linalg.SparseVector` have in common."""

    @property
    def size(self) -> int: ...
    @property
    def indices(self) -> Any: ...
    @property
    def values(self) -> Any: ...


class CSRLike(Protocol):
    """What `CSR` and SciPy's `csr_matrix` and `csr_array` have in common."""

    @property
    def indptr(self) -> Any: ...
    @property
    def indices(self) -> Any: ...
    @property
    def data(self) -> Any: ...
    @property
    def shape(self) -> Any: ...


SparseRow = Union[SparseVectorLike, tuple[Sequence[int], Sequence[float]], Mapping[int, float]]


@dataclass(frozen=True, eq=False)
class SparseVector:
    """One sparse row: `size` columns, of which `indices` hold `values`.

    Parameters
    ----------
    size : int
        Number of columns.
    indices : array_like of int, shape (nnz,)
        Column numbers from 0, in any order; a column that occurs twice counts with the sum.
    values : array_like of float, shape (nnz,)
        Value of each column named by `indices`.

    Notes
    -----
    The arrays are kept as given and are checked where the row is used.
    """

    size: int
    indices: Any
    values: Any


@dataclass(frozen=True, eq=False)
class CSR:
    """A matrix of sparse rows in compressed sparse row form, borrowed and not copied.

    Parameters
    ----------
    indptr : ndarray of int32 or int64, shape (n_rows + 1,)
        Row `i` owns the entries `indptr[i]` to `indptr[i + 1]`.
    indices : ndarray of int32 or int64, shape (nnz,)
        Column numbers, in any order within a row; duplicates count with their sum.
    data : ndarray of float32 or float64, shape (nnz,)
        Values.
    shape : tuple of int
        `(n_rows, n_columns)`.

    Notes
    -----
    The arrays are kept as given and are checked where the matrix is used.
    """

    indptr: Any
    indices: Any
    data: Any
    shape: tuple[int, int]

"""The values that a parameter file can hold: dense, row-sparse and CSR arrays."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from fastprop.errors import ModelFormatError
from fastprop.typing import CSR

__all__ = [
    "MAX_DENSE_ELEMENTS",
    "DenseArray",
    "Parameter",
    "RowSparseArray",
    "parameter_dtype",
    "parameter_shape",
]

# MXNet 1.9.1 as published counts the elements of a dense array in 31 bits.
MAX_DENSE_ELEMENTS = (1 << 31) - 1

DenseArray = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class RowSparseArray:
    """An array of which only some rows are stored; the others are zero.

    Parameters
    ----------
    shape : tuple of int
        Shape of the whole array.
    indices : ndarray of int64, shape (n_stored,)
        Numbers of the stored rows, strictly ascending.
    data : ndarray, shape (n_stored, *shape[1:])
        The stored rows.

    Notes
    -----
    The arrays are borrowed, not copied, and not checked here: `read_params` checks what it reads.
    """

    shape: tuple[int, ...]
    indices: npt.NDArray[np.int64]
    data: DenseArray

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.data.dtype

    @property
    def is_full(self) -> bool:
        """Whether every row is stored, in order, so that `data` is the dense array."""
        n_rows = self.shape[0]
        return len(self.indices) == n_rows and (
            n_rows == 0
            or (
                int(self.indices[0]) == 0
                and int(self.indices[-1]) == n_rows - 1
                and bool(np.all(np.diff(self.indices) == 1))
            )
        )

    def to_dense(self) -> DenseArray:
        """Return `data` itself (borrowed) when every row is stored, else a copy with zeros.

        Raises
        ------
        ModelFormatError
            The whole array would have more elements than an engine's dense array can.
        """
        if self.is_full:
            return self.data
        if prod(self.shape) > MAX_DENSE_ELEMENTS:
            raise ModelFormatError(
                f"a row-sparse array of shape {self.shape} with {len(self.indices)} stored rows "
                f"has more than the {MAX_DENSE_ELEMENTS} elements that a dense array can hold"
            )
        dense = np.zeros(self.shape, dtype=self.data.dtype)
        dense[self.indices] = self.data
        return dense


Parameter = Union[DenseArray, RowSparseArray, CSR]


def parameter_shape(parameter: Parameter) -> tuple[int, ...]:
    """Shape of the whole array that `parameter` stands for."""
    return tuple(int(extent) for extent in parameter.shape)


def parameter_dtype(parameter: Parameter) -> np.dtype[Any]:
    """Type of the elements of `parameter`."""
    if isinstance(parameter, CSR):
        return np.dtype(parameter.data.dtype)
    return np.dtype(parameter.dtype)

"""How the weight of the sparse input layer is held: mapped, in huge pages, or as bfloat16."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop import _core
from fastprop.checkpoint.arrays import Parameter, RowSparseArray
from fastprop.errors import InvalidInputError, PoolLimitError
from fastprop.typing import CSR

__all__ = ["WEIGHTS", "SparseWeight", "aligned", "hold_weight", "stored_rows"]

WEIGHTS = ("mapped", "copied", "bfloat16", "int8")
HUGE_PAGE = 2 << 20
CACHE_LINE = 64


@dataclass(frozen=True, eq=False)
class SparseWeight:
    """The stored rows of a weight, and where each column's row is.

    Parameters
    ----------
    rows : ndarray of float32, or uint16 holding bfloat16, shape (n_stored, width)
        C-contiguous.
    row_of_column : ndarray of int32, shape (n_features,), or None
        Number of the stored row of each column, -1 for a row of zeros; None where all rows are
        stored in order.
    """

    rows: npt.NDArray[Any]
    row_of_column: npt.NDArray[np.int32] | None


def hold_weight(value: Parameter, how: str) -> SparseWeight:
    """Bring a weight to the form in which the kernel reads it.

    Parameters
    ----------
    value : ndarray or RowSparseArray of float32, shape (n_features, width)
        The parameter. A partial row-sparse one keeps its compact rows.
    how : {"mapped", "copied", "bfloat16", "int8"}
        `"mapped"` reads it in place, so that all processes of a host share the file's pages;
        `"copied"` makes a private copy in huge pages, which spares address translation;
        `"bfloat16"` makes a private copy of half the size, each weight rounded to 8 bits of
        precision; so does `"int8"`, which is for the dense layers.
    """
    if isinstance(value, CSR):
        raise InvalidInputError("a csr weight has no rows to read")
    if isinstance(value, RowSparseArray) and not value.is_full:
        row_of_column = stored_rows(value)
        stored = value.data
    else:
        row_of_column = None
        stored = value.data if isinstance(value, RowSparseArray) else value
    rows = np.require(stored, dtype=np.float32, requirements=["C", "A"])
    if how == "copied":
        copy = aligned(rows.nbytes).view(np.float32).reshape(rows.shape)
        copy[...] = rows
        rows = copy
    elif how in ("bfloat16", "int8"):
        rounded = aligned(2 * rows.size).view(np.uint16).reshape(rows.shape)
        _core.round_to_bf16(rows, rounded)
        return SparseWeight(rounded, row_of_column)
    return SparseWeight(rows, row_of_column)


def stored_rows(value: RowSparseArray) -> npt.NDArray[np.int32]:
    """Number of the stored row of each column, -1 for a row of zeros."""
    rows = np.full(value.shape[0], -1, dtype=np.int32)
    rows[value.indices] = np.arange(len(value.indices), dtype=np.int32)
    return rows


def aligned(n_bytes: int) -> npt.NDArray[np.uint8]:
    """Private memory that begins on a cache line; what is large enough, in huge pages."""
    if n_bytes >= HUGE_PAGE:
        return in_huge_pages(n_bytes)
    memory = np.empty(n_bytes + CACHE_LINE, dtype=np.uint8)
    begin = -memory.ctypes.data % CACHE_LINE
    return memory[begin : begin + n_bytes]


def in_huge_pages(n_bytes: int) -> npt.NDArray[np.uint8]:
    """Private memory that begins on a huge page, where the system has them."""
    try:
        region = mmap.mmap(-1, n_bytes + 2 * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, MemoryError, OverflowError) as error:
        raise PoolLimitError(
            f"no memory for a copy of the first layer's weight, {n_bytes:,} bytes: {error}"
        ) from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        region.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(region, dtype=np.uint8)
    begin = -memory.ctypes.data % HUGE_PAGE
    return memory[begin : begin + n_bytes]

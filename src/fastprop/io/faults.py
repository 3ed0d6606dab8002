"""What is wrong with which row: found per row, vectorised, only after something was refused.

Scoring checks rows as it reads them and stops at the first fault. The functions here look again
at a refused batch and name every faulty row once, so that the others can go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.errors import InvalidInputError
from fastprop.typing import CSR

__all__ = ["RowFault", "csr_faults", "first_per_row", "raise_first", "rows_of_entries", "take_rows"]


@dataclass(frozen=True)
class RowFault:
    """One faulty row.

    Parameters
    ----------
    row : int
        Number of the row within its batch.
    where : str
        Place within the row, such as `indices[3]`; empty for the row as a whole.
    what : str
        What is wrong there, such as `is null`.
    error : type
        The error that is raised for it where rows must all be good.
    """

    row: int
    where: str
    what: str
    error: type[InvalidInputError] = InvalidInputError

    @property
    def reason(self) -> str:
        """The fault without the row's number: `indices[3] is null`."""
        return f"{self.where} {self.what}" if self.where else self.what


def raise_first(faults: Iterable[RowFault], *, first_row: int = 0) -> None:
    """Raise the error of the fault with the lowest row number, if there is one."""
    fault = min(faults, key=lambda fault: fault.row, default=None)
    if fault is not None:
        row = f"rows[{first_row + fault.row}]"
        text = f"{row}.{fault.where} {fault.what}" if fault.where else f"{row}: {fault.what}"
        raise fault.error(text)


def first_per_row(faults: Iterable[RowFault]) -> list[RowFault]:
    """Keep the first fault of each row, ordered by row."""
    kept: dict[int, RowFault] = {}
    for fault in faults:
        kept.setdefault(fault.row, fault)
    return [kept[row] for row in sorted(kept)]


def rows_of_entries(indptr: npt.NDArray[Any], entries: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the row that owns each entry; `entries` are positions as `indptr` counts them."""
    return np.searchsorted(indptr, entries, side="right").astype(np.int64) - 1


def csr_faults(csr: CSR, *, n_features: int, nonfinite: str = "error") -> list[RowFault]:
    """Find the rows with a column out of range or a value that is not finite.

    Parameters
    ----------
    csr : CSR
        Rows whose `indptr` does not decrease.
    n_features : int
        Number of columns that the model has.
    nonfinite : {"error", "propagate"}
        Whether NaN and infinity are faults.

    Returns
    -------
    list of RowFault
        At most one a row, ordered by row.
    """
    indptr = np.asarray(csr.indptr)
    begin, end = int(indptr[0]), int(indptr[-1])
    indices = np.asarray(csr.indices)[begin:end]
    data = np.asarray(csr.data)[begin:end]
    faults: list[RowFault] = []

    entries = np.flatnonzero((indices < 0) | (indices >= n_features))
    for row, entry in _first_entries(indptr, begin + entries):
        place = f"indices[{entry - int(indptr[row])}]"
        what = f"is {int(indices[entry - begin])}, outside 0 to {n_features - 1}"
        faults.append(RowFault(row, place, what))
    if nonfinite == "error":
        with np.errstate(over="ignore"):
            entries = np.flatnonzero(~np.isfinite(data.astype(np.float32)))
        for row, entry in _first_entries(indptr, begin + entries):
            place = f"values[{entry - int(indptr[row])}]"
            faults.append(
                RowFault(row, place, f"is {float(data[entry - begin])}, not finite in float32")
            )
    return first_per_row(faults)


def _first_entries(
    indptr: npt.NDArray[Any], entries: npt.NDArray[Any]
) -> Iterable[tuple[int, int]]:
    rows, first = np.unique(rows_of_entries(indptr, entries), return_index=True)
    return zip(rows.tolist(), entries[first].tolist())


def take_rows(csr: CSR, keep: npt.NDArray[np.bool_]) -> CSR:
    """Copy the rows that a mask of shape (n_rows,) names."""
    indptr = np.asarray(csr.indptr)
    begin, end = int(indptr[0]), int(indptr[-1])
    lengths = np.diff(indptr)
    entries = np.repeat(keep, lengths)
    kept = np.zeros(int(np.count_nonzero(keep)) + 1, dtype=indptr.dtype)
    np.cumsum(lengths[keep], out=kept[1:])
    return CSR(
        indptr=kept,
        indices=np.asarray(csr.indices)[begin:end][entries],
        data=np.asarray(csr.data)[begin:end][entries],
        shape=(kept.size - 1, csr.shape[1]),
    )

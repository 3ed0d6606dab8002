"""What every writer of a format is, and the scores that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["OutputSchema", "ScoredBatch", "Writer", "present_entries"]


@dataclass(frozen=True)
class OutputSchema:
    """What the results of a run look like; the same for all its files.

    Parameters
    ----------
    id_column : str
        Name of the id's column.
    id_type : pyarrow.DataType
        Type of the ids.
    labels : pyarrow.StringArray
        Name of each label.
    ranked : bool
        Whether a row has its best labels only, and not a score for every label.
    compression : str
        Of Parquet: `zstd`, `snappy` or `none`.
    kept : tuple of (str, pyarrow.DataType)
        Further columns of the input.
    """

    id_column: str
    id_type: Any
    labels: Any
    ranked: bool
    compression: str = "zstd"
    kept: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class ScoredBatch:
    """Results of some rows.

    Parameters
    ----------
    ids : pyarrow.Array, shape (n_rows,)
    scores : ndarray of float32, shape (n_rows, n_labels) or (n_rows, k)
    indices : ndarray of int32, shape (n_rows, k), or None
        Label numbers of ranked results, best first, -1 where there is none.
    null_rows : ndarray of bool, shape (n_rows,), or None
        Rows whose result is null.
    kept : tuple of pyarrow.Array, each of shape (n_rows,)
        Further columns of the input.
    """

    ids: Any
    scores: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int32] | None
    null_rows: npt.NDArray[np.bool_] | None
    kept: tuple[Any, ...] = ()

    def slice(self, start: int, stop: int) -> ScoredBatch:
        """Return some of the rows, borrowed."""
        return ScoredBatch(
            ids=self.ids[start:stop],
            scores=self.scores[start:stop],
            indices=None if self.indices is None else self.indices[start:stop],
            null_rows=None if self.null_rows is None else self.null_rows[start:stop],
            kept=tuple(column[start:stop] for column in self.kept),
        )


class Writer(Protocol):
    """Writes one file; made by `fastprop.io.writers.open_writer`."""

    def write(self, batch: ScoredBatch) -> None:
        """Write, or keep for later, the results of a batch."""

    def close(self) -> None:
        """Write what was kept and the end of the file, and close it."""

    def abort(self) -> None:
        """Close the file as it is."""


def present_entries(
    batch: ScoredBatch,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Flatten a batch: entries per row, and the label number and score of each entry.

    Null rows have no entries.
    """
    n_rows, width = batch.scores.shape
    if batch.indices is None:
        numbers = np.broadcast_to(np.arange(width, dtype=np.int32), (n_rows, width))
        used = np.ones((n_rows, width), dtype=bool)
    else:
        numbers, used = batch.indices, batch.indices >= 0
    if batch.null_rows is not None:
        used = used & ~batch.null_rows[:, None]
    if used.all():
        lengths = np.full(n_rows, width, dtype=np.int64)
        return lengths, numbers.reshape(-1), batch.scores.reshape(-1)
    return used.sum(axis=1, dtype=np.int64), numbers[used], batch.scores[used]

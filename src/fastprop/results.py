"""What a predictor gives back besides plain score arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PoolStats", "PredictorStats", "TopK"]


@dataclass(frozen=True, eq=False)
class TopK:
    """The best labels of each row.

    Parameters
    ----------
    indices : ndarray of int32, shape (n_rows, k)
        Label numbers by descending score, equal scores by ascending label; -1 where fewer than k
        labels were selected.
    scores : ndarray of float32, shape (n_rows, k)
        Their scores; NaN where fewer than k labels were selected.
    null_rows : ndarray of bool, shape (n_rows,), or None
        Rows that were null in Arrow data, with no labels; None where there is none.
    """

    indices: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    null_rows: npt.NDArray[np.bool_] | None = None

    def to_arrow(self, labels: Sequence[str] | Any, *, dictionary: bool = True) -> Any:
        """Give the labels by name, as an Arrow array that is built without a loop over rows.

        Parameters
        ----------
        labels : sequence of str or pyarrow.StringArray
            Name of each label, such as `model.labels`.
        dictionary : bool
            Give labels as `dictionary<int32, string>`, where no name is copied, or as plain strings
            (which is what Spark takes).

        Returns
        -------
        pyarrow.ListArray
            `list<struct<label, score: float>>`, best first; null rows are null. Where all rows have
            k labels, the array borrows `indices` (of a dictionary) and `scores`.
        """
        from fastprop.io.results import top_k_to_arrow

        return top_k_to_arrow(
            self.indices, self.scores, labels, null_rows=self.null_rows, dictionary=dictionary
        )


@dataclass(frozen=True)
class PoolStats:
    """The predictor's pool of buffers; sizes in bytes.

    Parameters
    ----------
    limit : int
        Most bytes that the pool may own; 0 for no cap.
    owned, live, peak : int
        Held now; leased now; most ever leased at once.
    reused, missed : int
        Leases served from idle buffers; leases that had to allocate.
    """

    limit: int
    owned: int
    live: int
    peak: int
    reused: int
    missed: int


@dataclass(frozen=True)
class PredictorStats:
    """What a predictor has done since it was made.

    Parameters
    ----------
    calls, rows, tiles : int
        Requests made to the core, rows and tiles scored.
    bytes_copied : int
        Bytes of borrowed input written again before a kernel read them: 12 a non-zero and 8 an
        `indptr` entry at MXNet's door (the tile's padding to its batch size included), 0 where
        our own kernel reads the caller's arrays; and what had to be converted or made contiguous.
    bytes_assembled : int
        Bytes written once to turn Python objects into CSR.
    assemble_seconds : float
        Time spent on that, in the callers' threads.
    check_seconds, fill_seconds, sparse_seconds, graph_seconds, deliver_seconds : float
        Time of each stage, summed over workers: checking rows, filling the engine's input arrays,
        our sparse layer, the engine's graph, delivering scores or selecting from them.
    pool : PoolStats
        The buffer pool.
    """

    calls: int
    rows: int
    tiles: int
    bytes_copied: int
    bytes_assembled: int
    assemble_seconds: float
    check_seconds: float
    fill_seconds: float
    sparse_seconds: float
    graph_seconds: float
    deliver_seconds: float
    pool: PoolStats

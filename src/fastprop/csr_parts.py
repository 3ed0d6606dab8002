"""Parts of CSR matrices, and one matrix of several parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastprop.typing import CSR

__all__ = ["row_range", "stacked_rows"]


def row_range(rows: CSR, begin: int, end: int) -> CSR:
    """Return rows [begin, end): `indptr` is a copy that starts at 0, the rest views; types stay."""
    first, last = int(rows.indptr[begin]), int(rows.indptr[end])
    return CSR(
        np.asarray(rows.indptr[begin : end + 1]) - first,
        rows.indices[first:last],
        rows.data[first:last],
        (end - begin, rows.shape[1]),
    )


def stacked_rows(parts: Sequence[CSR]) -> CSR:
    """Return one matrix of at least one part, all of one width: a copy with int64 `indptr`."""
    compact = [row_range(part, 0, part.shape[0]) for part in parts]
    starts = np.cumsum([0, *(int(part.indptr[-1]) for part in compact)])
    return CSR(
        np.concatenate(
            [[0], *(part.indptr[1:].astype(np.int64) + at for part, at in zip(compact, starts))]
        ),
        np.concatenate([np.asarray(part.indices) for part in compact]),
        np.concatenate([np.asarray(part.data) for part in compact]),
        (sum(part.shape[0] for part in compact), parts[0].shape[1]),
    )

"""Differences between scores, gathered over blocks of rows without large temporaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Agreement", "Differences", "same_bits"]

STEP_SCORES = 1 << 18


@dataclass
class Differences:
    """Absolute differences of scores from right ones; NaN where only one is NaN counts as inf."""

    largest: float = 0.0
    row: int | None = None
    column: int | None = None
    total: float = 0.0
    count: int = 0

    @property
    def mean(self) -> float:
        """Mean of the differences."""
        return self.total / self.count if self.count else 0.0

    def add(self, scores: Any, right: Any, first_row: int) -> None:
        """Compare rows, the first of which is number `first_row`."""
        step = max(1, STEP_SCORES // max(scores.shape[1], 1))
        for begin in range(0, len(scores), step):
            self._add(scores[begin : begin + step], right[begin : begin + step], first_row + begin)

    def _add(self, scores: Any, right: Any, first_row: int) -> None:
        difference = distances(scores, right)
        if not difference.size:
            return
        place = int(difference.argmax())
        largest = float(difference.flat[place])
        self.total += float(difference.sum())
        self.count += difference.size
        if self.row is None or largest > self.largest:
            self.largest = largest
            self.row = first_row + place // difference.shape[1]
            self.column = place % difference.shape[1]


def distances(scores: Any, right: Any) -> npt.NDArray[np.float64]:
    found, wanted = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - wanted)
    # Equal infinities differ by NaN; so do two NaN, which are what was wanted.
    unclear = np.isnan(difference)
    if unclear.any():
        same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        difference[unclear] = np.where(same[unclear], 0.0, np.inf)
    return np.asarray(difference, np.float64)


@dataclass
class Agreement:
    """How many selected labels are among the best of their rows.

    Parameters
    ----------
    slack : float
        Labels whose right scores lie this near the k-th best cannot be told from it.
    """

    slack: float
    agreed: int = 0
    wanted: int = 0

    @property
    def share(self) -> float:
        """Labels that agree, of all that were to be selected."""
        return self.agreed / self.wanted if self.wanted else 1.0

    def add(self, indices: Any, right: Any) -> None:
        """Hold a selection, (n_rows, k) with -1 for none, against the right scores."""
        k = min(indices.shape[1], right.shape[1])
        step = max(1, STEP_SCORES // max(right.shape[1], 1))
        for begin in range(0, len(indices), step):
            self._add(indices[begin : begin + step, :k], right[begin : begin + step], k)

    def _add(self, indices: Any, right: Any, k: int) -> None:
        # A NaN is never selected.
        ranked = np.where(np.isnan(right), -np.inf, right)
        kth = -np.partition(-ranked, k - 1, axis=1)[:, k - 1 : k]
        own = np.take_along_axis(ranked, np.maximum(indices, 0).astype(np.int64), axis=1)
        ordered = np.sort(indices, axis=1)
        repeated = int((ordered[:, 1:] == ordered[:, :-1])[ordered[:, 1:] >= 0].sum())
        good = (indices >= 0) & (own >= kth - self.slack) & (own > -np.inf)
        self.agreed += int(good.sum()) - repeated
        wanted = np.minimum((ranked > -np.inf).sum(axis=1), k)
        self.wanted += int(np.maximum(wanted, (indices >= 0).sum(axis=1)).sum())


def same_bits(a: Any, b: Any) -> bool:
    """Whether two float32 arrays are the same to the bit."""
    return bool(a.shape == b.shape and np.array_equal(a.view(np.uint32), b.view(np.uint32)))

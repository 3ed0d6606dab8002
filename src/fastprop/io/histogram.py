"""How the scores of each category are spread over 0 to 1."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.errors import InvalidInputError
from fastprop.io.writers import ScoredBatch, present_entries

__all__ = ["BINS", "ScoreHistogram"]

BINS = 20


class ScoreHistogram:
    """Counts of the scores that were written, by label; scores that are not finite are left out.

    Parameters
    ----------
    labels : sequence of str
        Name of each label.

    Notes
    -----
    A label has a count below 0, one for each of 20 equal bins from 0 to 1, where a bin holds its
    lower edge and the last one 1 as well, and a count above 1.
    """

    def __init__(self, labels: list[str]) -> None:
        self._labels = labels
        self.counts = np.zeros((len(labels), BINS + 2), dtype=np.int64)

    def add(self, batch: ScoredBatch) -> None:
        """Count the scores of a batch."""
        _, numbers, scores = present_entries(batch)
        bins = np.floor(scores * np.float32(BINS))
        bins[scores == 1] = BINS - 1
        finite = np.isfinite(bins)
        if not finite.all():
            numbers, bins = numbers[finite], bins[finite]
        places = np.clip(bins, -1, BINS).astype(np.int64) + 1
        places += numbers.astype(np.int64) * (BINS + 2)
        self.counts += np.bincount(places, minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: ScoreHistogram) -> None:
        """Add the counts of another histogram of the same labels."""
        self.counts += other.counts

    def to_json(self) -> str:
        """Write it as JSON: the edges, then a line a label."""
        edges = json.dumps([number / BINS for number in range(BINS + 1)])
        lines = [
            f"  {json.dumps(label, ensure_ascii=False)}: {json.dumps(counts)}"
            for label, counts in zip(self._labels, self.counts.tolist())
        ]
        counts = json.dumps("below the first edge, in each bin, above the last edge")
        head = f'{{\n "edges": {edges},\n "counts": {counts},\n "labels": {{\n'
        return head + ",\n".join(lines) + "\n }\n}\n"

    @classmethod
    def from_json(cls, value: Any, labels: list[str], name: str) -> ScoreHistogram:
        """Read what `to_json` wrote.

        Raises
        ------
        InvalidInputError
            If it is a histogram of other labels; names the file.
        """
        made = cls(labels)
        given = value["labels"]
        counts: npt.NDArray[np.int64] = np.array(list(given.values()), dtype=np.int64)
        if list(given) != labels or counts.shape != made.counts.shape:
            raise InvalidInputError(f"{name}: a histogram of other labels")
        made.counts = counts
        return made

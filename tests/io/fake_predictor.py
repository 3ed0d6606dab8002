"""A predictor in plain NumPy: a test double of the two methods that the io layer calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastprop.errors import InvalidInputError
from fastprop.typing import CSR


@dataclass(frozen=True)
class FakeTopK:
    indices: Any
    scores: Any


class FakePredictor:
    """Scores are the sigmoid of rows @ weight, whatever the batch size, and rows are checked."""

    def __init__(self, n_features: int = 50, n_labels: int = 7, seed: int = 3) -> None:
        self.n_features = n_features
        self.labels = [f"category_{number}" for number in range(n_labels)]
        self.weight = np.random.default_rng(seed).normal(size=(n_features, n_labels))
        self.calls: list[int] = []

    def predict(self, rows: CSR) -> Any:
        self.calls.append(rows.shape[0])
        logits = np.zeros((rows.shape[0], len(self.labels)))
        for row in range(rows.shape[0]):
            begin, end = int(rows.indptr[row]), int(rows.indptr[row + 1])
            for column, value in zip(rows.indices[begin:end], rows.data[begin:end]):
                if not 0 <= column < self.n_features:
                    raise InvalidInputError(f"rows[{row}]: column {column}")
                if not np.isfinite(value):
                    raise InvalidInputError(f"rows[{row}]: value {value}")
                logits[row] += self.weight[column] * np.float64(np.float32(value))
        return (1 / (1 + np.exp(-logits))).astype(np.float32)

    def predict_top_k(self, rows: CSR, k: int = 20, *, threshold: Any = None) -> FakeTopK:
        scores = self.predict(rows)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
        best = np.take_along_axis(scores, order, axis=1)
        if threshold is not None:
            below = best < threshold
            order[below] = -1
            best[below] = np.nan
        return FakeTopK(order, best)

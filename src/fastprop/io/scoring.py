"""Batches of rows through a predictor, or through several: results, and the rows left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastprop.errors import InvalidInputError, ShapeError
from fastprop.io.batches import BadRow, RowBatch, located
from fastprop.io.faults import csr_faults
from fastprop.io.routing import RoutedBatch
from fastprop.io.writers import ScoredBatch
from fastprop.typing import CSR

__all__ = ["BatchScorer", "Outcome", "RoutedScorer", "Scorer", "Selection"]

Outcome = tuple[ScoredBatch, tuple[BadRow, ...]]


class Scorer(Protocol):
    """What scores rows: a `fastprop.Predictor`, or anything with these two methods."""

    def predict(self, rows: CSR) -> npt.NDArray[np.float32]:
        """Return the scores, float32 of shape (n_rows, n_labels)."""

    def predict_top_k(self, rows: CSR, k: int = ..., *, threshold: Any = ...) -> Any:
        """Return `.indices` int32 and `.scores` float32 of shape (n_rows, k)."""


@dataclass(frozen=True)
class Selection:
    """Which scores of a row are kept.

    Parameters
    ----------
    top_k : int, optional
        The best so many; all by default.
    threshold : float, optional
        Those of at least so much.
    """

    top_k: int | None = None
    threshold: float | None = None

    @property
    def ranked(self) -> bool:
        """Whether a row has its best labels only, and not a score for every label."""
        return self.top_k is not None or self.threshold is not None


class BatchScorer:
    """Scores batches with one predictor; not thread-safe.

    Parameters
    ----------
    predictor : Scorer
    n_features, n_labels : int
        Of the model.
    selection : Selection
    collect_faults : bool
        Leave bad rows out and go on, instead of raising the first.
    """

    def __init__(
        self,
        predictor: Scorer,
        *,
        n_features: int,
        n_labels: int,
        selection: Selection,
        collect_faults: bool,
    ) -> None:
        self._predictor = predictor
        self._n_features = n_features
        self._n_labels = n_labels
        self._selection = selection
        self._collect_faults = collect_faults

    def score(self, batch: RowBatch | RoutedBatch) -> Outcome:
        """Score a batch.

        Returns
        -------
        ScoredBatch
            The results.
        tuple of BadRow
            The rows that are not among them.

        Raises
        ------
        InvalidInputError
            If a row is bad and faults are not collected; names its place and id.
        """
        scored, rest = self.score_rows(batch)
        return scored, rest.bad

    def score_rows(self, batch: RowBatch | RoutedBatch) -> tuple[ScoredBatch, RowBatch]:
        """Score a batch; gives the rows that were scored as well."""
        assert isinstance(batch, RowBatch)
        try:
            return self._predict(batch), batch
        except InvalidInputError as error:
            faults = csr_faults(batch.rows.csr, n_features=self._n_features)
            if not faults:
                raise type(error)(f"{batch.place.text(0)} and on: {error}") from error
            if not self._collect_faults:
                raise located(faults[0], batch.ids, batch.place) from error
            batch = batch.without(faults)
            return self._predict(batch), batch

    def _predict(self, batch: RowBatch) -> ScoredBatch:
        rows, nulls = batch.rows.csr, batch.rows.null_rows
        if not self._selection.ranked:
            scores = (
                self._predictor.predict(rows)
                if batch.n_rows
                else np.empty((0, self._n_labels), dtype=np.float32)
            )
            if scores.shape != (batch.n_rows, self._n_labels):
                raise ShapeError(
                    f"the predictor gave scores of shape {scores.shape}, expected "
                    f"{(batch.n_rows, self._n_labels)}"
                )
            return ScoredBatch(batch.ids, scores, None, nulls, batch.kept)
        top_k = self._selection.top_k
        k = self._n_labels if top_k is None else min(top_k, self._n_labels)
        if batch.n_rows == 0:
            empty = np.empty((0, k), dtype=np.float32)
            return ScoredBatch(batch.ids, empty, empty.astype(np.int32), nulls, batch.kept)
        top = self._predictor.predict_top_k(rows, k, threshold=self._selection.threshold)
        return ScoredBatch(batch.ids, top.scores, top.indices, nulls, batch.kept)


class RoutedScorer:
    """Scores each row with its own model, and keeps the rows' order; not thread-safe.

    Parameters
    ----------
    openers : mapping of str to callable
        Makes the scorer of a model; called once, when the first row for it comes.
    numbers : mapping of str to ndarray of int32
        For each label of a model, its number among the labels of all.
    id_type : pyarrow.DataType
        Type of the ids.
    width : int
        Results a row, at most.
    ranked : bool
        Whether rows have their best labels only.
    """

    def __init__(
        self,
        openers: Mapping[str, Callable[[], BatchScorer]],
        *,
        numbers: Mapping[str, npt.NDArray[np.int32]],
        id_type: Any,
        width: int,
        ranked: bool,
    ) -> None:
        self._openers = openers
        self._open: dict[str, BatchScorer] = {}
        self._numbers = numbers
        self._empty = ScoredBatch(
            pa.array([], id_type),
            np.empty((0, width), np.float32),
            np.empty((0, width), np.int32) if ranked else None,
            None,
        )

    def score(self, batch: RowBatch | RoutedBatch) -> Outcome:
        """Score the rows of each model, and put the results in the order of the file."""
        assert isinstance(batch, RoutedBatch)
        bad = list(batch.bad)
        results: list[ScoredBatch] = []
        places: list[npt.NDArray[np.int64]] = []
        for name, group in batch.groups:
            scored, scored_rows = self._scorer(name).score_rows(group)
            bad.extend(scored_rows.bad)
            if scored_rows.n_rows:
                results.append(self._in_all_labels(scored, self._numbers[name]))
                places.append(scored_rows.place.all_numbers(scored_rows.n_rows))
        if not results:
            return self._empty, tuple(bad)
        if len(results) == 1:
            return results[0], tuple(bad)
        return in_order(results, np.argsort(np.concatenate(places))), tuple(bad)

    def _scorer(self, name: str) -> BatchScorer:
        if name not in self._open:
            self._open[name] = self._openers[name]()
        return self._open[name]

    def _in_all_labels(self, scored: ScoredBatch, numbers: npt.NDArray[np.int32]) -> ScoredBatch:
        if scored.indices is None:
            return scored
        width = self._empty.scores.shape[1]
        indices = np.full((len(scored.ids), width), -1, np.int32)
        scores = np.full((len(scored.ids), width), np.nan, np.float32)
        own = scored.indices.shape[1]
        # The last number stands for -1, the padding.
        indices[:, :own] = np.append(numbers, np.int32(-1))[scored.indices]
        scores[:, :own] = scored.scores
        return replace(scored, indices=indices, scores=scores)


def in_order(results: list[ScoredBatch], order: npt.NDArray[np.int64]) -> ScoredBatch:
    """Join results; row `i` is number `order[i]` of all rows."""
    indices = [result.indices for result in results if result.indices is not None]
    nulls = None
    if any(result.null_rows is not None for result in results):
        nulls = np.concatenate(
            [
                np.zeros(len(result.ids), bool) if result.null_rows is None else result.null_rows
                for result in results
            ]
        )[order]
    return ScoredBatch(
        ids=pa.concat_arrays([result.ids for result in results]).take(pa.array(order)),
        scores=np.concatenate([result.scores for result in results])[order],
        indices=np.concatenate(indices)[order] if indices else None,
        null_rows=nulls,
        kept=tuple(
            pa.concat_arrays(columns).take(pa.array(order))
            for columns in zip(*(result.kept for result in results))
        ),
    )

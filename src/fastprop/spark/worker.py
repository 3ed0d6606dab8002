"""Scoring in a Python worker: Arrow batches in, Arrow batches out; rows are never Python objects.

Only rows that are refused are looked at one by one, to say what is wrong with each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fastprop.errors import InvalidInputError
from fastprop.io.batches import Place, ReadOptions, RowBatch, checked_batch
from fastprop.io.faults import RowFault, csr_faults
from fastprop.io.results import scores_to_arrow, top_k_to_arrow
from fastprop.predictor import Predictor
from fastprop.spark.loaded import predictor_for
from fastprop.spark.selection import best_labels, labels_above
from fastprop.spark.source import ModelSource
from fastprop.spark.task import Outputs, ScoringTask, label_thresholds
from fastprop.typing import CSR

__all__ = ["score_batches", "score_columns"]

_ROWS_WITH_ALL_SCORES = 2048  # with 3,000 labels 24 MB at once, however many rows Spark sends
_Positions = npt.NDArray[np.int64]


def score_batches(task: ScoringTask, batches: Iterator[Any]) -> Iterator[Any]:
    """Score a partition; what `mapInArrow` calls.

    Parameters
    ----------
    task : ScoringTask
    batches : iterator of pyarrow.RecordBatch

    Yields
    ------
    pyarrow.RecordBatch
        The columns handed on, the outputs, and what is wrong with a row if that is asked for.

    Raises
    ------
    InvalidInputError
        A row cannot be scored, and `handle_invalid` is `"error"`; names the partition and the row.

    Notes
    -----
    A partition without rows opens no model.
    """
    first_row = 0
    for unnamed in batches:
        batch = pa.RecordBatch.from_arrays(unnamed.columns, names=list(task.read))
        step = _ROWS_WITH_ALL_SCORES if task.outputs.needs_all_scores else batch.num_rows
        for begin in range(0, batch.num_rows, max(step, 1)):
            yield _score_piece(task, batch.slice(begin, step), first_row + begin)
        first_row += batch.num_rows


def score_columns(task: ScoringTask, data: Any) -> list[Any]:
    """Score a record batch and return its outputs alone, null where a row cannot be scored."""
    outcome = _score_all(task, data, 0)
    if task.handle_invalid == "error":
        outcome.raise_first(0, " of a batch")
    return outcome.spread(data.num_rows)


def _score_piece(task: ScoringTask, piece: Any, first_row: int) -> Any:
    outcome = _score_all(task, piece, first_row)
    kept = [piece.column(name) for name in task.passthrough]
    if task.handle_invalid == "error":
        outcome.raise_first(first_row)
    if task.handle_invalid == "skip" and outcome.faults:
        rows = pa.array(np.sort(outcome.rows))
        kept = [column.take(rows) for column in kept]
        made = [column.take(rows) for column in outcome.spread(piece.num_rows)]
    else:
        made = outcome.spread(piece.num_rows)
    if task.error_column:
        made.append(outcome.reasons(piece.num_rows))
    return pa.RecordBatch.from_arrays(kept + made, names=list(task.output_names))


@dataclass(frozen=True, eq=False)
class _Outcome:
    """The rows that were scored, in any order, with their outputs; and what is wrong with others.

    Faults are of rows as the batch counts them.
    """

    rows: _Positions
    columns: list[Any]
    faults: list[tuple[int, str]]

    def raise_first(self, first_row: int, of: str = "") -> None:
        if self.faults:
            row, reason = min(self.faults)
            raise InvalidInputError(f"{_partition()}, row {first_row + row}{of}: {reason}")

    def spread(self, n_rows: int) -> list[Any]:
        """Put the outputs in the order of the batch, null for rows that were not scored."""
        if len(self.rows) == n_rows and np.array_equal(self.rows, np.arange(n_rows)):
            return list(self.columns)
        places = np.full(n_rows, -1, np.int64)
        places[self.rows] = np.arange(len(self.rows))
        chosen = pa.array(places, mask=places < 0)
        return [column.take(chosen) for column in self.columns]

    def reasons(self, n_rows: int) -> Any:
        reasons: list[str | None] = [None] * n_rows
        for row, reason in self.faults:
            reasons[row] = reason
        return pa.array(reasons, pa.string())


def _score_all(task: ScoringTask, batch: Any, first_row: int) -> _Outcome:
    """Score each row with its model."""
    columns = batch.select(list(task.columns.of_rows))
    if task.columns.model is None:
        return _score(task, task.models[""], columns, np.arange(batch.num_rows), first_row)
    keys = pc.cast(batch.column(task.columns.model), pa.string()).dictionary_encode()
    numbers = pc.fill_null(keys.indices, -1).to_numpy(zero_copy_only=False)
    names = keys.dictionary.to_pylist()
    parts = []
    for number in np.unique(numbers).tolist():
        rows = np.flatnonzero(numbers == number)
        source = task.models.get(names[number]) if number >= 0 else None
        if source is None:
            wrong = f"no model for {names[number]!r}" if number >= 0 else "is null"
            reason = f"{task.columns.model}: {wrong}"
            parts.append(_Outcome(rows[:0], [], [(row, reason) for row in rows.tolist()]))
        else:
            own = columns if len(rows) == batch.num_rows else columns.take(pa.array(rows))
            parts.append(_score(task, source, own, rows, first_row))
    scored = [part for part in parts if len(part.rows)]
    return _Outcome(
        rows=np.concatenate([part.rows for part in parts] or [np.arange(0)]),
        columns=[
            pa.concat_arrays([part.columns[number] for part in scored])
            if scored
            else pa.array([], kind)
            for number, kind in enumerate(_output_types(task.outputs))
        ],
        faults=[fault for part in parts for fault in part.faults],
    )


def _score(
    task: ScoringTask, source: ModelSource, columns: Any, rows: _Positions, first_row: int
) -> _Outcome:
    """Score rows with one model; `rows` says which of the batch's they are."""
    predictor = predictor_for(source, threads=task_threads(task.threads))
    options = ReadOptions(
        n_features=predictor.model.n_features,
        features_column=task.columns.features,
        indices_column=task.columns.indices,
        values_column=task.columns.values,
        collect_faults=True,
    )
    # Rows are named by their number in the batch, so that those left out can be told.
    batch = checked_batch(pa.array(rows), columns, Place(_partition(), "row", first_row), options)
    nulls = batch.rows.null_rows
    if nulls is not None and nulls.any():
        batch = batch.without([RowFault(int(row), "", "is null") for row in np.flatnonzero(nulls)])
    batch, arrays = _outputs_of(predictor, task.outputs, batch)
    return _Outcome(
        rows=batch.ids.to_numpy(),
        columns=arrays,
        faults=[(bad.id, bad.reason) for bad in batch.bad],
    )


def _outputs_of(
    predictor: Predictor, outputs: Outputs, batch: RowBatch
) -> tuple[RowBatch, list[Any]]:
    """Score a batch; where rows are refused, without those."""
    try:
        return batch, _outputs(predictor, outputs, batch.rows.csr)
    except InvalidInputError:
        faults = csr_faults(batch.rows.csr, n_features=predictor.model.n_features)
        if not faults:
            raise
        batch = batch.without(faults)
        return batch, _outputs(predictor, outputs, batch.rows.csr)


def _outputs(predictor: Predictor, outputs: Outputs, rows: CSR) -> list[Any]:
    labels = pa.array(predictor.model.labels, pa.string())
    if not outputs.needs_all_scores:
        assert outputs.top_k is not None
        top = predictor.predict_top_k(rows, outputs.top_k)
        return [top_k_to_arrow(top.indices, top.scores, labels)]
    scores = predictor.predict(rows)
    made = []
    if outputs.probabilities:
        made.append(scores_to_arrow(scores))
    if outputs.top_k is not None:
        top = best_labels(scores, outputs.top_k)
        made.append(top_k_to_arrow(top.indices, top.scores, labels))
    if outputs.thresholds is not None:
        limits = label_thresholds(outputs.thresholds, predictor.model.labels)
        made.append(labels_above(scores, limits, labels))
    return made


def _output_types(outputs: Outputs) -> list[Any]:
    pair = pa.struct([("label", pa.string()), ("score", pa.float32())])
    asked = [
        (outputs.probabilities, pa.float32()),
        (outputs.top_k is not None, pair),
        (outputs.thresholds is not None, pa.string()),
    ]
    return [pa.list_(kind) for wanted, kind in asked if wanted]


def task_threads(asked: int) -> int:
    """Threads of a worker: as asked for, or the cpus that Spark gives a task."""
    if asked > 0:
        return asked
    from pyspark import TaskContext

    context = TaskContext.get()
    return max(context.cpus(), 1) if context is not None else 1


def _partition() -> str:
    from pyspark import TaskContext

    context = TaskContext.get()
    return "rows" if context is None else f"partition {context.partitionId()}"

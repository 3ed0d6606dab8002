"""What a Python worker is told: the models, the columns, the outputs, what becomes of bad rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np
import numpy.typing as npt

from fastprop.errors import InvalidInputError
from fastprop.spark.source import ModelSource

__all__ = ["Columns", "Outputs", "ScoringTask", "Thresholds", "label_thresholds"]

Thresholds = Union[float, Sequence[float], Mapping[str, float]]


@dataclass(frozen=True)
class Columns:
    """The columns that hold a row: one, or indices and values; and the one that names its model."""

    features: str | None = None
    indices: str | None = None
    values: str | None = None
    model: str | None = None

    @property
    def of_rows(self) -> tuple[str, ...]:
        """The columns of the sparse rows."""
        named = (self.features, self.indices, self.values)
        return tuple(name for name in named if name is not None)


@dataclass(frozen=True)
class Outputs:
    """What is made of a row's scores, in the order of the output columns.

    Parameters
    ----------
    probabilities : bool
        All scores: `array<float>`.
    top_k : int, optional
        The best labels: `array<struct<label: string, score: float>>`.
    thresholds : float, sequence of float or mapping of str to float, optional
        The labels whose score reaches their threshold, best first: `array<string>`.
    """

    probabilities: bool = False
    top_k: int | None = None
    thresholds: Thresholds | None = None

    @property
    def needs_all_scores(self) -> bool:
        """Whether the matrix of scores is needed."""
        return self.probabilities or self.thresholds is not None


@dataclass(frozen=True)
class ScoringTask:
    """A scoring job.

    Parameters
    ----------
    models : dict of str to ModelSource
        The models by the value of `columns.model`; without such a column, one under `""`.
    columns : Columns
        What is read.
    outputs : Outputs
        What is made.
    read : tuple of str
        Names of the columns of a batch, by position: Spark's own functions trip over some names.
    passthrough : tuple of str
        Columns that are handed on.
    output_names : tuple of str
        Names of the columns that come out.
    handle_invalid : {"error", "skip", "keep"}
        What becomes of rows that cannot be scored.
    error_column : bool
        Whether a last column says what is wrong with a row.
    threads : int
        Threads a worker; 0 for the cpus of its task.
    """

    models: dict[str, ModelSource]
    columns: Columns
    outputs: Outputs
    read: tuple[str, ...] = ()
    passthrough: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    handle_invalid: str = "error"
    error_column: bool = False
    threads: int = 0


def label_thresholds(given: Thresholds, labels: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the threshold of each label; a label that a mapping leaves out is never predicted.

    Raises
    ------
    InvalidInputError
        The number of thresholds or a label does not fit, or one is NaN.
    """
    if isinstance(given, Mapping):
        number = {label: position for position, label in enumerate(labels)}
        limits = np.full(len(labels), np.inf, np.float32)
        for label, limit in given.items():
            if label not in number:
                raise InvalidInputError(f"labelThresholds: the model has no label {label!r}")
            limits[number[label]] = limit
    elif isinstance(given, Sequence):
        limits = np.asarray(given, np.float32)
        if limits.shape != (len(labels),):
            raise InvalidInputError(
                f"labelThresholds: {len(limits)} thresholds for {len(labels)} labels"
            )
    else:
        limits = np.full(len(labels), given, np.float32)
    if np.isnan(limits).any():
        raise InvalidInputError("labelThresholds: NaN, which no score reaches")
    return limits

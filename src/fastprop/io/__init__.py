"""Files and Arrow data: readers, writers, and the pipeline that scores files of any size."""

from __future__ import annotations

from fastprop.io.arrow import (
    ArrowRows,
    arrow_rows,
    iter_arrow_rows,
    scores_to_arrow,
    top_k_to_arrow,
)
from fastprop.io.errors import OutputError
from fastprop.io.pipeline import (
    RoutedModel,
    ScoreOptions,
    ScoreProgress,
    ScoreSummary,
    score_files,
    score_files_by_model,
)

__all__ = [
    "ArrowRows",
    "OutputError",
    "RoutedModel",
    "ScoreOptions",
    "ScoreProgress",
    "ScoreSummary",
    "arrow_rows",
    "iter_arrow_rows",
    "score_files",
    "score_files_by_model",
    "scores_to_arrow",
    "top_k_to_arrow",
]

"""Translators: what goes into a predictor and what comes out of it, in the caller's own terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastprop.checks import real_numbers, whole_number
from fastprop.results import TopK
from fastprop.typing import FloatArray

if TYPE_CHECKING:
    from fastprop.model import Model

__all__ = ["LabelledScores", "LabelledTopK", "Translator"]

MAX_LABELS = (1 << 31) - 1


class Translator:
    """Turns callers' records into rows, and scores into callers' results.

    Subclass it and override what you need; this class itself changes nothing. One translator
    serves all callers of a predictor: keep its methods thread-safe.

    Attributes
    ----------
    top_k : int or None
        Set: `predict` selects this many labels a row in the workers, and `process_output` gets a
        `TopK` instead of the score matrix, which then never exists.
    threshold : float or None
        Least score that is selected; only with `top_k`.
    """

    top_k: int | None = None
    threshold: float | None = None

    def process_input(self, records: Any, model: Model) -> Any:  # noqa: ARG002
        """Return the rows that the records stand for, in a form that `predict` takes."""
        return records

    def process_output(self, result: Any, model: Model) -> Any:  # noqa: ARG002
        """Return what `predict` gives back.

        Parameters
        ----------
        result : ndarray of float32, shape (n_rows, n_labels), or TopK
            The scores, or the selection when `top_k` is set.
        model : Model
            For its labels.
        """
        return result


class LabelledScores(Translator):
    """Gives each row as a dict of label and score, all labels in the model's order."""

    def process_output(self, result: FloatArray, model: Model) -> list[dict[str, float]]:
        """Return a dict a row."""
        labels = model.labels
        return [dict(zip(labels, row)) for row in result.tolist()]


class LabelledTopK(Translator):
    """Gives each row as a list of (label, score), the best first.

    Parameters
    ----------
    k : int
        Most labels a row.
    threshold : float, optional
        Least score of a label that is given.
    """

    def __init__(self, k: int, *, threshold: float | None = None) -> None:
        self.top_k = whole_number("k", k, MAX_LABELS)
        if threshold is not None:
            real_numbers("threshold", threshold)
        self.threshold = threshold

    def process_output(self, result: TopK, model: Model) -> list[list[tuple[str, float]]]:
        """Return a list a row."""
        labels = model.labels
        return [
            [(labels[i], score) for i, score in zip(indices, scores) if i >= 0]
            for indices, scores in zip(result.indices.tolist(), result.scores.tolist())
        ]

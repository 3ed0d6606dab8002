"""Whether a contender's answer is that of plain NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastprop.errors import FastpropError

__all__ = ["WrongAnswerError", "check_scores", "check_top_k"]


class WrongAnswerError(FastpropError):
    """A contender's scores are not those of the oracle."""


def check_scores(scores: Any, expected: Any, tolerance: float) -> float:
    """Compare scores with the oracle's; return the largest difference.

    Raises
    ------
    WrongAnswerError
        Names the largest difference and its place.
    """
    got = np.asarray(scores)
    if got.shape != expected.shape:
        raise WrongAnswerError(f"scores of shape {got.shape}, and {expected.shape} is right")
    difference = np.abs(got.astype(np.float64) - expected)
    difference[np.isnan(difference)] = np.inf
    worst = float(difference.max(initial=0.0))
    if not worst <= tolerance:
        row, column = np.unravel_index(int(difference.argmax()), difference.shape)
        raise WrongAnswerError(
            f"score {got[row, column]} of row {row}, column {column}, differs by {worst:.3g} from "
            f"{expected[row, column]:.9g} (tolerance {tolerance:g})"
        )
    return worst


def check_top_k(indices: Any, scores: Any, expected: Any, tolerance: float) -> float:
    """Compare selected labels with the oracle's scores; return the largest difference.

    Labels whose scores lie within the tolerance of each other may change places.

    Raises
    ------
    WrongAnswerError
        A score is wrong, a label is not among the best, or a label occurs twice in a row.
    """
    got = np.asarray(indices)
    k = min(got.shape[1], expected.shape[1])
    ordered = np.sort(got[:, :k], axis=1)
    if (ordered[:, :1] < 0).any() or (ordered[:, 1:] == ordered[:, :-1]).any():
        raise WrongAnswerError("a row selects a label twice, or too few")
    best = -np.sort(-expected, axis=1)[:, :k]
    own = np.take_along_axis(np.asarray(expected), got[:, :k].astype(np.int64), axis=1)
    check_scores(own, best, 2 * tolerance)
    return check_scores(np.asarray(scores)[:, :k], own, tolerance)

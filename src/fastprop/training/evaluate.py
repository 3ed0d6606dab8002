"""How good scores are, in NumPy: log-loss, precision at k beside baselines, macro AUC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.errors import ShapeError

__all__ = [
    "Evaluation",
    "evaluate",
    "log_loss",
    "macro_auc",
    "own_history_scores",
    "precision_at_k",
    "top_k",
]

_Float = npt.NDArray[np.floating[Any]]
_Bool = npt.NDArray[np.bool_]
_SMALLEST = 1e-7


@dataclass(frozen=True)
class Evaluation:
    """Figures of one set of scores.

    Attributes
    ----------
    rows : int
        Rows scored.
    log_loss : float
        Mean over all rows and labels, in nats.
    macro_auc : float
        Mean over the labels that are true in some rows and false in others.
    precision : float
        Precision at `k` over the rows with at least one true label.
    baselines : mapping of str to float
        The same precision for each baseline.
    k : int
    """

    rows: int
    log_loss: float
    macro_auc: float
    precision: float
    baselines: Mapping[str, float]
    k: int


def evaluate(
    scores: _Float, truth: _Bool, *, k: int = 10, baselines: Mapping[str, _Float] | None = None
) -> Evaluation:
    """Compute all figures.

    Parameters
    ----------
    scores : ndarray of float, shape (n_rows, n_labels)
        Probabilities that labels are true.
    truth : ndarray of bool, shape (n_rows, n_labels)
        Whether they are.
    k : int
        Labels a row of which precision is measured.
    baselines : mapping of str to ndarray, optional
        Other scores, of shape (n_rows, n_labels) or (n_labels,): the same for every row.

    Raises
    ------
    ShapeError
        If shapes differ.
    """
    return Evaluation(
        rows=len(scores),
        log_loss=log_loss(scores, truth),
        macro_auc=macro_auc(scores, truth),
        precision=precision_at_k(scores, truth, k=k),
        baselines={
            name: precision_at_k(np.broadcast_to(other, truth.shape), truth, k=k)
            for name, other in (baselines or {}).items()
        },
        k=k,
    )


def log_loss(scores: _Float, truth: _Bool) -> float:
    """Return the mean of -log p(truth), in nats; probabilities are kept 1e-7 away from 0 and 1."""
    _check(scores, truth)
    probability = np.where(truth, scores, 1.0 - scores)
    return float(-np.log(np.clip(probability, _SMALLEST, 1 - _SMALLEST)).mean(dtype=np.float64))


def top_k(scores: _Float, k: int) -> npt.NDArray[np.int64]:
    """Return the labels of the k best scores of each row, best first, shape (n_rows, k).

    Equal scores are ordered by label, as `Predictor.predict_top_k` orders them.
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def precision_at_k(scores: _Float, truth: _Bool, *, k: int = 10) -> float:
    """Return the share of true labels among the k best, over rows with at least one true label.

    NaN if there is no such row.
    """
    _check(scores, truth)
    counted = truth.any(axis=1)
    if not counted.any():
        return float("nan")
    best = top_k(scores[counted], k)
    return float(np.take_along_axis(truth[counted], best, axis=1).mean(dtype=np.float64))


def macro_auc(scores: _Float, truth: _Bool) -> float:
    """Return the mean over labels of the area under the ROC curve.

    Labels that are true everywhere or nowhere have none and are left out; NaN if all are.

    Notes
    -----
    The rank statistic of Mann and Whitney (1947), with middle ranks for equal scores.
    """
    _check(scores, truth)
    n_rows = len(scores)
    positives = truth.sum(axis=0)
    usable = np.flatnonzero((positives > 0) & (positives < n_rows))
    if not len(usable):
        return float("nan")
    areas = np.empty(len(usable))
    for place, label in enumerate(usable):
        _, inverse, counts = np.unique(scores[:, label], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts - 1) / 2
        true = truth[:, label]
        n_true = int(positives[label])
        above = middle[inverse.reshape(-1)[true]].sum() - n_true * (n_true + 1) / 2
        areas[place] = above / (n_true * (n_rows - n_true))
    return float(areas.mean())


def own_history_scores(counts: _Float, popularity: _Float) -> npt.NDArray[np.float64]:
    """Rank by how often a row's customer bought each label; popularity decides between equals.

    Parameters
    ----------
    counts : ndarray of float, shape (n_rows, n_labels)
        Any increasing function of the number of purchases.
    popularity : ndarray of float, shape (n_labels,)
    """
    _, order = np.unique(counts, return_inverse=True)
    share = popularity / (popularity.max(initial=0.0) + 1.0)
    scores: npt.NDArray[np.float64] = order.reshape(counts.shape) + share.astype(np.float64)
    return scores


def _check(scores: _Float, truth: _Bool) -> None:
    if scores.ndim != 2 or scores.shape != truth.shape:
        raise ShapeError(f"scores {scores.shape} and truth {truth.shape}: shapes differ")

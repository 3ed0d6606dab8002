"""Held-out customers: how well rankings foretell what they bought, and one of them in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.errors import InvalidInputError
from fastprop.features.dictionary import FeatureDictionary
from fastprop.features.rows import SparseRows
from fastprop.training.data import label_targets
from fastprop.training.evaluate import own_history_scores, top_k

__all__ = ["CustomerView", "RankingRow", "TopCategory", "compare_rankings", "pick_customer"]

_Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RankingRow:
    """One ranking's precision at k over the held-out customers.

    Attributes
    ----------
    name : str
    precision : float
        Mean share of the k best that were bought.
    standard_error : float
        Of that mean, over customers.
    lift : float
        Precision over that of popularity.
    """

    name: str
    precision: float
    standard_error: float
    lift: float


@dataclass(frozen=True)
class TopCategory:
    """A line of a customer's top categories.

    Attributes
    ----------
    label, description : str
    score : float
    lines_before : int
        How often it was bought before the cut-off.
    bought : bool
        Whether it was bought in the label period.
    """

    label: str
    description: str
    score: float
    lines_before: int
    bought: bool


@dataclass(frozen=True)
class CustomerView:
    """A held-out customer's top categories, best first."""

    customer_id: str
    top: tuple[TopCategory, ...]


def compare_rankings(
    scores: npt.NDArray[np.float32],
    rows: SparseRows,
    dictionary: FeatureDictionary,
    popularity: npt.NDArray[np.float64],
    *,
    k: int,
    ideal: npt.NDArray[np.float64] | None = None,
) -> tuple[int, tuple[RankingRow, ...]]:
    """Compare the model with popularity and with the customers' own past purchases.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_rows, n_labels)
        The model's, for held-out customers.
    rows : SparseRows
        The same customers, with labels.
    dictionary : FeatureDictionary
    popularity : ndarray of float64, shape (n_labels,)
        Training customers who bought each label in the label period.
    k : int
    ideal : ndarray of float64, shape (n_rows, n_labels), optional
        Expected purchases, where they are known.

    Returns
    -------
    evaluated : int
        Customers with a history and a purchase in the label period.
    tuple of RankingRow

    Raises
    ------
    InvalidInputError
        If there is no such customer, or the dictionary counts no purchases.
    """
    truth = _truth(rows)
    counts = dictionary.own_counts(rows.features)
    if counts is None:
        raise InvalidInputError("FeatureSettings.counts: needed to rank by past purchases")
    evaluated = np.flatnonzero(truth.any(axis=1))
    if not len(evaluated):
        raise InvalidInputError("no held-out customer bought anything in the label period")
    truth = truth[evaluated]
    rankings: dict[str, npt.NDArray[Any]] = {
        "model": scores[evaluated],
        "own past purchases": own_history_scores(counts[evaluated], popularity),
        "popularity": np.broadcast_to(popularity, truth.shape),
    }
    if ideal is not None:
        rankings["ideal: the shop's own expectation"] = ideal[evaluated]
    found = {
        name: np.take_along_axis(truth, top_k(ranking, k), axis=1).mean(axis=1)
        for name, ranking in rankings.items()
    }
    base = found["popularity"].mean()
    return len(evaluated), tuple(
        RankingRow(
            name=name,
            precision=float(each.mean()),
            standard_error=float(each.std() / np.sqrt(len(each))),
            lift=float(each.mean() / base) if base else float("inf"),
        )
        for name, each in found.items()
    )


def pick_customer(
    scores: npt.NDArray[np.float32],
    rows: SparseRows,
    dictionary: FeatureDictionary,
    *,
    k: int,
    descriptions: Mapping[str, str],
) -> CustomerView:
    """Show a typical customer: the one with most history of those nearest to the mean precision."""
    truth = _truth(rows)
    counts = dictionary.own_counts(rows.features)
    if counts is None:
        raise InvalidInputError("FeatureSettings.counts: needed to show past purchases")
    best = top_k(scores, k)
    hits = np.take_along_axis(truth, best, axis=1).sum(axis=1)
    evaluated = np.flatnonzero(truth.any(axis=1))
    distance = np.abs(hits[evaluated] - hits[evaluated].mean())
    nearest = evaluated[distance == distance.min()]
    row = nearest[np.argmax((counts[nearest] > 0).sum(axis=1))]
    return CustomerView(
        customer_id=str(rows.customer_ids[row]),
        top=tuple(
            TopCategory(
                label=dictionary.labels[label],
                description=descriptions.get(dictionary.labels[label], ""),
                score=float(scores[row, label]),
                lines_before=round(float(np.expm1(counts[row, label]))),
                bought=bool(truth[row, label]),
            )
            for label in best[row]
        ),
    )


def _truth(rows: SparseRows) -> _Bool:
    if rows.labels is None:
        raise InvalidInputError("the rows have no labels")
    truth: _Bool = label_targets(rows.labels, classes=2)[:, :, 0] > 0
    return truth

"""Initial parameters that already know that people buy again what they bought.

A hidden layer of a thousand units, trained from noise on a few thousand customers, does not find
out that the history of item i speaks for item i: each head sees too few purchases. One logistic
regression over all pairs of row and label, with the same coefficients for all labels, sees enough
of them. Its result is written into a network of the usual family, which training then refines:

- unit u follows label u: its first-layer weights are the coefficients of that label's own history,
  and head u reads it with weight one;
- one unit carries what all labels share: how active the customer is;
- a unit each carries what an earlier training cut-off changes in the popularity of each label;
- the biases of the heads are the popularity of the labels in the last cut-off's label period;
- the units that are left start at random.

For two classes and one hidden layer with a relu.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastprop.errors import InvalidInputError
from fastprop.features.rows import SparseRows
from fastprop.features.sparse import take_rows
from fastprop.training.network import initial_parameters
from fastprop.training.settings import NetworkSettings
from fastprop.typing import CSR

__all__ = ["FeatureRoles", "PooledModel", "fit_pooled", "typical_row_length", "warm_start"]

_Int64 = npt.NDArray[np.int64]
_Float64 = npt.NDArray[np.float64]

_ROWS = 30_000
_NEGATIVES = 20
_RIDGE = 1.0
_STEPS = 12
_SPARE = 64


@dataclass(frozen=True, eq=False)
class FeatureRoles:
    """Which columns mean what to a warm start; a `FeatureDictionary` gives all three.

    Parameters
    ----------
    own : ndarray of int64, shape (n_labels, n_measures)
        Columns of each label's own history, -1 for none.
    customer : ndarray of int64
        Columns that describe the customer.
    periods : ndarray of int64
        Columns of the training cut-offs but the last.
    """

    own: _Int64
    customer: _Int64
    periods: _Int64


@dataclass(frozen=True, eq=False)
class PooledModel:
    """One logistic regression for all labels.

    Attributes
    ----------
    own : ndarray of float64, shape (n_measures,)
        Coefficient of each measure of a label's own history.
    own_by_popularity : ndarray of float64, shape (n_measures,)
        Coefficient of its product with the label's log-odds: a history of what everybody buys says
        less.
    customer : ndarray of float64, shape (n_customer,)
        Coefficient of each column that describes the customer.
    popularity, constant : float
        Coefficient of a label's log-odds in the row's period; intercept.
    log_odds : ndarray of float64, shape (n_periods + 1, n_labels)
        Log-odds of each label in the last period, then in the others.
    """

    own: _Float64
    own_by_popularity: _Float64
    customer: _Float64
    popularity: float
    constant: float
    log_odds: _Float64


def fit_pooled(rows: SparseRows, roles: FeatureRoles, *, seed: int = 0) -> PooledModel:
    """Fit the regression by Newton's method on a sample of pairs of row and label.

    Parameters
    ----------
    rows : SparseRows
        Training rows with labels of two classes; of more than 30,000 a sample is used.
    roles : FeatureRoles
    seed : int
        Decides the sample.

    Returns
    -------
    PooledModel

    Notes
    -----
    All pairs with a history or a true label are used, and 20 others a row, weighted for all that
    they stand for: the case-control weighting of Manski and Lerman (1977).
    """
    if rows.labels is None:
        raise InvalidInputError("warm start: the rows have no labels")
    generator = np.random.default_rng(seed)
    if len(rows) > _ROWS:
        rows = rows.take(np.sort(generator.choice(len(rows), _ROWS, replace=False)))
    assert rows.labels is not None
    n_rows, n_labels = rows.labels.shape
    period = _periods(rows.features, roles.periods)
    log_odds = _log_odds(rows.labels, period, len(roles.periods) + 1)

    row, label, own = _own_pairs(rows.features, roles.own)
    true = np.repeat(np.arange(n_rows), np.diff(rows.labels.indptr)) * n_labels
    true += rows.labels.indices
    history = row * n_labels + label
    surprising = np.setdiff1d(true, history)
    drawn = np.arange(n_rows).repeat(_NEGATIVES) * n_labels
    drawn += generator.integers(0, n_labels, len(drawn))
    others = np.setdiff1d(drawn, np.union1d(history, true))
    stands_for = n_rows * n_labels - len(np.union1d(history, true))
    pairs = np.concatenate([history, surprising, others])
    weights = np.ones(len(pairs))
    weights[len(pairs) - len(others) :] = stands_for / max(len(others), 1)

    row, label = np.divmod(pairs, n_labels)
    popularity = log_odds[period[row], label]
    n_own = own.shape[1]
    design = np.zeros((len(pairs), 2 * n_own + len(roles.customer) + 2))
    design[: len(history), :n_own] = own
    design[: len(history), n_own : 2 * n_own] = own * popularity[: len(history), None]
    design[:, 2 * n_own : -2] = _columns(rows.features, roles.customer)[row]
    design[:, -2] = popularity
    design[:, -1] = 1.0
    solution = _logistic(design, np.isin(pairs, true).astype(np.float64), weights)
    return PooledModel(
        own=solution[:n_own],
        own_by_popularity=solution[n_own : 2 * n_own],
        customer=solution[2 * n_own : -2],
        popularity=float(solution[-2]),
        constant=float(solution[-1]),
        log_odds=log_odds,
    )


def warm_start(
    rows: SparseRows, roles: FeatureRoles, network: NetworkSettings, *, seed: int = 0
) -> dict[str, npt.NDArray[np.float32]]:
    """Return initial parameters for a network with fused heads.

    Parameters
    ----------
    rows : SparseRows
        Training rows.
    roles : FeatureRoles
    network : NetworkSettings
        One hidden layer, two classes. Labels get a unit of their own in their order, as far as
        the layer reaches.
    seed : int

    Returns
    -------
    dict of str to ndarray of float32
        By the names of the network with `heads="fused"`.

    Raises
    ------
    InvalidInputError
        If the network has another form, or is too narrow to follow one label.
    """
    if len(network.hidden) != 1 or network.classes != 2:
        raise InvalidInputError(
            f"warm start: needs one hidden layer and two classes, got hidden {network.hidden} and "
            f"{network.classes} classes"
        )
    width = network.hidden[0]
    n_periods = len(roles.periods)
    spare = min(_SPARE, width // 8)
    n_own = min(network.n_labels, width - 1 - n_periods - spare)
    if n_own < 1:
        raise InvalidInputError(
            f"warm start: {width} hidden units are too few for {n_periods} earlier cut-offs"
        )
    pooled = fit_pooled(rows, roles, seed=seed)
    fused = NetworkSettings(**{**vars(network), "heads": "fused"})
    parameters = initial_parameters(fused, seed=seed, row_scale=typical_row_length(rows.features))
    shared, random = n_own, n_own + 1 + n_periods

    weight, bias = parameters["weight"], parameters["bias"]
    weight *= 0.3
    weight[:, :random] = 0.0
    columns = roles.own[:n_own]
    label, measure = np.nonzero(columns >= 0)
    by_popularity = pooled.own_by_popularity[measure] * pooled.log_odds[0][label]
    weight[columns[label, measure], label] = pooled.own[measure] + by_popularity
    weight[roles.customer, shared] = pooled.customer
    activity = _columns(rows.features, roles.customer) @ pooled.customer
    offset = 1.0 - min(float(activity.min(initial=0.0)), 0.0)  # keeps the relu open
    bias[shared] = offset
    weight[roles.periods, shared + 1 + np.arange(n_periods)] = 1.0

    logit = parameters["labels_weight"][0::2].copy()
    logit[:, :random] = 0.0
    logit[np.arange(n_own), np.arange(n_own)] = 1.0
    logit[:, shared] = 1.0
    change = pooled.popularity * (pooled.log_odds[1:] - pooled.log_odds[0])
    logit[:, shared + 1 : random] = change.T
    intercept = pooled.popularity * pooled.log_odds[0] + pooled.constant - offset
    for name, value in (("labels_weight", logit), ("labels_bias", intercept)):
        parameters[name][0::2] = value / 2
        parameters[name][1::2] = -value / 2
    return parameters


def _own_pairs(features: CSR, own: _Int64) -> tuple[_Int64, _Int64, _Float64]:
    """Return row, label and measures of every pair with a history, sorted by row and label.

    A column may belong to several labels, as it does where features are hashed.
    """
    label, measure = np.nonzero(own >= 0)
    column = own[label, measure]
    order = np.argsort(column, kind="stable")
    label, measure, column = label[order], measure[order], column[order]
    first = np.searchsorted(column, np.arange(features.shape[1] + 1))
    uses = np.diff(first)[features.indices]
    entry = np.repeat(np.arange(len(features.indices)), uses)
    within = np.arange(len(entry)) - np.repeat(np.cumsum(uses) - uses, uses)
    use = first[features.indices][entry] + within
    row = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))[entry]
    pairs, place = np.unique(row * len(own) + label[use], return_inverse=True)
    values = np.zeros((len(pairs), own.shape[1]))
    np.add.at(values, (place.reshape(-1), measure[use]), features.data[entry])
    pair_row, pair_label = np.divmod(pairs, len(own))
    return pair_row, pair_label, values


def _columns(features: CSR, columns: _Int64) -> _Float64:
    """Return a few columns as a dense array, shape (n_rows, len(columns))."""
    place = np.full(features.shape[1], -1, np.int64)
    place[columns] = np.arange(len(columns))
    wanted = np.flatnonzero(place[features.indices] >= 0)
    row = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    dense = np.zeros((features.shape[0], len(columns)))
    np.add.at(dense, (row[wanted], place[features.indices[wanted]]), features.data[wanted])
    return dense


def _periods(features: CSR, columns: _Int64) -> _Int64:
    """Return the period of each row: 0 for the last one, which has no column."""
    inside = _columns(features, columns) > 0
    period: _Int64 = np.where(inside.any(axis=1), inside.argmax(axis=1) + 1, 0)
    return period


def _log_odds(labels: CSR, period: _Int64, n_periods: int) -> _Float64:
    """Return the log-odds of each label in each period, with half a count added to both sides."""
    result = np.zeros((n_periods, labels.shape[1]))
    for number in range(n_periods):
        chosen = np.flatnonzero(period == number)
        found = np.bincount(take_rows(labels, chosen).indices, minlength=labels.shape[1])
        result[number] = np.log((found + 0.5) / (len(chosen) - found + 0.5))
    return result


def _logistic(design: _Float64, truth: _Float64, weights: _Float64) -> _Float64:
    """Fit a ridge logistic regression by Newton's method."""
    solution = np.zeros(design.shape[1])
    ridge = _RIDGE * np.eye(design.shape[1])
    for _ in range(_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ solution, -30, 30)))
        gradient = design.T @ (weights * (probability - truth)) + _RIDGE * solution
        curvature = weights * probability * (1 - probability)
        hessian = (design * curvature[:, None]).T @ design + ridge
        solution -= np.linalg.solve(hessian, gradient)
    return solution


def typical_row_length(features: CSR) -> float:
    """Return the root mean square of the Euclidean lengths of rows."""
    squares = np.bincount(
        np.repeat(np.arange(features.shape[0]), np.diff(features.indptr)),
        weights=features.data.astype(np.float64) ** 2,
        minlength=features.shape[0],
    )
    return float(np.sqrt(squares.mean())) if len(squares) else 1.0

"""What every contender's answer is held against: plain NumPy in float64.

The oracle runs the checkpoint's own graph, unrewritten. Only the columns that occur in the rows
take part, which changes nothing and saves gigabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop._reference import reference_outputs
from fastprop.checkpoint.arrays import Parameter, RowSparseArray, parameter_shape
from fastprop.errors import FastpropError
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name
from fastprop.model import Model
from fastprop.typing import CSR

__all__ = ["WrongAnswerError", "check_scores", "check_top_k", "expected_scores"]


class WrongAnswerError(FastpropError):
    """A contender's scores are not those of the oracle."""


def expected_scores(model: Model, rows: CSR) -> npt.NDArray[np.float64]:
    """Compute the scores of rows.

    Returns
    -------
    ndarray of float64, shape (n_rows, n_labels)
    """
    name = model.inputs[0].name
    network, feed = compacted(model.network, name, rows)
    heads = reference_outputs(network, {name: feed})
    n_rows = rows.shape[0]
    flat = [head.reshape(n_rows, -1) for head in heads]
    scores = np.empty((n_rows, model.n_labels))
    for number, column in enumerate(model.columns):
        scores[:, number] = flat[column.head][:, column.column]
    return scores


def compacted(network: Network, name: str, rows: CSR) -> tuple[Network, CSR]:
    """The network without the features that no row has; itself where they matter elsewhere."""
    graph = network.graph
    weights = set()
    for node, position in graph.consumers(graph.variable(name)):
        consumer = graph.nodes[node]
        weight = graph.nodes[consumer.inputs[1].node] if len(consumer.inputs) == 2 else None
        if canonical_name(consumer.op) != "dot" or position != 0 or weight is None:
            return network, rows
        if not weight.is_variable or len(graph.consumers(consumer.inputs[1].node)) != 1:
            return network, rows
        if any(consumer.attributes.get(flag, "False") != "False" for flag in TRANSPOSES):
            return network, rows
        weights.add(weight.name)
    used, compact = np.unique(np.asarray(rows.indices), return_inverse=True)
    arguments = dict(network.arguments)
    for weight_name in weights:
        arguments[weight_name] = taken(network.arguments[weight_name], used)
    smaller = Network(graph=graph, arguments=arguments, auxiliary=network.auxiliary)
    return smaller, CSR(rows.indptr, compact, rows.data, (rows.shape[0], len(used)))


TRANSPOSES = ("transpose_a", "transpose_b")


def taken(value: Parameter, rows: npt.NDArray[Any]) -> Parameter:
    """Some rows of a parameter, dense."""
    if isinstance(value, RowSparseArray):
        result = np.zeros((len(rows), *parameter_shape(value)[1:]), dtype=value.data.dtype)
        places = np.searchsorted(value.indices, rows)
        places[places == len(value.indices)] = 0
        stored = value.indices[places] == rows if len(value.indices) else np.zeros(len(rows), bool)
        result[stored] = value.data[places[stored]]
        return result
    if isinstance(value, CSR):
        raise WrongAnswerError("oracle: a csr weight is not supported")
    chosen: npt.NDArray[Any] = value[rows]
    return chosen


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

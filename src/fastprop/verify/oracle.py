"""The right scores by NumPy in float64: of the graph as saved, or of a compiled file's steps.

Of a graph only the columns that occur in the rows take part, which changes nothing and saves
gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop._reference import reference_outputs
from fastprop.checkpoint.arrays import Parameter, RowSparseArray, parameter_shape
from fastprop.compiled.model import CompiledModel
from fastprop.csr_parts import row_range
from fastprop.errors import InvalidInputError
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name
from fastprop.model import Model
from fastprop.typing import CSR
from fastprop.verify.plan_oracle import plan_scores

__all__ = ["expected_scores", "some_rows"]

# What is computed at once: the reference keeps every intermediate result, in float64.
CHUNK_SCORES = 1 << 20
CHUNK_ENTRIES = 1 << 15


def expected_scores(
    model: Model, rows: Any, inputs: Mapping[str, Any] | None = None
) -> npt.NDArray[np.float64]:
    """Compute the scores of rows, in chunks of bounded memory.

    Parameters
    ----------
    model : Model
    rows : CSR, or ndarray of float32 for a model of dense rows
    inputs : mapping of str to ndarray, optional
        Further inputs, a row for each row.

    Returns
    -------
    ndarray of float64, shape (n_rows, n_labels)

    Raises
    ------
    EngineError
        The graph or the plan has an operator that the reference does not know.
    """
    scores = np.empty((rows.shape[0], model.n_labels))
    further = dict(inputs or {})
    for begin, end in chunks(rows, max(1, CHUNK_SCORES // max(model.n_labels, 1))):
        some, feeds = some_rows(rows, begin, end), {k: v[begin:end] for k, v in further.items()}
        if isinstance(model, CompiledModel):
            plan, tensors = model.document.plans["scores"], model.file.tensors
            scores[begin:end] = plan_scores(plan, tensors, some, feeds)
        else:
            scores[begin:end] = graph_scores(model, some, feeds)
    return scores


def graph_scores(model: Model, rows: Any, feeds: dict[str, Any]) -> npt.NDArray[np.float64]:
    """The scores of a few rows by the graph as it was saved."""
    network, name = model.network, model.inputs[0].name
    if isinstance(rows, CSR):
        network, rows = compacted(network, name, rows)
    heads = [
        head.reshape(rows.shape[0], -1)
        for head in reference_outputs(network, {**feeds, name: rows})
    ]
    return np.stack([heads[column.head][:, column.column] for column in model.columns], axis=1)


def chunks(rows: Any, most_rows: int) -> Iterator[tuple[int, int]]:
    """Bounds of consecutive rows, few enough and with few enough entries; at least one row."""
    begin = 0
    while begin < rows.shape[0]:
        end = min(begin + most_rows, rows.shape[0])
        if isinstance(rows, CSR):
            last = int(rows.indptr[begin]) + CHUNK_ENTRIES
            end = max(begin + 1, min(end, int(np.searchsorted(rows.indptr, last, "right")) - 1))
        yield begin, end
        begin = end


def some_rows(rows: Any, begin: int, end: int) -> Any:
    """Rows [begin, end) of a CSR matrix or an array."""
    return row_range(rows, begin, end) if isinstance(rows, CSR) else rows[begin:end]


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
        raise InvalidInputError("oracle: a csr weight is not supported")
    chosen: npt.NDArray[Any] = value[rows]
    return chosen

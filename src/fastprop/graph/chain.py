"""Recognising a chain of dense layers, which the native engine can run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastprop.errors import ModelFormatError
from fastprop.graph.attributes import AttributeFormatError, read_flag
from fastprop.graph.follow import only_reader, take_activation
from fastprop.graph.heads import is_last_axis_softmax
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name
from fastprop.graph.shapes import Shapes, infer_shapes

__all__ = ["Chain", "ChainLayer", "find_chain"]

BATCH = 3


@dataclass(frozen=True)
class ChainLayer:
    """activation(x · weightᵀ + bias); names of parameters, `bias` None for none."""

    weight: str
    bias: str | None
    activation: str
    alpha: float


@dataclass(frozen=True)
class Chain:
    """Dense layers one after the other, and a softmax over groups of the last one's columns.

    Parameters
    ----------
    layers : tuple of ChainLayer
        In order.
    softmax_width : int or None
        Columns that are normalised together; None for no softmax.
    """

    layers: tuple[ChainLayer, ...]
    softmax_width: int | None


def find_chain(rest: Network) -> Chain | str:
    """Recognise the network behind a sparse layer as a chain.

    Parameters
    ----------
    rest : Network
        As `split_sparse_layer` leaves it.

    Returns
    -------
    Chain or str
        The chain, or why it is none: a clause that names the node.
    """
    graph = rest.graph
    if len(rest.input_names) != 1:
        return f"it has further inputs ({', '.join(rest.input_names[1:])})"
    if len(graph.heads) != 1 or graph.heads[0].output != 0:
        return f"it has {len(graph.heads)} heads that could not be fused"
    try:
        shapes = infer_shapes(rest, batch=BATCH)
    except ModelFormatError as error:
        return str(error)
    at = graph.variable(rest.input_names[0])
    layers: list[ChainLayer] = []
    while at != graph.heads[0].node:
        found = take_layer(rest, at)
        if isinstance(found, str):
            softmax = take_softmax(rest, shapes, at)
            return Chain(tuple(layers), softmax) if softmax is not None else found
        at, layer = found
        layers.append(layer)
    return Chain(tuple(layers), None)


def take_layer(rest: Network, at: int) -> tuple[int, ChainLayer] | str:
    """The dense layer that alone reads node `at`, and the node of its result."""
    graph = rest.graph
    reader = only_reader(graph, at)
    if reader is None:
        return f"the result of node {graph.nodes[at].name!r} is used more than once"
    node = graph.nodes[reader[0]]
    unknown = f"node {node.name!r} ({node.op}) is none of its layers"
    if reader[1] != 0 or canonical_name(node.op) != "FullyConnected":
        return unknown
    names = [graph.nodes[entry.node].name for entry in node.inputs[1:]]
    values = [rest.arguments.get(name) for name in names]
    if not all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in values):
        return f"node {node.name!r} ({node.op}) has weights that are not dense float32"
    try:
        has_bias = not read_flag(node.attributes, "no_bias", False)
    except AttributeFormatError as error:
        return f"node {node.name!r}: {error}"
    end, activation, alpha = take_activation(graph, reader[0])
    return end, ChainLayer(names[0], names[1] if has_bias else None, activation, alpha)


def take_softmax(rest: Network, shapes: Shapes, at: int) -> int | None:
    """Columns of a softmax group where node `at` leads to the head through one, else None."""
    graph = rest.graph
    width = None
    shape = shapes.entries[at][0]
    while at != graph.heads[0].node:
        reader = only_reader(graph, at)
        if reader is None:
            return None
        node = graph.nodes[reader[0]]
        before, at = shapes.entries[at][0], reader[0]
        if before is None or before[0] != BATCH:
            return None
        if canonical_name(node.op) in ("Reshape", "Flatten"):
            continue
        if width is not None or not is_last_axis_softmax(node, len(before)):
            return None
        width = before[-1]
    # Reshapes keep the order of a row's elements, so groups stay neighbours.
    return width if shapes.entries[at][0] == shape else None

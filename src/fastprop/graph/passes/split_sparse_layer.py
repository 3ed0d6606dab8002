"""The sparse input layer is cut out of the graph, for a kernel of our own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastprop.checkpoint.arrays import parameter_dtype, parameter_shape
from fastprop.graph.follow import only_reader, take_activation
from fastprop.graph.graph import VARIABLE, Entry, Graph, Node
from fastprop.graph.network import Network
from fastprop.graph.operands import is_plain_dot
from fastprop.graph.operators import canonical_name
from fastprop.typing import CSR

__all__ = ["SparseLayer", "SplitNetwork", "split_sparse_layer"]

HIDDEN = "fastprop_hidden"
ADDITIONS = frozenset({"broadcast_add", "elemwise_add"})


@dataclass(frozen=True)
class SparseLayer:
    """activation(rows · weight + bias).

    Parameters
    ----------
    rows, weight : str
        Names of the csr input and of the parameter of shape (n_features, width).
    bias : str or None
        Name of the parameter of `width` elements.
    activation : str
        Name of the kernels' activation.
    alpha : float
        Its slope, where it has one.
    width : int
        Number of columns of the result.
    """

    rows: str
    weight: str
    bias: str | None
    activation: str
    alpha: float
    width: int


@dataclass(frozen=True, eq=False)
class SplitNetwork:
    """A layer, and the network that takes its result as the input `rest.inputs[0]`."""

    layer: SparseLayer
    rest: Network


def split_sparse_layer(network: Network) -> SplitNetwork | None:
    """Cut the layer that reads the sparse rows out of a network.

    Parameters
    ----------
    network : Network
        A network as `optimize` leaves it.

    Returns
    -------
    SplitNetwork or None
        None where the rows are read by anything but one plain `dot` with a float32 parameter.
        Bias and activation belong to the layer where nothing else reads what they are made of.
    """
    graph = network.graph
    rows = [name for name in network.input_names if network.storage(name) == "csr"]
    if len(rows) != 1:
        return None
    readers = graph.consumers(graph.variable(rows[0]))
    heads = {head.node for head in graph.heads}
    if len(readers) != 1 or graph.variable(rows[0]) in heads:
        return None
    number, position = readers[0]
    dot = graph.nodes[number]
    if position != 0 or not is_plain_dot(dot):
        return None
    weight = graph.nodes[dot.inputs[1].node]
    value = network.arguments.get(weight.name) if weight.is_variable else None
    if value is None or isinstance(value, CSR) or parameter_dtype(value) != np.float32:
        return None
    shape = parameter_shape(value)
    if len(shape) != 2:
        return None
    end, bias = take_bias(network, number, shape[1])
    end, activation, alpha = take_activation(graph, end)
    layer = SparseLayer(
        rows=rows[0],
        weight=weight.name,
        bias=bias,
        activation=activation,
        alpha=alpha,
        width=shape[1],
    )
    return SplitNetwork(layer=layer, rest=without_layer(network, end, layer))


def take_bias(network: Network, number: int, width: int) -> tuple[int, str | None]:
    graph = network.graph
    reader = only_reader(graph, number)
    if reader is None or canonical_name(graph.nodes[reader[0]].op) not in ADDITIONS:
        return number, None
    addition = graph.nodes[reader[0]]
    other = graph.nodes[addition.inputs[1 - reader[1]].node]
    value = network.arguments.get(other.name) if other.is_variable else None
    if value is None or not isinstance(value, np.ndarray) or value.dtype != np.float32:
        return number, None
    if value.shape not in ((width,), (1, width)):
        return number, None
    return reader[0], other.name


def without_layer(network: Network, end: int, layer: SparseLayer) -> Network:
    """The network with the result of node `end` as an input."""
    graph = network.graph
    name = HIDDEN
    while name in {node.name for node in graph.nodes}:
        name += "_"
    hidden = Node(VARIABLE, name, {"__shape__": f"(0, {layer.width})"})
    moved = {Entry(end, 0): Entry(0, 0)}

    def follow(entry: Entry) -> Entry:
        return moved.get(entry, Entry(entry.node + 1, entry.output))

    rewritten = [hidden] + [
        Node(node.op, node.name, node.attributes, tuple(follow(entry) for entry in node.inputs))
        for node in graph.nodes
    ]
    rest = Graph.build(rewritten, tuple(follow(head) for head in graph.heads), graph.attributes)
    kept = set(rest.variables)
    return Network(
        graph=rest,
        arguments={key: value for key, value in network.arguments.items() if key in kept},
        auxiliary={key: value for key, value in network.auxiliary.items() if key in kept},
    )

"""BatchNorm at inference is a scale and a shift, which a neighbouring layer takes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.checkpoint.arrays import Parameter, RowSparseArray
from fastprop.graph.attributes import AttributeFormatError, read_flag, read_integer, read_number
from fastprop.graph.builder import GraphBuilder
from fastprop.graph.follow import only_reader
from fastprop.graph.graph import Entry, Graph, Node
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name

__all__ = ["fold_batch_norm"]

Array = npt.NDArray[np.float64]


def fold_batch_norm(network: Network) -> Network:
    """Rewrite a network so that no BatchNorm stands beside a layer that could do its work.

    Parameters
    ----------
    network : Network
        After `strip_training`.

    Returns
    -------
    Network
        A BatchNorm whose data is a FullyConnected layer that nothing else reads has become that
        layer, under the BatchNorm's name; one that a FullyConnected layer alone reads has gone
        into that layer. Their parameters are new float32 arrays, computed in float64. Others are
        left, and so is everything where parameters are not dense float32.
    """
    while True:
        for number, node in enumerate(network.graph.nodes):
            if canonical_name(node.op) == "BatchNorm":
                folded = fold_one(network, number)
                if folded is not None:
                    network = folded
                    break
        else:
            return network


@dataclass(frozen=True, eq=False)
class Layer:
    """A FullyConnected layer over whole rows."""

    node: Node
    weight: Array
    bias: Array


def fold_one(network: Network, number: int) -> Network | None:
    """Fold one BatchNorm into the layer before it or behind it; None where that cannot be."""
    graph = network.graph
    node = graph.nodes[number]
    if not gives_one_output(graph, number):
        return None
    try:
        normal = scale_and_shift(network, node)
        if normal is None:
            return None
        scale, shift = normal
        before = node.inputs[0]
        layer = layer_of(network, before.node)
        if (
            layer is not None
            and len(layer.weight) == len(scale)
            and before.output == 0
            and only_reader(graph, before.node) is not None
        ):
            weight, bias = layer.weight * scale[:, None], layer.bias * scale + shift
            return with_layer(network, number, layer.node.inputs[0], node.name, weight, bias)
        reader = only_reader(graph, number)
        layer = None if reader is None or reader[1] != 0 else layer_of(network, reader[0])
        if layer is not None and layer.weight.shape[1] == len(scale):
            assert reader is not None
            weight, bias = layer.weight * scale, layer.bias + layer.weight @ shift
            return with_layer(network, reader[0], before, layer.node.name, weight, bias)
    except AttributeFormatError:
        pass  # The engine reports it.
    return None


def gives_one_output(graph: Graph, number: int) -> bool:
    """Whether nothing reads the statistics beside the node's result."""
    entries = [graph.nodes[reader].inputs[position] for reader, position in graph.consumers(number)]
    entries += [head for head in graph.heads if head.node == number]
    return all(entry.output == 0 for entry in entries)


def scale_and_shift(network: Network, node: Node) -> tuple[Array, Array] | None:
    """What the node multiplies with and adds, a number for each channel."""
    parts = [value_of(network, entry) for entry in node.inputs[1:]]
    if len(parts) != 4 or read_integer(node.attributes, "axis", 1) not in (1, -1):
        return None
    gamma, beta, mean, variance = parts
    if gamma is None or beta is None or mean is None or variance is None:
        return None
    if gamma.ndim != 1 or not gamma.shape == beta.shape == mean.shape == variance.shape:
        return None
    scale = 1 / np.sqrt(variance + read_number(node.attributes, "eps", 1e-3))
    if not read_flag(node.attributes, "fix_gamma", True):
        scale = scale * gamma
    return scale, beta - mean * scale


def layer_of(network: Network, number: int) -> Layer | None:
    """The node as a layer, where it is one whose parameters can be changed."""
    node = network.graph.nodes[number]
    if canonical_name(node.op) != "FullyConnected" or not read_flag(
        node.attributes, "flatten", True
    ):
        return None
    has_bias = not read_flag(node.attributes, "no_bias", False)
    if len(node.inputs) != (3 if has_bias else 2):
        return None
    n_hidden = read_integer(node.attributes, "num_hidden")
    weight = value_of(network, node.inputs[1])
    bias = value_of(network, node.inputs[2]) if has_bias else np.zeros(n_hidden)
    if weight is None or weight.ndim != 2 or len(weight) != n_hidden:
        return None
    if bias is None or bias.size != n_hidden:
        return None
    return Layer(node, weight, bias.reshape(-1))


def value_of(network: Network, entry: Entry) -> Array | None:
    """A float32 parameter or state in float64."""
    name = network.graph.nodes[entry.node].name
    value: Any = network.value(name) if network.has_value(name) else None
    if isinstance(value, RowSparseArray) and value.is_full:
        value = value.data
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        return None
    return value.astype(np.float64)


def with_layer(
    network: Network, replaced: int, data: Entry, name: str, weight: Array, bias: Array
) -> Network:
    """The network with a layer of these parameters in the place of a node."""
    graph = network.graph
    builder = GraphBuilder(graph.nodes)
    inputs = [data]
    values: dict[str, Parameter] = {}
    for part, value in (("weight", weight), ("bias", bias)):
        inputs.append(builder.variable(f"{name}_folded_{part}"))
        array = value.astype(np.float32)
        array.flags.writeable = False
        values[builder.nodes[inputs[-1].node].name] = array
    settings = {"num_hidden": str(len(weight)), "no_bias": "False", "flatten": "True"}
    layer = builder.append(Node("FullyConnected", name, settings, tuple(inputs)))

    def follow(entry: Entry) -> Entry:
        return layer if entry == Entry(replaced, 0) else entry

    builder.nodes = [
        Node(node.op, node.name, node.attributes, tuple(map(follow, node.inputs)))
        for node in builder.nodes
    ]
    rewritten = builder.build(map(follow, graph.heads), graph.attributes)
    kept = set(rewritten.variables)
    arguments = {**network.arguments, **values}
    return Network(
        graph=rewritten,
        arguments={key: value for key, value in arguments.items() if key in kept},
        auxiliary={key: value for key, value in network.auxiliary.items() if key in kept},
    )

"""A model as plain arrays, for contenders that know nothing of MXNet's graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastprop.checkpoint.arrays import Parameter, RowSparseArray
from fastprop.graph.graph import Entry, Node
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name
from fastprop.model import Model
from fastprop.typing import CSR, FloatArray

__all__ = ["Layer", "PlainNetwork", "plain_network"]

ACTIVATIONS = ("relu", "sigmoid", "tanh")


@dataclass(frozen=True, eq=False)
class Layer:
    """A dense layer: `activation(x @ weight.T + bias)`.

    Parameters
    ----------
    weight : ndarray of float32, shape (width, width before)
        The sparse layer's is (n_features, width) instead, applied from the right.
    bias : ndarray of float32, shape (width,)
        Zeros where the network has none.
    activation : {"", "relu", "sigmoid", "tanh"}
        What follows.
    """

    weight: FloatArray
    bias: FloatArray
    activation: str


@dataclass(frozen=True, eq=False)
class PlainNetwork:
    """A sparse layer and dense layers after it; the last one gives the scores."""

    sparse: Layer
    dense: tuple[Layer, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths from the sparse layer to the scores."""
        return (self.sparse.weight.shape[1], *(layer.weight.shape[0] for layer in self.dense))


def plain_network(model: Model) -> PlainNetwork | str:
    """Take a model with fused heads apart into layers.

    Returns
    -------
    PlainNetwork, or str
        Why it is not a chain of layers: the operator and the node. Arrays are new where the
        checkpoint stores only some rows, else its own, mapped.
    """
    network = model.optimized
    if len(network.graph.heads) != 1:
        return f"the network has {len(network.graph.heads)} heads that cannot be fused"
    layers: list[Layer] = []
    entry = network.graph.heads[0]
    while True:
        activation, entry = peel_activation(network, entry)
        node = network.graph.nodes[entry.node]
        op = canonical_name(node.op)
        if op == "FullyConnected":
            weight = value_of(network, node.inputs[1])
            bias = value_of(network, node.inputs[2]) if len(node.inputs) > 2 else None
            if weight is None or (bias is None and len(node.inputs) > 2):
                return reason(node)
            layers.append(Layer(weight, as_bias(bias, weight.shape[0]), activation))
            entry = node.inputs[0]
            continue
        bias = None
        if op in ("broadcast_add", "elemwise_add"):
            bias = value_of(network, node.inputs[1])
            if bias is None:
                return reason(node)
            node = network.graph.nodes[node.inputs[0].node]
            op = canonical_name(node.op)
        weight = value_of(network, node.inputs[1]) if op == "dot" else None
        rows = network.graph.nodes[node.inputs[0].node] if weight is not None else None
        if weight is None or rows is None or rows.name != model.inputs[0].name:
            return reason(node)
        if any(value != "False" for key, value in node.attributes.items() if "transpose" in key):
            return reason(node)
        sparse = Layer(weight, as_bias(bias, weight.shape[1]), activation)
        return PlainNetwork(sparse, tuple(reversed(layers)))


def reason(node: Node) -> str:
    return f"the network is not a chain of layers: node {node.name!r} ({node.op})"


def peel_activation(network: Network, entry: Entry) -> tuple[str, Entry]:
    node = network.graph.nodes[entry.node]
    op = canonical_name(node.op)
    if op in ACTIVATIONS:
        return op, node.inputs[0]
    if op == "Activation" and node.attributes.get("act_type") in ACTIVATIONS:
        return node.attributes["act_type"], node.inputs[0]
    return "", entry


def value_of(network: Network, entry: Entry) -> FloatArray | None:
    """A parameter as a dense float32 array; None where the entry is none."""
    node = network.graph.nodes[entry.node]
    if not node.is_variable or not network.has_value(node.name):
        return None
    value: Parameter = network.value(node.name)
    if isinstance(value, CSR):
        return None
    if isinstance(value, RowSparseArray):
        value = value.data if value.is_full else value.to_dense()
    return np.asarray(value, dtype=np.float32)


def as_bias(bias: Any, width: int) -> FloatArray:
    if bias is None:
        return np.zeros(width, np.float32)
    return np.ascontiguousarray(np.broadcast_to(np.asarray(bias).reshape(-1), (width,)))

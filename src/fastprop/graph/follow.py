"""Following a result to the one node that reads it."""

from __future__ import annotations

from fastprop.graph.attributes import AttributeFormatError, read_choice, read_number
from fastprop.graph.graph import Graph
from fastprop.graph.operators import canonical_name
from fastprop.graph.shape_rules.node_shapes import ACTIVATIONS

__all__ = ["LEAKY", "only_reader", "take_activation"]

LEAKY = ("leaky", "elu", "selu", "gelu")


def only_reader(graph: Graph, number: int) -> tuple[int, int] | None:
    """The one use of a node's result, or None where there are others or it is a head."""
    readers = graph.consumers(number)
    if len(readers) != 1 or any(head.node == number for head in graph.heads):
        return None
    return readers[0]


def take_activation(graph: Graph, number: int) -> tuple[int, str, float]:
    """The activation that alone reads a node: its node, the kernels' name for it, its slope.

    Without one: the node itself, "identity" and 0.
    """
    nothing = (number, "identity", 0.0)
    reader = only_reader(graph, number)
    if reader is None or reader[1] != 0:
        return nothing
    node = graph.nodes[reader[0]]
    op = canonical_name(node.op)
    try:
        if op == "Activation":
            kind = read_choice(node.attributes, "act_type", ACTIVATIONS)
            return reader[0], kind, 0.0
        if op == "LeakyReLU":
            kind = read_choice(node.attributes, "act_type", (*LEAKY, "prelu", "rrelu"), "leaky")
            if kind in LEAKY:
                return reader[0], kind, read_number(node.attributes, "slope", 0.25)
    except AttributeFormatError:
        return nothing  # The engine reports it.
    return (reader[0], op, 0.0) if op in ACTIVATIONS else nothing

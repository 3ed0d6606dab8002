"""What the heads of a graph compute last: softmaxes over classes, sigmoids, or anything else."""

from __future__ import annotations

from fastprop.graph.attributes import (
    AttributeFormatError,
    read_choice,
    read_flag,
    read_integer,
)
from fastprop.graph.graph import Entry, Graph, Node
from fastprop.graph.operators import canonical_name

__all__ = ["is_last_axis_softmax", "is_passed_through", "is_sigmoid", "trace"]

PASSED_THROUGH = frozenset({"_copy", "BlockGrad", "make_loss", "MakeLoss"})
MAX_TRACED = 64
ROW_MAJOR = frozenset({"Reshape", "Flatten", "expand_dims", "squeeze"})


def is_passed_through(node: Node) -> bool:
    """Whether the node returns its first input as it is at inference."""
    op = canonical_name(node.op)
    if op == "Dropout":
        return node.attributes.get("mode", "training") == "training"
    return op in PASSED_THROUGH


def trace(graph: Graph, entry: Entry, *, reshapes: bool = False) -> Entry:
    """Follow an entry back over nodes that leave its elements (and their order) as they are.

    Parameters
    ----------
    graph : Graph
        The graph of the entry.
    entry : Entry
        Where to begin.
    reshapes : bool
        Follow over reshapes too, which keep the elements and their row-major order.

    Returns
    -------
    Entry
        The first that computes something, or that is too many steps away to go on looking.
    """
    for _ in range(MAX_TRACED):
        if entry.output != 0:
            break
        node = graph.nodes[entry.node]
        if node.is_variable or not node.inputs:
            break
        if not is_passed_through(node) and not (reshapes and canonical_name(node.op) in ROW_MAJOR):
            break
        entry = node.inputs[0]
    return entry


def is_last_axis_softmax(node: Node, n_dimensions: int) -> bool:
    """Whether the node is a plain softmax over the last of `n_dimensions` axes.

    Temperatures, lengths, type changes and attributes that cannot be read make it something else.
    """
    op = canonical_name(node.op)
    attributes = node.attributes
    try:
        if op == "softmax":
            axis = read_integer(attributes, "axis", -1)
            return (
                axis in (-1, n_dimensions - 1)
                and attributes.get("temperature", "None") == "None"
                and attributes.get("dtype", "None") == "None"
                and not read_flag(attributes, "use_length", False)
                and len(node.inputs) == 1
            )
        if op == "SoftmaxActivation":
            mode = read_choice(attributes, "mode", ("instance", "channel"), "instance")
            return mode == "instance"
        if op == "SoftmaxOutput":
            if read_flag(attributes, "multi_output", False):
                return n_dimensions == 2
            return n_dimensions == 2 or read_flag(attributes, "preserve_shape", False)
    except AttributeFormatError:
        pass  # The engine reports it.
    return False


def is_sigmoid(node: Node) -> bool:
    """Whether the node is the logistic function of its first input."""
    op = canonical_name(node.op)
    return op in ("sigmoid", "LogisticRegressionOutput") or (
        op == "Activation" and node.attributes.get("act_type") == "sigmoid"
    )

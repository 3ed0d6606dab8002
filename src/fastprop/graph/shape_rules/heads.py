"""Heads: softmax and the outputs that training puts a loss on."""

from __future__ import annotations

from math import prod

from fastprop.graph.attributes import (
    read_choice,
    read_flag,
    read_integer,
)
from fastprop.graph.shape_rules.elementwise import same
from fastprop.graph.shape_rules.layers import without
from fastprop.graph.shape_rules.node_shapes import (
    NodeShapes,
    ShapeConflictError,
    axis_of,
    merge,
    show,
    size,
)


def softmax(node: NodeShapes) -> None:
    """Keep the data's shape; lengths, where given, drop the axis."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is not None:
        axis = axis_of(read_integer(node.attributes, "axis", -1), len(shape))
        if len(node.inputs) > 1:
            node.input(1, without(shape, axis))


def softmax_activation(node: NodeShapes) -> None:
    """Give the output the shape of the input; the mode is one of MXNet's."""
    mode = read_choice(node.attributes, "mode", ("instance", "channel"), "instance")
    same(node)
    shape = node.inputs[0]
    if mode == "channel" and shape is not None and len(shape) < 3:
        raise ShapeConflictError(f"mode=channel with data of shape {show(shape)}", 0)


def softmax_output(node: NodeShapes) -> None:
    """Keep the data's shape; labels are classes, or a distribution of the data's shape."""
    data, label = node.inputs
    shape = merge(data, node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is None or None in shape:
        return
    known = tuple(extent for extent in shape if extent is not None)
    multi_output = read_flag(node.attributes, "multi_output", False)
    read_flag(node.attributes, "preserve_shape", False)
    if label == shape:
        return
    if multi_output:
        if len(known) < 2:
            raise ShapeConflictError(f"multi_output with data of shape {show(known)}", 0)
        rest = known[2:]
        if label not in (known[:1] + rest, (*known[:1], 1, *rest)):
            node.input(1, (known[0], prod(rest)))
    else:
        node.input(1, known[:-1])


def regression_output(node: NodeShapes) -> None:
    """Keep the data's shape; labels have as many elements."""
    data, label = node.inputs
    shape = merge(data, node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is None or None in shape:
        return
    if label is None or size(label) != size(shape):
        node.input(1, shape[:1] if len(shape) == 2 and shape[1] == 1 else shape)


def svm_output(node: NodeShapes) -> None:
    """Keep the data's shape; labels are a class a row."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape:
        node.input(1, shape[:-1])

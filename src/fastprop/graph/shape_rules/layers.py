"""Layers, and the activations and normalisations between them."""

from __future__ import annotations

from collections.abc import Mapping

from fastprop.graph.attributes import (
    read_choice,
    read_flag,
    read_integer,
    read_tuple,
)
from fastprop.graph.shape_rules.elementwise import same
from fastprop.graph.shape_rules.node_shapes import (
    ACTIVATIONS,
    NodeShapes,
    Shape,
    ShapeConflictError,
    axis_of,
    merge,
    show,
    size,
    solve,
    without_none,
)


def fully_connected(node: NodeShapes) -> None:
    """Relate the shapes of `data · weightᵀ + bias`."""
    attributes = node.attributes
    n_hidden = read_integer(attributes, "num_hidden")
    if n_hidden < 1:
        raise ShapeConflictError(f"num_hidden is {n_hidden}")
    no_bias = read_flag(attributes, "no_bias", False)
    flatten = read_flag(attributes, "flatten", True)
    if len(node.inputs) != (2 if no_bias else 3):
        raise ShapeConflictError(f"{len(node.inputs)} inputs with no_bias={no_bias}")
    node.input(1, (n_hidden, None))
    if not no_bias:
        bias = node.inputs[2]
        node.input(2, (n_hidden, 1) if bias is not None and len(bias) == 2 else (n_hidden,))
    weight, data = node.inputs[1], node.inputs[0]
    assert weight is not None
    width = weight[1]
    if data is None:
        if flatten:
            node.output(0, (None, n_hidden))
            return
        result = node.outputs[0]
        if result is not None:
            node.input(0, (*result[:-1], width))
        return
    if not data:
        raise ShapeConflictError("data has no dimensions", 0)
    if flatten:
        try:
            rest = solve(data[1:], width)
        except ShapeConflictError:
            raise ShapeConflictError(
                f"data of shape {show(data)} does not fit a weight of shape {show(weight)}", 1
            ) from None
        node.output(0, (data[0], n_hidden))
        result = node.outputs[0]
        assert result is not None
        node.input(0, (result[0], *rest))
        node.input(1, (n_hidden, size(rest)))
    else:
        if data[-1] is not None and width is not None and data[-1] != width:
            raise ShapeConflictError(
                f"data of shape {show(data)} does not fit a weight of shape {show(weight)}", 1
            )
        node.output(0, (*data[:-1], n_hidden))
        result = node.outputs[0]
        assert result is not None
        node.input(0, (*result[:-1], width))
        node.input(1, (n_hidden, data[-1]))


def dot(node: NodeShapes) -> None:
    """Contraction of the left side's last with the right side's first axis; flags swap ends."""
    transpose_a = read_flag(node.attributes, "transpose_a", False)
    transpose_b = read_flag(node.attributes, "transpose_b", False)
    left, right = node.inputs
    if left == () or right == ():
        raise ShapeConflictError("an operand has no dimensions", 0 if left == () else 1)
    if left is None or right is None:
        return
    if len(left) == 1 and len(right) == 1:
        if transpose_a or transpose_b:
            raise ShapeConflictError("vectors cannot be transposed")
        node.input(0, right)
        node.input(1, left)
        node.output(0, (1,))
        return
    inner_left = 0 if transpose_a else len(left) - 1
    inner_right = len(right) - 1 if transpose_b else 0
    a, b = left[inner_left], right[inner_right]
    if a is not None and b is not None and a != b:
        raise ShapeConflictError(f"{show(left)} times {show(right)}: {a} columns meet {b} rows", 1)
    inner = b if a is None else a
    node.input(0, replaced(left, inner_left, inner))
    node.input(1, replaced(right, inner_right, inner))
    outer_left = without(left, inner_left) if len(left) > 1 else ()
    outer_right = without(right, inner_right) if len(right) > 1 else ()
    node.output(0, (*outer_left, *outer_right))
    result = node.outputs[0]
    assert result is not None
    found = list(result)
    if len(left) > 1:
        mine, found = found[: len(left) - 1], found[len(left) - 1 :]
        mine.insert(inner_left, inner)
        node.input(0, tuple(mine))
    if len(right) > 1:
        found.insert(inner_right, inner)
        node.input(1, tuple(found))


def batch_dot(node: NodeShapes) -> None:
    """Matrix products of two stacks of matrices."""
    transpose_a = read_flag(node.attributes, "transpose_a", False)
    transpose_b = read_flag(node.attributes, "transpose_b", False)
    left, right = node.inputs
    if left is None or right is None:
        return
    if len(left) != len(right) or len(left) < 3:
        raise ShapeConflictError(f"{show(left)} and {show(right)} are no stacks of matrices")
    stack = merge(left[:-2], right[:-2], 1)
    assert stack is not None
    rows, inner_a = (left[-1], left[-2]) if transpose_a else (left[-2], left[-1])
    inner_b, columns = (right[-1], right[-2]) if transpose_b else (right[-2], right[-1])
    if inner_a is not None and inner_b is not None and inner_a != inner_b:
        raise ShapeConflictError(f"{show(left)} times {show(right)}", 1)
    node.output(0, (*stack, rows, columns))


def replaced(shape: tuple[int | None, ...], axis: int, extent: int | None) -> Shape:
    """The shape with another extent at an axis."""
    return (*shape[:axis], extent, *shape[axis + 1 :])


def without(shape: tuple[int | None, ...], axis: int) -> tuple[int | None, ...]:
    """The shape without an axis."""
    return shape[:axis] + shape[axis + 1 :]


def embedding(node: NodeShapes) -> None:
    """Give each element of the data a row of the weight."""
    n_rows = read_integer(node.attributes, "input_dim")
    n_columns = read_integer(node.attributes, "output_dim")
    node.input(1, (n_rows, n_columns))
    data, result = node.inputs[0], node.outputs[0]
    if result is not None:
        if not result:
            raise ShapeConflictError("the result has no dimensions")
        node.input(0, result[:-1])
        data = node.inputs[0]
    if data is not None:
        node.output(0, (*data, n_columns))


def take(node: NodeShapes) -> None:
    """Slices of the data along an axis, one for each index."""
    data, indices = node.inputs
    if data is None or indices is None:
        return
    axis = axis_of(read_integer(node.attributes, "axis", 0), len(data))
    node.output(0, (*data[:axis], *indices, *data[axis + 1 :]))


def activation_with_slope(node: NodeShapes) -> None:
    """Keep the data's shape; prelu has one slope, one a channel or one an element."""
    kind = leaky_kind(node.attributes)
    if len(node.inputs) != (2 if kind == "prelu" else 1):
        raise ShapeConflictError(f"{len(node.inputs)} inputs with act_type={kind}")
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if kind == "rrelu":
        node.output(1, shape)
    if kind == "prelu" and shape is not None:
        slope = node.inputs[1]
        channels = shape[1] if len(shape) > 1 else shape[0] if shape else None
        if slope is None:
            node.input(1, (channels,))
        elif slope not in ((1,), (channels,)):
            node.input(1, shape)


def leaky_kind(attributes: Mapping[str, str]) -> str:
    """Which of the LeakyReLU family it is."""
    return read_choice(
        attributes, "act_type", ("rrelu", "leaky", "prelu", "elu", "selu", "gelu"), "leaky"
    )


def activation(node: NodeShapes) -> None:
    """Give the output the shape of the input; the kind is one of MXNet's."""
    read_choice(node.attributes, "act_type", ACTIVATIONS)
    same(node)


def dropout(node: NodeShapes) -> None:
    """Keep the data's shape; the mask's has 1 on the axes that share it."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is not None:
        mask = list(shape)
        for axis in without_none(read_tuple(node.attributes, "axes"), "axes"):
            mask[axis_of(axis, len(mask), what="axes")] = 1
        node.output(1, tuple(mask))


def batch_norm(node: NodeShapes) -> None:
    """Four vectors of one value a channel."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    channels: Shape = (None,)
    for known in (*node.inputs[1:], *node.outputs[1:]):
        channels = merge(channels, known)
    if shape is not None:
        axis = axis_of(read_integer(node.attributes, "axis", 1), len(shape))
        channels = merge(channels, (shape[axis],))
        assert channels is not None
        node.input(0, replaced(shape, axis, channels[0]))
        node.output(0, node.inputs[0])
    for position in range(1, 5):
        node.input(position, channels)
    for position in range(1, len(node.outputs)):
        node.output(position, channels)


def layer_norm(node: NodeShapes) -> None:
    """Two vectors along the normalised axis."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    channels = merge(merge((None,), node.inputs[1], 1), node.inputs[2], 2)
    if shape is not None:
        axis = axis_of(read_integer(node.attributes, "axis", -1), len(shape))
        channels = merge(channels, (shape[axis],))
        assert channels is not None
        node.input(0, replaced(shape, axis, channels[0]))
        node.output(0, node.inputs[0])
        for position in range(1, len(node.outputs)):
            node.output(position, replaced(shape, axis, 1))
    node.input(1, channels)
    node.input(2, channels)


def instance_norm(node: NodeShapes) -> None:
    """Two vectors of one value a channel; channels on axis 1."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is not None:
        if len(shape) < 3:
            raise ShapeConflictError(f"data of shape {show(shape)} has no axes to normalise", 0)
        node.input(1, (shape[1],))
        node.input(2, (shape[1],))
        node.output(1, shape[:2])
        node.output(2, shape[:2])


def l2_normalization(node: NodeShapes) -> None:
    """Keep the data's shape, and find the norms'."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    mode = read_choice(node.attributes, "mode", ("instance", "channel", "spatial"), "instance")
    if shape is None:
        return
    if mode != "instance" and len(shape) < 3:
        raise ShapeConflictError(f"mode={mode} with data of shape {show(shape)}", 0)
    if mode == "instance":
        node.output(1, shape[:1])
    elif mode == "channel":
        node.output(1, replaced(shape, 1, 1))
    else:
        node.output(1, shape[:2])

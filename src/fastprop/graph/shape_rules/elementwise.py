"""Operators that combine or change elements one by one."""

from __future__ import annotations

from fastprop.graph.shape_rules.node_shapes import NodeShapes, ShapeConflictError, merge, show


def same(node: NodeShapes) -> None:
    """Every input and the first output have one shape."""
    shape = node.outputs[0]
    for position, known in enumerate(node.inputs):
        if known is not shape:
            shape = merge(known, shape, position)
    for position in range(len(node.inputs)):
        node.input(position, shape)
    node.output(0, shape)


def broadcast(node: NodeShapes) -> None:
    """NumPy's broadcasting of two inputs."""
    left, right = node.inputs
    if left is None or right is None:
        return
    n_dimensions = max(len(left), len(right))
    padded_left = (1,) * (n_dimensions - len(left)) + left
    padded_right = (1,) * (n_dimensions - len(right)) + right
    extents: list[int | None] = []
    for a, b in zip(padded_left, padded_right):
        if a == 1:
            extents.append(b)
        elif b == 1 or a == b:
            extents.append(a)
        elif a is None or b is None:
            extents.append(b if a is None else a)
        else:
            raise ShapeConflictError(f"{show(left)} and {show(right)} do not broadcast")
    node.output(0, tuple(extents))
    result = node.outputs[0]
    assert result is not None
    for position, (mine, other) in enumerate(((left, right), (right, left))):
        offset = n_dimensions - len(mine)
        other_offset = n_dimensions - len(other)
        found = list(mine)
        for i, extent in enumerate(mine):
            j = i + offset
            facing = other[j - other_offset] if j >= other_offset else 1
            if extent is None and facing == 1:
                found[i] = result[j]
        node.input(position, tuple(found))


def where(node: NodeShapes) -> None:
    """Require a condition of the data's shape, or one condition a row."""
    condition, *branches = node.inputs
    shape = merge(merge(branches[0], branches[1], 2), node.outputs[0])
    node.input(1, shape)
    node.input(2, shape)
    node.output(0, shape)
    if condition is not None and shape is not None:
        if len(condition) == 1 and len(shape) != 1:
            node.input(0, (shape[0],))
        else:
            node.input(0, shape)

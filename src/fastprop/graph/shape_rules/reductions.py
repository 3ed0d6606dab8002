"""Operators that reduce axes."""

from __future__ import annotations

from functools import lru_cache

from fastprop.graph.attributes import (
    read_flag,
    read_tuple,
)
from fastprop.graph.shape_rules.node_shapes import (
    NodeShapes,
    ShapeConflictError,
    axis_of,
    show,
    without_none,
)


@lru_cache(maxsize=1024)
def reduced_axes(
    axes: tuple[int | None, ...] | None, exclude: bool, n_dimensions: int
) -> tuple[int, ...]:
    """Return the axes that a reduction removes."""
    if not axes:
        return tuple(range(n_dimensions))
    chosen = sorted(axis_of(axis, n_dimensions) for axis in without_none(axes, "axis"))
    if len(set(chosen)) != len(chosen):
        raise ShapeConflictError(f"axes {axes} repeat")
    if exclude:
        return tuple(axis for axis in range(n_dimensions) if axis not in chosen)
    return tuple(chosen)


def reduction(node: NodeShapes) -> None:
    """Reduce some axes to one element; they go, or stay with extent 1."""
    data = node.inputs[0]
    if data is None:
        return
    axes = reduced_axes(
        read_tuple(node.attributes, "axis"),
        read_flag(node.attributes, "exclude", False),
        len(data),
    )
    if read_flag(node.attributes, "keepdims", False):
        node.output(0, tuple(1 if i in axes else extent for i, extent in enumerate(data)))
    else:
        node.output(0, tuple(e for i, e in enumerate(data) if i not in axes) or (1,))


def square_sum(node: NodeShapes) -> None:
    """As `sum`; row-sparse data of two dimensions along one axis."""
    data = node.inputs[0]
    if data is not None and len(data) != 2:
        raise ShapeConflictError(f"data of shape {show(data)} is no matrix", 0)
    axes = read_tuple(node.attributes, "axis")
    if axes is None or len(axes) != 1:
        raise ShapeConflictError("axis is not one axis")
    reduction(node)

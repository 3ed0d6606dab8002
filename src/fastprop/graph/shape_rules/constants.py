"""Operators without inputs."""

from __future__ import annotations

from fastprop.graph.attributes import read_tuple
from fastprop.graph.shape_rules.node_shapes import NodeShapes, ShapeConflictError, without_none


def constant(node: NodeShapes) -> None:
    """Take the shape that the attributes name."""
    shape = without_none(read_tuple(node.attributes, "shape"), "shape")
    if any(extent < 0 for extent in shape):
        raise ShapeConflictError(f"shape {shape} has a negative extent")
    node.output(0, shape)

"""Sums and the like over axes other than the rows'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from fastprop.graph.attributes import read_choice, read_flag, read_integer, read_tuple
from fastprop.graph.graph import Node
from fastprop.graph.operators import REDUCTIONS, canonical_name
from fastprop.graph.shape_rules.reductions import reduced_axes
from fastprop.native.draft import Inputs, Operation, SparseRows, Value
from fastprop.native.lowering import Lower, Lowering
from fastprop.native.operators.layers import sparse_layer

__all__ = ["LOWERINGS"]


def reduction(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    data, attributes = inputs[0], node.attributes
    n_dimensions = 2 if isinstance(data, SparseRows) else len(lowering.value(data).shape)
    axes = reduced_axes(
        read_tuple(attributes, "axis"), read_flag(attributes, "exclude", False), n_dimensions
    )
    if 0 in axes:
        raise lowering.refuse("reduces over the rows")
    function = canonical_name(node.op)
    if function == "norm":
        function = f"norm{read_integer(attributes, 'ord', 2)}"
        if read_choice(attributes, "out_dtype", ("None", "float32"), "None") not in (
            "None",
            "float32",
        ):
            raise lowering.refuse("changes the type")
    if isinstance(data, SparseRows) and axes == (1,):
        summed = sum_of_sparse(lowering, data, function)
        if summed is not None:
            return [summed]
    value = lowering.value(data)
    kept = tuple(axis for axis in range(n_dimensions) if axis not in axes)
    last = lowering.rearrange([value], lambda parts: np.transpose(parts[0], kept + axes))
    group = prod(value.shape[axis] for axis in axes)
    view = lowering.emit("reduce", [last.view], value.width // group, function=function)
    return [Value(view, lowering.shapes[0])]


def sum_of_sparse(lowering: Lowering, rows: SparseRows, function: str) -> Value | None:
    """The sum of each sparse row: its product with ones. None for what is no sum."""
    scale = 1.0
    if function == "mean":
        scale = 1 / rows.width
    elif function == "_square_sum" and not rows.function:
        rows = SparseRows(rows.width, "square", rows.scale * rows.scale)
    elif function != "sum":
        return None
    width = rows.width
    total = sparse_layer(
        lowering, rows, lambda: np.ones((width, 1), np.float32), lowering.shapes[0]
    )
    return lowering.scaled(total, scale)


LOWERINGS: Mapping[str, Lower] = dict.fromkeys((*REDUCTIONS, "_square_sum"), reduction)

"""Operators that move elements about, or leave them as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop._reference import reference_function
from fastprop.graph.attributes import read_integer
from fastprop.graph.graph import Node
from fastprop.graph.operators import canonical_name
from fastprop.native.draft import Inputs, Operation, SparseRows
from fastprop.native.lowering import PROBED_ROWS, Lower, Lowering

__all__ = ["LOWERINGS"]

MOVING = (
    "Concat",
    "Flatten",
    "Reshape",
    "SwapAxis",
    "broadcast_axis",
    "broadcast_to",
    "expand_dims",
    "slice",
    "slice_axis",
    "squeeze",
    "stack",
    "transpose",
)


def moved(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    """One result of moved elements."""
    function = reference_function(canonical_name(node.op))
    values = [lowering.value(data) for data in inputs]
    return [lowering.rearrange(values, partial(output, function, node, 0))]


def split(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    function = reference_function("SliceChannel")
    value = lowering.value(inputs[0])
    return [
        lowering.rearrange([value], partial(output, function, node, number))
        for number in range(read_integer(node.attributes, "num_outputs"))
    ]


def output(function: Any, node: Node, number: int, parts: Sequence[Any]) -> npt.NDArray[Any]:
    """One output of an operator."""
    result: npt.NDArray[Any] = function(node.attributes, parts)[number]
    return result


def slice_like(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    value, like = lowering.value(inputs[0]), inputs[1]
    shape = (PROBED_ROWS, like.width) if isinstance(like, SparseRows) else like.shape
    # Only the shape of the second matters.
    template = np.broadcast_to(np.float64(0), shape)
    function = reference_function("slice_like")

    def rearrange(parts: Sequence[Any]) -> npt.NDArray[Any]:
        return output(function, node, 0, [parts[0], template])

    return [lowering.rearrange([value], rearrange)]


def unchanged(_lowering: Lowering, _node: Node, inputs: Inputs) -> Sequence[Operation]:
    return [inputs[0]]


def dropout(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    if node.attributes.get("mode", "training") != "training":
        raise lowering.refuse("is random at inference")
    return [inputs[0]]


LOWERINGS: Mapping[str, Lower] = {
    **dict.fromkeys(MOVING, moved),
    **dict.fromkeys(
        (
            "BlockGrad",
            "LinearRegressionOutput",
            "MAERegressionOutput",
            "MakeLoss",
            "SVMOutput",
            "_copy",
            "cast_storage",
            "make_loss",
        ),
        unchanged,
    ),
    "Dropout": dropout,
    "SliceChannel": split,
    "slice_like": slice_like,
}

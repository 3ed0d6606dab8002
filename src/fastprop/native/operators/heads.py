"""Softmaxes: over neighbouring elements, to which others are brought first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from fastprop.graph.attributes import read_choice, read_flag, read_integer, read_number
from fastprop.graph.graph import Node
from fastprop.graph.operators import canonical_name
from fastprop.native.draft import Inputs, Operation, Value
from fastprop.native.lowering import Lower, Lowering

__all__ = ["LOWERINGS"]


def softmax_over(
    lowering: Lowering,
    value: Value,
    axis: int,
    function: str = "softmax",
    lengths: Value | None = None,
) -> Value:
    """Softmax over one axis, of as many elements as `lengths` says where it is given."""
    n_dimensions = len(value.shape)
    axis %= n_dimensions
    if axis == 0:
        raise lowering.refuse("normalises over the rows")
    last = value
    if axis != n_dimensions - 1:
        last = lowering.rearrange([value], lambda parts: np.moveaxis(parts[0], axis, -1))
    view = lowering.emit(
        "softmax",
        [last.view, *([] if lengths is None else [lengths.view])],
        value.width,
        function=function,
        numbers={"group": float(value.shape[axis])},
        in_place=lengths is None,
    )
    result = Value(view, last.shape)
    if axis != n_dimensions - 1:
        return lowering.rearrange([result], lambda parts: np.moveaxis(parts[0], -1, axis))
    return result


def plain_softmax(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    attributes, function = node.attributes, canonical_name(node.op)
    if attributes.get("dtype", "None") not in ("None", "float32"):
        raise lowering.refuse("changes the type")
    value = lowering.value(inputs[0])
    if attributes.get("temperature", "None") != "None":
        value = lowering.scaled(value, 1 / read_number(attributes, "temperature"))
    if function == "softmin":
        value, function = lowering.scaled(value, -1), "softmax"
    lengths = lowering.value(inputs[1]) if len(inputs) > 1 else None
    axis = read_integer(attributes, "axis", -1)
    return [softmax_over(lowering, value, axis, function, lengths)]


def softmax_activation(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    mode = read_choice(node.attributes, "mode", ("instance", "channel"), "instance")
    value = lowering.value(inputs[0])
    if mode == "channel":
        return [softmax_over(lowering, value, 1)]
    return [flat_softmax(lowering, value)]


def flat_softmax(lowering: Lowering, value: Value) -> Value:
    """Softmax over all elements of a row."""
    flat = Value(value.view, (value.shape[0], prod(value.shape[1:])), value.exclusive)
    return Value(softmax_over(lowering, flat, 1).view, value.shape)


def softmax_output(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    value = lowering.value(inputs[0])
    if read_flag(node.attributes, "multi_output", False):
        return [softmax_over(lowering, value, 1)]
    if read_flag(node.attributes, "preserve_shape", False):
        return [softmax_over(lowering, value, -1)]
    if len(value.shape) == 4:
        raise lowering.refuse("normalises over other axes with and without oneDNN")
    return [flat_softmax(lowering, value)]


LOWERINGS: Mapping[str, Lower] = {
    **dict.fromkeys(("softmax", "log_softmax", "softmin"), plain_softmax),
    "SoftmaxActivation": softmax_activation,
    "SoftmaxOutput": softmax_output,
}

"""Normalisations at inference: with stored statistics, or with those of the row itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fastprop.graph.attributes import read_choice, read_flag, read_integer, read_number
from fastprop.graph.graph import Node
from fastprop.native.draft import Constant, Inputs, Operation, Value
from fastprop.native.lowering import Lower, Lowering

__all__ = ["LOWERINGS"]


def batch_norm(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    value = lowering.value(inputs[0])
    gamma, beta, mean, variance = constants(lowering, inputs[1:])
    attributes = node.attributes
    eps = read_number(attributes, "eps", 1e-3)
    fixed = read_flag(attributes, "fix_gamma", True)
    shape = along(lowering, value, read_integer(attributes, "axis", 1), gamma.shape[0])

    def scale() -> npt.NDArray[np.float64]:
        inverse: npt.NDArray[np.float64] = 1 / np.sqrt(variance.value + eps)
        return (inverse if fixed else gamma.value * inverse).reshape(shape)

    def shift() -> npt.NDArray[np.float64]:
        return beta.value.reshape(shape) - mean.value.reshape(shape) * scale()

    return [affine(lowering, value, Constant(shape, scale), Constant(shape, shift))]


def layer_norm(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    value = lowering.value(inputs[0])
    gamma, beta = constants(lowering, inputs[1:])
    axis = read_integer(node.attributes, "axis", -1)
    shape = along(lowering, value, axis, gamma.shape[0])
    eps = read_number(node.attributes, "eps", 1e-5)
    normal = normalize(lowering, value, (axis % len(value.shape),), "layer", eps)
    scale = Constant(shape, lambda: gamma.value.reshape(shape))
    shift = Constant(shape, lambda: beta.value.reshape(shape))
    return [affine(lowering, normal, scale, shift)]


def instance_norm(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    value = lowering.value(inputs[0])
    gamma, beta = constants(lowering, inputs[1:])
    shape = along(lowering, value, 1, gamma.shape[0])
    eps = read_number(node.attributes, "eps", 1e-3)
    normal = normalize(lowering, value, tuple(range(2, len(value.shape))), "layer", eps)
    scale = Constant(shape, lambda: gamma.value.reshape(shape))
    shift = Constant(shape, lambda: beta.value.reshape(shape))
    return [affine(lowering, normal, scale, shift)]


def l2_normalization(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    value = lowering.value(inputs[0])
    mode = read_choice(node.attributes, "mode", ("instance", "channel", "spatial"), "instance")
    first, last = {
        "instance": (1, len(value.shape)),
        "channel": (1, 2),
        "spatial": (2, len(value.shape)),
    }[mode]
    eps = read_number(node.attributes, "eps", 1e-10)
    return [normalize(lowering, value, tuple(range(first, last)), "length", eps)]


def constants(lowering: Lowering, inputs: Inputs) -> list[Constant]:
    """The parameters and states of a normalisation."""
    found = [operation for operation in inputs if isinstance(operation, Constant)]
    if len(found) != len(inputs):
        raise lowering.refuse("has parameters that depend on the rows")
    return found


def along(lowering: Lowering, value: Value, axis: int, width: int) -> tuple[int, ...]:
    """The shape in which parameters go along an axis."""
    n_dimensions = len(value.shape)
    axis %= n_dimensions
    if axis == 0:
        raise lowering.refuse("normalises over the rows")
    return tuple(width if i == axis else 1 for i in range(n_dimensions))


def affine(lowering: Lowering, value: Value, scale: Constant, shift: Constant) -> Value:
    """The value scaled and shifted."""
    tensors = {
        "scale": lowering.constant(scale, value.shape),
        "shift": lowering.constant(shift, value.shape),
    }
    view = lowering.emit("affine", [value.view], value.width, tensors=tensors, in_place=True)
    return Value(view, value.shape)


def normalize(
    lowering: Lowering, value: Value, axes: tuple[int, ...], function: str, eps: float
) -> Value:
    """Normalise over some axes, which are brought to the end first."""
    n_dimensions = len(value.shape)
    behind = tuple(range(n_dimensions - len(axes), n_dimensions))
    group = 1
    for axis in axes:
        group *= value.shape[axis]
    last = lowering.rearrange([value], lambda parts: np.moveaxis(parts[0], axes, behind))
    view = lowering.emit(
        "normalize",
        [last.view],
        value.width,
        function=function,
        numbers={"group": float(group), "eps": eps},
        in_place=True,
    )
    result = Value(view, last.shape)
    return lowering.rearrange([result], lambda parts: np.moveaxis(parts[0], behind, axes))


LOWERINGS: Mapping[str, Lower] = {
    "BatchNorm": batch_norm,
    "InstanceNorm": instance_norm,
    "L2Normalization": l2_normalization,
    "LayerNorm": layer_norm,
}

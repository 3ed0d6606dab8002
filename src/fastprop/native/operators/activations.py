"""Activations: the last part of a layer where they alone read it, else steps of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastprop.graph.attributes import read_choice, read_number
from fastprop.graph.follow import LEAKY
from fastprop.graph.graph import Node
from fastprop.graph.shape_rules.node_shapes import ACTIVATIONS
from fastprop.native.draft import Constant, Inputs, Operation, Value
from fastprop.native.lowering import Lower, Lowering
from fastprop.native.tensors import Recipe

__all__ = ["LOWERINGS"]

LAYERS = ("sparse", "dense")


def activate(
    lowering: Lowering,
    data: Operation,
    function: str,
    *,
    numbers: Mapping[str, float] | None = None,
    slopes: Recipe | None = None,
) -> Value:
    """An activation of every element."""
    value = lowering.value(data)
    maker = value.view.buffer.maker
    if (
        value.exclusive
        and value.view.is_whole
        and maker is not None
        and maker.op in LAYERS
        and maker.function == "identity"
        and (slopes is None or "repeat" not in maker.numbers)
    ):
        maker.function = function
        maker.numbers.update(numbers or {})
        if slopes is not None:
            maker.tensors["slopes"] = slopes
        return value
    view = lowering.emit(
        "activate",
        [value.view],
        value.width,
        function=function,
        tensors={} if slopes is None else {"slopes": slopes},
        numbers=numbers,
        in_place=True,
    )
    return Value(view, value.shape)


def activation(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    return [activate(lowering, inputs[0], read_choice(node.attributes, "act_type", ACTIVATIONS))]


def leaky_relu(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    kind = read_choice(node.attributes, "act_type", (*LEAKY, "prelu", "rrelu"), "leaky")
    slope = read_number(node.attributes, "slope", 0.25)
    if kind == "rrelu":
        low = read_number(node.attributes, "lower_bound", 0.125)
        high = read_number(node.attributes, "upper_bound", 0.334)
        kind, slope = "leaky", (low + high) / 2
    if kind != "prelu":
        numbers = {"alpha": slope} if kind in ("leaky", "elu") else {}
        return [activate(lowering, inputs[0], kind, numbers=numbers)]
    value, gamma = lowering.value(inputs[0]), inputs[1]
    if not isinstance(gamma, Constant):
        raise lowering.refuse("has slopes that depend on the rows")
    shape = gamma.shape
    if len(shape) == 1 and len(value.shape) > 1:
        shape = (1, *shape, *[1] * (len(value.shape) - 2))
    slopes = Constant(shape, lambda: gamma.value.reshape(shape))
    recipe = lowering.constant(slopes, value.shape)
    return [activate(lowering, value, "prelu", slopes=recipe)]


def named(function: str) -> Lower:
    """The operator that is an activation itself."""

    def lower(lowering: Lowering, _node: Node, inputs: Inputs) -> Sequence[Operation]:
        return [activate(lowering, inputs[0], function)]

    return lower


def hard_sigmoid(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    numbers = {
        "alpha": read_number(node.attributes, "alpha", 0.2),
        "beta": read_number(node.attributes, "beta", 0.5),
    }
    return [activate(lowering, inputs[0], "hard_sigmoid", numbers=numbers)]


LOWERINGS: Mapping[str, Lower] = {
    "Activation": activation,
    "LeakyReLU": leaky_relu,
    "hard_sigmoid": hard_sigmoid,
    **{name: named(name) for name in ("relu", "sigmoid", "tanh", "softsign", "exp", "erf")},
    "LogisticRegressionOutput": named("sigmoid"),
}

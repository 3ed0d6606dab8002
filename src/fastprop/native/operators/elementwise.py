"""Arithmetic, element by element: with constants, numbers, or other results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fastprop.graph.attributes import read_number
from fastprop.graph.graph import Node
from fastprop.graph.operators import UNARY as ALL_UNARY
from fastprop.graph.operators import canonical_name
from fastprop.native.draft import Constant, Inputs, Operation, SparseRows, Value
from fastprop.native.lowering import PROBED_ROWS, Lower, Lowering

__all__ = ["LOWERINGS"]

# Those that the kernels have as activations, and those with settings.
ELSEWHERE = frozenset(["BlockGrad", "_copy", "clip", "hard_sigmoid", "make_loss", "smooth_l1"]) | {
    *(["relu", "sigmoid", "tanh", "softsign", "exp", "erf"]),
}
UNARY = [name for name in ALL_UNARY if name not in ELSEWHERE]
PAIRS = [
    "add",
    "sub",
    "mul",
    "div",
    "mod",
    "power",
    "maximum",
    "minimum",
    "hypot",
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "lesser",
    "lesser_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
]
ARITHMETIC = ("add", "sub", "mul", "div")
SCALAR_NAMES = {"add": "plus", "sub": "minus"}
# What becomes of a factor of the rows.
OF_SPARSE_ROWS: Mapping[str, Callable[[float], float]] = {
    "square": lambda scale: scale * scale,
    "abs": abs,
    "sign": lambda scale: float(np.sign(scale)),
    "negative": lambda scale: -scale,
}
# Operators that take whole numbers only, or give them on.
NUMBERED = {"Cast", "Embedding", "_contrib_SparseEmbedding", "softmax", "take"}
REVERSED = ("sub", "div", "mod", "power")
LAYERS = ("sparse", "dense")


def unary(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    data, function = inputs[0], canonical_name(node.op)
    if isinstance(data, SparseRows) and function in OF_SPARSE_ROWS and not data.function:
        return [of_sparse_rows(data, function)]
    return [of_each(lowering, data, function)]


def of_sparse_rows(rows: SparseRows, function: str) -> SparseRows:
    """A function of the elements that keeps zeros."""
    scale = OF_SPARSE_ROWS[function](rows.scale)
    if function == "negative":
        return replace(rows, scale=scale)
    return replace(rows, function=function, scale=scale)


def clip(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    numbers = {
        "low": read_number(node.attributes, "a_min"),
        "high": read_number(node.attributes, "a_max"),
    }
    return [of_each(lowering, inputs[0], "clip", numbers)]


def smooth_l1(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    numbers = {"scalar": read_number(node.attributes, "scalar", 1.0)}
    return [of_each(lowering, inputs[0], "smooth_l1", numbers)]


def of_each(
    lowering: Lowering,
    data: Operation,
    function: str,
    numbers: Mapping[str, float] | None = None,
) -> Value:
    """A function of every element."""
    value = lowering.value(data)
    view = lowering.emit(
        "unary", [value.view], value.width, function=function, numbers=numbers, in_place=True
    )
    return Value(view, value.shape)


def scalar(function: str, *, swapped: bool = False) -> Lower:
    """The operator that combines every element with a number."""

    def lower(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
        number = read_number(node.attributes, "scalar", 1.0)
        if isinstance(inputs[0], SparseRows) and function in ("mul", "div") and not swapped:
            factor = number if function == "mul" else 1 / number
            return [replace(inputs[0], scale=inputs[0].scale * factor)]
        value = lowering.value(inputs[0])
        numbers = {"scalar": number, "swapped": float(swapped)}
        view = lowering.emit(
            "binary", [value.view], value.width, function=function, numbers=numbers, in_place=True
        )
        return [Value(view, value.shape)]

    return lower


def binary(function: str) -> Lower:
    """The operator that combines two arrays, which may be broadcast."""

    def lower(lowering: Lowering, _node: Node, inputs: Inputs) -> Sequence[Operation]:
        left, right = inputs
        if isinstance(left, SparseRows) and left == right and squares(function, left):
            return [of_sparse_rows(left, "square")]
        if isinstance(left, Constant):
            return [with_constant(lowering, function, lowering.value(right), left, swapped=True)]
        if isinstance(right, Constant):
            return [with_constant(lowering, function, lowering.value(left), right, swapped=False)]
        return [of_two(lowering, function, lowering.value(left), lowering.value(right))]

    return lower


def squares(function: str, rows: SparseRows) -> bool:
    """Whether the function of the rows and themselves is their square."""
    return function == "mul" and not rows.function


def with_constant(
    lowering: Lowering, function: str, value: Value, constant: Constant, *, swapped: bool
) -> Value:
    """A result and a constant; a sum with what a layer has made becomes the layer's bias."""
    shape = tuple(np.broadcast_shapes(value.shape, constant.shape))
    recipe = lowering.constant(constant, shape)
    if function == "add" and shape == value.shape and takes_bias(value):
        assert value.view.buffer.maker is not None
        value.view.buffer.maker.tensors["bias"] = recipe
        return value
    value = broadcast(lowering, value, shape)
    view = lowering.emit(
        "binary",
        [value.view],
        row_width(shape),
        function=function,
        tensors={"constants": recipe},
        numbers={"swapped": float(swapped)},
        in_place=True,
    )
    return Value(view, shape)


def takes_bias(value: Value) -> bool:
    """Whether a layer without bias and activation has made the value for its reader alone."""
    maker = value.view.buffer.maker
    return (
        value.exclusive
        and value.view.is_whole
        and maker is not None
        and maker.op in LAYERS
        and maker.function == "identity"
        and "bias" not in maker.tensors
        and "repeat" not in maker.numbers
    )


def of_two(lowering: Lowering, function: str, left: Value, right: Value) -> Value:
    """Two results."""
    if len(left.shape) != len(right.shape):
        raise lowering.refuse("combines results of different numbers of dimensions")
    shape = tuple(np.broadcast_shapes(left.shape, right.shape))
    views = [broadcast(lowering, value, shape).view for value in (left, right)]
    view = lowering.emit("binary", views, row_width(shape), function=function, in_place=True)
    return Value(view, shape)


def broadcast(lowering: Lowering, value: Value, shape: tuple[int, ...]) -> Value:
    """The value in a larger shape; one of a single element a row is left as it is."""
    if value.shape == shape or value.width == 1:
        return value
    return lowering.rearrange([value], lambda parts: np.broadcast_to(parts[0], shape))


def row_width(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape)) // PROBED_ROWS


def where(lowering: Lowering, _node: Node, inputs: Inputs) -> Sequence[Operation]:
    condition, yes, no = (lowering.value(data) for data in inputs)
    shape = yes.shape
    if len(condition.shape) == 1:
        flags = Value(condition.view, (condition.shape[0], *[1] * (len(shape) - 1)))
        condition = lowering.rearrange([flags], lambda parts: np.broadcast_to(parts[0], shape))
    views = [value.view for value in (condition, yes, no)]
    return [Value(lowering.emit("where", views, row_width(shape), in_place=True), shape)]


def cast(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    kind = node.attributes.get("dtype")
    if kind == "float32":
        return [inputs[0]]
    readers = set(lowering.readers)
    if kind in ("int32", "int64") and readers and readers <= NUMBERED:
        return [of_each(lowering, inputs[0], "trunc")]
    if kind == "bool" and readers == {"Cast"}:
        return [of_each(lowering, of_each(lowering, inputs[0], "logical_not"), "logical_not")]
    if kind in ("uint8", "int8"):
        raise lowering.refuse(f"makes {kind}, which numbers may not fit")
    raise lowering.refuse(f"makes {kind} of what is then computed with")


def add_n(lowering: Lowering, _node: Node, inputs: Inputs) -> Sequence[Operation]:
    total, *others = inputs
    for other in others:
        total = binary("add")(lowering, _node, [total, other])[0]
    return [total]


LOWERINGS: Mapping[str, Lower] = {
    **dict.fromkeys(UNARY, unary),
    "clip": clip,
    "smooth_l1": smooth_l1,
    "add_n": add_n,
    "Cast": cast,
    "where": where,
    **{f"broadcast_{name}": binary(name) for name in PAIRS},
    **{f"elemwise_{name}" if name in ARITHMETIC else f"_{name}": binary(name) for name in PAIRS},
    **{f"_{SCALAR_NAMES.get(name, name)}_scalar": scalar(name) for name in PAIRS},
    **{f"_r{SCALAR_NAMES.get(name, name)}_scalar": scalar(name, swapped=True) for name in REVERSED},
}

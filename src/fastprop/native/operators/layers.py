"""Products with weights: dot, FullyConnected, and the bias that follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from fastprop.checkpoint.arrays import Parameter, RowSparseArray, parameter_dtype
from fastprop.graph.attributes import read_flag
from fastprop.graph.graph import Node
from fastprop.native.draft import Constant, Inputs, Operation, SparseRows, Value, View
from fastprop.native.lowering import PROBED_ROWS, Lower, Lowering
from fastprop.native.operators.elementwise import with_constant
from fastprop.native.tensors import Numbers, Panels, Recipe, RowOfColumn, Table
from fastprop.typing import CSR, FloatArray

__all__ = ["LOWERINGS", "float32", "sparse_layer"]


def fully_connected(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    data, weight = inputs[:2]
    bias = None if read_flag(node.attributes, "no_bias", False) else inputs[2]
    for parameter in (weight, *([] if bias is None else [bias])):
        if not isinstance(parameter, Constant):
            raise lowering.refuse("has a weight that depends on the rows")
    assert isinstance(weight, Constant)
    assert bias is None or isinstance(bias, Constant)
    if isinstance(data, SparseRows):
        result = sparse_layer(
            lowering, data, partial(transposed, weight), (PROBED_ROWS, weight.shape[0])
        )
    else:
        value = lowering.value(data)
        outputs, width = weight.shape
        kept = value.shape[:-1]
        if read_flag(node.attributes, "flatten", True):
            kept = value.shape[:1]
        view = dense_layer(
            lowering, value.view, value.width // width, outputs, partial(float32, weight)
        )
        result = Value(view, (*kept, outputs))
    if bias is not None:
        maker = result.view.buffer.maker
        if maker is None or maker.op == "binary":
            return [with_constant(lowering, "add", result, bias, swapped=False)]
        maker.tensors["bias"] = Numbers(lambda: float32(bias).reshape(-1))
    return [result]


def dot(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    data, weight = inputs
    if not isinstance(weight, Constant):
        raise lowering.refuse("multiplies two results, not one with a weight")
    transpose_b = read_flag(node.attributes, "transpose_b", False)
    if read_flag(node.attributes, "transpose_a", False):
        raise lowering.refuse("sums over the rows")
    if len(weight.shape) > 2:
        raise lowering.refuse(f"has a weight of {len(weight.shape)} dimensions")
    if isinstance(data, SparseRows):
        if len(weight.shape) == 1:
            return [sparse_product(lowering, data, weight, (PROBED_ROWS,))]
        if transpose_b:
            shape = (PROBED_ROWS, weight.shape[0])
            return [sparse_layer(lowering, data, partial(transposed, weight), shape)]
        return [sparse_product(lowering, data, weight, (PROBED_ROWS, weight.shape[1]))]
    value = lowering.value(data)
    if len(value.shape) == 1:
        raise lowering.refuse("sums over the rows")
    is_matrix = len(weight.shape) == 2
    width = weight.shape[1 if transpose_b and is_matrix else 0]
    tail = (weight.shape[0 if transpose_b else 1],) if is_matrix else ()

    def make() -> FloatArray:
        array = float32(weight)
        if not is_matrix:
            return array.reshape(1, -1)
        return array if transpose_b else array.T

    view = dense_layer(lowering, value.view, value.width // width, prod(tail), make)
    return [Value(view, (*value.shape[:-1], *tail))]


def sparse_product(
    lowering: Lowering, rows: SparseRows, weight: Constant, shape: tuple[int, ...]
) -> Value:
    """The rows times a weight with a row for each column, which is read where it is."""
    width = shape[1] if len(shape) == 2 else 1
    parameter = weight.parameter
    if len(weight.shape) == 2 and is_float32(parameter):
        return sparse_layer(lowering, rows, lambda: parameter, shape, parameter)
    return sparse_layer(lowering, rows, lambda: float32(weight).reshape(-1, width), shape)


def is_float32(parameter: Parameter | None) -> bool:
    """Whether it is a parameter whose rows the kernel can read where they are."""
    if parameter is None or isinstance(parameter, CSR):
        return False
    return parameter_dtype(parameter) == np.float32


def sparse_layer(
    lowering: Lowering,
    rows: SparseRows,
    weight: Callable[[], Any],
    shape: tuple[int, ...],
    source: Parameter | None = None,
) -> Value:
    """Add a sparse layer, as yet without bias or activation."""
    tensors: dict[str, Recipe] = {"weight": Table(weight, source)}
    if isinstance(source, RowSparseArray) and not source.is_full:
        tensors["row_of_column"] = RowOfColumn(source)
    view = lowering.emit(
        f"sparse_{rows.function}" if rows.function else "sparse",
        [View(lowering.rows, 0, rows.width)],
        prod(shape[1:]),
        function="identity",
        tensors=tensors,
    )
    return lowering.scaled(Value(view, shape), rows.scale)


def dense_layer(
    lowering: Lowering,
    data: View,
    repeat: int,
    outputs: int,
    weight: Callable[[], FloatArray],
) -> View:
    """Add a dense layer over each of `repeat` parts of a row."""
    numbers = {}
    if repeat > 1:
        data = lowering.compact(data)
        numbers["repeat"] = float(repeat)
    view = lowering.emit(
        "dense",
        [data],
        repeat * outputs,
        function="identity",
        tensors={"panels": Panels(weight)},
        numbers=numbers,
    )
    view.buffer.compact = repeat > 1
    return view


def float32(constant: Constant) -> FloatArray:
    """The constant as an array; a parameter that is one already is not copied."""
    parameter = constant.parameter
    if isinstance(parameter, RowSparseArray) and parameter.is_full:
        parameter = parameter.data
    if isinstance(parameter, np.ndarray) and parameter.dtype == np.float32:
        return parameter
    return constant.value.astype(np.float32)


def transposed(constant: Constant) -> FloatArray:
    return np.ascontiguousarray(float32(constant).T)


def batch_dot(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    left, right = (lowering.value(data) for data in inputs)
    if read_flag(node.attributes, "transpose_a", False):
        left = lowering.rearrange([left], lambda parts: np.swapaxes(parts[0], -1, -2))
    if read_flag(node.attributes, "transpose_b", False):
        right = lowering.rearrange([right], lambda parts: np.swapaxes(parts[0], -1, -2))
    numbers = {
        "count": float(prod(left.shape[:-2]) // PROBED_ROWS),
        "inner": float(left.shape[-1]),
    }
    shape = (*left.shape[:-1], right.shape[-1])
    width = prod(shape) // PROBED_ROWS
    return [
        Value(lowering.emit("batch_dot", [left.view, right.view], width, numbers=numbers), shape)
    ]


LOWERINGS: Mapping[str, Lower] = {
    "FullyConnected": fully_connected,
    "batch_dot": batch_dot,
    "dot": dot,
}

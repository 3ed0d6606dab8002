"""Rows of tables, chosen by numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy.typing as npt

from fastprop._reference import reference_function
from fastprop.graph.attributes import read_choice, read_integer
from fastprop.graph.graph import Node
from fastprop.native.draft import Constant, Inputs, Operation, Value
from fastprop.native.lowering import PROBED_ROWS, Lower, Lowering
from fastprop.native.operators.layers import float32
from fastprop.native.tensors import Numbers

__all__ = ["LOWERINGS"]


def embedding(lowering: Lowering, _node: Node, inputs: Inputs) -> Sequence[Operation]:
    table = inputs[1]
    if not isinstance(table, Constant):
        raise lowering.refuse("chooses rows of something that depends on the rows")
    return [chosen(lowering, lowering.value(inputs[0]), table, wraps=False)]


def take(lowering: Lowering, node: Node, inputs: Inputs) -> Sequence[Operation]:
    data, indices = inputs
    mode = read_choice(node.attributes, "mode", ("clip", "wrap", "raise"), "clip")
    if isinstance(data, Constant):
        if read_integer(node.attributes, "axis", 0) not in (0, -len(data.shape)):
            raise lowering.refuse("chooses along another axis than the table's first")
        if mode == "raise":
            raise lowering.refuse('has mode "raise", and ends a request in the middle')
        return [chosen(lowering, lowering.value(indices), data, wraps=mode == "wrap")]
    if not isinstance(indices, Constant):
        raise lowering.refuse("chooses from one result by another")
    function = reference_function("take")

    def rearrange(parts: Sequence[Any]) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = function(node.attributes, [parts[0], indices.value])[0]
        return result

    return [lowering.rearrange([lowering.value(data)], rearrange)]


def chosen(lowering: Lowering, numbers: Value, table: Constant, *, wraps: bool) -> Value:
    """The table's rows of these numbers."""
    shape = (*numbers.shape, *table.shape[1:])
    view = lowering.emit(
        "embedding",
        [numbers.view],
        prod(shape) // PROBED_ROWS,
        tensors={"table": Numbers(lambda: float32(table).reshape(table.shape[0], -1))},
        numbers={"wraps": float(wraps)},
    )
    return Value(view, shape)


LOWERINGS: Mapping[str, Lower] = {
    "Embedding": embedding,
    "_contrib_SparseEmbedding": embedding,
    "take": take,
}

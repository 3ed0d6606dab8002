"""A network whose shapes are known, as the core and libmxnet take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop import _core
from fastprop.checkpoint.arrays import Parameter, RowSparseArray
from fastprop.errors import ModelFormatError
from fastprop.graph.columns import Column
from fastprop.graph.network import Network
from fastprop.graph.operands import (
    needs_canonical_rows,
    parameters_read_in_place,
    row_sparse_operands,
)
from fastprop.graph.shapes import Shapes
from fastprop.libmxnet.library import load_mxnet_library
from fastprop.typing import CSR

__all__ = ["hand_over"]


def hand_over(
    network: Network,
    shapes: Shapes,
    head_widths: Sequence[int],
    columns: Sequence[Column],
    *,
    isa: str,
    layer: _core.SparseLayer | None,
    inputs: Sequence[tuple[str, bool]] | None,
) -> _core.MxnetEngine:
    """The engine of the core, everything about the network having been found out."""
    if inputs is None:
        inputs = [(spec.name, spec.storage == "csr") for spec in network.inputs]
    load_mxnet_library()
    in_place = parameters_read_in_place(network)
    row_sparse = row_sparse_operands(network)
    arguments = [
        prepare(name, value, in_place=name in in_place, row_sparse=name in row_sparse)
        for name, value in network.arguments.items()
    ]
    auxiliary = [
        prepare(name, value, in_place=False, row_sparse=False)
        for name, value in network.auxiliary.items()
    ]
    return _core.MxnetEngine(
        symbol_json=network.graph.to_json(),
        arguments=arguments,
        auxiliary=auxiliary,
        inputs=[(name, sparse, variable_row_shape(shapes, name)) for name, sparse in inputs],
        zero_inputs=[
            (name, False, variable_row_shape(shapes, name)) for name in network.labels_inputs
        ],
        head_widths=head_widths,
        columns=[(column.head, column.column) for column in columns],
        canonical_rows=needs_canonical_rows(network),
        sparse_layer=layer,
        isa=isa,
        owner=(network, arguments, auxiliary, layer),
    )


def variable_row_shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    shape = shapes.variables[name]
    if not shape or shape[0] != shapes.batch:
        raise ModelFormatError(
            f"input {name!r} has shape {shape} for {shapes.batch} rows: inputs need a row for "
            "each row that is scored"
        )
    return shape[1:]


def prepare(
    name: str, value: Parameter, *, in_place: bool, row_sparse: bool
) -> tuple[str, str, npt.NDArray[Any]]:
    """A parameter as the core takes it: name, how it is handed over, dense array."""
    mode = "row_sparse" if row_sparse else "borrow" if in_place else "copy"
    array = dense_array(value)
    if array.dtype.kind == "f":
        array = np.require(array, dtype=np.float32, requirements=["C", "A"])
    return name, mode, np.require(array, requirements=["C", "A"])


def dense_array(value: Parameter) -> npt.NDArray[Any]:
    if isinstance(value, RowSparseArray):
        return value.to_dense()
    if isinstance(value, CSR):
        dense = np.zeros(value.shape, dtype=value.data.dtype)
        rows = np.repeat(np.arange(value.shape[0]), np.diff(value.indptr))
        np.add.at(dense, (rows, value.indices), value.data)
        return dense
    return value

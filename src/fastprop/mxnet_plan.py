"""From a network to what the MXNet engine of the core is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop import _core
from fastprop.checkpoint.arrays import Parameter, RowSparseArray
from fastprop.engines import load_mxnet_library
from fastprop.errors import EngineError, ModelFormatError
from fastprop.graph.attributes import read_flag
from fastprop.graph.columns import Column
from fastprop.graph.network import Network
from fastprop.graph.operands import (
    needs_canonical_rows,
    parameters_read_in_place,
    row_sparse_operands,
)
from fastprop.graph.operators import canonical_name
from fastprop.graph.passes.split_sparse_layer import SplitNetwork
from fastprop.graph.shapes import Shapes, infer_shapes, known_shape
from fastprop.sparse_plan import sparse_layer
from fastprop.typing import CSR

__all__ = ["make_mxnet_engine", "network_shapes", "row_shapes"]

# Two batch sizes, so that a head that does not grow with its batch is noticed.
PROBED_BATCHES = (3, 5)


def make_mxnet_engine(
    network: Network,
    columns: Sequence[Column],
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    allow_unknown_operators: bool = False,
    isa: str = "best",
    split: SplitNetwork | None = None,
    weights: str = "mapped",
) -> _core.MxnetEngine:
    """Hand a network to MXNet.

    Parameters
    ----------
    network : Network
        What is to be run. Its parameters are borrowed where the graph only reads them, which is
        the large first layer, and copied elsewhere.
    columns : sequence of Column
        Which columns of the heads make up the scores; empty for the heads side by side.
    input_shapes : mapping of str to tuple of int, optional
        Row shapes that do not follow from the checkpoint.
    allow_unknown_operators : bool
        Let MXNet infer what we have no shape rule for.
    isa : str
        Instruction set of our own kernels.
    split : SplitNetwork, optional
        The same network with its sparse layer cut out, which then runs in our kernel.
    weights : str
        How that layer's weight is held; see `hold_weight`.

    Raises
    ------
    ModelFormatError
        Shapes do not fit, or a head has no row per input row.
    EngineError
        libmxnet is missing or refuses the graph, or an operator could crash it.
    """
    if not allow_unknown_operators:
        check_memory_safety(network)
    heads = row_shapes(network, input_shapes, allow_unknown_operators=allow_unknown_operators)
    inputs = [(spec.name, spec.storage == "csr") for spec in network.inputs]
    layer = None
    if split is not None:
        layer = sparse_layer(network, split, weights)
        inputs[0] = (split.rest.input_names[0], False)
        input_shapes = {
            name: shape for name, shape in (input_shapes or {}).items() if name != split.layer.rows
        }
        network = split.rest
    shapes = infer_shapes(network, input_shapes, PROBED_BATCHES[0], allow_unknown_operators)
    widths = [int(np.prod(shape, dtype=np.int64)) for shape in heads]
    return bare_engine(network, shapes, widths, columns, isa=isa, layer=layer, inputs=inputs)


def check_memory_safety(network: Network) -> None:
    """Refuse an operator of MXNet's that trusts the rows with where it reads and writes."""
    for node in network.graph.nodes:
        if canonical_name(node.op) == "softmax" and read_flag(node.attributes, "use_length", False):
            raise EngineError(
                f"node {node.name!r} ({node.op}): a length beyond its elements would crash MXNet, "
                'so that its engine needs allow_operators="all"'
            )


def bare_engine(
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


def row_shapes(
    network: Network,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    allow_unknown_operators: bool = False,
) -> tuple[tuple[int, ...], ...]:
    """Shape of each head without its batch axis; `ModelFormatError` for a head that has none."""
    small, large = (
        network_shapes(network, input_shapes, batch, allow_unknown_operators).heads
        for batch in PROBED_BATCHES
    )
    return tuple(
        row_shape(network.graph.nodes[head.node].name, few, many)
        for head, few, many in zip(network.graph.heads, small, large)
    )


def network_shapes(
    network: Network,
    input_shapes: Mapping[str, tuple[int, ...]] | None,
    batch: int,
    allow_unknown_operators: bool,
) -> Shapes:
    """Shapes of a network; where we have no rule for an operator, MXNet is asked for the heads."""
    shapes = infer_shapes(network, input_shapes, batch, allow_unknown_operators)
    if not allow_unknown_operators or all(
        known_shape(shapes.entries[head.node][head.output]) for head in network.graph.heads
    ):
        return shapes
    entries = list(shapes.entries)
    for head, shape in zip(network.graph.heads, ask_mxnet(network, shapes)):
        outputs = list(entries[head.node])
        outputs[head.output] = shape
        entries[head.node] = tuple(outputs)
    return Shapes(graph=shapes.graph, entries=tuple(entries), batch=batch)


def ask_mxnet(network: Network, shapes: Shapes) -> list[tuple[int, ...]]:
    engine = bare_engine(network, shapes, [], (), isa="best", layer=None, inputs=None)
    return [tuple(shape) for shape in engine.head_shapes(shapes.batch)]


def row_shape(name: str, few: tuple[int, ...], many: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a head for one row, from its shapes for the two probed batches."""
    per_row, rest = divmod(few[0], PROBED_BATCHES[0]) if few else (0, 1)
    if rest or many != (per_row * PROBED_BATCHES[1], *few[1:]):
        raise ModelFormatError(
            f"head {name!r} has shape {few} for {PROBED_BATCHES[0]} rows: scoring needs heads "
            "with a row for each row of the input"
        )
    return few[1:] if per_row == 1 else (per_row, *few[1:])


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

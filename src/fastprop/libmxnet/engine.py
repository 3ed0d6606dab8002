"""From a network to what the MXNet engine of the core is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fastprop import _core
from fastprop.errors import EngineError
from fastprop.graph.attributes import read_flag
from fastprop.graph.columns import Column
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name
from fastprop.graph.passes.split_sparse_layer import SplitNetwork
from fastprop.graph.shapes import infer_shapes
from fastprop.libmxnet.hand_over import hand_over
from fastprop.libmxnet.shapes import PROBED_BATCHES, row_shapes
from fastprop.libmxnet.sparse_layer import sparse_layer

__all__ = ["make_mxnet_engine"]


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
    return hand_over(network, shapes, widths, columns, isa=isa, layer=layer, inputs=inputs)


def check_memory_safety(network: Network) -> None:
    """Refuse an operator of MXNet's that trusts the rows with where it reads and writes."""
    for node in network.graph.nodes:
        if canonical_name(node.op) == "softmax" and read_flag(node.attributes, "use_length", False):
            raise EngineError(
                f"node {node.name!r} ({node.op}): a length beyond its elements would crash MXNet, "
                'so that its engine needs allow_operators="all"'
            )

"""From a cut-out sparse layer to what the core's kernel takes."""

from __future__ import annotations

import numpy as np

from fastprop import _core
from fastprop.graph.network import Network
from fastprop.graph.passes.split_sparse_layer import SplitNetwork
from fastprop.sparse_weights import hold_weight

__all__ = ["sparse_layer"]


def sparse_layer(network: Network, split: SplitNetwork, weights: str) -> _core.SparseLayer:
    """The cut-out layer as the core takes it."""
    layer = split.layer
    weight = hold_weight(network.arguments[layer.weight], weights)
    bias = None
    if layer.bias is not None:
        bias = np.require(
            np.asarray(network.arguments[layer.bias]).reshape(-1),
            dtype=np.float32,
            requirements=["C", "A"],
        )
    return (
        int(network.arguments[layer.weight].shape[0]),
        weight.rows,
        weight.row_of_column,
        bias,
        layer.activation,
        layer.alpha,
    )

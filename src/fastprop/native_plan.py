"""From a network to what the native engine of the core is made of."""

from __future__ import annotations

import numpy as np

from fastprop import _core
from fastprop.graph.chain import Chain, find_chain
from fastprop.graph.network import Network
from fastprop.graph.passes.split_sparse_layer import SplitNetwork
from fastprop.sparse_plan import sparse_layer
from fastprop.typing import FloatArray

__all__ = ["make_native_engine", "native_chain"]


def native_chain(split: SplitNetwork | None) -> Chain | str:
    """The chain that the native engine would run, or why it cannot."""
    if split is None:
        return "the rows are not read by one sparse layer alone"
    return find_chain(split.rest)


def make_native_engine(
    network: Network, split: SplitNetwork, chain: Chain, *, isa: str, weights: str
) -> _core.NativeEngine:
    """Pack a chain for the native engine.

    Parameters
    ----------
    network : Network
        The optimised network, with the sparse layer's parameters.
    split : SplitNetwork
        The same network with that layer cut out.
    chain : Chain
        The rest as a chain.
    isa, weights : str
        See `Model.predictor`. With "bfloat16" the dense layers are held so as well.
    """
    layer = sparse_layer(network, split, weights)
    layers = [
        (
            compact(split.rest, dense.weight),
            None if dense.bias is None else compact(split.rest, dense.bias).reshape(-1),
            dense.activation,
            dense.alpha,
        )
        for dense in chain.layers
    ]
    n_columns = len(layers[-1][0]) if layers else layer[1].shape[1]
    offsets: list[int] = []
    if chain.softmax_width is not None:
        offsets = list(range(0, n_columns + 1, chain.softmax_width))
    return _core.NativeEngine(
        sparse_layer=layer,
        layers=layers,
        softmax_offsets=offsets,
        bfloat16=weights == "bfloat16",
        isa=isa,
        owner=(network, layer, layers),
    )


def compact(network: Network, name: str) -> FloatArray:
    return np.require(network.arguments[name], dtype=np.float32, requirements=["C", "A"])

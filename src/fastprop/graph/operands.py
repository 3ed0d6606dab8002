"""What MXNet's operators ask of the storage of inputs and parameters."""

from __future__ import annotations

from fastprop.checkpoint.arrays import RowSparseArray
from fastprop.graph.attributes import AttributeFormatError, read_flag
from fastprop.graph.graph import Graph, Node
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name

__all__ = ["needs_canonical_rows", "parameters_read_in_place", "row_sparse_operands"]

# Operators of MXNet 1.9.1 that have no implementation for dense data (their FInferStorageType).
ROW_SPARSE_ONLY = {"_square_sum": (0,), "_sparse_retain": (0,), "_contrib_SparseEmbedding": (1,)}


def needs_canonical_rows(network: Network) -> bool:
    """Whether the rows of csr inputs must be sorted, their duplicates summed, before MXNet.

    `dot(csr, dense)` walks a row's entries one by one, so their order and repetition do not
    matter to it. Everything else may: `square` squares the parts of a duplicate one by one, and
    conversions keep the last of them.

    Parameters
    ----------
    network : Network
        The network that the engine is given.
    """
    graph = network.graph
    heads = {head.node for head in graph.heads}
    sparse = {
        name: value
        for name in row_sparse_operands(network)
        if isinstance(value := network.arguments[name], RowSparseArray)
    }
    for name in network.input_names:
        if network.storage(name) != "csr":
            continue
        node = graph.variable(name)
        if node in heads:
            return True
        for consumer, position in graph.consumers(node):
            if position != 0 or not is_plain_dot(graph.nodes[consumer]):
                return True
            weight = graph.nodes[graph.nodes[consumer].inputs[1].node]
            is_parameter = weight.is_variable and weight.name in network.arguments
            if not is_parameter or (weight.name in sparse and not sparse[weight.name].is_full):
                # The right side may be row-sparse with rows missing, and is then merged with
                # each row in the order of columns.
                return True
    return False


def parameters_read_in_place(network: Network) -> frozenset[str]:
    """Names of the parameters that nothing but `dot` with csr rows on its left reads.

    The engine may be given their memory as it is, read-only: `dot` reads it and nothing else.
    Other operators may write to their operands, or (oneDNN's) put them into another order.

    Parameters
    ----------
    network : Network
        The network that the engine is given.
    """
    graph = network.graph
    rows = {graph.variable(name) for name in network.input_names if network.storage(name) == "csr"}
    heads = {head.node for head in graph.heads}
    found = set()
    for name in network.arguments:
        node = graph.variable(name)
        uses = graph.consumers(node)
        if node not in heads and uses and all(reads_beside(graph, use, rows) for use in uses):
            found.add(name)
    return frozenset(found)


def reads_beside(graph: Graph, use: tuple[int, int], rows: set[int]) -> bool:
    """Whether a use of a parameter is the right side of a plain dot with csr rows."""
    node = graph.nodes[use[0]]
    return use[1] == 1 and is_plain_dot(node) and node.inputs[0].node in rows


def is_plain_dot(node: Node) -> bool:
    """Whether the node is `dot` without transposition and without a wish for the result."""
    if canonical_name(node.op) != "dot" or len(node.inputs) != 2:
        return False
    try:
        transposed = read_flag(node.attributes, "transpose_a", False) or read_flag(
            node.attributes, "transpose_b", False
        )
    except AttributeFormatError:
        return False
    return not transposed and node.attributes.get("forward_stype", "None") in ("None", "default")


def row_sparse_operands(network: Network) -> frozenset[str]:
    """Names of row-sparse parameters that some operator takes in no other storage.

    All others may be given to the engine as dense arrays, which `dot` prefers.

    Parameters
    ----------
    network : Network
        The network that the engine is given.
    """
    graph = network.graph
    found = set()
    for name, value in network.arguments.items():
        if isinstance(value, RowSparseArray):
            for consumer, position in graph.consumers(graph.variable(name)):
                op = canonical_name(graph.nodes[consumer].op)
                if position in ROW_SPARSE_ONLY.get(op, ()):
                    found.add(name)
    return frozenset(found)

"""Making graphs: append nodes, then take what the heads need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastprop.graph.graph import VARIABLE, Entry, Graph, Node

__all__ = ["GraphBuilder"]


class GraphBuilder:
    """A graph in the making.

    Parameters
    ----------
    nodes : iterable of Node
        Nodes to begin with, indices kept; those of a graph that a pass rewrites.

    Notes
    -----
    Names are made unique: one that is taken gets a number. Not thread-safe.
    """

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self.nodes: list[Node] = list(nodes)
        self.names: set[str] = {node.name for node in self.nodes}

    def unique(self, name: str) -> str:
        """Return `name`, or `name` with the first number that makes it new."""
        if name not in self.names:
            return name
        number = 1
        while f"{name}_{number}" in self.names:
            number += 1
        return f"{name}_{number}"

    def append(self, node: Node) -> Entry:
        """Add a node as it is and return its first output."""
        self.names.add(node.name)
        self.nodes.append(node)
        return Entry(len(self.nodes) - 1, 0)

    def variable(self, name: str, attributes: Mapping[str, str] | None = None) -> Entry:
        """Add a variable (an input, a parameter or a state) and return its entry."""
        return self.append(Node(VARIABLE, self.unique(name), dict(attributes or {})))

    def add(
        self,
        op: str,
        inputs: Iterable[Entry],
        *,
        name: str,
        attributes: Mapping[str, object] | None = None,
    ) -> Entry:
        """Add an operator and return its first output.

        Parameters
        ----------
        op : str
            MXNet's name of the operator.
        inputs : iterable of Entry
            What it is applied to, in MXNet's order.
        name : str
            The node's name, made unique.
        attributes : mapping, optional
            The operator's settings; values are written as MXNet writes them (`str`).
        """
        text = {key: str(value) for key, value in (attributes or {}).items()}
        return self.append(Node(op, self.unique(name), text, tuple(inputs)))

    def build(
        self, heads: Iterable[Entry], attributes: Mapping[str, object] | None = None
    ) -> Graph:
        """Return the graph of what `heads` need, in canonical order."""
        return Graph.build(self.nodes, tuple(heads), attributes)

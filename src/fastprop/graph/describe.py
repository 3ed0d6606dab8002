"""A graph as text, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastprop.graph.graph import Node
from fastprop.graph.network import Network
from fastprop.graph.shape_rules.node_shapes import Shape
from fastprop.graph.shapes import ANY_BATCH

__all__ = ["describe_graph"]

NAME_WIDTH = 48
MAX_INPUTS = 6


@dataclass(frozen=True)
class Line:
    """What is shown of one node; nodes with equal `kind` on a row can be folded."""

    operator: str
    name: str
    shape: str
    inputs: str

    @property
    def kind(self) -> tuple[str, str]:
        """What must be equal for two nodes to be instances of one thing."""
        return (self.operator, self.shape)


def describe_graph(network: Network) -> str:
    """Describe a network's nodes as a table of text.

    Parameters
    ----------
    network : Network
        The network.

    Returns
    -------
    str
        A line a node (operator with its settings, name, shape with `n` for the batch, inputs)
        in topological order; variables are shown where they are used. Repetitions of nodes that
        differ only in name, as N heads are, are folded to one line with their number.
    """
    shapes = network.known_shapes
    graph = network.graph
    lines = [
        Line(
            operator=operator_text(node),
            name=node.name,
            shape=shape_text(shapes[i][0] if shapes[i] else None),
            inputs=", ".join(
                [
                    *(
                        input_text(network, graph.nodes[entry.node], shapes[entry.node])
                        for entry in node.inputs[:MAX_INPUTS]
                    ),
                    *(
                        [f"... ({len(node.inputs)} in all)"]
                        if len(node.inputs) > MAX_INPUTS
                        else []
                    ),
                ]
            ),
        )
        for i, node in enumerate(graph.nodes)
        if not node.is_variable
    ]
    rows = [("", "operator", "name", "shape", "inputs")]
    for count, period in folded(lines):
        for line in period:
            rows.append(
                (
                    f"{count} x" if count > 1 else "",
                    line.operator,
                    shortened(line.name) + (" ..." if count > 1 else ""),
                    line.shape,
                    line.inputs,
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    heads = [graph.nodes[head.node].name for head in graph.heads]
    listed = ", ".join(heads[:3]) + (f", ... ({len(heads)} in all)" if len(heads) > 3 else "")
    table = [
        "  ".join(
            [
                row[0].rjust(widths[0]),
                *(cell.ljust(width) for cell, width in zip(row[1:4], widths[1:])),
                row[4],
            ]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*table, f"heads: {listed}"])


def folded(lines: Sequence[Line]) -> list[tuple[int, Sequence[Line]]]:
    """Find runs of up to four lines that repeat in kind; pairs of a count and the first run."""
    result: list[tuple[int, Sequence[Line]]] = []
    at = 0
    while at < len(lines):
        best = (1, 1)
        for period in range(1, min(4, len(lines) - at) + 1):
            count = 1
            first = kinds(lines, at, period)
            while first and first == kinds(lines, at + count * period, period):
                count += 1
            if count > 1 and count * period > best[0] * best[1]:
                best = (count, period)
        count, period = best
        result.append((count, lines[at : at + period]))
        at += count * period
    return result


def kinds(lines: Sequence[Line], begin: int, length: int) -> list[tuple[str, str]]:
    return [line.kind for line in lines[begin : begin + length]]


def operator_text(node: Node) -> str:
    settings = ", ".join(
        f"{key}={shortened(value)}"
        for key, value in node.attributes.items()
        if not key.startswith("__")
    )
    return f"{node.op}({settings})"


def shape_text(shape: Shape) -> str:
    """Write a shape with `n` for the batch's extent and `?` for what is unknown."""
    if shape is None:
        return "?"
    extents = []
    for extent in shape:
        if extent is None:
            extents.append("?")
        elif extent and extent % ANY_BATCH == 0:
            extents.append("n" if extent == ANY_BATCH else f"{extent // ANY_BATCH}n")
        else:
            extents.append(str(extent))
    return f"({', '.join(extents)}{',' if len(extents) == 1 else ''})"


def input_text(network: Network, node: Node, shapes: Sequence[Shape]) -> str:
    """Name an input; a variable's role and shape with it."""
    if not node.is_variable:
        return shortened(node.name)
    shape = shape_text(shapes[0])
    if network.has_value(node.name):
        return f"{shortened(node.name)} {shape}"
    if node.name in network.labels_inputs:
        return f"{shortened(node.name)} (label)"
    storage = network.storage(node.name)
    return f"{shortened(node.name)} (input{', csr' if storage == 'csr' else ''}) {shape}"


def shortened(text: str) -> str:
    return text if len(text) <= NAME_WIDTH else text[: NAME_WIDTH - 3] + "..."

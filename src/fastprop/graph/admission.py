"""Which operators a checkpoint may use."""

from __future__ import annotations

from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.graph.graph import Graph
from fastprop.graph.operators import NEVER_ADMITTED, NEVER_ADMITTED_PREFIXES, operator

__all__ = ["check_operators"]


def check_operators(graph: Graph, allow_operators: str = "documented") -> None:
    """Refuse a graph with operators that are not admitted.

    Parameters
    ----------
    graph : Graph
        The checkpoint's graph.
    allow_operators : {"documented", "all"}
        `"documented"` admits the table in `fastprop.graph.operators`; `"all"` admits whatever
        the engine has, apart from operators that run a user's code, open files or libraries, or
        carry graphs of their own (`Custom` for one), which are never admitted.

    Raises
    ------
    ModelFormatError
        Naming the node and its operator.
    InvalidInputError
        `allow_operators` is neither.
    """
    if allow_operators not in ("documented", "all"):
        raise InvalidInputError(
            f'allow_operators is "documented" or "all", not {allow_operators!r}'
        )
    for node in graph.nodes:
        if node.is_variable or operator(node.op) is not None:
            continue
        if node.op in NEVER_ADMITTED or node.op.startswith(NEVER_ADMITTED_PREFIXES):
            raise ModelFormatError(
                f"node {node.name!r}: operator {node.op!r} could run foreign code or read files "
                "and is never admitted"
            )
        if allow_operators != "all":
            raise ModelFormatError(
                f"node {node.name!r}: operator {node.op!r} is not among the documented ones; "
                'allow_operators="all" admits what the engine has'
            )

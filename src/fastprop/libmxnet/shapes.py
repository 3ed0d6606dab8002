"""Shapes of a network's heads; MXNet is asked where there is no rule of ours."""

from __future__ import annotations

from collections.abc import Mapping

from fastprop.errors import ModelFormatError
from fastprop.graph.network import Network
from fastprop.graph.shapes import Shapes, infer_shapes, known_shape
from fastprop.libmxnet.hand_over import hand_over

__all__ = ["network_shapes", "row_shapes"]

# Two batch sizes, so that a head that does not grow with its batch is noticed.
PROBED_BATCHES = (3, 5)


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
    engine = hand_over(network, shapes, [], (), isa="best", layer=None, inputs=None)
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

"""Whether a row's scores are its own: no operator may combine rows that are scored together.

Rows are scored in tiles, and tiles are filled up, so that what combines rows would depend on how
they were batched. The axis of the rows is the one whose extent differs between two batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from fastprop.errors import ModelFormatError
from fastprop.graph.attributes import (
    AttributeFormatError,
    read_choice,
    read_flag,
    read_integer,
    read_tuple,
)
from fastprop.graph.graph import Entry, Node
from fastprop.graph.network import Network
from fastprop.graph.operators import REDUCTIONS, Attributes, canonical_name
from fastprop.graph.shape_rules.reductions import reduced_axes
from fastprop.graph.shapes import Shapes, known_shape

__all__ = ["check_rows_apart"]

Extents = tuple[int, ...]
Axes = Callable[[Attributes, int], tuple[int, ...]]


def check_rows_apart(network: Network, small: Shapes, large: Shapes) -> None:
    """Refuse a network in which rows of a batch have to do with each other.

    Parameters
    ----------
    network : Network
    small, large : Shapes
        Its shapes for two numbers of rows.

    Raises
    ------
    ModelFormatError
        Naming the node, its operator and what it does.

    Notes
    -----
    An operator whose shapes are unknown is believed to keep rows apart, and what follows it is not
    looked at.
    """
    graph, labels = network.graph, set(network.labels_inputs)
    of_rows: set[int] = set()
    for number, node in enumerate(graph.nodes):
        if node.is_variable:
            if not network.has_value(node.name) and node.name not in labels:
                of_rows.add(number)
            continue
        if not any(entry.node in of_rows for entry in node.inputs):
            continue
        inputs = [entry for entry in node.inputs if graph.nodes[entry.node].name not in labels]
        found = [Batched.of(small, large, entry) for entry in (*inputs, Entry(number, 0))]
        known = [item for item in found if item is not None]
        if len(known) < len(found):
            continue
        of_rows.add(number)
        try:
            why = mixes(node, known[:-1], known[-1])
        except AttributeFormatError as error:
            raise ModelFormatError(f"node {node.name!r} ({node.op}): {error}") from None
        if why:
            raise ModelFormatError(
                f"node {node.name!r} ({node.op}) {why}: scores of a row would depend on the rows "
                "beside it"
            )


class Batched:
    """An entry's shape for two batches, and the axes along which rows lie."""

    def __init__(self, small: Extents, large: Extents, n_small: int, n_large: int) -> None:
        self.shape = small
        self.axes = tuple(i for i, extent in enumerate(small) if extent != large[i])
        self.is_whole = all(small[i] * n_large == large[i] * n_small for i in self.axes)

    def before_rows(self) -> int:
        """How often the rows lie one after the other."""
        return prod(self.shape[: self.axes[0]])

    @classmethod
    def of(cls, small: Shapes, large: Shapes, entry: Entry) -> Batched | None:
        """Those of an entry; None where its shapes are unknown."""
        if entry.output >= len(small.entries[entry.node]):
            return None
        few, many = (known_shape(of.entries[entry.node][entry.output]) for of in (small, large))
        if few is None or many is None or len(few) != len(many):
            return None
        return cls(few, many, small.batch, large.batch)


def mixes(node: Node, inputs: Sequence[Batched], output: Batched) -> str:
    """What an operator does to rows; empty where it keeps them apart."""
    op, data = canonical_name(node.op), inputs[0]
    if op in OVER and data.axes and data.axes[0] in OVER[op](node.attributes, len(data.shape)):
        return "is taken over the rows"
    if op in ("dot", "batch_dot") and sums_over_rows(op, node.attributes, *inputs):
        return "sums over the rows"
    if op in TABLES and inputs[1].axes:
        return "chooses among the rows"
    if len(output.axes) > 1:
        return "combines each row with every other"
    if not output.axes or not output.is_whole:
        return "takes some of the rows, or all of them together"
    if op in ("Reshape", "Flatten") and data.before_rows() != output.before_rows():
        return "mixes the rows' elements"
    return ""


def sums_over_rows(op: str, attributes: Attributes, left: Batched, right: Batched) -> bool:
    """Whether rows lie along an axis that a product sums over."""
    first = 0 if op == "dot" else -2
    axes = (
        first if read_flag(attributes, "transpose_a", False) else -1,
        -1 if read_flag(attributes, "transpose_b", False) else first,
    )
    return any(
        axis % len(side.shape) in side.axes for axis, side in zip(axes, (left, right)) if side.shape
    )


def reduction(attributes: Attributes, n_dimensions: int) -> tuple[int, ...]:
    axes, exclude = read_tuple(attributes, "axis"), read_flag(attributes, "exclude", False)
    return reduced_axes(axes, exclude, n_dimensions)


def along(missing: int, name: str = "axis") -> Axes:
    return lambda attributes, n: (read_integer(attributes, name, missing) % n,)


def softmax_output(attributes: Attributes, n_dimensions: int) -> tuple[int, ...]:
    if read_flag(attributes, "multi_output", False):
        return (1,)
    if read_flag(attributes, "preserve_shape", False):
        return (n_dimensions - 1,)
    return tuple(range(1, n_dimensions))


def softmax_activation(attributes: Attributes, n_dimensions: int) -> tuple[int, ...]:
    return (1,) if attributes.get("mode", "instance") == "channel" else (n_dimensions - 1,)


def l2_normalization(attributes: Attributes, n_dimensions: int) -> tuple[int, ...]:
    mode = read_choice(attributes, "mode", ("instance", "channel", "spatial"), "instance")
    axes = {"instance": range(1, n_dimensions), "channel": (1,), "spatial": range(2, n_dimensions)}
    return tuple(axes[mode])


# The axes over which an operator is taken.
OVER: Mapping[str, Axes] = {
    **dict.fromkeys((*REDUCTIONS, "_square_sum"), reduction),
    **dict.fromkeys(("softmax", "log_softmax", "softmin", "LayerNorm"), along(-1)),
    "InstanceNorm": lambda _, n_dimensions: tuple(range(2, n_dimensions)),
    "L2Normalization": l2_normalization,
    "SoftmaxActivation": softmax_activation,
    "SoftmaxOutput": softmax_output,
    "Concat": along(1, "dim"),
    "take": along(0),
}
TABLES = ("Embedding", "_contrib_SparseEmbedding")

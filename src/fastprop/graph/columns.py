"""How the heads of a network map to the columns of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.graph.heads import is_last_axis_softmax, trace
from fastprop.graph.network import Network
from fastprop.graph.shapes import Shapes

__all__ = ["Column", "picks_one_class", "score_columns"]

SUFFIXES = ("_softmax", "_output", "_head", "_fwd")


@dataclass(frozen=True)
class Column:
    """Where one column of the scores comes from.

    Parameters
    ----------
    head : int
        Number of the head.
    column : int
        Column of the head, its axes behind the batch's flattened in row-major order.
    head_name : str
        Name of the head's node.
    label : str
        What the column is about.
    """

    head: int
    column: int
    head_name: str
    label: str


@dataclass(frozen=True)
class HeadLayout:
    """A head's columns: `n_categories` softmaxes over `n_classes`, or just columns (classes 0)."""

    name: str
    width: int
    n_categories: int
    n_classes: int


def score_columns(
    network: Network,
    shapes: Shapes,
    positive_index: int | None,
    labels: Sequence[str] | None = None,
    labels_file: str = "labels",
) -> tuple[Column, ...]:
    """Name the columns of the scores and where they come from.

    Parameters
    ----------
    network : Network
        The checkpoint's own network, before any pass.
    shapes : Shapes
        Its shapes.
    positive_index : int or None
        Which class of a softmax over two is the score; None for both.
    labels : sequence of str, optional
        What the checkpoint calls its categories, or every column.
    labels_file : str
        Where they are from, for messages.

    Returns
    -------
    tuple of Column
        If every head is a softmax over two classes and `positive_index` is given, one column a
        category. If every head is a softmax otherwise, every class has its column, labelled
        `category:class`. Else the heads' columns side by side.

    Raises
    ------
    ModelFormatError
        The number of labels fits neither the categories nor the columns, or a head has no rows.
    InvalidInputError
        `positive_index` is not 0 or 1 where there are two classes.
    """
    layouts = [layout(network, shapes, number) for number in range(len(network.graph.heads))]
    one_class = picks_one_class([item.n_classes for item in layouts], positive_index)
    softmaxes = all(item.n_classes for item in layouts)
    categories = category_names(layouts) if softmaxes else []
    n_columns = sum(item.n_categories if one_class else item.width for item in layouts)
    column_labels = None
    if labels is not None:
        if len(labels) == n_columns:
            column_labels = list(labels)
        elif softmaxes and len(labels) == len(categories):
            categories = list(labels)
        else:
            or_categories = f" or {len(categories)} categories" if softmaxes else ""
            raise ModelFormatError(
                f"{labels_file}: {len(labels)} labels for {n_columns} columns of scores"
                f"{or_categories}"
            )
    result: list[Column] = []
    category = 0
    for number, item in enumerate(layouts):
        for column in range(item.width):
            if one_class:
                if column % 2 != positive_index:
                    continue
                label = categories[category + column // 2]
            elif softmaxes:
                name = categories[category + column // item.n_classes]
                label = f"{name}:{column % item.n_classes}"
            else:
                base = base_name(item.name)
                label = base if item.width == 1 else f"{base}:{column}"
            if column_labels is not None:
                label = column_labels[len(result)]
            result.append(Column(number, column, item.name, label))
        category += item.n_categories
    return tuple(result)


def picks_one_class(n_classes: Sequence[int], positive_index: int | None) -> bool:
    """Whether heads with these numbers of classes (0: no softmax) give one column a category."""
    if positive_index is None or any(count != 2 for count in n_classes):
        return False
    if positive_index not in (0, 1):
        raise InvalidInputError(
            f"positive_index is {positive_index}, but the heads have two classes, 0 and 1"
        )
    return True


def layout(network: Network, shapes: Shapes, number: int) -> HeadLayout:
    """Find what one head consists of."""
    graph = network.graph
    head = graph.heads[number]
    name = graph.nodes[head.node].name
    shape = shapes.of(head)
    source = trace(graph, head, reshapes=True)
    node = graph.nodes[source.node]
    softmax_shape = shapes.of(source)
    is_softmax = (
        source.output == 0
        and len(softmax_shape) >= 2
        and is_last_axis_softmax(node, len(softmax_shape))
    )
    n_elements = prod(shape)
    rows_first = bool(shape) and shape[0] == shapes.batch
    if not rows_first and is_softmax:
        # Pairs of all rows below each other: rows first if what was reshaped to them was.
        data = trace(graph, node.inputs[0], reshapes=True)
        data_shape = shapes.of(data)
        rows_first = (
            bool(data_shape) and data_shape[0] == shapes.batch and prod(data_shape) == n_elements
        )
    if not rows_first or shapes.batch < 1 or n_elements % shapes.batch:
        raise ModelFormatError(
            f"head {number} ({name!r}) of shape {shape} has no row for each of the "
            f"{shapes.batch} rows of the batch"
        )
    width = n_elements // shapes.batch
    if is_softmax and softmax_shape[-1] > 1 and width % softmax_shape[-1] == 0:
        return HeadLayout(name, width, width // softmax_shape[-1], softmax_shape[-1])
    return HeadLayout(name, width, 0, 0)


def category_names(layouts: Sequence[HeadLayout]) -> list[str]:
    """Name the categories after the heads, each name once."""
    names: list[str] = []
    taken: set[str] = set()
    for item in layouts:
        for number in range(item.n_categories):
            base = base_name(item.name)
            name = base if item.n_categories == 1 else f"{base}_{number}"
            if name in taken:
                name = f"{name}_{len(names)}"
            taken.add(name)
            names.append(name)
    return names


def base_name(name: str) -> str:
    """Drop the endings that say that a node is a head."""
    while True:
        ending = next((s for s in SUFFIXES if name.endswith(s) and len(name) > len(s)), None)
        if ending is None:
            return name
        name = name[: -len(ending)]

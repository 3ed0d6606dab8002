"""N heads become one layer, and the softmax of two the sigmoid of a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

import numpy as np

from fastprop.checkpoint.arrays import DenseArray, Parameter, RowSparseArray
from fastprop.graph.attributes import AttributeFormatError, read_flag, read_integer
from fastprop.graph.builder import GraphBuilder
from fastprop.graph.columns import picks_one_class
from fastprop.graph.graph import Entry, Node
from fastprop.graph.heads import is_last_axis_softmax, is_passed_through, is_sigmoid, trace
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name
from fastprop.graph.shape_rules.node_shapes import Shape

__all__ = ["fuse_heads"]

SOFTMAX, SIGMOID, LINEAR = "softmax", "sigmoid", "linear"


@dataclass(frozen=True, eq=False)
class LayerHead:
    """A head that is one layer over `data` and a function of its result.

    `n_categories` groups of `n_classes` columns; a head without a softmax has one class.
    """

    kind: str
    data: Entry
    n_categories: int
    n_classes: int
    weight: DenseArray
    bias: DenseArray | None

    @property
    def family(self) -> tuple[Any, ...]:
        """What consecutive heads must have in common to be one layer."""
        return (self.data, self.kind, self.n_classes)


def fuse_heads(network: Network, *, positive_index: int | None) -> Network:
    """Rewrite a network whose heads are layers over shared inputs to one head.

    Parameters
    ----------
    network : Network
        After `strip_training`.
    positive_index : int or None
        Which class of a softmax over two is the score; None for both.

    Returns
    -------
    Network
        With one head of shape (batch, columns), the columns in the order of the heads: where
        every head is a softmax over two classes and `positive_index` is given, one column a
        category, computed as the sigmoid of the difference of its two logits; otherwise every
        column of every head. Parameters are new arrays; others are shared.

        The network itself where a head is anything but a FullyConnected layer, alone or under a
        softmax or sigmoid over it, whose results nothing else uses; where parameters are not
        dense float32; or where nothing would be saved.

    Raises
    ------
    InvalidInputError
        `positive_index` is not 0 or 1 where there are two classes.

    Notes
    -----
    softmax(z)[p] = 1 / (1 + exp(z[q] - z[p])) for two classes p and q, so the layer's weight is
    the difference of the two rows. Heads over different inputs become a layer for each run of
    consecutive heads over the same input, side by side.
    """
    heads = HeadFinder(network).find()
    if heads is None:
        return network
    one_class = picks_one_class(
        [head.n_classes if head.kind == SOFTMAX else 0 for head in heads], positive_index
    )
    runs = [list(run) for _, run in groupby(heads, key=lambda head: head.family)]
    if len(heads) == 1 and not one_class and not is_grouped(heads[0]):
        return network
    if len(heads) > 1 and len(runs) == len(heads):
        return network
    builder = GraphBuilder(network.graph.nodes)
    values: dict[str, Parameter] = {}
    positive = positive_index if one_class else None
    if len(runs) == 1:
        head = fused_layer(builder, values, runs[0], positive, "fused_heads")
    else:
        parts = [
            fused_layer(builder, values, run, positive, f"fused_heads_{number}")
            for number, run in enumerate(runs)
        ]
        settings = {"dim": 1, "num_args": len(parts)}
        head = builder.add("Concat", parts, name="fused_heads", attributes=settings)
    graph = builder.build([head], network.graph.attributes)
    variables = set(graph.variables)
    kept = {name: value for name, value in network.arguments.items() if name in variables}
    return Network(graph=graph, arguments={**kept, **values}, auxiliary=network.auxiliary)


def is_grouped(head: LayerHead) -> bool:
    """Whether the head is several softmaxes in one layer."""
    return head.kind == SOFTMAX and head.n_categories > 1


def fused_layer(
    builder: GraphBuilder,
    values: dict[str, Parameter],
    run: Sequence[LayerHead],
    positive_index: int | None,
    name: str,
) -> Entry:
    """Append one layer for a run of heads and return its columns, of shape (batch, columns)."""
    first = run[0]
    n_categories = sum(head.n_categories for head in run)
    n_classes = first.n_classes
    weight = stacked([head.weight for head in run])
    bias = None
    if any(head.bias is not None for head in run):
        biases = [
            np.zeros(len(head.weight), np.float32) if head.bias is None else head.bias
            for head in run
        ]
        bias = stacked(biases)
    if positive_index is not None:
        weight = difference(weight, n_categories, positive_index)
        bias = None if bias is None else difference(bias, n_categories, positive_index)
    name = builder.unique(name)
    inputs = [first.data, builder.variable(f"{name}_weight")]
    values[builder.nodes[inputs[1].node].name] = read_only(weight)
    if bias is not None:
        inputs.append(builder.variable(f"{name}_bias"))
        values[builder.nodes[inputs[2].node].name] = read_only(bias)
    layer = builder.add(
        "FullyConnected",
        inputs,
        name=f"{name}_layer",
        attributes={"num_hidden": len(weight), "no_bias": bias is None, "flatten": True},
    )
    if first.kind == LINEAR:
        return layer
    if first.kind == SIGMOID or positive_index is not None:
        # oneDNN runs this one, several times as fast as the operator called sigmoid.
        return builder.add("Activation", [layer], name=name, attributes={"act_type": "sigmoid"})
    if n_categories == 1:
        return builder.add("softmax", [layer], name=name, attributes={"axis": -1})
    shape = f"(-1, {n_categories}, {n_classes})"
    grouped = builder.add("Reshape", [layer], name=f"{name}_groups", attributes={"shape": shape})
    softmax = builder.add("softmax", [grouped], name=f"{name}_softmax", attributes={"axis": -1})
    flat = f"(-1, {n_categories * n_classes})"
    return builder.add("Reshape", [softmax], name=name, attributes={"shape": flat})


def stacked(parts: Sequence[DenseArray]) -> DenseArray:
    """Join layers' rows; a lone part is shared, not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def difference(rows: DenseArray, n_categories: int, positive_index: int) -> DenseArray:
    """Subtract the other class's rows from the positive class's."""
    pairs = rows.reshape(n_categories, 2, *rows.shape[1:])
    result: DenseArray = pairs[:, positive_index] - pairs[:, 1 - positive_index]
    return result


def read_only(array: DenseArray) -> DenseArray:
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


class HeadFinder:
    """Recognises the heads of a network, or says that one of them is something else."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.graph = network.graph
        self.n_head_uses: dict[int, int] = {}
        for head in self.graph.heads:
            self.n_head_uses[head.node] = self.n_head_uses.get(head.node, 0) + 1

    def find(self) -> list[LayerHead] | None:
        heads = []
        for entry in self.graph.heads:
            head = self.recognise(entry)
            if head is None:
                return None
            heads.append(head)
        return heads

    def recognise(self, head: Entry) -> LayerHead | None:
        """Return the layer behind a head; None where it is anything else."""
        entry = trace(self.graph, head, reshapes=True)
        node = self.graph.nodes[entry.node]
        reshaped = self.path(head, entry)
        if reshaped is None:
            return None
        if canonical_name(node.op) == "FullyConnected":
            return None if reshaped else self.layer(entry, LINEAR, 1)
        if entry.output != 0 or not node.inputs:
            return None
        source = trace(self.graph, node.inputs[0], reshapes=True)
        inner = self.path(node.inputs[0], source, inside=entry)
        if inner is None:
            return None
        if is_sigmoid(node):
            return None if reshaped or inner else self.layer(source, SIGMOID, 1)
        if not reshaped and not inner:
            if not is_last_axis_softmax(node, 2):
                return None
            return self.layer(source, SOFTMAX, None)
        return self.grouped(head, entry, source)

    def path(self, end: Entry, begin: Entry, inside: Entry | None = None) -> bool | None:
        """Whether reshapes lie between two entries; None where something else uses a step.

        `end` is a head itself, or the input of the node that `inside` is an output of.
        """
        reshaped = False
        user = None if inside is None else inside.node
        entry = end
        while True:
            uses = self.graph.consumers(entry.node)
            expected = 1 if user is None else 0
            if self.n_head_uses.get(entry.node, 0) != expected:
                return None
            if [consumer for consumer, _ in uses] != ([] if user is None else [user]):
                return None
            if entry == begin:
                return reshaped
            node = self.graph.nodes[entry.node]
            reshaped = reshaped or not is_passed_through(node)
            user = entry.node
            entry = node.inputs[0]

    def grouped(self, head: Entry, softmax: Entry, source: Entry) -> LayerHead | None:
        """Recognise one layer whose columns are grouped by reshapes around a softmax."""
        head_shape = self.shape(head)
        softmax_shape = self.shape(softmax)
        layer_shape = self.shape(source)
        if head_shape is None or softmax_shape is None or layer_shape is None:
            return None
        if None in head_shape or None in softmax_shape or None in layer_shape:
            return None
        node = self.graph.nodes[softmax.node]
        if len(softmax_shape) < 2 or not is_last_axis_softmax(node, len(softmax_shape)):
            return None
        n_classes = softmax_shape[-1]
        rows, width = layer_shape[0], layer_shape[-1]
        assert n_classes is not None
        assert rows is not None
        assert width is not None
        if len(layer_shape) != 2 or n_classes < 1 or width % n_classes:
            return None
        # Rows stay apart: the softmax normalises within a row of the layer, and the head either
        # has a row for each or lists the groups of all rows below each other.
        if head_shape[0] != rows and head_shape != (rows * (width // n_classes), n_classes):
            return None
        if prod(extent for extent in head_shape if extent is not None) != rows * width:
            return None
        return self.layer(source, SOFTMAX, n_classes)

    def layer(self, entry: Entry, kind: str, n_classes: int | None) -> LayerHead | None:
        """Return a FullyConnected layer over parameters that can be joined with others."""
        node = self.graph.nodes[entry.node]
        if canonical_name(node.op) != "FullyConnected" or entry.output != 0:
            return None
        try:
            flatten = read_flag(node.attributes, "flatten", True)
            n_hidden = read_integer(node.attributes, "num_hidden")
            has_bias = not read_flag(node.attributes, "no_bias", False)
        except AttributeFormatError:
            return None
        if len(node.inputs) != (3 if has_bias else 2):
            return None
        weight = self.dense_value(node, 1)
        if weight is None or weight.ndim != 2 or weight.shape[0] != n_hidden:
            return None
        bias = None
        if has_bias:
            bias = self.dense_value(node, 2)
            if bias is None or bias.size != n_hidden:
                return None
            bias = bias.reshape(-1)
        if not flatten:
            shape = self.shape(node.inputs[0])
            if shape is None or len(shape) != 2:
                return None
        classes = n_hidden if n_classes is None else n_classes
        if classes < 1 or n_hidden % classes:
            return None
        return LayerHead(
            kind=kind,
            data=node.inputs[0],
            n_categories=n_hidden // classes,
            n_classes=classes,
            weight=weight,
            bias=bias,
        )

    def dense_value(self, node: Node, position: int) -> DenseArray | None:
        """Return a float32 parameter as a dense array."""
        variable = self.graph.nodes[node.inputs[position].node]
        value = self.network.arguments.get(variable.name) if variable.is_variable else None
        if isinstance(value, RowSparseArray) and value.is_full:
            value = value.data
        if not isinstance(value, np.ndarray) or value.dtype != np.float32:
            return None
        return value

    def shape(self, entry: Entry) -> Shape:
        outputs = self.network.known_shapes[entry.node]
        return outputs[entry.output] if entry.output < len(outputs) else None

"""Compiling a network to a plan for the native engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from fastprop._reference import reference_node, reference_value
from fastprop.checkpoint.arrays import parameter_shape
from fastprop.errors import ModelFormatError
from fastprop.graph.attributes import AttributeFormatError
from fastprop.graph.columns import Column
from fastprop.graph.graph import Entry, Node
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name, operator
from fastprop.graph.shapes import Shapes, infer_shapes
from fastprop.native.draft import Buffer, Constant, Operation, SparseRows, Value, View
from fastprop.native.lowering import PROBED_ROWS, Lowering, NotNativeError
from fastprop.native.operators import LOWERINGS
from fastprop.native.plan import Plan
from fastprop.native.storage import lay_out
from fastprop.native.tensors import Recipe

__all__ = ["Compiled", "compile_network"]

# A second number of rows, so that what does not grow with them is noticed.
OTHER_ROWS = 5


@dataclass(frozen=True, eq=False)
class Compiled:
    """A plan, and how its tensors are made from the network's parameters."""

    plan: Plan
    recipes: Mapping[str, Recipe]


def compile_network(
    network: Network,
    columns: Sequence[Column] = (),
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Compiled:
    """Compile a network for the native engine.

    Parameters
    ----------
    network : Network
        What is to be run; parameters are looked at when the tensors are made, not before.
    columns : sequence of Column
        Which columns of the heads make up the scores; empty for the heads side by side.
    input_shapes : mapping of str to tuple of int, optional
        Row shapes that do not follow from the checkpoint.

    Raises
    ------
    NotNativeError
        The engine does not know how to run a node; names it and says why.
    """
    for node in network.graph.nodes:
        if not node.is_variable and canonical_name(node.op) not in LOWERINGS:
            known = operator(node.op)
            if known is None or not folds(network, node):
                raise NotNativeError(
                    f"node {node.name!r} ({node.op}) is an operator that it does not know"
                )
    try:
        small, large = (
            infer_shapes(network, input_shapes, batch) for batch in (PROBED_ROWS, OTHER_ROWS)
        )
    except ModelFormatError as error:
        raise NotNativeError(str(error)) from None
    return Compiler(network, small, large).run(columns)


class Compiler:
    """One run: what each entry of the graph has become."""

    def __init__(self, network: Network, shapes: Shapes, others: Shapes) -> None:
        self.network = network
        self.graph = network.graph
        self.shapes = shapes
        self.others = others
        self.inputs = {spec.name: number for number, spec in enumerate(network.inputs)}
        self.labels = set(network.labels_inputs)
        rows = network.inputs[0]
        self.sparse = rows.storage == "csr"
        self.widths = [prod(shapes.variables[spec.name]) // PROBED_ROWS for spec in network.inputs]
        self.lowering = Lowering(Buffer(self.widths[0], "rows"))
        self.entries: dict[Entry, Operation] = {}
        self.head_uses = Counter(self.graph.heads)

    def run(self, columns: Sequence[Column]) -> Compiled:
        for number, node in enumerate(self.graph.nodes):
            self.lowering.node = node
            if node.is_variable:
                if node.name not in self.labels:
                    self.record(number, [self.variable(node)], ())
                continue
            inputs = [
                self.entry(entry)
                for entry in node.inputs
                if self.graph.nodes[entry.node].name not in self.labels
            ]
            self.look_around(number)
            self.record(number, self.lower(number, node, inputs), inputs)
        scores = self.scores(columns)
        plan, recipes = lay_out(
            self.lowering.drafts,
            scores,
            sparse=self.sparse,
            n_columns=self.widths[0],
            further=[(spec.name, width) for spec, width in zip(self.network.inputs, self.widths)][
                1:
            ],
        )
        return Compiled(plan, recipes)

    def entry(self, entry: Entry) -> Operation:
        """What an entry has become; refused where its node does not give that output."""
        if entry not in self.entries:
            node = self.graph.nodes[entry.node]
            raise NotNativeError(
                f"node {node.name!r} ({node.op}) gives no output {entry.output} there"
            )
        return self.entries[entry]

    def look_around(self, number: int) -> None:
        """Tell the lowering what is around the node."""
        self.lowering.shapes = [
            self.shapes.of(Entry(number, output))
            for output in range(len(self.shapes.entries[number]))
        ]
        self.lowering.readers = tuple(
            canonical_name(self.graph.nodes[consumer].op)
            for consumer, _ in self.graph.consumers(number)
        )

    def variable(self, node: Node) -> Operation:
        """A parameter, or an input."""
        if self.network.has_value(node.name):
            parameter = self.network.value(node.name)
            return Constant(
                parameter_shape(parameter), lambda: reference_value(parameter), parameter
            )
        number = self.inputs[node.name]
        width = self.widths[number]
        if number == 0 and self.sparse:
            return SparseRows(width)
        # Further inputs are given as dense arrays, sparse ones as well.
        buffer = self.lowering.rows if number == 0 else Buffer(width, "further", number - 1)
        return Value(View(buffer, 0, width), self.shapes.variables[node.name])

    def lower(self, number: int, node: Node, inputs: Sequence[Operation]) -> Sequence[Operation]:
        """What a node makes of its inputs."""
        try:
            if all(isinstance(operation, Constant) for operation in inputs):
                return self.folded(number, node, inputs)
            return LOWERINGS[canonical_name(node.op)](self.lowering, node, inputs)
        except AttributeFormatError as error:
            raise self.lowering.refuse(f"cannot be read: {error}") from None

    def folded(self, number: int, node: Node, inputs: Sequence[Operation]) -> Sequence[Operation]:
        """The outputs of a node that does not depend on the rows."""
        constants = [operation for operation in inputs if isinstance(operation, Constant)]
        results: list[Operation] = []
        for output, shape in enumerate(self.shapes.entries[number]):
            if shape is None or shape != self.others.entries[number][output]:
                raise self.lowering.refuse("has a shape that depends on the number of rows alone")

            def compute(output: int = output) -> npt.NDArray[np.float64]:
                values = [constant.value for constant in constants]
                return reference_node(node, values)[output]

            results.append(Constant(tuple(extent or 0 for extent in shape), compute))
        return results

    def record(
        self, number: int, results: Sequence[Operation], inputs: Sequence[Operation]
    ) -> None:
        """Note what the outputs of a node are, and who reads them."""
        shared = {
            operation.view.buffer
            for operation in inputs
            if isinstance(operation, Value) and not operation.exclusive
        }
        for output, result in enumerate(results):
            entry = Entry(number, output)
            if isinstance(result, Value):
                self.check_shape(entry, result)
                readers = sum(
                    self.graph.nodes[consumer].inputs[position] == entry
                    for consumer, position in self.graph.consumers(number)
                )
                readers += self.head_uses[entry]
                exclusive = readers == 1 and result.view.buffer not in shared
                result = replace(result, exclusive=exclusive)
            self.entries[entry] = result

    def check_shape(self, entry: Entry, value: Value) -> None:
        """A value has the shape that its node should have, for any number of rows."""
        shape, other = self.shapes.of(entry), self.others.of(entry)
        per_row, rest = divmod(shape[0], PROBED_ROWS) if shape else (0, 1)
        if rest or other != (per_row * OTHER_ROWS, *shape[1:]):
            raise self.lowering.refuse(f"has shape {shape} for {PROBED_ROWS} rows")
        if value.shape != shape or value.width * PROBED_ROWS != prod(shape):
            raise self.lowering.refuse(f"gives {value.shape}, where {shape} was expected")

    def scores(self, columns: Sequence[Column]) -> Buffer:
        """Bring the heads to where the scores are."""
        lowering = self.lowering
        views = []
        for head in self.graph.heads:
            lowering.node = self.graph.nodes[head.node]
            views.append(lowering.value(self.entry(head)).view)
        lowering.node = Node("scores", "scores")
        if columns:
            begins = np.concatenate([[0], np.cumsum([view.width for view in views])])
            picked = np.array([begins[column.head] + column.column for column in columns])
            views = [lowering.pick(views, picked)]
        result = lowering.emit("concat", views, sum(view.width for view in views)).buffer
        result.place = "scores"
        return result


def folds(network: Network, node: Node) -> bool:
    """Whether the node depends on no input, so that it is computed once."""
    waiting = [node]
    seen = set()
    while waiting:
        for entry in waiting.pop().inputs:
            source = network.graph.nodes[entry.node]
            if source.is_variable and not network.has_value(source.name):
                return False
            if entry.node not in seen:
                seen.add(entry.node)
                waiting.append(source)
    return True

"""Shapes of every entry of a network, found forward and backward, and checked.

Starting from the parameters, the inputs that are known and the batch size, every node's rule is
applied until nothing new follows. What is still open then is tried: an unknown input as a matrix
(or as one index a row, before an Embedding), keeping what leads to no contradiction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fastprop.cached import cached_property
from fastprop.checkpoint.arrays import MAX_DENSE_ELEMENTS, parameter_shape
from fastprop.errors import ModelFormatError, ShapeError
from fastprop.graph.attributes import AttributeFormatError, read_integer, read_tuple
from fastprop.graph.graph import Entry, Graph, Node
from fastprop.graph.network import Network
from fastprop.graph.operators import Operator, operator
from fastprop.graph.shape_rules.node_shapes import (
    NodeShapes,
    Shape,
    ShapeConflictError,
    merge,
    show,
)

__all__ = ["ANY_BATCH", "Shapes", "infer_partially", "infer_shapes", "known_throughout"]

# An extent that no checkpoint has by chance, for finding what does not depend on the batch.
ANY_BATCH = 1_000_003


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes of a network's entries for one batch size.

    Parameters
    ----------
    graph : Graph
        The graph that they are of.
    entries : tuple of tuple
        For each node, the shape of each of its outputs; None where an undocumented operator
        leaves it unknown.
    batch : int
        Number of rows.
    """

    graph: Graph
    entries: tuple[tuple[Shape, ...], ...]
    batch: int

    def of(self, entry: Entry) -> tuple[int, ...]:
        """Shape of one entry; `ModelFormatError` when it is unknown."""
        node = self.entries[entry.node]
        shape = node[entry.output] if entry.output < len(node) else None
        known = known_shape(shape)
        if known is None:
            name = self.graph.nodes[entry.node].name
            raise ModelFormatError(f"node {name!r}: the shape of its output is unknown")
        return known

    @cached_property
    def heads(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each head."""
        return tuple(self.of(head) for head in self.graph.heads)

    @cached_property
    def variables(self) -> dict[str, tuple[int, ...]]:
        """Shape of each variable, labels included, in MXNet's order."""
        return {
            node.name: self.of(Entry(i, 0))
            for i, node in enumerate(self.graph.nodes)
            if node.is_variable
        }


def known_shape(shape: Shape) -> tuple[int, ...] | None:
    if shape is None:
        return None
    extents = tuple(extent for extent in shape if extent is not None)
    return extents if len(extents) == len(shape) else None


def infer_shapes(
    network: Network,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    batch: int = 1,
    allow_unknown_operators: bool = False,
) -> Shapes:
    """Find and check the shape of everything in a network.

    Parameters
    ----------
    network : Network
        The network; its graph may be large, the time is linear in it.
    input_shapes : mapping of str to tuple of int, optional
        Shapes of a row of those inputs whose shapes the caller knows, without the batch's axis.
    batch : int
        Number of rows.
    allow_unknown_operators : bool
        Leave the outputs of operators without a rule unknown, instead of refusing them.

    Returns
    -------
    Shapes

    Raises
    ------
    ModelFormatError
        Shapes contradict each other, an attribute cannot be read, an array is larger than the
        engine can hold, or an input's shape does not follow from the checkpoint and is not in
        `input_shapes`; naming the node, its operator, the argument and the shapes.
    ShapeError
        `input_shapes` names something that is not an input.
    """
    inference = Inference(network, batch, allow_unknown_operators=allow_unknown_operators)
    for name, row in (input_shapes or {}).items():
        if name not in network.input_names and name not in network.labels_inputs:
            raise ShapeError(
                f"input_shapes: {name!r} is not an input of the network; "
                f"its inputs are {', '.join(network.input_names)}"
            )
        inference.set_variable(name, (batch, *row))
    inference.run()
    inference.try_inputs(network.input_names)
    inference.check_complete()
    return Shapes(graph=network.graph, entries=tuple(map(tuple, inference.entries)), batch=batch)


def infer_partially(network: Network) -> tuple[tuple[Shape, ...], ...]:
    """Return the shapes of all entries as far as the checkpoint tells, for some large batch.

    `Network.known_shapes` keeps them. Contradictions are not reported here but by `infer_shapes`.
    """
    inference = None
    try:
        inference = Inference(network, ANY_BATCH, allow_unknown_operators=True)
        inference.run()
        inference.try_inputs(network.input_names)
    except ModelFormatError:
        pass  # What was found up to there stands; infer_shapes tells the user what is wrong.
    if inference is None:
        return tuple((None,) for _ in network.graph.nodes)
    return tuple(map(tuple, inference.entries))


def known_throughout(network: Network) -> Shapes | None:
    """Return the shapes for `ANY_BATCH` rows if all of them follow from the checkpoint."""
    entries = network.known_shapes
    if any(known_shape(shape) is None for outputs in entries for shape in outputs):
        return None
    return Shapes(graph=network.graph, entries=entries, batch=ANY_BATCH)


# How many inputs of unknown shape are worth trying, and how often a node may be looked at.
MAX_TRIED = 32
MAX_VISITS = 32


class Inference:
    """The shapes known so far, and which nodes have to look at them again."""

    def __init__(self, network: Network, batch: int, *, allow_unknown_operators: bool) -> None:
        self.network = network
        self.graph = network.graph
        self.batch = batch
        self.entries: list[list[Shape]] = []
        self.rules: list[Operator | None] = []
        self.waiting: deque[int] = deque()
        self.is_waiting = bytearray(len(self.graph.nodes))
        self.budget = 1000
        inputs = set(network.input_names)
        for i, node in enumerate(self.graph.nodes):
            if node.is_variable:
                self.rules.append(None)
                self.entries.append([self.initial(node, is_input=node.name in inputs)])
                continue
            known = operator(node.op)
            if known is None and not allow_unknown_operators:
                raise ModelFormatError(
                    f"node {node.name!r}: no rule for the shapes of operator {node.op!r}"
                )
            self.rules.append(known)
            self.entries.append([None] * self.checked_outputs(node, known))
            self.budget += MAX_VISITS * (1 + len(node.inputs) + len(self.entries[i]))
            if known is not None:
                self.waiting.append(i)
                self.is_waiting[i] = 1

    def initial(self, node: Node, *, is_input: bool) -> Shape:
        """Return what is known of a variable: its value, or its annotations."""
        if self.network.has_value(node.name):
            shape: Shape = parameter_shape(self.network.value(node.name))
            try:
                return merge(shape, declared_shape(node))
            except (AttributeFormatError, ShapeConflictError) as error:
                raise ModelFormatError(
                    f"parameter {node.name!r}: its value has shape {show(shape)}, but __shape__ "
                    f"is {node.attributes['__shape__']}: {error}"
                ) from None
        if not is_input:
            return None
        try:
            declared = declared_shape(node)
        except AttributeFormatError as error:
            raise ModelFormatError(f"variable {node.name!r}: {error}") from None
        if declared:
            return (self.batch, *declared[1:])
        return (self.batch, None) if self.network.storage(node.name) == "csr" else None

    def checked_outputs(self, node: Node, known: Operator | None) -> int:
        """Count the outputs, after the number of inputs has been found right."""
        if known is None:
            return 1
        try:
            if not known.variadic:
                names = known.input_names(node.attributes)
                if len(names) != len(node.inputs):
                    raise AttributeFormatError(
                        f"expected {len(names)} inputs ({', '.join(names)}), "
                        f"found {len(node.inputs)}"
                    )
            return known.output_count(node.attributes)
        except AttributeFormatError as error:
            raise ModelFormatError(f"node {node.name!r} ({node.op}): {error}") from None

    def set_variable(self, name: str, shape: Shape) -> None:
        """Add what is known of a variable."""
        node = self.graph.variable(name)
        try:
            self.update(Entry(node, 0), merge(self.entries[node][0], shape))
        except ShapeConflictError as error:
            raise ModelFormatError(f"variable {name!r}: {error}") from None

    def update(self, entry: Entry, shape: Shape) -> None:
        """Record a shape and wake the nodes around it."""
        node = self.entries[entry.node]
        if entry.output >= len(node):
            return
        if node[entry.output] == shape:
            return
        node[entry.output] = shape
        if self.rules[entry.node] is not None:
            self.wake(entry.node)
        for consumer, _ in self.graph.consumers(entry.node):
            self.wake(consumer)

    def wake(self, node: int) -> None:
        if not self.is_waiting[node] and self.rules[node] is not None:
            self.is_waiting[node] = 1
            self.waiting.append(node)

    def run(self) -> None:
        """Apply rules until nothing new follows; each step makes some shape better known.

        A graph looks at each node a few times; one that is made to need more is given up.
        """
        budget = self.budget
        while self.waiting:
            i = self.waiting.popleft()
            self.apply(i)
            self.is_waiting[i] = 0
            node = self.graph.nodes[i]
            budget -= 1 + len(node.inputs) + len(self.entries[i])
            if budget < 0:
                raise ModelFormatError(
                    f"node {node.name!r} ({node.op}): finding the shapes of the graph takes too "
                    "many steps"
                )

    def apply(self, i: int) -> None:
        node, rule = self.graph.nodes[i], self.rules[i]
        assert rule is not None
        before = [self.shape(entry) for entry in node.inputs]
        known = NodeShapes(node.attributes, list(before), list(self.entries[i]))
        try:
            rule.shape(known)
            for position, entry in enumerate(node.inputs):
                if known.inputs[position] != before[position]:
                    # The same entry may be given twice, so what it is now counts.
                    self.update(entry, merge(self.shape(entry), known.inputs[position], position))
        except AttributeFormatError as error:
            raise ModelFormatError(f"node {node.name!r} ({node.op}): {error}") from None
        except ShapeConflictError as error:
            raise self.conflict(node, rule, before, error) from None
        for output, shape in enumerate(known.outputs):
            if shape != self.entries[i][output]:
                self.update(Entry(i, output), shape)

    def conflict(
        self,
        node: Node,
        rule: Operator,
        shapes: Iterable[Shape],
        error: ShapeConflictError,
    ) -> ModelFormatError:
        argument = ""
        if error.argument is not None and error.argument < len(node.inputs):
            source = self.graph.nodes[node.inputs[error.argument].node]
            role = f"input {error.argument}"
            if not rule.variadic:
                role = f"argument {rule.input_names(node.attributes)[error.argument]}"
            argument = f"{role} ({source.name!r}): "
        listed = ", ".join(show(shape) for shape in shapes)
        return ModelFormatError(
            f"node {node.name!r} ({node.op}): {argument}{error}; its inputs have shapes {listed}"
        )

    def shape(self, entry: Entry) -> Shape:
        node = self.entries[entry.node]
        return node[entry.output] if entry.output < len(node) else None

    def try_inputs(self, names: Iterable[str]) -> None:
        """Try shapes for the inputs that are still open; keep what completes them."""
        nodes = [(name, self.graph.variable(name)) for name in names]
        still_open = [(n, i) for n, i in nodes if known_shape(self.entries[i][0]) is None]
        for name, node in still_open[:MAX_TRIED]:
            if known_shape(self.entries[node][0]) is not None:
                continue
            for candidate in self.candidates(node):
                saved = [list(outputs) for outputs in self.entries]
                try:
                    self.set_variable(name, candidate)
                    self.run()
                    if known_shape(self.entries[node][0]) is not None:
                        break
                except ModelFormatError:
                    pass  # This candidate contradicts something; the next one may not.
                self.entries = saved
                self.waiting.clear()
                self.is_waiting = bytearray(len(self.graph.nodes))

    def candidates(self, node: int) -> list[Shape]:
        """Shapes to try for an input, the likeliest first."""
        known = self.entries[node][0]
        if known is not None:
            return [tuple(self.extent_from_slices(node, known))]
        consumers = {self.graph.nodes[consumer].op for consumer, _ in self.graph.consumers(node)}
        matrix: list[Shape] = [(self.batch, None)]
        sliced: list[Shape] = [tuple(self.extent_from_slices(node, (self.batch, None)))]
        column: list[Shape] = [(self.batch,)]
        cube: list[Shape] = [(self.batch, None, None)]
        if any(op.endswith("Embedding") or op == "take" for op in consumers):
            return column + matrix + sliced
        return matrix + sliced + cube

    def extent_from_slices(self, node: int, shape: tuple[int | None, ...]) -> list[int | None]:
        """Unknown extents filled with the furthest element that slices of the input reach."""
        extents = list(shape)
        for consumer, _ in self.graph.consumers(node):
            attributes = self.graph.nodes[consumer].attributes
            op = self.rules[consumer]
            try:
                if op is not None and op.name == "slice":
                    ends = dict(enumerate(read_tuple(attributes, "end") or ()))
                elif op is not None and op.name == "slice_axis":
                    axis = read_integer(attributes, "axis")
                    ends = {axis: (read_tuple(attributes, "end") or (None,))[0]}
                else:
                    continue
            except AttributeFormatError:
                continue  # The node's own rule reports it.
            for axis, end in ends.items():
                if 0 < axis < len(shape) and shape[axis] is None and end is not None and end > 0:
                    extents[axis] = max(extents[axis] or 0, end)
        return extents

    def check_complete(self) -> None:
        """Everything is known, apart from what undocumented operators leave open."""
        unknown_allowed = any(
            rule is None and not node.is_variable
            for node, rule in zip(self.graph.nodes, self.rules)
        )
        open_inputs = [
            name
            for name in self.network.input_names
            if known_shape(self.entries[self.graph.variable(name)][0]) is None
        ]
        if open_inputs and not unknown_allowed:
            example = ", ".join(f"{name!r}: (columns,)" for name in open_inputs)
            raise ModelFormatError(
                "the shape of a row does not follow from the checkpoint for input "
                f"{', '.join(map(repr, open_inputs))}; give it as input_shapes={{{example}}}"
            )
        for node, outputs in zip(self.graph.nodes, self.entries):
            for shape in outputs:
                extents = known_shape(shape)
                if extents is None:
                    if not unknown_allowed:
                        raise ModelFormatError(
                            f"node {node.name!r} ({node.op}): its shape {show(shape)} does not "
                            "follow from the checkpoint"
                        )
                    continue
                self.check_size(node, extents)

    def check_size(self, node: Node, extents: tuple[int, ...]) -> None:
        if node.is_variable:
            return
        elements = 1
        for extent in extents:
            elements *= extent
        if elements > MAX_DENSE_ELEMENTS:
            raise ModelFormatError(
                f"node {node.name!r} ({node.op}): its shape {extents} has more elements than "
                f"the {MAX_DENSE_ELEMENTS} that an array can hold"
            )


def declared_shape(node: Node) -> Shape:
    """Read the variable's `__shape__`, where 0 and -1 stand for what was not known."""
    declared = read_tuple(node.attributes, "__shape__")
    if not declared:
        return None
    return tuple(extent if extent is not None and extent > 0 else None for extent in declared)

"""The symbol's graph: nodes, entries, heads; read from and written to MXNet's JSON.

Layout as `nnvm::pass::SaveJSON` writes it; what older versions wrote otherwise is brought up to
date while reading, as MXNet's src/nnvm/legacy_json_util.cc does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union

from fastprop.cached import cached_property
from fastprop.errors import ModelFormatError
from fastprop.graph.operators import auxiliary_inputs, input_names, output_count

__all__ = ["Entry", "Graph", "Node", "parse_symbol"]

MXNET_VERSION = 10901
VARIABLE = "null"
MAX_DIGITS = 19
UNKNOWN_OUTPUTS = 1 << 31


class Entry(NamedTuple):
    """One output of one node."""

    node: int
    output: int


@dataclass(frozen=True)
class Node:
    """An operator applied to entries, or a variable.

    Parameters
    ----------
    op : str
        The operator's name as the JSON has it; `"null"` for a variable.
    name : str
        The node's name.
    attributes : mapping of str to str
        The operator's settings and annotations such as `__storage_type__`.
    inputs : tuple of Entry
        What the operator is applied to; empty for a variable.
    """

    op: str
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Entry, ...] = ()

    @property
    def is_variable(self) -> bool:
        """Whether the node stands for an input, a parameter or an auxiliary state."""
        return self.op == VARIABLE


@dataclass(frozen=True)
class Graph:
    """A computation: nodes in topological order and the entries that are its results.

    Parameters
    ----------
    nodes : tuple of Node
        In topological order: a node's inputs come before it.
    heads : tuple of Entry
        The results, in order.
    attributes : mapping
        Annotations of the whole graph as the JSON has them (`mxnet_version` for one).

    Notes
    -----
    Immutable, so it may be shared between threads. `Graph.build` brings any list of nodes into
    the canonical order, which is MXNet's: depth first from the heads, inputs before nodes.
    """

    nodes: tuple[Node, ...]
    heads: tuple[Entry, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        nodes: Sequence[Node],
        heads: Sequence[Entry],
        attributes: Union[Mapping[str, Any], None] = None,
    ) -> Graph:
        """Make a graph of the nodes that the heads need, in MXNet's order.

        Parameters
        ----------
        nodes : sequence of Node
            In any order that has no cycles.
        heads : sequence of Entry
            By index into `nodes`.
        attributes : mapping, optional
            Annotations of the whole graph.
        """
        order = depth_first(nodes, heads)
        place = {old: new for new, old in enumerate(order)}
        ordered = []
        for old in order:
            node = nodes[old]
            inputs = tuple(Entry(place[entry.node], entry.output) for entry in node.inputs)
            ordered.append(
                node if inputs == node.inputs else Node(node.op, node.name, node.attributes, inputs)
            )
        return cls(
            nodes=tuple(ordered),
            heads=tuple(Entry(place[head.node], head.output) for head in heads),
            attributes=dict(attributes or {}),
        )

    @cached_property
    def auxiliary(self) -> tuple[str, ...]:
        """Names of the auxiliary states, in the order of MXNet's `list_auxiliary_states`."""
        states = self._auxiliary_nodes
        return tuple(
            node.name for i, node in enumerate(self.nodes) if node.is_variable and i in states
        )

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of the variables that are no states, in the order of `list_arguments`."""
        states = self._auxiliary_nodes
        return tuple(
            node.name for i, node in enumerate(self.nodes) if node.is_variable and i not in states
        )

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of all variables, depth first from the heads."""
        return tuple(node.name for node in self.nodes if node.is_variable)

    @cached_property
    def _auxiliary_nodes(self) -> frozenset[int]:
        return frozenset(
            node.inputs[position].node
            for node in self.nodes
            if not node.is_variable
            for position in auxiliary_inputs(node.op)
            if position < len(node.inputs)
        )

    @cached_property
    def _consumers(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        uses: list[list[tuple[int, int]]] = [[] for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for position, entry in enumerate(node.inputs):
                uses[entry.node].append((i, position))
        return tuple(tuple(use) for use in uses)

    def consumers(self, node: int) -> tuple[tuple[int, int], ...]:
        """Where the outputs of `node` are used: pairs of a node and the position of its input."""
        return self._consumers[node]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {node.name: i for i, node in enumerate(self.nodes) if node.is_variable}

    def variable(self, name: str) -> int:
        """Index of the variable called `name`; KeyError where there is none."""
        return self._index[name]

    def to_json(self) -> str:
        """Write the symbol as JSON that MXNet 1.9.1 loads, and `parse_symbol` too."""
        row_pointers = [0]
        nodes = []
        for node in self.nodes:
            item: dict[str, Any] = {"op": node.op, "name": node.name}
            if node.attributes:
                item["attrs"] = dict(node.attributes)
            item["inputs"] = [[entry.node, entry.output, 0] for entry in node.inputs]
            nodes.append(item)
            row_pointers.append(row_pointers[-1] + (output_count(node.op, node.attributes) or 1))
        document = {
            "nodes": nodes,
            "arg_nodes": [i for i, node in enumerate(self.nodes) if node.is_variable],
            "node_row_ptr": row_pointers,
            "heads": [[entry.node, entry.output, 0] for entry in self.heads],
            "attrs": {"mxnet_version": ["int", MXNET_VERSION]},
        }
        return json.dumps(document, ensure_ascii=False)


def depth_first(nodes: Sequence[Node], heads: Iterable[Entry]) -> list[int]:
    """List the nodes that `heads` need, each after its inputs, as nnvm's DFSVisit does."""
    order: list[int] = []
    seen = bytearray(len(nodes))
    for head in heads:
        if seen[head.node]:
            continue
        seen[head.node] = 1
        stack = [(head.node, iter(nodes[head.node].inputs))]
        while stack:
            node, inputs = stack[-1]
            for entry in inputs:
                if not seen[entry.node]:
                    seen[entry.node] = 1
                    stack.append((entry.node, iter(nodes[entry.node].inputs)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def parse_symbol(text: Union[str, bytes], source: str = "<string>") -> Graph:
    """Read a symbol's JSON as MXNet 0.8 to 1.9 and Gluon's `export` wrote it.

    Parameters
    ----------
    text : str or bytes
        The JSON; bytes are UTF-8.
    source : str
        What error messages call it, a file's path for one.

    Returns
    -------
    Graph
        The nodes that the heads need, in MXNet's order, brought up to date: auxiliary states and
        labels that versions before 0.9 left out are variables again, and annotations such as
        `weight_lr_mult` moved to the variables that they are about.

    Raises
    ------
    ModelFormatError
        It is not JSON, not a symbol, inconsistent (indices out of range or of nodes that come
        later, two variables of one name), or holds subgraphs; with the place.
    """
    try:
        document = json.loads(
            text.decode("utf-8-sig") if isinstance(text, bytes) else text, parse_int=short_integer
        )
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{source}: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ModelFormatError(f"{source}: nested too deeply to be a symbol") from None
    except ValueError as error:
        raise ModelFormatError(f"{source}: not JSON: {error}") from None
    return SymbolReader(source).read(document)


def short_integer(text: str) -> int:
    """Read an integer; long ones, which take quadratic time, are none that a symbol has."""
    if len(text) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


class SymbolReader:
    """Turns a JSON document into a graph, naming the place where it cannot."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, place: str, message: str) -> ModelFormatError:
        return ModelFormatError(f"{self.source}: at {place}: {message}")

    def read(self, document: Any) -> Graph:
        if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
            raise ModelFormatError(
                f'{self.source}: expected a symbol, an object with the list "nodes"'
            )
        nodes = [self.node(i, item) for i, item in enumerate(document["nodes"])]
        listed = document.get("heads")
        if not isinstance(listed, list) or not listed:
            raise self.fail("heads", "expected a list of at least one head")
        heads = [
            self.entry("heads[{}]", (i,), item, len(nodes), "in the graph")
            for i, item in enumerate(listed)
        ]
        attributes = document.get("attrs", {})
        if not isinstance(attributes, dict):
            raise self.fail("attrs", "expected an object")
        version = self.version(attributes)
        graph = Graph.build(upgrade(nodes, version), heads, attributes)
        self.check_graph(graph)
        return graph

    def node(self, number: int, item: Any) -> RawNode:
        place = f"nodes[{number}]"
        if not isinstance(item, dict):
            raise self.fail(place, f"expected an object, found {kind(item)}")
        op, name = item.get("op"), item.get("name")
        if not isinstance(op, str) or not op:
            raise self.fail(f"{place}.op", f"expected an operator's name, found {kind(op)}")
        if not isinstance(name, str):
            raise self.fail(f"{place}.name", f"expected a string, found {kind(name)}")
        self.check_text(f"{place}.op", op)
        self.check_text(f"{place}.name", name)
        for unsupported in ("subgraphs", "control_deps"):
            if item.get(unsupported):
                raise self.fail(f"{place}.{unsupported}", f"{unsupported} are not supported")
        attributes: dict[str, str] = {}
        for key in ("param", "attr", "attrs"):
            part = item.get(key)
            if part is None:
                continue
            if not isinstance(part, dict):
                raise self.fail(f"{place}.{key}", f"expected an object, found {kind(part)}")
            for attribute, value in part.items():
                if not isinstance(value, str):
                    raise self.fail(
                        f"{place}.{key}.{attribute}", f"expected a string, found {kind(value)}"
                    )
                self.check_text(f"{place}.{key}", attribute)
                self.check_text(f"{place}.{key}.{attribute}", value)
            attributes.update(part)
        inputs = item.get("inputs", [])
        if not isinstance(inputs, list):
            raise self.fail(f"{place}.inputs", f"expected a list, found {kind(inputs)}")
        if op == VARIABLE and inputs:
            raise self.fail(f"{place}.inputs", f"variable {name!r} has inputs")
        return RawNode(
            op,
            name,
            attributes,
            [
                self.entry("nodes[{}].inputs[{}]", (number, i), entry, number)
                for i, entry in enumerate(inputs)
            ],
        )

    def check_text(self, place: str, text: str) -> None:
        """JSON can escape what is no text: halves of characters, and NUL, which ends C strings."""
        if text.isascii():
            if "\0" in text:
                raise self.fail(place, "a string holds a NUL character")
            return
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise self.fail(place, "a string is not valid Unicode") from None

    def entry(
        self,
        place: str,
        numbers: tuple[int, ...],
        item: Any,
        bound: int,
        which: str = "before this one",
    ) -> Entry:
        """Read `[node, output]` or `[node, output, version]`; only nodes before `bound` exist.

        The place is put together from its parts only if there is something to say about it.
        """
        if type(item) is not list or len(item) not in (2, 3) or set(map(type, item)) != {int}:
            raise self.fail(
                place.format(*numbers), "expected [node, output] or [node, output, version]"
            )
        node, output = item[0], item[1]
        if not 0 <= node < bound:
            raise self.fail(
                place.format(*numbers), f"node {node} is not among the {bound} nodes {which}"
            )
        if not 0 <= output < 1 << 31:
            raise self.fail(place.format(*numbers), f"there is no output {output}")
        return Entry(node, output)

    def version(self, attributes: Mapping[str, Any]) -> int:
        """Find the version of MXNet that wrote the symbol, 0.8.0 where it does not say."""
        stated = attributes.get("mxnet_version", ["int", 800])
        if (
            isinstance(stated, list)
            and len(stated) == 2
            and stated[0] == "int"
            and type(stated[1]) is int
        ):
            return stated[1]
        raise self.fail("attrs.mxnet_version", 'expected ["int", version]')

    def check_graph(self, graph: Graph) -> None:
        """Check what needs all nodes: names of variables, and outputs that are asked for."""
        seen: set[str] = set()
        counts: list[int] = []
        for node in graph.nodes:
            if node.is_variable:
                if node.name in seen:
                    raise ModelFormatError(f"{self.source}: two variables are called {node.name!r}")
                seen.add(node.name)
            for position, entry in enumerate(node.inputs):
                if entry.output >= counts[entry.node]:
                    raise self.no_output(graph, entry, f"input {position} of node {node.name!r}")
            count = output_count(node.op, node.attributes)
            counts.append(UNKNOWN_OUTPUTS if count is None else count)
        for i, head in enumerate(graph.heads):
            if head.output >= counts[head.node]:
                raise self.no_output(graph, head, f"heads[{i}]")

    def no_output(self, graph: Graph, entry: Entry, place: str) -> ModelFormatError:
        node = graph.nodes[entry.node]
        return self.fail(
            place,
            f"node {node.name!r} ({node.op}) has {output_count(node.op, node.attributes)} outputs, "
            f"there is no output {entry.output}",
        )


class RawNode:
    """A node while the symbol is brought up to date."""

    __slots__ = ("attributes", "inputs", "name", "op")

    def __init__(self, op: str, name: str, attributes: dict[str, str], inputs: list[Entry]) -> None:
        self.op = op
        self.name = name
        self.attributes = attributes
        self.inputs = inputs


HIDDEN_KEYS = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")
SINCE_AUXILIARY_INPUTS = 900


def upgrade(raw: list[RawNode], version: int) -> list[Node]:
    """Do what MXNet does on loading a symbol that an older version saved."""
    if version < MXNET_VERSION:
        for node in raw:
            hide_annotations(node, raw)
    appended: list[RawNode] = []
    if version < SINCE_AUXILIARY_INPUTS:
        for node in raw:
            if node.op == VARIABLE:
                continue
            names = input_names(node.op, node.attributes) or ()
            for missing in names[len(node.inputs) :]:
                node.inputs.append(Entry(len(raw) + len(appended), 0))
                name = f"{node.name}_{missing}" if node.name else missing
                appended.append(RawNode(VARIABLE, name, {}, []))
    return [
        Node(node.op, node.name, node.attributes, tuple(node.inputs)) for node in raw + appended
    ]


def hide_annotations(node: RawNode, raw: Sequence[RawNode]) -> None:
    """`lr_mult` becomes `__lr_mult__`; `weight_lr_mult` moves to the variable of `weight`.

    An annotation that is about no input stays, hidden, because MXNet refuses what it doesn't know.
    """
    for key in [key for key in node.attributes if not key.startswith("__")]:
        for hidden in HIDDEN_KEYS:
            if key == hidden:
                node.attributes[f"__{hidden}__"] = node.attributes.pop(key)
            elif key.endswith("_" + hidden):
                names = input_names(node.op, node.attributes) or ()
                about = key[: -len(hidden) - 1]
                if about in names and names.index(about) < len(node.inputs):
                    variable = raw[node.inputs[names.index(about)].node]
                    if variable.op == VARIABLE:
                        variable.attributes[f"__{hidden}__"] = node.attributes[key]
                node.attributes[f"__{key}__"] = node.attributes.pop(key)


def kind(value: Any) -> str:
    """Say what a JSON value is, in JSON's words."""
    if value is None:
        return "nothing"
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value"}
    return names.get(type(value), "a number")

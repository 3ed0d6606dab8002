"""A graph with its parameters: what a checkpoint is once read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastprop.cached import cached_property
from fastprop.checkpoint.arrays import Parameter
from fastprop.errors import ModelFormatError
from fastprop.graph.graph import Graph
from fastprop.graph.operators import operator

__all__ = ["InputSpec", "Network", "bind_parameters"]

STORAGES = {
    "-1": "default",
    "0": "default",
    "default": "default",
    "1": "row_sparse",
    "row_sparse": "row_sparse",
    "2": "csr",
    "csr": "csr",
}
DTYPES = {
    "-1": "float32",
    "0": "float32",
    "1": "float64",
    "2": "float16",
    "3": "uint8",
    "4": "int32",
    "5": "int8",
    "6": "int64",
    "7": "bool",
}


@dataclass(frozen=True)
class InputSpec:
    """What a network must be given.

    Parameters
    ----------
    name : str
        The variable's name.
    storage : {"csr", "default"}
        Sparse rows or a dense array.
    shape : tuple of int or None, or None
        Shape of one row, without the batch's axis; None for an extent that does not follow from
        the checkpoint, and None altogether where not even the number of dimensions does.
    dtype : str
        Type of the elements.
    """

    name: str
    storage: str
    shape: tuple[int | None, ...] | None
    dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class Network:
    """A graph, its parameters and its auxiliary states.

    Parameters
    ----------
    graph : Graph
        The computation.
    arguments : mapping of str to ndarray, RowSparseArray or CSR
        Learned values of variables.
    auxiliary : mapping of str to ndarray, RowSparseArray or CSR
        Values of auxiliary states.

    Notes
    -----
    Immutable, and the arrays are never written to, so networks share them freely.
    """

    graph: Graph
    arguments: Mapping[str, Parameter]
    auxiliary: Mapping[str, Parameter]

    @cached_property
    def labels_inputs(self) -> tuple[str, ...]:
        """Variables without a value that only training looks at, in MXNet's argument order.

        They reach the heads only through label inputs, of SoftmaxOutput for one.
        """
        needed = needed_at_inference(self.graph)
        return tuple(
            node.name
            for i, node in enumerate(self.graph.nodes)
            if node.is_variable and i not in needed and not self.has_value(node.name)
        )

    @cached_property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What must be fed at inference: the rows first, then further inputs in MXNet's order.

        The rows are the first csr input; without one, the input called `data`; without that
        either, the first. Widths are found from the parameters where they determine them.
        """
        specs = []
        for name in self.input_names:
            attributes = self.graph.nodes[self.graph.variable(name)].attributes
            specs.append(
                InputSpec(
                    name=name,
                    storage="csr" if self.storage(name) == "csr" else "default",
                    shape=self.row_shape(name),
                    dtype=DTYPES.get(attributes.get("__dtype__", "0"), "float32"),
                )
            )
        specs.sort(key=lambda spec: (spec.storage != "csr", spec.name != "data"))
        return tuple(specs)

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Variables without a value that inference needs, in MXNet's argument order."""
        labels = set(self.labels_inputs)
        return tuple(
            name for name in self.graph.variables if name not in labels and not self.has_value(name)
        )

    @cached_property
    def known_shapes(self) -> tuple[tuple[tuple[int | None, ...] | None, ...], ...]:
        """Shapes of each node's outputs for `ANY_BATCH` rows, as far as the checkpoint tells."""
        from fastprop.graph.shapes import infer_partially

        return infer_partially(self)

    def row_shape(self, name: str) -> tuple[int | None, ...] | None:
        """Shape of a row of an input, as far as the checkpoint tells."""
        shape = self.known_shapes[self.graph.variable(name)][0]
        return None if shape is None else shape[1:]

    def has_value(self, name: str) -> bool:
        """Whether the variable is a parameter or a state whose value is known."""
        return name in self.arguments or name in self.auxiliary

    def value(self, name: str) -> Parameter:
        """Value of a parameter or state; KeyError where there is none."""
        return self.arguments[name] if name in self.arguments else self.auxiliary[name]

    def storage(self, name: str) -> str:
        """How the variable is declared to be stored: "csr", "row_sparse" or "default"."""
        attributes = self.graph.nodes[self.graph.variable(name)].attributes
        stated = attributes.get("__storage_type__", "0")
        storage = STORAGES.get(stated)
        if storage is None:
            raise ModelFormatError(f"variable {name!r}: unknown __storage_type__ {stated!r}")
        return storage


def needed_at_inference(graph: Graph) -> set[int]:
    """Nodes that the heads depend on other than through label inputs."""
    needed: set[int] = {head.node for head in graph.heads}
    for i in range(len(graph.nodes) - 1, -1, -1):
        if i not in needed:
            continue
        node = graph.nodes[i]
        known = None if node.is_variable else operator(node.op)
        for position, entry in enumerate(node.inputs):
            if known is None or position not in known.labels:
                needed.add(entry.node)
    return needed


def bind_parameters(
    graph: Graph, parameters: Mapping[str, Parameter], source: str = "the parameters"
) -> Network:
    """Make a network of a graph and the content of a parameter file.

    Parameters
    ----------
    graph : Graph
        The symbol's graph.
    parameters : mapping of str to ndarray, RowSparseArray or CSR
        By the names of the file: `arg:` and `aux:` prefixes are dropped, and the graph decides
        what is a state. Values of variables that the graph does not have are left out.
    source : str
        What error messages call them, a file's path for one.

    Raises
    ------
    ModelFormatError
        A name occurs with two prefixes, or a variable that only a parameter can be (a layer's
        weight, a state) has no value.
    """
    plain: dict[str, Parameter] = {}
    for name, value in parameters.items():
        prefix, colon, rest = name.partition(":")
        short = rest if colon and prefix in ("arg", "aux") else name
        if short in plain:
            raise ModelFormatError(f"{source}: the name {short!r} occurs with two prefixes")
        plain[short] = value
    arguments = {name: plain[name] for name in graph.arguments if name in plain}
    auxiliary = {name: plain[name] for name in graph.auxiliary if name in plain}
    for node in graph.nodes:
        known = None if node.is_variable else operator(node.op)
        if known is None:
            continue
        for position in (*known.parameters, *known.auxiliary):
            if position < len(node.inputs):
                variable = graph.nodes[node.inputs[position].node]
                if variable.is_variable and variable.name not in plain:
                    raise ModelFormatError(
                        f"{source}: no value for {variable.name!r}, input {position} of node "
                        f"{node.name!r} ({node.op})"
                    )
    return Network(
        graph=graph,
        arguments=arguments,
        auxiliary=auxiliary,
    )

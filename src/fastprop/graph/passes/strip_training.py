"""What only training needs goes: dropout, losses, labels, gradient stops."""

from __future__ import annotations

from fastprop.graph.attributes import AttributeFormatError, read_choice, read_flag
from fastprop.graph.graph import Entry, Graph, Node
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name
from fastprop.graph.shape_rules.node_shapes import Shape

__all__ = ["strip_training"]

IDENTITIES = frozenset(
    {
        "_copy",
        "BlockGrad",
        "make_loss",
        "MakeLoss",
        "LinearRegressionOutput",
        "MAERegressionOutput",
        "SVMOutput",
    }
)


def strip_training(network: Network) -> Network:
    """Rewrite a network to what it computes at inference.

    Parameters
    ----------
    network : Network
        A checkpoint's network.

    Returns
    -------
    Network
        Without Dropout (other than `mode="always"`, which stays, being random at inference
        too), gradient stops and identities; `SoftmaxOutput` is a softmax,
        `LogisticRegressionOutput` a sigmoid, the other output operators are what they are given.
        Labels, and parameters that nothing needs any more, are gone. Heads keep their number,
        order and shapes; a head keeps its name where its operator was replaced, and takes the
        name of the operator before it where its own was dropped, apart from that it is never a
        bare variable or another head again, for which an identity is kept.

    Notes
    -----
    What a node means is left as it is where it cannot be told: attributes that cannot be read,
    or a softmax over all axes of data whose shape is unknown.
    """
    return StripTraining(network).run()


class StripTraining:
    """One run of the pass: nodes rewritten in order, and where old entries went."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.graph = network.graph
        self.nodes: list[Node] = []
        self.moved: list[Entry | None] = []

    def run(self) -> Network:
        for i, node in enumerate(self.graph.nodes):
            inputs = tuple(self.follow(entry) for entry in node.inputs)
            bypass, replacement = self.rewrite(i, node, inputs)
            if bypass is not None:
                self.moved.append(bypass)
            else:
                self.nodes.extend(replacement)
                self.moved.append(Entry(len(self.nodes) - 1, 0))
        heads: list[Entry] = []
        for old in self.graph.heads:
            new = self.follow(old)
            node = self.nodes[new.node]
            name = self.graph.nodes[old.node].name
            if name != node.name and (new in heads or node.is_variable):
                self.nodes.append(Node("_copy", name, {}, (new,)))
                new = Entry(len(self.nodes) - 1, 0)
            heads.append(new)
        graph = Graph.build(self.nodes, heads, self.graph.attributes)
        return with_graph(self.network, graph)

    def follow(self, entry: Entry) -> Entry:
        """Return where an old entry is now."""
        moved = self.moved[entry.node]
        assert moved is not None
        # Only nodes whose further outputs nobody uses are bypassed.
        return moved if entry.output == 0 else Entry(moved.node, entry.output)

    def rewrite(
        self, i: int, node: Node, inputs: tuple[Entry, ...]
    ) -> tuple[Entry | None, list[Node]]:
        """Return what to use in the node's place: an entry, or nodes (the last is its output)."""
        unchanged = [Node(node.op, node.name, node.attributes, inputs)]
        if not inputs:
            return None, unchanged
        op = canonical_name(node.op)
        try:
            if op in IDENTITIES:
                return inputs[0], []
            if op == "Dropout" and self.is_idle(i, node):
                return inputs[0], []
            if op == "LogisticRegressionOutput":
                return None, [Node("Activation", node.name, {"act_type": "sigmoid"}, inputs[:1])]
            if op == "SoftmaxOutput":
                softmax = self.softmax(i, node, inputs[0])
                if softmax is not None:
                    return None, softmax
        except AttributeFormatError:
            pass  # Shape inference and the engine report it; here the node stays as it is.
        return None, unchanged

    def is_idle(self, i: int, node: Node) -> bool:
        """Whether a Dropout does nothing at inference and its mask is not used."""
        mode = read_choice(node.attributes, "mode", ("training", "always"), "training")
        used = {head.output for head in self.graph.heads if head.node == i}
        for consumer, position in self.graph.consumers(i):
            used.add(self.graph.nodes[consumer].inputs[position].output)
        return mode == "training" and used <= {0}

    def softmax(self, i: int, node: Node, data: Entry) -> list[Node] | None:
        """Return the inference form of SoftmaxOutput, by the axes that it normalises over."""
        if read_flag(node.attributes, "multi_output", False):
            return [Node("softmax", node.name, {"axis": "1"}, (data,))]
        if read_flag(node.attributes, "preserve_shape", False):
            return [Node("softmax", node.name, {"axis": "-1"}, (data,))]
        shape = self.data_shape(i)
        if shape is None:
            return None
        if len(shape) == 2:
            return [Node("softmax", node.name, {"axis": "-1"}, (data,))]
        if len(shape) in (0, 1, 4) or None in shape[1:]:
            # Of four axes, MXNet takes all but the first without oneDNN and the last with it.
            return None
        flat = Node("Flatten", f"{node.name}_flat", {}, (data,))
        at = len(self.nodes)
        softmax = Node("softmax", f"{node.name}_softmax", {"axis": "-1"}, (Entry(at, 0),))
        extents = ", ".join(str(extent) for extent in (-1, *shape[1:]))
        back = Node("Reshape", node.name, {"shape": f"({extents})"}, (Entry(at + 1, 0),))
        return [flat, softmax, back]

    def data_shape(self, i: int) -> Shape:
        """Return the shape of the node's first input as far as the checkpoint tells."""
        entry = self.graph.nodes[i].inputs[0]
        source = self.graph.nodes[entry.node]
        if canonical_name(source.op) == "FullyConnected" and "flatten" not in source.attributes:
            return (None, None)
        outputs = self.network.known_shapes[entry.node]
        return outputs[entry.output] if entry.output < len(outputs) else None


def with_graph(network: Network, graph: Graph) -> Network:
    """Return a network of another graph over the same values, without those it does not need."""
    variables = set(graph.variables)
    return Network(
        graph=graph,
        arguments={k: v for k, v in network.arguments.items() if k in variables},
        auxiliary={k: v for k, v in network.auxiliary.items() if k in variables},
    )

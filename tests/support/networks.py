"""Random networks, as fastprop's own objects: no MXNet is needed to make or to save them.

network = propensity(numpy.random.default_rng(0), n_heads=5)
feeds = random_feeds(numpy.random.default_rng(1), network, n_rows=7)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastprop.checkpoint.arrays import Parameter, RowSparseArray
from fastprop.graph.builder import GraphBuilder
from fastprop.graph.graph import Entry
from fastprop.graph.network import Network
from fastprop.typing import CSR

Rng = np.random.Generator
CSR_INPUT = {"__storage_type__": "2"}
ROW_SPARSE = {"__storage_type__": "1"}
LEAKY = ("leaky", "elu", "selu", "gelu", "prelu", "rrelu")
ACTIVATIONS = ("relu", "sigmoid", "tanh", "softrelu", "softsign", *LEAKY)


class NetworkBuilder(GraphBuilder):
    """A graph in the making, with values for its parameters."""

    def __init__(self, rng: Rng) -> None:
        super().__init__()
        self.rng = rng
        self.values: dict[str, Parameter] = {}
        self.states: dict[str, Parameter] = {}

    def parameter(
        self, name: str, shape: tuple[int, ...], scale: float = 0.5, *, declared: bool = True
    ) -> Entry:
        """A dense parameter; MXNet finds the shape of a layer's, others have to declare it."""
        self.values[name] = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        return self.variable(name, {"__shape__": str(shape)} if declared else {})

    def row_sparse(self, name: str, shape: tuple[int, ...], *, stored: str = "full") -> Entry:
        """A row-sparse parameter: "full", "partial" (rows missing) or "dense" (as saved dense)."""
        value = (self.rng.standard_normal(shape) * 0.5).astype(np.float32)
        if stored == "dense":
            self.values[name] = value
        else:
            kept = np.arange(shape[0])
            if stored == "partial":
                kept = np.flatnonzero(self.rng.random(shape[0]) < 0.7)
            self.values[name] = RowSparseArray(shape, kept, value[kept])
        declared = {"__shape__": str(shape)}
        return self.variable(name, declared if stored == "dense" else {**ROW_SPARSE, **declared})

    def layer(
        self, name: str, data: Entry, width: int, n_hidden: int, *, bias: bool = True, **more: Any
    ) -> Entry:
        shape = (n_hidden, width)
        weight = self.parameter(f"{name}_weight", shape, width**-0.5, declared=False)
        inputs = [data, weight]
        if bias:
            inputs.append(self.parameter(f"{name}_bias", (n_hidden,), declared=False))
        settings = {"num_hidden": n_hidden, **({} if bias else {"no_bias": True}), **more}
        return self.add("FullyConnected", inputs, name=name, attributes=settings)

    def activation(self, name: str, data: Entry, kind: str, width: int) -> Entry:
        if kind not in LEAKY:
            return self.add("Activation", [data], name=name, attributes={"act_type": kind})
        inputs = [data]
        if kind == "prelu":
            inputs.append(self.parameter(f"{name}_gamma", (width,)))
        return self.add("LeakyReLU", inputs, name=name, attributes={"act_type": kind})

    def labelled(self, op: str, data: Entry, name: str, **settings: Any) -> Entry:
        return self.add(op, [data, self.variable(f"{name}_label")], name=name, attributes=settings)

    def batch_norm(self, name: str, data: Entry, width: int, **settings: Any) -> Entry:
        inputs = [data, self.parameter(f"{name}_gamma", (width,))]
        inputs.append(self.parameter(f"{name}_beta", (width,)))
        for state, low in (("moving_mean", -1.0), ("moving_var", 0.5)):
            value = self.rng.uniform(low, 1.5, width).astype(np.float32)
            self.states[f"{name}_{state}"] = value
            inputs.append(self.variable(f"{name}_{state}"))
        return self.add("BatchNorm", inputs, name=name, attributes=settings)

    def network(self, heads: Sequence[Entry]) -> Network:
        graph = self.build(heads)
        return Network(graph=graph, arguments=self.values, auxiliary=self.states)


def propensity(
    rng: Rng,
    *,
    n_features: int = 60,
    hidden: Sequence[int] = (16,),
    n_heads: int = 3,
    n_classes: int | Sequence[int] = 2,
    activation: str = "relu",
    weight: str = "full",
    heads: str = "separate",
    head: str = "SoftmaxOutput",
    dropout: bool = True,
    bias: bool | Sequence[bool] = True,
) -> Network:
    """The network that fastprop is for: sparse rows, hidden layers, N softmax heads.

    `weight` is how the first layer is stored, `heads` "separate" (a layer each) or "fused" (one
    layer, reshaped), `head` the operator (SoftmaxOutput, softmax or SoftmaxActivation) on top.
    Without hidden layers the rows' product with a weight is what the heads see.
    """
    made = NetworkBuilder(rng)
    rows = made.variable("data", CSR_INPUT)
    width = hidden[0] if hidden else 8
    first = made.row_sparse("weight", (n_features, width), stored=weight)
    data = made.add("dot", [rows, first], name="dot0")
    data = made.add(
        "broadcast_add", [data, made.parameter("bias", (width,))], name="broadcast_add0"
    )
    for depth, n_hidden in enumerate(hidden):
        if depth:
            data = made.layer(f"hidden{depth}", data, width, n_hidden)
        width = n_hidden
        data = made.activation(f"activation{depth}", data, activation, width)
        if dropout:
            data = made.add("Dropout", [data], name=f"dropout{depth}", attributes={"p": 0.5})
    classes = [n_classes] * n_heads if isinstance(n_classes, int) else list(n_classes)
    biases = [bias] * n_heads if isinstance(bias, bool) else list(bias)
    if heads == "fused":
        data = made.layer("heads", data, width, n_heads * classes[0])
        shape = f"(-1, {n_heads}, {classes[0]})"
        data = made.add("Reshape", [data], name="groups", attributes={"shape": shape})
        return made.network([made.labelled("SoftmaxOutput", data, "softmax", preserve_shape=True)])
    tops = []
    for i, (count, has_bias) in enumerate(zip(classes, biases)):
        layer = made.layer(f"head{i}", data, width, count, bias=has_bias)
        if head == "SoftmaxOutput":
            tops.append(made.labelled(head, layer, f"category{i}_softmax"))
        else:
            tops.append(made.add(head, [layer], name=f"category{i}_softmax"))
    return made.network(tops)


def wide_and_deep(
    rng: Rng, *, n_linear: int = 40, n_embedded: int = 3, n_dense: int = 4
) -> Network:
    """A linear model of sparse rows beside a deep one of embeddings and dense columns."""
    made = NetworkBuilder(rng)
    rows = made.variable("csr_data", CSR_INPUT)
    weight = made.row_sparse("linear_weight", (n_linear, 2))
    wide = made.add("dot", [rows, weight], name="dot0")
    wide = made.add(
        "broadcast_add", [wide, made.parameter("linear_bias", (2,))], name="broadcast_add0"
    )
    columns = made.variable("dns_data")
    ids = made.add(
        "slice",
        [columns],
        name="slice0",
        attributes={"begin": "(0, 0)", "end": f"(None, {n_embedded})"},
    )
    parts = made.add(
        "SliceChannel",
        [ids],
        name="split0",
        attributes={"num_outputs": n_embedded, "squeeze_axis": 1},
    )
    features = [
        made.add(
            "slice",
            [columns],
            name="slice1",
            attributes={
                "begin": f"(0, {n_embedded})",
                "end": f"(None, {n_embedded + n_dense})",
            },
        )
    ]
    for i in range(n_embedded):
        table = made.row_sparse(f"embed_{i}_weight", (5, 6))
        settings = {"input_dim": 5, "output_dim": 6, "sparse_grad": True}
        features.append(
            made.add(
                "Embedding",
                [Entry(parts.node, i), table],
                name=f"embedding{i}",
                attributes=settings,
            )
        )
    width = 6 * n_embedded + n_dense
    settings = {"dim": 1, "num_args": len(features)}
    data = made.add("Concat", features, name="concat0", attributes=settings)
    data = made.activation("relu0", made.layer("fc0", data, width, 10), "relu", 10)
    deep = made.layer("fc1", data, 10, 2)
    both = made.add("elemwise_add", [wide, deep], name="_plus0")
    return made.network([made.labelled("SoftmaxOutput", both, "model")])


def factorization_machine(rng: Rng, *, n_features: int = 50, n_factors: int = 4) -> Network:
    """A factorization machine of second order over sparse rows."""
    made = NetworkBuilder(rng)
    rows = made.variable("data", CSR_INPUT)
    factors = made.row_sparse("v", (n_features, n_factors))
    linear = made.add("dot", [rows, made.row_sparse("w", (n_features, 1))], name="dot0")
    linear = made.add("broadcast_add", [linear, made.parameter("w0", (1,))], name="add0")
    squares = made.add(
        "_square_sum", [factors], name="square_sum0", attributes={"axis": 1, "keepdims": True}
    )
    rows_squared = made.add("square", [rows], name="square0")
    own = made.add("dot", [rows_squared, squares], name="dot1")
    pairs = made.add("square", [made.add("dot", [rows, factors], name="dot2")], name="square1")
    pairs = made.add("_mul_scalar", [pairs], name="mul0", attributes={"scalar": 0.5})
    both = made.add("Concat", [linear, pairs], name="concat0", attributes={"dim": 1, "num_args": 2})
    total = made.add("sum", [both], name="sum0", attributes={"axis": "(1,)", "keepdims": True})
    own = made.add("_mul_scalar", [own], name="mul1", attributes={"scalar": -0.5})
    result = made.add("elemwise_add", [total, own], name="plus0")
    return made.network([made.labelled("LogisticRegressionOutput", result, "score")])


def matrix_factorization(rng: Rng, *, n_factors: int = 5) -> Network:
    """Two embeddings of one index a row, multiplied; no sparse rows."""
    made = NetworkBuilder(rng)
    sides = []
    for side, count in (("user", 9), ("item", 7)):
        table = made.row_sparse(f"{side}_weight", (count, n_factors))
        settings = {"input_dim": count, "output_dim": n_factors, "sparse_grad": True}
        data = made.add(
            "Embedding",
            [made.variable(side), table],
            name=f"{side}_embedding",
            attributes=settings,
        )
        data = made.activation(f"{side}_relu", data, "relu", n_factors)
        sides.append(made.layer(f"{side}_fc", data, n_factors, 6))
    product = made.add("elemwise_mul", sides, name="mul0")
    total = made.add("sum", [product], name="sum0", attributes={"axis": 1})
    flat = made.add("Flatten", [total], name="flatten0")
    return made.network([made.labelled("LinearRegressionOutput", flat, "score")])


def softmax_classes(rng: Rng, *, n_classes: int = 11, dense: bool = False) -> Network:
    """One softmax over many classes, of sparse or dense rows."""
    made = NetworkBuilder(rng)
    if dense:
        data = made.layer("fc0", made.variable("data"), 12, 9)
    else:
        weight = made.row_sparse("weight", (40, 9), stored="partial")
        data = made.add("dot", [made.variable("data", CSR_INPUT), weight], name="dot0")
    data = made.batch_norm("bn0", data, 9, fix_gamma=False, eps=1e-5)
    data = made.activation("tanh0", data, "tanh", 9)
    data = made.layer("fc1", data, 9, n_classes)
    return made.network([made.labelled("SoftmaxOutput", data, "softmax")])


def regression(rng: Rng, *, kind: str = "LogisticRegressionOutput", n_heads: int = 2) -> Network:
    """Heads of one column each under one of the regression outputs."""
    made = NetworkBuilder(rng)
    rows = made.variable("data", CSR_INPUT)
    data = made.add("dot", [rows, made.row_sparse("weight", (30, 7))], name="dot0")
    data = made.activation("relu0", data, "relu", 7)
    heads = [
        made.labelled(kind, made.layer(f"fc{i}", data, 7, 1 + i), f"target{i}")
        for i in range(n_heads)
    ]
    return made.network(heads)


def embedding(rng: Rng, *, n_positions: int = 4) -> Network:
    """Embedded categories of several positions a row, flattened into a classifier."""
    made = NetworkBuilder(rng)
    table = made.parameter("embedding_weight", (20, 5))
    data = made.add(
        "Embedding",
        [made.variable("data"), table],
        name="embedding0",
        attributes={"input_dim": 20, "output_dim": 5},
    )
    data = made.add("Flatten", [data], name="flatten0")
    data = made.activation("relu0", made.layer("fc0", data, 5 * n_positions, 8), "relu", 8)
    return made.network([made.labelled("SoftmaxOutput", made.layer("fc1", data, 8, 3), "out")])


def towers(rng: Rng, *, heads_per_tower: Sequence[int] = (2, 3)) -> Network:
    """Softmax heads over different inputs, consecutive heads over the same one."""
    made = NetworkBuilder(rng)
    rows = made.variable("data", CSR_INPUT)
    profile = made.variable("profile")
    heads = []
    for tower, count in enumerate(heads_per_tower):
        if tower % 2:
            data = made.layer(f"tower{tower}", profile, 5, 6)
        else:
            weight = made.row_sparse(f"tower{tower}_weight", (30, 6), stored="partial")
            data = made.add("dot", [rows, weight], name=f"dot{tower}")
        data = made.activation(f"tower{tower}_relu", data, "relu", 6)
        for i in range(count):
            layer = made.layer(f"tower{tower}_head{i}", data, 6, 2)
            heads.append(made.labelled("SoftmaxOutput", layer, f"tower{tower}_softmax{i}"))
    return made.network(heads)


def gluon_like(rng: Rng) -> Network:
    """What Gluon's export writes: explicit defaults, `__shape__` and `__dtype__` everywhere."""
    made = NetworkBuilder(rng)
    data = made.variable("data")
    for depth, (width, n_hidden) in enumerate(((12, 8), (8, 4))):
        parts = [data]
        for part, shape in (("weight", (n_hidden, width)), ("bias", (n_hidden,))):
            name = f"net_dense{depth}_{part}"
            made.values[name] = rng.standard_normal(shape).astype(np.float32) * 0.5
            annotations = {
                "__dtype__": "0",
                "__lr_mult__": "1.0",
                "__shape__": str((n_hidden, 0) if part == "weight" else shape),
                "__storage_type__": "0",
                "__wd_mult__": "1.0",
            }
            parts.append(made.variable(name, annotations))
        settings = {"flatten": True, "no_bias": False, "num_hidden": n_hidden}
        data = made.add("FullyConnected", parts, name=f"net_dense{depth}_fwd", attributes=settings)
        if depth == 0:
            data = made.activation("net_dense0_relu_fwd", data, "relu", n_hidden)
            settings = {"axis": 1, "eps": 1e-5, "fix_gamma": False, "momentum": 0.9}
            data = made.batch_norm("net_batchnorm0_fwd", data, n_hidden, **settings)
            settings = {"axes": "()", "cudnn_off": False, "p": 0.5}
            data = made.add("Dropout", [data], name="net_dropout0_fwd", attributes=settings)
    return made.network([data])


FACTORIES: Mapping[str, Callable[[Rng], Network]] = {
    "propensity": propensity,
    "propensity-fused": lambda rng: propensity(rng, heads="fused"),
    "propensity-classes": lambda rng: propensity(rng, n_classes=4),
    "propensity-mixed": lambda rng: propensity(rng, n_heads=4, n_classes=(2, 3, 3, 5)),
    "propensity-partial": lambda rng: propensity(rng, weight="partial", hidden=(12, 8)),
    "propensity-flat": lambda rng: propensity(rng, hidden=()),
    "wide-and-deep": wide_and_deep,
    "factorization-machine": factorization_machine,
    "matrix-factorization": matrix_factorization,
    "softmax-classes": softmax_classes,
    "softmax-dense": lambda rng: softmax_classes(rng, dense=True),
    "logistic": regression,
    "linear": lambda rng: regression(rng, kind="LinearRegressionOutput"),
    "mae": lambda rng: regression(rng, kind="MAERegressionOutput", n_heads=1),
    "embedding": embedding,
    "towers": towers,
    "gluon-like": gluon_like,
}


def random_rows(
    rng: Rng, n_rows: int, n_columns: int, *, density: float = 0.2, empty: float = 0.1
) -> CSR:
    """Sparse rows with sorted columns, some rows empty."""
    counts = rng.binomial(n_columns, density, n_rows)
    counts[rng.random(n_rows) < empty] = 0
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = [np.sort(rng.permutation(n_columns)[:count]) for count in counts]
    return CSR(
        indptr=indptr,
        indices=np.concatenate([np.empty(0, np.int64), *indices]).astype(np.int64),
        data=rng.standard_normal(indptr[-1]).astype(np.float32),
        shape=(n_rows, n_columns),
    )


def random_feeds(rng: Rng, network: Network, n_rows: int) -> dict[str, Any]:
    """A value for each input that inference needs; small non-negative integers for indices."""
    feeds: dict[str, Any] = {}
    for spec in network.inputs:
        assert spec.shape is not None, spec
        row = tuple(extent or 1 for extent in spec.shape)
        assert row == spec.shape, spec
        if spec.storage == "csr":
            feeds[spec.name] = random_rows(rng, n_rows, row[0])
            continue
        graph = network.graph
        consumers = graph.consumers(graph.variable(spec.name))
        indexed = any(
            graph.nodes[node].op in ("Embedding", "slice", "slice_axis", "take")
            for node, _ in consumers
        )
        if indexed:
            feeds[spec.name] = rng.integers(0, 5, (n_rows, *row)).astype(np.float32)
        else:
            feeds[spec.name] = rng.standard_normal((n_rows, *row)).astype(np.float32)
    return feeds

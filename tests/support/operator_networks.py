"""A small network for each operator that the native engine knows, on top of sparse rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastprop.graph.graph import Entry
from fastprop.graph.network import Network
from support.networks import CSR_INPUT, NetworkBuilder, Rng

WIDTH = 24
N_FEATURES = 40


class Bench(NetworkBuilder):
    """A network in the making: rows, a hidden layer over them, and what a test adds."""

    def __init__(self, rng: Rng) -> None:
        super().__init__(rng)
        self.rows = self.variable("data", CSR_INPUT)
        self.count = 0

    def op(self, op: str, *inputs: Entry, **settings: Any) -> Entry:
        self.count += 1
        return self.add(
            op, inputs, name=f"{op.strip('_').lower()}_{self.count}", attributes=settings
        )

    def hidden(self, width: int = WIDTH) -> Entry:
        self.count += 1
        weight = self.row_sparse(f"weight{self.count}", (N_FEATURES, width))
        return self.op("dot", self.rows, weight)

    def shaped(self, *shape: int) -> Entry:
        """(batch, *shape), of WIDTH elements."""
        return self.op("Reshape", self.hidden(), shape=str((-1, *shape)))

    def positive(self) -> Entry:
        """Between 0.5 and 1.5."""
        data = self.op("Activation", self.hidden(), act_type="sigmoid")
        return self.op("_plus_scalar", data, scalar=0.5)

    def small(self) -> Entry:
        """Between -0.9 and 0.9."""
        data = self.op("Activation", self.hidden(), act_type="tanh")
        return self.op("_mul_scalar", data, scalar=0.9)

    def values_of(self, shape: tuple[int, ...]) -> Entry:
        self.count += 1
        return self.parameter(f"parameter{self.count}", shape)


Make = Callable[[Bench], Entry]


def of_hidden(op: str, **settings: Any) -> Make:
    return lambda made: made.op(op, made.hidden(), **settings)


def of_shaped(op: str, *shape: int, **settings: Any) -> Make:
    return lambda made: made.op(op, made.shaped(*shape), **settings)


def with_values(op: str, *shape: int) -> Make:
    return lambda made: made.op(op, made.hidden(), made.values_of(shape))


def of_positive(op: str, **settings: Any) -> Make:
    return lambda made: made.op(op, made.positive(), **settings)


def below_zero(op: str) -> Make:
    """Between -0.86 and -0.14."""

    def make(made: Bench) -> Entry:
        data = made.op("_mul_scalar", made.small(), scalar=0.4)
        return made.op(op, made.op("_minus_scalar", data, scalar=0.5))

    return make


def of_two(op: str) -> Make:
    return lambda made: made.op(op, made.hidden(), made.hidden())


def norm_layer(op: str, *shape: int, width: int, **settings: Any) -> Make:
    def make(made: Bench) -> Entry:
        parts = [made.shaped(*shape), made.values_of((width,)), made.values_of((width,))]
        return made.op(op, *parts, **settings)

    return make


def batch_norm(*shape: int, width: int, after: str = "dot", **settings: Any) -> Make:
    def make(made: Bench) -> Entry:
        data = made.shaped(*shape)
        if after == "layer":
            data = made.layer("fc", made.hidden(), WIDTH, width)
        if after == "activation":
            data = made.activation("act", made.hidden(), "tanh", WIDTH)
        data = made.batch_norm("bn", data, width, **settings)
        return made.layer("top", data, WIDTH if after != "layer" else width, 5)

    return make


def prelu(*shape: int, width: int) -> Make:
    def make(made: Bench) -> Entry:
        return made.op("LeakyReLU", made.shaped(*shape), made.values_of((width,)), act_type="prelu")

    return make


def dense_layer(made: Bench, **settings: Any) -> Entry:
    data = made.shaped(2, 3, 4)
    width = 24 if settings.get("flatten", True) else 4
    return made.layer("fc", data, width, 5, **settings)


def layer_over_rows(made: Bench, **settings: Any) -> Entry:
    return made.layer("fc", made.rows, N_FEATURES, 5, **settings)


def split(made: Bench) -> Entry:
    parts = made.op("SliceChannel", made.shaped(4, 6), num_outputs=3, axis=2)
    first, _, last = (Entry(parts.node, i) for i in range(3))
    return made.op("elemwise_sub", last, first)


def take_columns(made: Bench) -> Entry:
    made.values["columns"] = np.array([3, 0, 50, 3], np.float32)
    columns = made.variable("columns", {"__shape__": "(4,)"})
    return made.op("take", made.hidden(), columns, axis=1, mode="clip")


def take_rows(mode: str) -> Make:
    def make(made: Bench) -> Entry:
        numbers = made.op("_mul_scalar", made.hidden(3), scalar=4.0)
        return made.op("take", made.values_of((5, 4)), made.op("floor", numbers), mode=mode)

    return make


def where(made: Bench, *, by_row: bool) -> Entry:
    condition = made.op("_greater_scalar", made.hidden(1 if by_row else WIDTH), scalar=0.0)
    if by_row:
        condition = made.op("Reshape", condition, shape="(-1,)")
    return made.op("where", condition, made.hidden(), made.hidden())


def attention(made: Bench) -> Entry:
    keys, values = made.shaped(4, 6), made.shaped(4, 6)
    weights = made.op("batch_dot", keys, values, transpose_b=True)
    return made.op("batch_dot", made.op("softmax", weights, axis=-1), values)


def softmax_of_lengths(made: Bench, *, axis: int) -> Entry:
    """Lengths from 0 to as many as there are elements; MXNet would read past them."""
    shape, many = ((4, 6), 4) if axis == -1 else ((4, 6), 6)
    numbers = made.op(
        "clip", made.op("_mul_scalar", made.hidden(many), scalar=4.0), a_min=0, a_max=24 // many
    )
    lengths = made.op("Cast", numbers, dtype="int32")
    return made.op("softmax", made.shaped(*shape), lengths, axis=axis, use_length=True)


def cast_and_back(*kinds: str) -> Make:
    def make(made: Bench) -> Entry:
        data = made.op("_mul_scalar", made.hidden(), scalar=10.0)
        for kind in (*kinds, "float32"):
            data = made.op("Cast", data, dtype=kind)
        return made.op("tanh", made.op("_mul_scalar", data, scalar=0.125))

    return make


def bias_after_layer(made: Bench) -> Entry:
    data = made.layer("fc", made.hidden(), WIDTH, 5, bias=False)
    return made.op("tanh", made.op("broadcast_add", data, made.values_of((1, 5))))


def gate(made: Bench) -> Entry:
    """A column that goes with all columns, from either side."""
    weight = made.op("sigmoid", made.layer("gate", made.hidden(), WIDTH, 1))
    scaled = made.op("broadcast_mul", made.hidden(), weight)
    return made.op("broadcast_sub", weight, scaled)


def reused(made: Bench) -> Entry:
    """Results that are read again after something could have written over them."""
    data = made.op("tanh", made.hidden())
    squared = made.op("square", data)
    once = made.op("elemwise_add", squared, data)
    twice = made.op("elemwise_mul", once, once)
    return made.op("elemwise_sub", made.op("elemwise_add", twice, squared), data)


def concat(made: Bench, *, dim: int) -> Entry:
    parts = [made.shaped(2, 3, 4), made.op("relu", made.shaped(2, 3, 4)), made.shaped(2, 3, 4)]
    return made.op("Concat", *parts, dim=dim, num_args=3)


def concat_again(made: Bench) -> Entry:
    """The same result twice in one join, and a join within a join."""
    data = made.op("tanh", made.hidden())
    inner = made.op("Concat", data, made.hidden(3), dim=1, num_args=2)
    outer = made.op("Concat", data, inner, data, dim=1, num_args=3)
    return made.op("relu", outer)


def of_rows(op: str, **settings: Any) -> Make:
    """Something of the sparse rows themselves, times a weight."""

    def make(made: Bench) -> Entry:
        rows = made.op(op, made.rows, **settings)
        return made.op("dot", rows, made.row_sparse("other", (N_FEATURES, 5), stored="partial"))

    return make


def rows_squared_twice(made: Bench) -> Entry:
    """FM's sum of squares: (rows . v)^2 - rows^2 . v^2, with a factor within the square."""
    rows = made.op("_mul_scalar", made.rows, scalar=0.5)
    factors = made.row_sparse("v", (N_FEATURES, 6))
    own = made.op("dot", made.op("square", rows), made.op("square", factors))
    pairs = made.op("square", made.op("dot", rows, factors))
    return made.op("sum", made.op("elemwise_sub", pairs, own), axis=1, keepdims=True)


def rows_as_matrix(made: Bench) -> Entry:
    """The rows written out, beside a product with them."""
    dense = made.op("cast_storage", made.rows, stype="default")
    return made.op("Concat", made.hidden(3), made.op("tanh", dense), dim=1, num_args=2)


def folded(made: Bench) -> Entry:
    """Arithmetic of parameters alone, computed once."""
    scale = made.op("exp", made.values_of((1, WIDTH)))
    scale = made.op("broadcast_mul", scale, made.op("_ones", shape="(1, 1)"))
    return made.op("broadcast_mul", made.hidden(), scale)


def label_head(op: str, *shape: int, **settings: Any) -> Make:
    return lambda made: made.labelled(op, made.shaped(*shape), "head", **settings)


def sum_of_rows(op: str, **settings: Any) -> Make:
    def make(made: Bench) -> Entry:
        total = made.op(op, made.rows, axis=1, keepdims=True, **settings)
        return made.op("broadcast_add", total, made.hidden())

    return make


UNARY = [
    "abs",
    "arcsinh",
    "arctan",
    "cbrt",
    "ceil",
    "cos",
    "cosh",
    "degrees",
    "erf",
    "exp",
    "expm1",
    "fix",
    "floor",
    "logical_not",
    "negative",
    "ones_like",
    "radians",
    "relu",
    "rint",
    "round",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "softsign",
    "square",
    "tanh",
    "trunc",
    "zeros_like",
    "_copy",
    "BlockGrad",
]
OF_POSITIVE = ["log", "log10", "log1p", "log2", "rcbrt", "reciprocal", "rsqrt", "sqrt"]
PAIRS = [
    "maximum",
    "minimum",
    "hypot",
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "lesser",
    "lesser_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
]
SCALARS = [
    "plus",
    "minus",
    "rminus",
    "mul",
    "div",
    "mod",
    "maximum",
    "minimum",
    "hypot",
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "lesser",
    "lesser_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
]

MAKERS: Mapping[str, Make] = {
    **{name: of_hidden(name) for name in UNARY},
    **{name: of_positive(name) for name in OF_POSITIVE},
    **{
        name: lambda made, op=name: made.op(op, made.small())
        for name in ("arcsin", "arccos", "arctanh", "tan")
    },
    "arccosh": lambda made: made.op(
        "arccosh", made.op("_plus_scalar", made.positive(), scalar=0.6)
    ),
    "clip": of_hidden("clip", a_min=-0.25, a_max=0.5),
    "relu6": of_hidden("clip", a_min=0, a_max=6),
    "hard_sigmoid": of_hidden("hard_sigmoid", alpha=0.3, beta=0.4),
    "smooth_l1": of_hidden("smooth_l1", scalar=2.0),
    "cast": of_hidden("Cast", dtype="float32"),
    "cast to whole numbers": cast_and_back("int32"),
    "cast to whole numbers twice": cast_and_back("int64", "int32"),
    "cast to truths": lambda made: made.op(
        "Cast", made.op("Cast", made.op("relu", made.hidden()), dtype="bool"), dtype="float32"
    ),
    **{name: of_positive(name) for name in ("gamma", "gammaln")},
    **{f"{name} below 0": below_zero(name) for name in ("gamma", "gammaln")},
    **{f"{name} of two": of_two(f"_{name}") for name in PAIRS},
    **{f"{name} of two": of_two(f"elemwise_{name}") for name in ("add", "sub", "mul")},
    "div of two": lambda made: made.op("elemwise_div", made.hidden(), made.positive()),
    "mod of two": lambda made: made.op("_mod", made.hidden(), made.positive()),
    "power of two": lambda made: made.op("_power", made.positive(), made.hidden()),
    **{f"{name} with a number": of_hidden(f"_{name}_scalar", scalar=0.375) for name in SCALARS},
    **{
        f"{name} with a number": of_positive(f"_{name}_scalar", scalar=1.5)
        for name in ("rdiv", "rmod", "power", "rpower")
    },
    **{
        f"{name} with a row": with_values(f"broadcast_{name}", 1, WIDTH)
        for name in ("add", "sub", "mul", "div", *PAIRS)
    },
    "add with one": with_values("broadcast_add", 1),
    "mul with values on the left": lambda made: made.op(
        "broadcast_mul", made.values_of((1, WIDTH)), made.hidden()
    ),
    "sub with values on the left": lambda made: made.op(
        "broadcast_sub", made.values_of((1, WIDTH)), made.hidden()
    ),
    "broadcast up by values": lambda made: made.op(
        "broadcast_mul", made.shaped(4, 1, 6), made.values_of((1, 1, 3, 1))
    ),
    "broadcast two": lambda made: made.op(
        "broadcast_add",
        made.shaped(4, 6, 1),
        made.op("Reshape", made.hidden(5), shape="(-1, 1, 1, 5)"),
    ),
    "add_n": lambda made: made.op("add_n", *[made.hidden() for _ in range(3)], num_args=3),
    "where": lambda made: where(made, by_row=False),
    "where by row": lambda made: where(made, by_row=True),
    "gate": gate,
    "reused": reused,
    "folded": folded,
    # Activations
    **{
        f"{kind} in the middle": lambda made, kind=kind: made.activation(
            "act", made.op("square", made.hidden()), kind, WIDTH
        )
        for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
    **{
        kind: of_hidden("LeakyReLU", act_type=kind, slope=0.3)
        for kind in ("leaky", "elu", "selu", "gelu")
    },
    "rrelu": of_hidden("LeakyReLU", act_type="rrelu", lower_bound=0.1, upper_bound=0.5),
    "prelu": prelu(24, width=24),
    "prelu of one": prelu(24, width=1),
    "prelu of channels": prelu(4, 6, width=4),
    # Layers
    "dense": dense_layer,
    "dense without bias": lambda made: dense_layer(made, bias=False),
    "dense of the last axis": lambda made: dense_layer(made, flatten=False),
    "bias after a layer": bias_after_layer,
    "layer over rows": layer_over_rows,
    "layer over rows without bias": lambda made: layer_over_rows(made, bias=False),
    "dot": with_values("dot", WIDTH, 5),
    "dot transposed": lambda made: made.op(
        "dot", made.hidden(), made.values_of((5, WIDTH)), transpose_b=True
    ),
    "dot of the last axis": lambda made: made.op("dot", made.shaped(4, 6), made.values_of((6, 5))),
    "dot with a vector": lambda made: made.op("dot", made.shaped(4, 6), made.values_of((6,))),
    "attention": attention,
    # Normalisations
    "batch norm": batch_norm(24, width=24, fix_gamma=False),
    "batch norm of fixed gamma": batch_norm(24, width=24),
    "batch norm of channels": batch_norm(4, 6, width=4, fix_gamma=False, eps=1e-5),
    "batch norm of the last axis": batch_norm(4, 6, width=6, fix_gamma=False, axis=-1),
    "batch norm after a layer": batch_norm(24, width=7, after="layer", fix_gamma=False),
    "batch norm after an activation": batch_norm(
        24, width=24, after="activation", fix_gamma=False, use_global_stats=True
    ),
    "layer norm": norm_layer("LayerNorm", 24, width=24),
    "layer norm of groups": norm_layer("LayerNorm", 4, 6, width=6, eps=1e-3),
    "layer norm of another axis": norm_layer("LayerNorm", 4, 6, width=4, axis=1),
    "instance norm": norm_layer("InstanceNorm", 4, 6, width=4),
    **{
        f"l2 of {mode}": of_shaped("L2Normalization", 2, 3, 4, mode=mode)
        for mode in ("instance", "channel", "spatial")
    },
    # Reductions
    **{
        f"{op} over the last axis": of_shaped(op, 4, 6, axis=2)
        for op in ("sum", "mean", "max", "min", "prod", "nansum", "nanprod")
    },
    "sum over the middle": of_shaped("sum", 2, 3, 4, axis="(2,)", keepdims=True),
    "sum of a row": of_shaped("sum", 2, 3, 4, axis="(0,)", exclude=True),
    "mean of two axes": of_shaped("mean", 2, 3, 4, axis="(1, 3)"),
    "norm": of_shaped("norm", 4, 6, axis=2),
    "norm of first order": of_shaped("norm", 4, 6, axis=1, ord=1),
    "sum of rows": sum_of_rows("sum"),
    "mean of rows": sum_of_rows("mean"),
    "greatest of rows": sum_of_rows("max"),
    # Embeddings
    "take columns": take_columns,
    "take rows, clipped": take_rows("clip"),
    "take rows, wrapped": take_rows("wrap"),
    # Heads
    "softmax": of_shaped("softmax", 4, 6, axis=-1),
    "softmax of another axis": of_shaped("softmax", 4, 6, axis=1),
    "softmax at a temperature": of_shaped("softmax", 4, 6, axis=-1, temperature=2.0),
    "softmax of lengths": lambda made: softmax_of_lengths(made, axis=-1),
    "softmax of lengths of another axis": lambda made: softmax_of_lengths(made, axis=1),
    "softmin": of_shaped("softmin", 24, axis=-1),
    "log_softmax": of_shaped("log_softmax", 4, 6, axis=-1),
    "softmax activation": of_shaped("SoftmaxActivation", 24),
    "softmax activation of channels": of_shaped("SoftmaxActivation", 4, 6, mode="channel"),
    "softmax output": label_head("SoftmaxOutput", 24),
    "softmax output of all": label_head("SoftmaxOutput", 4, 6),
    "softmax output of each": label_head("SoftmaxOutput", 4, 6, preserve_shape=True),
    "softmax output of channels": label_head("SoftmaxOutput", 4, 6, multi_output=True),
    **{
        name: label_head(name, 24)
        for name in (
            "LogisticRegressionOutput",
            "LinearRegressionOutput",
            "MAERegressionOutput",
            "SVMOutput",
        )
    },
    # Shapes
    "reshape and back": lambda made: made.op("Reshape", made.shaped(2, 3, 4), shape="(0, -1)"),
    "flatten": of_shaped("Flatten", 2, 3, 4),
    "expand_dims": of_shaped("expand_dims", 24, axis=1),
    "squeeze": of_shaped("squeeze", 1, 24, 1, axis="(1, 3)"),
    "transpose": of_shaped("transpose", 2, 3, 4, axes="(0, 3, 1, 2)"),
    "swap axes": of_shaped("SwapAxis", 2, 3, 4, dim1=1, dim2=3),
    "slice": of_shaped("slice", 4, 6, begin="(None, 1, 0)", end="(None, 3, 6)"),
    "slice with steps": of_shaped(
        "slice", 4, 6, begin="(None, 0, 5)", end="(None, 4, 0)", step="(1, 2, -2)"
    ),
    "slice_axis": of_shaped("slice_axis", 4, 6, axis=2, begin=1, end=4),
    "slice_like": lambda made: made.op(
        "slice_like",
        made.shaped(4, 6),
        made.op("Reshape", made.hidden(6), shape="(-1, 2, 3)"),
        axes="(1, 2)",
    ),
    "split": split,
    **{f"concat of axis {dim}": lambda made, dim=dim: concat(made, dim=dim) for dim in (1, 2, 3)},
    "concat again": concat_again,
    "stack": lambda made: made.op("stack", made.hidden(), made.hidden(), axis=1, num_args=2),
    "broadcast_to": of_shaped("broadcast_to", 1, 24, shape="(0, 3, 24)"),
    "broadcast_axis": of_shaped("broadcast_axis", 1, 24, axis=1, size=3),
    # Rows
    **{f"{op} of rows": of_rows(op) for op in ("square", "abs", "sign")},
    "rows times a number": of_rows("_mul_scalar", scalar=-0.5),
    "rows by a number": of_rows("_div_scalar", scalar=4.0),
    "squares of rows": rows_squared_twice,
    "rows as a matrix": rows_as_matrix,
}


def operator_network(rng: Rng, name: str) -> Network:
    """The network of this name."""
    made = Bench(rng)
    return made.network([MAKERS[name](made)])

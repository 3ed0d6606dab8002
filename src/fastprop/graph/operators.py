"""The documented operators: one table with what the rest of the package knows of each.

An operator that is not here is not admitted unless the caller asks for all operators; those that
run code or open libraries are not admitted at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Callable, Union

from fastprop.graph.attributes import (
    AttributeFormatError,
    read_choice,
    read_flag,
    read_integer,
)
from fastprop.graph.shape_rules import (
    constants,
    elementwise,
    heads,
    layers,
    node_shapes,
    reductions,
    reshaping,
)

__all__ = [
    "NEVER_ADMITTED",
    "NEVER_ADMITTED_PREFIXES",
    "OPERATORS",
    "Operator",
    "auxiliary_inputs",
    "canonical_name",
    "input_names",
    "operator",
    "output_count",
]

Attributes = Mapping[str, str]
MAX_OUTPUTS = 1 << 16


@dataclass(frozen=True)
class Operator:
    """What is known of one operator.

    Parameters
    ----------
    name : str
        The name under which MXNet 1.9.1 saves it.
    shape : callable
        Its rule in `shape_rules`.
    inputs : tuple of str or callable
        Names of its inputs in order, or what tells them from the attributes.
    variadic : bool
        Any number of inputs, in which case `inputs` is empty.
    outputs : int or callable
        Number of outputs, hidden ones included.
    parameters : tuple of int
        Positions of inputs that hold learned values.
    auxiliary : tuple of int
        Positions of inputs that are states, which training moves.
    labels : tuple of int
        Positions of inputs that inference does not look at.
    aliases : tuple of str
        Other names, of older versions too.
    """

    name: str
    shape: node_shapes.Rule
    inputs: Union[tuple[str, ...], Callable[[Attributes], tuple[str, ...]]] = ("data",)
    variadic: bool = False
    outputs: Union[int, Callable[[Attributes], int]] = 1
    parameters: tuple[int, ...] = ()
    auxiliary: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()

    def input_names(self, attributes: Attributes) -> tuple[str, ...]:
        """Names of the inputs under these attributes."""
        return self.inputs(attributes) if callable(self.inputs) else self.inputs

    def output_count(self, attributes: Attributes) -> int:
        """Return the number of outputs under these attributes, hidden ones included."""
        return self.outputs(attributes) if callable(self.outputs) else self.outputs


def fully_connected_inputs(attributes: Attributes) -> tuple[str, ...]:
    if read_flag(attributes, "no_bias", False):
        return ("data", "weight")
    return ("data", "weight", "bias")


def leaky_inputs(attributes: Attributes) -> tuple[str, ...]:
    return ("data", "gamma") if layers.leaky_kind(attributes) == "prelu" else ("data",)


def leaky_outputs(attributes: Attributes) -> int:
    return 2 if layers.leaky_kind(attributes) == "rrelu" else 1


def softmax_inputs(attributes: Attributes) -> tuple[str, ...]:
    return ("data", "length") if read_flag(attributes, "use_length", False) else ("data",)


def split_outputs(attributes: Attributes) -> int:
    count = read_integer(attributes, "num_outputs")
    if not 1 <= count <= MAX_OUTPUTS:
        raise AttributeFormatError(f"attribute num_outputs is {count}")
    return count


def cast_type(node: node_shapes.NodeShapes) -> None:
    read_choice(
        node.attributes,
        "dtype",
        ("float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"),
    )
    elementwise.same(node)


UNARY = [
    "BlockGrad",
    "_copy",
    "abs",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "cbrt",
    "ceil",
    "clip",
    "cos",
    "cosh",
    "degrees",
    "erf",
    "exp",
    "expm1",
    "fix",
    "floor",
    "gamma",
    "gammaln",
    "hard_sigmoid",
    "log",
    "log10",
    "log1p",
    "log2",
    "logical_not",
    "make_loss",
    "negative",
    "ones_like",
    "radians",
    "rcbrt",
    "reciprocal",
    "relu",
    "rint",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "smooth_l1",
    "softsign",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
    "zeros_like",
]
SCALAR = [
    "_plus_scalar",
    "_minus_scalar",
    "_rminus_scalar",
    "_mul_scalar",
    "_div_scalar",
    "_rdiv_scalar",
    "_mod_scalar",
    "_rmod_scalar",
    "_power_scalar",
    "_rpower_scalar",
    "_maximum_scalar",
    "_minimum_scalar",
    "_hypot_scalar",
    "_equal_scalar",
    "_not_equal_scalar",
    "_greater_scalar",
    "_greater_equal_scalar",
    "_lesser_scalar",
    "_lesser_equal_scalar",
    "_logical_and_scalar",
    "_logical_or_scalar",
    "_logical_xor_scalar",
]
BINARY = [
    "elemwise_add",
    "elemwise_sub",
    "elemwise_mul",
    "elemwise_div",
    "_mod",
    "_power",
    "_maximum",
    "_minimum",
    "_hypot",
    "_equal",
    "_not_equal",
    "_greater",
    "_greater_equal",
    "_lesser",
    "_lesser_equal",
    "_logical_and",
    "_logical_or",
    "_logical_xor",
]
BROADCAST = [
    "broadcast_add",
    "broadcast_sub",
    "broadcast_mul",
    "broadcast_div",
    "broadcast_mod",
    "broadcast_power",
    "broadcast_maximum",
    "broadcast_minimum",
    "broadcast_hypot",
    "broadcast_equal",
    "broadcast_not_equal",
    "broadcast_greater",
    "broadcast_greater_equal",
    "broadcast_lesser",
    "broadcast_lesser_equal",
    "broadcast_logical_and",
    "broadcast_logical_or",
    "broadcast_logical_xor",
]
ALIASES = {
    "_copy": ("identity",),
    "BlockGrad": ("stop_gradient",),
    "elemwise_add": ("_add", "_plus", "_Plus"),
    "elemwise_sub": ("_sub", "_minus", "_Minus"),
    "elemwise_mul": ("_mul", "_Mul"),
    "elemwise_div": ("_div", "_Div"),
    "broadcast_add": ("broadcast_plus",),
    "broadcast_sub": ("broadcast_minus",),
    "_mod": ("_Mod",),
    "_power": ("_Power",),
    "_maximum": ("_Maximum",),
    "_minimum": ("_Minimum",),
    "_hypot": ("_Hypot",),
    "_equal": ("_Equal",),
    "_not_equal": ("_Not_Equal",),
    "_greater": ("_Greater",),
    "_greater_equal": ("_Greater_Equal",),
    "_lesser": ("_Lesser",),
    "_lesser_equal": ("_Lesser_Equal",),
    "_logical_and": ("_Logical_And",),
    "_logical_or": ("_Logical_Or",),
    "_logical_xor": ("_Logical_Xor",),
    "_plus_scalar": ("_PlusScalar",),
    "_minus_scalar": ("_MinusScalar",),
    "_rminus_scalar": ("_RMinusScalar",),
    "_mul_scalar": ("_MulScalar",),
    "_div_scalar": ("_DivScalar",),
    "_rdiv_scalar": ("_RDivScalar",),
    "_mod_scalar": ("_ModScalar",),
    "_rmod_scalar": ("_RModScalar",),
    "_power_scalar": ("_PowerScalar",),
    "_rpower_scalar": ("_RPowerScalar",),
    "_maximum_scalar": ("_MaximumScalar",),
    "_minimum_scalar": ("_MinimumScalar",),
    "_hypot_scalar": ("_HypotScalar",),
    "_equal_scalar": ("_EqualScalar",),
    "_not_equal_scalar": ("_NotEqualScalar",),
    "_greater_scalar": ("_GreaterScalar",),
    "_greater_equal_scalar": ("_GreaterEqualScalar",),
    "_lesser_scalar": ("_LesserScalar",),
    "_lesser_equal_scalar": ("_LesserEqualScalar",),
    "_logical_and_scalar": ("_LogicalAndScalar",),
    "_logical_or_scalar": ("_LogicalOrScalar",),
    "_logical_xor_scalar": ("_LogicalXorScalar",),
}
PAIR = ("lhs", "rhs")
LABELLED = ("data", "label")
REDUCTIONS = {
    "sum": ("sum_axis",),
    "mean": (),
    "prod": (),
    "nansum": (),
    "nanprod": (),
    "max": ("max_axis",),
    "min": ("min_axis",),
    "norm": (),
}


def documented() -> Iterable[Operator]:
    """Every documented operator, once."""
    for name in UNARY:
        yield Operator(name, elementwise.same, aliases=ALIASES.get(name, ()))
    for name in SCALAR:
        yield Operator(name, elementwise.same, aliases=ALIASES.get(name, ()))
    for name in BINARY:
        yield Operator(name, elementwise.same, inputs=PAIR, aliases=ALIASES.get(name, ()))
    for name in BROADCAST:
        yield Operator(name, elementwise.broadcast, inputs=PAIR, aliases=ALIASES.get(name, ()))
    for name, aliases in REDUCTIONS.items():
        yield Operator(name, reductions.reduction, aliases=aliases)
    yield from (
        Operator("_square_sum", reductions.square_sum),
        Operator("add_n", reshaping.add_n, inputs=(), variadic=True, aliases=("ElementWiseSum",)),
        Operator("where", elementwise.where, inputs=("condition", "x", "y")),
        Operator("Cast", cast_type, aliases=("cast",)),
        Operator("cast_storage", elementwise.same),
        # Layers
        Operator("dot", layers.dot, inputs=PAIR),
        Operator("batch_dot", layers.batch_dot, inputs=PAIR),
        Operator(
            "FullyConnected",
            layers.fully_connected,
            inputs=fully_connected_inputs,
            parameters=(1, 2),
        ),
        Operator("Activation", layers.activation),
        Operator(
            "LeakyReLU",
            layers.activation_with_slope,
            inputs=leaky_inputs,
            outputs=leaky_outputs,
            parameters=(1,),
        ),
        Operator("Dropout", layers.dropout, outputs=2),
        Operator(
            "BatchNorm",
            layers.batch_norm,
            inputs=("data", "gamma", "beta", "moving_mean", "moving_var"),
            outputs=3,
            parameters=(1, 2),
            auxiliary=(3, 4),
        ),
        Operator(
            "LayerNorm",
            layers.layer_norm,
            inputs=("data", "gamma", "beta"),
            outputs=3,
            parameters=(1, 2),
        ),
        Operator(
            "InstanceNorm",
            layers.instance_norm,
            inputs=("data", "gamma", "beta"),
            outputs=3,
            parameters=(1, 2),
        ),
        Operator("L2Normalization", layers.l2_normalization, outputs=2),
        Operator("Embedding", layers.embedding, inputs=("data", "weight"), parameters=(1,)),
        Operator(
            "_contrib_SparseEmbedding",
            layers.embedding,
            inputs=("data", "weight"),
            parameters=(1,),
        ),
        Operator("take", layers.take, inputs=("a", "indices")),
        # Heads
        Operator("softmax", heads.softmax, inputs=softmax_inputs),
        Operator("log_softmax", heads.softmax),
        Operator("softmin", heads.softmax),
        Operator("SoftmaxActivation", heads.softmax_activation),
        Operator(
            "SoftmaxOutput",
            heads.softmax_output,
            inputs=LABELLED,
            labels=(1,),
            aliases=("Softmax",),
        ),
        Operator("LogisticRegressionOutput", heads.regression_output, inputs=LABELLED, labels=(1,)),
        Operator("LinearRegressionOutput", heads.regression_output, inputs=LABELLED, labels=(1,)),
        Operator("MAERegressionOutput", heads.regression_output, inputs=LABELLED, labels=(1,)),
        Operator("SVMOutput", heads.svm_output, inputs=LABELLED, labels=(1,)),
        Operator("MakeLoss", elementwise.same),
        # Shapes
        Operator("Reshape", reshaping.reshape, aliases=("reshape",)),
        Operator("Flatten", reshaping.flatten, aliases=("flatten",)),
        Operator("expand_dims", reshaping.expand_dims),
        Operator("squeeze", reshaping.squeeze),
        Operator("transpose", reshaping.transpose),
        Operator("SwapAxis", reshaping.swap_axes, aliases=("swapaxes",)),
        Operator("slice_axis", reshaping.slice_axis),
        Operator("slice", reshaping.slice_ranges, aliases=("crop",)),
        Operator("slice_like", reshaping.slice_like, inputs=("data", "shape_like")),
        Operator("SliceChannel", reshaping.split, outputs=split_outputs, aliases=("split",)),
        Operator("Concat", reshaping.concat, inputs=(), variadic=True, aliases=("concat",)),
        Operator("stack", reshaping.stack, inputs=(), variadic=True),
        Operator("broadcast_to", reshaping.broadcast_to),
        Operator("broadcast_axis", reshaping.broadcast_axis, aliases=("broadcast_axes",)),
        # Constants
        Operator("_zeros", constants.constant, inputs=()),
        Operator("_ones", constants.constant, inputs=()),
        Operator("_full", constants.constant, inputs=()),
    )


OPERATORS: Mapping[str, Operator] = {item.name: item for item in documented()}
BY_NAME: Mapping[str, Operator] = {
    name: item for item in OPERATORS.values() for name in (item.name, *item.aliases)
}

# `mx.sym.sparse.dot` is `dot` under another name.
SPARSE_NAMESPACE = "_sparse_"

# States of operators that only `allow_operators="all"` admits.
OTHER_AUXILIARY = {
    "BatchNorm_v1": (3, 4),
    "CuDNNBatchNorm": (3, 4),
    "_contrib_SyncBatchNorm": (3, 4),
    "_contrib_BatchNormWithReLU": (3, 4),
    "IdentityAttachKLSparseReg": (1,),
}

# What runs a user's code, opens libraries, or carries graphs of its own that are not looked into.
NEVER_ADMITTED = frozenset(
    {
        "Custom",
        "_NDArray",
        "_Native",
        "_TensorRT",
        "_CachedOp",
        "_CachedOpThreadSafe",
        "_CrossDeviceCopy",
        "_CustomFunction",
        "_FusedOp",
        "_FusedOpHelper",
        "_FusedOpOutHelper",
        "_NoGradient",
        "_cond",
        "_default_subgraph_op",
        "_foreach",
        "_while_loop",
        "_cvimread",
        "_contrib_tvm_vadd",
        "_contrib_tvm_dot",
        "_contrib_tvm_dot_fallback",
    }
)
NEVER_ADMITTED_PREFIXES = ("_sg_", "_contrib_tvm", "_contrib_dgl", "_cv", "_backward")


def operator(op: str) -> Operator | None:
    """Return the documented operator of that name or alias; None where there is none."""
    if op.startswith(SPARSE_NAMESPACE):
        op = op[len(SPARSE_NAMESPACE) :]
    return BY_NAME.get(op)


def canonical_name(op: str) -> str:
    """Return the name under which MXNet 1.9.1 saves the operator; unknown names as they are."""
    known = operator(op)
    return op if known is None else known.name


def auxiliary_inputs(op: str) -> tuple[int, ...]:
    """Positions of the inputs that are states."""
    known = operator(op)
    return OTHER_AUXILIARY.get(op, ()) if known is None else known.auxiliary


def input_names(op: str, attributes: Attributes) -> tuple[str, ...] | None:
    """Names of the inputs; None for unknown operators, variadic ones and bad attributes."""
    known = operator(op)
    if known is None or known.variadic:
        return None
    try:
        return known.input_names(attributes)
    except AttributeFormatError:
        return None


def output_count(op: str, attributes: Attributes) -> int | None:
    """Count the outputs, hidden ones too; None for unknown operators and bad attributes."""
    known = operator(op)
    if known is None:
        return 1 if op == "null" else None
    try:
        return known.output_count(attributes)
    except AttributeFormatError:
        return None

"""A network computed by plain NumPy in float64: what every engine must agree with.

It is written for being right, not fast, one function an operator, from MXNet 1.9.1's definitions
(src/operator). The tests and `fastprop verify` hold engines against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from fastprop.checkpoint.arrays import Parameter, RowSparseArray
from fastprop.errors import EngineError, InvalidInputError, ModelFormatError
from fastprop.graph.attributes import (
    AttributeFormatError,
    read_choice,
    read_flag,
    read_integer,
    read_number,
    read_optional_integer,
    read_tuple,
)
from fastprop.graph.graph import Node
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name
from fastprop.graph.shape_rules.layers import leaky_kind
from fastprop.graph.shape_rules.node_shapes import NodeShapes
from fastprop.graph.shape_rules.reductions import reduced_axes
from fastprop.graph.shape_rules.reshaping import reshape
from fastprop.typing import CSR

__all__ = ["reference_function", "reference_node", "reference_outputs", "reference_value"]

Array = npt.NDArray[np.float64]
Value = Union[Array, CSR]
Attributes = Mapping[str, str]
Function = Callable[[Attributes, Sequence[Value]], Sequence[Array]]


def reference_outputs(network: Network, feeds: Mapping[str, Any]) -> list[Array]:
    """Compute the heads of a network.

    Parameters
    ----------
    network : Network
        The network.
    feeds : mapping of str to ndarray or CSR
        A value for each input that inference needs, the batch's axis first. Labels are not
        needed.

    Returns
    -------
    list of ndarray of float64
        One for each head, in order; new arrays.

    Raises
    ------
    InvalidInputError
        An input is missing.
    EngineError
        The network has an operator beyond the documented ones, or one that is random.
    ModelFormatError
        An attribute cannot be read.
    """
    values: dict[tuple[int, int], Value] = {}
    labels = set(network.labels_inputs)
    for i, node in enumerate(network.graph.nodes):
        if node.is_variable:
            if network.has_value(node.name):
                values[i, 0] = float64(network.value(node.name))
            elif node.name in feeds:
                values[i, 0] = float64(feeds[node.name])
            elif node.name not in labels:
                raise InvalidInputError(f"no value for the input {node.name!r}")
            continue
        inputs = [values[entry] for entry in node.inputs if entry in values]
        for output, value in enumerate(reference_node(node, inputs)):
            values[i, output] = value
    return [np.array(dense(values[head])) for head in network.graph.heads]


def reference_value(parameter: Parameter) -> Array:
    """A parameter in float64, its zeros filled in."""
    return dense(float64(parameter))


def reference_function(op: str) -> Function:
    """What computes an operator, by its canonical name."""
    return FUNCTIONS[op]


def reference_node(node: Node, inputs: Sequence[Value]) -> Sequence[Array]:
    """Outputs of one node, given its inputs."""
    function = FUNCTIONS.get(canonical_name(node.op))
    if function is None:
        raise EngineError(f"reference_outputs: node {node.name!r}: no operator {node.op!r}")
    try:
        return function(node.attributes, inputs)
    except AttributeFormatError as error:
        raise ModelFormatError(f"node {node.name!r} ({node.op}): {error}") from None


def float64(value: Any) -> Value:
    """Widen a dense or row-sparse array; CSR stays sparse."""
    if isinstance(value, RowSparseArray):
        return value.to_dense().astype(np.float64)
    if isinstance(value, CSR):
        return CSR(value.indptr, value.indices, np.asarray(value.data, np.float64), value.shape)
    return np.asarray(value, np.float64)


def dense(value: Value) -> Array:
    """Fill a sparse matrix's zeros in; entries of one place add up."""
    if not isinstance(value, CSR):
        return value
    result = np.zeros(value.shape)
    rows = np.repeat(np.arange(value.shape[0]), np.diff(value.indptr))
    np.add.at(result, (rows, value.indices), value.data)
    return result


# Layers


def fully_connected(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data, weight = dense(inputs[0]), dense(inputs[1])
    if read_flag(attributes, "flatten", True):
        data = data.reshape(len(data), -1)
    result = data @ weight.T
    if not read_flag(attributes, "no_bias", False):
        result = result + dense(inputs[2]).reshape(-1)
    return [result]


def dot(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    left, right = inputs
    transpose_a = read_flag(attributes, "transpose_a", False)
    transpose_b = read_flag(attributes, "transpose_b", False)
    if isinstance(left, CSR) and not transpose_a and not transpose_b:
        return [sparse_rows_times(left, dense(right))]
    a, b = dense(left), dense(right)
    if a.ndim == 1 and b.ndim == 1:
        return [np.array([a @ b])]
    axes = (0 if transpose_a else a.ndim - 1, b.ndim - 1 if transpose_b else 0)
    return [np.tensordot(a, b, axes=axes)]


def sparse_rows_times(rows: CSR, weight: Array) -> Array:
    result = np.zeros((rows.shape[0], *weight.shape[1:]))
    for i in range(rows.shape[0]):
        entries = slice(rows.indptr[i], rows.indptr[i + 1])
        result[i] = np.tensordot(rows.data[entries], weight[rows.indices[entries]], axes=1)
    return result


def batch_dot(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    a, b = dense(inputs[0]), dense(inputs[1])
    if read_flag(attributes, "transpose_a", False):
        a = np.swapaxes(a, -1, -2)
    if read_flag(attributes, "transpose_b", False):
        b = np.swapaxes(b, -1, -2)
    return [a @ b]


def embedding(_attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data, weight = dense(inputs[0]), dense(inputs[1])
    return [weight[np.clip(data.astype(np.int64), 0, len(weight) - 1)]]


def take(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data, indices = dense(inputs[0]), dense(inputs[1]).astype(np.int64)
    axis = read_integer(attributes, "axis", 0)
    mode = read_choice(attributes, "mode", ("clip", "wrap", "raise"), "clip")
    if mode == "raise":
        return [np.take(data, indices, axis=axis)]
    return [np.take(data, indices, axis=axis, mode="wrap" if mode == "wrap" else "clip")]


def activation(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    return [ACTIVATIONS[attributes["act_type"]](dense(inputs[0]))]


def leaky_relu(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0])
    kind = leaky_kind(attributes)
    slope: Any = read_number(attributes, "slope", 0.25)
    if kind == "elu":
        return [np.where(data > 0, data, slope * np.expm1(np.minimum(data, 0)))]
    if kind == "selu":
        scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
        return [scale * np.where(data > 0, data, alpha * np.expm1(np.minimum(data, 0)))]
    if kind == "gelu":
        return [0.5 * data * (1 + ERF(data / math.sqrt(2)))]
    if kind == "rrelu":
        low = read_number(attributes, "lower_bound", 0.125)
        high = read_number(attributes, "upper_bound", 0.334)
        slope = (low + high) / 2
    if kind == "prelu":
        slope = dense(inputs[1])
        if slope.ndim == 1 and data.ndim > 1:
            slope = slope.reshape(1, -1, *[1] * (data.ndim - 2))
    result = np.where(data > 0, data, slope * data)
    return [result, np.full(data.shape, slope)] if kind == "rrelu" else [result]


def dropout(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    if attributes.get("mode", "training") != "training":
        raise EngineError("reference_outputs: Dropout with mode=always is random")
    data = dense(inputs[0])
    return [data, np.ones(data.shape)]


def batch_norm(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data, gamma, beta, mean, variance = map(dense, inputs)
    axis = read_integer(attributes, "axis", 1)
    if read_flag(attributes, "fix_gamma", True):
        gamma = np.ones(gamma.shape)
    inverse = 1 / np.sqrt(variance + read_number(attributes, "eps", 1e-3))
    shape = [1] * data.ndim
    shape[axis] = -1
    gamma, beta, mean_, inverse_ = (part.reshape(shape) for part in (gamma, beta, mean, inverse))
    return [(data - mean_) * inverse_ * gamma + beta, mean, inverse]


def layer_norm(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data, gamma, beta = map(dense, inputs)
    axis = read_integer(attributes, "axis", -1)
    mean = data.mean(axis=axis, keepdims=True)
    deviation = np.sqrt(data.var(axis=axis, keepdims=True) + read_number(attributes, "eps", 1e-5))
    shape = [1] * data.ndim
    shape[axis] = -1
    result = (data - mean) / deviation * gamma.reshape(shape) + beta.reshape(shape)
    return [result, mean, deviation]


def instance_norm(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data, gamma, beta = map(dense, inputs)
    axes = tuple(range(2, data.ndim))
    mean = data.mean(axis=axes, keepdims=True)
    variance = data.var(axis=axes, keepdims=True)
    shape = (1, -1, *[1] * len(axes))
    deviation = np.sqrt(variance + read_number(attributes, "eps", 1e-3))
    result = (data - mean) / deviation * gamma.reshape(shape) + beta.reshape(shape)
    return [result, mean.reshape(data.shape[:2]), variance.reshape(data.shape[:2])]


def l2_normalization(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0])
    mode = read_choice(attributes, "mode", ("instance", "channel", "spatial"), "instance")
    axes = {"instance": range(1, data.ndim), "channel": (1,), "spatial": range(2, data.ndim)}
    squares = np.square(data).sum(axis=tuple(axes[mode]), keepdims=True)
    norm = np.sqrt(squares + read_number(attributes, "eps", 1e-10))
    shapes = {"instance": data.shape[:1], "channel": norm.shape, "spatial": data.shape[:2]}
    return [data / norm, norm.reshape(shapes[mode])]


# Heads


def softmax_over(data: Array, axis: int) -> Array:
    shifted = np.exp(data - data.max(axis=axis, keepdims=True))
    result: Array = shifted / shifted.sum(axis=axis, keepdims=True)
    return result


def temperature(attributes: Attributes) -> float:
    text = attributes.get("temperature", "None")
    return 1.0 if text == "None" else read_number(attributes, "temperature")


def softmax(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0]) / temperature(attributes)
    axis = read_integer(attributes, "axis", -1)
    if len(inputs) == 1:
        return [softmax_over(data, axis)]
    lengths = np.expand_dims(dense(inputs[1]), axis)
    shape = [1] * data.ndim
    shape[axis] = -1
    inside = np.arange(data.shape[axis]).reshape(shape) < lengths
    highest = np.where(inside, data, -np.inf).max(axis=axis, keepdims=True)
    shifted = np.where(inside, data - np.where(highest == -np.inf, 0.0, highest), -np.inf)
    total = np.exp(shifted).sum(axis=axis, keepdims=True)
    return [np.exp(shifted) / np.where(total == 0, 1.0, total)]


def log_softmax(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0]) / temperature(attributes)
    axis = read_integer(attributes, "axis", -1)
    shifted = data - data.max(axis=axis, keepdims=True)
    return [shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))]


def softmin(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0]) / temperature(attributes)
    return [softmax_over(-data, read_integer(attributes, "axis", -1))]


def softmax_output(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0])
    if read_flag(attributes, "multi_output", False):
        return [softmax_over(data, 1)]
    if read_flag(attributes, "preserve_shape", False):
        return [softmax_over(data, -1)]
    return [softmax_over(data.reshape(len(data), -1), 1).reshape(data.shape)]


def softmax_activation(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    channel = attributes.get("mode", "instance") == "channel"
    return [softmax_over(dense(inputs[0]), 1 if channel else -1)]


# Shapes


def reshaped(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0])
    node = NodeShapes(attributes, [data.shape], [None])
    reshape(node)
    shape = node.outputs[0]
    assert shape is not None
    return [data.reshape(tuple(-1 if extent is None else extent for extent in shape))]


def flatten(_attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0])
    return [data.reshape(len(data), -1)]


def expand_dims(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    return [np.expand_dims(dense(inputs[0]), read_integer(attributes, "axis"))]


def squeeze(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0])
    axes = read_tuple(attributes, "axis")
    result = np.squeeze(data, axis=None if axes is None else integers(axes))
    return [result.reshape(result.shape or (1,))]


def transpose(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    axes = read_tuple(attributes, "axes")
    return [np.transpose(dense(inputs[0]), integers(axes) if axes else None)]


def swap_axes(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    first, second = read_integer(attributes, "dim1", 0), read_integer(attributes, "dim2", 0)
    return [np.swapaxes(dense(inputs[0]), first, second)]


def slice_axis(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0])
    index = [slice(None)] * data.ndim
    index[read_integer(attributes, "axis")] = slice(
        read_integer(attributes, "begin"), read_optional_integer(attributes, "end")
    )
    return [data[tuple(index)]]


def slice_ranges(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    begin, end = read_tuple(attributes, "begin") or (), read_tuple(attributes, "end") or ()
    step = read_tuple(attributes, "step") or (None,) * len(begin)
    return [dense(inputs[0])[tuple(slice(*bounds) for bounds in zip(begin, end, step))]]


def slice_like(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data, like = dense(inputs[0]), dense(inputs[1])
    axes = integers(read_tuple(attributes, "axes") or ()) or tuple(range(data.ndim))
    index = [slice(None)] * data.ndim
    for axis in axes:
        index[axis] = slice(like.shape[axis])
    return [data[tuple(index)]]


def split(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    axis = read_integer(attributes, "axis", 1)
    parts = np.split(dense(inputs[0]), read_integer(attributes, "num_outputs"), axis=axis)
    if read_flag(attributes, "squeeze_axis", False):
        return [np.squeeze(part, axis=axis) for part in parts]
    return parts


def concat(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    return [
        np.concatenate([dense(part) for part in inputs], axis=read_integer(attributes, "dim", 1))
    ]


def stack(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    return [np.stack([dense(part) for part in inputs], axis=read_integer(attributes, "axis", 0))]


def add_n(_attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    return [np.sum([dense(part) for part in inputs], axis=0)]


def broadcast_to(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0])
    wanted = integers(read_tuple(attributes, "shape") or ())
    return [np.broadcast_to(data, tuple(w or e for w, e in zip(wanted, data.shape)))]


def broadcast_axis(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data = dense(inputs[0])
    shape = list(data.shape)
    sizes = integers(read_tuple(attributes, "size") or ())
    for axis, size in zip(integers(read_tuple(attributes, "axis") or ()), sizes):
        shape[axis] = size
    return [np.broadcast_to(data, tuple(shape))]


def integers(values: Sequence[int | None]) -> tuple[int, ...]:
    return tuple(value for value in values if value is not None)


def where(_attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    condition, yes, no = map(dense, inputs)
    if condition.ndim == 1 and yes.ndim > 1:
        condition = condition.reshape(-1, *[1] * (yes.ndim - 1))
    return [np.where(condition != 0, yes, no)]


def clip(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    low, high = read_number(attributes, "a_min"), read_number(attributes, "a_max")
    return [np.clip(dense(inputs[0]), low, high)]


def hard_sigmoid(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    alpha, beta = read_number(attributes, "alpha", 0.2), read_number(attributes, "beta", 0.5)
    return [np.clip(alpha * dense(inputs[0]) + beta, 0, 1)]


def smooth_l1(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    data, square = dense(inputs[0]), read_number(attributes, "scalar", 1.0) ** 2
    outside = np.abs(data) > 1 / square
    return [np.where(outside, np.abs(data) - 0.5 / square, 0.5 * square * np.square(data))]


def cast(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    return [dense(inputs[0]).astype(attributes["dtype"]).astype(np.float64)]


def constant(value: float | None) -> Function:
    def function(attributes: Attributes, _inputs: Sequence[Value]) -> Sequence[Array]:
        shape = integers(read_tuple(attributes, "shape") or ())
        return [np.full(shape, read_number(attributes, "value") if value is None else value)]

    return function


# Reductions


def reduction(function: Callable[..., Any]) -> Function:
    def reduce(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
        data = dense(inputs[0])
        axes = reduced_axes(
            read_tuple(attributes, "axis"), read_flag(attributes, "exclude", False), data.ndim
        )
        keep = read_flag(attributes, "keepdims", False)
        result = np.asarray(function(attributes, data, axes, keep))
        return [result.reshape(result.shape or (1,))]

    return reduce


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(_attributes: Attributes, data: Array, axes: tuple[int, ...], keep: bool) -> Any:
        return function(data, axis=axes, keepdims=keep)

    return reduce


def norm(attributes: Attributes, data: Array, axes: tuple[int, ...], keep: bool) -> Any:
    if read_integer(attributes, "ord", 2) == 1:
        return np.abs(data).sum(axis=axes, keepdims=keep)
    return np.sqrt(np.square(data).sum(axis=axes, keepdims=keep))


def square_sum(_attributes: Attributes, data: Array, axes: tuple[int, ...], keep: bool) -> Any:
    return np.square(data).sum(axis=axes, keepdims=keep)


# Element by element


def sigmoid(data: Array) -> Array:
    tail = np.exp(-np.abs(data))
    return np.where(data >= 0, 1 / (1 + tail), tail / (1 + tail))


def nearest(data: Array) -> Array:
    """Round; of two that are equally near, the lower."""
    low, high = np.floor(data), np.ceil(data)
    return np.where(data - low <= high - data, low, high)


def away_from_zero(data: Array) -> Array:
    """Round; of two that are equally near, the one further from zero."""
    return np.copysign(np.floor(np.abs(data) + 0.5), data)


def modulo(a: Array, b: Array) -> Array:
    return np.where(b == 0, 0.0, np.mod(a, np.where(b == 0, 1.0, b)))


def first(_attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
    return [dense(inputs[0])]


def unary(function: Callable[[Array], Any]) -> Function:
    def apply(_attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
        return [np.asarray(function(dense(inputs[0])), np.float64)]

    return apply


def binary(function: Callable[[Any, Any], Any]) -> Function:
    def apply(_attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
        return [np.asarray(function(dense(inputs[0]), dense(inputs[1])), np.float64)]

    return apply


def scalar(function: Callable[[Any, Any], Any]) -> Function:
    def apply(attributes: Attributes, inputs: Sequence[Value]) -> Sequence[Array]:
        number = np.float64(read_number(attributes, "scalar", 1.0))
        return [np.asarray(function(dense(inputs[0]), number), np.float64)]

    return apply


def swapped(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: function(b, a)


def truth(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: function(a != 0, b != 0)


def element_by_element(function: Callable[[float], float]) -> Callable[[Array], Any]:
    return np.vectorize(function, otypes=[np.float64])


def gamma(number: float) -> float:
    try:
        return math.gamma(number)
    except (OverflowError, ValueError):
        return math.nan if number < 0 else math.copysign(math.inf, number)


def log_gamma(number: float) -> float:
    try:
        return math.lgamma(number)
    except (OverflowError, ValueError):
        return math.inf


ERF = element_by_element(math.erf)
ACTIVATIONS: dict[str, Callable[[Array], Any]] = {
    "relu": lambda data: np.maximum(data, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softrelu": lambda data: np.logaddexp(0, data),
    "softsign": lambda data: data / (1 + np.abs(data)),
}
UNARY: dict[str, Callable[[Array], Any]] = {
    **{name: ACTIVATIONS[name] for name in ("relu", "sigmoid", "tanh", "softsign")},
    "abs": np.abs,
    "arccos": np.arccos,
    "arccosh": np.arccosh,
    "arcsin": np.arcsin,
    "arcsinh": np.arcsinh,
    "arctan": np.arctan,
    "arctanh": np.arctanh,
    "cbrt": np.cbrt,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "degrees": np.degrees,
    "erf": ERF,
    "exp": np.exp,
    "expm1": np.expm1,
    "fix": np.trunc,
    "floor": np.floor,
    "gamma": element_by_element(gamma),
    "gammaln": element_by_element(log_gamma),
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "logical_not": np.logical_not,
    "negative": np.negative,
    "ones_like": np.ones_like,
    "radians": np.radians,
    "rcbrt": lambda data: 1 / np.cbrt(data),
    "reciprocal": lambda data: 1 / data,
    "rint": nearest,
    "round": away_from_zero,
    "rsqrt": lambda data: 1 / np.sqrt(data),
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "trunc": np.trunc,
    "zeros_like": np.zeros_like,
}
PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "mod": modulo,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "hypot": np.hypot,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "lesser": np.less,
    "lesser_equal": np.less_equal,
    "logical_and": truth(np.logical_and),
    "logical_or": truth(np.logical_or),
    "logical_xor": truth(np.logical_xor),
}
ARITHMETIC = ("add", "sub", "mul", "div")
SCALAR_NAMES = {"add": "plus", "sub": "minus"}
IDENTITIES = (
    "_copy BlockGrad make_loss MakeLoss cast_storage LinearRegressionOutput MAERegressionOutput "
    "SVMOutput"
)

FUNCTIONS: dict[str, Function] = {
    **{name: unary(function) for name, function in UNARY.items()},
    **{f"broadcast_{name}": binary(function) for name, function in PAIRS.items()},
    **{
        f"elemwise_{name}" if name in ARITHMETIC else f"_{name}": binary(function)
        for name, function in PAIRS.items()
    },
    **{
        f"_{SCALAR_NAMES.get(name, name)}_scalar": scalar(function)
        for name, function in PAIRS.items()
    },
    **{
        f"_r{SCALAR_NAMES.get(name, name)}_scalar": scalar(swapped(PAIRS[name]))
        for name in ("sub", "div", "mod", "power")
    },
    **dict.fromkeys(IDENTITIES.split(), first),
    "sum": reduction(plain(np.sum)),
    "mean": reduction(plain(np.mean)),
    "prod": reduction(plain(np.prod)),
    "nansum": reduction(plain(np.nansum)),
    "nanprod": reduction(plain(np.nanprod)),
    "max": reduction(plain(np.max)),
    "min": reduction(plain(np.min)),
    "norm": reduction(norm),
    "_square_sum": reduction(square_sum),
    "Activation": activation,
    "BatchNorm": batch_norm,
    "Cast": cast,
    "Concat": concat,
    "Dropout": dropout,
    "Embedding": embedding,
    "_contrib_SparseEmbedding": embedding,
    "Flatten": flatten,
    "FullyConnected": fully_connected,
    "InstanceNorm": instance_norm,
    "L2Normalization": l2_normalization,
    "LayerNorm": layer_norm,
    "LeakyReLU": leaky_relu,
    "LogisticRegressionOutput": unary(sigmoid),
    "Reshape": reshaped,
    "SliceChannel": split,
    "SoftmaxActivation": softmax_activation,
    "SoftmaxOutput": softmax_output,
    "SwapAxis": swap_axes,
    "_full": constant(None),
    "_ones": constant(1.0),
    "_zeros": constant(0.0),
    "add_n": add_n,
    "batch_dot": batch_dot,
    "broadcast_axis": broadcast_axis,
    "broadcast_to": broadcast_to,
    "clip": clip,
    "dot": dot,
    "expand_dims": expand_dims,
    "hard_sigmoid": hard_sigmoid,
    "log_softmax": log_softmax,
    "slice": slice_ranges,
    "slice_axis": slice_axis,
    "slice_like": slice_like,
    "smooth_l1": smooth_l1,
    "softmax": softmax,
    "softmin": softmin,
    "squeeze": squeeze,
    "stack": stack,
    "take": take,
    "transpose": transpose,
    "where": where,
}

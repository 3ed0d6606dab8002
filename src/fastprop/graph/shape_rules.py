"""How each documented operator constrains the shapes of its inputs and outputs.

A rule reads what is known of a node's shapes and adds what follows from it, in both directions;
it never guesses. A shape is a tuple with None for an unknown extent, or None when even the number
of dimensions is unknown. The conditions are those of MXNet 1.9.1's `FInferShape` functions, and
stricter where MXNet itself does not look (Reshape's size, BatchNorm's channels).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Callable, Optional

from fastprop.graph.attributes import (
    read_choice,
    read_flag,
    read_integer,
    read_optional_integer,
    read_tuple,
)

__all__ = ["ACTIVATIONS", "NodeShapes", "Rule", "Shape", "ShapeConflictError", "merge", "show"]

ACTIVATIONS = ("relu", "sigmoid", "tanh", "softrelu", "softsign")
Shape = Optional[tuple[Optional[int], ...]]


class ShapeConflictError(Exception):
    """Two shapes that must agree do not; `argument` is the position of the input at fault."""

    def __init__(self, message: str, argument: int | None = None) -> None:
        super().__init__(message)
        self.argument = argument


class NodeShapes:
    """What is known of the shapes around one node."""

    __slots__ = ("attributes", "inputs", "outputs")

    def __init__(
        self, attributes: Mapping[str, str], inputs: list[Shape], outputs: list[Shape]
    ) -> None:
        self.attributes = attributes
        self.inputs = inputs
        self.outputs = outputs

    def input(self, position: int, shape: Shape) -> None:
        """Input `position` has this shape too."""
        known = self.inputs[position]
        if known != shape:
            self.inputs[position] = bounded(merge(known, shape, position))

    def output(self, position: int, shape: Shape) -> None:
        """Output `position` has this shape too."""
        known = self.outputs[position]
        if known != shape:
            self.outputs[position] = bounded(merge(known, shape, None))


Rule = Callable[[NodeShapes], None]


MAX_DIMENSIONS = 32
MAX_EXTENT = (1 << 62) - 1


def bounded(shape: Shape) -> Shape:
    """Refuse shapes beyond what any array has, before graphs made for it let them grow."""
    if shape is not None:
        if len(shape) > MAX_DIMENSIONS:
            raise ShapeConflictError(f"{len(shape)} dimensions, more than {MAX_DIMENSIONS}")
        for extent in shape:
            if extent is not None and extent > MAX_EXTENT:
                raise ShapeConflictError(f"an extent of more than {MAX_EXTENT}")
    return shape


def show(shape: Shape) -> str:
    """Write a shape as text, `?` for what is unknown."""
    if shape is None:
        return "(unknown)"
    extents = ", ".join("?" if extent is None else str(extent) for extent in shape)
    return f"({extents}{',' if len(shape) == 1 else ''})"


def merge(first: Shape, second: Shape, argument: int | None = None) -> Shape:
    """Join what both shapes say; `ShapeConflictError` when they contradict each other."""
    if second is None:
        return first
    if first is None or first == second:
        return second
    if len(first) == len(second):
        extents = []
        for a, b in zip(first, second):
            if a is not None and b is not None and a != b:
                break
            extents.append(b if a is None else a)
        else:
            return tuple(extents)
    raise ShapeConflictError(f"expected shape {show(second)}, found {show(first)}", argument)


def axis_of(axis: int, n_dimensions: int, *, what: str = "axis") -> int:
    """`axis` counted from the front."""
    real = axis + n_dimensions if axis < 0 else axis
    if not 0 <= real < n_dimensions:
        raise ShapeConflictError(f"{what} {axis} of an array with {n_dimensions} dimensions")
    return real


def size(extents: Sequence[int | None]) -> int | None:
    """Count the elements; None when the number is unknown."""
    product = 1
    for extent in extents:
        if extent is None:
            return None
        product *= extent
    return product


def solve(extents: Sequence[int | None], total: int | None) -> tuple[int | None, ...]:
    """`extents` with a single unknown one found from the number of elements; checks the number."""
    if total is None:
        return tuple(extents)
    unknown = [i for i, extent in enumerate(extents) if extent is None]
    known = prod(extent for extent in extents if extent is not None)
    if not unknown:
        if known != total:
            raise ShapeConflictError(f"{show(tuple(extents))} does not hold {total} elements")
        return tuple(extents)
    if len(unknown) > 1 or known == 0:
        return tuple(extents)
    if total % known:
        raise ShapeConflictError(f"{total} elements do not divide among {show(tuple(extents))}")
    solved = list(extents)
    solved[unknown[0]] = total // known
    return tuple(solved)


def without_none(values: tuple[int | None, ...] | None, key: str) -> tuple[int, ...]:
    result = tuple(value for value in values or () if value is not None)
    if len(result) != len(values or ()):
        raise ShapeConflictError(f"attribute {key} has None among its elements")
    return result


# Elementwise


def same(node: NodeShapes) -> None:
    """Every input and the first output have one shape."""
    shape = node.outputs[0]
    for position, known in enumerate(node.inputs):
        if known is not shape:
            shape = merge(known, shape, position)
    for position in range(len(node.inputs)):
        node.input(position, shape)
    node.output(0, shape)


def broadcast(node: NodeShapes) -> None:
    """NumPy's broadcasting of two inputs."""
    left, right = node.inputs
    if left is None or right is None:
        return
    n_dimensions = max(len(left), len(right))
    padded_left = (1,) * (n_dimensions - len(left)) + left
    padded_right = (1,) * (n_dimensions - len(right)) + right
    extents: list[int | None] = []
    for a, b in zip(padded_left, padded_right):
        if a == 1:
            extents.append(b)
        elif b == 1 or a == b:
            extents.append(a)
        elif a is None or b is None:
            extents.append(b if a is None else a)
        else:
            raise ShapeConflictError(f"{show(left)} and {show(right)} do not broadcast")
    node.output(0, tuple(extents))
    result = node.outputs[0]
    assert result is not None
    for position, (mine, other) in enumerate(((left, right), (right, left))):
        offset = n_dimensions - len(mine)
        other_offset = n_dimensions - len(other)
        found = list(mine)
        for i, extent in enumerate(mine):
            j = i + offset
            facing = other[j - other_offset] if j >= other_offset else 1
            if extent is None and facing == 1:
                found[i] = result[j]
        node.input(position, tuple(found))


def where(node: NodeShapes) -> None:
    """Require a condition of the data's shape, or one condition a row."""
    condition, *branches = node.inputs
    shape = merge(merge(branches[0], branches[1], 2), node.outputs[0])
    node.input(1, shape)
    node.input(2, shape)
    node.output(0, shape)
    if condition is not None and shape is not None:
        if len(condition) == 1 and len(shape) != 1:
            node.input(0, (shape[0],))
        else:
            node.input(0, shape)


# Layers


def fully_connected(node: NodeShapes) -> None:
    """Relate the shapes of `data · weightᵀ + bias`."""
    attributes = node.attributes
    n_hidden = read_integer(attributes, "num_hidden")
    if n_hidden < 1:
        raise ShapeConflictError(f"num_hidden is {n_hidden}")
    no_bias = read_flag(attributes, "no_bias", False)
    flatten = read_flag(attributes, "flatten", True)
    if len(node.inputs) != (2 if no_bias else 3):
        raise ShapeConflictError(f"{len(node.inputs)} inputs with no_bias={no_bias}")
    node.input(1, (n_hidden, None))
    if not no_bias:
        bias = node.inputs[2]
        node.input(2, (n_hidden, 1) if bias is not None and len(bias) == 2 else (n_hidden,))
    weight, data = node.inputs[1], node.inputs[0]
    assert weight is not None
    width = weight[1]
    if data is None:
        if flatten:
            node.output(0, (None, n_hidden))
            return
        result = node.outputs[0]
        if result is not None:
            node.input(0, (*result[:-1], width))
        return
    if not data:
        raise ShapeConflictError("data has no dimensions", 0)
    if flatten:
        try:
            rest = solve(data[1:], width)
        except ShapeConflictError:
            raise ShapeConflictError(
                f"data of shape {show(data)} does not fit a weight of shape {show(weight)}", 1
            ) from None
        node.output(0, (data[0], n_hidden))
        result = node.outputs[0]
        assert result is not None
        node.input(0, (result[0], *rest))
        node.input(1, (n_hidden, size(rest)))
    else:
        if data[-1] is not None and width is not None and data[-1] != width:
            raise ShapeConflictError(
                f"data of shape {show(data)} does not fit a weight of shape {show(weight)}", 1
            )
        node.output(0, (*data[:-1], n_hidden))
        result = node.outputs[0]
        assert result is not None
        node.input(0, (*result[:-1], width))
        node.input(1, (n_hidden, data[-1]))


def dot(node: NodeShapes) -> None:
    """Contraction of the left side's last with the right side's first axis; flags swap ends."""
    transpose_a = read_flag(node.attributes, "transpose_a", False)
    transpose_b = read_flag(node.attributes, "transpose_b", False)
    left, right = node.inputs
    if left == () or right == ():
        raise ShapeConflictError("an operand has no dimensions", 0 if left == () else 1)
    if left is None or right is None:
        return
    if len(left) == 1 and len(right) == 1:
        if transpose_a or transpose_b:
            raise ShapeConflictError("vectors cannot be transposed")
        node.input(0, right)
        node.input(1, left)
        node.output(0, (1,))
        return
    inner_left = 0 if transpose_a else len(left) - 1
    inner_right = len(right) - 1 if transpose_b else 0
    a, b = left[inner_left], right[inner_right]
    if a is not None and b is not None and a != b:
        raise ShapeConflictError(f"{show(left)} times {show(right)}: {a} columns meet {b} rows", 1)
    inner = b if a is None else a
    node.input(0, replaced(left, inner_left, inner))
    node.input(1, replaced(right, inner_right, inner))
    outer_left = without(left, inner_left) if len(left) > 1 else ()
    outer_right = without(right, inner_right) if len(right) > 1 else ()
    node.output(0, (*outer_left, *outer_right))
    result = node.outputs[0]
    assert result is not None
    found = list(result)
    if len(left) > 1:
        mine, found = found[: len(left) - 1], found[len(left) - 1 :]
        mine.insert(inner_left, inner)
        node.input(0, tuple(mine))
    if len(right) > 1:
        found.insert(inner_right, inner)
        node.input(1, tuple(found))


def batch_dot(node: NodeShapes) -> None:
    """Matrix products of two stacks of matrices."""
    transpose_a = read_flag(node.attributes, "transpose_a", False)
    transpose_b = read_flag(node.attributes, "transpose_b", False)
    left, right = node.inputs
    if left is None or right is None:
        return
    if len(left) != len(right) or len(left) < 3:
        raise ShapeConflictError(f"{show(left)} and {show(right)} are no stacks of matrices")
    stack = merge(left[:-2], right[:-2], 1)
    assert stack is not None
    rows, inner_a = (left[-1], left[-2]) if transpose_a else (left[-2], left[-1])
    inner_b, columns = (right[-1], right[-2]) if transpose_b else (right[-2], right[-1])
    if inner_a is not None and inner_b is not None and inner_a != inner_b:
        raise ShapeConflictError(f"{show(left)} times {show(right)}", 1)
    node.output(0, (*stack, rows, columns))


def replaced(shape: tuple[int | None, ...], axis: int, extent: int | None) -> Shape:
    return (*shape[:axis], extent, *shape[axis + 1 :])


def without(shape: tuple[int | None, ...], axis: int) -> tuple[int | None, ...]:
    return shape[:axis] + shape[axis + 1 :]


def embedding(node: NodeShapes) -> None:
    """Give each element of the data a row of the weight."""
    n_rows = read_integer(node.attributes, "input_dim")
    n_columns = read_integer(node.attributes, "output_dim")
    node.input(1, (n_rows, n_columns))
    data, result = node.inputs[0], node.outputs[0]
    if result is not None:
        if not result:
            raise ShapeConflictError("the result has no dimensions")
        node.input(0, result[:-1])
        data = node.inputs[0]
    if data is not None:
        node.output(0, (*data, n_columns))


def take(node: NodeShapes) -> None:
    """Slices of the data along an axis, one for each index."""
    data, indices = node.inputs
    if data is None or indices is None:
        return
    axis = axis_of(read_integer(node.attributes, "axis", 0), len(data))
    node.output(0, (*data[:axis], *indices, *data[axis + 1 :]))


def activation_with_slope(node: NodeShapes) -> None:
    """Keep the data's shape; prelu has one slope, one a channel or one an element."""
    kind = leaky_kind(node.attributes)
    if len(node.inputs) != (2 if kind == "prelu" else 1):
        raise ShapeConflictError(f"{len(node.inputs)} inputs with act_type={kind}")
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if kind == "rrelu":
        node.output(1, shape)
    if kind == "prelu" and shape is not None:
        slope = node.inputs[1]
        channels = shape[1] if len(shape) > 1 else shape[0] if shape else None
        if slope is None:
            node.input(1, (channels,))
        elif slope not in ((1,), (channels,)):
            node.input(1, shape)


def leaky_kind(attributes: Mapping[str, str]) -> str:
    return read_choice(
        attributes, "act_type", ("rrelu", "leaky", "prelu", "elu", "selu", "gelu"), "leaky"
    )


def activation(node: NodeShapes) -> None:
    read_choice(node.attributes, "act_type", ACTIVATIONS)
    same(node)


def dropout(node: NodeShapes) -> None:
    """Keep the data's shape; the mask's has 1 on the axes that share it."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is not None:
        mask = list(shape)
        for axis in without_none(read_tuple(node.attributes, "axes"), "axes"):
            mask[axis_of(axis, len(mask), what="axes")] = 1
        node.output(1, tuple(mask))


def batch_norm(node: NodeShapes) -> None:
    """Four vectors of one value a channel."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    channels: Shape = (None,)
    for known in (*node.inputs[1:], *node.outputs[1:]):
        channels = merge(channels, known)
    if shape is not None:
        axis = axis_of(read_integer(node.attributes, "axis", 1), len(shape))
        channels = merge(channels, (shape[axis],))
        assert channels is not None
        node.input(0, replaced(shape, axis, channels[0]))
        node.output(0, node.inputs[0])
    for position in range(1, 5):
        node.input(position, channels)
    for position in range(1, len(node.outputs)):
        node.output(position, channels)


def layer_norm(node: NodeShapes) -> None:
    """Two vectors along the normalised axis."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    channels = merge(merge((None,), node.inputs[1], 1), node.inputs[2], 2)
    if shape is not None:
        axis = axis_of(read_integer(node.attributes, "axis", -1), len(shape))
        channels = merge(channels, (shape[axis],))
        assert channels is not None
        node.input(0, replaced(shape, axis, channels[0]))
        node.output(0, node.inputs[0])
        for position in range(1, len(node.outputs)):
            node.output(position, replaced(shape, axis, 1))
    node.input(1, channels)
    node.input(2, channels)


def instance_norm(node: NodeShapes) -> None:
    """Two vectors of one value a channel; channels on axis 1."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is not None:
        if len(shape) < 3:
            raise ShapeConflictError(f"data of shape {show(shape)} has no axes to normalise", 0)
        node.input(1, (shape[1],))
        node.input(2, (shape[1],))
        node.output(1, shape[:2])
        node.output(2, shape[:2])


def l2_normalization(node: NodeShapes) -> None:
    """Keep the data's shape, and find the norms'."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    mode = read_choice(node.attributes, "mode", ("instance", "channel", "spatial"), "instance")
    if shape is None:
        return
    if mode != "instance" and len(shape) < 3:
        raise ShapeConflictError(f"mode={mode} with data of shape {show(shape)}", 0)
    if mode == "instance":
        node.output(1, shape[:1])
    elif mode == "channel":
        node.output(1, replaced(shape, 1, 1))
    else:
        node.output(1, shape[:2])


# Heads


def softmax(node: NodeShapes) -> None:
    """Keep the data's shape; lengths, where given, drop the axis."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is not None:
        axis = axis_of(read_integer(node.attributes, "axis", -1), len(shape))
        if len(node.inputs) > 1:
            node.input(1, without(shape, axis))


def softmax_activation(node: NodeShapes) -> None:
    mode = read_choice(node.attributes, "mode", ("instance", "channel"), "instance")
    same(node)
    shape = node.inputs[0]
    if mode == "channel" and shape is not None and len(shape) < 3:
        raise ShapeConflictError(f"mode=channel with data of shape {show(shape)}", 0)


def softmax_output(node: NodeShapes) -> None:
    """Keep the data's shape; labels are classes, or a distribution of the data's shape."""
    data, label = node.inputs
    shape = merge(data, node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is None or None in shape:
        return
    known = tuple(extent for extent in shape if extent is not None)
    multi_output = read_flag(node.attributes, "multi_output", False)
    read_flag(node.attributes, "preserve_shape", False)
    if label == shape:
        return
    if multi_output:
        if len(known) < 2:
            raise ShapeConflictError(f"multi_output with data of shape {show(known)}", 0)
        rest = known[2:]
        if label not in (known[:1] + rest, (*known[:1], 1, *rest)):
            node.input(1, (known[0], prod(rest)))
    else:
        node.input(1, known[:-1])


def regression_output(node: NodeShapes) -> None:
    """Keep the data's shape; labels have as many elements."""
    data, label = node.inputs
    shape = merge(data, node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape is None or None in shape:
        return
    if label is None or size(label) != size(shape):
        node.input(1, shape[:1] if len(shape) == 2 and shape[1] == 1 else shape)


def svm_output(node: NodeShapes) -> None:
    """Keep the data's shape; labels are a class a row."""
    shape = merge(node.inputs[0], node.outputs[0], 0)
    node.input(0, shape)
    node.output(0, shape)
    if shape:
        node.input(1, shape[:-1])


# Shapes


def reshape(node: NodeShapes) -> None:
    """Reshape with its codes 0, -1, -2, -3, -4, or the `target_shape` of old versions."""
    data = node.inputs[0]
    codes = read_tuple(node.attributes, "shape")
    if not codes:
        target = read_tuple(node.attributes, "target_shape")
        if target is None:
            raise ShapeConflictError("neither shape nor target_shape is given")
        if data is not None:
            node.output(0, legacy_target(node.attributes, data, without_none(target, "shape")))
    else:
        fixed = without_none(codes, "shape")
        if data is None:
            if all(code > 0 or code == -1 for code in fixed):
                node.output(0, tuple(None if code == -1 else code for code in fixed))
            return
        reverse = read_flag(node.attributes, "reverse", False)
        node.output(0, reshaped(data, fixed, reverse=reverse))
    result = node.outputs[0]
    if result is not None and data is not None:
        result = solve(result, size(data))
        node.output(0, result)
        node.input(0, solve(data, size(result)))


def legacy_target(
    attributes: Mapping[str, str], data: tuple[int | None, ...], target: tuple[int, ...]
) -> Shape:
    result: list[int | None] = [extent or None for extent in target]
    if read_flag(attributes, "keep_highest", False) and result:
        result[0] = data[0]
    return tuple(result)


def reshaped(
    data: tuple[int | None, ...], codes: tuple[int, ...], *, reverse: bool
) -> tuple[int | None, ...]:
    """Apply the codes to `data`; an extent stays unknown where it does not follow."""
    if reverse:
        data, codes = data[::-1], codes[::-1]
    result: list[int | None] = []
    inferred = False
    source = 0
    remaining = iter(codes)

    def take_extent() -> int | None:
        nonlocal source
        if source >= len(data):
            raise ShapeConflictError(f"shape {codes} needs more dimensions than {show(data)}", 0)
        source += 1
        return data[source - 1]

    for code in remaining:
        if code == 0:
            result.append(take_extent())
        elif code == -1:
            if inferred:
                raise ShapeConflictError(f"shape {codes} leaves more than one extent open")
            inferred = True
            result.append(None)
            source += 1
        elif code == -2:
            result.extend(data[source:])
            source = len(data)
        elif code == -3:
            first, second = take_extent(), take_extent()
            result.append(None if first is None or second is None else first * second)
        elif code == -4:
            whole = take_extent()
            first, second = next(remaining, None), next(remaining, None)
            if first is None or second is None or (first == -1 and second == -1):
                raise ShapeConflictError(f"shape {codes}: -4 needs two extents")
            if 0 in (first, second) or min(first, second) < -1:
                raise ShapeConflictError(f"shape {codes}: -4 needs positive extents")
            pair = (None if first == -1 else first, None if second == -1 else second)
            result.extend(solve(pair, whole))
        elif code > 0:
            result.append(code)
            source += 1
        else:
            raise ShapeConflictError(f"shape {codes} has the unknown code {code}")
    if inferred and None not in data:
        result = list(solve(result, size(data)))
    return tuple(result[::-1] if reverse else result)


def flatten(node: NodeShapes) -> None:
    """All axes but the first become one."""
    data = node.inputs[0]
    result = merge((None, None), node.outputs[0])
    assert result is not None
    if data is not None:
        if not data:
            raise ShapeConflictError("data has no dimensions", 0)
        result = merge(result, (data[0], size(data[1:])))
        assert result is not None
        node.input(0, (result[0], *solve(data[1:], result[1])))
    node.output(0, result)


def expand_dims(node: NodeShapes) -> None:
    """Insert a new axis of extent 1."""
    data, axis = node.inputs[0], read_integer(node.attributes, "axis")
    if data is not None:
        at = axis_of(axis, len(data) + 1)
        node.output(0, (*data[:at], 1, *data[at:]))
    result = node.outputs[0]
    if result is not None:
        at = axis_of(axis, len(result))
        if result[at] not in (None, 1):
            raise ShapeConflictError(f"axis {axis} of the result {show(result)} is not 1")
        node.input(0, without(result, at))


def squeeze(node: NodeShapes) -> None:
    """Axes of extent 1 go."""
    data = node.inputs[0]
    if data is None:
        return
    axes = read_tuple(node.attributes, "axis")
    if axes is None:
        if None in data:
            return
        kept = [extent for extent in data if extent != 1]
    else:
        gone = [axis_of(axis, len(data)) for axis in without_none(axes, "axis")]
        if len(set(gone)) != len(gone):
            raise ShapeConflictError(f"axes {axes} repeat")
        for axis in gone:
            if data[axis] not in (None, 1):
                raise ShapeConflictError(f"axis {axis} of {show(data)} is not 1", 0)
        node.input(0, tuple(1 if i in gone else extent for i, extent in enumerate(data)))
        kept = [extent for i, extent in enumerate(data) if i not in gone]
    node.output(0, tuple(kept) or (1,))


def transpose(node: NodeShapes) -> None:
    """Axes in another order, by default reversed."""
    data, result = node.inputs[0], node.outputs[0]
    axes = without_none(read_tuple(node.attributes, "axes"), "axes")
    known = data if data is not None else result
    if known is None:
        return
    axes = axes or tuple(reversed(range(len(known))))
    axes = tuple(axis_of(axis, len(known), what="axes") for axis in axes)
    if sorted(axes) != list(range(len(known))):
        raise ShapeConflictError(f"axes {axes} do not order {len(known)} dimensions")
    if data is not None:
        node.output(0, tuple(data[axis] for axis in axes))
    result = node.outputs[0]
    if result is not None:
        source: list[int | None] = [None] * len(axes)
        for to, axis in enumerate(axes):
            source[axis] = result[to]
        node.input(0, tuple(source))


def swap_axes(node: NodeShapes) -> None:
    """Two axes change places."""
    data = node.inputs[0]
    if data is None:
        return
    first = axis_of(read_integer(node.attributes, "dim1", 0), len(data), what="dim1")
    second = axis_of(read_integer(node.attributes, "dim2", 0), len(data), what="dim2")
    if first == second:
        raise ShapeConflictError(f"dim1 and dim2 are both {first}")
    extents = list(data)
    extents[first], extents[second] = extents[second], extents[first]
    node.output(0, tuple(extents))


def slice_axis(node: NodeShapes) -> None:
    """Take a range along one axis."""
    data = node.inputs[0]
    if data is None:
        return
    axis = axis_of(read_integer(node.attributes, "axis"), len(data))
    length = data[axis]
    begin = read_integer(node.attributes, "begin")
    end = read_optional_integer(node.attributes, "end")
    extent = None
    if length is not None:
        first = begin + length if begin < 0 else begin
        last = length if end is None else end + length if end < 0 else end
        if length > 0:
            if not 0 <= first < last <= length:
                raise ShapeConflictError(f"range {begin} to {end} of {length} elements", 0)
            extent = last - first
        else:
            extent = 0
    elif end is not None and (begin < 0) == (end < 0):
        extent = end - begin
    node.output(0, replaced(data, axis, extent))
    result = node.outputs[0]
    assert result is not None
    node.input(0, replaced(result, axis, length))


def slice_ranges(node: NodeShapes) -> None:
    """Ranges with steps along the first axes."""
    data = node.inputs[0]
    if data is None:
        return
    begin = read_tuple(node.attributes, "begin") or ()
    end = read_tuple(node.attributes, "end") or ()
    step = read_tuple(node.attributes, "step") or ()
    if len(begin) != len(end) or len(begin) > len(data) or (step and len(step) != len(begin)):
        raise ShapeConflictError(f"begin {begin}, end {end}, step {step} for {show(data)}")
    extents = list(data)
    for axis, (first, last) in enumerate(zip(begin, end)):
        stride = (step[axis] if step else None) or 1
        if step and step[axis] == 0:
            raise ShapeConflictError(f"step 0 on axis {axis}")
        length = data[axis]
        if length is not None:
            extents[axis] = len(slice_range(length, first, last, stride))
        if extents[axis] == 0 and length != 0:
            raise ShapeConflictError(f"an empty range {first} to {last} of {length}", 0)
    node.output(0, tuple(extents))


def slice_range(length: int, begin: int | None, end: int | None, step: int) -> range:
    """Return the elements that `slice` takes of `length` along one axis."""
    return range(*slice(begin, end, step).indices(length))


def slice_like(node: NodeShapes) -> None:
    """Cut the first input to the second's extents on some axes (all by default)."""
    data, like = node.inputs
    if data is None or like is None:
        return
    axes = without_none(read_tuple(node.attributes, "axes"), "axes")
    if not axes and len(data) != len(like):
        raise ShapeConflictError(f"{show(data)} cut like {show(like)}")
    extents = list(data)
    for axis in axes or range(len(data)):
        real = axis_of(axis, len(data), what="axes")
        extent = like[axis_of(axis, len(like), what="axes")]
        length = data[real]
        if extent is not None and length is not None and extent > length:
            raise ShapeConflictError(f"{show(data)} cut like {show(like)}", 0)
        extents[real] = extent
    node.output(0, tuple(extents))


def split(node: NodeShapes) -> None:
    """Equal parts along an axis."""
    n_parts = read_integer(node.attributes, "num_outputs")
    drop = read_flag(node.attributes, "squeeze_axis", False)
    data = node.inputs[0]
    part: Shape = None
    for known in node.outputs:
        part = merge(part, known)
    wanted = read_integer(node.attributes, "axis", 1)
    if data is not None:
        axis = axis_of(wanted, len(data))
        length = data[axis]
        if length is not None and length % n_parts:
            raise ShapeConflictError(f"{length} elements do not make {n_parts} equal parts", 0)
        if drop and length not in (None, n_parts):
            raise ShapeConflictError(f"squeeze_axis of {n_parts} parts of {length} elements", 0)
        if drop:
            part = merge(part, without(data, axis))
        else:
            part = merge(part, replaced(data, axis, None if length is None else length // n_parts))
    if part is not None:
        for position in range(n_parts):
            node.output(position, part)
        if drop:
            axis = axis_of(wanted, len(part) + 1)
            node.input(0, (*part[:axis], n_parts, *part[axis:]))
        else:
            axis = axis_of(wanted, len(part))
            extent = part[axis]
            node.input(0, replaced(part, axis, None if extent is None else extent * n_parts))


def concat(node: NodeShapes) -> None:
    """Side by side along an axis; the other axes agree."""
    check_count(node)
    known: Shape = next((shape for shape in (*node.inputs, *node.outputs) if shape), None)
    if known is None:
        return
    axis = axis_of(read_integer(node.attributes, "dim", 1), len(known), what="dim")
    others: Shape = (None,) * len(known)
    for position, shape in enumerate(node.inputs):
        if shape is not None:
            if len(shape) != len(known):
                raise ShapeConflictError(f"{show(shape)} beside {show(known)}", position)
            others = merge(others, replaced(shape, axis, None), position)
    result = node.outputs[0]
    if result is not None:
        others = merge(others, replaced(result, axis, None))
    assert others is not None
    extents = []
    for position in range(len(node.inputs)):
        node.input(position, others)
        shape = node.inputs[position]
        assert shape is not None
        extents.append(shape[axis])
    unknown = [i for i, extent in enumerate(extents) if extent is None]
    total = result[axis] if result is not None and len(result) == len(known) else None
    so_far = sum(extent for extent in extents if extent is not None)
    if not unknown:
        total = so_far
    elif len(unknown) == 1 and total is not None:
        if total < so_far:
            raise ShapeConflictError(f"{so_far} columns where the result has {total}", unknown[0])
        node.input(unknown[0], replaced(others, axis, total - so_far))
    node.output(0, replaced(others, axis, total))


def stack(node: NodeShapes) -> None:
    """Line inputs of one shape up along a new axis."""
    check_count(node)
    shape: Shape = None
    for position, known in enumerate(node.inputs):
        shape = merge(known, shape, position)
    if shape is None:
        return
    for position in range(len(node.inputs)):
        node.input(position, shape)
    axis = axis_of(read_integer(node.attributes, "axis", 0), len(shape) + 1)
    node.output(0, (*shape[:axis], len(node.inputs), *shape[axis:]))


def add_n(node: NodeShapes) -> None:
    check_count(node)
    same(node)


def check_count(node: NodeShapes) -> None:
    """`num_args`, where given, is the number of inputs."""
    stated = read_integer(node.attributes, "num_args", len(node.inputs))
    if stated != len(node.inputs) or not node.inputs:
        raise ShapeConflictError(f"{len(node.inputs)} inputs with num_args={stated}")


def broadcast_to(node: NodeShapes) -> None:
    """Axes of extent 1 repeated to the wanted shape, where 0 keeps an extent."""
    data = node.inputs[0]
    wanted = without_none(read_tuple(node.attributes, "shape"), "shape")
    if data is None:
        return
    if len(wanted) != len(data):
        raise ShapeConflictError(f"{show(data)} to {wanted}", 0)
    node.output(0, tuple(stretched(a, b or a) for a, b in zip(data, wanted)))


def broadcast_axis(node: NodeShapes) -> None:
    """Axes of extent 1 repeated to the wanted sizes."""
    data = node.inputs[0]
    axes = without_none(read_tuple(node.attributes, "axis"), "axis")
    sizes = without_none(read_tuple(node.attributes, "size"), "size")
    if data is None:
        return
    if len(axes) != len(sizes):
        raise ShapeConflictError(f"{len(sizes)} sizes for {len(axes)} axes")
    extents = list(data)
    for axis, extent in zip(axes, sizes):
        at = axis_of(axis, len(data))
        if data[at] not in (None, 1):
            raise ShapeConflictError(f"axis {axis} of {show(data)} is not 1", 0)
        extents[at] = extent
    node.output(0, tuple(extents))


def stretched(extent: int | None, wanted: int | None) -> int | None:
    if extent is not None and wanted is not None and extent not in (1, wanted):
        raise ShapeConflictError(f"extent {extent} repeated to {wanted}", 0)
    return wanted


# Reductions


@lru_cache(maxsize=1024)
def reduced_axes(
    axes: tuple[int | None, ...] | None, exclude: bool, n_dimensions: int
) -> tuple[int, ...]:
    """Return the axes that a reduction removes."""
    if not axes:
        return tuple(range(n_dimensions))
    chosen = sorted(axis_of(axis, n_dimensions) for axis in without_none(axes, "axis"))
    if len(set(chosen)) != len(chosen):
        raise ShapeConflictError(f"axes {axes} repeat")
    if exclude:
        return tuple(axis for axis in range(n_dimensions) if axis not in chosen)
    return tuple(chosen)


def reduction(node: NodeShapes) -> None:
    """Reduce some axes to one element; they go, or stay with extent 1."""
    data = node.inputs[0]
    if data is None:
        return
    axes = reduced_axes(
        read_tuple(node.attributes, "axis"),
        read_flag(node.attributes, "exclude", False),
        len(data),
    )
    if read_flag(node.attributes, "keepdims", False):
        node.output(0, tuple(1 if i in axes else extent for i, extent in enumerate(data)))
    else:
        node.output(0, tuple(e for i, e in enumerate(data) if i not in axes) or (1,))


def square_sum(node: NodeShapes) -> None:
    """As `sum`; row-sparse data of two dimensions along one axis."""
    data = node.inputs[0]
    if data is not None and len(data) != 2:
        raise ShapeConflictError(f"data of shape {show(data)} is no matrix", 0)
    axes = read_tuple(node.attributes, "axis")
    if axes is None or len(axes) != 1:
        raise ShapeConflictError("axis is not one axis")
    reduction(node)


# Constants


def constant(node: NodeShapes) -> None:
    """Take the shape that the attributes name."""
    shape = without_none(read_tuple(node.attributes, "shape"), "shape")
    if any(extent < 0 for extent in shape):
        raise ShapeConflictError(f"shape {shape} has a negative extent")
    node.output(0, shape)

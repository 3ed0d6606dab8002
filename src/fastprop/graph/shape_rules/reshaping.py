"""Operators that move, cut, join or repeat elements."""

from __future__ import annotations

from collections.abc import Mapping

from fastprop.graph.attributes import (
    read_flag,
    read_integer,
    read_optional_integer,
    read_tuple,
)
from fastprop.graph.shape_rules.elementwise import same
from fastprop.graph.shape_rules.layers import replaced, without
from fastprop.graph.shape_rules.node_shapes import (
    NodeShapes,
    Shape,
    ShapeConflictError,
    axis_of,
    merge,
    show,
    size,
    solve,
    without_none,
)


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
    """The target of a Reshape that MXNet 0.x wrote with `target_shape`."""
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
    """Give all inputs and the output one shape."""
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
    """The extent that an axis of one element, or of as many as wanted, is repeated to."""
    if extent is not None and wanted is not None and extent not in (1, wanted):
        raise ShapeConflictError(f"extent {extent} repeated to {wanted}", 0)
    return wanted

"""What is known of a node's shapes, and how knowledge is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Callable, Optional

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
    """The values of an attribute in which None has no meaning."""
    result = tuple(value for value in values or () if value is not None)
    if len(result) != len(values or ()):
        raise ShapeConflictError(f"attribute {key} has None among its elements")
    return result

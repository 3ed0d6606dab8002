"""From nodes of a graph to steps: what all operators share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.errors import EngineError
from fastprop.graph.graph import Node
from fastprop.native.draft import (
    Buffer,
    Constant,
    Draft,
    Inputs,
    Operation,
    SparseRows,
    Value,
    View,
)
from fastprop.native.tensors import Numbers, Recipe

__all__ = ["PROBED_ROWS", "Lower", "Lowering", "NotNativeError"]

# Shapes are looked at for this many rows.
PROBED_ROWS = 3
# Wider sparse rows than this are not written out as dense ones.
MOST_WRITTEN_OUT = 1 << 16


class NotNativeError(EngineError):
    """The native engine cannot run a graph; the message names the node and says why."""


class Lowering:
    """The steps so far, and the node that is being lowered.

    Parameters
    ----------
    rows : Buffer
        The rows themselves.

    Attributes
    ----------
    node : Node
        The current node.
    shapes : sequence of tuple of int
        Shapes that its outputs should have.
    readers : tuple of str
        Names of the operators that read it.
    """

    def __init__(self, rows: Buffer) -> None:
        self.rows = rows
        self.drafts: list[Draft] = []
        self.shapes: Sequence[tuple[int, ...]] = ()
        self.readers: tuple[str, ...] = ()
        self.node = Node("null", "")

    def refuse(self, why: str) -> NotNativeError:
        """The error that says why the current node cannot be run."""
        return NotNativeError(f"node {self.node.name!r} ({self.node.op}) {why}")

    def emit(
        self,
        op: str,
        inputs: Sequence[View],
        width: int,
        *,
        function: str = "",
        tensors: Mapping[str, Recipe] | None = None,
        numbers: Mapping[str, float] | None = None,
        in_place: bool = False,
    ) -> View:
        """Add a step and return what it makes."""
        if width < 1:
            raise self.refuse("has no elements")
        output = Buffer(width)
        draft = Draft(
            name=self.node.name,
            op=op,
            function=function,
            inputs=list(inputs),
            output=output,
            tensors=dict(tensors or {}),
            numbers=dict(numbers or {}),
            in_place=in_place,
        )
        output.maker = draft
        self.drafts.append(draft)
        return View(output, 0, width)

    def value(self, operation: Operation) -> Value:
        """The operation as elements of a row that steps can read."""
        if isinstance(operation, Value):
            return operation
        if isinstance(operation, Constant):
            raise self.refuse("does not depend on the rows")
        return self.written_out(operation)

    def written_out(self, rows: SparseRows) -> Value:
        """The sparse rows as dense ones, where they are narrow enough."""
        if rows.width > MOST_WRITTEN_OUT:
            raise self.refuse(
                f"reads {rows.width} columns of sparse rows otherwise than by a product with a "
                f"weight; no more than {MOST_WRITTEN_OUT} are written out"
            )
        view = self.emit("written_out", [View(self.rows, 0, rows.width)], rows.width)
        if rows.function:
            view = self.emit("unary", [view], rows.width, function=rows.function, in_place=True)
        return self.scaled(Value(view, (PROBED_ROWS, rows.width)), rows.scale)

    def scaled(self, value: Value, scale: float) -> Value:
        """The value times a number."""
        if scale == 1:
            return value
        numbers = {"scalar": scale}
        view = self.emit(
            "binary", [value.view], value.width, function="mul", numbers=numbers, in_place=True
        )
        return Value(view, value.shape)

    def compact(self, view: View) -> View:
        """The same elements in rows that follow each other without a gap."""
        buffer = view.buffer
        if not view.is_whole or buffer.maker is None:
            view = self.emit("copy", [view], view.width)
        view.buffer.compact = True
        return view

    def rearrange(
        self,
        parts: Sequence[Value],
        rearrange: Callable[[list[npt.NDArray[np.int64]]], npt.NDArray[Any]],
    ) -> Value:
        """What an operator makes that only moves elements about.

        Parameters
        ----------
        parts : sequence of Value
            What it is given.
        rearrange : callable
            The operator, on arrays that hold the places of the elements.

        Notes
        -----
        The operator is tried on the places of all elements for a few rows. Neighbouring columns
        that stay neighbours are used where they are.
        """
        views = [part.view for part in parts]
        total = sum(view.width for view in views)
        places = []
        before = 0
        for part in parts:
            columns = before + np.arange(part.width)
            rows = total * np.arange(PROBED_ROWS)
            places.append((rows[:, None] + columns).reshape(part.shape))
            before += part.width
        moved = np.asarray(rearrange(places))
        by_row = moved.astype(np.int64).reshape(PROBED_ROWS, -1) if moved.size else None
        if by_row is None or moved.size % PROBED_ROWS:
            raise self.refuse("has no elements")
        apart = by_row - total * np.arange(PROBED_ROWS)[:, None]
        if (apart != apart[0]).any() or apart[0].min() < 0 or apart[0].max() >= total:
            raise self.refuse("mixes rows")
        return Value(self.pick(views, apart[0]), tuple(moved.shape))

    def pick(self, views: Sequence[View], columns: npt.NDArray[np.int64]) -> View:
        """These columns of the views side by side, without a step where that is possible."""
        if len(views) > 1:
            joined = self.join(views, columns)
            if joined is not None:
                return joined
            views = [self.emit("concat", views, sum(view.width for view in views))]
        first = int(columns[0])
        if np.array_equal(columns, np.arange(first, first + len(columns))):
            return View(views[0].buffer, views[0].first + first, len(columns))
        recipe = Numbers(lambda: columns.astype(np.int32))
        return self.emit("columns", views[:1], len(columns), tensors={"columns": recipe})

    def join(self, views: Sequence[View], columns: npt.NDArray[np.int64]) -> View | None:
        """The views one after the other, where that is what the columns are."""
        total = sum(view.width for view in views)
        if not np.array_equal(columns, np.arange(total)):
            return None
        return self.emit("concat", views, total)

    def constant(self, constant: Constant, shape: tuple[int, ...]) -> Numbers:
        """A constant, broadcast to the elements of a row of this shape."""

        def make() -> npt.NDArray[np.float32]:
            full = np.broadcast_to(constant.value, (shape[0] // PROBED_ROWS, *shape[1:]))
            return full.astype(np.float32).reshape(-1)

        padded = (1,) * (len(shape) - len(constant.shape)) + constant.shape
        if padded[0] != 1:
            raise self.refuse("has a constant with an element for each row")
        return Numbers(make)


Lower = Callable[[Lowering, Node, Inputs], Sequence[Operation]]

"""A plan in the making: steps over buffers that have no place in memory yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Union

import numpy as np
import numpy.typing as npt

from fastprop.cached import cached_property
from fastprop.checkpoint.arrays import Parameter
from fastprop.native.tensors import Recipe

__all__ = ["Buffer", "Constant", "Draft", "Operation", "SparseRows", "Value", "View"]

MADE, ROWS, FURTHER, SCORES = "made", "rows", "further", "scores"


@dataclass(eq=False)
class Buffer:
    """Columns that one step writes, or an input.

    Parameters
    ----------
    width : int
        Number of columns.
    place : {"made", "rows", "further", "scores"}
        What it is; "made" ones get a slot, or a part of another buffer.
    number : int
        Which further input.
    compact : bool
        Its rows must follow each other without a gap.
    home : (Buffer, int) or None
        The buffer of which it is a part, and its first column there.
    """

    width: int
    place: str = MADE
    number: int = 0
    compact: bool = False
    home: tuple[Buffer, int] | None = None
    maker: Draft | None = None

    def resolve(self) -> tuple[Buffer, int]:
        """The buffer that it finally lies in, and its first column there."""
        buffer, first = self, 0
        while buffer.home is not None:
            buffer, offset = buffer.home
            first += offset
        return buffer, first


@dataclass(frozen=True, eq=False)
class View:
    """Neighbouring columns of a buffer."""

    buffer: Buffer
    first: int
    width: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the buffer."""
        return self.width == self.buffer.width


@dataclass(eq=False)
class Draft:
    """A step; see `plan.Step`. "concat" ones lay their inputs side by side.

    `in_place`: the output may lie where an input of the same width does.
    """

    name: str
    op: str
    function: str
    inputs: list[View]
    output: Buffer
    tensors: dict[str, Recipe] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    in_place: bool = False


@dataclass(frozen=True, eq=False)
class Value:
    """What an entry of the graph holds: for each row the elements of `view`, in row-major order.

    Parameters
    ----------
    view : View
        Where the elements of a row are.
    shape : tuple of int
        Its shape for `PROBED_ROWS` rows.
    exclusive : bool
        Whether the node that is given it is the only one that reads its elements.
    """

    view: View
    shape: tuple[int, ...]
    exclusive: bool = False

    @property
    def width(self) -> int:
        """Elements a row."""
        return self.view.width


@dataclass(frozen=True, eq=False)
class Constant:
    """What does not depend on the rows; computed when it is needed.

    `parameter` is set where it is one as it was saved.
    """

    shape: tuple[int, ...]
    compute: Callable[[], npt.NDArray[np.float64]]
    parameter: Parameter | None = None

    @cached_property
    def value(self) -> npt.NDArray[np.float64]:
        """The array."""
        return self.compute()


@dataclass(frozen=True)
class SparseRows:
    """The sparse rows: `scale` times a function of each element, which keeps zeros.

    `function` is "square", "abs" or "sign", or empty for the elements as they are.
    """

    width: int
    function: str = ""
    scale: float = 1.0


Operation = Union[Value, Constant, SparseRows]
Inputs = Sequence[Operation]

"""A plan: the steps that the native engine runs, and the names of the tensors that they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Operand", "Plan", "Step"]


@dataclass(frozen=True)
class Operand:
    """Columns of a place, for every row of a tile.

    Parameters
    ----------
    place : {"rows", "further", "slot", "scores"}
        The rows themselves, a further input, scratch, or the result.
    number : int
        Which further input or slot.
    stride : int
        Elements from one row to the next in a slot; 0 elsewhere.
    first, width : int
        Columns [first, first + width).
    """

    place: str
    number: int
    stride: int
    first: int
    width: int

    @property
    def arguments(self) -> tuple[str, int, int, int, int]:
        """As the core and the compiled file take it."""
        return (self.place, self.number, self.stride, self.first, self.width)


@dataclass(frozen=True)
class Step:
    """One thing to do; which ones there are is in `csrc/fastprop/predict/steps`.

    Parameters
    ----------
    name : str
        Name of the node that it came from.
    op, function : str
        What is done, and which function of its kind or activation at its end.
    inputs : tuple of Operand
        What it reads.
    output : Operand
        What it writes.
    tensors : mapping of str to str
        Names of tensors, by what the step calls them.
    numbers : mapping of str to float
        Settings.
    """

    name: str
    op: str
    function: str
    inputs: tuple[Operand, ...]
    output: Operand
    tensors: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        function = f" {self.function}" if self.function not in ("", "identity", self.op) else ""
        return f"{self.name} ({self.op}{function}, {self.output.width} columns)"


@dataclass(frozen=True)
class Plan:
    """What the native engine runs on a tile of rows.

    Parameters
    ----------
    sparse : bool
        Whether the rows are sparse.
    n_columns : int
        Number of columns of the rows.
    further : tuple of (str, int)
        Name and width of each further input, in the order in which they are given.
    slots : tuple of int
        Elements a row of each scratch buffer.
    steps : tuple of Step
        In order.
    n_scores : int
        Number of columns of the result.
    """

    sparse: bool
    n_columns: int
    further: tuple[tuple[str, int], ...]
    slots: tuple[int, ...]
    steps: tuple[Step, ...]
    n_scores: int

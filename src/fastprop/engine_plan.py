"""Which of a model's engines is meant."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ENGINES", "OUTPUTS", "EnginePlan"]

ENGINES = ("auto", "native", "mxnet")
OUTPUTS = ("scores", "heads")


@dataclass(frozen=True)
class EnginePlan:
    """Which engine of a model is meant.

    Parameters
    ----------
    engine : {"auto", "native", "mxnet"}
        What runs it.
    output : {"scores", "heads"}
        The score columns, or the checkpoint's heads side by side.
    graph : {"split", "whole", "saved"}
        The optimised graph behind our sparse layer where it has one, the optimised graph whole,
        or the graph as saved.
    isa : str
        Instruction set of our kernels.
    weights : str
        How our kernels hold weights.
    """

    engine: str
    output: str
    graph: str
    isa: str
    weights: str

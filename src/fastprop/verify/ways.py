"""Every way in which a model can be scored: engine, precision, instruction set."""

from __future__ import annotations

from dataclasses import dataclass

from fastprop import _core
from fastprop.model import Model
from fastprop.predictor import Predictor

__all__ = ["AS_SAVED", "Way", "all_ways", "compiled_ways"]

PRECISIONS = {"mapped": "float32", "copied": "float32", "bfloat16": "bfloat16", "int8": "int8"}
TITLES = {
    "native": "native",
    "compiled": "native, compiled file",
    "split": "mxnet behind our kernel",
    "whole": "mxnet, whole graph",
    "saved": "mxnet, graph as saved",
}


@dataclass(frozen=True)
class Way:
    """One way to score.

    Parameters
    ----------
    engine : {"native", "mxnet"}
        What runs the graph.
    graph : {"split", "whole", "saved", "compiled"}
        The optimised graph behind our sparse layer, the optimised graph whole, the checkpoint's
        own, or what a compiled file holds.
    weights : {"mapped", "copied", "bfloat16", "int8"}
        How our kernels hold weights.
    isa : str, optional
        Instruction set of our kernels; None where none of them computes.
    """

    engine: str
    graph: str
    weights: str = "mapped"
    isa: str | None = None

    @property
    def precision(self) -> str:
        """Precision of the weights, by which a tolerance is chosen."""
        return PRECISIONS[self.weights]

    @property
    def title(self) -> str:
        """Name of the engine for people."""
        return TITLES["native" if (self.engine, self.graph) == ("native", "split") else self.graph]

    def predictor(self, model: Model, *, threads: int, batch_size: int) -> Predictor:
        """Make a predictor that scores in this way."""
        return model.predictor(
            engine=self.engine,
            threads=threads,
            batch_size=batch_size,
            optimize=self.graph != "saved",
            whole_graph=self.graph == "whole",
            weights="mapped" if self.graph == "compiled" else self.weights,
            isa=self.isa,
        )


AS_SAVED = Way("mxnet", "saved")


def compiled_ways(weights: str) -> list[Way]:
    """Every way of a compiled file that holds its weights as "float32", "bfloat16" or "int8"."""
    how = "mapped" if weights == "float32" else weights
    return [Way("native", "compiled", how, isa) for isa in _core.instruction_sets()]


def all_ways() -> list[Way]:
    """Every way that this processor may take; which of them a model can go shows in trying."""
    kernels = [(weights, isa) for weights in PRECISIONS for isa in _core.instruction_sets()]
    return [
        *(Way("native", "split", weights, isa) for weights, isa in kernels),
        *(Way("mxnet", "split", weights, isa) for weights, isa in kernels if weights != "int8"),
        Way("mxnet", "whole"),
        AS_SAVED,
    ]

"""From a compiled network to an engine of the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from fastprop import _core
from fastprop.native.compile import Compiled
from fastprop.native.plan import Plan
from fastprop.native.tensors import hold_tensors

__all__ = ["make_native_engine", "start_native_engine"]


def make_native_engine(compiled: Compiled, *, isa: str, weights: str) -> _core.NativeEngine:
    """Make the tensors of a plan and hand it to the core.

    Parameters
    ----------
    compiled : Compiled
        The plan, and how its tensors are made.
    isa, weights : str
        See `Model.predictor`. With "bfloat16" and "int8" the dense layers are held so as well.
    """
    return start_native_engine(compiled.plan, hold_tensors(compiled.recipes, weights), isa=isa)


def start_native_engine(
    plan: Plan, tensors: Mapping[str, npt.NDArray[Any]], *, isa: str
) -> _core.NativeEngine:
    """Hand a plan and its tensors, which are borrowed, to the core.

    Raises
    ------
    ModelFormatError
        They do not fit together.
    """
    return _core.NativeEngine(
        sparse=plan.sparse,
        n_columns=plan.n_columns,
        further=plan.further,
        slots=plan.slots,
        steps=[
            (
                step.name,
                step.op,
                step.function,
                [operand.arguments for operand in step.inputs],
                step.output.arguments,
                dict(step.tensors),
                dict(step.numbers),
            )
            for step in plan.steps
        ],
        n_scores=plan.n_scores,
        tensors=dict(tensors),
        isa=isa,
    )

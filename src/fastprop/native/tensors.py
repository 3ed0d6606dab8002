"""How a plan's tensors are made from parameters: once, when an engine is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from fastprop import _core
from fastprop.checkpoint.arrays import Parameter, RowSparseArray
from fastprop.errors import EngineError
from fastprop.sparse_weights import aligned, hold_weight, stored_rows
from fastprop.typing import FloatArray

__all__ = ["Numbers", "Panels", "Recipe", "RowOfColumn", "Table", "check_weights", "hold_tensors"]

Tensor = npt.NDArray[Any]

# Of dense layers, by how weights are held; float32 otherwise.
PANEL_TYPES: Mapping[str, type] = {"bfloat16": np.uint16, "int8": np.int8}


@dataclass(frozen=True, eq=False)
class Numbers:
    """A float32 or int32 array as it is."""

    make: Callable[[], Tensor]
    source: Parameter | None = None

    def hold(self, weights: str) -> Tensor:  # noqa: ARG002 - one form for all
        """Make the array."""
        made = self.make()
        dtype = np.int32 if made.dtype.kind == "i" else np.float32
        return np.require(made, dtype=dtype, requirements=["C", "A"])


@dataclass(frozen=True, eq=False)
class Panels:
    """The weight of a dense layer, (outputs, inputs), packed for the kernels."""

    make: Callable[[], FloatArray]
    source: Parameter | None = None

    def hold(self, weights: str) -> Tensor:
        """Pack it, as bfloat16 or in steps of 8 bits where weights are."""
        weight = np.require(self.make(), dtype=np.float32, requirements=["C", "A"])
        outputs, inputs = weight.shape
        if weights == "int8" and inputs > _core.MAX_INT8_INPUTS:
            weights = "bfloat16"
        dtype: np.dtype[Any] = np.dtype(PANEL_TYPES.get(weights, np.float32))
        shape = _core.panels_shape(outputs, inputs, dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        panels = aligned(size).view(dtype).reshape(shape)
        _core.pack_dense(weight, panels)
        return panels


@dataclass(frozen=True, eq=False)
class Table:
    """The weight of a sparse layer: the stored rows of a parameter, (columns, width)."""

    make: Callable[[], Parameter]
    source: Parameter | None = None

    def hold(self, weights: str) -> Tensor:
        """Bring it to the form in which the kernel reads it."""
        return hold_weight(self.make(), weights).rows


@dataclass(frozen=True, eq=False)
class RowOfColumn:
    """Where the stored row of each column of a sparse layer's weight is."""

    source: RowSparseArray

    def hold(self, weights: str) -> Tensor:  # noqa: ARG002 - one form for all
        """Make the map; -1 for a row of zeros."""
        return stored_rows(self.source)


# `source` is the parameter of which a tensor is made alone, where there is one.
Recipe = Union[Numbers, Panels, Table, RowOfColumn]


def hold_tensors(recipes: Mapping[str, Recipe], weights: str) -> dict[str, Tensor]:
    """Make all tensors of a plan.

    Parameters
    ----------
    recipes : mapping of str to Recipe
        By the names that the plan's steps use.
    weights : {"mapped", "copied", "bfloat16", "int8"}
        How weights are held, see `hold_weight`. With "bfloat16" and "int8" dense layers are held so
        as well.

    Raises
    ------
    EngineError
        See `check_weights`.
    """
    check_weights(recipes, weights)
    return {name: recipe.hold(weights) for name, recipe in recipes.items()}


def check_weights(recipes: Mapping[str, Recipe], weights: str) -> None:
    """Refuse int8 weights where there is no dense layer that could have them; `EngineError`."""
    if weights == "int8" and not any(isinstance(recipe, Panels) for recipe in recipes.values()):
        raise EngineError(
            "int8 weights are for dense layers, and the model has none: bfloat16 halves the "
            "sparse layer"
        )

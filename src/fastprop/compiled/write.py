"""Compiling a checkpoint's model to a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastprop.checkpoint.atomic import check_target
from fastprop.checks import check_choice
from fastprop.compiled.document import PLANS, Document, write_document
from fastprop.compiled.safetensors import Tensor, chunks, write_safetensors
from fastprop.graph.network import InputSpec
from fastprop.native.compile import Compiled
from fastprop.native.plan import Plan
from fastprop.native.tensors import Recipe, check_weights
from fastprop.version import __version__

if TYPE_CHECKING:
    from fastprop.model import Model

__all__ = ["WEIGHTS", "write_compiled"]

# What the file holds, and how tensors are made for it.
WEIGHTS = {"float32": "mapped", "bfloat16": "bfloat16", "int8": "int8"}


def write_compiled(model: Model, path: Path, *, weights: str = "float32") -> None:
    """Write a model's plans and packed tensors to one file.

    Parameters
    ----------
    model : Model
        Of a checkpoint that the native engine can run.
    path : Path
        The file; it appears whole or not at all.
    weights : {"float32", "bfloat16", "int8"}
        How weights are held.

    Raises
    ------
    NotNativeError
        The native engine cannot run the model; names the node.
    EngineError
        No layer could have int8 weights.
    OutputError
        The file cannot be written.
    """
    check_choice("weights", weights, tuple(WEIGHTS))
    check_target(path)  # before the work
    store = Store(WEIGHTS[weights])
    plans = {kind: store.add(model.compiled(kind)) for kind in PLANS}
    store.add_lines("labels", model.labels)
    if model.feature_names is not None:
        store.add_lines("features", model.feature_names)
    document = Document(
        name=model.name,
        epoch=model.epoch,
        made_by=__version__,
        weights=weights,
        positive_index=model.positive_index,
        inputs=tuple(
            InputSpec(spec.name, spec.storage, model.input_row_shapes[spec.name], spec.dtype)
            for spec in model.inputs
        ),
        head_shapes=model.head_row_shapes,
        plans=plans,
    )
    write_safetensors(path, store.tensors, write_document(document))


class Store:
    """Tensors to be written, none of them twice."""

    def __init__(self, weights: str) -> None:
        self.weights = weights
        self.tensors: dict[str, Tensor] = {}
        self.names: dict[object, str] = {}

    def add(self, compiled: Compiled) -> Plan:
        """Add the tensors of a plan, and return it with the names that they have here."""
        check_weights(compiled.recipes, self.weights)
        names = {}
        for name, recipe in compiled.recipes.items():
            names[name] = self.add_tensor(f"parameters/{name}", recipe)
        return with_names(compiled.plan, names)

    def add_tensor(self, name: str, recipe: Recipe) -> str:
        """Add a tensor, unless there is the same already; return the name that it has."""
        source = recipe.source
        tensor = None
        if source is not None:
            # What is a parameter as a whole is large, and known before it is made.
            key: object = (type(recipe), id(source))
        else:
            tensor = recipe.hold(self.weights)
            key = (tensor.dtype.str, tensor.shape, digest(tensor))
        if key not in self.names:
            number = 1
            unique = name
            while unique in self.tensors:
                number += 1
                unique = f"{name}.{number}"
            self.tensors[unique] = recipe.hold(self.weights) if tensor is None else tensor
            self.names[key] = unique
        return self.names[key]

    def add_lines(self, name: str, lines: Sequence[str]) -> None:
        """Add names, a line each."""
        text = "\n".join(lines).encode("utf-8")
        self.tensors[f"text/{name}"] = np.frombuffer(text, np.uint8)


def digest(tensor: Tensor) -> bytes:
    """What tells the content of a tensor."""
    found = hashlib.sha256()
    for chunk in chunks(tensor):
        found.update(chunk)
    return found.digest()


def with_names(plan: Plan, names: Mapping[str, str]) -> Plan:
    steps = [
        replace(step, tensors={role: names[name] for role, name in step.tensors.items()})
        for step in plan.steps
    ]
    return replace(plan, steps=tuple(steps))

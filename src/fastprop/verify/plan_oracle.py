"""The scores of a plan by plain NumPy in float64: its steps one by one, its weights unpacked.

A step is computed by the reference of the operator that it stands for wherever there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from fastprop._reference import reference_function, reference_value
from fastprop.errors import EngineError
from fastprop.native.plan import Operand, Plan, Step
from fastprop.typing import CSR

__all__ = ["plan_scores"]

Array = npt.NDArray[np.float64]
Tensors = Mapping[str, npt.NDArray[Any]]


def plan_scores(
    plan: Plan, tensors: Tensors, rows: Any, inputs: Mapping[str, Any]
) -> npt.NDArray[np.float64]:
    """Run a plan on rows.

    Parameters
    ----------
    plan : Plan
        One that the native engine accepts, which checks it.
    tensors : mapping of str to ndarray
        As the plan names them and a compiled file holds them; bfloat16 as uint16.
    rows : CSR, or ndarray of float32 for a plan of dense rows
    inputs : mapping of str to ndarray
        Further inputs, a row for each row.

    Raises
    ------
    EngineError
        A step is of a kind that is not known here.
    """
    n_rows = int(rows.shape[0])
    places: dict[tuple[str, int], Array] = {
        ("further", number): np.asarray(inputs[name], np.float64).reshape(n_rows, width)
        for number, (name, width) in enumerate(plan.further)
    }
    # Rows of a slot lie as far apart as each operand says, so that a slot has no columns.
    places.update(
        {("slot", number): np.zeros(n_rows * width) for number, width in enumerate(plan.slots)}
    )
    places["scores", 0] = np.zeros((n_rows, plan.n_scores))
    if not plan.sparse:
        places["rows", 0] = np.asarray(rows, np.float64).reshape(n_rows, plan.n_columns)

    def columns(operand: Operand) -> Array:
        place = places[operand.place, operand.number]
        if operand.place == "slot":
            place = place[: n_rows * operand.stride].reshape(n_rows, operand.stride)
        return place[:, operand.first : operand.first + operand.width]

    for step in plan.steps:
        own = {role: tensors[name] for role, name in step.tensors.items()}
        if step.op in SPARSE:
            result = SPARSE[step.op](step, own, rows)
        elif step.op in STEPS:
            result = STEPS[step.op](step, own, [columns(operand) for operand in step.inputs])
        else:
            raise EngineError(f"plan_scores: step {step.name!r}: no kind {step.op!r}")
        columns(step.output)[...] = result
    return places["scores", 0]


def weights(tensor: npt.NDArray[Any]) -> Array:
    """Weights in float64; bfloat16 is the upper half of a float32."""
    if tensor.dtype == np.uint16:
        tensor = (tensor.astype(np.uint32) << 16).view(np.float32)
    if tensor.dtype != np.float32:
        raise EngineError(f"plan_scores: weights of type {tensor.dtype} are not known here")
    return tensor.astype(np.float64)


def unpacked(panels: npt.NDArray[Any], outputs: int, inputs: int) -> Array:
    """The weight of a dense layer, (outputs, inputs), from panels as `pack_dense` lays them out.

    (panel, input, column), or for bfloat16 (panel, pair of inputs, column, which of the pair). For
    int8 (panel, quad of inputs, column, which of the quad) behind two that are the columns' steps,
    as float32, and the sums of their weights.
    """
    if panels.dtype == np.int8:
        steps = panels[:, 0].copy().view(np.float32).astype(np.float64)
        columns: Array = panels[:, 2:] * steps[:, np.newaxis]
    else:
        columns = weights(panels)
    if columns.ndim == 4:
        columns = columns.transpose(0, 1, 3, 2).reshape(len(columns), -1, columns.shape[2])
    return columns.transpose(0, 2, 1).reshape(-1, columns.shape[1])[:outputs, :inputs]


# Layers


def dense(step: Step, tensors: Tensors, inputs: Sequence[Array]) -> Array:
    repeat = int(step.numbers.get("repeat", 1))
    width, outputs = inputs[0].shape[1] // repeat, step.output.width // repeat
    weight = unpacked(tensors["panels"], outputs, width)
    result = finished(step, tensors, inputs[0].reshape(-1, width) @ weight.T)
    return result.reshape(len(inputs[0]), -1)


def sparse(step: Step, tensors: Tensors, rows: CSR) -> Array:
    """Rows times a weight, of which those columns are taken that occur in the rows."""
    used, compact = np.unique(np.asarray(rows.indices), return_inverse=True)
    stored = tensors["row_of_column"][used] if "row_of_column" in tensors else used
    weight = np.zeros((len(used), step.output.width))
    weight[stored >= 0] = weights(tensors["weight"][stored[stored >= 0]])
    smaller = CSR(rows.indptr, compact, rows.data.astype(np.float64), (rows.shape[0], len(used)))
    return finished(step, tensors, reference_function("dot")({}, [smaller, weight])[0])


def sparse_of(function: str) -> Callable[[Step, Tensors, CSR], Array]:
    """A sparse layer over a function of the rows' elements, duplicates added up before."""

    def run(step: Step, tensors: Tensors, rows: CSR) -> Array:
        number = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        places, which = np.unique(
            np.stack([number, np.asarray(rows.indices)]), axis=1, return_inverse=True
        )
        sums = np.bincount(which.reshape(-1), rows.data, minlength=places.shape[1])
        mapped = reference_function(function)({}, [sums.astype(np.float64)])[0]
        indptr = np.searchsorted(places[0], np.arange(rows.shape[0] + 1))
        return sparse(step, tensors, CSR(indptr, places[1], mapped, rows.shape))

    return run


def written_out(_step: Step, _tensors: Tensors, rows: CSR) -> Array:
    return reference_value(rows)


def finished(step: Step, tensors: Tensors, result: Array) -> Array:
    """The end of a layer: its bias and its activation."""
    if "bias" in tensors:
        result = result + weights(tensors["bias"])
    return activate(step, tensors, [result])


def activate(step: Step, tensors: Tensors, inputs: Sequence[Array]) -> Array:
    name, alpha = step.function, step.numbers.get("alpha", 0.0)
    if name == "identity":
        return inputs[0]
    if name == "prelu":
        slopes = weights(tensors["slopes"])
        return reference_function("LeakyReLU")({"act_type": name}, [inputs[0], slopes])[0]
    if name in ("leaky", "elu", "selu", "gelu"):
        attributes = {"act_type": name, "slope": repr(alpha)}
        return reference_function("LeakyReLU")(attributes, inputs)[0]
    if name == "softrelu":
        return reference_function("Activation")({"act_type": name}, inputs)[0]
    attributes = {"alpha": repr(alpha), "beta": repr(step.numbers.get("beta", 0.0))}
    return reference_function(name)(attributes, inputs)[0]


# Element by element


def unary(step: Step, _tensors: Tensors, inputs: Sequence[Array]) -> Array:
    names = {"low": "a_min", "high": "a_max", "scalar": "scalar"}
    attributes = {names[name]: repr(value) for name, value in step.numbers.items()}
    return reference_function(step.function)(attributes, inputs)[0]


def binary(step: Step, tensors: Tensors, inputs: Sequence[Array]) -> Array:
    operands = list(inputs)
    if len(operands) == 1:
        constants = np.full(1, step.numbers.get("scalar", 0.0))
        if "constants" in tensors:
            constants = weights(tensors["constants"]).reshape(-1)
        operands.append(constants)
        if step.numbers.get("swapped"):
            operands.reverse()
    return reference_function(f"broadcast_{step.function}")({}, operands)[0]


def affine(_step: Step, tensors: Tensors, inputs: Sequence[Array]) -> Array:
    scale, shift = (weights(tensors[name]).reshape(-1) for name in ("scale", "shift"))
    result: Array = inputs[0] * scale + shift
    return result


def where(_step: Step, _tensors: Tensors, inputs: Sequence[Array]) -> Array:
    return reference_function("where")({}, inputs)[0]


# Groups of neighbouring columns


def grouped(step: Step, columns: Array) -> Array:
    return columns.reshape(len(columns), -1, int(step.numbers.get("group", columns.shape[1])))


def normalize(step: Step, _tensors: Tensors, inputs: Sequence[Array]) -> Array:
    groups = grouped(step, inputs[0])
    eps = step.numbers.get("eps", 0.0)
    if step.function == "layer":
        groups = groups - groups.mean(axis=2, keepdims=True)
        length = np.sqrt(groups.var(axis=2, keepdims=True) + eps)
    else:
        length = np.sqrt(np.square(groups).sum(axis=2, keepdims=True) + eps)
    result: Array = (groups / length).reshape(inputs[0].shape)
    return result


def softmax(step: Step, _tensors: Tensors, inputs: Sequence[Array]) -> Array:
    groups = grouped(step, inputs[0])
    result = reference_function(step.function)({}, [groups, *inputs[1:]])[0]
    return result.reshape(inputs[0].shape)


def reduce(step: Step, _tensors: Tensors, inputs: Sequence[Array]) -> Array:
    attributes, name = {"axis": "(2,)"}, step.function
    if name in ("norm1", "norm2"):
        attributes["ord"], name = name[-1], "norm"
    groups = inputs[0].reshape(len(inputs[0]), step.output.width, -1)
    return reference_function(name)(attributes, [groups])[0]


# Choices and moves


def embedding(step: Step, tensors: Tensors, inputs: Sequence[Array]) -> Array:
    mode = "wrap" if step.numbers.get("wraps") else "clip"
    table = weights(tensors["table"])
    chosen = reference_function("take")({"mode": mode}, [table, inputs[0]])[0]
    return chosen.reshape(len(inputs[0]), -1)


def batch_dot(step: Step, _tensors: Tensors, inputs: Sequence[Array]) -> Array:
    n_rows, count = len(inputs[0]), int(step.numbers.get("count", 1))
    inner = int(step.numbers.get("inner", 1))
    left = inputs[0].reshape(n_rows, count, -1, inner)
    result: Array = left @ inputs[1].reshape(n_rows, count, inner, -1)
    return result.reshape(n_rows, -1)


def picked(_step: Step, tensors: Tensors, inputs: Sequence[Array]) -> Array:
    return inputs[0][:, tensors["columns"].reshape(-1)]


def copy(_step: Step, _tensors: Tensors, inputs: Sequence[Array]) -> Array:
    return inputs[0]


SPARSE: Mapping[str, Callable[[Step, Tensors, CSR], Array]] = {
    "sparse": sparse,
    "sparse_square": sparse_of("square"),
    "sparse_abs": sparse_of("abs"),
    "sparse_sign": sparse_of("sign"),
    "written_out": written_out,
}
STEPS: Mapping[str, Callable[[Step, Tensors, Sequence[Array]], Array]] = {
    "activate": activate,
    "affine": affine,
    "batch_dot": batch_dot,
    "binary": binary,
    "columns": picked,
    "copy": copy,
    "dense": dense,
    "embedding": embedding,
    "normalize": normalize,
    "reduce": reduce,
    "softmax": softmax,
    "unary": unary,
    "where": where,
}

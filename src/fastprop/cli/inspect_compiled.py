"""The part of `fastprop inspect` that shows a compiled model's file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastprop.compiled.model import CompiledModel

__all__ = ["show"]


def show(path: str, name: str | None, epoch: int | None, *, as_json: bool, checksum: bool) -> None:
    """Show a compiled model; with `checksum`, after all its data has been found undamaged."""
    from fastprop import load_model
    from fastprop.cli.console import format_bytes, heading, print_json, print_table, print_text
    from fastprop.compiled.model import CompiledModel

    model = load_model(path, name, epoch)
    assert isinstance(model, CompiledModel)
    if checksum:
        model.check()
    facts = compiled_facts(model)
    if as_json:
        print_json({**facts, "checksum_is_right": True} if checksum else facts)
        return
    print_text(model.describe())
    heading(f"tensors, {format_bytes(sum(item['bytes'] for item in facts['tensors']))}")
    print_table(
        ["name", "shape", "dtype", "size"],
        [
            (
                item["name"],
                " x ".join(str(extent) for extent in item["shape"]),
                item["dtype"],
                format_bytes(item["bytes"]),
            )
            for item in facts["tensors"]
        ],
        right=[3],
    )
    if checksum:
        print_text(f"the data's SHA-256 is right: {facts['sha256']}")


def compiled_facts(model: CompiledModel) -> dict[str, Any]:
    """Return what the file holds, fit for JSON."""
    document = model.document
    return {
        "name": model.name,
        "epoch": model.epoch,
        "files": {"compiled": {"path": str(model.path), "bytes": model.file.size}},
        "made_by": document.made_by,
        "weights": document.weights,
        "positive_index": document.positive_index,
        "sha256": model.file.metadata.get("sha256"),
        "inputs": [
            {
                "name": spec.name,
                "storage": spec.storage,
                "row_shape": list(model.input_row_shapes[spec.name]),
                "dtype": spec.dtype,
            }
            for spec in model.inputs
        ],
        "n_features": model.n_features,
        "n_labels": model.n_labels,
        "labels": model.labels,
        "steps": {
            name: [str(step) for step in plan.steps] for name, plan in document.plans.items()
        },
        "tensors": [
            {
                "name": name,
                "shape": list(tensor.shape),
                "dtype": "bfloat16" if tensor.dtype == "uint16" else str(tensor.dtype),
                "bytes": int(tensor.nbytes),
            }
            for name, tensor in model.file.tensors.items()
        ],
    }

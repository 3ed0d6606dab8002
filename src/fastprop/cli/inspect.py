"""`fastprop inspect`: what is in a checkpoint, read without an engine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fastprop.checkpoint.arrays import Parameter
    from fastprop.checkpoint.directory import Checkpoint
    from fastprop.graph.network import Network
    from fastprop.model import Model

__all__ = ["command"]

_SHOWN_LABELS = 8
_EPILOG = """
\b
Examples:
  fastprop inspect models/retail
  fastprop inspect models/retail --epoch 3 --json | jq .n_labels
  fastprop inspect retail.fastprop --checksum
"""


@click.command(
    name="inspect",
    epilog=_EPILOG,
    help=(
        "Show what is in the checkpoint in MODEL_DIR: files, operators, parameters, labels, and "
        "the graph as saved and as it is run; or what is in a compiled model's file. Needs no "
        "engine.\n\n"
        "Fails where the files can be read but not scored, after it has shown them."
    ),
)
@click.argument("model_dir", metavar="MODEL_DIR")
@click.option("--name", metavar="NAME", help="Which model; by default the only one there.")
@click.option("--epoch", type=click.IntRange(min=0), metavar="N", help="By default the latest.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.option(
    "--checksum", is_flag=True, help="Read all of a compiled model's data and check its SHA-256."
)
@click.pass_context
def command(
    context: click.Context,
    *,
    model_dir: str,
    name: str | None,
    epoch: int | None,
    as_json: bool,
    checksum: bool,
) -> None:
    """Show a checkpoint; see the command's help."""
    from fastprop.checkpoint.directory import read_checkpoint
    from fastprop.cli.console import print_json
    from fastprop.errors import FastpropError
    from fastprop.model import Model

    if Path(model_dir).is_file():
        from fastprop.cli.inspect_compiled import show

        show(model_dir, name, epoch, as_json=as_json, checksum=checksum)
        return
    if checksum:
        raise click.UsageError("--checksum is for a compiled model's file", context)
    checkpoint = read_checkpoint(model_dir, name, epoch)
    model: Model | None = None
    problem: FastpropError | None = None
    try:
        model = Model(checkpoint)
    except FastpropError as error:
        problem = error
    if as_json:
        facts = checkpoint_facts(checkpoint)
        facts.update(scorable=model is not None, problem=str(problem) if problem else None)
        if model is not None:
            facts.update(model_facts(model))
        print_json(facts)
    else:
        _print(checkpoint, model)
    if problem is not None:
        if not as_json:
            raise problem
        context.exit(1)


def checkpoint_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the files hold, fit for JSON."""
    files = checkpoint.files
    network = checkpoint.network
    return {
        "name": files.name,
        "epoch": files.epoch,
        "files": {
            kind: {"path": str(path), "bytes": path.stat().st_size}
            for kind, path in (
                ("symbol", files.symbol),
                ("params", files.params),
                ("labels", files.labels),
                ("features", files.features),
            )
            if path is not None
        },
        "operators": dict(operators(network)),
        "parameters": [
            parameter_facts(name, value, kind)
            for kind, values in (("arg", network.arguments), ("aux", network.auxiliary))
            for name, value in values.items()
        ],
    }


def model_facts(model: Model) -> dict[str, Any]:
    """Return what the model makes of the files, fit for JSON."""
    return {
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
        "operators_as_run": dict(operators(model.optimized)),
    }


def operators(network: Network) -> Mapping[str, int]:
    """Count the operators of a graph, in order of first use."""
    return Counter(node.op for node in network.graph.nodes if node.op != "null")


def parameter_facts(name: str, value: Parameter, kind: str) -> dict[str, Any]:
    """Describe a parameter: storage, shape, dtype and the bytes it takes in its file."""
    from fastprop.checkpoint.arrays import RowSparseArray, parameter_dtype, parameter_shape
    from fastprop.typing import CSR

    facts: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "shape": list(parameter_shape(value)),
        "dtype": str(parameter_dtype(value)),
    }
    if isinstance(value, RowSparseArray):
        facts.update(storage="row_sparse", stored_rows=len(value.indices))
        facts["bytes"] = int(value.indices.nbytes + value.data.nbytes)
    elif isinstance(value, CSR):
        facts.update(storage="csr", stored_values=len(value.data))
        facts["bytes"] = int(value.indptr.nbytes + value.indices.nbytes + value.data.nbytes)
    else:
        facts.update(storage="default", bytes=int(value.nbytes))
    return facts


def _print(checkpoint: Checkpoint, model: Model | None) -> None:
    from fastprop.cli.console import format_bytes, heading, print_table, print_text
    from fastprop.graph.describe import describe_graph

    facts = checkpoint_facts(checkpoint)
    epoch = "" if facts["epoch"] is None else f", epoch {facts['epoch']}"
    heading(f"{facts['name']}{epoch}")
    print_table(
        ["file", "path", "size"],
        [
            (kind, file["path"], format_bytes(file["bytes"]))
            for kind, file in facts["files"].items()
        ],
        right=[2],
    )
    if model is not None:
        labels = ", ".join(model.labels[:_SHOWN_LABELS])
        more = "" if model.n_labels <= _SHOWN_LABELS else ", …"
        print_text(f"{model.n_features:,} features, {model.n_labels:,} labels: {labels}{more}")
    heading("operators")
    print_table(["operator", "nodes"], list(facts["operators"].items()), right=[1])
    heading(f"parameters, {format_bytes(sum(item['bytes'] for item in facts['parameters']))}")
    print_table(
        ["name", "storage", "shape", "dtype", "size"],
        [
            (label, storage, shape, dtype, format_bytes(size))
            for label, storage, shape, dtype, size in _folded(facts["parameters"])
        ],
        right=[4],
    )
    heading("graph as saved")
    print_text(describe_graph(checkpoint.network))
    if model is not None:
        heading("graph as run")
        print_text(describe_graph(model.optimized))


def _folded(parameters: list[dict[str, Any]]) -> list[tuple[str, str, str, str, int]]:
    """Show parameters that differ in a number only as one line."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for facts in parameters:
        shape = " x ".join(str(extent) for extent in facts["shape"])
        storage = facts["storage"]
        if "stored_rows" in facts:
            storage += f" ({facts['stored_rows']:,} rows)"
        key = (re.sub(r"\d+", "#", facts["name"]), storage, shape, facts["dtype"])
        groups.setdefault(key, []).append(facts)
    rows = []
    for (_, storage, shape, dtype), members in groups.items():
        first, last = members[0]["name"], members[-1]["name"]
        label = first if len(members) == 1 else f"{first} … {last} ({len(members):,})"
        rows.append((label, storage, shape, dtype, sum(item["bytes"] for item in members)))
    return rows

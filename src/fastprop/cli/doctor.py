"""`fastprop doctor`: whether scoring works on this machine, and what is missing if not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

__all__ = ["command"]

_PACKAGES = ("numpy", "pyarrow", "mxnet", "scipy", "numba", "pyspark")
_EPILOG = """
\b
Examples:
  fastprop doctor
  fastprop doctor --json
"""

# Two features, two classes: softmax([0, x]) has the first class at 1 / (1 + e^x).
_TRIAL_SYMBOL = """{"nodes": [
 {"op": "null", "name": "data", "attrs": {"__storage_type__": "2"}, "inputs": []},
 {"op": "null", "name": "weight", "inputs": []},
 {"op": "dot", "name": "hidden", "inputs": [[0, 0, 0], [1, 0, 0]]},
 {"op": "softmax", "name": "trial", "inputs": [[2, 0, 0]]}],
 "arg_nodes": [0, 1], "node_row_ptr": [0, 1, 2, 3, 4], "heads": [[3, 0, 0]],
 "attrs": {"mxnet_version": ["int", 10901]}}"""


@click.command(
    name="doctor",
    epilog=_EPILOG,
    help=(
        "Say whether scoring works on this machine: versions, the engine, instruction sets, "
        "cores, memory, and the scores of a tiny model.\n\n"
        "Exit code 1 if scoring does not work."
    ),
)
@click.option("--json", "as_json", is_flag=True, help="The same, as JSON.")
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Examine the machine; see the command's help."""
    from fastprop.cli.console import print_json

    facts = examine()
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    if not facts["works"]:
        context.exit(1)


def examine() -> dict[str, Any]:
    """Gather everything that the command shows, fit for JSON."""
    import fastprop
    from fastprop import _core

    problems: list[str] = []
    engine = _examine_engine(problems)
    if not problems:
        _try_scoring(problems)
    return {
        "works": not problems,
        "problems": problems,
        "fastprop": fastprop.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "engine": engine,
        "instruction_sets": list(_core.instruction_sets()),
        "cores": {"allowed": _core.cpu_count(), "of_the_machine": os.cpu_count()},
        "memory": memory(),
    }


def _examine_engine(problems: list[str]) -> dict[str, Any]:
    from fastprop.errors import EngineError
    from fastprop.libmxnet.library import find_mxnet_library, load_mxnet_library

    facts: dict[str, Any] = {"name": "mxnet", "library": None, "version": None}
    try:
        path = find_mxnet_library()
        facts["library"] = None if path is None else str(path)
        info = load_mxnet_library()
    except EngineError as error:
        problems.append(str(error))
        return facts
    number = info.version
    facts["version"] = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return facts


def _try_scoring(problems: list[str]) -> None:
    """Save a model of two features, score a row with it, and compare with the known result."""
    import numpy as np

    from fastprop import load_model
    from fastprop.checkpoint.params import write_params
    from fastprop.errors import FastpropError

    weight = np.array([[0.0, 1.0], [0.0, -2.0]], dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="fastprop-doctor-") as folder:
        Path(folder, "trial-symbol.json").write_text(_TRIAL_SYMBOL, encoding="utf-8")
        try:
            write_params(Path(folder, "trial-0000.params"), {"arg:weight": weight})
            with load_model(folder).predictor(threads=1) as predictor:
                scores = predictor.predict([([0, 1], [1.0, 2.0])])
        except FastpropError as error:
            problems.append(f"a tiny model could not be scored: {error}")
            return
    expected = 1 / (1 + np.exp(1.0 - 4.0))
    if abs(float(scores[0, 0]) - expected) > 2e-6:
        problems.append(f"a tiny model scored {float(scores[0, 0])}, not {expected}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def memory(root: Path = Path("/")) -> dict[str, int | None]:
    """Return bytes of memory: the machine's, what is free, and the limit of the control group.

    Parameters
    ----------
    root : Path
        Where `proc` and `sys` are mounted.
    """
    facts: dict[str, int | None] = {"total": None, "available": None, "limit": None}
    meminfo = root / "proc/meminfo"
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        for key, name in (("total", "MemTotal"), ("available", "MemAvailable")):
            if name in lines:
                facts[key] = int(lines[name].split()[0]) * 1024
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = root / "sys/fs/cgroup" / name
        if limit.is_file():
            text = limit.read_text().strip()
            # Version 1 of control groups says "no limit" with a number beyond any machine.
            if text.isdecimal() and int(text) < (facts["total"] or sys.maxsize):
                facts["limit"] = int(text)
            break
    return facts


def _print(facts: dict[str, Any]) -> None:
    from fastprop.cli.console import format_bytes, print_table, print_text

    sizes = facts["memory"]
    memory_text = ", ".join(
        f"{format_bytes(sizes[key])} {key}" for key in sizes if sizes[key] is not None
    )
    engine = facts["engine"]
    cores = facts["cores"]
    rows = [
        ("fastprop", facts["fastprop"]),
        ("python", f"{facts['python']}, {facts['platform']}"),
        *((name, version or "not installed") for name, version in facts["packages"].items()),
        ("engine", f"{engine['name']} {engine['version'] or 'not loaded'}"),
        ("library", engine["library"] or "not found"),
        ("instruction sets", ", ".join(facts["instruction_sets"])),
        ("cores", f"{cores['allowed']} allowed, {cores['of_the_machine']} in the machine"),
        ("memory", memory_text or "unknown"),
    ]
    print_table(["what", "found"], rows)
    if facts["works"]:
        print_text("scoring works: a tiny model gave the scores it should")
    for problem in facts["problems"]:
        print_text(f"scoring does not work: {problem}")

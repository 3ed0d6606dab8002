"""Dependencies point down only: face, bindings, predict, then what stands below."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A folder of csrc/fastprop may include itself, views and errors, and what is named here.
INCLUDES = {
    "kernels": set(),
    "sched": set(),
    "memory": {"sched"},
    "mxnet": {"kernels", "sched"},
    "predict": {"kernels", "sched", "memory", "mxnet"},
}
OPTIONAL = {"mxnet", "scipy", "pyspark", "torch", "numba", "matplotlib", "onnxruntime"}
COMMAND_LINE_ONLY = {"click", "rich"}


@pytest.mark.parametrize("folder", INCLUDES)
def test_includes_point_down(folder):
    allowed = INCLUDES[folder] | {folder}
    files = sorted((ROOT / "csrc" / "fastprop" / folder).rglob("*.[chi]*"))
    assert files
    for file in files:
        for path in re.findall(r'#include "fastprop/([^"]+)"', file.read_text()):
            top = path.split("/")[0]
            assert "/" not in path or top in allowed, f"{file} includes {path}"


def test_no_python_below_the_bindings():
    for file in (ROOT / "csrc" / "fastprop").rglob("*.[chi]*"):
        assert not re.search(r"#include [<\"](Python|pybind11)", file.read_text()), file


def imported_at_import_time(file):
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def test_optional_packages_are_imported_late():
    package = ROOT / "src" / "fastprop"
    for file in package.rglob("*.py"):
        place = file.relative_to(package).parts[0]
        found = set(imported_at_import_time(file))
        own = {"pyspark"} if place == "spark" else set()
        assert not found & (OPTIONAL - own), file
        if place not in ("cli", "bench"):
            assert not found & COMMAND_LINE_ONLY, file


def test_the_graph_and_the_checkpoint_know_nothing_of_engines():
    package = ROOT / "src" / "fastprop"
    for folder in ("graph", "checkpoint"):
        for file in (package / folder).rglob("*.py"):
            text = file.read_text()
            assert not re.search(r"fastprop\.(_core|_csr|libmxnet|predictor|model)\b", text), file

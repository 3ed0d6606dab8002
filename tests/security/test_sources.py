"""What SECURITY.md says of the source, read from the source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.graph.admission import check_operators
from fastprop.graph.graph import parse_symbol
from fastprop.graph.operators import NEVER_ADMITTED, NEVER_ADMITTED_PREFIXES, OPERATORS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "fastprop"
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
CALLS = {"eval", "exec", "compile", "__import__"}


def sources():
    """All but what passes pickles between processes of its own: the benchmark, and Spark's jobs."""
    own = (PACKAGE / "bench", PACKAGE / "spark")
    return sorted(path for path in PACKAGE.rglob("*.py") if not set(own) & set(path.parents))


def test_nothing_is_unpickled_or_evaluated():
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {name.name.split(".")[0] for name in node.names}
                assert not names & MODULES, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in MODULES, path
            elif isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else None
                assert called not in CALLS, f"{path}: {called}"
                for keyword in node.keywords:
                    if keyword.arg == "allow_pickle":
                        assert isinstance(keyword.value, ast.Constant), path
                        assert keyword.value.value is False, path
                    if keyword.arg == "shell":
                        assert getattr(keyword.value, "value", None) is False, path


def test_numpy_loads_nothing_by_itself():
    """`np.load` reads pickles on request; files are read by names that cannot."""
    for path in sources():
        assert not re.search(r"\bnp\.(load|loadtxt|genfromtxt|fromfile)\(", path.read_text()), path


def graph_with(op):
    return parse_symbol(
        '{"nodes": [{"op": "null", "name": "data", "inputs": []},'
        f'{{"op": "{op}", "name": "node", "inputs": [[0, 0, 0]]}}],'
        '"arg_nodes": [0], "heads": [[1, 0, 0]], "attrs": {"mxnet_version": ["int", 10901]}}'
    )


@pytest.mark.parametrize("op", sorted(NEVER_ADMITTED) + [p + "x" for p in NEVER_ADMITTED_PREFIXES])
@pytest.mark.parametrize("allowed", ["documented", "all"])
def test_what_runs_code_or_opens_files_is_never_admitted(op, allowed):
    with pytest.raises(ModelFormatError):
        check_operators(graph_with(op), allowed)


def test_custom_is_among_them_and_nothing_else_can_be_asked_for():
    assert "Custom" in NEVER_ADMITTED
    assert not NEVER_ADMITTED & set(OPERATORS)
    with pytest.raises(InvalidInputError):
        check_operators(graph_with("Custom"), "everything")


def test_the_documented_list_is_documented():
    text = (ROOT / "docs" / "formats.md").read_text()
    section = text.split("\n## Operators\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    missing = {operator.name for operator in OPERATORS.values()} - named
    assert not missing

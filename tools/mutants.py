"""Asks whether tests notice: runs them on sources with one thing wrong in each.

    pip install -e ".[mxnet,test]"
    python tools/mutants.py --count 20 --seed 1

A mutant is one change of a syntax tree. It is imported instead of its module in a forked process,
where the tests that TESTS names run until one fails: no file is changed. What no test noticed is
printed as a diff; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src"
PASSES, READERS = "fastprop/graph/passes/", "fastprop/checkpoint/"
ROWS = ("tests/predict/test_rows.py", "tests/predict/test_arrow.py", "tests/test_csr_parts.py")
# Sources, and the tests that are there to notice.
TESTS: dict[str, tuple[str, ...]] = {
    PASSES + "fold_batch_norm.py": ("tests/graph/test_fold_batch_norm.py",),
    PASSES + "fuse_heads.py": ("tests/graph/test_fuse_heads.py",),
    PASSES + "split_sparse_layer.py": ("tests/graph/test_split_sparse_layer.py",),
    PASSES + "strip_training.py": ("tests/graph/test_strip_training.py",),
    READERS + "params.py": ("tests/checkpoint/test_params.py",),
    READERS + "directory.py": ("tests/checkpoint/test_directory.py",),
    READERS + "arrays.py": ("tests/checkpoint",),
    "fastprop/csr_parts.py": ("tests/test_csr_parts.py",),
    "fastprop/rows.py": ROWS,
    "fastprop/request_starter.py": (*ROWS, "tests/predict/test_predictor.py"),
}
# Slow tests, and those that start MXNet.
LEFT_OUT = "not mxnet and not gluon and not any_activation and not three_thousand"
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.Mod: ast.Add,
    ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or,
    ast.Or: ast.And,
}  # fmt: skip


class Mutator(ast.NodeTransformer):
    """Counts the changes that can be made, and makes the `wanted`-th."""

    def __init__(self, wanted: int = -1) -> None:
        self.wanted, self.found = wanted, 0

    def visit(self, node: ast.AST) -> ast.AST:
        # Not code that tests could notice: texts of errors, annotations of arguments.
        if isinstance(node, (ast.JoinedStr, ast.arg, ast.Import, ast.ImportFrom)):
            return node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return node
        if isinstance(node, (ast.FunctionDef, ast.AnnAssign)):
            annotation = "returns" if isinstance(node, ast.FunctionDef) else "annotation"
            kept = getattr(node, annotation)
            setattr(node, annotation, None)
            self.generic_visit(node)
            setattr(node, annotation, kept)
            return node
        changed = self.change(node)
        return changed if changed is not None else self.generic_visit(node)

    def change(self, node: ast.AST) -> ast.AST | None:
        place = "ops" if isinstance(node, ast.Compare) else "op"
        operator = getattr(node, place, None)
        first = operator[0] if isinstance(operator, list) else operator
        statement = isinstance(node, (ast.Raise, ast.Continue, ast.AugAssign)) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        )
        if type(first) in SWAPS and self.here():
            swapped = SWAPS[type(first)]()
            setattr(node, place, [swapped, *operator[1:]] if place == "ops" else swapped)
            return node
        if isinstance(first, ast.Not) and self.here():
            return node.operand
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and self.here():
            flag = isinstance(node.value, bool)
            return ast.copy_location(ast.Constant(not node.value if flag else node.value + 1), node)
        if isinstance(node, (ast.If, ast.IfExp, ast.While)) and self.here():
            node.test = ast.UnaryOp(ast.Not(), node.test)
            return node
        returns = isinstance(node, ast.Return) and ast.unparse(node) not in (
            "return",
            "return None",
        )
        if returns and self.here():
            return ast.copy_location(ast.Return(None), node)
        return ast.copy_location(ast.Pass(), node) if statement and self.here() else None

    def here(self) -> bool:
        self.found += 1
        return self.found - 1 == self.wanted


class Finder(MetaPathFinder, Loader):
    """Gives one module's import the mutant."""

    def __init__(self, source: str, tree: ast.AST) -> None:
        self.name = source.removesuffix(".py").replace("/", ".")
        self.path = str(SOURCES / source)
        self.code = compile(ast.fix_missing_locations(tree), self.path, "exec")

    def find_spec(self, name: str, path: object, target: object = None):  # noqa: ARG002
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path, loader=self)
        return None

    def exec_module(self, module: object) -> None:
        exec(self.code, module.__dict__)


def mutated(source: str, number: int) -> tuple[ast.AST, int]:
    """A source with one change (-1: none), and how many there are."""
    mutator = Mutator(number)
    return mutator.visit(ast.parse((SOURCES / source).read_text(encoding="utf-8"))), mutator.found


def start(source: str, number: int, log: Path) -> int:
    """Run the tests in a child; returns its process id."""
    if child := os.fork():
        return child
    code = 99
    try:
        os.setpgid(0, 0)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        import pytest

        sys.meta_path.insert(0, Finder(source, mutated(source, number)[0]))
        options = ["-xqpno:cacheprovider", "-Wignore:Module already imported", "--timeout=60"]
        code = pytest.main([*options, "-k", LEFT_OUT, *TESTS[source]])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--count", type=int, default=20, help="mutants of a file, at random")
    parser.add_argument("--total", type=int, help="stop after so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(TESTS), action="append", help="these files alone")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60, help="a mutant hangs after that")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    logs = ROOT / "build" / "mutants"
    logs.mkdir(parents=True, exist_ok=True)
    for name in ("pytest", "hypothesis", "numpy", "pyarrow", "scipy.sparse"):
        importlib.import_module(name)
    sources = arguments.only or list(TESTS)
    jobs = [(source, -1) for source in sources]  # first, each as it is
    sampled = []
    for source in sources:
        numbers = range(mutated(source, -1)[1])
        picked = random.Random(arguments.seed).sample(numbers, min(arguments.count, len(numbers)))
        sampled += [(source, number) for number in picked]
        print(f"{source}: {len(picked)} of {len(numbers)} mutants")
    random.Random(arguments.seed).shuffle(sampled)
    jobs = [*sampled[: arguments.total][::-1], *jobs[::-1]]
    running: dict[int, tuple[str, int, float]] = {}
    total, noticed = Counter(), Counter()
    while jobs or running:
        if jobs and len(running) < arguments.jobs:
            source, number = jobs.pop()
            log = logs / f"{Path(source).stem}.{number}.log"
            running[start(source, number, log)] = (source, number, time.monotonic())
            continue
        ended, status = os.waitpid(-1, os.WNOHANG)
        for child, (_, _, started) in running.items():
            if time.monotonic() - started > arguments.seconds and child != ended:
                os.killpg(child, signal.SIGKILL)
        if not ended:
            time.sleep(0.05)
            continue
        source, number, started = running.pop(ended)
        if number < 0:
            print(f"{source}: as it is: {time.monotonic() - started:.0f} s", flush=True)
            if status:
                raise SystemExit(f"{source}: tests fail without a change: see {logs}")
            continue
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) not in (0, 1, 2):
            raise SystemExit(f"{source} #{number}: no tests were run: see {logs}")
        total[source] += 1
        noticed[source] += status != 0
        if not status:
            texts = (ast.unparse(mutated(source, which)[0]).splitlines() for which in (-1, number))
            diff = list(difflib.unified_diff(*texts, lineterm="", n=2))[2:]
            print(f"\nsurvived: {source} #{number}", *diff, sep="\n", flush=True)
    for source in sources:
        print(f"{source}: {noticed[source]} of {total[source]} noticed")
    print(f"{sum(total.values())} mutants, {sum(noticed.values())} noticed")
    raise SystemExit(total != noticed)


if __name__ == "__main__":
    main()

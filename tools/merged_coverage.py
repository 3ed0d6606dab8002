"""Puts the counters of several builds of the same sources together, without exceptions' branches.

The compiler makes a branch of every call that may throw. gcov marks those, but not in functions
which the build in question never ran, where gcovr would count them again: a branch is left out
here if it is marked in any of the builds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Coverage = dict[str, Any]
Branch = tuple[Any, ...]


def read_counters(root: Path, objects: Path, output: Path) -> Coverage:
    """Return what gcovr makes of the counters under `objects`; `output` keeps it."""
    command = [
        *(sys.executable, "-m", "gcovr", "--root", str(root), "--filter", "csrc/"),
        *("--exclude-unreachable-branches", "--json", str(output), str(objects)),
    ]
    subprocess.run(command, cwd=root, check=True)
    coverage: Coverage = json.loads(output.read_text(encoding="utf-8"))
    return coverage


def branches(coverage: Coverage) -> Iterator[tuple[Branch, Coverage, Coverage]]:
    """Yield a key of each branch, its line and itself."""
    for file in coverage["files"]:
        for line in file["lines"]:
            for branch in line.get("branches", ()):
                place = (file["file"], line.get("function_name"), line["line_number"])
                yield (*place, branch["branchno"], branch.get("source_block_id")), line, branch


def leave_out_exceptions(coverages: Sequence[Coverage]) -> None:
    """Remove the branches that are an exception's in any of `coverages`."""
    thrown = {key for one in coverages for key, _, branch in branches(one) if branch["throw"]}
    for one in coverages:
        for key, line, branch in list(branches(one)):
            if key in thrown:
                line["branches"].remove(branch)


def merge(root: Path, objects: Sequence[Path], directory: Path) -> list[Path]:
    """Write a tracefile for gcovr of each of `objects` to `directory`; return them."""
    files = [directory / f"counters-{number}.json" for number in range(len(objects))]
    coverages = [read_counters(root, path, file) for path, file in zip(objects, files, strict=True)]
    leave_out_exceptions(coverages)
    for file, coverage in zip(files, coverages, strict=True):
        file.write_text(json.dumps(coverage), encoding="utf-8")
    return files

"""Runs the C++ programs of tests/cpp with counters of lines and branches, for a report of coverage.

Their tests compile them as they always do, in a copy beside the sources that the extensions were
built from, since counters are merged by the path of a source; the compiler that they are given adds
the counters, and has the optimisation of the extensions, since branches differ with it.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from instrumented import ROOT

PROGRAMS = "programs"
# As setup.py has it for FASTPROP_COVERAGE. What comes last counts.
COMPILER = """#!/bin/sh
case " $*" in
  */kernels/*.cpp*) level=-O1 ;;
  *) level=-O0 ;;
esac
exec {compiler} "$@" $level -g1 --coverage -fprofile-update=atomic -DFASTPROP_COUNTED
"""
# Neither the builds under sanitizers nor AVX-512 on SIMDe, which have branches of their own.
CHOSEN = "plain or packing"


def run_programs(directory: Path) -> int:
    """Compile and run in `directory`, where `csrc` is; return the exit code of pytest."""
    tests = directory / "tests"
    shutil.rmtree(tests, ignore_errors=True)
    shutil.copytree(ROOT / "tests" / "cpp", tests / "cpp", ignore=shutil.ignore_patterns("__py*"))
    shutil.copy2(ROOT / "tests" / "conftest.py", tests)
    compiler = directory / "counting-compiler"
    compiler.write_text(COMPILER.format(compiler=os.environ.get("CXX", "g++")), encoding="utf-8")
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    command = [
        *(sys.executable, "-m", "pytest", "tests/cpp", "-k", CHOSEN),
        *("--basetemp", str(directory / PROGRAMS)),  # which is emptied first
    ]
    env = {**os.environ, "CXX": str(compiler)}
    return subprocess.run(command, cwd=directory, env=env).returncode

"""Measures which lines and branches of csrc/ the tests of native code run.

    pip install -e ".[mxnet,test,coverage]"
    python tools/coverage_report.py              # or what pytest is to be given instead of PARTS

Builds the extensions without optimisation, kernels with a little of it, and with counters; needs
GCC with its gcov, and Python 3.10 or later. Programs that tests start are counted, unless they are
killed or leave by `os._exit`. The C++ programs of tests/cpp, which run the core on a stand-in for
MXNet, are built with counters as well, and counted with the rest unless --no-programs is given. A
report for a browser is left in build/coverage/report.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from counted_programs import PROGRAMS, run_programs
from instrumented import ROOT, build
from merged_coverage import merge

PARTS = (
    "tests/test_capacity.py",
    "tests/test_cpu_count.py",
    "tests/test_csr_parts.py",
    "tests/libmxnet",
    "tests/test_postprocess.py",
    "tests/predict",
    "tests/native",
    "tests/compiled",
    "tests/limits/test_numbers.py",
    "tests/concurrency",
    "tests/processes/test_lifetimes.py",
    "tests/verify",
)


def leave_out_what_cannot_run(objects: Path) -> None:
    """Drop the counters of kernels whose instructions this processor has not."""
    processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    for kernels in ("avx512*", "amx*"):
        for counters in (*objects.rglob(f"{kernels}.gcno"), *objects.rglob(f"{kernels}.gcda")):
            if counters.stem not in processor:
                counters.unlink()


def report(directory: Path) -> None:
    """Print the share of each file that was run, and write the lines themselves for a browser."""
    built = [directory / "build", *sorted((directory / PROGRAMS).glob("*[0-9]"))]
    objects = [path for path in built if any(path.rglob("*.gcda"))]
    for path in objects:
        leave_out_what_cannot_run(path)
    pages = directory / "report"
    pages.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "gcovr", "--root", str(directory)),
        "--merge-lines",  # one line, however many types or instruction sets it is compiled for
        *("--html-details", str(pages / "index.html"), "--txt", "-", "--print-summary"),
        *("--json-summary", str(pages / "summary.json")),
    ]
    for tracefile in merge(directory, objects, pages):
        command += ["--add-tracefile", str(tracefile)]
    subprocess.run(command, cwd=directory, check=True)


def main() -> None:
    """Build, run pytest and the C++ programs, and report."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "coverage")
    parser.add_argument("--keep", action="store_true", help="add to what was built and run before")
    parser.add_argument("--no-programs", action="store_true", help="leave out those of tests/cpp")
    parser.add_argument("tests", nargs="*", help="arguments of pytest")
    arguments = parser.parse_args()
    directory = arguments.build.resolve()
    sources = directory / "src"
    if not arguments.keep:
        build(directory, {"FASTPROP_COVERAGE": "1"})
    env = {**os.environ, "PYTHONPATH": str(sources)}
    program = "from fastprop import _core; print(_core.__file__)"
    loaded = subprocess.check_output([sys.executable, "-c", program], env=env, text=True)
    if sources not in Path(loaded).parents:
        raise SystemExit(f"{loaded.strip()} is not the extension with counters")
    command = [sys.executable, "-m", "pytest", *(arguments.tests or PARTS)]
    failed = subprocess.run(command, cwd=ROOT, env=env).returncode
    if not arguments.no_programs:
        failed = run_programs(directory) or failed
    report(directory)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()

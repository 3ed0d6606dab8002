"""Runs the tests of native code on extensions with sanitizers and with Cython's checks.

    pip install -e ".[mxnet,test,wheel]"
    python tools/sanitized_tests.py              # or what pytest is to be given instead of PARTS

AddressSanitizer and UndefinedBehaviorSanitizer end the run with the stack of the first fault. Needs
GCC, whose libraries of sanitizers are loaded into Python before everything else.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from instrumented import ROOT, build

SWITCHES = {"FASTPROP_SANITIZE": "address,undefined", "FASTPROP_BOUNDSCHECK": "1"}
# The C++ library has to be there before the sanitizers look for what throws exceptions.
LIBRARIES = ("libasan.so", "libubsan.so", "libstdc++.so")
OPTIONS = {
    "ASAN_OPTIONS": ":".join(
        (
            "detect_leaks=0",  # Python and its packages keep what they allocate to their end
            "allocator_may_return_null=1",  # tests ask for what no machine has
            "alloc_dealloc_mismatch=0",  # a matter of other libraries; ours are C++ throughout
        )
    ),
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # Arrow's buffers have bounds then
}
# What gives native code its data, and what damages it. Not here: what has no native code of its own
# (graph, checkpoint, features, training, io, cli), what needs another runtime (spark), and what
# measures or builds (bench, memory, packaging, cpp: this has sanitized programs of its own).
PARTS = (
    "tests/test_csr_parts.py",
    "tests/libmxnet",
    "tests/predict",
    "tests/native",
    "tests/compiled",
    "tests/limits",
    "tests/fuzz",
    "tests/concurrency",
    "tests/verify",
)
LEFT_OUT = {
    "tests/fuzz/test_targets.py::test_a_short_run_of_the_cpp_fuzzer": "has sanitizers of its own",
    "tests/fuzz/test_targets.py::test_a_short_run_under_the_fuzzer": "libFuzzer's own handlers",
    "tests/limits/test_sizes.py::test_a_batch_of_more_than_2_to_the_31_entries": "takes minutes",
}


def environment(sources: Path) -> dict[str, str]:
    """Where the extensions of `sources` are loaded, into a Python that has the sanitizers."""
    compiler = os.environ.get("CXX", "g++")
    found = [
        subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()
        for name in LIBRARIES
    ]
    paths = [str(sources), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "LD_PRELOAD": os.pathsep.join(found)}
    return {**os.environ, **OPTIONS, **own}


def check_that_it_is_watched(sources: Path, env: dict[str, str]) -> None:
    """Make sure that these extensions are the ones that tests find, and that they are checked."""
    program = "from fastprop import _core, _csr; print(_core.__file__); print(_csr.__file__)"
    loaded = subprocess.check_output([sys.executable, "-c", program], env=env, text=True)
    for path in map(Path, loaded.splitlines()):
        if sources not in path.parents or b"__asan_init" not in path.read_bytes():
            raise SystemExit(f"{path} is not the extension with sanitizers")


def main() -> None:
    """Build, and run pytest on it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "sanitized")
    parser.add_argument("--keep", action="store_true", help="run on what was built before")
    parser.add_argument("tests", nargs="*", help="arguments of pytest")
    arguments = parser.parse_args()
    directory = arguments.build.resolve()
    sources = directory / "src" if arguments.keep else build(directory, SWITCHES)
    env = environment(sources)
    check_that_it_is_watched(sources, env)
    # Else what a sanitizer says would be captured, and end with the process.
    options = ["--capture=sys", *(f"--deselect={name}" for name in LEFT_OUT)]
    command = [sys.executable, "-m", "pytest", *options, *(arguments.tests or PARTS)]
    raise SystemExit(subprocess.run(command, cwd=ROOT, env=env).returncode)


if __name__ == "__main__":
    main()

"""Worker pool, jobs, buffer pool, MXNet's arrays and predictor, by the C++ program of tests/cpp.

Three builds: plain; with ThreadSanitizer; and with AddressSanitizer, which looks for leaks as well,
and UndefinedBehaviorSanitizer. MXNet is a table of functions that stands in for it
(tests/cpp/predict/fake_mxnet.hpp), since its library knows nothing of sanitizers.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "csrc" / "fastprop"
TESTS = Path(__file__).resolve().parent
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")

SUITES = ["assist", "job", "worker_pool", "buffer_pool", "arrays", "predictor", "fork"]
STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pthread")
TRACED = ("-O1", "-g1", "-fno-omit-frame-pointer")
BUILDS = {
    "plain": ("-O2",),
    "thread": (*TRACED, "-fsanitize=thread"),
    "address": (*TRACED, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
}
OPTIONS = {
    "TSAN_OPTIONS": f"halt_on_error=1:suppressions={TESTS / 'tsan.supp'}",
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
}

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="bare machine: no C++ compiler"),
    pytest.mark.timeout(900),  # the first test of a build compiles
]


def sources() -> list[Path]:
    """The core with its scalar kernels, and the tests."""
    core = [path for path in CORE.rglob("*.cpp") if path.parent != CORE / "kernels"]
    names = ("dispatch.cpp", "pack.cpp", "scalar.cpp", "screen.cpp")
    kernels = [CORE / "kernels" / name for name in names]
    tests = [
        path
        for name in ("memory", "mxnet", "predict", "sched")
        for path in (TESTS / name).glob("*.cpp")
    ]
    return sorted([*core, *kernels, *tests, TESTS / "main.cpp"])


def call(command: list[str]) -> None:
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def build(flags: tuple[str, ...], directory: Path) -> Path:
    base = [str(COMPILER), *STRICT, *flags]
    includes = [f"-I{ROOT / 'csrc'}", f"-I{TESTS}"]

    def compile_source(source: Path) -> str:
        target = directory / "-".join(source.relative_to(ROOT).with_suffix(".o").parts)
        call([*base, *includes, "-c", str(source), "-o", str(target)])
        return str(target)

    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        objects = list(pool.map(compile_source, sources()))
    program = directory / "threads_test"
    call([*base, *objects, "-ldl", "-o", str(program)])
    return program


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        text=True,
        capture_output=True,
        timeout=240,
        env={**os.environ, **OPTIONS},
        check=False,
    )


@pytest.fixture(scope="module")
def program_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The program of a build, compiled when it is first asked for."""
    return functools.cache(lambda name: build(BUILDS[name], tmp_path_factory.mktemp(name)))


# Forks while threads are busy, plainly only: a child may find the locks of AddressSanitizer's
# allocator held by a thread that was lost, and ThreadSanitizer takes its threads for those.
@pytest.mark.parametrize(
    ("name", "suite"),
    [(name, suite) for name in BUILDS for suite in SUITES if name == "plain" or suite != "fork"],
)
def test_suite(program_of: Callable[[str], Path], name: str, suite: str) -> None:
    program = program_of(name)
    done = run([str(program), suite])
    if "unexpected memory mapping" in done.stderr:  # ThreadSanitizer, on addresses too random
        done = run(["setarch", "--addr-no-randomize", str(program), suite])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout

"""The fuzzers' targets without a fuzzer, and a short run of some under one.

What longer runs found is in test_findings.py.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import environment

ROOT = Path(__file__).resolve().parents[2]
FUZZ = ROOT / "fuzz"


def module(name):
    """A script of the folder fuzz, as a module."""
    spec = importlib.util.spec_from_file_location(name, FUZZ / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, made)
    spec.loader.exec_module(made)
    return made


targets = module("targets").TARGETS
seeds = module("seeds").seeds
mutate = module("mutate_checkpoints")


@pytest.mark.parametrize("name", targets)
def test_seeds(name):
    made = list(seeds(name))
    assert made
    for data in [*made, b"", b"\0", b"\xff" * 100]:
        targets[name](data)


@pytest.mark.parametrize("name", targets)
def test_damaged_seeds(name):
    """A few hundred, without guidance by coverage."""
    choice = random.Random(name)
    made = list(seeds(name))
    for _ in range(200):
        data = choice.choice(made)
        for _ in range(choice.randrange(1, 4)):
            data, _ = mutate.damaged(data, choice.choice(made), choice)
        targets[name](data)


def test_damaged_checkpoints(tmp_path):
    """Cases that no other run has: the first are those of the long runs."""
    done = subprocess.run(
        [
            sys.executable,
            str(FUZZ / "mutate_checkpoints.py"),
            *("--first", "1000000000", "--count", "1500", "--recycle", "500"),
            *("--findings", str(tmp_path / "findings")),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 findings" in done.stdout
    assert " scores" in done.stdout


def test_a_case_is_the_same_each_time():
    one, two = mutate.Cases(), mutate.Cases()
    for number in range(50):
        assert one.make(number) == two.make(number)


GUIDED = ("params", "rows")


@pytest.mark.parametrize("name", GUIDED)
def test_a_short_run_under_the_fuzzer(name, tmp_path):
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("bare machine: no atheris")
    fuzz(name, tmp_path)


@pytest.mark.timeout(600)  # it is compiled first, under sanitizers
def test_a_short_run_of_the_cpp_fuzzer(tmp_path):
    names = ("clang++", "clang++-14", "clang++-16", "clang++-19")
    if not any(os.access(f"/usr/bin/{name}", os.X_OK) for name in names):
        pytest.skip("bare machine: no clang++")
    fuzz("csr", tmp_path)


def fuzz(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(FUZZ / "run"), name, "--minutes", "0.07", "--work", str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    log = tmp_path / f"{name}.log"
    told = log.read_text(errors="replace")[-3000:] if log.exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + told
    assert "nothing found" in done.stdout

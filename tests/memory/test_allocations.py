"""In a steady state nothing is allocated on the hot path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.models import retail

SOURCE = Path(__file__).with_name("count_allocations.c")


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    library = tmp_path_factory.mktemp("counter") / "count_allocations.so"
    compiler = os.environ.get("CC", "").split() or [shutil.which("gcc") or "cc"]
    subprocess.run(
        [*compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)],
        check=True,
        timeout=60,
    )
    return library


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    # Scores of a tile of 64 rows: 51 KB, so that a buffer for them would be seen.
    retail(folder, n_heads=200, hidden=(32, 16))
    return folder


def counted(counter, checkpoint, engine, threads, n_rows):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "support.allocation_program"),
            *(str(checkpoint), engine, str(threads), str(n_rows)),
        ],
        env={
            **os.environ,
            "LD_PRELOAD": str(counter),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n_rows", [1, 32, 500])
def test_the_native_engine_allocates_nothing_on_the_hot_path(counter, checkpoint, threads, n_rows):
    found = counted(counter, checkpoint, "native", threads, n_rows)
    assert (found["tiles"] > 1) == (n_rows > 32)
    for kind in ("predict", "predict_top_k"):
        # No worker allocates anything.
        assert found[kind]["others"] == 0, found
    # The caller makes small objects of the call, and NumPy's arrays for what it gives back.
    calls = found["calls"]
    assert found["predict"]["caller_large"] == 0, found
    assert found["predict_top_k"]["caller_large"] <= 2 * calls, found
    assert found["predict"]["caller"] <= 60 * calls, found


def test_the_counter_counts(counter, checkpoint):
    # MXNet's operators allocate by themselves; ours beside them do not add to the caller's.
    found = counted(counter, checkpoint, "mxnet", 2, 500)
    assert found["predict"]["others"] > found["calls"] * found["tiles"]
    assert found["predict"]["caller_large"] == 0, found

"""Every way in which processes come from others scores the same on all sides, and never hangs."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from support.models import listed, retail, rows_for
from support.programs import run_program

from fastprop.fork_safe_lock import ForkSafeLock

from .programs import N_ROWS, PROGRAMS

PROGRAM = Path(__file__).parent / "programs.py"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A checkpoint, and the scores of its rows by each engine."""
    directory = tmp_path_factory.mktemp("model")
    retail(directory, n_heads=20)
    return directory


@pytest.fixture(scope="module")
def wanted(directory):
    """Write what an engine gives in a process that never forks, once for each engine."""
    folders = {}
    for engine in ("native", "mxnet"):
        folder = directory.parent / f"{directory.name}-{engine}"
        folder.mkdir()
        for file in directory.iterdir():
            os.link(file, folder / file.name)
        run_program(WANTED, folder, engine, N_ROWS)
        folders[engine] = folder
    return folders


WANTED = """
import sys
import numpy as np
import fastprop
from support.models import rows_for
directory, engine, n_rows = sys.argv[1:]
model = fastprop.load_model(directory)
with model.predictor(engine=engine, threads=1, batch_size=8) as predictor:
    np.save(directory + "/wanted.npy", predictor.predict(rows_for(model, int(n_rows))))
"""


# Pools that start interpreters take seconds: there, one number of threads an engine.
CASES = [
    (name, engine, threads)
    for name in PROGRAMS
    for engine, threads in (("native", 1), ("native", 2), ("mxnet", 2))
    if not name.startswith("pool-") or (engine, threads) != ("native", 1)
]


@pytest.mark.parametrize(("name", "engine", "threads"), CASES)
def test_both_sides_score(wanted, name, engine, threads):
    assert run_program(PROGRAM, name, wanted[engine], engine, threads) == "ok\n"


def in_child(body):
    """The exit code of a forked child that runs `body`, or None after 20 s."""
    child = os.fork()
    if not child:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    timer = threading.Timer(20, os.kill, (child, 9))
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    return status


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_lock_that_another_thread_held_is_free_in_the_child(directory):
    """What `while-predicting` meets by chance, for sure."""
    held, done = threading.Event(), threading.Event()

    def hold(lock):
        with lock:
            held.set()
            done.wait(30)

    import fastprop

    model = fastprop.load_model(directory)
    rows = listed(rows_for(model, 5))
    with model.predictor(threads=1) as predictor:
        scores = predictor.predict(rows)
        for lock in (predictor._lock, model._lock, ForkSafeLock()):
            held.clear()
            done.clear()
            thread = threading.Thread(target=hold, args=(lock,))
            thread.start()
            held.wait(30)

            def child(lock=lock):
                with lock:
                    pass
                np.testing.assert_array_equal(predictor.predict(rows), scores)
                predictor.predict_outputs(rows)
                with model.predictor(threads=1) as other:
                    np.testing.assert_array_equal(other.predict(rows), scores)

            try:
                assert in_child(child) == 0
            finally:
                done.set()
                thread.join(30)
            with lock:
                pass

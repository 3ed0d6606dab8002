"""Many callers, interrupts, forks: the right answers or a clear error, never a hang."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.models import retail, rows_for
from support.programs import run_program

import fastprop
from fastprop import _core


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("model"), n_heads=30)


def test_eight_callers_on_one_predictor(model):
    rows = [rows_for(model, n, seed=n) for n in (1, 5, 17, 40, 64, 100, 3, 33)]
    with model.predictor(threads=3, batch_size=16) as predictor:
        predictor.warm_up()
        live = predictor.stats().pool.live
        wanted = [predictor.predict(part) for part in rows]

        def call(number):
            for _ in range(30):
                np.testing.assert_array_equal(predictor.predict(rows[number]), wanted[number])
                top = predictor.predict_top_k(rows[number], k=1)
                np.testing.assert_array_equal(top.indices[:, 0], wanted[number].argmax(axis=1))
                with pytest.raises(fastprop.InvalidInputError):
                    predictor.predict([([10**6], [1.0])])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, range(8)))
        stats = predictor.stats()
    assert stats.pool.live == live
    assert stats.rows == 31 * 263 + 30 * 263


def test_predictors_share_the_workers(model):
    with model.predictor(threads=2) as first, model.predictor(threads=2) as second:
        rows = rows_for(model, 10)
        np.testing.assert_array_equal(first.predict(rows), second.predict(rows))
    before = _core.worker_count()
    for _ in range(20):
        with model.predictor(threads=2) as predictor:
            predictor.predict(rows)
    assert _core.worker_count() == before


OPENS = """
import sys, threading, time
import numpy as np
import fastprop
from support.models import rows_for
directory, engine = sys.argv[1:]
model = fastprop.load_model(directory)
rows = rows_for(model, 40)
with model.predictor(engine=engine, threads=1) as predictor:
    wanted = predictor.predict(rows)
failures = []
end = time.monotonic() + 3
def open_many():
    try:
        while time.monotonic() < end:
            with fastprop.load_model(directory).predictor(
                engine=engine, threads=2, batch_size=8
            ) as predictor:
                np.testing.assert_allclose(predictor.predict(rows), wanted, rtol=0, atol=2e-6)
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=open_many) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failures, failures
print("ok")
"""


@pytest.mark.parametrize("engine", ["native", "mxnet"])
def test_threads_open_models_side_by_side(model, engine):
    # MXNet binds with objects of the whole process: two binds at once corrupt its heap.
    assert run_program(OPENS, model.path.parent, engine) == "ok\n"


def test_close_while_others_predict(model):
    rows = rows_for(model, 200)
    for _ in range(10):
        predictor = model.predictor(threads=2, batch_size=4)
        wanted = predictor.predict(rows)
        failures = []

        def call(predictor=predictor, wanted=wanted, failures=failures):
            try:
                while True:
                    np.testing.assert_array_equal(predictor.predict(rows), wanted)
            except fastprop.PredictorClosedError:
                pass
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        predictor.close()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not failures


def score_in_child(predictor, rows, wanted, queue):
    try:
        queue.put(bool(np.array_equal(predictor.predict(rows), wanted)))
    except BaseException as error:
        queue.put(repr(error))


def run_forked(predictor, rows, wanted):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=score_in_child, args=(predictor, rows, wanted, queue))
    child.start()
    try:
        return queue.get(timeout=60)
    finally:
        child.join(20)
        child.kill()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("engine", ["native", "mxnet"])
def test_fork_after_use_and_while_another_thread_predicts(model, engine):
    rows = rows_for(model, 50)
    with model.predictor(threads=2, batch_size=8, engine=engine) as predictor:
        wanted = predictor.predict(rows)
        assert run_forked(predictor, rows, wanted) is True
        stop = threading.Event()

        def keep_busy():
            while not stop.is_set():
                predictor.predict(rows)

        thread = threading.Thread(target=keep_busy)
        thread.start()
        try:
            for _ in range(5):
                assert run_forked(predictor, rows, wanted) is True
        finally:
            stop.set()
            thread.join(30)
        np.testing.assert_array_equal(predictor.predict(rows), wanted)


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import fastprop
from support.models import rows_for
model = fastprop.load_model(sys.argv[1])
rows = rows_for(model, 400)
big = fastprop.CSR(
    np.concatenate([[0], np.cumsum(np.tile(np.diff(rows.indptr), 500))]),
    np.tile(rows.indices, 500), np.tile(rows.data, 500), (200_000, model.n_features))
with model.predictor(batch_size=64) as predictor:
    small = predictor.predict(rows)
    for use in (lambda: predictor.predict(big), lambda: predictor.predict_top_k(big)):
        use()
        timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
        sent = time.perf_counter()
        try:
            timer.start()
            while True:
                use()
        except KeyboardInterrupt:
            waited = time.perf_counter() - sent - 0.05
        assert np.array_equal(predictor.predict(rows), small)
        print("waited", waited)
"""


def test_an_interrupt_ends_a_long_call_and_leaves_the_predictor_usable(model):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(model.path.parent)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("waited") == 2


EXITING = """
import sys, threading
import fastprop
from support.models import rows_for
model = fastprop.load_model(sys.argv[1])
predictor = model.predictor(threads=2, batch_size=8)
rows = rows_for(model, 300)
predictor.predict(rows)
def loop():
    while True:
        predictor.predict(rows)
for _ in range(2):
    threading.Thread(target=loop, daemon=True).start()
print("leaving")
"""


def test_exit_while_daemon_threads_predict(model):
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", EXITING, str(model.path.parent)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (done.returncode, done.stderr)
        assert done.stdout.strip() == "leaving"


def test_signals_are_not_lost(model):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        with model.predictor() as predictor:
            os.kill(os.getpid(), signal.SIGUSR1)
            predictor.predict(rows_for(model, 20))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen

"""Ways to fork, each a program: python programs.py NAME MODEL_DIR ENGINE THREADS.

Every one scores on all sides of its forks and prints "ok"; a child that fails or hangs fails it.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from support.models import listed, rows_for

import fastprop

SECONDS = 40
N_ROWS = 64  # whole tiles: what MXNet gives depends on the size of a batch in the last place


class Setting:
    """What the programs are given."""

    def __init__(self, directory: str, engine: str, threads: int) -> None:
        self.directory = directory
        self.engine = engine
        self.threads = threads

    def load(self) -> fastprop.Model:
        return fastprop.load_model(self.directory)

    def predictor(self, model: fastprop.Model) -> fastprop.Predictor:
        return model.predictor(engine=self.engine, threads=self.threads, batch_size=8)


def check(predictor: fastprop.Predictor, wanted: np.ndarray) -> None:
    """Score in every way that there is."""
    rows = rows_for(predictor.model, N_ROWS)
    np.testing.assert_array_equal(predictor.predict(rows), wanted)
    np.testing.assert_array_equal(predictor.predict(listed(rows)), wanted)
    top = predictor.predict_top_k(rows, k=1)
    np.testing.assert_array_equal(top.indices[:, 0], wanted.argmax(axis=1))
    assert predictor.stats().rows >= 3 * N_ROWS


def anew(setting: Setting, wanted: np.ndarray) -> None:
    with setting.predictor(setting.load()) as predictor:
        check(predictor, wanted)


def fork(body: Callable[[], Any]) -> int:
    """Run `body` in a forked child, which leaves through the interpreter's own exit."""
    child = os.fork()
    if child:
        return child
    signal.alarm(SECONDS)
    try:
        body()
    except SystemExit:
        raise  # a child of this child leaves
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.exit(0)


def join(*children: int) -> None:
    """Wait for children; a signal or an exit code of theirs is an error here."""
    for child in children:
        deadline = time.monotonic() + SECONDS + 5
        while True:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                assert status == 0, f"a child ended with status {status:#x}"
                break
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                raise AssertionError("a child hung")
            time.sleep(0.005)


def before_load(setting: Setting, wanted: np.ndarray) -> None:
    children = [fork(lambda: anew(setting, wanted)) for _ in range(2)]
    anew(setting, wanted)
    join(*children, fork(lambda: anew(setting, wanted)))


def after_load(setting: Setting, wanted: np.ndarray) -> None:
    model = setting.load()

    def child() -> None:
        with setting.predictor(model) as predictor:
            check(predictor, wanted)

    first = fork(child)
    child()
    join(first, fork(child))


def after_predict(setting: Setting, wanted: np.ndarray) -> None:
    """As servers preload: load and score, fork workers that all score, replace one that ends."""
    with setting.predictor(setting.load()) as predictor:
        check(predictor, wanted)
        workers = [fork(lambda: check(predictor, wanted)) for _ in range(4)]
        check(predictor, wanted)
        join(*workers)
        killed = fork(lambda: [check(predictor, wanted) for _ in range(10**9)])
        time.sleep(0.1)
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
        join(*[fork(lambda: check(predictor, wanted)) for _ in range(2)])
        check(predictor, wanted)


def after_close(setting: Setting, wanted: np.ndarray) -> None:
    model = setting.load()
    predictor = setting.predictor(model)
    check(predictor, wanted)
    predictor.close()

    def child() -> None:
        try:
            check(predictor, wanted)
        except fastprop.PredictorClosedError:
            with setting.predictor(model) as other:
                check(other, wanted)
            return
        raise AssertionError("a closed predictor scored")

    join(fork(child))


def while_predicting(setting: Setting, wanted: np.ndarray) -> None:
    with setting.predictor(setting.load()) as predictor:
        check(predictor, wanted)
        stop = threading.Event()
        failures: list[BaseException] = []

        def keep_busy() -> None:
            try:
                while not stop.is_set():
                    check(predictor, wanted)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=keep_busy, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            join(fork(lambda: check(predictor, wanted)))
        stop.set()
        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        assert not failures, failures
        check(predictor, wanted)


def while_loading(setting: Setting, wanted: np.ndarray) -> None:
    """Other threads load models and open predictors at the moment of the fork."""
    anew(setting, wanted)
    model = setting.load()
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            anew(setting, wanted)

    threads = [threading.Thread(target=keep_busy, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        join(fork(lambda: anew(setting, wanted)))
        with setting.predictor(model) as predictor:
            check(predictor, wanted)
    stop.set()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def in_mid_stream(setting: Setting, wanted: np.ndarray) -> None:
    """A stream has a batch under way: it is the parent's, and the child is told so."""
    with setting.predictor(setting.load()) as predictor:
        rows = rows_for(predictor.model, N_ROWS)
        big = [listed(rows) * 200] * 4
        stream = predictor.stream(big)
        wanted_big = np.tile(wanted, (200, 1))
        np.testing.assert_array_equal(next(stream), wanted_big)

        def go_on() -> None:
            results = 0
            try:
                for scores in stream:
                    np.testing.assert_array_equal(scores, wanted_big)
                    results += 1
            except fastprop.EngineError as error:
                if "forked" not in str(error):
                    raise
            else:
                # The batch under way was done before the fork, and later ones are the child's own.
                assert results == 3
            check(predictor, wanted)

        children = [fork(go_on), fork(lambda: stream.close()), fork(lambda: None)]
        for scores in stream:
            np.testing.assert_array_equal(scores, wanted_big)
        join(*children)


def of_a_fork(setting: Setting, wanted: np.ndarray) -> None:
    """As PySpark's daemon: a child in a session of its own forks a worker for each task."""
    with setting.predictor(setting.load()) as predictor:
        check(predictor, wanted)

        def worker() -> None:
            for _ in range(3):
                check(predictor, wanted)
                anew(setting, wanted)

        def daemon() -> None:
            os.setsid()
            join(*[fork(worker) for _ in range(2)])
            check(predictor, wanted)
            join(*[fork(worker) for _ in range(2)])

        join(fork(daemon))
        check(predictor, wanted)


_held: dict[str, Any] = {}


def open_held(directory: str, engine: str, threads: int) -> None:
    setting = Setting(directory, engine, threads)
    _held["predictor"] = setting.predictor(setting.load())


def score_held(n_rows: int) -> np.ndarray:
    predictor = _held["predictor"]
    return predictor.predict(rows_for(predictor.model, n_rows))


def pool(method: str) -> Callable[[Setting, np.ndarray], None]:
    """Pools of `multiprocessing` and `concurrent.futures`, whose parent scores too."""

    def program(setting: Setting, wanted: np.ndarray) -> None:
        context = multiprocessing.get_context(method)
        given = (setting.directory, setting.engine, setting.threads)
        with setting.predictor(setting.load()) as predictor:
            check(predictor, wanted)
            with context.Pool(2, open_held, given) as workers:
                for scores in workers.map(score_held, [N_ROWS] * 6, chunksize=1):
                    np.testing.assert_array_equal(scores, wanted)
                check(predictor, wanted)
            with ProcessPoolExecutor(2, context, open_held, given) as executor:
                for scores in executor.map(score_held, [N_ROWS] * 6):
                    np.testing.assert_array_equal(scores, wanted)
            if method == "fork":
                # Workers that take the parent's predictor as it is.
                _held["predictor"] = predictor
                with context.Pool(2) as workers:
                    for scores in workers.map(score_held, [N_ROWS] * 6, chunksize=1):
                        np.testing.assert_array_equal(scores, wanted)
            check(predictor, wanted)

    return program


PROGRAMS: dict[str, Callable[[Setting, np.ndarray], None]] = {
    "before-load": before_load,
    "after-load": after_load,
    "after-predict": after_predict,
    "after-close": after_close,
    "while-predicting": while_predicting,
    "while-loading": while_loading,
    "in-mid-stream": in_mid_stream,
    "of-a-fork": of_a_fork,
    "pool-spawn": pool("spawn"),
    "pool-fork": pool("fork"),
    "pool-forkserver": pool("forkserver"),
}


def main() -> None:
    # Says where a process was that takes too long, and ends it. Alarms are not inherited.
    faulthandler.register(signal.SIGALRM, chain=True)
    signal.alarm(SECONDS + 10)
    # Python 3.12 and later warn of every fork beside threads.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    name, directory, engine, threads = sys.argv[1:]
    PROGRAMS[name](
        Setting(directory, engine, int(threads)), np.load(os.path.join(directory, "wanted.npy"))
    )
    print("ok", flush=True)


if __name__ == "__main__":
    main()

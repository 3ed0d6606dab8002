"""Closed, dropped, forgotten, in use while the interpreter ends: errors, no crash, no hang."""

from __future__ import annotations

import gc
import pickle
import threading
import time
import weakref

import numpy as np
import pytest
from support.models import listed, retail, rows_for
from support.programs import run_program

import fastprop

ENGINES = ["native", "mxnet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("model"), n_heads=20)


def calls(predictor, rows):
    return {
        "predict": lambda: predictor.predict(rows),
        "predict a list": lambda: predictor.predict(listed(rows)),
        "predict nothing": lambda: predictor.predict([]),
        "predict_top_k": lambda: predictor.predict_top_k(rows, k=2),
        "predict_outputs": lambda: predictor.predict_outputs(rows),
        "stream": lambda: list(predictor.stream([rows])),
        "warm_up": lambda: predictor.warm_up(),
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_every_call_after_close_says_so(model, engine):
    rows = rows_for(model, 10)
    predictor = model.predictor(engine=engine, threads=2)
    for call in calls(predictor, rows).values():
        call()
    stats = predictor.stats()
    predictor.close()
    predictor.close()
    assert predictor.closed
    assert predictor.stats().rows == stats.rows
    for name, call in calls(predictor, rows).items():
        with pytest.raises(fastprop.PredictorClosedError, match="closed"):
            pytest.fail(f"{name} gave {call()}")
    with pytest.raises(fastprop.PredictorClosedError), predictor:
        predictor.predict(rows)


@pytest.mark.parametrize("engine", ENGINES)
def test_close_in_mid_stream(model, engine):
    rows = [rows_for(model, 50, seed=seed) for seed in range(6)]
    with model.predictor(engine=engine, threads=2, batch_size=4) as predictor:
        wanted = [predictor.predict(part) for part in rows]
        stream = predictor.stream(iter(rows))
        np.testing.assert_array_equal(next(stream), wanted[0])
    # The batch under way ends as usual; the next cannot begin.
    np.testing.assert_array_equal(next(stream), wanted[1])
    with pytest.raises(fastprop.PredictorClosedError):
        list(stream)


@pytest.mark.parametrize("engine", ENGINES)
def test_close_from_many_threads_while_others_predict_in_every_way(model, engine):
    rows = rows_for(model, 100)
    for _ in range(5):
        predictor = model.predictor(engine=engine, threads=2, batch_size=4)
        predictor.predict(rows)
        failures = []

        def use(call, failures=failures):
            try:
                while True:
                    call()
            except fastprop.PredictorClosedError:
                pass
            except BaseException as error:
                failures.append(error)

        threads = [
            threading.Thread(target=use, args=(call,)) for call in calls(predictor, rows).values()
        ]
        closers = [threading.Thread(target=predictor.close) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        for thread in closers:
            thread.start()
        for thread in [*closers, *threads]:
            thread.join(30)
            assert not thread.is_alive()
        assert not failures


@pytest.mark.parametrize("engine", ENGINES)
def test_results_and_predictors_outlive_what_they_come_from(tmp_path, engine):
    made = retail(tmp_path, n_heads=5)
    rows = rows_for(made, 30)
    predictor = made.predictor(engine=engine, threads=2, batch_size=4)
    gone = weakref.ref(made)
    scores = predictor.predict(rows)
    del made
    again = predictor.predict(rows)
    np.testing.assert_array_equal(again, scores)
    heads = predictor.predict_outputs(rows)
    kept = scores.copy()
    del predictor
    gc.collect()
    assert gone() is None
    np.testing.assert_array_equal(scores, kept)
    assert len(heads) == 5


def test_dropping_an_unfinished_stream_ends_its_batch(model):
    rows = rows_for(model, 2000)
    with model.predictor(threads=2, batch_size=4) as predictor:
        predictor.warm_up()  # what each worker keeps for itself
        live = predictor.stats().pool.live
        for _ in range(20):
            stream = predictor.stream([listed(rows)] * 3)
            next(stream)
            del stream
            gc.collect()
            assert predictor.stats().pool.live == live


@pytest.mark.parametrize("what", ["model", "predictor"])
def test_pickling_says_what_to_do_instead(model, what):
    with model.predictor() as predictor:
        subject = model if what == "model" else predictor
        with pytest.raises(fastprop.DTypeError, match="load the model in each process"):
            pickle.dumps(subject)


START = """
import atexit, gc, sys, threading, time
import numpy as np
import fastprop
from support.models import listed, rows_for
model = fastprop.load_model(sys.argv[1])
predictor = model.predictor(engine=sys.argv[2], threads=2, batch_size=8)
rows = rows_for(model, 300)
scores = predictor.predict(rows)
"""

ENDINGS = {
    "a predictor that was never closed": "",
    "a call under way in a daemon thread": """
def loop():
    while True:
        predictor.predict(rows)
for _ in range(2):
    threading.Thread(target=loop, daemon=True).start()
time.sleep(0.02)
""",
    "lists and streams under way in daemon threads": """
def loop():
    while True:
        for _ in predictor.stream([listed(rows)] * 5):
            pass
for _ in range(2):
    threading.Thread(target=loop, daemon=True).start()
time.sleep(0.02)
""",
    "daemon threads that open and close predictors": """
def loop():
    while True:
        with model.predictor(engine=sys.argv[2], threads=2) as other:
            other.predict(rows)
for _ in range(2):
    threading.Thread(target=loop, daemon=True).start()
time.sleep(0.02)
""",
    "a thread that outlives the main one": """
def late():
    time.sleep(0.1)
    for _ in range(20):
        assert np.array_equal(predictor.predict(rows), scores)
threading.Thread(target=late).start()
""",
    "a call at exit": """
atexit.register(lambda: predictor.predict(rows))
""",
    "a stream that was never finished": """
stream = predictor.stream([rows] * 3)
next(stream)
""",
    "a call from a finaliser": """
class Last:
    def __init__(self, predictor, rows):
        self.parts = predictor, rows
    def __del__(self):
        predictor, rows = self.parts
        try:
            predictor.predict(rows)
        except BaseException:
            pass
last = Last(predictor, rows)
last.itself = last
""",
    "a cycle around a predictor": """
class Holder:
    pass
holder = Holder()
holder.predictor, holder.self = predictor, holder
del predictor, holder
""",
    "an exit in the middle of a with": """
with predictor:
    sys.exit(0)
""",
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_with(model, ending, engine):
    program = START + ENDINGS[ending]
    if "sys.exit" not in program:
        program += "\nprint('leaving', flush=True)\n"
    printed = run_program(program, model.path.parent, engine, seconds=40)
    assert printed.strip() in ("leaving", "")

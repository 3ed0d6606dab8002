"""Signals: a call ends within 200 ms or one tile, what was given stays whole, and work goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.models import retail, rows_for
from support.programs import environment, run_program

# Scores 100,000 rows, is interrupted at some moment, and looks at what is left.
INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import fastprop
from support.models import listed, rows_for

directory, engine, what = sys.argv[1:]
model = fastprop.load_model(directory)
rows = rows_for(model, 400)
big = fastprop.CSR(
    np.concatenate([[0], np.cumsum(np.tile(np.diff(rows.indptr), 250))]),
    np.tile(rows.indices, 250), np.tile(rows.data, 250), (100_000, model.n_features))

class Ended(BaseException):
    pass

def end(*_):
    raise Ended

signal.signal(signal.SIGTERM, end)
number, raised = {"int": (signal.SIGINT, KeyboardInterrupt), "term": (signal.SIGTERM, Ended)}[what]
UNTOUCHED = np.float32(-7)
with model.predictor(engine=engine, batch_size=64) as predictor:
    small = predictor.predict(rows)
    wanted = np.tile(small, (250, 1))
    out = np.empty_like(wanted)
    many = listed(rows) * 50
    uses = {
        "predict": lambda: predictor.predict(big),
        "out": lambda: predictor.predict(big, out=out),
        "listed": lambda: predictor.predict(many),
        "top_k": lambda: predictor.predict_top_k(big, k=3),
        "stream": lambda: [None for _ in predictor.stream([big, big])],
    }
    for name, use in uses.items():
        use()
        sent = []
        def send():
            sent.append(time.perf_counter())
            os.kill(os.getpid(), number)
        for delay in (0.03, 0.06, 0.09):
            out[:] = UNTOUCHED
            timer = threading.Timer(delay, send)
            timer.start()
            try:
                while True:
                    out[:] = UNTOUCHED
                    use()
            except raised:
                waited = time.perf_counter() - sent.pop()
            print(name, waited)
            if name == "out":
                # Each row is as it was, or has its scores.
                done = out[:, 0] != UNTOUCHED
                assert (out[~done] == UNTOUCHED).all()
                assert np.array_equal(out[done], wanted[done])
        assert np.array_equal(predictor.predict(rows), small)
    live = predictor.stats().pool.live
    assert live < 64 << 20, live
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("model"), n_heads=60, n_features=5000)


@pytest.mark.parametrize(
    ("engine", "what"), [("native", "int"), ("mxnet", "int"), ("native", "term")]
)
def test_a_signal_ends_any_call_soon_and_leaves_the_predictor_usable(model, engine, what):
    printed = run_program(INTERRUPTED, model.path.parent, engine, what, seconds=120)
    waits = {}
    for line in printed.splitlines():
        name, waited = line.split()
        waits.setdefault(name, []).append(float(waited))
    assert set(waits) == {"predict", "out", "listed", "top_k", "stream"}
    for name, seconds in waits.items():
        # The middle of three: on a busy machine one of them may be late for its own reasons.
        assert len(seconds) == 3
        assert sorted(seconds)[1] < 0.2, (name, seconds)


PARTS = ("--part-rows", "4000", "--batch-rows", "500")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A checkpoint, and a file of rows that takes a while to score."""
    folder = tmp_path_factory.mktemp("job")
    model = retail(folder / "model", n_heads=300, n_features=5000)
    rows = rows_for(model, 400)
    offsets = pa.array(np.concatenate([[0], np.cumsum(np.tile(np.diff(rows.indptr), 100))]))
    table = pa.table(
        {
            "customer_id": np.arange(40_000),
            "indices": pa.LargeListArray.from_arrays(offsets, pa.array(np.tile(rows.indices, 100))),
            "values": pa.LargeListArray.from_arrays(offsets, pa.array(np.tile(rows.data, 100))),
        }
    )
    pq.write_table(table, folder / "rows.parquet", row_group_size=4000)
    return folder


# Progress is shown at once, as it is on a slow machine.
COMMAND = """
from fastprop.cli import app, console
console._SHOW_AFTER = 0
app.main()
"""


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "score", "model", "rows.parquet", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def wait_for(process, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def all_files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def uninterrupted(job):
    process = start(job, "--output", "whole/", *PARTS)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return all_files(job / "whole")


SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
def test_a_scoring_run_is_ended_and_resumed(job, uninterrupted, number, code, word):
    output = job / f"parts-{word}"
    process = start(job, "--output", f"{output.name}/", *PARTS)
    # In the third part: two are whole.
    wait_for(process, lambda: (output / "part-00001.parquet").exists())
    process.send_signal(number)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=60)
    waited = time.monotonic() - sent
    assert process.returncode == code, errors
    assert errors.strip().endswith(word)
    assert "Traceback" not in errors
    assert waited < 5
    left = all_files(output)
    assert not (output / "_manifest.json").exists()
    for name, data in left.items():
        assert "unfinished" not in name
        assert not name.rpartition("/")[2].startswith(".")
        if name.endswith(".parquet"):
            assert data == uninterrupted[name]
    resumed = start(job, "--output", f"{output.name}/", *PARTS, "--resume")
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    assert "were there from an earlier run" in errors
    after = all_files(output)
    assert {name: data for name, data in after.items() if name.endswith("parquet")} == {
        name: data for name, data in uninterrupted.items() if name.endswith("parquet")
    }
    manifests = [json.loads(files["_manifest.json"]) for files in (after, uninterrupted)]
    assert manifests[0]["parts"] == manifests[1]["parts"]


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
def test_an_older_file_stays_when_a_run_is_ended(job, number, code, word):
    folder = job / f"single-{word}"
    folder.mkdir()
    (folder / "scores.csv").write_text("older\n")
    process = start(job, "--output", f"{folder.name}/scores.csv")
    wait_for(process, lambda: len(os.listdir(folder)) > 1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert os.listdir(folder) == ["scores.csv"]
    assert (folder / "scores.csv").read_text() == "older\n"


def test_a_command_that_ignores_sigterm_from_its_parent_goes_on_ignoring_it(job):
    """As `nohup` does for SIGHUP: who has decided otherwise is left alone."""
    process = subprocess.Popen(
        [sys.executable, "-c", IGNORING, "score", "model", "rows.parquet", "--output", "ig.csv"],
        cwd=job,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    wait_for(process, lambda: any("ig.csv" in name for name in os.listdir(job)))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


IGNORING = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
from fastprop.cli import main
main(sys.argv[1:])
"""

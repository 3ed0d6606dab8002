"""What SECURITY.md says of a process that loads and scores, seen from inside and outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from support.models import retail
from support.programs import environment, run_program

from fastprop.libmxnet.library import find_mxnet_library

AUDITED = """
import sys
import numpy as np
import fastprop, fastprop.io
directory, engine = sys.argv[1:]
# Once before, so that what is imported late is there.
with fastprop.load_model(directory).predictor(engine=engine, threads=1) as predictor:
    predictor.predict([([0], [1.0])])
    predictor.predict_outputs([([0], [1.0])])
events = []
sys.addaudithook(lambda event, arguments: events.append((event, arguments)))
with fastprop.load_model(directory).predictor(engine=engine, threads=1) as predictor:
    predictor.predict([([0], [1.0])])
    predictor.predict_outputs([([0], [1.0])])
for event, arguments in list(events):
    if event == "open":
        print("open", arguments[0])
    elif event == "os.listdir":
        print("open", arguments[0])
    elif not event.startswith(("object.", "gc.", "builtins.id", "sys._getframe", "mmap.")):
        print(event, arguments)
"""


@pytest.mark.parametrize("engine", ["native", "mxnet"])
def test_loading_and_scoring_opens_the_checkpoint_and_nothing_else(tmp_path, engine):
    retail(tmp_path)
    for line in run_program(AUDITED, tmp_path, engine).splitlines():
        event, _, path = line.partition(" ")
        assert event == "open", line
        assert path.startswith(str(tmp_path)), line


MAPPED = """
import sys
import fastprop
with fastprop.load_model(sys.argv[1]).predictor(engine="mxnet", threads=1) as predictor:
    predictor.predict([([0], [1.0])])
for line in open("/proc/self/maps"):
    if "libmxnet" in line:
        print(line.split(maxsplit=5)[5].strip())
"""


@pytest.mark.parametrize("stated", [False, True])
def test_the_library_that_is_loaded_is_the_one_that_doctor_names(tmp_path, monkeypatch, stated):
    retail(tmp_path / "model")
    library = find_mxnet_library()
    if stated:
        # Another file of the same content, by a path of its own.
        elsewhere = tmp_path / "libmxnet.so"
        try:
            os.link(library, elsewhere)
        except OSError:
            elsewhere.write_bytes(library.read_bytes())
        for beside in library.parent.glob("lib*.so*"):
            if beside != library:
                (tmp_path / beside.name).symlink_to(beside)
        library = elsewhere
        monkeypatch.setenv("MXNET_LIBRARY_PATH", str(library))
    done = subprocess.run(
        [sys.executable, "-m", "fastprop.cli", "doctor", "--json"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    named = json.loads(done.stdout)["engine"]["library"]
    mapped = set(run_program(MAPPED, tmp_path / "model").split())
    assert mapped == {named}
    assert os.path.samefile(named, library)


CHANGED = """
import os, sys
from pathlib import Path
import numpy as np
import fastprop
directory, how = Path(sys.argv[1]), sys.argv[2]
model = fastprop.load_model(directory)
rows = [([i], [1.0]) for i in range(model.n_features)]
with model.predictor(threads=1) as predictor:
    before = predictor.predict(rows)
    params = model.path
    if how == "truncated":
        os.truncate(params, 4096)
    else:
        other = params.with_name("new")
        other.write_bytes(b"\\xff" * params.stat().st_size)
        os.replace(other, params)
    after = predictor.predict(rows)
    print(np.array_equal(before, after))
"""


def test_a_checkpoint_that_is_replaced_by_renaming_stays_as_it_was(tmp_path):
    retail(tmp_path, n_features=20_000)
    assert run_program(CHANGED, tmp_path, "replaced") == "True\n"


def test_a_checkpoint_that_is_truncated_in_place_ends_the_process(tmp_path):
    """By SIGBUS, as SECURITY.md says: there are no scores of what is not there."""
    retail(tmp_path, n_features=20_000)
    done = subprocess.run(
        [sys.executable, "-c", CHANGED, str(tmp_path), "truncated"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGBUS
    assert done.stdout == ""

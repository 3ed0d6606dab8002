"""Finding libmxnet, loading it beside any NumPy, and saying what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.models import retail

import fastprop
from fastprop import _core
from fastprop.libmxnet.library import find_mxnet_library


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


SCORE = """
import sys
import fastprop
if len(sys.argv) > 2:
    import importlib.util, fastprop.libmxnet.library
    fastprop.libmxnet.library.importlib.util.find_spec = lambda name: None
with fastprop.load_model(sys.argv[1]).predictor(engine="mxnet") as predictor:
    print(predictor.predict([([1, 5], [1.0, 2.0])]).shape)
print("mxnet" in sys.modules)
"""


def test_the_path_may_be_the_file_or_its_folder(tmp_path, monkeypatch):
    library = find_mxnet_library()
    assert library is not None
    for stated in (library, library.parent):
        monkeypatch.setenv("MXNET_LIBRARY_PATH", str(stated))
        assert find_mxnet_library() == library
    monkeypatch.setenv("MXNET_LIBRARY_PATH", str(tmp_path / "none"))
    with pytest.raises(fastprop.EngineError, match="MXNET_LIBRARY_PATH"):
        find_mxnet_library()


def test_scoring_needs_the_library_and_not_the_package(tmp_path):
    model = retail(tmp_path)
    library = find_mxnet_library()
    done = run(SCORE, tmp_path, "no package", MXNET_LIBRARY_PATH=str(library))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["(1,", f"{model.n_labels})", "False"]
    assert done.stderr == ""


def test_no_library_names_the_extra_and_the_variable(tmp_path):
    retail(tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "MXNET_LIBRARY_PATH"}
    done = run(SCORE, tmp_path, "no package", **environment)
    assert done.returncode != 0
    assert 'pip install "fastprop[mxnet]"' in done.stderr
    assert "MXNET_LIBRARY_PATH" in done.stderr


def test_a_file_that_is_no_library(tmp_path):
    retail(tmp_path)
    bogus = tmp_path / "libmxnet.so"
    bogus.write_bytes(b"not a library")
    done = run(SCORE, tmp_path, MXNET_LIBRARY_PATH=str(bogus))
    assert "EngineError: cannot load" in done.stderr
    other = Path(_core.__file__)
    done = run(SCORE, tmp_path, MXNET_LIBRARY_PATH=str(other))
    assert "has no function MXGetLastError" in done.stderr


COMPILER = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
API = Path(__file__).parents[2] / "csrc/fastprop/mxnet/api.cpp"


def stub_library(folder, *, without="", status=0, version=10901):
    """Compile a library of the names of MXNet's C API, which does nothing but tell a version."""
    names = set(re.findall(r"FASTPROP_RESOLVE\((MX\w+)\)", API.read_text(encoding="utf-8")))
    assert without in {"", *names}
    functions = [
        f"int MXGetVersion(int* out) {{ *out = {version}; return {status}; }}",
        *(f"int {name}(void) {{ return 0; }}" for name in names - {"MXGetVersion", without}),
    ]
    (folder / "stub.c").write_text("\n".join(functions), encoding="utf-8")
    library = folder / "libmxnet.so"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-shared", "-fPIC", "stub.c", "-o", library], cwd=folder, check=True)
    return library


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
@pytest.mark.parametrize(
    ("stub", "told"),
    [
        ({"without": "MXExecutorFree"}, "has no function MXExecutorFree: fastprop needs MXNet"),
        ({"version": 10899}, "is MXNet version 10899: fastprop needs MXNet 1.9"),
        ({"version": 20000}, "is MXNet version 20000: fastprop needs MXNet 1.9"),
        ({"status": -1}, "fastprop needs MXNet 1.9"),
    ],
)
def test_a_library_of_another_mxnet_is_refused(tmp_path, stub, told):
    library = stub_library(tmp_path, **stub)
    done = run("import sys; from fastprop import _core; _core.load_library(sys.argv[1])", library)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("fastprop.errors.EngineError: " + str(library))
    assert told in done.stderr


def test_the_csr_layout_is_known_and_the_copying_way_gives_the_same(tmp_path):
    model = retail(tmp_path)
    code = """
import sys
import numpy as np
import fastprop
from fastprop import _core
from support.models import rows_for
model = fastprop.load_model(sys.argv[1])
rows = rows_for(model, 40)
results = []
for enabled in (True, False):
    _core.set_csr_aux_enabled(enabled)
    with model.predictor(optimize=False, batch_size=16, threads=1) as predictor:
        results.append(predictor.predict(rows))
        copied = predictor.stats().bytes_copied
        exact = 12 * len(rows.indices) + 8 * (40 + 3 + 8)
        assert (copied == exact) == enabled, (copied, exact)
assert np.array_equal(*results)
"""
    done = run(code, model.path.parent)
    assert done.returncode == 0, done.stderr


THREADED = """
import sys, warnings
from fastprop.training._mxnet import import_mxnet
mx = import_mxnet()
mx.nd.zeros(1).asnumpy()
import numpy as np
import fastprop
from support.models import TOLERANCE, expected_scores, rows_for
model = fastprop.load_model(sys.argv[1])
rows = rows_for(model, 40)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    predictor = model.predictor(engine="mxnet", threads=2, batch_size=8)
assert "threaded engine" in str(caught[-1].message), caught
for optimize in (True, False):
    with model.predictor(engine="mxnet", optimize=optimize, threads=2, batch_size=8) as predictor:
        for _ in range(5):
            np.testing.assert_allclose(
                predictor.predict(rows), expected_scores(model, {"data": rows}), atol=TOLERANCE)
"""


def test_a_threaded_engine_started_before_is_told_and_gives_right_scores(tmp_path):
    model = retail(tmp_path)
    done = run(THREADED, model.path.parent)
    assert done.returncode == 0, done.stderr

"""The wheel: what is in it, where it runs, and that it scores with NumPy and pyarrow alone."""

from __future__ import annotations

import re
import subprocess
import zipfile

import numpy as np
import pytest
from support.models import TOLERANCE, expected_scores, feeds_of, retail, rows_for
from support.wheels import ROOT, built_wheel, can_build, clean_environment

from fastprop import _core
from fastprop.libmxnet.library import find_mxnet_library
from fastprop.version import __version__

pytestmark = [
    pytest.mark.skipif(not can_build(), reason='bare machine: without the extra "wheel"'),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clean") / "venv"
    return clean_environment(directory, built_wheel(), ["numpy", "pyarrow"])


def run(python, code, *arguments, cwd, **environment):
    done = subprocess.run(
        [str(python), "-I", "-W", "error", "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def test_the_tag_is_no_newer_than_glibc_2_28():
    name = built_wheel().name
    assert name.startswith(f"fastprop-{__version__}-cp")
    tags = re.findall(r"manylinux_(\d+)_(\d+)_", name)
    assert tags
    assert max((int(major), int(minor)) for major, minor in tags) <= (2, 28)
    assert "-linux_" not in name


def test_it_holds_the_package_and_no_sources():
    with zipfile.ZipFile(built_wheel()) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    package = ROOT / "src" / "fastprop"
    wanted = {
        str(path.relative_to(package.parent))
        for pattern in ("*.py", "*.pyi", "py.typed")
        for path in package.rglob(pattern)
    }
    built = {name for name in names if re.match(r"fastprop/_(core|csr)\.cpython.*\.so$", name)}
    assert len(built) == 2
    own = {name for name in names if ".dist-info/" not in name}
    assert own == wanted | built
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert any(name.endswith("/entry_points.txt") for name in names)


SCORE = """
import importlib.util, json, sys
import numpy as np, pyarrow as pa
import fastprop
from fastprop import _core
from fastprop.libmxnet.library import find_mxnet_library
model_directory, source, target = sys.argv[1:]
assert fastprop.__file__.startswith(sys.prefix), fastprop.__file__
for absent in ("click", "rich", "mxnet", "scipy", "setuptools"):
    assert importlib.util.find_spec(absent) is None, absent
model = fastprop.load_model(model_directory)
arrays = np.load(source)
rows = fastprop.CSR(*(arrays[name] for name in ("indptr", "indices", "data")),
                    (len(arrays["indptr"]) - 1, model.n_features))
results = {}
for isa in _core.instruction_sets():
    with model.predictor(threads=2, batch_size=16, isa=isa) as predictor:
        results[isa] = predictor.predict(rows)
        top = predictor.predict_top_k(rows, k=1)
        assert np.array_equal(top.indices[:, 0], results[isa].argmax(axis=1))
        results["arrow"] = predictor.predict(pa.table({
            "indices": pa.ListArray.from_arrays(pa.array(rows.indptr, pa.int32()), rows.indices),
            "values": pa.ListArray.from_arrays(pa.array(rows.indptr, pa.int32()), rows.data)}))
        try:
            predictor.predict([([10**6], [1.0])])
        except fastprop.InvalidInputError:
            pass
        else:
            raise AssertionError("a bad row was scored")
np.savez(target, **results)
print(json.dumps(_core.instruction_sets()))
"""


def test_it_scores_with_numpy_and_pyarrow_alone(python, tmp_path):
    model = retail(tmp_path / "model", n_heads=30)
    rows = rows_for(model, 100)
    np.savez(tmp_path / "rows.npz", indptr=rows.indptr, indices=rows.indices, data=rows.data)
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "scores.npz"
    arguments = (model.path.parent, tmp_path / "rows.npz", out)
    run(python, SCORE, *arguments, cwd=tmp_path / "elsewhere")
    expected = expected_scores(model, feeds_of(model, rows))
    with np.load(out) as scores:
        # Every instruction set that this build of the package has, so has the wheel.
        assert set(scores) == {*_core.instruction_sets(), "arrow"}
        for isa, found in scores.items():
            np.testing.assert_allclose(found, expected, atol=TOLERANCE, err_msg=isa)


MXNET = """
import sys
import numpy as np
import fastprop
model = fastprop.load_model(sys.argv[1])
rows = [([row % model.n_features, 7], [1.0, -2.0]) for row in range(40)]
with model.predictor(engine="native", batch_size=16) as predictor:
    native = predictor.predict(rows)
for optimize in (True, False):
    with model.predictor(engine="mxnet", optimize=optimize, batch_size=16) as predictor:
        np.testing.assert_allclose(predictor.predict(rows), native, atol=4e-6)
"""


def test_it_runs_the_mxnet_that_is_named(python, tmp_path):
    library = find_mxnet_library()
    assert library is not None
    model = retail(tmp_path / "model")
    run(python, MXNET, model.path.parent, cwd=tmp_path, MXNET_LIBRARY_PATH=str(library))


LEAVE = """
import sys, threading
import numpy as np
import fastprop
model = fastprop.load_model(sys.argv[1])
predictor = model.predictor(threads=2, batch_size=8)
rows = [([row % model.n_features], [1.0]) for row in range(300)]
predictor.predict(rows)
def loop():
    while True:
        predictor.predict(rows)
for _ in range(2):
    threading.Thread(target=loop, daemon=True).start()
print("leaving")
"""


def test_it_lets_the_interpreter_end_while_daemon_threads_predict(python, tmp_path):
    """Python may end such threads by unwinding their stacks: the C++ inside has to allow it."""
    model = retail(tmp_path / "model")
    for _ in range(5):
        assert run(python, LEAVE, model.path.parent, cwd=tmp_path) == "leaving\n"

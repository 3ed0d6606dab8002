from __future__ import annotations

import os
import subprocess
import sys

WITHOUT_MXNET = """
import importlib.machinery, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "mxnet" or name.startswith("mxnet."):
            raise ModuleNotFoundError("No module named 'mxnet'", name="mxnet")
sys.meta_path.insert(0, Hidden())
"""


def run(code, *options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_it_imports_though_warnings_are_errors():
    code = (
        "from fastprop.training._mxnet import import_mxnet\n"
        "mx = import_mxnet()\n"
        "assert import_mxnet() is mx\n"
        "print(float(mx.nd.ones((2, 3)).sum().asscalar()))\n"
        "import warnings\n"
        "try:\n"
        "    warnings.warn('still an error')\n"
        "except UserWarning:\n"
        "    print('restored')\n"
    )
    done = run(code, "-W", "error")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["6.0", "restored"]


def test_without_mxnet_the_extra_is_named():
    code = WITHOUT_MXNET + (
        "from fastprop.errors import EngineError\n"
        "from fastprop.training._mxnet import import_mxnet\n"
        "try:\n"
        "    import_mxnet()\n"
        "except EngineError as error:\n"
        "    print(error)\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert 'pip install "fastprop[mxnet]"' in done.stdout
    assert "MXNet is not installed" in done.stdout


def test_numpy_2_is_told_from_a_missing_package():
    code = (
        "import numpy\n"
        "numpy.__version__ = '2.1.0'\n"
        "from fastprop.errors import EngineError\n"
        "from fastprop.training._mxnet import import_mxnet\n"
        "try:\n"
        "    import_mxnet()\n"
        "except EngineError as error:\n"
        "    print(error)\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert "NumPy 2.1.0" in done.stdout


def test_nothing_imports_mxnet_by_itself():
    modules = ["training", "features", "demo.run", "demo.naive", "training.process"]
    code = WITHOUT_MXNET + "import sys\n" + "".join(f"import fastprop.{m}\n" for m in modules)
    done = run(code + "assert 'mxnet' not in sys.modules", "-W", "error")
    assert done.returncode == 0, done.stderr

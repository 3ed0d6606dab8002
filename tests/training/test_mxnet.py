from __future__ import annotations

import os
import subprocess
import sys

import pytest

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


REPORT = """
from fastprop.errors import EngineError
from fastprop.training import _mxnet
try:
    _mxnet.import_mxnet()
except EngineError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (
            "ModuleNotFoundError(\"No module named 'graphviz'\", name='graphviz')",
            "MXNet is installed, but needs 'graphviz', which is not: pip install",
        ),
        ("ImportError('libfault.so')", "libfault.so (NumPy "),
        ("OSError('libgfortran.so.4: cannot open')", "libgfortran.so.4: cannot open (NumPy "),
        ("AttributeError(\"no attribute 'onnx'\")", "no attribute 'onnx' (NumPy "),
    ],
)
def test_an_import_that_fails_is_told_with_its_reason(raised, reason):
    broken = WITHOUT_MXNET.replace(
        """ModuleNotFoundError("No module named 'mxnet'", name="mxnet")""", raised
    )
    assert raised in broken
    done = run(broken + REPORT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"import mxnet: {reason}")
    assert 'pip install "fastprop[mxnet]"' in done.stdout


@pytest.mark.parametrize("installed", [True, False])
def test_python_3_12_gets_distutils_from_setuptools(installed):
    code = WITHOUT_MXNET + (
        "from types import SimpleNamespace\n"
        "for name in [name for name in sys.modules if name.startswith('distutils')]:\n"
        "    del sys.modules[name]\n"
        "from fastprop.training import _mxnet\n"
        "modules = dict(sys.modules)\n"
        "_mxnet.sys = SimpleNamespace(version_info=(3, 12), modules=modules)\n"
    )
    if not installed:
        code += "import importlib.util\nimportlib.util.find_spec = lambda name: None\n"
    done = run(code + REPORT + "print('setuptools' in sys.modules)")
    assert done.returncode == 0, done.stderr
    assert "MXNet is not installed" in done.stdout
    assert done.stdout.split()[-1] == str(installed)


def test_an_alias_that_numpy_has_is_left_alone():
    code = WITHOUT_MXNET + "import numpy\nnumpy.bool = mark = object()\n"
    done = run(code + REPORT + "print(numpy.bool is mark)")
    assert done.stdout.split()[-1] == "True", done.stderr

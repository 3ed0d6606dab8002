"""Importing MXNet: the one place that knows what `import mxnet` needs today.

MXNet 1.9.1 dates from 2022, and three things have changed under it:

- NumPy 1.24 removed the alias `numpy.bool`, which MXNet reads while it is imported and later. It
  is put back as `numpy.bool_`, for good, if it is missing. Nothing else in NumPy is touched.
- Python 3.12 removed `distutils`. Importing setuptools first brings its copy in.
- Both its own sources and the names that it looks up in NumPy raise deprecation warnings. They
  are silenced during the import only, so that `python -W error` does not turn them into errors.

NumPy 2 removed more names than can be put back: scoring works there, because the predictor loads
libmxnet without this package, but training does not.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from typing import Any

import numpy as np

from fastprop.errors import EngineError

__all__ = ["import_mxnet"]


def import_mxnet() -> Any:
    """Return the `mxnet` package, imported with what this Python and this NumPy need for it.

    Returns
    -------
    module
        The package `mxnet`; the same object each time.

    Raises
    ------
    EngineError
        If MXNet is not installed, or cannot be imported beside the NumPy that is installed.

    Notes
    -----
    The first import starts MXNet's engine, whose type (`MXNET_ENGINE_TYPE`) then stays for the
    life of the process. Safe to call from any thread, as far as Python's import lock goes.
    """
    loaded = sys.modules.get("mxnet")
    if loaded is not None and hasattr(loaded, "mod"):
        return loaded
    if int(np.__version__.partition(".")[0]) >= 2:
        raise EngineError(
            f"import mxnet: MXNet's Python package does not run on NumPy {np.__version__}; "
            'training needs NumPy 1: pip install "fastprop[mxnet]"'
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "bool" not in vars(np):
            setattr(np, "bool", np.bool_)  # noqa: B010 - the name is not in NumPy's stubs
        if sys.version_info >= (3, 12) and "distutils" not in sys.modules:
            _import_if_installed("setuptools")
        try:
            return importlib.import_module("mxnet")
        except ModuleNotFoundError as error:
            if error.name == "mxnet":
                message = "MXNet is not installed"
            else:
                message = f"MXNet is installed, but needs {error.name!r}, which is not"
            raise EngineError(f'import mxnet: {message}: pip install "fastprop[mxnet]"') from error
        except (ImportError, OSError, AttributeError, RuntimeError) as error:
            raise EngineError(
                f"import mxnet: {error} (NumPy {np.__version__}, Python "
                f"{sys.version_info.major}.{sys.version_info.minor}); versions that work together: "
                'pip install "fastprop[mxnet]"'
            ) from error


def _import_if_installed(name: str) -> None:
    """Import a helper package; MXNet's own import says what is missing if it is not there."""
    if importlib.util.find_spec(name) is not None:
        importlib.import_module(name)

"""Finding and loading libmxnet, which runs graphs through its C API."""

from __future__ import annotations

import importlib.util
import os
import warnings
from pathlib import Path

from fastprop import _core
from fastprop.errors import EngineError

__all__ = ["find_mxnet_library", "load_mxnet_library"]

LIBRARY = "libmxnet.so"


def find_mxnet_library() -> Path | None:
    """Path of the libmxnet that would be loaded, or None.

    `MXNET_LIBRARY_PATH` (the file, or a folder with it) comes first, then the installed package
    `mxnet`, which is located but not imported.

    Raises
    ------
    EngineError
        `MXNET_LIBRARY_PATH` is set and leads to no file.
    """
    stated = os.environ.get("MXNET_LIBRARY_PATH")
    if stated:
        path = Path(stated)
        if path.is_dir():
            path = path / LIBRARY
        if not path.is_file():
            raise EngineError(f"MXNET_LIBRARY_PATH is {stated!r}, and there is no file {path}")
        return path
    spec = importlib.util.find_spec("mxnet")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / LIBRARY
        if path.is_file():
            return path
    return None


def load_mxnet_library() -> _core.LibraryInfo:
    """Load libmxnet into this process, once; later calls answer what is loaded.

    Returns
    -------
    LibraryInfo
        Its path, its version (10901 for 1.9.1) and whether its engine runs operators in the
        calling thread (`naive_engine`).

    Raises
    ------
    EngineError
        None is found, or it cannot be loaded.

    Warns
    -----
    RuntimeWarning
        The process has already started MXNet's threaded engine, whose one worker serialises
        predictors: scores are right, but not fast.

    Notes
    -----
    Thread-safe. MXNet then runs as NaiveEngine with one OpenMP thread a worker, for the life of
    the process.
    """
    if _core.library_loaded():
        return _core.library_info()
    path = find_mxnet_library()
    if path is None:
        raise EngineError(
            'libmxnet was not found: pip install "fastprop[mxnet]", or, where its Python package '
            "does not fit, pip install --no-deps mxnet==1.9.1, or set MXNET_LIBRARY_PATH to "
            f"{LIBRARY}"
        )
    info = _core.load_library(str(path))
    if not info.naive_engine:
        warnings.warn(
            "this process has already started MXNet's threaded engine, which runs one operator "
            "at a time for all predictors; set MXNET_ENGINE_TYPE=NaiveEngine before mxnet is "
            "imported, or score in a process of its own",
            RuntimeWarning,
            stacklevel=2,
        )
    return info

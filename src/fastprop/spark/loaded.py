"""The models of a Python worker process: each is opened once, and kept while the process lives."""

from __future__ import annotations

import os
import threading

from fastprop.predictor import Predictor
from fastprop.spark.host import worker_directory
from fastprop.spark.source import ModelSource, open_model

__all__ = ["loaded_models", "predictor_for"]

_Key = tuple[str, object, int]


class _Process:
    """What one process has loaded. A forked child, whose parent's lock may be held, starts anew."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.predictors: dict[_Key, Predictor] = {}


_process = _Process()


def _this_process() -> _Process:
    global _process
    if _process.pid != os.getpid():
        _process = _Process()
    return _process


def predictor_for(source: ModelSource, *, threads: int) -> Predictor:
    """Return the process's predictor for a checkpoint, by its content.

    Parameters
    ----------
    source : ModelSource
        The checkpoint. The same content under another path is the same model.
    threads : int
        Worker threads.

    Raises
    ------
    ModelFormatError
        The files are not there, or not the ones that the driver saw.
    """
    process = _this_process()
    key = (source.digest, source.options, threads)
    with process.lock:
        predictor = process.predictors.get(key)
        if predictor is None:
            model = open_model(source, worker_directory(source))
            predictor = model.predictor(engine=source.options.engine, threads=threads)
            process.predictors[key] = predictor
        return predictor


def loaded_models() -> list[str]:
    """Return the digest of each model that this process has opened."""
    return [str(digest) for digest, _, _ in _this_process().predictors]

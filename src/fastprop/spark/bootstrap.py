"""The function that Spark sends to workers, which finds fastprop there before it is needed.

Where the wheel is an archive, fastprop can be imported only after the archive's folder is on
`sys.path`. A function of a module is sent as the module's name, which would be too early; one made
inside another function is sent as code. It refers to nothing but what it imports itself.
"""

from __future__ import annotations

import pickle
from typing import Any, Callable

__all__ = ["on_workers"]


def on_workers(
    module: str, function: str, argument: Any, *, archives: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """Make a function that calls `module.function(argument, *arguments)` on a worker.

    Parameters
    ----------
    module, function : str
        Where the function is, as the worker knows it.
    argument : object
        Its first argument; pickled here, unpickled where the module can be imported.
    archives : tuple of str
        Archives with packages, which Spark unpacks on each executor.
    """
    pickled = pickle.dumps(argument, protocol=pickle.HIGHEST_PROTOCOL)

    def call(*arguments: Any) -> Any:
        import importlib
        import pickle
        import sys

        from pyspark import SparkFiles

        for archive in archives:
            folder = SparkFiles.get(archive)
            if folder not in sys.path:
                sys.path.insert(0, folder)
        target = getattr(importlib.import_module(module), function)
        return target(pickle.loads(pickled), *arguments)

    return call

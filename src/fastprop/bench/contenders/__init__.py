"""The contenders: one file a library, each a subclass of `base.Contender`.

To add one: write the class, name it in `KINDS`, and add a `ContenderSpec` to `registry.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from fastprop.bench.contenders.base import Contender

__all__ = ["KINDS", "contender_class"]

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "fastprop": "fastprop.bench.contenders.fastprop_predictor:FastpropContender",
        "mxnet": "fastprop.bench.contenders.mxnet_module:MxnetContender",
        "onnxruntime": "fastprop.bench.contenders.onnx_runtime:OnnxContender",
        "scipy": "fastprop.bench.contenders.scipy_numpy:ScipyContender",
        "torch": "fastprop.bench.contenders.pytorch:TorchContender",
    }
)


def contender_class(kind: str) -> type[Contender]:
    """Import and return the class of a kind of contender; KeyError where there is none."""
    module, _, name = KINDS[kind].partition(":")
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, Contender)):
        raise TypeError(f"{KINDS[kind]} is not a contender")
    return found

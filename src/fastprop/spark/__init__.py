"""Scoring Spark DataFrames: a Spark ML Transformer, functions, and what ships them to executors.

from fastprop.spark import PropensityModel

model = PropensityModel.fromPath("/models/retail", featuresCol="features", topKCol="top", topK=20)
model.transform(customers).write.parquet("scores")

Names are imported when they are first used: a Python worker that scores loads `fastprop.spark`
without the driver's half, and `pyspark.ml` takes a second.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastprop.spark.features import build_features
    from fastprop.spark.shipping import ship_model, ship_wheel
    from fastprop.spark.transformer import PropensityModel
    from fastprop.spark.udf import propensity_udf

__all__ = ["PropensityModel", "build_features", "propensity_udf", "ship_model", "ship_wheel"]

_HOMES = {
    "PropensityModel": "transformer",
    "build_features": "features",
    "propensity_udf": "udf",
    "ship_model": "shipping",
    "ship_wheel": "shipping",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{home}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("pyspark", "pandas"):
            raise
        raise ImportError(
            f'fastprop.spark needs {error.name}: pip install "fastprop[spark]"'
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

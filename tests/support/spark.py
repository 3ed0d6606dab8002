"""What tests of fastprop.spark share; importing it needs no PySpark."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastprop


def require_spark() -> None:
    """Skip a module where PySpark or Java is missing; where they must not be, fail."""
    missing = [name for name in ("pyspark", "pandas") if importlib.util.find_spec(name) is None]
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        missing.append("Java")
    if not missing:
        return
    if os.environ.get("FASTPROP_REQUIRE_SPARK"):
        raise RuntimeError(f"FASTPROP_REQUIRE_SPARK is set, and there is no {missing[0]}")
    pytest.skip(f"bare machine: {missing[0]} is not installed", allow_module_level=True)


def settings(folder: Path) -> dict[str, str]:
    """Spark's options for small data on few cores."""
    return {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "local"),
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={folder}",
        "spark.log.level": "ERROR",
    }


def frame(spark: Any, rows: fastprop.CSR, partitions: int = 3) -> Any:
    """Rows as a DataFrame: `customer_id`, and each row as arrays, a map and a vector.

    Every second vector is dense. Duplicates of a column are not for maps and vectors.
    """
    from pyspark.ml.linalg import Vectors, VectorUDT
    from pyspark.sql import types

    n_rows, width = rows.shape
    records = []
    for number in range(n_rows):
        begin, end = rows.indptr[number], rows.indptr[number + 1]
        indices, values = rows.indices[begin:end].tolist(), rows.data[begin:end].tolist()
        if number % 2:
            vector = Vectors.sparse(width, indices, values)
        else:
            dense = np.zeros(width)
            dense[indices] = values
            vector = Vectors.dense(dense)
        records.append((number, indices, values, dict(zip(indices, values)), vector))
    schema = types.StructType(
        [
            types.StructField("customer_id", types.LongType()),
            types.StructField("indices", types.ArrayType(types.IntegerType())),
            types.StructField("values", types.ArrayType(types.FloatType())),
            types.StructField("map", types.MapType(types.IntegerType(), types.FloatType())),
            types.StructField("vector", VectorUDT()),
        ]
    )
    return spark.createDataFrame(records, schema).repartition(partitions, "customer_id")


def matrix(frame: Any, column: str = "probability") -> np.ndarray:
    """The scores of a scored frame, by customer."""
    found = frame.orderBy("customer_id").select(column).collect()
    return np.array([row[0] for row in found], dtype=np.float32)

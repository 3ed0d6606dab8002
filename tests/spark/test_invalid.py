"""Rows that cannot be scored: what is wrong is said, under each handleInvalid."""

from __future__ import annotations

import numpy as np
import pytest
from support.spark import require_spark

require_spark()

from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql import types
from pyspark.sql.functions import col

from fastprop.spark import PropensityModel

ARRAYS = {"indicesCol": "indices", "valuesCol": "values"}
BAD = {
    1: "is null",
    2: "indices[1] is 200, outside 0 to 199",
    4: "indices[0] is -1, outside 0 to 199",
    5: "values[0] is nan, not finite in float32",
    6: "values[1] is null",
    7: "2 indices and 1 values",
    9: "is null",
}


@pytest.fixture(scope="module")
def arrays(spark):
    """Ten rows in one partition, of which 0, 3 and 8 are sound."""
    rows = [
        (0, [1, 5], [1.0, 2.0]),
        (1, None, None),
        (2, [3, 200], [1.0, 1.0]),
        (3, [], []),
        (4, [-1], [1.0]),
        (5, [7], [float("nan")]),
        (6, [1, 2], [1.0, None]),
        (7, [1, 2], [1.0]),
        (8, [9, 3], [1.0, 1.0]),
        (9, [1], None),
    ]
    schema = "customer_id long, indices array<int>, values array<float>"
    return spark.createDataFrame(rows, schema).coalesce(1).cache()


@pytest.fixture(scope="module")
def sound(model):
    with model.predictor() as predictor:
        scores = predictor.predict(
            [([1, 5], [1.0, 2.0]), ([], []), ([9, 3], [1.0, 1.0])],
        )
    return dict(zip((0, 3, 8), scores))


def test_error_fails_the_task_and_names_the_row(arrays, directory):
    model = PropensityModel.fromPath(directory, **ARRAYS)
    with pytest.raises(Exception, match="partition 0, row 1: is null"):
        model.transform(arrays).collect()
    rest = arrays.where("customer_id != 1 AND customer_id != 9")
    with pytest.raises(Exception, match=r"partition 0, row 1: indices\[1\] is 200, outside 0"):
        model.transform(rest).collect()


def test_error_numbers_rows_over_the_batches_of_a_partition(spark, arrays, directory):
    model = PropensityModel.fromPath(directory, **ARRAYS)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "2")
    try:
        with pytest.raises(Exception, match=r"partition 0, row 3: values\[0\] is nan"):
            model.transform(
                arrays.where("customer_id IN (0, 3, 5, 8) OR customer_id = 0")
                .union(arrays.where("customer_id < 0"))
                .coalesce(1)
                .orderBy((col("customer_id") == 5).cast("int"), "customer_id")
            ).collect()
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def test_skip_leaves_the_rows_out(arrays, directory, sound):
    model = PropensityModel.fromPath(directory, handleInvalid="skip", **ARRAYS)
    found = model.transform(arrays).collect()
    assert [row["customer_id"] for row in found] == [0, 3, 8]
    for row in found:
        np.testing.assert_array_equal(np.float32(row["probability"]), sound[row["customer_id"]])


@pytest.mark.parametrize("batch", ["1", "3", "10000"])
def test_keep_gives_null_and_says_what_is_wrong(spark, arrays, directory, sound, batch):
    model = PropensityModel.fromPath(
        directory,
        handleInvalid="keep",
        errorCol="error",
        probabilityCol="probability",
        topKCol="top",
        topK=2,
        predictionCol="wanted",
        labelThresholds=0.0,
        **ARRAYS,
    )
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", batch)
    try:
        found = model.transform(arrays).collect()
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert [row["customer_id"] for row in found] == list(range(10))
    assert {row["customer_id"]: row["error"] for row in found if row["error"]} == BAD
    for row in found:
        number = row["customer_id"]
        if number in BAD:
            assert (row["probability"], row["top"], row["wanted"]) == (None, None, None)
        else:
            np.testing.assert_array_equal(np.float32(row["probability"]), sound[number])
            assert len(row["top"]) == 2
            assert len(row["wanted"]) == len(sound[number])


def test_keep_without_an_error_column(arrays, directory):
    model = PropensityModel.fromPath(directory, handleInvalid="keep", topKCol="top", **ARRAYS)
    found = model.transform(arrays).collect()
    assert [row["customer_id"] for row in found if row["top"] is None] == sorted(BAD)


def test_a_batch_of_bad_rows_only(arrays, directory):
    bad = arrays.where(col("customer_id").isin(list(BAD)))
    skip = PropensityModel.fromPath(directory, handleInvalid="skip", **ARRAYS)
    assert skip.transform(bad).collect() == []
    keep = PropensityModel.fromPath(directory, handleInvalid="keep", errorCol="e", **ARRAYS)
    assert [row["e"] for row in keep.transform(bad).collect()] == list(BAD.values())


def test_vectors_of_another_size_and_null_vectors(spark, directory):
    schema = types.StructType(
        [
            types.StructField("customer_id", types.LongType()),
            types.StructField("features", VectorUDT()),
        ]
    )
    rows = [
        (0, Vectors.sparse(200, [1], [1.0])),
        (1, Vectors.sparse(300, [1], [1.0])),
        (2, None),
        (3, Vectors.dense([1.0, 2.0])),
        (4, Vectors.dense(np.ones(200))),
        (5, Vectors.sparse(200, [3], [float("inf")])),
    ]
    vectors = spark.createDataFrame(rows, schema).coalesce(1)
    keep = PropensityModel.fromPath(directory, handleInvalid="keep", errorCol="error")
    found = keep.transform(vectors).collect()
    assert [row["error"] for row in found] == [
        None,
        "size is 300, the model has 200 features",
        "is null",
        "size is 2, the model has 200 features",
        None,
        "values[0] is inf, not finite in float32",
    ]
    assert [row["probability"] is None for row in found] == [bool(row["error"]) for row in found]


def test_maps_with_bad_keys_and_null_values(spark, directory):
    rows = [(0, {3: 1.0}), (1, {200: 1.0}), (2, {1: None}), (3, None), (4, {})]
    maps = spark.createDataFrame(rows, "customer_id long, features map<int,float>").coalesce(1)
    keep = PropensityModel.fromPath(directory, handleInvalid="keep", errorCol="error")
    assert [row["error"] for row in keep.transform(maps).collect()] == [
        None,
        "indices[0] is 200, outside 0 to 199",
        "values[0] is null",
        "is null",
        None,
    ]

from __future__ import annotations

import numpy as np
import pytest
from support.spark import matrix, require_spark

require_spark()

from pyspark.sql import functions as F

from fastprop.errors import InvalidInputError
from fastprop.spark import propensity_udf


def test_all_scores_of_two_arrays_or_a_struct(customers, directory, expected):
    scores = propensity_udf(directory)
    arrays = customers.select("customer_id", scores("indices", "values").alias("probability"))
    assert dict(arrays.dtypes)["probability"] == "array<float>"
    np.testing.assert_array_equal(matrix(arrays), expected)
    struct = customers.select(
        "customer_id", scores(F.struct("indices", "values")).alias("probability")
    )
    np.testing.assert_array_equal(matrix(struct), expected)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pandas, on kinds of UDFs
def test_pandas_udfs_where_arrow_udfs_are_not(customers, directory, expected, monkeypatch):
    monkeypatch.delattr(F, "arrow_udf", raising=False)
    scores, top = propensity_udf(directory), propensity_udf(directory, topK=1)
    made = customers.select(
        "customer_id",
        scores("indices", "values").alias("probability"),
        scores(F.struct("indices", "values")).alias("of_struct"),
        top("indices", "values").alias("top"),
    )
    np.testing.assert_array_equal(matrix(made), expected)
    np.testing.assert_array_equal(matrix(made, "of_struct"), expected)
    best = [row["top"][0]["label"] for row in made.orderBy("customer_id").collect()]
    assert best == [f"category{label}" for label in expected.argmax(axis=1)]


def test_vectors_and_maps_where_arrow_udfs_are(customers, directory, expected):
    if not hasattr(F, "arrow_udf"):
        return  # a pandas UDF takes neither
    for column in ("vector", "map"):
        scored = customers.select(
            "customer_id", propensity_udf(directory)(column).alias("probability")
        )
        np.testing.assert_allclose(matrix(scored), expected, atol=1e-6)


def test_the_best_labels_in_sql(spark, customers, directory, model, rows):
    spark.udf.register("propensity", propensity_udf(directory, topK=2))
    customers.createOrReplaceTempView("customers")
    found = spark.sql(
        "SELECT customer_id, propensity(indices, values) AS top FROM customers ORDER BY customer_id"
    ).collect()
    with model.predictor() as predictor:
        top = predictor.predict_top_k(rows, 2)
    for number, row in enumerate(found):
        assert [pair["label"] for pair in row["top"]] == [
            model.labels[n] for n in top.indices[number]
        ]
        np.testing.assert_array_equal(
            np.float32([pair["score"] for pair in row["top"]]), top.scores[number]
        )


def test_labels_above_thresholds(customers, directory, model, expected):
    wanted = propensity_udf(directory, labelThresholds=0.5)
    found = customers.select("customer_id", wanted("indices", "values").alias("labels"))
    for number, row in enumerate(found.orderBy("customer_id").collect()):
        assert set(row["labels"]) == {
            model.labels[label] for label in np.flatnonzero(expected[number] >= 0.5)
        }


def test_bad_rows(spark, directory):
    bad = spark.createDataFrame(
        [([1], [1.0]), ([999], [1.0]), (None, None)], "indices array<int>, values array<float>"
    ).coalesce(1)
    with pytest.raises(Exception, match=r"row 1 of a batch: indices\[0\] is 999"):
        bad.select(propensity_udf(directory)("indices", "values")).collect()
    keep = propensity_udf(directory, handleInvalid="keep")
    found = [row[0] for row in bad.select(keep("indices", "values")).collect()]
    assert [scores is None for scores in found] == [False, True, True]


def test_what_is_refused(customers, directory):
    with pytest.raises(InvalidInputError, match="handleInvalid is 'skip'"):
        propensity_udf(directory, handleInvalid="skip")
    with pytest.raises(InvalidInputError, match="topK or labelThresholds"):
        propensity_udf(directory, topK=1, labelThresholds=0.5)
    with pytest.raises(InvalidInputError, match="topK is 0"):
        propensity_udf(directory, topK=0)
    with pytest.raises(InvalidInputError, match="no label 'x'"):
        propensity_udf(directory, labelThresholds={"x": 0.5})
    with pytest.raises(Exception, match="3 columns: one of rows is needed, or two arrays"):
        customers.select(propensity_udf(directory)("indices", "values", "indices")).collect()

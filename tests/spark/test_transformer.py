from __future__ import annotations

import numpy as np
import pytest
from support.spark import matrix, require_spark

require_spark()

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fastprop.errors import DTypeError, InvalidInputError, ModelFormatError
from fastprop.spark import PropensityModel

LAYOUTS = {
    "arrays": {"indicesCol": "indices", "valuesCol": "values"},
    "map": {"featuresCol": "map"},
    "vectors": {"featuresCol": "vector"},
    "struct": {"featuresCol": "struct"},
    "pairs": {"featuresCol": "pairs"},
    "wide": {"indicesCol": "longs", "valuesCol": "doubles"},
}


@pytest.fixture(scope="module")
def layouts(customers):
    return customers.select(
        "*",
        F.struct("indices", "values").alias("struct"),
        F.arrays_zip("indices", "values").alias("pairs"),
        F.col("indices").cast("array<bigint>").alias("longs"),
        F.col("values").cast("array<double>").alias("doubles"),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_scores_of_predict(layouts, directory, expected, layout):
    model = PropensityModel.fromPath(directory, **LAYOUTS[layout])
    scored = model.transform(layouts)
    assert scored.columns == [*layouts.columns, "probability"]
    assert dict(scored.dtypes)["probability"] == "array<float>"
    if layout in ("arrays", "struct", "pairs", "wide"):
        np.testing.assert_array_equal(matrix(scored), expected)
    else:  # a map's entries come in any order, a dense vector's zeros are no entries
        np.testing.assert_allclose(matrix(scored), expected, atol=1e-6)


def test_columns_handed_on_are_unchanged(customers, directory):
    scored = PropensityModel.fromPath(directory, featuresCol="vector").transform(customers)
    before = customers.orderBy("customer_id").collect()
    after = scored.drop("probability").orderBy("customer_id").collect()
    assert before == after


def test_top_k_thresholds_and_probabilities_agree_with_predict(
    customers, directory, model, rows, expected
):
    limits = np.linspace(0.4, 0.6, model.n_labels)
    scored = PropensityModel.fromPath(
        directory,
        indicesCol="indices",
        valuesCol="values",
        probabilityCol="all",
        topKCol="top",
        topK=3,
        predictionCol="wanted",
        labelThresholds=limits,
        passthroughCols=["customer_id"],
    ).transform(customers)
    assert scored.columns == ["customer_id", "all", "top", "wanted"]
    assert dict(scored.dtypes)["top"] == "array<struct<label:string,score:float>>"
    with model.predictor() as predictor:
        top = predictor.predict_top_k(rows, 3)
        above = predictor.predict_top_k(rows, model.n_labels, threshold=limits)
    for number, row in enumerate(scored.orderBy("customer_id").collect()):
        np.testing.assert_array_equal(np.float32(row["all"]), expected[number])
        assert [pair["label"] for pair in row["top"]] == [
            model.labels[label] for label in top.indices[number]
        ]
        np.testing.assert_array_equal([pair["score"] for pair in row["top"]], top.scores[number])
        assert row["wanted"] == [
            model.labels[label] for label in above.indices[number] if label >= 0
        ]


def test_top_k_alone_makes_no_matrix_of_scores(customers, directory, model, rows):
    scored = PropensityModel.fromPath(
        directory, indicesCol="indices", valuesCol="values", topKCol="top", topK=50
    ).transform(customers)
    assert scored.columns == [*customers.columns, "top"]
    with model.predictor() as predictor:
        top = predictor.predict_top_k(rows, model.n_labels)
    for number, row in enumerate(scored.orderBy("customer_id").collect()):
        assert [pair["label"] for pair in row["top"]] == [
            model.labels[label] for label in top.indices[number]
        ]


def test_thresholds_by_label_predict_only_the_labels_named(customers, directory, model):
    label = model.labels[4]
    scored = PropensityModel.fromPath(
        directory,
        featuresCol="map",
        predictionCol="wanted",
        labelThresholds={label: 0.0},
    ).transform(customers)
    assert {tuple(row["wanted"]) for row in scored.collect()} == {(label,)}


def test_no_rows_and_empty_partitions(customers, directory):
    model = PropensityModel.fromPath(directory, featuresCol="vector")
    assert model.transform(customers.where("customer_id < 0")).collect() == []
    few = customers.where("customer_id < 2").repartition(5)
    assert model.transform(few).count() == 2


def test_an_empty_partition_opens_no_model(customers, directory, tmp_path):
    copied = tmp_path / "model"
    copied.mkdir()
    for file in directory.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    scored = PropensityModel.fromPath(copied, featuresCol="vector", probabilityCol="p2").transform(
        customers.where("customer_id < 0")
    )
    for file in copied.iterdir():
        file.unlink()
    assert scored.collect() == []


def test_batches_of_any_size_and_pieces_of_them(spark, customers, directory, expected, monkeypatch):
    model = PropensityModel.fromPath(directory, indicesCol="indices", valuesCol="values")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    try:
        np.testing.assert_array_equal(matrix(model.transform(customers)), expected)
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def test_a_pipeline_beside_stages_of_the_jvm(customers, directory, expected, tmp_path):
    plain = customers.select("customer_id", "vector")
    pipeline = Pipeline(
        stages=[
            VectorAssembler(inputCols=["vector"], outputCol="features"),
            PropensityModel.fromPath(directory, topKCol="top", topK=1),
            SQLTransformer(statement="SELECT customer_id, top[0].score AS best FROM __THIS__"),
        ]
    )
    fitted = pipeline.fit(plain)
    best = matrix(fitted.transform(plain), "best")
    np.testing.assert_allclose(best, expected.max(axis=1), atol=1e-6)
    fitted.write().overwrite().save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    np.testing.assert_array_equal(matrix(loaded.transform(plain), "best"), best)


def test_structured_streaming(spark, customers, directory, expected, tmp_path):
    customers.select("customer_id", "indices", "values").write.parquet(str(tmp_path / "in"))
    model = PropensityModel.fromPath(directory, indicesCol="indices", valuesCol="values")
    source = spark.readStream.schema(
        customers.select("customer_id", "indices", "values").schema
    ).parquet(str(tmp_path / "in"))
    query = (
        model.transform(source)
        .writeStream.format("parquet")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start(str(tmp_path / "out"))
    )
    assert query.awaitTermination(120)
    np.testing.assert_array_equal(matrix(spark.read.parquet(str(tmp_path / "out"))), expected)


def test_names_with_dots_and_backticks(customers, directory, expected):
    renamed = customers.select(
        "customer_id", F.col("indices").alias("a.b"), F.col("values").alias("c`d")
    )
    model = PropensityModel.fromPath(directory, indicesCol="a.b", valuesCol="c`d")
    np.testing.assert_array_equal(matrix(model.transform(renamed)), expected)


def test_an_output_column_that_exists_is_refused(customers, directory):
    model = PropensityModel.fromPath(directory, featuresCol="vector", probabilityCol="Customer_ID")
    with pytest.raises(InvalidInputError, match="output column 'Customer_ID' exists already"):
        model.transform(customers)
    model.setParams(probabilityCol="p", topKCol="p")
    with pytest.raises(InvalidInputError, match="output column 'p' exists already"):
        model.transform(customers)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"featuresCol": "nowhere"}, "featuresCol: no column 'nowhere'"),
        ({"featuresCol": "customer_id"}, "featuresCol 'customer_id': bigint holds no sparse rows"),
        ({"featuresCol": "indices"}, "featuresCol 'indices': array<int> holds no sparse rows"),
        ({"indicesCol": "values", "valuesCol": "values"}, "indicesCol 'values': array<float>"),
        ({"indicesCol": "indices", "valuesCol": "indices"}, "valuesCol 'indices': array<int>"),
        ({"indicesCol": "indices"}, "indicesCol and valuesCol go together"),
        (
            {"indicesCol": "indices", "valuesCol": "values", "featuresCol": "map"},
            "either featuresCol, or",
        ),
        ({"featuresCol": "map", "handleInvalid": "drop"}, "handleInvalid is 'drop'"),
        ({"featuresCol": "map", "errorCol": "e"}, 'errorCol needs handleInvalid="keep"'),
        ({"featuresCol": "map", "topKCol": "t", "topK": 0}, "topK is 0"),
        ({"featuresCol": "map", "numThreads": -1}, "numThreads is -1"),
        ({"featuresCol": "map", "predictionCol": "p"}, "predictionCol needs labelThresholds"),
        (
            {"featuresCol": "map", "predictionCol": "p", "labelThresholds": [0.5]},
            "labelThresholds: 1 thresholds for 7 labels",
        ),
        (
            {"featuresCol": "map", "predictionCol": "p", "labelThresholds": {"x": 0.5}},
            "labelThresholds: the model has no label 'x'",
        ),
        ({"featuresCol": "map", "probabilityCol": ""}, "nothing to make"),
        ({"featuresCol": "map", "passthroughCols": ["x"]}, "passthroughCols: no column 'x'"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_on_the_driver(
    customers, directory, params, sentence
):
    model = PropensityModel.fromPath(directory, **params)
    with pytest.raises((InvalidInputError, DTypeError), match="^" + sentence.replace("(", r"\(")):
        model.transform(customers)


def test_unknown_parameters_and_missing_models(directory, tmp_path):
    with pytest.raises(TypeError, match="no parameter 'topk'"):
        PropensityModel.fromPath(directory, topk=3)
    with pytest.raises(ModelFormatError, match="no checkpoint"):
        PropensityModel.fromPath(tmp_path)
    with pytest.raises(InvalidInputError, match="modelCol is for several models"):
        PropensityModel.fromPath(directory, modelCol="region")
    with pytest.raises(InvalidInputError, match="labelThresholds: NaN"):
        PropensityModel.fromPath(directory, labelThresholds=[float("nan")])


@pytest.mark.parametrize("limits", ["much", ["much"], {"category0": None}])
def test_thresholds_that_are_no_numbers_are_refused(directory, limits):
    with pytest.raises((DTypeError, TypeError), match=r"labelThresholds: .*, and a number, a list"):
        PropensityModel.fromPath(directory, labelThresholds=limits)


def test_a_uri_needs_a_session(monkeypatch):
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    with pytest.raises(InvalidInputError, match="there is no active SparkSession"):
        PropensityModel.fromPath("hdfs://host/model")


def test_a_transformer_without_a_model_says_so(customers):
    with pytest.raises(InvalidInputError, match="there is no model"):
        PropensityModel().transform(customers)


def test_parameters_given_to_transform_hold_for_that_call(customers, directory):
    model = PropensityModel.fromPath(directory, featuresCol="map")
    scored = model.transform(customers, {model.topKCol: "best", model.topK: 2})
    assert scored.columns[-1] == "best"
    assert model.transform(customers).columns[-1] == "probability"


def test_a_file_uri_and_labels(directory, model):
    loaded = PropensityModel.fromPath(directory.as_uri(), featuresCol="map")
    assert loaded.labels == model.labels

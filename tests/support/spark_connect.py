"""A client of Spark Connect with a local server: python spark_connect.py FOLDER."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.models import retail, rows_for
from support.spark import frame, matrix, settings
from support.transactions import COLUMNS, random_table


def main(folder):
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    from fastprop.features import FeatureSettings, LabelSettings, build_training_files
    from fastprop.spark import PropensityModel, build_features, propensity_udf, ship_model

    model = retail(folder / "model")
    rows = rows_for(model, 60)
    with model.predictor() as predictor:
        expected = predictor.predict(rows)
    builder = SparkSession.builder.remote("local[2]")
    for name, value in settings(folder).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    facts = {"session": type(spark).__module__}
    try:
        customers = frame(spark, rows)
        arrays = {"indicesCol": "indices", "valuesCol": "values"}

        scorer = PropensityModel.fromPath(folder / "model", **arrays)
        facts["path"] = bool(np.array_equal(matrix(scorer.transform(customers)), expected))

        vectors = PropensityModel.fromPath(folder / "model", featuresCol="vector")
        scores = matrix(vectors.transform(customers))
        facts["vectors"] = bool(np.allclose(scores, expected, atol=1e-6))

        shipped = PropensityModel.fromPath(ship_model(spark, folder / "model"), **arrays)
        (folder / "model").rename(folder / "moved")
        facts["shipped"] = bool(np.array_equal(matrix(shipped.transform(customers)), expected))
        (folder / "moved").rename(folder / "model")

        scorer.save(str(folder / "saved"))
        loaded = PropensityModel.load(str(folder / "saved"))
        facts["loaded"] = bool(np.array_equal(matrix(loaded.transform(customers)), expected))

        function = propensity_udf(folder / "model")
        scored = customers.select("customer_id", function("indices", "values").alias("probability"))
        facts["function"] = bool(np.array_equal(matrix(scored), expected))

        try:
            PropensityModel.fromPath("s3a://bucket/model")
        except ValueError as error:
            facts["uri"] = str(error)

        pq.write_table(random_table(3), folder / "lines.parquet")
        dictionary, _ = build_training_files(
            [folder / "lines.parquet"],
            folder,
            columns=COLUMNS,
            features=FeatureSettings(min_customers=2),
            labels=LabelSettings(min_customers=2, cutoffs=1),
        )
        made = build_features(
            spark.read.parquet(str(folder / "lines.parquet")), dictionary, columns=COLUMNS
        )
        facts["customers"] = made.count()
        print(json.dumps(facts))
    finally:
        spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Compiled files: wherever a checkpoint can be given, and by `SparkContext.addFile`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.models import retail
from support.spark import matrix, require_spark

require_spark()

import fastprop
from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.spark import PropensityModel, loaded, propensity_udf, ship_model
from fastprop.spark.source import ModelOptions, describe_model

ARRAYS = {"indicesCol": "indices", "valuesCol": "values"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("compiled") / "retail.fastprop"
    model.compile(path)
    return path


@pytest.fixture
def file(kept, tmp_path):
    """A compiled file that can be taken away."""
    return Path(shutil.copy(kept, tmp_path))


def test_on_a_path(customers, file, expected):
    for uri in (file, str(file), file.as_uri()):
        model = PropensityModel.fromPath(uri, **ARRAYS)
        assert model.labels[0] == "category0"
    np.testing.assert_array_equal(matrix(model.transform(customers)), expected)


def test_as_a_function(customers, file, expected):
    function = propensity_udf(file)
    scored = customers.select("customer_id", function("indices", "values").alias("probability"))
    np.testing.assert_array_equal(matrix(scored), expected)


def test_shipped(spark, customers, file, expected):
    uri = ship_model(spark, file)
    model = PropensityModel.fromPath(uri, **ARRAYS)
    assert model.labels[0] == "category0"
    file.unlink()
    np.testing.assert_array_equal(matrix(model.transform(customers)), expected)


def test_sent_by_addFile(spark, customers, file, expected):
    sent = file.rename(file.with_name(f"sent-{os.getpid()}.fastprop"))
    spark.sparkContext.addFile(str(sent))
    model = PropensityModel.fromPath(f"files:{sent.name}", **ARRAYS)
    (source,) = model._models.values()
    assert (source.location, source.is_shipped) == (".", True)
    assert model.labels[0] == "category0"
    np.testing.assert_array_equal(matrix(model.transform(customers)), expected)


def test_a_checkpoint_directory_sent_by_addFile(spark, customers, directory, tmp_path, expected):
    sent = Path(shutil.copytree(directory, tmp_path / f"folder-{os.getpid()}"))
    spark.sparkContext.addFile(str(sent), recursive=True)
    model = PropensityModel.fromPath(f"files:{sent.name}", **ARRAYS)
    (source,) = model._models.values()
    assert (source.location, source.is_shipped) == (sent.name, True)
    np.testing.assert_array_equal(matrix(model.transform(customers)), expected)


def test_what_was_not_sent_is_named(spark):
    with pytest.raises(ModelFormatError, match=r"files:nowhere\.fastprop: .*has sent no such file"):
        PropensityModel.fromPath("files:nowhere.fastprop")


def test_on_a_hadoop_file_system(spark, customers, file, expected):
    settings = spark.sparkContext._jsc.hadoopConfiguration()
    settings.set("fs.viewfs.mounttable.compiled.link./models", file.parent.as_uri())
    model = PropensityModel.fromPath(f"viewfs://compiled/models/{file.name}", **ARRAYS)
    file.unlink()
    np.testing.assert_array_equal(matrix(model.transform(customers)), expected)


def test_saved_and_loaded(customers, file, expected, tmp_path):
    PropensityModel.fromPath(file, **ARRAYS).save(str(tmp_path / "saved"))
    file.unlink()
    model = PropensityModel.load(str(tmp_path / "saved"))
    assert model.labels[0] == "category0"
    np.testing.assert_array_equal(matrix(model.transform(customers)), expected)


def test_one_of_several(customers, file, model, rows, expected, tmp_path):
    models = tmp_path / "models"
    retail(models / "north", seed=1)
    shutil.copy(file, models / "south.fastprop")
    regions = customers.selectExpr("*", "IF(customer_id % 2 = 0, 'north', 'south') AS region")
    scorer = PropensityModel.fromPaths(models, modelCol="region", **ARRAYS)
    with fastprop.load_model(models / "north").predictor() as predictor:
        wanted = predictor.predict(rows)
    wanted[1::2] = expected[1::2]
    np.testing.assert_array_equal(matrix(scorer.transform(regions)), wanted)


def test_what_its_file_does_not_allow_is_refused_on_the_driver(file):
    with pytest.raises(InvalidInputError, match="has the native engine alone"):
        PropensityModel.fromPath(file, engine="mxnet")
    with pytest.raises(InvalidInputError, match="positive_index 0, not 1"):
        PropensityModel.fromPath(file, positiveIndex=1)
    with pytest.raises(InvalidInputError, match="not 'model', epoch 7"):
        PropensityModel.fromPath(file, epoch=7)
    (file.parent / "odd.fastprop").write_text("nothing of the kind")
    with pytest.raises(ModelFormatError, match=r"odd\.fastprop"):
        PropensityModel.fromPath(file.parent / "odd.fastprop")


def test_a_worker_refuses_another_file_than_the_drivers(file, monkeypatch):
    monkeypatch.setattr(loaded, "_process", loaded._Process())
    source = describe_model(file, options=ModelOptions(engine="native"))
    assert (source.name, source.epoch, source.is_compiled) == ("model", 1, True)
    with file.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ModelFormatError, match=r"retail\.fastprop: has \d+ bytes here"):
        loaded.predictor_for(source, threads=1)

"""Models and wheels that are sent to the workers of a session."""

from __future__ import annotations

import os

import numpy as np
import pytest
from support.models import retail
from support.spark import matrix, require_spark

require_spark()

from pyspark import SparkFiles

from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.spark import PropensityModel, ship_model, ship_wheel, shipping

ARRAYS = {"indicesCol": "indices", "valuesCol": "values"}


@pytest.fixture
def moving(directory, tmp_path):
    """A checkpoint that can be taken away."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in directory.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_workers_score_with_what_was_shipped(spark, customers, moving, expected):
    uri = ship_model(spark, moving)
    assert uri.startswith("archive:fastprop-model-")
    model = PropensityModel.fromPath(uri, **ARRAYS)
    assert model.labels[0] == "category0"
    assert ship_model(spark, moving) == uri
    moving.rename(moving.with_name("elsewhere"))
    np.testing.assert_array_equal(matrix(model.transform(customers)), expected)


def test_only_the_chosen_epoch_is_sent(spark, moving):
    params = moving / "model-0001.params"
    (moving / "model-0002.params").write_bytes(params.read_bytes())
    (moving / "notes.txt").write_text("not of the model")
    uri = ship_model(spark, moving, epoch=1)
    sent = shipping.shipped_source(uri.removeprefix("archive:"))
    assert (sent.location, sent.epoch) == (str(moving), 1)
    # What was shipped is what is scored with, though there is a later epoch.
    (model,) = PropensityModel.fromPath(uri)._models.values()
    assert model.epoch == 1
    unpacked = SparkFiles.get(uri.removeprefix("archive:"))
    assert sorted(os.listdir(unpacked)) == ["model-0001.params", "model-symbol.json"]


def test_what_another_process_shipped_is_not_known_here(spark):
    with pytest.raises(InvalidInputError, match="this process has not shipped it"):
        PropensityModel.fromPath("archive:fastprop-model-0")


def test_what_is_no_wheel_is_refused(spark, tmp_path):
    (tmp_path / "fastprop-1.0-py3-none-any.whl").write_text("no zip")
    for name in ("fastprop-1.0-py3-none-any.whl", "nowhere.whl"):
        with pytest.raises(InvalidInputError, match="not a wheel"):
            ship_wheel(spark, tmp_path / name)
    assert shipping.wheels_of(spark) == ()


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    return tmp_path_factory.mktemp("mounted")


@pytest.fixture(scope="module")
def hadoop(spark, mounted):
    """A Hadoop file system that Python knows nothing of."""
    settings = spark.sparkContext._jsc.hadoopConfiguration()
    settings.set("fs.viewfs.mounttable.far.link./models", mounted.as_uri())
    return "viewfs://far/models"


def test_a_model_on_a_hadoop_file_system_is_fetched_and_shipped(
    customers, hadoop, mounted, expected
):
    model = retail(mounted / "retail")
    loaded = PropensityModel.fromPath(f"{hadoop}/retail", **ARRAYS)
    model.path.unlink()
    np.testing.assert_array_equal(matrix(loaded.transform(customers)), expected)


def test_a_missing_model_on_a_hadoop_file_system_is_named(hadoop, mounted):
    with pytest.raises(ModelFormatError, match=r"viewfs://far/models/nowhere: cannot be read: "):
        PropensityModel.fromPath(f"{hadoop}/nowhere")
    (mounted / "empty").mkdir()
    with pytest.raises(ModelFormatError, match=r"viewfs://far/models/empty: no checkpoint"):
        PropensityModel.fromPath(f"{hadoop}/empty")


def test_a_model_is_saved_and_loaded_there(customers, hadoop, directory, expected):
    PropensityModel.fromPath(directory, **ARRAYS).save(f"{hadoop}/saved")
    loaded = PropensityModel.load(f"{hadoop}/saved")
    np.testing.assert_array_equal(matrix(loaded.transform(customers)), expected)

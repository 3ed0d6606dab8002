from __future__ import annotations

import json

import numpy as np
import pytest
from support.models import retail
from support.spark import matrix, require_spark

require_spark()

from fastprop.errors import ModelFormatError
from fastprop.spark import (
    PropensityModel,
    pieces,
)


def test_a_saved_model_needs_nothing_of_where_it_came_from(
    customers, directory, expected, tmp_path
):
    copied = tmp_path / "original"
    copied.mkdir()
    for file in directory.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    saved = (tmp_path / "saved").as_uri()
    model = PropensityModel.fromPath(
        copied,
        indicesCol="indices",
        valuesCol="values",
        probabilityCol="scores",
        predictionCol="wanted",
        labelThresholds={"category0": 0.5},
        passthroughCols=["customer_id"],
        handleInvalid="skip",
        numThreads=2,
    )
    model.save(saved)
    for file in copied.iterdir():
        file.unlink()
    loaded = PropensityModel.load(saved)
    assert loaded.uid == model.uid
    assert {p.name: v for p, v in loaded.extractParamMap().items()} == {
        p.name: v for p, v in model.extractParamMap().items()
    }
    assert loaded.labels == [f"category{number}" for number in range(7)]
    scored = loaded.transform(customers)
    assert scored.columns == ["customer_id", "scores", "wanted"]
    np.testing.assert_array_equal(matrix(scored, "scores"), expected)
    # A loaded model can be saved in its turn.
    again = (tmp_path / "again").as_uri()
    loaded.write().overwrite().save(again)
    np.testing.assert_array_equal(
        matrix(PropensityModel.load(again).transform(customers), "scores"), expected
    )


def test_several_models_and_options_are_saved(customers, directory, tmp_path):
    other = tmp_path / "other"
    retail(other, seed=5)
    model = PropensityModel.fromPaths(
        {"a": str(directory), "b": str(other), "same": str(directory)},
        positiveIndex=1,
        modelCol="region",
        featuresCol="map",
    )
    regions = customers.selectExpr(
        "*", "element_at(array('a', 'b', 'same'), CAST(customer_id % 3 + 1 AS int)) AS region"
    )
    before = matrix(model.transform(regions))
    model.save(str(tmp_path / "saved"))
    loaded = PropensityModel.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(matrix(loaded.transform(regions)), before)


def test_large_files_are_cut_into_pieces(customers, tmp_path, spark):
    folder = tmp_path / "wide"
    model = retail(folder, n_features=200, hidden=(6000,))
    size = model.path.stat().st_size
    assert size > pieces.PIECE
    PropensityModel.fromPath(folder, featuresCol="map").save(str(tmp_path / "saved"))
    saved = spark.read.parquet(str(tmp_path / "saved" / "model"))
    assert saved.where(f"file = '{model.path.name}'").count() == -(-size // pieces.PIECE)
    loaded = PropensityModel.load(str(tmp_path / "saved"))
    (source,) = loaded._models.values()
    assert source.digest == PropensityModel.fromPath(folder)._models[""].digest


def test_damaged_files_are_refused(spark, directory, tmp_path):
    saved = tmp_path / "saved"
    PropensityModel.fromPath(directory).save(str(saved))
    rest = spark.read.parquet(str(saved / "model")).where("NOT file LIKE '%.params'")
    rest.write.parquet(str(tmp_path / "rest"))
    for file in (saved / "model").iterdir():
        file.unlink()
    for file in (tmp_path / "rest").glob("*.parquet"):
        file.rename(saved / "model" / file.name)
    with pytest.raises(ModelFormatError, match="the files of 'model' are damaged or incomplete"):
        PropensityModel.load(str(saved))


def test_other_content_of_the_same_size_is_refused(spark, directory, tmp_path):
    saved = tmp_path / "saved"
    PropensityModel.fromPath(directory).save(str(saved))
    pieces = spark.read.parquet(str(saved / "model"))
    (first, *rest) = pieces.collect()
    changed = first.content[:-1] + bytes([first.content[-1] ^ 1])
    rows = [(*first[:3], bytearray(changed)), *map(tuple, rest)]
    made = spark.createDataFrame(rows, pieces.schema)
    made.write.mode("overwrite").parquet(str(saved / "model"))
    with pytest.raises(ModelFormatError, match="the files of 'model' are damaged or incomplete"):
        PropensityModel.load(str(saved))


@pytest.mark.parametrize(
    ("file", "piece", "size"),
    [
        ("{outside}", 0, 3),
        ("{outside}", 0, 0),
        ("../../outside", 0, 3),
        ("model-0001.params", 1, 3),
    ],
)
def test_pieces_that_are_of_no_file_are_refused(spark, directory, tmp_path, file, piece, size):
    saved, outside = tmp_path / "saved", tmp_path / "outside"
    outside.write_text("mine")
    model = PropensityModel.fromPath(directory)
    model.save(str(saved))
    (source,) = model._models.values()
    content = bytearray(b"x" * size)
    row = (source.digest, file.format(outside=outside), piece, content)
    schema = "model string, file string, piece long, content binary"
    spark.createDataFrame([row], schema).write.mode("append").parquet(str(saved / "model"))
    with pytest.raises(ModelFormatError, match=r"a piece of .*, which is of no model"):
        PropensityModel.load(str(saved))
    assert outside.read_text() == "mine"


def change_metadata(saved, change):
    (file,) = (saved / "metadata").glob("part-*")
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))
    file.with_name(f".{file.name}.crc").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"files": [["{outside}", 3]]}, "is no name of a file"),
        ({"files": [["../../outside", 3]]}, "'../../outside' is no name of a file"),
        ({"digest": "..", "files": []}, "'..' is no name of a file"),
        ({"digest": ""}, "'' is no name of a file"),
        ({"files": [["model-symbol.json", 1 << 50]]}, "a piece of .*, which is of no model"),
        ({"files": [["model-symbol.json", "x"]]}, "the metadata of the models is damaged"),
        ({"files": [["model-symbol.json"]]}, "the metadata of the models is damaged"),
        ({"digest": 7}, "the metadata of the models is damaged"),
        ({"options": {"warp": 9}}, "the metadata of the models is damaged"),
        (None, "the metadata of the models is damaged"),
    ],
)
def test_damaged_metadata_is_refused(directory, tmp_path, change, reason):
    saved, outside = tmp_path / "saved", tmp_path / "outside"
    outside.write_text("mine")
    PropensityModel.fromPath(directory).save(str(saved))

    def damage(metadata):
        if change is None:
            del metadata["models"]
            return
        text = json.dumps(change).replace("{outside}", str(outside))
        metadata["models"][""].update(json.loads(text))

    change_metadata(saved, damage)
    with pytest.raises(ModelFormatError, match=rf"saved.*: .*{reason}"):
        PropensityModel.load(str(saved))
    assert outside.read_text() == "mine"


def test_nothing_is_overwritten_unasked(directory, tmp_path):
    model = PropensityModel.fromPath(directory)
    model.save(str(tmp_path / "saved"))
    with pytest.raises(Exception, match=r"(?i)already exists"):
        model.save(str(tmp_path / "saved"))

"""Many models: each row is scored with the one that its column names."""

from __future__ import annotations

import numpy as np
import pytest
from support.models import retail
from support.spark import require_spark

import fastprop

require_spark()

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.spark import PropensityModel

ARRAYS = {"indicesCol": "indices", "valuesCol": "values", "modelCol": "region"}
REGIONS = ("north", "south", "west")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A directory of model directories; they differ in labels as well."""
    root = tmp_path_factory.mktemp("models")
    for seed, region in enumerate(REGIONS):
        retail(root / region, seed=seed, n_heads=5 + seed)
    (root / "README.txt").write_text("not a model")
    return root


@pytest.fixture(scope="module")
def regions(customers):
    """Regions mixed within each batch; 'east' has no model, and some have no region."""
    named = "element_at(array('north', 'south', 'west', 'east', NULL), int(customer_id % 5) + 1)"
    return customers.selectExpr("*", f"{named} AS region").cache()


@pytest.fixture(scope="module")
def expected_by_region(models, rows):
    scores = {}
    for region in REGIONS:
        with fastprop.load_model(models / region).predictor() as predictor:
            scores[region] = predictor.predict(rows)
    return scores


def check(found, expected):
    for row in found:
        want = expected[row["region"]][row["customer_id"]]
        np.testing.assert_array_equal(np.float32(row["probability"]), want)


def test_each_row_is_scored_with_its_model(models, regions, expected_by_region):
    model = PropensityModel.fromPaths(models, **ARRAYS)
    known = regions.where("region IN ('north', 'south', 'west')")
    found = model.transform(known).collect()
    assert len(found) == 36
    check(found, expected_by_region)


def test_rows_without_a_model_fail_the_task(models, regions):
    model = PropensityModel.fromPaths(models, **ARRAYS)
    with pytest.raises(Exception, match=r"partition \d+, row \d+: region: (no model for|is null)"):
        model.transform(regions).collect()


def test_rows_without_a_model_are_skipped(models, regions, expected_by_region):
    model = PropensityModel.fromPaths(models, handleInvalid="skip", **ARRAYS)
    found = model.transform(regions).collect()
    assert len(found) == 36
    check(found, expected_by_region)


def test_rows_without_a_model_are_kept(models, regions, expected_by_region):
    model = PropensityModel.fromPaths(
        {region: str(models / region) for region in REGIONS},
        handleInvalid="keep",
        errorCol="error",
        **ARRAYS,
    )
    before = [row["customer_id"] for row in regions.collect()]
    found = model.transform(regions).collect()
    assert [row["customer_id"] for row in found] == before
    check([row for row in found if row["region"] in REGIONS], expected_by_region)
    wrong = {row["region"]: row["error"] for row in found}
    assert wrong["east"] == "region: no model for 'east'"
    assert wrong[None] == "region: is null"
    assert wrong["north"] is None


def test_no_row_has_a_model(models, regions):
    keep = PropensityModel.fromPaths(models, handleInvalid="keep", topKCol="top", **ARRAYS)
    found = keep.transform(regions.where("region = 'east'")).collect()
    assert [row["top"] for row in found] == [None] * 12


def test_top_labels_are_those_of_the_rows_model(models, regions):
    model = PropensityModel.fromPaths(models, topKCol="top", topK=20, **ARRAYS)
    found = model.transform(regions.where("region = 'west' OR region = 'north'")).collect()
    assert {(row["region"], len(row["top"])) for row in found} == {("north", 5), ("west", 7)}


def test_integers_name_models(models, customers):
    numbered = customers.selectExpr("*", "CAST(customer_id % 2 AS int) AS region")
    model = PropensityModel.fromPaths(
        {"0": str(models / "north"), "1": str(models / "south")}, topKCol="top", **ARRAYS
    )
    found = model.transform(numbered).collect()
    assert {(row["customer_id"] % 2, len(row["top"])) for row in found} == {(0, 5), (1, 6)}


def test_labels_and_columns_of_several_models(models, customers):
    model = PropensityModel.fromPaths(models, **{**ARRAYS, "modelCol": "values"})
    with pytest.raises(InvalidInputError, match="labels are of one model, and there are 3"):
        _ = model.labels
    with pytest.raises(DTypeError, match="modelCol 'values': array<float>, and strings or"):
        model.transform(customers)


def test_what_fromPaths_refuses(models, tmp_path):
    with pytest.raises(InvalidInputError, match="no model is given"):
        PropensityModel.fromPaths({}, modelCol="region")
    with pytest.raises(InvalidInputError, match="fromPaths needs modelCol"):
        PropensityModel.fromPaths(models, featuresCol="map")
    with pytest.raises(InvalidInputError, match="no model in it"):
        PropensityModel.fromPaths(tmp_path, modelCol="region")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        PropensityModel.fromPaths(tmp_path / "nowhere", modelCol="region")

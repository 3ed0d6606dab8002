"""Arguments of `score_files` and its like that cannot be used: named, and nothing is written."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from fastprop.errors import DTypeError, InvalidInputError, PredictorClosedError
from fastprop.io import RoutedModel, ScoreOptions, score_files, score_files_by_model

from .fake_predictor import FakePredictor
from .samples import as_table, random_rows

TWO = np.array([1, 2])
BAD = {
    "predictor": [None, 5, "model", FakePredictor, SimpleNamespace(predict=len)],
    "inputs": [None, "in.parquet", b"in.parquet", np.array(3), [None]],
    "output": [None, b"out.csv", 5, TWO, "", "a\0b.csv", "\udcff.csv"],
    "n_features": [None, "5", 1.5, True, TWO, 0, -1, 10**30],
    "labels": [None, 5, "ab", b"ab", [1], [None], {"a"}, TWO, pa.array([1]), ["\ud800"]],
    "options": [{}, False, "fast", TWO, ScoreOptions],
    "model": [5, "", False, TWO, [("a", 1)], {"a": np.int64(1)}, {"a": {1}}, {"a": "\ud800"}],
    "progress": [5, True, "bar", TWO],
}
CASES = [(name, given) for name, values in BAD.items() for given in values]
PLACES = {"inputs": "input", "output": "path"}


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = as_table(random_rows(3)).append_column("who", pa.array(["eu"] * 3))
    pa.parquet.write_table(table, "in.parquet")
    fake = FakePredictor()
    return {
        "predictor": fake,
        "inputs": ["in.parquet"],
        "output": "out.csv",
        "n_features": fake.n_features,
        "labels": fake.labels,
    }


@pytest.mark.parametrize(("name", "bad"), CASES, ids=lambda given: repr(given)[:20])
@pytest.mark.parametrize("output", ["out.csv", "out/"])
def test_what_cannot_be_used_is_named(given, name, bad, output):
    with pytest.raises(InvalidInputError, match=PLACES.get(name, name)):
        score_files(**{**given, "output": output, name: bad})
    assert os.listdir() == ["in.parquet"]


def test_a_closed_predictor(given):
    given["predictor"].closed = True
    with pytest.raises(PredictorClosedError, match="predictor is closed: make another"):
        score_files(**given)
    assert os.listdir() == ["in.parquet"]


BAD_MODELS = {
    "a list": ([1], r"models is \[1\], and a mapping"),
    "an array": (TWO, "models is array"),
    "no name": ({1: None}, r"models\[1\]: names are str"),
    "no model": ({"eu": FakePredictor()}, r"models\['eu'\] is .*, and a RoutedModel is needed"),
    "no width": ({"eu": RoutedModel(None, ["a"], FakePredictor)}, r"'eu'\]\.n_features is None"),
    "no labels": ({"eu": RoutedModel(5, None, FakePredictor)}, r"models\['eu'\]\.labels: expected"),
    "no function": ({"eu": RoutedModel(5, ["a"], None)}, r"models\['eu'\]\.open is None"),
    "no scorer": ({"eu": RoutedModel(50, ["a"], object)}, r"open\(\) gives is .*, and what scores"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_models_that_rows_cannot_go_to(given, case):
    models, message = BAD_MODELS[case]
    with pytest.raises(DTypeError, match=message):
        score_files_by_model(models, given["inputs"], "out.csv", column="who")
    assert os.listdir() == ["in.parquet"]


@pytest.mark.parametrize("column", [None, 5, b"who", TWO, ["who"]], ids=repr)
def test_the_column_that_names_a_model(given, column):
    models = {"eu": RoutedModel(given["n_features"], given["labels"], FakePredictor)}
    with pytest.raises(DTypeError, match=r"column is .*, and the name of a column is needed"):
        score_files_by_model(models, given["inputs"], "out.csv", column=column)


def test_numbers_of_numpy_are_options_of_a_directory(given):
    options = ScoreOptions(
        top_k=np.int64(2), threshold=np.float32(0.25), part_rows=np.int32(2), resume=np.bool_(False)
    )
    assert [type(each) for each in (options.top_k, options.threshold, options.resume)] == [
        int,
        float,
        bool,
    ]
    summary = score_files(**{**given, "output": "out/", "options": options})
    assert (summary.rows, type(options.part_rows)) == (3, int)


@pytest.mark.parametrize("column", ["indices", "who", "gone"])
@pytest.mark.parametrize("extension", ["parquet", "arrow"])
def test_columns_that_hold_no_rows_name_the_file(given, column, extension):
    if extension == "arrow":
        pa.feather.write_feather(pa.parquet.read_table("in.parquet"), "in.arrow")
    options = ScoreOptions(features_column=column)
    message = rf"^in\.{extension}: (no column 'gone'|{column}: .* holds no sparse rows)"
    with pytest.raises(InvalidInputError, match=message):
        score_files(**{**given, "inputs": [f"in.{extension}"], "options": options})
    assert not os.path.exists("out.csv")

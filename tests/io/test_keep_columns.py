"""Columns of the input, or of its folders, that go to the output."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from fastprop.errors import InvalidInputError
from fastprop.io import RoutedModel, ScoreOptions, score_files, score_files_by_model

from .fake_predictor import FakePredictor
from .samples import as_table, random_rows, write_parquet, write_svmlight


def score(inputs, output, **options):
    fake = FakePredictor()
    return score_files(
        fake,
        [str(path) for path in inputs],
        str(output),
        n_features=fake.n_features,
        labels=fake.labels,
        options=ScoreOptions(**{"batch_rows": 16, "top_k": 2, **options}),
    )


@pytest.fixture
def table():
    n = 50
    table = as_table(random_rows(n))
    table = table.append_column("age", pa.array([None, *range(1, n)], pa.int16()))
    names = pa.array(['a "b", c', "d"] * (n // 2))
    return table.append_column("name", names.dictionary_encode())


def test_columns_of_parquet_and_arrow_files(tmp_path, table):
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=20)
    pyarrow.feather.write_feather(table, tmp_path / "in.arrow")
    inputs = [tmp_path / "in.parquet", tmp_path / "in.arrow"]
    score(inputs, tmp_path / "out.parquet", keep_columns=("name", "age"))
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.schema.names == ["customer_id", "name", "age", "top"]
    assert out.schema.field("name").type == pa.string()
    assert out.schema.field("age").type == pa.int16()
    for name in ("customer_id", "name", "age"):
        assert out[name].to_pylist() == 2 * table[name].to_pylist()
    score(inputs, tmp_path / "out.jsonl", keep_columns=("name", "age"))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert list(lines[0]) == ["customerId", "name", "age", "predictions"]
    assert [line["name"] for line in lines[:50]] == table["name"].to_pylist()
    assert [line["age"] for line in lines[:50]] == table["age"].to_pylist()
    score(inputs, tmp_path / "out.csv", keep_columns=("name", "age"))
    with open(tmp_path / "out.csv", newline="") as file:
        records = list(csv.DictReader(file))
    assert list(records[0]) == ["id", "name", "age", "label", "score"]
    assert [record["name"] for record in records[:100:2]] == table["name"].to_pylist()
    assert [record["age"] for record in records[:4]] == ["", "", "1", "1"]


def test_bad_rows_take_their_columns_along(tmp_path, table):
    indices = table["indices"].to_pylist()
    values = table["values"].to_pylist()
    indices[3], values[3] = [77], [1.0]  # found by the predictor
    indices[30] = [*indices[30], 1]  # found by the reader
    table = table.set_column(1, "indices", pa.array(indices, pa.list_(pa.int32())))
    table = table.set_column(2, "values", pa.array(values, pa.list_(pa.float32())))
    pq.write_table(table, tmp_path / "in.parquet")
    score(
        [tmp_path / "in.parquet"],
        tmp_path / "out.parquet",
        keep_columns=("age",),
        on_bad_row="skip",
    )
    out = pq.read_table(tmp_path / "out.parquet")
    kept = [age for row, age in enumerate(table["age"].to_pylist()) if row not in (3, 30)]
    assert out["age"].to_pylist() == kept


def test_columns_of_folders(tmp_path, table):
    for day, region in (("1", "eu"), ("1", "us"), ("2", "a%20b")):
        folder = tmp_path / f"in/day={day}/region={region}"
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "part.parquet")
    keep = ("region", "age", "day")
    score([tmp_path / "in"], tmp_path / "out.parquet", keep_columns=keep)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["day"].to_pylist() == ["1"] * 100 + ["2"] * 50
    assert out["region"].to_pylist() == ["eu"] * 50 + ["us"] * 50 + ["a b"] * 50
    assert out["age"].to_pylist() == 3 * table["age"].to_pylist()
    # Formats without columns have those of their folders, and null is null.
    folder = tmp_path / "text/region=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir(parents=True)
    write_svmlight(folder / "rows.svmlight", random_rows(5))
    score([tmp_path / "text"], tmp_path / "out.jsonl", keep_columns=("region",))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["region"] for line in lines] == [None] * 5


def test_with_a_model_a_region(tmp_path, table):
    regions = ["eu", "us", "us", "eu", "us"] * 10
    table = table.append_column("region", pa.array(regions))
    (tmp_path / "day=1").mkdir()
    pq.write_table(table, tmp_path / "day=1/in.parquet")
    fake = FakePredictor()
    models = {n: RoutedModel(fake.n_features, fake.labels, lambda: fake) for n in ("eu", "us")}
    score_files_by_model(
        models,
        [str(tmp_path / "day=1/in.parquet")],
        str(tmp_path / "out.parquet"),
        column="region",
        options=ScoreOptions(top_k=1, batch_rows=16, keep_columns=("region", "day", "age")),
    )
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["region"].to_pylist() == regions
    assert out["day"].to_pylist() == ["1"] * 50
    assert out["age"].to_pylist() == table["age"].to_pylist()


def test_columns_that_cannot_be_kept(tmp_path, table):
    write_svmlight(tmp_path / "rows.svmlight", random_rows(5))
    with pytest.raises(InvalidInputError, match="svmlight has no column 'age' for the output"):
        score([tmp_path / "rows.svmlight"], tmp_path / "out.csv", keep_columns=("age",))
    source = write_parquet(tmp_path / "a.parquet", random_rows(5))
    with pytest.raises(InvalidInputError, match=r"a\.parquet: no column 'age' for the output"):
        score([source], tmp_path / "out.csv", keep_columns=("age",))
    pq.write_table(table, tmp_path / "b.parquet")
    other = table.set_column(3, "age", pa.array(np.zeros(50)))
    pq.write_table(other, tmp_path / "c.parquet")
    with pytest.raises(InvalidInputError, match=r"c\.parquet: age is double, but int16 in .*b\."):
        score([tmp_path / "[bc].parquet"], tmp_path / "out.csv", keep_columns=("age",))
    for names in (("age", "age"), ("customer_id",), ("predictions",)):
        with pytest.raises(InvalidInputError, match="already"):
            ScoreOptions(keep_columns=names)

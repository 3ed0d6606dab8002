"""Rows of one input for several models."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastprop.errors import InvalidInputError
from fastprop.io import RoutedModel, ScoreOptions, score_files_by_model

from .fake_predictor import FakePredictor
from .samples import as_table, random_rows, write_jsonl, write_parquet, write_svmlight

N_ROWS = 120


class Models:
    """Three models of different widths and labels, and how often each was opened."""

    def __init__(self, *, equal_labels=False):
        self.opened = []
        self.fakes = {}
        for number, name in enumerate(("eu", "us", "asia")):
            fake = FakePredictor(50 + number, 5 if equal_labels else 4 + number, seed=number)
            if not equal_labels:
                # Labels that two models share are one label of the output.
                fake.labels = [f"{name if i % 2 else 'all'}_{i}" for i in range(4 + number)]
            self.fakes[name] = fake

    def __call__(self):
        return {
            name: RoutedModel(fake.n_features, fake.labels, lambda n=name: self._open(n))
            for name, fake in self.fakes.items()
        }

    def _open(self, name):
        self.opened.append(name)
        return self.fakes[name]


def score(models, inputs, output, **options):
    return score_files_by_model(
        models(),
        [str(path) for path in inputs],
        str(output),
        column="region",
        options=ScoreOptions(**{"batch_rows": 16, **options}),
    )


def regions(seed=0):
    return np.random.default_rng(seed).choice(["eu", "us", "asia"], N_ROWS).tolist()


def expected(models, rows, names, k):
    """(label, score) of the best labels, row by row, with each row's own model."""
    wanted = []
    for row, name in enumerate(names):
        fake = models.fakes[name]
        top = fake.predict_top_k(rows[row], k)
        wanted.append(
            [(fake.labels[i], s) for i, s in zip(top.indices[0].tolist(), top.scores[0].tolist())]
        )
    return wanted


def pairs(column):
    return [[(entry["label"], entry["score"]) for entry in row] for row in column.to_pylist()]


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string())])
def test_each_row_goes_to_its_model_and_keeps_its_place(tmp_path, kind):
    models, rows, names = Models(), random_rows(N_ROWS), regions()
    table = as_table(rows).append_column("region", pa.array(names).cast(kind))
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=50)
    summary = score(models, [tmp_path / "in.parquet"], tmp_path / "out.parquet", top_k=5)
    assert (summary.rows, summary.bad_rows) == (N_ROWS, 0)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["customer_id"].to_pylist() == list(range(1000, 1000 + N_ROWS))
    assert pairs(out["top"]) == expected(models, rows, names, 5)
    assert sorted(models.opened) == ["asia", "eu", "us"]


def test_models_whose_names_are_numbers_and_one_that_nobody_needs(tmp_path):
    models, rows = Models(), random_rows(20)
    models.fakes = {"7": models.fakes["us"], "8": models.fakes["eu"]}
    table = as_table(rows).append_column("region", pa.array([7] * 20))
    pq.write_table(table, tmp_path / "in.parquet")
    score(models, [tmp_path / "in.parquet"], tmp_path / "out.parquet", top_k=2)
    out = pq.read_table(tmp_path / "out.parquet")
    assert pairs(out["top"]) == expected(models, rows, ["7"] * 20, 2)
    assert models.opened == ["7"]


@pytest.mark.parametrize("form", ["lists", "object"])
def test_json_records_name_their_model(tmp_path, form):
    models, rows, names = Models(), random_rows(N_ROWS), regions()
    path = tmp_path / "in.jsonl"
    write_jsonl(path, rows, form=form)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [json.dumps({**record, "region": name}) for record, name in zip(records, names)]
    path.write_text("\n".join(lines))
    score(models, [path], tmp_path / "out.parquet", top_k=3)
    out = pq.read_table(tmp_path / "out.parquet")
    assert pairs(out["top"]) == expected(models, rows, names, 3)
    path.write_text(
        "\n".join([*lines, '{"customer_id": 1, "indices": [], "values": [], "region": []}'])
    )
    summary = score(models, [path], tmp_path / "out.parquet", top_k=3, on_bad_row="skip")
    assert (summary.rows, summary.bad_rows) == (N_ROWS, 1)


def test_folders_name_the_model(tmp_path):
    models = Models()
    parts = {name: random_rows(30, seed=number) for number, name in enumerate(["asia", "eu"])}
    for name, rows in parts.items():
        write_parquet(tmp_path / f"in/region={name}/part-0.parquet", rows)
        write_svmlight(tmp_path / f"in/region={name}/part-1.svmlight", rows)
    score(models, [tmp_path / "in"], tmp_path / "out.parquet", top_k=2)
    out = pq.read_table(tmp_path / "out.parquet")
    wanted = [
        row for name, rows in parts.items() for row in 2 * expected(models, rows, [name] * 30, 2)
    ]
    assert pairs(out["top"]) == wanted


@pytest.mark.parametrize("layout", ["column", "folder"])
def test_a_region_without_a_model(tmp_path, layout):
    models, rows = Models(), random_rows(40)
    table = as_table(rows)
    if layout == "column":
        names = ["eu"] * 20 + ["mars"] * 2 + [None] + ["us"] * 17
        source = tmp_path / "in.parquet"
        pq.write_table(table.append_column("region", pa.array(names, pa.string())), source)
    else:
        source = tmp_path / "in"
        for name, part in (("eu", table[:20]), ("mars", table[20:23]), ("us", table[23:])):
            (source / f"region={name}").mkdir(parents=True)
            pq.write_table(part, source / f"region={name}/part.parquet")
    message = "region is 'mars', and there is no such model"
    with pytest.raises(InvalidInputError, match=message):
        score(models, [source], tmp_path / "out", top_k=2)
    summary = score(
        models,
        [source],
        tmp_path / "out",
        top_k=2,
        on_bad_row="quarantine",
        resume=False,
        overwrite=True,
    )
    assert (summary.rows, summary.bad_rows) == (37, 3)
    ids = pq.read_table(tmp_path / "out")["customer_id"].to_pylist()
    assert ids == [*range(1000, 1020), *range(1023, 1040)]
    side = (tmp_path / "out/_quarantine/part-00000.jsonl").read_text().splitlines()
    listed = [json.loads(line) for line in side]
    assert [line["id"] for line in listed] == [1020, 1021, 1022]
    assert message in listed[0]["reason"]
    if layout == "column":
        assert listed[2]["reason"] == "region is null, which names no model"


def test_bad_and_null_rows_of_one_model(tmp_path):
    """Widths differ: column 51 is there for asia only."""
    models = Models()
    table = pa.table(
        {
            "customer_id": [1, 2, 3, 4],
            "indices": pa.array([[51], [51], None, [3]], pa.list_(pa.int32())),
            "values": pa.array([[1.0], [1.0], None, [1.0]], pa.list_(pa.float32())),
            "region": ["asia", "eu", "us", "eu"],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(InvalidInputError, match=r"row 1 \(id 2\): indices\[0\] is 51"):
        score(models, [tmp_path / "in.parquet"], tmp_path / "out.jsonl", top_k=1)
    summary = score(
        models, [tmp_path / "in.parquet"], tmp_path / "out.jsonl", top_k=1, on_bad_row="skip"
    )
    assert (summary.rows, summary.bad_rows, summary.null_rows) == (3, 1, 1)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["customerId"] for line in lines] == [1, 3, 4]
    assert lines[1]["predictions"] is None
    assert len(lines[0]["predictions"]) == 1


def test_all_scores_need_equal_labels(tmp_path):
    rows, names = random_rows(N_ROWS), regions()
    table = as_table(rows).append_column("region", pa.array(names))
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(InvalidInputError, match="'eu' and 'us' have different labels"):
        score(Models(), [tmp_path / "in.parquet"], tmp_path / "out.parquet")
    models = Models(equal_labels=True)
    score(models, [tmp_path / "in.parquet"], tmp_path / "out.parquet")
    scores = np.array(pq.read_table(tmp_path / "out.parquet")["scores"].to_pylist())
    wanted = [models.fakes[name].predict(rows[row])[0] for row, name in enumerate(names)]
    np.testing.assert_allclose(scores, wanted, atol=1e-6)


def test_a_threshold_alone_keeps_every_label_above(tmp_path):
    models, rows, names = Models(), random_rows(N_ROWS), regions()
    table = as_table(rows).append_column("region", pa.array(names))
    pq.write_table(table, tmp_path / "in.parquet")
    score(models, [tmp_path / "in.parquet"], tmp_path / "out.parquet", threshold=0.5)
    wanted = [
        [(label, value) for label, value in row if value >= 0.5]
        for row in expected(models, rows, names, 6)
    ]
    assert pairs(pq.read_table(tmp_path / "out.parquet")["top"]) == wanted


def test_what_names_no_model_at_all(tmp_path):
    write_parquet(tmp_path / "in.parquet", random_rows(5))
    with pytest.raises(InvalidInputError, match=r"in\.parquet: no column 'region' for the model"):
        score(Models(), [tmp_path / "in.parquet"], tmp_path / "out.parquet", top_k=1)
    write_svmlight(tmp_path / "in.svmlight", random_rows(5))
    with pytest.raises(InvalidInputError, match="svmlight has no column 'region'"):
        score(Models(), [tmp_path / "in.svmlight"], tmp_path / "out.parquet", top_k=1)
    with pytest.raises(InvalidInputError, match="no model"):
        score_files_by_model({}, ["x"], "y", column="region")

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprop.errors import InvalidInputError
from fastprop.io.writers import (
    OutputSchema,
    ScoredBatch,
    format_of_output,
    open_writer,
)
from fastprop.io.writers.text import csv_text, float_text, json_text

LABELS = ["category_a", 'quo"te', "com,ma", "back\\slash", "ü\n"]


def write(output_format, batches, *, labels=LABELS, id_type=None):
    sink = pa.BufferOutputStream()
    schema = OutputSchema(
        id_column="customer_id",
        id_type=id_type or batches[0].ids.type,
        labels=pa.array(labels, pa.string()),
        ranked=batches[0].indices is not None,
    )
    writer = open_writer(output_format, sink, schema)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return sink.getvalue().to_pybytes()


def full_batch(n_rows=4, *, nulls=None, ids=None, seed=0):
    scores = np.random.default_rng(seed).random((n_rows, len(LABELS)), dtype=np.float32)
    return ScoredBatch(ids if ids is not None else pa.array(range(n_rows)), scores, None, nulls)


def ranked_batch(ids=None):
    indices = np.array([[4, 0], [2, -1], [-1, -1], [3, 1]], dtype=np.int32)
    scores = np.array([[0.8136, 0.5], [1.0, np.nan], [np.nan, np.nan], [0.1, 1e-9]], np.float32)
    nulls = np.array([False, False, False, True])
    return ScoredBatch(ids or pa.array(["a", "b", None, "ü,"]), scores, indices, nulls)


def test_parquet_holds_all_scores():
    nulls = np.array([False, True, False, False])
    batch = full_batch(nulls=nulls)
    data = write("parquet", [batch, full_batch(seed=1)])
    table = pq.read_table(pa.BufferReader(data))
    assert table.schema.names == ["customer_id", "scores"]
    assert table.schema.field("scores").type == pa.list_(pa.field("element", pa.float32()))
    rows = table["scores"].to_pylist()
    assert rows[1] is None
    np.testing.assert_array_equal(np.array(rows[2], np.float32), batch.scores[2])
    assert table["customer_id"].to_pylist() == [0, 1, 2, 3] * 2
    assert json.loads(table.schema.metadata[b"fastprop.labels"]) == LABELS


def test_parquet_holds_the_best_labels_as_strings():
    data = write("parquet", [ranked_batch()])
    table = pq.read_table(pa.BufferReader(data))
    item = table.schema.field("top").type.value_type
    assert item == pa.struct([("label", pa.string()), ("score", pa.float32())])
    assert table["top"].to_pylist() == [
        [{"label": "ü\n", "score": np.float32(0.8136)}, {"label": "category_a", "score": 0.5}],
        [{"label": "com,ma", "score": 1.0}],
        [],
        None,
    ]


def test_parquet_row_groups_are_bounded(monkeypatch):
    monkeypatch.setattr("fastprop.io.writers.parquet._ROW_GROUP_ROWS", 10)
    data = write("parquet", [full_batch(seed=seed) for seed in range(7)])
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [12, 12, 4]


def test_json_lines():
    lines = write("jsonl", [ranked_batch()]).decode().splitlines()
    assert lines[0] == ('{"customerId": "a", "predictions": {"ü\\n": 0.8136, "category_a": 0.5}}')
    assert lines[1] == '{"customerId": "b", "predictions": {"com,ma": 1.0}}'
    assert lines[2] == '{"customerId": null, "predictions": {}}'
    assert lines[3] == '{"customerId": "ü,", "predictions": null}'
    batch = full_batch()
    for line, row_id, scores in zip(write("jsonl", [batch]).splitlines(), range(4), batch.scores):
        record = json.loads(line)
        assert record["customerId"] == row_id
        assert list(record["predictions"]) == LABELS
        written = np.array(list(record["predictions"].values()), dtype=np.float32)
        np.testing.assert_array_equal(written, scores)


def test_csv():
    text = write("csv", [ranked_batch()]).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [
        ["id", "label", "score"],
        ["a", "ü\n", "0.8136"],
        ["a", "category_a", "0.5"],
        ["b", "com,ma", "1.0"],
    ]
    batch = full_batch(ids=pa.array([1.5, 2.5, 3.5, 4.5]))
    rows = list(csv.reader(io.StringIO(write("csv", [batch]).decode(), newline="")))[1:]
    assert [row[:2] for row in rows] == [
        [str(n + 1.5), label] for n in range(4) for label in LABELS
    ]
    written = np.array([row[2] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(written, batch.scores.ravel())


@pytest.mark.parametrize("output_format", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("make", [full_batch, ranked_batch])
def test_large_batches_are_cut_up_unnoticed(output_format, make, monkeypatch):
    whole = write(output_format, [make()])
    monkeypatch.setattr("fastprop.io.writers.text.MAX_ENTRIES", 7)
    assert write(output_format, [make()]) == whole


@pytest.mark.parametrize("output_format", ["parquet", "jsonl", "csv"])
def test_no_rows_make_a_whole_file(output_format):
    schema = OutputSchema("id", pa.int64(), pa.array(LABELS), ranked=True)
    sink = pa.BufferOutputStream()
    open_writer(output_format, sink, schema).close()
    data = sink.getvalue().to_pybytes()
    if output_format == "parquet":
        assert pq.read_table(pa.BufferReader(data)).num_rows == 0
    else:
        assert data == {"jsonl": b"", "csv": b"id,label,score\n"}[output_format]


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.floats(width=32), min_size=1))
def test_floats_read_back_as_the_same_float32(values):
    array = np.array(values, dtype=np.float32)
    for text, value in zip(float_text(array, not_finite="null").to_pylist(), array):
        if not np.isfinite(value):
            assert text == "null"
            continue
        read = json.loads(text)
        assert isinstance(read, float)
        assert np.float32(read).tobytes() == value.tobytes()
        assert len(text) <= len(repr(value.item())) or value == np.trunc(value)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.none() | st.text(st.characters(codec="utf-8"))))
def test_strings_read_back_from_json_and_csv(values):
    array = pa.array(values, pa.string())
    assert [json.loads(text) for text in json_text(array).to_pylist()] == values
    fields = csv_text(array).to_pylist()
    read = list(csv.reader(io.StringIO("".join(f"x,{text}\r\n" for text in fields), newline="")))
    assert [row[1] for row in read] == [value or "" for value in values]


def test_ids_of_other_types_in_json():
    assert json_text(pa.array([1, None])).to_pylist() == ["1", "null"]
    assert json_text(pa.array([True])).to_pylist() == ["true"]
    assert json_text(pa.array([1.5, float("nan"), None])).to_pylist() == ["1.5", "null", "null"]
    assert json_text(pa.array([b"\x01\xff"])).to_pylist() == ['"01ff"']
    assert json_text(pa.array([0], pa.date32())).to_pylist() == ['"1970-01-01"']
    assert json_text(pa.array([], pa.string())).to_pylist() == []


def test_formats_by_extension():
    assert format_of_output("a/b.parquet") == "parquet"
    assert format_of_output("b.JSONL") == "jsonl"
    assert format_of_output("b.csv") == "csv"
    assert format_of_output("b") is None
    with pytest.raises(InvalidInputError, match="unknown output format 'xml'"):
        open_writer("xml", None, OutputSchema("id", pa.int64(), pa.array(LABELS), ranked=True))

"""What the fuzzers found, each by itself."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.models import retail

import fastprop
from fastprop.features.settings import TransactionColumns
from fastprop.features.transactions import Transactions, read_transactions
from fastprop.io.batches import ReadOptions
from fastprop.io.files import find_inputs
from fastprop.io.readers import open_reader

HONEST = {2: (0, 3), 3: (0, 1, 3)}


def lists(places):
    """List columns over offsets that may change under them, as no check of Arrow's sees."""
    shared = pa.py_buffer(places)
    return [
        pa.Array.from_buffers(pa.list_(child.type), len(places) - 1, [None, shared], 0, 0, [child])
        for child in (pa.array([1, 2, 3], pa.int32()), pa.array([1, 2, 3], pa.float32()))
    ]


LIES = [(0, 3, 1), (2, 0), (0, 4), (-1, 2), (0, 2**31 - 1), (3, -(2**31))]


@pytest.mark.parametrize("offsets", LIES)
def test_arrow_offsets_that_lead_elsewhere(tmp_path, offsets):
    places = np.array(HONEST[len(offsets)], dtype=np.int32)
    indices, values = lists(places)
    batch = pa.record_batch({"indices": indices, "values": values})
    rows = pa.StructArray.from_arrays([indices, values], ["indices", "values"])
    places[:] = offsets
    with retail(tmp_path).predictor(threads=1) as predictor:
        with pytest.raises(fastprop.InvalidInputError):
            predictor.predict(batch)
        with pytest.raises(fastprop.InvalidInputError):
            predictor.predict(rows)


@pytest.mark.parametrize("offsets", LIES)
def test_arrow_files_with_such_offsets(tmp_path, offsets):
    honest = np.array(HONEST[len(offsets)], dtype=np.int32)
    indices, values = lists(honest)
    ids = pa.array(range(len(indices)))
    batch = pa.record_batch({"customer_id": ids, "indices": indices, "values": values})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = sink.getvalue()
    assert data.count(honest.tobytes()) >= 2
    path = str(tmp_path / "rows.arrow")
    Path(path).write_bytes(
        data.replace(honest.tobytes(), np.array(offsets, dtype=np.int32).tobytes())
    )
    reader = open_reader(find_inputs([path])[0], ReadOptions(n_features=10))
    with pytest.raises(fastprop.InvalidInputError, match=r"rows\.arrow"):
        list(reader.read(reader.slices()[0]))


@pytest.mark.parametrize("shape", [b"(", b"(3,", b"(3 3)", b"'", b"(99999999999999999999,)"])
def test_numpy_headers_that_are_no_literal(tmp_path, shape):
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': " + shape + b", }\n"
    path = str(tmp_path / "rows.npz")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("format", "shape", "indptr", "indices", "data"):
            data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
            archive.writestr(f"{name}.npy", data + bytes(64))
    with pytest.raises(fastprop.InvalidInputError, match=r"rows\.npz"):
        open_reader(find_inputs([path])[0], ReadOptions(n_features=10))


@pytest.mark.parametrize("name", ["indices", "features", "other"])
def test_arrow_names_that_are_no_text(tmp_path, name):
    fields = [("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float32()))]
    kind = pa.struct([*fields, ("other", pa.int8())])
    batch = pa.record_batch({"features": pa.array([None], kind)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = sink.getvalue().replace(name.encode(), b"\xf3" * len(name))
    with pa.ipc.open_stream(data) as stream:
        broken = stream.read_next_batch()
    told = pytest.raises(fastprop.InvalidInputError, match="not UTF-8")
    with retail(tmp_path).predictor(threads=1) as predictor, told:
        predictor.predict(broken)


def test_a_matrix_of_fewer_than_no_rows(tmp_path):
    nothing = np.zeros(0, dtype=np.int64)
    with retail(tmp_path).predictor(threads=1) as predictor:
        rows = fastprop.CSR(nothing, nothing, nothing, (-1, predictor.model.n_features))
        with pytest.raises(fastprop.ShapeError, match="negative"):
            predictor.predict(rows)


def test_an_empty_array_of_complex_numbers(tmp_path):
    with retail(tmp_path).predictor(threads=1) as predictor:
        n_features = predictor.model.n_features
        indptr, indices = np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.int32)
        rows = fastprop.CSR(indptr, indices, np.zeros(0, np.complex64), (1, n_features))
        assert predictor.predict(rows).shape == (1, predictor.model.n_labels)


def test_lists_of_lists_in_a_row(tmp_path):
    with retail(tmp_path).predictor(threads=1) as predictor:
        for row in (([[1], [2, 3]], [1.0, 2.0]), ([1, 2], [[1.0], [2.0, 3.0]])):
            with pytest.raises(fastprop.ShapeError, match=r"rows\[1\]"):
                predictor.predict([([], []), row])


def test_a_header_of_transactions_that_is_no_text(tmp_path):
    path = tmp_path / "lines.csv"
    path.write_bytes(b"customer_id,\xa9,time\n1,2,2024-01-01\n")
    with pytest.raises(fastprop.InvalidInputError, match=r"lines\.csv"):
        read_transactions(path, TransactionColumns())


@pytest.mark.parametrize("field", ["type", "size"])
@pytest.mark.parametrize("kind", [pa.bool_(), pa.uint8(), pa.uint64(), pa.string()], ids=str)
def test_vectors_whose_size_or_type_is_null_or_of_another_type(tmp_path, field, kind):
    types = {"type": pa.int8(), "size": pa.int32()}
    fields = {
        **{name: pa.array([None], kind if name == field else types[name]) for name in types},
        "indices": pa.array([[1]], pa.list_(pa.int32())),
        "values": pa.array([[1.0]], pa.list_(pa.float64())),
    }
    rows = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    told = pytest.raises(fastprop.InvalidInputError, match=r"rows\[0\]|integers")
    with retail(tmp_path).predictor(threads=1) as predictor, told:
        predictor.predict(rows)


@pytest.mark.parametrize("nested", [False, True])
def test_arrow_types_that_pyarrow_has_no_class_for(tmp_path, nested):
    interval = pa.month_day_nano_interval()
    kind = pa.list_(interval) if nested else interval
    schema = pa.schema([("indices", pa.list_(pa.int32())), ("values", kind)])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array([], f.type) for f in schema], schema=schema))
    # The unit of an interval in a schema's bytes: from months, days and nanoseconds to months.
    units = (b"\6\0\0\0\0\0\2\0", b"\6\0\0\0\0\0\0\0")
    data = sink.getvalue()
    assert data.count(units[0]) == 1
    with pa.ipc.open_stream(data.replace(*units)) as stream:
        broken = stream.read_next_batch()
    assert "month_interval" in str(broken.schema)
    told = pytest.raises(fastprop.DTypeError, match="pyarrow cannot read")
    with retail(tmp_path).predictor(threads=1) as predictor, told:
        predictor.predict(broken)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\n \t"])
def test_json_lines_that_begin_with_null(tmp_path, mark):
    good = b'{"id": 5, "indices": [1], "values": [2.0]}\n'
    path = str(tmp_path / "rows.jsonl")
    Path(path).write_bytes(mark + b"null\n" + good)
    options = ReadOptions(n_features=10, id_column="id", collect_faults=True)
    reader = open_reader(find_inputs([path])[0], options)
    batches = list(reader.read(reader.slices()[0]))
    assert [row.number for batch in batches for row in batch.bad] == [1 + mark.count(b"\n")]
    assert [batch.ids.to_pylist() for batch in batches] == [[5]]


@pytest.mark.parametrize("engine", ["auto", "native"])
def test_a_constant_without_its_value(tmp_path, engine):
    path = next(retail(tmp_path).path.parent.glob("*-symbol.json"))
    symbol = json.loads(path.read_text())
    places = [i for i, node in enumerate(symbol["nodes"]) if node["name"] == "bias"]
    symbol["nodes"][places[0]] = {
        "op": "_full",
        "name": "bias",
        "attrs": {"shape": "(16,)"},
        "inputs": [],
    }
    symbol["arg_nodes"].remove(places[0])
    path.write_text(json.dumps(symbol))
    model = fastprop.load_model(tmp_path)
    with pytest.raises(fastprop.FastpropError, match="value is missing"):
        model.predictor(engine=engine)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_transactions_with_a_column_twice(tmp_path, suffix):
    names = ["customer_id", "item", "time", "item"]
    path = tmp_path / f"lines.{suffix}"
    if suffix == "csv":
        path.write_text(",".join(names) + "\n1,milk,2024-01-01,bread\n")
    else:
        pq.write_table(pa.table([pa.array(["1"])] * 4, names=names), path)
    columns = TransactionColumns(customer="customer_id", item="item", time="time")
    with pytest.raises(fastprop.InvalidInputError, match=r"lines\..*more than one column 'item'"):
        read_transactions(path, columns)
    with pytest.raises(fastprop.InvalidInputError, match="more than one column 'item'"):
        Transactions.from_table(pa.table([pa.array(["1"])] * 4, names=names), columns)


@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
def test_rows_with_two_columns_of_ids(tmp_path, suffix):
    kinds = [pa.int64(), pa.int64(), pa.list_(pa.int32()), pa.list_(pa.float64())]
    table = pa.table(
        [pa.array([], kind) for kind in kinds], names=["id", "id", "indices", "values"]
    )
    path = str(tmp_path / f"rows.{suffix}")
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    options = ReadOptions(n_features=10, id_column="id")
    with pytest.raises(fastprop.InvalidInputError, match="more than one column 'id'"):
        open_reader(find_inputs([path])[0], options)

"""What the fuzzers found, each by itself."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from support.models import retail

import fastprop
from fastprop.features.settings import TransactionColumns
from fastprop.features.transactions import read_transactions
from fastprop.io.batches import ReadOptions
from fastprop.io.files import find_inputs
from fastprop.io.readers import open_reader


def lying_lists(*offsets):
    """List columns whose offsets are not what Arrow allows."""
    places = pa.py_buffer(np.array(offsets, dtype=np.int32))
    n_rows = len(offsets) - 1
    return [
        pa.Array.from_buffers(pa.list_(child.type), n_rows, [None, places], children=[child])
        for child in (pa.array([1, 2, 3], pa.int32()), pa.array([1, 2, 3], pa.float32()))
    ]


LIES = [(0, 3, 1), (2, 0), (0, 4), (-1, 2), (0, 2**31 - 1), (3, -(2**31))]


@pytest.mark.parametrize("offsets", LIES)
def test_arrow_offsets_that_lead_elsewhere(tmp_path, offsets):
    indices, values = lying_lists(*offsets)
    batch = pa.record_batch({"indices": indices, "values": values})
    with retail(tmp_path).predictor(threads=1) as predictor:
        with pytest.raises(fastprop.InvalidInputError):
            predictor.predict(batch)
        with pytest.raises(fastprop.InvalidInputError):
            predictor.predict(pa.StructArray.from_arrays([indices, values], ["indices", "values"]))


@pytest.mark.parametrize("offsets", LIES)
def test_arrow_files_with_such_offsets(tmp_path, offsets):
    indices, values = lying_lists(*offsets)
    ids = pa.array(range(len(indices)))
    batch = pa.record_batch({"customer_id": ids, "indices": indices, "values": values})
    path = str(tmp_path / "rows.arrow")
    try:
        with pa.ipc.new_stream(path, batch.schema) as writer:
            writer.write_batch(batch)
    except pa.ArrowException:
        return  # Arrow does not write this lie
    reader = open_reader(find_inputs([path])[0], ReadOptions(n_features=10))
    with pytest.raises(fastprop.InvalidInputError, match=r"rows\.arrow"):
        list(reader.read(reader.slices()[0]))


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

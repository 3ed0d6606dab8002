"""Sizes far from the usual: right scores or an error that says what was too large."""

from __future__ import annotations

import mmap
import os
import re
import struct
import time

import numpy as np
import pyarrow as pa
import pytest
from support.models import TOLERANCE, expected_scores, feeds_of, retail, rows_for, saved
from support.networks import propensity
from support.programs import run_program

import fastprop

ENGINES = ["native", "mxnet"]
NO_RESERVE = 0x4000  # MAP_NORESERVE, which Python 3.12 and earlier do not name


def zeros(n, dtype):
    """`n` zeros in memory that is not written to: all of it is the system's one zero page."""
    size = n * np.dtype(dtype).itemsize
    region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
    return np.frombuffer(region, dtype=dtype)


def one_row(indices, values, n_features):
    return fastprop.CSR(np.array([0, len(indices)]), indices, values, (1, n_features))


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_of_millions_of_entries(tmp_path, engine):
    model = retail(tmp_path, n_features=1000, n_heads=3)
    rng = np.random.default_rng(0)
    n = 3_000_000
    indices = rng.integers(0, 1000, n).astype(np.int32)
    # Of both signs, so that scores are not all 0 or 1.
    values = (rng.standard_normal(n) * 1e-3).astype(np.float32)
    row = one_row(indices, values, 1000)
    # The same row with duplicates summed, in float64.
    summed = np.zeros(1000)
    np.add.at(summed, indices, values.astype(np.float64))
    short = one_row(np.arange(1000), summed, 1000)
    expected = expected_scores(model, feeds_of(model, short))
    with model.predictor(engine=engine, threads=2) as predictor:
        whole = predictor.predict(row)
        listed = predictor.predict([(indices, values), ([], [])])
    # 3 million additions in float32 instead of 1000: the sum is off by some 1e-5 of itself.
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    np.testing.assert_allclose(listed[:1], whole, atol=TOLERANCE)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A model whose sparse layer has few columns, so that entries cost little."""
    return retail(tmp_path_factory.mktemp("narrow"), n_features=50, n_heads=2, hidden=(4,))


def test_a_batch_of_more_than_2_to_the_31_entries(narrow):
    per_row = 1 << 24
    n_rows = 129
    n = n_rows * per_row
    assert n > 1 << 31
    # The last row ends in three entries of its own.
    indices, values = zeros(n, np.int32), zeros(n, np.float32)
    indices[-3:] = [7, 3, 49]
    values[-3:] = [1.0, -2.0, 0.5]
    indptr = np.arange(n_rows + 1, dtype=np.int64) * per_row
    big = fastprop.CSR(indptr, indices, values, (n_rows, 50))
    with narrow.predictor(engine="native", threads=2, batch_size=16) as predictor:
        scores = predictor.predict(big)
        small = predictor.predict([([], []), ([7, 3, 49], [1.0, -2.0, 0.5])])
        np.testing.assert_array_equal(scores[:-1], np.tile(small[:1], (n_rows - 1, 1)))
        np.testing.assert_array_equal(scores[-1], small[1])
        indices[-2] = 50
        with pytest.raises(fastprop.InvalidInputError) as told:
            predictor.predict(big)
        assert str(told.value) == (
            f"rows[{n_rows - 1}].indices[{per_row - 2}] is 50, but the model has 50 features"
        )
        indices[-2], values[-1] = 3, np.nan
        with pytest.raises(fastprop.InvalidInputError) as told:
            predictor.predict(big)
        assert f"rows[{n_rows - 1}].values[{per_row - 1}] is nan" in str(told.value)
        assert predictor.stats().bytes_copied == 0


def test_32_bit_row_pointers_that_wrapped_around_are_refused(narrow):
    """What NumPy's cumsum makes of 2^31 entries in int32."""
    indptr = np.array([0, 1 << 30, -(1 << 31)], dtype=np.int32)
    rows = fastprop.CSR(indptr, zeros(1 << 31, np.int32), zeros(1 << 31, np.float32), (2, 50))
    wrapped = pytest.raises(fastprop.InvalidInputError, match=r"rows\.indptr\[2\] is -2147483648")
    with narrow.predictor() as predictor, wrapped:
        predictor.predict(rows)


EMPTY = {
    "a list": [],
    "CSR": fastprop.CSR(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, "f4"), (0, 50)),
    "int32 CSR": fastprop.CSR(np.zeros(1, "i4"), np.zeros(0, "i8"), np.zeros(0, "f8"), (0, 50)),
    "Arrow": pa.table(
        {
            "indices": pa.array([], pa.list_(pa.int32())),
            "values": pa.array([], pa.list_(pa.float32())),
        }
    ),
    "no chunks": pa.chunked_array(
        [],
        pa.struct([("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float32()))]),
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", EMPTY)
def test_no_rows_in_every_form(narrow, form, engine):
    with narrow.predictor(engine=engine, threads=2) as predictor:
        assert predictor.predict(EMPTY[form]).shape == (0, 2)
        out = np.empty((0, 2), dtype=np.float32)
        assert predictor.predict(EMPTY[form], out=out) is out
        top = predictor.predict_top_k(EMPTY[form], k=5)
        assert top.indices.shape == top.scores.shape == (0, 5)
        assert [head.shape for head in predictor.predict_outputs(EMPTY[form])] == [(0, 2)] * 2
        assert [scores.shape for scores in predictor.stream([EMPTY[form]] * 2)] == [(0, 2)] * 2
        assert list(predictor.stream([])) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_without_entries_in_every_form(narrow, engine):
    expected = expected_scores(
        narrow,
        feeds_of(narrow, fastprop.CSR(np.zeros(4, int), np.zeros(0, int), np.zeros(0), (3, 50))),
    )
    forms = [
        [([], [])] * 3,
        [{}, ((), ()), fastprop.SparseVector(50, [], [])],
        fastprop.CSR(np.zeros(4, "i4"), np.zeros(0, "i4"), np.zeros(0, "f4"), (3, 50)),
        pa.table(
            {
                "indices": pa.array([[], [], []], pa.list_(pa.int32())),
                "values": pa.array([[], [], []], pa.list_(pa.float32())),
            }
        ),
    ]
    with narrow.predictor(engine=engine, threads=2) as predictor:
        for rows in forms:
            np.testing.assert_allclose(predictor.predict(rows), expected, atol=TOLERANCE)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_feature_one_category_one_hidden_column(tmp_path, engine):
    model = retail(tmp_path, n_features=1, n_heads=1, hidden=(1,))
    rows = fastprop.CSR(np.array([0, 1, 1, 3]), np.zeros(3, int), np.array([2.0, 1, 1]), (3, 1))
    with model.predictor(engine=engine, threads=2) as predictor:
        scores = predictor.predict(rows)
        np.testing.assert_allclose(
            scores, expected_scores(model, feeds_of(model, rows)), atol=TOLERANCE
        )
        top = predictor.predict_top_k(rows, k=3)
    assert (top.indices == [0, -1, -1]).all()


def test_100_000_categories(tmp_path):
    """As one layer of 200,000 columns, which is how such a model is saved."""
    n = 100_000
    network = propensity(
        np.random.default_rng(0), n_features=50, hidden=(8,), n_heads=n, heads="fused"
    )
    model = saved(tmp_path, network, positive_index=0)
    rows = rows_for(model, 3)
    assert model.n_labels == n
    with model.predictor(threads=2) as predictor:
        scores = predictor.predict(rows)
        top = predictor.predict_top_k(rows, k=n)
    np.testing.assert_allclose(
        scores, expected_scores(model, feeds_of(model, rows)), atol=TOLERANCE
    )
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_array_equal(top.indices, order)


def test_5_000_separate_categories(tmp_path):
    """Ten nodes of the graph for each: what is quadratic in them would take minutes."""
    n = 5_000
    network = propensity(np.random.default_rng(0), n_features=50, hidden=(8,), n_heads=n)
    began = time.monotonic()
    model = saved(tmp_path, network)
    rows = rows_for(model, 3)
    with model.predictor(threads=2) as predictor:
        scores = predictor.predict(rows)
    seconds = time.monotonic() - began
    np.testing.assert_allclose(
        scores, expected_scores(model, feeds_of(model, rows)), atol=TOLERANCE
    )
    assert seconds < 60


def huge_checkpoint(folder, n_features):
    """A checkpoint whose weight is a hole of the file, but for its first and last row."""
    model = retail(folder, n_features=10, n_heads=2, hidden=(8,), weight="dense")
    network = model.network
    symbol = folder / "model-symbol.json"
    symbol.write_text(symbol.read_text().replace("(10, 8)", f"({n_features}, 8)"))
    arrays = {f"arg:{name}": value for name, value in network.arguments.items()}
    rows = np.arange(16, dtype=np.float32).reshape(2, 8) / 8
    with open(folder / "model-0001.params", "wb") as file:
        file.write(struct.pack("<QQQ", 0x112, 0, len(arrays)))
        for name, value in arrays.items():
            shape = (n_features, 8) if name == "arg:weight" else value.shape
            file.write(struct.pack("<Iii", 0xF993FAC9, 0, len(shape)))
            file.write(struct.pack(f"<{len(shape)}q", *shape) + struct.pack("<iii", 1, 0, 0))
            if name == "arg:weight":
                file.write(rows[0].tobytes())
                file.seek((n_features - 2) * 32, os.SEEK_CUR)
                file.write(rows[1].tobytes())
            else:
                file.write(np.asarray(value).tobytes())
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name)) + name.encode())
    return rows, network


def test_a_model_larger_than_memory_is_scored_in_place(tmp_path):
    """32 GiB of weights, of which a row's entries are all that is ever read."""
    n_features = 1 << 30
    rows, network = huge_checkpoint(tmp_path, n_features)
    model = fastprop.load_model(tmp_path)
    assert model.n_features == n_features
    assert model.path.stat().st_size > 32 << 30
    with model.predictor(threads=1, engine="native") as predictor:
        scores = predictor.predict([([0, n_features - 1], [1.0, 2.0]), ([5], [1.0])])
    bias = np.asarray(network.arguments["bias"], dtype=np.float64)
    for row, product in zip(scores, (rows[0] + 2.0 * rows[1], np.zeros(8))):
        hidden = np.maximum(product + bias, 0)
        for label in range(2):
            logits = network.arguments[f"head{label}_weight"].astype(np.float64) @ hidden
            logits = logits + network.arguments[f"head{label}_bias"]
            expected = 1 / (1 + np.exp(logits[1] - logits[0]))
            assert row[label] == pytest.approx(expected, abs=TOLERANCE)


LIMITED = """
import resource, sys
import fastprop
directory, how = sys.argv[1:]

def limit(more):
    now = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))

try:
    if how == "load":
        limit(256 << 20)
    model = fastprop.load_model(directory)
    limit(256 << 20)
    model.predictor(weights=how, threads=1).predict([([0], [1.0])])
except fastprop.FastpropError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("load", "ModelFormatError .*model-0001.params: cannot be mapped"),
        ("copied", "PoolLimitError .*1,073,741,824 bytes"),
        ("bfloat16", "PoolLimitError .*536,870,912 bytes"),
    ],
)
def test_a_model_that_does_not_fit_the_memory_allowed_is_an_error(tmp_path, how, message):
    huge_checkpoint(tmp_path, 1 << 25)
    assert re.match(message, run_program(LIMITED, tmp_path, how))


def test_a_cap_on_pool_memory_below_one_tile_is_an_error(narrow):
    rows = rows_for(narrow, 100)
    with narrow.predictor(threads=1, pool_limit=1000) as predictor:
        with pytest.raises(fastprop.PoolLimitError, match="1000 bytes"):
            predictor.predict(rows)
        with pytest.raises(fastprop.PoolLimitError):
            predictor.predict_top_k(rows)

"""Arrow data through a predictor: every layout, borrowed; nulls; results as Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from support.models import TOLERANCE, expected_scores, listed, retail, rows_for, saved
from support.networks import FACTORIES

import fastprop

LAYOUTS = ("struct", "columns", "map", "pairs", "vectors")
N_ROWS = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("model"))


@pytest.fixture
def predictor(model):
    with model.predictor(engine="native", batch_size=16, threads=2) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def rows(model):
    return rows_for(model, N_ROWS)


@pytest.fixture(scope="module")
def scores(model, rows):
    return expected_scores(model, {"data": rows})


def lists_of(offsets, child, *, large):
    kind = pa.LargeListArray if large else pa.ListArray
    return kind.from_arrays(pa.array(offsets, pa.int64() if large else pa.int32()), child)


def arrow(layout, rows, *, index=None, value=None, large=False):
    """The rows as Arrow data of some layout, made from buffers."""
    offsets = np.asarray(rows.indptr)
    indices = pa.array(rows.indices, index or pa.int32())
    values = pa.array(rows.data, value or pa.float32())
    if layout == "map":
        return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), indices, values)
    if layout == "pairs":
        pairs = pa.StructArray.from_arrays([indices, values], ["index", "value"])
        return lists_of(offsets, pairs, large=large)
    columns = [lists_of(offsets, child, large=large) for child in (indices, values)]
    if layout == "columns":
        return pa.table(columns, names=["indices", "values"])
    if layout == "struct":
        return pa.StructArray.from_arrays(columns, ["indices", "values"])
    n_rows, width = rows.shape
    heads = [pa.array(np.zeros(n_rows, np.int8)), pa.array(np.full(n_rows, width, np.int32))]
    return pa.StructArray.from_arrays([*heads, *columns], ["type", "size", "indices", "values"])


def agree(actual, wanted):
    np.testing.assert_allclose(actual, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("index", [pa.int32(), pa.int64()])
@pytest.mark.parametrize("value", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("large", [False, True])
def test_every_layout_is_scored_where_it_lies(predictor, rows, scores, layout, index, value, large):
    data = arrow(layout, rows, index=index, value=value, large=large)
    agree(predictor.predict(data), scores)
    agree(predictor.predict(data.slice(7, 30)), scores[7:37])
    assert predictor.predict(data.slice(9, 0)).shape == (0, scores.shape[1])
    top = predictor.predict_top_k(data.slice(20), 3)
    agree(top.scores, -np.sort(-scores[20:], axis=1)[:, :3])
    agree(np.stack(predictor.predict_outputs(data), axis=1)[:, :, 0], scores)
    assert predictor.stats().bytes_copied == 0


def test_record_batches_and_chunked_arrays(predictor, rows, scores):
    table = arrow("columns", rows)
    struct = arrow("struct", rows)
    agree(predictor.predict(table.to_batches()[0]), scores)
    agree(predictor.predict(pa.chunked_array([struct[:1], struct[1:1], struct[1:]])), scores)
    agree(predictor.predict(pa.table({"id": np.arange(N_ROWS), "features": struct})), scores)
    reader = pa.Table.from_batches(table.to_batches(max_chunksize=13)).to_reader()
    agree(predictor.predict(reader), scores)
    batches = list(predictor.stream(table.to_batches(max_chunksize=13)))
    agree(np.concatenate(batches), scores)
    assert predictor.predict(pa.chunked_array([], struct.type)).shape == (0, scores.shape[1])
    assert predictor.stats().bytes_copied == 0


def in_chunks(data, *sizes):
    """The same rows in chunks of their own memory."""
    parts, start = [], 0
    for size in sizes:
        parts.append(pa.concat_arrays([data.slice(start, size)]))
        start += size
    assert start == len(data)
    return pa.chunked_array(parts)


def test_chunks_are_not_joined(predictor, rows, scores):
    chunks = in_chunks(arrow("struct", rows), 20, 1, 0, 39)
    agree(predictor.predict(chunks), scores)
    out = np.full(scores.shape, 7, np.float32)
    assert predictor.predict(chunks, out=out) is out
    agree(out, scores)
    one, several = predictor.predict_top_k(rows, 4), predictor.predict_top_k(chunks, 4)
    np.testing.assert_array_equal(one.indices, several.indices)
    # Columns that are cut at different places.
    table = arrow("columns", rows)
    uneven = pa.table(
        {
            "indices": in_chunks(table["indices"].chunk(0), 10, 50),
            "values": in_chunks(table["values"].chunk(0), 33, 27),
        }
    )
    agree(predictor.predict(uneven), scores)
    assert predictor.stats().bytes_copied == 0


def test_a_bad_row_of_a_later_chunk_is_numbered_and_leaves_out_alone(predictor, model, rows):
    bad = pa.array([{"indices": [1, model.n_features], "values": [1.0, 1.0]}]).cast(
        arrow("struct", rows).type
    )
    chunks = pa.chunked_array([arrow("struct", rows), bad])
    place = rf"rows\[{N_ROWS}\]\.indices\[1\] is {model.n_features}"
    out = np.full((N_ROWS + 1, model.n_labels), 7, np.float32)
    with pytest.raises(fastprop.InvalidInputError, match=place):
        predictor.predict(chunks, out=out)
    assert (out == 7).all()
    with pytest.raises(fastprop.InvalidInputError, match=place):
        predictor.predict(chunks)
    with pytest.raises(fastprop.InvalidInputError, match=place):
        list(predictor.stream(chunks.chunks))


def test_sparse_and_dense_vectors_mix(predictor, model):
    n = model.n_features
    dense = np.zeros(n)
    dense[[3, 150]] = 1.5, -2.0
    kind = pa.struct(
        [
            ("type", pa.int8()),
            ("size", pa.int32()),
            ("indices", pa.list_(pa.int32())),
            ("values", pa.list_(pa.float64())),
        ]
    )
    mixed = pa.array(
        [
            {"type": 1, "size": None, "indices": None, "values": dense.tolist()},
            {"type": 0, "size": n, "indices": [3, 150], "values": [1.5, -2.0]},
            None,
            {"type": 0, "size": n, "indices": [], "values": []},
        ],
        kind,
    )
    same = predictor.predict([([3, 150], [1.5, -2.0]), ([], [])])
    given = predictor.predict(mixed)
    agree(given[[0, 1, 3]], same[[0, 0, 1]])
    assert np.isnan(given[2]).all()
    assert predictor.stats().bytes_copied == 12 * 4


def test_null_rows_are_kept_or_refused(predictor, model, rows):
    struct = arrow("struct", rows)
    nulls = pa.nulls(2, struct.type)
    chunks = pa.chunked_array([struct, nulls, struct])
    null_rows = np.zeros(2 * N_ROWS + 2, bool)
    null_rows[N_ROWS : N_ROWS + 2] = True
    np.testing.assert_array_equal(np.isnan(predictor.predict(chunks)).all(axis=1), null_rows)
    top = predictor.predict_top_k(chunks, 3)
    np.testing.assert_array_equal(top.null_rows, null_rows)
    assert (top.indices[null_rows] == -1).all()
    assert predictor.predict_top_k(struct, 3).null_rows is None
    results = (predictor.predict_arrow(chunks), predictor.predict_arrow(chunks, top_k=2))
    for result in results:
        np.testing.assert_array_equal(result.is_null().to_numpy(False), null_rows)
    with model.predictor(null_rows="error") as strict:
        agree(strict.predict(struct), predictor.predict(struct))
        with pytest.raises(fastprop.InvalidInputError, match=rf"rows\[{N_ROWS}\] is null"):
            strict.predict_top_k(chunks)
        with pytest.raises(fastprop.InvalidInputError, match=rf"rows\[{N_ROWS}\] is null"):
            list(strict.stream(chunks.chunks))
    with pytest.raises(fastprop.InvalidInputError, match="null_rows"):
        model.predictor(null_rows="drop")


def test_a_null_inside_a_row_is_an_error_with_its_place(predictor):
    data = pa.chunked_array(
        [
            pa.array([{"indices": [1], "values": [1.0]}]),
            pa.array([{"indices": [1, 2], "values": [1.0, None]}]),
        ]
    )
    with pytest.raises(fastprop.InvalidInputError, match=r"rows\[1\]\.values\[1\] is null"):
        predictor.predict(data)
    with pytest.raises(fastprop.InvalidInputError, match=r"rows\[1\]\.values\[1\] is null"):
        list(predictor.stream(data.chunks))


def test_all_scores_as_arrow(predictor, rows):
    result = predictor.predict_arrow(rows)
    assert result.type == pa.list_(pa.float32())
    agree(np.array(result.to_pylist()), predictor.predict(rows))
    assert predictor.predict_arrow([]).to_pylist() == []


@pytest.mark.parametrize("dictionary", [True, False])
def test_the_best_labels_as_arrow(predictor, model, rows, dictionary):
    label = pa.dictionary(pa.int32(), pa.string()) if dictionary else pa.string()
    kind = pa.list_(pa.struct([("label", label), ("score", pa.float32())]))
    threshold = 0.5
    result = predictor.predict_arrow(rows, top_k=3, threshold=threshold, dictionary=dictionary)
    assert result.type == kind
    top = predictor.predict_top_k(rows, 3, threshold=threshold)
    assert top.to_arrow(model.labels, dictionary=dictionary).equals(result)
    wanted = [
        [{"label": model.labels[i], "score": score} for i, score in zip(indices, scores) if i >= 0]
        for indices, scores in zip(top.indices.tolist(), top.scores.tolist())
    ]
    assert result.to_pylist() == wanted
    assert any(len(row) < 3 for row in wanted)
    every = predictor.predict_arrow(rows, threshold=threshold, dictionary=dictionary)
    counts = (predictor.predict(rows) >= np.float32(threshold)).sum(axis=1)
    np.testing.assert_array_equal([len(row) for row in every.to_pylist()], counts)
    allowed = np.zeros(model.n_labels, bool)
    allowed[2] = True
    only = predictor.predict_arrow(rows, allowed=allowed, dictionary=dictionary)
    assert {entry["label"] for row in only.to_pylist() for entry in row} == {model.labels[2]}


@pytest.mark.parametrize("dictionary", [True, False])
def test_labels_are_names(predictor, model, rows, dictionary):
    top = predictor.predict_top_k(rows, 3)
    n = model.n_labels
    for labels, message in (
        (None, "got None"),
        (5, "got 5"),
        ("label", "got 'label'"),
        (list(range(n)), r"got \[0, 1"),
        ([None] * n, r"got null as labels\[0\]"),
        ([*model.labels[:-1], None], rf"got null as labels\[{n - 1}\]"),
        (pa.array(range(n)), "got an array of int64"),
        (["\ud800"] * n, "surrogates"),
        (set(model.labels), "got {"),
    ):
        with pytest.raises(fastprop.DTypeError, match=f"labels: expected strings.*{message}"):
            top.to_arrow(labels, dictionary=dictionary)
    for labels in (["a"], pa.array(["a"]), []):
        message = rf"a name for each label, such as model.labels, got {len(labels)}, .* {n - 1}$"
        with pytest.raises(fastprop.ShapeError, match=message):
            top.to_arrow(labels, dictionary=dictionary)
    for kind in (tuple, np.array, pa.array):
        assert top.to_arrow(kind(model.labels)).equals(top.to_arrow(model.labels))


def test_arrays_that_are_no_best_labels(model):
    one = np.ones((1, 1))
    for top, message in (
        (fastprop.TopK(None, None), "indices: expected integers, got None"),
        (fastprop.TopK(one, one), "indices: expected integers, got an array of float64"),
        (fastprop.TopK(one.astype(int), one[0]), "expected equal shapes"),
        (
            fastprop.TopK(one.astype(int), one, np.array([True, False])),
            "null_rows: expected a bool",
        ),
    ):
        with pytest.raises(fastprop.InvalidInputError, match=message):
            top.to_arrow(model.labels)


def test_full_rows_of_the_best_labels_are_borrowed(predictor, model, rows):
    top = predictor.predict_top_k(rows, 3)
    items = top.to_arrow(model.labels).values
    numbers = items.field("label").indices
    for array, numpy_array in ((numbers, top.indices), (items.field("score"), top.scores)):
        assert array.buffers()[1].address == numpy_array.ctypes.data


def test_further_inputs_are_cut_as_the_chunks_are(tmp_path):
    model = saved(tmp_path, FACTORIES["wide-and-deep"](np.random.default_rng(0)))
    name = model.inputs[1].name
    rows = rows_for(model, N_ROWS)
    inputs = {
        name: np.random.default_rng(2)
        .standard_normal((N_ROWS, *model.input_row_shapes[name]))
        .astype(np.float32)
    }
    wanted = expected_scores(model, {model.inputs[0].name: rows, **inputs})
    chunks = in_chunks(arrow("struct", rows), 25, 35)
    with model.predictor(batch_size=16) as predictor:
        agree(predictor.predict(chunks, inputs=inputs), wanted)
        out = np.full(wanted.shape, 7, np.float32)
        agree(predictor.predict(chunks, inputs=inputs, out=out), wanted)
        inputs[name][40, 1] = np.nan
        out[:] = 7
        place = rf'inputs\["{name}"\]\[40\]\[1\] is nan'
        for given in (chunks, listed(rows)):
            with pytest.raises(fastprop.InvalidInputError, match=place):
                predictor.predict(given, inputs=inputs, out=out)
        assert (out == 7).all()

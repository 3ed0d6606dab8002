from __future__ import annotations

import gc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprop.errors import DTypeError, InvalidInputError, ShapeError
from fastprop.io.arrow import (
    arrow_faults,
    arrow_rows,
    feature_columns,
    iter_arrow_rows,
    scores_to_arrow,
    top_k_to_arrow,
)

from .samples import N_FEATURES, as_table, csr_to_dense, random_rows

VECTOR = pa.struct(
    [
        ("type", pa.int8()),
        ("size", pa.int32()),
        ("indices", pa.list_(pa.int32())),
        ("values", pa.list_(pa.float64())),
    ]
)


def dense_of(lists):
    dense = np.zeros((len(lists), N_FEATURES))
    for row, pairs in enumerate(lists):
        for column, value in pairs or []:
            dense[row, column] += value
    return dense


def layouts(lists, *, index=None, value=None, large=False):
    index, value = index or pa.int32(), value or pa.float32()
    make = pa.large_list if large else pa.list_
    indices = [None if row is None else [c for c, _ in row] for row in lists]
    values = [None if row is None else [v for _, v in row] for row in lists]
    struct = pa.struct([("indices", make(index)), ("values", make(value))])
    structs = [None if i is None else {"indices": i, "values": v} for i, v in zip(indices, values)]
    pair = pa.struct([("index", index), ("value", value)])
    return {
        "struct": pa.array(structs, struct),
        "map": pa.array(lists, pa.map_(index, value)),
        "pairs": pa.array(
            [None if r is None else [{"index": c, "value": v} for c, v in r] for r in lists],
            make(pair),
        ),
        "table": pa.table(
            {"indices": pa.array(indices, make(index)), "values": pa.array(values, make(value))}
        ),
        "vector": pa.array(
            [
                None if i is None else {"type": 0, "size": N_FEATURES, "indices": i, "values": v}
                for i, v in zip(indices, values)
            ],
            VECTOR,
        ),
    }


LISTS = [[(1, 1.0), (4, 2.5)], [], None, [(0, -3.0)], [(7, 1.0), (2, 0.5), (9, 4.0)]]


@pytest.mark.parametrize("layout", ["struct", "map", "pairs", "table", "vector"])
@pytest.mark.parametrize("index", [pa.int32(), pa.int64()])
@pytest.mark.parametrize("value", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("large", [False, True])
def test_every_layout_is_borrowed(layout, index, value, large):
    data = layouts(LISTS, index=index, value=value, large=large)[layout]
    rows = arrow_rows(data, n_features=N_FEATURES)
    assert rows.csr.shape == (len(LISTS), N_FEATURES)
    np.testing.assert_array_equal(csr_to_dense(rows.csr), dense_of(LISTS))
    np.testing.assert_array_equal(rows.null_rows, [False, False, True, False, False])
    assert rows.elements_copied == 0
    assert not rows.csr.indices.flags.writeable
    if layout != "vector":
        assert rows.csr.indices.dtype.itemsize == index.bit_width // 8
        assert rows.csr.data.dtype.itemsize == value.bit_width // 8


@pytest.mark.parametrize("layout", ["struct", "map", "pairs", "table", "vector"])
@pytest.mark.parametrize(("start", "length"), [(0, 5), (1, 3), (3, 2), (4, 0), (2, 1)])
def test_slices_start_in_the_middle(layout, start, length):
    data = layouts(LISTS)[layout].slice(start, length)
    rows = arrow_rows(data, n_features=N_FEATURES)
    expected = dense_of(LISTS)[start : start + length]
    np.testing.assert_array_equal(csr_to_dense(rows.csr), expected)
    assert rows.elements_copied == 0
    nulls = [row is None for row in LISTS[start : start + length]]
    assert (rows.null_rows is None and not any(nulls)) or list(rows.null_rows) == nulls


def test_the_views_are_the_arrow_memory():
    table = as_table(random_rows(30))
    rows = arrow_rows(table, n_features=N_FEATURES)
    child = table.column("values").chunk(0).values
    assert rows.csr.data.ctypes.data == child.buffers()[1].address
    offsets = table.column("indices").chunk(0).buffers()[1]
    assert rows.csr.indptr.ctypes.data == offsets.address


def test_the_views_keep_the_arrow_memory_alive():
    table = as_table(random_rows(2000, seed=5))
    expected = random_rows(2000, seed=5)
    rows = arrow_rows(table, n_features=N_FEATURES)
    del table
    gc.collect()
    np.testing.assert_array_equal(rows.csr.data, expected.data)
    np.testing.assert_array_equal(rows.csr.indptr, expected.indptr)


def test_lists_with_different_beginnings_share_one_indptr():
    whole = as_table(random_rows(30))
    indices = whole.column("indices").chunk(0)
    # The same rows again, in memory of their own: offsets start at 0 there and above here.
    values = pa.array(whole.column("values").slice(10, 8).to_pylist(), pa.list_(pa.float32()))
    for pair in ((indices.slice(10, 8), values), (whole.column("values").chunk(0), None)):
        batch = (
            pa.record_batch([pair[0], values], ["indices", "values"])
            if pair[1] is not None
            else pa.record_batch(
                [
                    pa.array(
                        whole.column("indices").slice(10, 8).to_pylist(), pa.list_(pa.int32())
                    ),
                    pair[0].slice(10, 8),
                ],
                ["indices", "values"],
            )
        )
        rows = arrow_rows(batch, n_features=N_FEATURES)
        np.testing.assert_array_equal(
            csr_to_dense(rows.csr), random_rows(30).toarray()[10:18].astype(float)
        )
        assert rows.elements_copied == 0


def test_dense_and_sparse_vectors_mix():
    dense_row = [0.0] * N_FEATURES
    dense_row[3], dense_row[8] = 1.5, float("nan")
    data = pa.array(
        [
            {"type": 0, "size": N_FEATURES, "indices": [2, 1], "values": [1.0, 0.0]},
            {"type": 1, "size": None, "indices": None, "values": dense_row},
            None,
            {"type": 0, "size": N_FEATURES, "indices": [], "values": []},
            {"type": 0, "size": N_FEATURES, "indices": [49], "values": [4.0]},
        ],
        VECTOR,
    )
    for begin in range(2):
        rows = arrow_rows(data.slice(begin), n_features=N_FEATURES)
        expected = np.zeros((5, N_FEATURES))
        expected[0, 2], expected[1, 3], expected[1, 8], expected[4, 49] = 1.0, 1.5, np.nan, 4.0
        np.testing.assert_array_equal(csr_to_dense(rows.csr), expected[begin:])
        assert list(rows.null_rows) == [False, False, True, False, False][begin:]
        # Explicit zeros of sparse rows stay; those of dense rows go; NaN is kept to be refused.
        assert rows.elements_copied == len(rows.csr.data) == 5 - 2 * begin


def test_null_rows_that_own_entries_lose_them():
    offsets = pa.array([0, 2, 4, 5], pa.int32())
    mask = pa.array([False, True, False])
    batch = pa.record_batch(
        [
            pa.ListArray.from_arrays(offsets, pa.array([1, 2, 99, None, 3], pa.int32()), mask=mask),
            pa.ListArray.from_arrays(offsets, pa.array([1.0, 2, 9, 9, 3], pa.float32()), mask=mask),
        ],
        ["indices", "values"],
    )
    rows = arrow_rows(batch, n_features=N_FEATURES)
    np.testing.assert_array_equal(
        csr_to_dense(rows.csr), dense_of([[(1, 1.0), (2, 2.0)], [], [(3, 3.0)]])
    )
    assert list(rows.null_rows) == [False, True, False]
    assert rows.elements_copied == 3


def test_other_element_types_are_converted_and_counted():
    batch = pa.record_batch(
        [
            pa.array([[9], [1, 2], [3]], pa.list_(pa.uint8())),
            pa.array([[9], [1, 2], [3]], pa.list_(pa.int16())),
        ],
        ["indices", "values"],
    ).slice(1)
    rows = arrow_rows(batch, n_features=N_FEATURES)
    np.testing.assert_array_equal(csr_to_dense(rows.csr), dense_of([[(1, 1), (2, 2)], [(3, 3)]]))
    assert rows.elements_copied == 3


@pytest.mark.parametrize("layout", ["struct", "map", "pairs", "table"])
def test_a_null_inside_a_row_is_named(layout):
    lists = [[(1, 1.0)], [(2, 1.0), (3, None)]]
    data = layouts(lists)[layout]
    with pytest.raises(InvalidInputError, match=r"^rows\[1\]\.values\[1\] is null$"):
        arrow_rows(data, n_features=N_FEATURES)
    with pytest.raises(InvalidInputError, match=r"^rows\[0\]\.values\[1\] is null$"):
        arrow_rows(data.slice(1), n_features=N_FEATURES)
    # Before the null there is nothing to refuse.
    assert arrow_rows(data.slice(0, 1), n_features=N_FEATURES).csr.data.tolist() == [1.0]


def test_rows_are_numbered_over_all_chunks():
    good = layouts([[(1, 1.0)], [(2, 2.0)]])["struct"]
    bad = pa.array(
        [{"indices": [5], "values": [1.0]}, {"indices": [5, None], "values": [1.0, 2.0]}],
        good.type,
    )
    chunks = iter_arrow_rows(pa.chunked_array([good, bad]), n_features=N_FEATURES)
    assert next(chunks).csr.shape == (2, N_FEATURES)
    with pytest.raises(InvalidInputError, match=r"^rows\[3\]\.indices\[1\] is null$"):
        next(chunks)


def test_columns_chunked_differently_are_read_together():
    rows = random_rows(40)
    table = as_table(rows)
    uneven = pa.table(
        {
            "indices": pa.chunked_array(
                [table["indices"].chunk(0).slice(0, 7), table["indices"].chunk(0).slice(7)]
            ),
            "values": pa.chunked_array(
                [table["values"].chunk(0).slice(0, 20), table["values"].chunk(0).slice(20)]
            ),
        }
    )
    parts = list(iter_arrow_rows(uneven, n_features=N_FEATURES))
    assert [part.csr.shape[0] for part in parts] == [7, 13, 20]
    assert sum(part.elements_copied for part in parts) == 0
    dense = np.concatenate([csr_to_dense(part.csr) for part in parts])
    np.testing.assert_array_equal(dense, rows.toarray())
    with pytest.raises(InvalidInputError, match="iter_arrow_rows"):
        arrow_rows(uneven, n_features=N_FEATURES)


def test_nothing_is_read_as_no_rows():
    empty = as_table(random_rows(5)).slice(0, 0)
    assert arrow_rows(empty, n_features=N_FEATURES).csr.shape == (0, N_FEATURES)
    none = pa.chunked_array([], pa.map_(pa.int32(), pa.float32()))
    assert arrow_rows(none, n_features=N_FEATURES).csr.indptr.tolist() == [0]
    assert list(iter_arrow_rows(none, n_features=N_FEATURES)) == []
    table = pa.schema([("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float32()))])
    parts = list(iter_arrow_rows(table.empty_table(), n_features=N_FEATURES))
    assert sum(part.csr.shape[0] for part in parts) == 0


def test_faults_name_every_bad_row_once():
    data = pa.array(
        [
            {"type": 0, "size": N_FEATURES, "indices": [1, 2], "values": [1.0]},
            {"type": 0, "size": 7, "indices": [1], "values": [1.0]},
            {"type": 1, "size": None, "indices": None, "values": [1.0, 2.0]},
            {"type": 5, "size": N_FEATURES, "indices": [1], "values": [1.0]},
            {"type": 0, "size": N_FEATURES, "indices": None, "values": [1.0]},
            {"type": 0, "size": N_FEATURES, "indices": [1, None], "values": [1.0, None]},
            None,
            {"type": 0, "size": N_FEATURES, "indices": [3], "values": [1.0]},
        ],
        VECTOR,
    )
    faults = arrow_faults(data, n_features=N_FEATURES)
    assert [(fault.row, fault.reason) for fault in faults] == [
        (0, "2 indices and 1 values"),
        (1, "size is 7, the model has 50 features"),
        (2, "size is 2, the model has 50 features"),
        (3, "type is 5, not 0 or 1"),
        (4, "indices is null"),
        (5, "indices[1] is null"),
    ]
    with pytest.raises(ShapeError, match=r"rows\[0\]: 2 indices and 1 values"):
        arrow_rows(data, n_features=N_FEATURES)
    assert arrow_rows(data.slice(6), n_features=N_FEATURES).csr.shape == (2, N_FEATURES)


def test_the_choice_of_columns():
    lists = pa.list_(pa.int32())
    assert feature_columns(as_table(random_rows(1)).schema) == ("indices", "values")
    features = pa.schema([("id", pa.int64()), ("features", VECTOR), ("other", VECTOR)])
    assert feature_columns(features) == ("features",)
    assert feature_columns(features, features_column="other") == ("other",)
    only = pa.schema([("id", pa.int64()), ("vec", pa.map_(pa.int64(), pa.float32()))])
    assert feature_columns(only) == ("vec",)
    named = pa.schema([("i", lists), ("v", lists)])
    assert feature_columns(named, indices_column="i", values_column="v") == ("i", "v")
    with pytest.raises(InvalidInputError, match="i: list"):
        feature_columns(named)
    with pytest.raises(InvalidInputError, match="no column 'x'"):
        feature_columns(named, features_column="x")
    with pytest.raises(InvalidInputError, match="go together"):
        feature_columns(named, indices_column="i")
    twice = pa.schema([("features", VECTOR), ("features", VECTOR)])
    with pytest.raises(InvalidInputError, match="more than one column"):
        feature_columns(twice)


@pytest.mark.parametrize(
    "data",
    [
        pa.array([1, 2]),
        pa.array([[1.0, 2.0]]),
        pa.array(["a"]),
        pa.array([{"a": 1}]),
        pa.table({"indices": [1], "values": [2.0]}),
        pa.table({"indices": [["a"]], "values": [[2.0]]}),
        pa.table({"indices": [[1.5]], "values": [[2.0]]}),
        pa.table({"indices": [[1]], "values": [[True]]}),
    ],
)
def test_other_types_are_refused(data):
    with pytest.raises(DTypeError):
        arrow_rows(data, n_features=N_FEATURES)


@pytest.mark.parametrize("given", [None, "a", 1.5, True, [1], np.array([1, 2])], ids=repr)
@pytest.mark.parametrize("name", ["n_features", "first_row"])
def test_numbers_of_rows_and_features_are_whole(name, given):
    for read in (arrow_rows, lambda *data, **form: list(iter_arrow_rows(*data, **form))):
        with pytest.raises(DTypeError, match=f"{name} is .*, and a whole number is needed"):
            read(as_table(random_rows(2)), **{"n_features": N_FEATURES, name: given})


@pytest.mark.parametrize("given", [5, b"indices", ["indices"], np.array(["a", "b"])], ids=repr)
def test_columns_have_names(given):
    data = as_table(random_rows(2))
    for names in ("features_column",), ("indices_column", "values_column"):
        with pytest.raises(DTypeError, match=f"{names[0]} is .*, and the name of a column"):
            arrow_rows(data, n_features=N_FEATURES, **dict.fromkeys(names, given))


@settings(max_examples=60, deadline=None)
@given(
    lists=st.lists(
        st.none()
        | st.lists(st.tuples(st.integers(0, N_FEATURES - 1), st.integers(-5, 5)), max_size=4),
        max_size=8,
    ),
    start=st.integers(0, 8),
    length=st.integers(0, 8),
    large=st.booleans(),
)
def test_any_rows_in_any_layout(lists, start, length, large):
    expected = dense_of(lists)[start : start + length]
    for data in layouts(lists, large=large).values():
        rows = arrow_rows(data.slice(start, length), n_features=N_FEATURES)
        np.testing.assert_array_equal(csr_to_dense(rows.csr), expected)
        nulls = [row is None for row in lists[start : start + length]]
        assert [False] * len(nulls) == nulls if rows.null_rows is None else True
        if rows.null_rows is not None:
            assert rows.null_rows.tolist() == nulls


def test_scores_become_lists():
    scores = np.arange(6, dtype=np.float32).reshape(3, 2)
    array = scores_to_arrow(scores)
    assert array.type == pa.list_(pa.float32())
    assert array.to_pylist() == scores.tolist()
    assert array.values.buffers()[1].address == scores.ctypes.data
    nulls = np.array([False, True, False])
    array = scores_to_arrow(scores, null_rows=nulls)
    assert array.to_pylist() == [[0.0, 1.0], None, [4.0, 5.0]]
    array.validate(full=True)
    assert scores_to_arrow(scores[:0]).to_pylist() == []
    with pytest.raises(ShapeError, match="two dimensions"):
        scores_to_arrow(scores[0])


@pytest.mark.parametrize("scores", [None, 5, "a", object(), [["a"]], [[1.0], [1.0, 2.0]], {}])
def test_what_is_no_matrix_of_scores(scores):
    with pytest.raises(InvalidInputError, match="scores: "):
        scores_to_arrow(scores)


@pytest.mark.parametrize("nulls", [True, 5, "a", [1, 0], [True], [[True, False]], [None, True]])
def test_what_does_not_say_which_rows_are_null(nulls):
    scores = np.ones((2, 3), np.float32)
    with pytest.raises(InvalidInputError, match="null_rows: expected a bool for each"):
        scores_to_arrow(scores, null_rows=nulls)
    with pytest.raises(InvalidInputError, match="null_rows: expected a bool for each"):
        top_k_to_arrow(scores.astype(int), scores, list("abc"), null_rows=nulls)


def test_the_best_labels_become_structs():
    indices = np.array([[2, 0], [1, -1], [-1, -1], [0, 1]], dtype=np.int32)
    scores = np.array([[0.9, 0.5], [0.25, np.nan], [np.nan, np.nan], [0.5, 0.5]], np.float32)
    labels = ["a", "b", "ç"]
    nulls = np.array([False, False, False, True])
    expected = [
        [{"label": "ç", "score": np.float32(0.9)}, {"label": "a", "score": 0.5}],
        [{"label": "b", "score": 0.25}],
        [],
        None,
    ]
    array = top_k_to_arrow(indices, scores, labels, null_rows=nulls)
    assert array.to_pylist() == expected
    item = pa.struct([("label", pa.string()), ("score", pa.float32())])
    assert array.type.value_type == item
    array.validate(full=True)
    coded = top_k_to_arrow(indices, scores, labels, null_rows=nulls, dictionary=True)
    assert coded.to_pylist() == expected
    coded.validate(full=True)
    with pytest.raises(ShapeError):
        top_k_to_arrow(indices, scores[:, :1], labels)

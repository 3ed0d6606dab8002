"""Every form that rows may come in, and every way in which they may be wrong."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import TOLERANCE, expected_scores, listed, retail, rows_for, saved
from support.networks import FACTORIES

import fastprop
from fastprop.rows import as_rows, is_single_row


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def predictor(model):
    with model.predictor(batch_size=16, threads=2) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def rows(model):
    return rows_for(model, 50)


@pytest.fixture(scope="module")
def scores(model, rows):
    return expected_scores(model, {"data": rows})


def agree(actual, wanted):
    assert actual.dtype == np.float32
    assert actual.flags.c_contiguous
    np.testing.assert_allclose(actual, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("indptr_type", [np.int32, np.int64])
@pytest.mark.parametrize("index_type", [np.int32, np.int64, np.int16, np.uint64])
@pytest.mark.parametrize("value_type", [np.float32, np.float64, np.float16, np.int32])
def test_csr_of_any_type(predictor, model, rows, indptr_type, index_type, value_type):
    typed = fastprop.CSR(
        rows.indptr.astype(indptr_type),
        rows.indices.astype(index_type),
        (rows.data * 4).astype(value_type),
        rows.shape,
    )
    same = fastprop.CSR(rows.indptr, rows.indices, typed.data.astype(np.float64), rows.shape)
    agree(predictor.predict(typed), expected_scores(model, {"data": same}))


def test_csr_of_lists(predictor, rows, scores):
    parts = (rows.indptr.tolist(), rows.indices.tolist(), rows.data.tolist())
    agree(predictor.predict(fastprop.CSR(*parts, rows.shape)), scores)


def test_scipy_matrix_and_array(predictor, rows, scores):
    for kind in (scipy.sparse.csr_matrix, scipy.sparse.csr_array):
        agree(
            predictor.predict(kind((rows.data, rows.indices, rows.indptr), shape=rows.shape)),
            scores,
        )


def test_other_sparse_formats_are_refused(predictor, rows):
    matrix = scipy.sparse.csr_matrix((rows.data, rows.indices, rows.indptr), shape=rows.shape)
    names = ("csc", "bsr", "coo", "lil", "dok")
    others = [(name, matrix.asformat(name)) for name in names]
    others += [("coo", scipy.sparse.coo_array(matrix)), ("dia", scipy.sparse.eye(200))]
    for name, other in others:
        message = rf"rows is a {name} matrix, and csr is needed: rows\.tocsr\(\)"
        with pytest.raises(fastprop.DTypeError, match=message):
            predictor.predict(other)
    message = r"rows\[1\] is a .*_matrix; give one csr matrix of all rows: scipy.sparse.vstack"
    for one_row in (matrix[0], matrix[0].todok()):
        with pytest.raises(fastprop.DTypeError, match=message):
            predictor.predict([listed(rows)[1], one_row])


def test_sliced_strided_and_readonly_arrays(predictor, rows, scores):
    agree(
        predictor.predict(
            fastprop.CSR(
                np.repeat(rows.indptr, 2)[::2],
                np.repeat(rows.indices, 3)[::3],
                np.repeat(rows.data, 2)[::2],
                rows.shape,
            )
        ),
        scores,
    )
    frozen = [np.array(part) for part in (rows.indptr, rows.indices, rows.data)]
    for part in frozen:
        part.flags.writeable = False
    agree(predictor.predict(fastprop.CSR(*frozen, rows.shape)), scores)
    # A slice of rows: offsets that do not begin at 0, entries before and after them.
    part = fastprop.CSR(rows.indptr[10:31], rows.indices, rows.data, (20, rows.shape[1]))
    agree(predictor.predict(part), scores[10:30])


def unaligned(array):
    """Its copy one byte behind where its elements might lie, as in a buffer that was received."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    copy = memory[1:].view(array.dtype)
    copy[:] = array
    assert not copy.flags.aligned
    return copy


@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("value_type", [np.float32, np.float64])
def test_unaligned_arrays(predictor, rows, scores, index_type, value_type):
    indices = unaligned(rows.indices.astype(index_type))
    values = unaligned(rows.data.astype(value_type))
    indptr = unaligned(rows.indptr.astype(index_type))
    agree(predictor.predict(fastprop.CSR(indptr, indices, values, rows.shape)), scores)
    bounds = rows.indptr.tolist()
    pairs = [(indices[a:b], values[a:b]) for a, b in zip(bounds, bounds[1:])]
    agree(predictor.predict(pairs), scores)
    # Elements that lie apart by what is no multiple of their size.
    records = np.zeros(len(values), [("index", index_type), ("tag", "u1"), ("value", value_type)])
    records["index"], records["value"] = indices, values
    fields = [records[a:b] for a, b in zip(bounds, bounds[1:])]
    agree(predictor.predict([(part["index"], part["value"]) for part in fields]), scores)


def test_lists_of_sparse_vectors_pairs_and_dicts(predictor, model, rows, scores):
    pairs = listed(rows)
    n = model.n_features
    agree(predictor.predict([fastprop.SparseVector(n, i, v) for i, v in pairs]), scores)
    agree(predictor.predict(pairs), scores)
    agree(predictor.predict([(list(map(int, i)), list(map(float, v))) for i, v in pairs]), scores)
    agree(predictor.predict([dict(zip(i.tolist(), v.tolist())) for i, v in pairs]), scores)
    agree(predictor.predict(row for row in pairs), scores)
    like_spark = [
        SimpleNamespace(size=n, indices=i.astype(np.int32), values=v.astype(np.float64))
        for i, v in pairs
    ]
    agree(predictor.predict(like_spark), scores)
    mixed = [
        pairs[0],
        dict(zip(pairs[1][0].tolist(), pairs[1][1].tolist())),
        fastprop.SparseVector(n, pairs[2][0][::1], np.repeat(pairs[2][1], 2)[::2]),
        (np.repeat(pairs[3][0], 2)[::2].astype(np.int32), pairs[3][1].astype(np.float64)),
    ]
    agree(predictor.predict(mixed), scores[:4])


def test_no_rows_one_row_and_empty_rows(predictor, model):
    n = model.n_features
    assert predictor.predict([]).shape == (0, model.n_labels)
    empty = fastprop.CSR(
        np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), (0, n)
    )
    assert predictor.predict(empty).shape == (0, model.n_labels)
    blank = fastprop.CSR(
        np.zeros(4, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), (3, n)
    )
    wanted = expected_scores(model, {"data": blank})
    agree(predictor.predict(blank), wanted)
    agree(predictor.predict([([], []), {}, fastprop.SparseVector(n, [], [])]), wanted)
    one = rows_for(model, 1, seed=9)
    agree(predictor.predict(one), expected_scores(model, {"data": one}))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_unsorted_and_duplicate_columns_sum(predictor, model, data):
    n_rows = data.draw(st.integers(1, 40))
    entry = st.tuples(st.integers(0, model.n_features - 1), st.floats(-4, 4, width=32))
    rows = data.draw(st.lists(st.lists(entry, max_size=12), min_size=n_rows, max_size=n_rows))
    pairs = [([i for i, _ in row], [v for _, v in row]) for row in rows]
    indptr = np.cumsum([0, *map(len, rows)])
    matrix = fastprop.CSR(
        indptr,
        np.array([i for row in rows for i, _ in row], dtype=np.int64),
        np.array([v for row in rows for _, v in row], dtype=np.float32),
        (n_rows, model.n_features),
    )
    wanted = expected_scores(model, {"data": matrix})
    agree(predictor.predict(matrix), wanted)
    agree(predictor.predict(pairs), wanted)


def csr(model, *, indptr=(0, 2, 3), indices=(1, 2, 3), data=(1.0, 2.0, 3.0), shape=None):
    return fastprop.CSR(
        np.array(indptr),
        np.array(indices),
        np.array(data),
        shape or (len(indptr) - 1, model.n_features),
    )


BAD_CSR = {
    "index too large": (
        {"indices": (1, 200, 3)},
        r"rows\[0\]\.indices\[1\] is 200, but the model has 200 features",
    ),
    "index negative": ({"indices": (1, 2, -1)}, r"rows\[1\]\.indices\[0\] is -1"),
    "huge index": ({"indices": (1, 2, 2**40)}, r"rows\[1\]\.indices\[0\] is 1099511627776"),
    "nan": ({"data": (1.0, np.nan, 0.0)}, r"rows\[0\]\.values\[1\] is nan"),
    "infinite": ({"data": (1.0, 0.0, -np.inf)}, r"rows\[1\]\.values\[0\] is -inf"),
    "beyond float32": ({"data": (1.0, 0.0, 1e300)}, r"rows\[1\]\.values\[0\] is 1e\+300"),
    "indptr decreases": (
        {"indptr": (0, 2, 1, 3)},
        r"rows\.indptr\[2\] is 1, less than the 2 before it",
    ),
    "indptr negative": ({"indptr": (-1, 2, 3)}, r"rows\.indptr\[0\] is -1"),
    "indptr too long": ({"indptr": (0, 2, 9)}, r"rows\.indptr\[2\] is 9, but rows\.indices has 3"),
    "too few columns": (
        {"shape": (2, 100)},
        "rows have 100 columns, but the model has 200 features",
    ),
    "wrong row count": ({"shape": (3, 200)}, "4 are needed"),
    "lengths differ": ({"data": (1.0,)}, r"rows\.indices has 3 elements and rows\.data has 1"),
    "float indices": ({"indices": (1.0, 2.0, 3.0)}, r"rows\.indices holds float64"),
    "text values": ({"data": ("a", "b", "c")}, r"rows\.data holds"),
    "no indptr": ({"indptr": (), "shape": (0, 200)}, "1 are needed"),
    "text as shape": ({"shape": ("a", "b")}, r"rows\.shape is \('a', 'b'\), and two whole numbers"),
    "number as shape": ({"shape": 5}, r"rows\.shape is 5, and two whole numbers"),
    "no number in the shape": ({"shape": (2, None)}, r"rows\.shape is \(2, None\), and two whole"),
    "halves in the shape": ({"shape": (2.5, 200)}, r"rows\.shape is \(2\.5, 200\), and two whole"),
    "huge shape": ({"shape": (2, 1 << 70)}, r"rows\.shape is \(2, 1180591.*no model has as many"),
    "beyond float64": (
        {"data": np.array([1, 1, "1e4000"]).astype(np.longdouble)},
        r"rows\[1\]\.values\[0\] is inf",
    ),
    "matrix as indices": ({"indices": ((1, 2, 3),)}, r"rows\.indices has 2 dimensions"),
}


@pytest.mark.parametrize("case", BAD_CSR)
def test_bad_csr_names_the_place(predictor, model, case):
    change, message = BAD_CSR[case]
    out = np.full((2, model.n_labels), 7.0, dtype=np.float32)
    with pytest.raises(fastprop.InvalidInputError, match=message):
        predictor.predict(csr(model, **change))
    if "indptr" not in change and "shape" not in change:
        with pytest.raises(fastprop.InvalidInputError):
            predictor.predict(csr(model, **change), out=out)
        assert (out == 7).all()


def test_the_first_bad_row_of_many_is_named_and_nothing_is_written(predictor, model):
    rows = rows_for(model, 200)
    indices = rows.indices.copy()
    for row in (170, 37, 90):
        assert rows.indptr[row] < rows.indptr[row + 1]
        indices[rows.indptr[row]] = 999
    bad = fastprop.CSR(rows.indptr, indices, rows.data, rows.shape)
    out = np.full((200, model.n_labels), 7.0, dtype=np.float32)
    for form in (bad, listed(bad)):
        with pytest.raises(fastprop.InvalidInputError, match=r"rows\[37\]\.indices\[0\] is 999"):
            predictor.predict(form, out=out)
        assert (out == 7).all()
    assert np.isfinite(predictor.predict(rows)).all()


BAD_LISTS = {
    "index": (
        [([1], [1.0]), ([5, 200], [1.0, 2.0])],
        r"rows\[1\]\.indices\[1\] is 200, but the model has 200",
    ),
    "negative": ([([-1], [1.0])], r"rows\[0\]\.indices\[0\] is -1"),
    "nan": ([([1, 2], [1.0, float("nan")])], r"rows\[0\]\.values\[1\] is nan"),
    "beyond float32": ([([1], [1e300])], r"rows\[0\]\.values\[0\] is 1e\+300"),
    "lengths": ([([1, 2], [1.0])], r"rows\[0\] has 2 indices and 1 values"),
    "float index": ([([1.5], [1.0])], r"rows\[0\]\.indices holds float64, and integers are needed"),
    "text value": ([([1], ["a"])], r"rows\[0\]\.values holds"),
    "three parts": ([([1], [1.0], 3)], r"rows\[0\] has 3 parts"),
    "not a row": ([([1], [1.0]), 5], r"rows\[1\] is a int"),
    "none": ([None], r"rows\[0\] is a NoneType"),
    "size": (
        [fastprop.SparseVector(7, [1], [1.0])],
        r"rows\[0\]\.size is 7, but the model has 200",
    ),
    "size of several": (
        [([1], [1.0]), fastprop.SparseVector(np.array([200, 200]), [1], [1.0])],
        r"rows\[1\]\.size is array\(\[200, 200\]\), and a whole number is needed",
    ),
    "size of text": ([fastprop.SparseVector("x", [1], [1.0])], r"rows\[0\]\.size is x"),
    "dict key": ([{"a": 1.0}], r"rows\[0\] has the key 'a'"),
    "dict index": ([{3: 1.0}, {200: 1.0}], r"rows\[1\]\.indices\[0\] is 200"),
    "dict huge index": (
        [{10**30: 1.0}],
        r"rows\[0\]\.indices\[0\] is 1000000000000000000000000000000",
    ),
    "dict value": ([{3: "x"}], r"rows\[0\]\.values\[0\] is 'x'"),
    "dict nan": ([{3: float("inf")}], r"rows\[0\]\.values\[0\] is inf"),
    "dict huge value": ([{3: 10**400}], r"rows\[0\]\.values\[0\] is 10{50,}\.\.\., which is not a"),
    "dict text": ([{3: "1.5"}], r"rows\[0\]\.values\[0\] is '1\.5', and a real number is needed"),
    "dict bytes": ([{3: b"1.5"}], r"rows\[0\]\.values\[0\] is b'1\.5', and a real number"),
    "dict text of NumPy": (
        [{3: np.str_("1.5")}],
        r"rows\[0\]\.values\[0\] is .*, and a real number",
    ),
    "pair text": ([([3], ["1.5"])], r"rows\[0\]\.values holds <U3, and real numbers are needed"),
    "huge value": ([([3, 4], [1.0, 10**400])], r"rows\[0\]\.values\[1\] is 10{50,}\.\.\., an int"),
    "huge index": ([([3, 10**400], [1, 2])], r"rows\[0\]\.indices\[1\] is 10{50,}\.\.\., which no"),
    "absurd value": ([{3: 10**5000}], r"rows\[0\]\.values\[0\] is "),
    "none in values": (
        [([3, 4], [1.0, None])],
        r"rows\[0\]\.values\[1\] is None, and a real number",
    ),
    "a pair's arrays": ([np.array([3]), np.array([1.0])], r"is a ndarray.*\[\(indices, values\)\]"),
    "a pair's lists": ([[3, 4], [1.0, 2.0]], r"3 is no array .*\[\(indices, values\)\]"),
    "matrix": ([([[1]], [1.0])], r"rows\[0\]\.indices has 2 dimensions"),
    "uint64": (
        [(np.array([2**63 + 1], np.uint64), [1.0])],
        r"rows\[0\]\.indices\[0\] is 9223372036854775809",
    ),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_bad_lists_name_the_place(predictor, case):
    rows, message = BAD_LISTS[case]
    with pytest.raises(fastprop.InvalidInputError, match=message):
        predictor.predict(rows)


@pytest.mark.parametrize(
    "rows", [5, None, "rows", {1: 2.0}, np.zeros((2, 200)), np.array(None)], ids=str
)
def test_what_is_no_rows_at_all(predictor, rows):
    with pytest.raises(fastprop.DTypeError):
        predictor.predict(rows)


def test_one_vector_outside_a_list(predictor, model):
    with pytest.raises(fastprop.DTypeError, match=r"\[vector\]"):
        predictor.predict(fastprop.SparseVector(model.n_features, [1], [1.0]))


@pytest.mark.parametrize(
    "pair",
    [([1, 2], [1.0, 2.0]), (np.array([1, 2, 3]), np.ones(3)), ([1], np.ones(1)), ([], [1.0])],
    ids=repr,
)
def test_one_pair_outside_a_list(predictor, pair):
    for call in (predictor.predict, predictor.predict_top_k):
        with pytest.raises(fastprop.DTypeError, match=r"one pair.*\[\(indices, values\)\]"):
            call(pair)
    with pytest.raises(fastprop.DTypeError, match=r"rows is one row, a tuple; put it in a list"):
        predictor.stream(pair)


def test_a_tuple_of_two_rows_is_rows(predictor, rows, scores):
    first, second = listed(rows)[:2]
    agree(predictor.predict((first, second)), scores[:2])
    agree(predictor.predict((dict(zip(*first)), dict(zip(*second)))), scores[:2])
    agree(np.concatenate(list(predictor.stream(([first], [second])))), scores[:2])


def test_nonfinite_values_propagate_when_asked(model):
    with model.predictor(nonfinite="propagate") as predictor:
        scores = predictor.predict([([1], [np.nan]), ([1], [1.0])])
        assert np.isfinite(scores[1]).all()
        with pytest.raises(fastprop.InvalidInputError, match=r"rows\[0\]\.indices"):
            predictor.predict([([999], [np.nan])])


def test_further_inputs_are_checked_by_name(tmp_path):
    model = saved(tmp_path, FACTORIES["wide-and-deep"](np.random.default_rng(0)))
    name = model.inputs[1].name
    shape = model.input_row_shapes[name]
    rows = rows_for(model, 4)
    with model.predictor() as predictor:
        good = np.zeros((4, *shape), np.float32)
        assert predictor.predict(rows, inputs={name: good}).shape == (4, model.n_labels)
        with pytest.raises(fastprop.InvalidInputError, match=f"inputs has no {name!r}"):
            predictor.predict(rows)
        with pytest.raises(fastprop.InvalidInputError, match="'other'"):
            predictor.predict(rows, inputs={name: good, "other": good})
        with pytest.raises(fastprop.ShapeError, match="has shape"):
            predictor.predict(rows, inputs={name: good[:3]})
        with pytest.raises(fastprop.DTypeError, match="real numbers"):
            predictor.predict(rows, inputs={name: np.full((4, *shape), "a")})
        bad = good.copy()
        bad[2, 1] = np.nan
        with pytest.raises(
            fastprop.InvalidInputError, match=rf'inputs\["{name}"\]\[2\]\[1\] is nan'
        ):
            predictor.predict(rows, inputs={name: bad})


def test_dense_rows(tmp_path):
    model = saved(tmp_path, FACTORIES["softmax-dense"](np.random.default_rng(0)))
    matrix = np.random.default_rng(1).standard_normal((30, model.n_features))
    wanted = expected_scores(model, {model.inputs[0].name: matrix.astype(np.float32)})
    with model.predictor(batch_size=8) as predictor:
        for form in (matrix, matrix.astype(np.float32), np.asfortranarray(matrix), matrix.tolist()):
            agree(predictor.predict(form), wanted)
        with pytest.raises(fastprop.ShapeError, match="rows has shape"):
            predictor.predict(matrix[:, :-1])
        with pytest.raises(fastprop.DTypeError, match="dense"):
            predictor.predict(rows_for(model, 3))
        with pytest.raises(fastprop.DTypeError, match=r"dense rows: rows\.toarray\(\)"):
            predictor.predict(scipy.sparse.coo_matrix(matrix))
        with pytest.raises(fastprop.DTypeError, match="which is one batch"):
            predictor.stream(matrix)
        matrix[3, 2] = np.inf
        with pytest.raises(fastprop.InvalidInputError, match=r"rows\[3\]\[2\] is inf"):
            predictor.predict(matrix)


def test_single_rows_are_told_from_batches(rows):
    vector = SimpleNamespace(size=3, indices=np.array([1]), values=np.array([1.0]))
    assert is_single_row(vector)
    assert is_single_row({1: 1.0})
    assert is_single_row(([1], [1.0]))
    assert not is_single_row(rows)
    assert not is_single_row([vector])
    assert not is_single_row(np.ones((1, 3)))
    # A matrix that has a vector's attributes too is a batch.
    both = SimpleNamespace(**vars(vector), indptr=np.array([0, 1]), shape=(1, 3))
    assert not is_single_row(both)


def test_dense_rows_are_borrowed_or_copied_and_counted():
    compact = np.ones((4, 6), np.float32)
    for array, copied in ((compact, 0), (compact[:, ::2], 48), (compact.astype(np.float64), 96)):
        width = array.shape[1]
        found = as_rows(array, n_features=width, row_shape=(width,), sparse=False)
        assert found.bytes_copied == copied
        assert np.shares_memory(found.matrix, array) == (copied == 0)
        np.testing.assert_array_equal(found.matrix, array)


def test_an_index_beyond_64_bits_is_refused(predictor, model):
    indices = np.array([1 << 63], np.uint64)
    wrong = fastprop.CSR(np.array([0, 1]), indices, np.ones(1), (1, model.n_features))
    with pytest.raises(fastprop.ShapeError, match=r"indices holds 9223372036854775808, which no"):
        predictor.predict(wrong)

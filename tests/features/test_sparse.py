from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprop.errors import ShapeError
from fastprop.features import sparse
from fastprop.typing import CSR


def random_csr(seed, rows, columns, density=0.3):
    matrix = sp.random(rows, columns, density, "csr", np.float32, np.random.default_rng(seed))
    return CSR(matrix.indptr.astype(np.int64), matrix.indices, matrix.data, matrix.shape)


def dense(matrix):
    return sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), matrix.shape).toarray()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 12), st.lists(st.integers(0, 11), max_size=20))
def test_take_rows(seed, rows, wanted):
    matrix = random_csr(seed, rows, 7)
    wanted = np.array([w % rows for w in wanted], np.int64)
    taken = sparse.take_rows(matrix, wanted)
    assert taken.shape == (len(wanted), 7)
    np.testing.assert_array_equal(dense(taken), dense(matrix)[wanted])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_stack_rows(seed, heights):
    parts = [random_csr(seed + i, rows, 5) for i, rows in enumerate(heights)]
    np.testing.assert_array_equal(
        dense(sparse.stack_rows(parts)), np.concatenate([dense(part) for part in parts])
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(0, 8), st.integers(1, 4))
def test_join_columns_keeps_columns_ascending(seed, rows, blocks):
    parts = []
    for number in range(blocks):
        part = random_csr(seed + number, rows, 3)
        parts.append(CSR(part.indptr, part.indices + 3 * number, part.data, (rows, 3 * blocks)))
    joined = sparse.join_columns(parts, n_columns=3 * blocks)
    np.testing.assert_array_equal(dense(joined), sum(dense(part) for part in parts))
    for start, end in zip(joined.indptr, joined.indptr[1:]):
        assert (np.diff(joined.indices[start:end]) > 0).all()


def test_sum_duplicates_and_to_dense():
    matrix = CSR(np.array([0, 4, 4, 5]), np.array([3, 1, 3, 0]), np.array([1.0, 2, 4, 8]), (3, 4))
    matrix = CSR(np.array([0, 3, 3, 4]), matrix.indices, matrix.data.astype(np.float32), (3, 4))
    merged = sparse.sum_duplicates(matrix)
    np.testing.assert_array_equal(merged.indices, [1, 3, 0])
    np.testing.assert_array_equal(merged.data, [2, 5, 8])
    np.testing.assert_array_equal(sparse.to_dense(matrix), sparse.to_dense(merged))
    np.testing.assert_array_equal(sparse.to_dense(matrix), [[0, 2, 0, 5], [0] * 4, [8, 0, 0, 0]])


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match="one width"):
        sparse.stack_rows([sparse.empty_csr(1, 2), sparse.empty_csr(1, 3)])
    with pytest.raises(ShapeError, match="row counts"):
        sparse.join_columns([sparse.empty_csr(1, 2), sparse.empty_csr(2, 2)], n_columns=2)

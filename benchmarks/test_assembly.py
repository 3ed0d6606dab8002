"""Python's sparse vectors to CSR."""

from __future__ import annotations

import numpy as np
import pytest

from fastprop._csr import RowBlock

N_ROWS = 1024


def pairs(vectors):
    return [(v.indices, v.values) for v in vectors]


def lists(vectors):
    return [(v.indices.tolist(), v.values.tolist()) for v in vectors]


def dicts(vectors):
    return [dict(zip(v.indices.tolist(), v.values.tolist())) for v in vectors]


def assemble(rows, n_features):
    block = RowBlock(rows, 0, len(rows), n_features=n_features, finite=True)
    indptr = np.empty(len(rows) + 1, np.int64)
    indices = np.empty(block.n_entries, np.int64)
    values = np.empty(block.n_entries, np.float32)
    block.write(indptr, indices, values)
    return indptr, indices, values


@pytest.mark.parametrize("form", [list, pairs, lists, dicts], ids=lambda form: form.__name__)
def test_assembly(benchmark, suite, form):
    rows = form(suite.vectors[:N_ROWS])
    end = suite.rows.indptr[N_ROWS]
    indptr, indices, values = benchmark(assemble, rows, suite.model.n_features)
    np.testing.assert_array_equal(indptr, suite.rows.indptr[: N_ROWS + 1])
    np.testing.assert_array_equal(indices, suite.rows.indices[:end])
    np.testing.assert_array_equal(values, suite.rows.data[:end])
    benchmark.extra_info["non-zeros"] = int(end)

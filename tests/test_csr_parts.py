from __future__ import annotations

import numpy as np
import pytest

from fastprop.csr_parts import row_range, stacked_rows
from fastprop.typing import CSR


def dense(rows):
    made = np.zeros(rows.shape)
    for i, (begin, end) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:])):
        made[i, rows.indices[begin:end]] = rows.data[begin:end]
    return made


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_parts_and_their_sum(index):
    # The first row begins behind entries that belong to no row.
    rows = CSR(np.array([2, 3, 3, 6], index), np.arange(7, dtype=index), np.arange(1.0, 8), (3, 7))
    whole = dense(rows)
    for begin in range(4):
        for end in range(begin, 4):
            part = row_range(rows, begin, end)
            assert part.indptr[0] == 0
            assert part.indptr.dtype == part.indices.dtype == index
            np.testing.assert_array_equal(dense(part), whole[begin:end])
            both = stacked_rows([part, rows, part])
            assert both.indptr.dtype == np.int64
            np.testing.assert_array_equal(
                dense(both), np.concatenate([whole[begin:end], whole, whole[begin:end]])
            )


def test_one_part_alone():
    rows = CSR(np.array([0, 1, 2]), np.array([2, 0]), np.array([1.0, 2.0]), (2, 3))
    one = stacked_rows([rows])
    assert one.shape == (2, 3)
    np.testing.assert_array_equal(dense(one), dense(rows))

"""What is told of parameters without making them dense."""

from __future__ import annotations

import numpy as np
import pytest

from fastprop.checkpoint.arrays import RowSparseArray, parameter_dtype, parameter_shape
from fastprop.typing import CSR


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_type_and_shape_of_every_storage(dtype):
    data = np.ones((2, 3), dtype)
    rows = RowSparseArray((5, 3), np.array([1, 4]), data)
    csr = CSR(np.array([0, 1, 1]), np.array([2]), np.ones(1, dtype), (2, 3))
    for parameter, shape in ((data, (2, 3)), (rows, (5, 3)), (csr, (2, 3))):
        assert parameter_dtype(parameter) == dtype
        assert parameter_shape(parameter) == shape
    assert rows.dtype == dtype
    assert rows != RowSparseArray((5, 3), np.array([1, 4]), data)  # by identity, as arrays are

"""Operators that we have no rule for: refused, or run by MXNet when the caller says so."""

from __future__ import annotations

import numpy as np
import pytest
from support.models import rows_for, saved
from support.networks import NetworkBuilder

import fastprop

CSR_INPUT = {"__storage_type__": "2"}


def network(op, **attributes):
    made = NetworkBuilder(np.random.default_rng(0))
    rows = made.variable("data", CSR_INPUT)
    hidden = made.add("dot", [rows, made.row_sparse("weight", (30, 6), stored="full")], name="dot0")
    odd = made.add(op, [hidden], name="odd", attributes=attributes)
    return made.network([made.layer("fc", odd, 6, 4)])


def test_documented_operators_only_by_default(tmp_path):
    with pytest.raises(
        fastprop.ModelFormatError, match=r"node 'odd': operator '_contrib_quadratic'"
    ):
        saved(tmp_path, network("_contrib_quadratic", a=0.5, b=2, c=3))


def test_all_admits_what_mxnet_has(tmp_path):
    model = saved(tmp_path, network("_contrib_quadratic", a=0.5, b=2, c=3), allow_operators="all")
    rows = rows_for(model, 5)
    dense = np.zeros(rows.shape)
    for i in range(5):
        dense[i, rows.indices[rows.indptr[i] : rows.indptr[i + 1]]] = rows.data[
            rows.indptr[i] : rows.indptr[i + 1]
        ]
    given = model.network.arguments
    x = dense @ given["weight"].to_dense().astype(np.float64)
    hidden = 0.5 * x * x + 2 * x + 3
    wanted = hidden @ given["fc_weight"].T.astype(np.float64) + given["fc_bias"]
    with model.predictor() as predictor:
        np.testing.assert_allclose(predictor.predict(rows), wanted, rtol=1e-4, atol=1e-3)
    with model.predictor(optimize=False) as predictor:
        np.testing.assert_allclose(predictor.predict(rows), wanted, rtol=1e-4, atol=1e-3)


def test_all_never_admits_custom(tmp_path):
    with pytest.raises(fastprop.ModelFormatError, match="never admitted"):
        saved(tmp_path, network("Custom", op_type="evil"), allow_operators="all")


def test_what_this_mxnet_lacks_is_named(tmp_path):
    with pytest.raises(fastprop.EngineError, match="NoSuchOperator"):
        saved(tmp_path, network("NoSuchOperator"), allow_operators="all")

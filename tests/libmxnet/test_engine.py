"""What the core refuses of a description of MXNet's engine, before MXNet sees any of it."""

from __future__ import annotations

import numpy as np
import pytest

import fastprop
from fastprop import _core

WEIGHT = np.ones((4, 2), np.float32)
MAP = np.zeros(4, np.int32)
BIAS = np.zeros(2, np.float32)


def start(*, parameter=("bias", "copy", BIAS), layer=None, isa="best"):
    return _core.MxnetEngine(
        symbol_json="{}",
        arguments=[parameter],
        auxiliary=[],
        inputs=[("data", True, [4])],
        zero_inputs=[],
        head_widths=[2],
        columns=[],
        canonical_rows=False,
        sparse_layer=layer,
        isa=isa,
        owner=None,
    )


def layer(*, n_features=4, weight=WEIGHT, rows=None, bias=None, activation="relu"):
    return (n_features, weight, rows, bias, activation, 0.0)


@pytest.mark.parametrize(
    ("parameter", "error", "message"),
    [
        (("bias", "lend", BIAS), fastprop.InvalidInputError, 'mode "lend"'),
        (("bias", "copy", np.zeros(2, np.uint16)), fastprop.DTypeError, "bias is of type uint16"),
        (("bias", "copy", np.zeros(4)[::2]), fastprop.ShapeError, "bias is not C-contiguous"),
    ],
)
def test_parameters(parameter, error, message):
    with pytest.raises(error, match=message):
        start(parameter=parameter)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weight": WEIGHT.astype(np.float64)}, fastprop.DTypeError, "no float32 or bfloat16"),
        ({"weight": WEIGHT[0]}, fastprop.DTypeError, "no float32 or bfloat16 matrix"),
        ({"weight": WEIGHT.T}, fastprop.DTypeError, "no float32 or bfloat16 matrix"),
        ({"n_features": 5}, fastprop.ShapeError, "weight does not have a row a feature"),
        ({"rows": MAP[:3]}, fastprop.ShapeError, "row_of_column does not have an element a"),
        ({"rows": MAP + np.int32(4)}, fastprop.ShapeError, "row_of_column leads past the weight"),
        ({"rows": MAP.astype(np.float32)}, fastprop.DTypeError, "row_of_column"),
        ({"bias": np.zeros(3, np.float32)}, fastprop.ShapeError, "bias does not have an element"),
        ({"bias": np.zeros(2)}, fastprop.DTypeError, "bias"),
        ({"activation": "swish"}, fastprop.InvalidInputError, 'no activation "swish"'),
    ],
)
def test_the_sparse_layer(changes, error, message):
    with pytest.raises(error, match=message):
        start(layer=layer(**changes))


def test_instruction_sets():
    with pytest.raises(fastprop.InvalidInputError, match='no instruction set "sse9"'):
        start(isa="sse9", layer=layer(rows=MAP, bias=BIAS))

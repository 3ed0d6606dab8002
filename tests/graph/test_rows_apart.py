"""Graphs in which a row's scores would depend on other rows are refused when they are loaded."""

from __future__ import annotations

import numpy as np
import pytest
from support.models import rows_for, saved
from support.operator_networks import Bench

import fastprop
from fastprop.csr_parts import row_range


def model_of(tmp_path, make):
    made = Bench(np.random.default_rng(7))
    return saved(tmp_path, made.network([make(made)]))


def centred(made, **settings):
    data = made.hidden(5)
    return made.op("broadcast_sub", data, made.op("mean", data, keepdims=True, **settings))


def by_the_other_rows(made):
    data = made.hidden(5)
    alike = made.op("dot", data, data, transpose_b=True)
    return made.op("dot", alike, data)


def over_time(made, op, **settings):
    """Time first, then rows: an operator on that, and back."""
    data = made.op("transpose", made.shaped(4, 6), axes="(1, 0, 2)")
    return made.op("transpose", made.op(op, data, **settings), axes="(1, 0, 2)")


def scrambled(made):
    data = made.op("transpose", made.shaped(4, 6), axes="(1, 0, 2)")
    return made.op("Reshape", data, shape="(-1, 24)")


MIXING = {
    "softmax": (lambda m: m.op("softmax", m.hidden(5), axis=0), "softmax", "over the rows"),
    "softmax-back": (lambda m: m.op("softmax", m.hidden(5), axis=-2), "softmax", "over the rows"),
    "log_softmax": (lambda m: m.op("log_softmax", m.hidden(5), axis=0), "log_softm", "over the"),
    "softmin": (lambda m: m.op("softmin", m.hidden(5), axis=0), "softmin", "over the rows"),
    "mean": (lambda m: centred(m, axis=0), "mean", "over the rows"),
    "mean-of-all": (lambda m: centred(m), "mean", "over the rows"),
    "mean-excluding": (lambda m: centred(m, axis=1, exclude=True), "mean", "over the rows"),
    "attention": (by_the_other_rows, "dot", "combines each row with every other"),
    "over-time": (lambda m: over_time(m, "softmax", axis=1), "softmax", "over the rows"),
    "one-row": (
        lambda m: m.op(
            "broadcast_add", m.hidden(5), m.op("slice_axis", m.hidden(5), axis=0, begin=0, end=1)
        ),
        "slice_axis",
        "takes some of the rows",
    ),
    "joined": (
        lambda m: m.op("Concat", m.hidden(5), m.hidden(5), dim=0, num_args=2),
        "Concat",
        "over the rows",
    ),
    "scrambled": (scrambled, "Reshape", "mixes the rows' elements"),
}


@pytest.mark.parametrize("name", MIXING)
def test_rows_that_meet_are_refused(tmp_path, name):
    make, op, why = MIXING[name]
    with pytest.raises(fastprop.ModelFormatError, match=rf"\({op}.*\) .*{why}.*rows beside it"):
        model_of(tmp_path, make)


APART = {
    "time-softmax": lambda m: over_time(m, "softmax", axis=-1),
    "time-softmax-first": lambda m: over_time(m, "softmax", axis=0),
    "more-rows-and-back": lambda m: m.op(
        "Reshape",
        m.op("softmax", m.op("Reshape", m.hidden(), shape="(-1, 6)"), axis=1),
        shape="(-1, 24)",
    ),
    "constants-only": lambda m: m.op(
        "broadcast_add", m.hidden(5), m.op("sum", m.values_of((4, 5)), axis=0, keepdims=True)
    ),
    "flattened": lambda m: m.op("softmax", m.op("Flatten", m.shaped(4, 6)), axis=-1),
}


@pytest.mark.parametrize("name", APART)
def test_rows_that_do_not_meet_are_scored_alike_in_any_batch(tmp_path, name):
    model = model_of(tmp_path, APART[name])
    rows = rows_for(model, 7)
    for options in ({}, {"engine": "mxnet"}):
        with model.predictor(batch_size=4, threads=1, **options) as predictor:
            whole = predictor.predict(rows)
            alone = [predictor.predict(row_range(rows, i, i + 1))[0] for i in range(7)]
        np.testing.assert_allclose(alone, whole, rtol=0, atol=1e-6)


def test_an_operator_without_a_rule_is_believed(tmp_path):
    made = Bench(np.random.default_rng(7))
    odd = made.op("_contrib_quadratic", made.hidden(5), a=0.5, b=2, c=3)
    network = made.network([made.op("softmax", odd, axis=-1)])
    assert saved(tmp_path, network, allow_operators="all").n_labels == 5

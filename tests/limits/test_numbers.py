"""Denormals, infinities, NaN, overflow; and how far scores are from float64."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from support.models import expected_heads, expected_scores, feeds_of, retail, rows_for, saved
from support.networks import propensity

import fastprop
from fastprop import _core

ENGINES = ["native", "mxnet"]
SMALLEST = np.float32(1e-45)
LARGEST = np.finfo(np.float32).max


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("model"), n_features=50, n_heads=4)


def row_of(*values):
    values = np.array(values)
    return fastprop.CSR(np.array([0, len(values)]), np.arange(len(values)), values, (1, 50))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float64(1e39), -np.float64(1e300)])
def test_what_is_not_finite_as_float32_is_refused_with_its_place(model, engine, value):
    with model.predictor(engine=engine, threads=1) as predictor:
        for rows in (row_of(1.0, value), [([0, 1], [1.0, value])], [{0: 1.0, 1: value}]):
            out = np.full((1, 4), 7, dtype=np.float32)
            with pytest.raises(fastprop.InvalidInputError, match=r"rows\[0\]\.values\[1\] is"):
                predictor.predict(rows, out=out)
            assert (out == 7).all()


@pytest.mark.parametrize("isa", _core.instruction_sets())
def test_what_is_not_finite_is_computed_with_on_request(model, isa):
    """NaN gives NaN, and never a made-up probability; a row's neighbours are not touched."""
    rows = fastprop.CSR(
        np.array([0, 1, 2, 3, 4]),
        np.array([3, 3, 3, 3]),
        np.array([1.0, np.nan, np.inf, 2.0]),
        (4, 50),
    )
    with model.predictor(engine="native", threads=1, nonfinite="propagate", isa=isa) as predictor:
        scores = predictor.predict(rows)
        top = predictor.predict_top_k(rows, k=4)
    finite = fastprop.CSR(np.array([0, 1, 2]), np.array([3, 3]), np.array([1.0, 2.0]), (2, 50))
    expected = expected_scores(model, feeds_of(model, finite))
    np.testing.assert_allclose(scores[[0, 3]], expected, atol=2e-6)
    assert np.isnan(scores[1]).all()
    assert (np.isnan(scores[2]) | ((scores[2] >= 0) & (scores[2] <= 1))).all()
    assert (top.indices[1] == -1).all()
    assert np.isnan(top.scores[1]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_infinities_agree_between_engines(model, engine):
    """MXNet's relu, sum and softmax are the judge of what infinity makes of a row."""
    rows = row_of(np.inf)
    with model.predictor(engine=engine, threads=1, nonfinite="propagate") as predictor:
        scores = predictor.predict(rows)
    with model.predictor(engine="mxnet", optimize=False, nonfinite="propagate") as oracle:
        expected = oracle.predict(rows)
    defined = ~np.isnan(expected)
    np.testing.assert_allclose(scores[defined], expected[defined], atol=2e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_denormals_are_numbers_like_any_other(model, engine):
    with model.predictor(engine=engine, threads=1) as predictor:
        nothing = predictor.predict(row_of())
        # A denormal's product with a weight is far below the last place of the bias.
        for value in (SMALLEST, -SMALLEST, np.float64(5e-324), np.float32(1e-38), -0.0):
            np.testing.assert_array_equal(predictor.predict(row_of(value)), nothing)


def test_denormal_products_are_not_flushed_to_zero(tmp_path):
    """A weight of 2^-126 times 2^-10 is a denormal; times 2^136 by the next layer it is 1."""
    network = propensity(
        np.random.default_rng(0), n_features=2, hidden=(1,), n_heads=1, weight="dense"
    )
    network.arguments["weight"][:] = np.float32(2.0**-126)
    network.arguments["bias"][:] = 0
    network.arguments["head0_weight"][:] = np.array([[2.0**127], [0.0]], dtype=np.float32)
    network.arguments["head0_bias"][:] = 0
    model = saved(tmp_path, network)
    rows = fastprop.CSR(np.array([0, 1]), np.array([0]), np.array([2.0**-1]), (1, 2))
    expected = 1 / (1 + np.exp(-1.0))
    for isa in _core.instruction_sets():
        with model.predictor(engine="native", threads=2, isa=isa) as predictor:
            assert predictor.predict(rows)[0, 0] == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_of_huge_logits_are_0_and_1(model, engine):
    with warnings.catch_warnings(), model.predictor(engine=engine, threads=1) as predictor:
        for value in (1e30, -1e30, 1e20):
            rows = row_of(value)
            with np.errstate(all="ignore"):
                expected = expected_scores(model, feeds_of(model, rows))
            np.testing.assert_allclose(predictor.predict(rows), expected, atol=2e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_sums_beyond_float32_end_in_a_probability_or_nan(model, engine):
    """Overflow inside the network is the network's: no error, no score outside of 0 to 1."""
    with model.predictor(engine=engine, threads=1) as predictor:
        scores = predictor.predict(row_of(LARGEST, LARGEST, -LARGEST))
    assert (np.isnan(scores) | ((scores >= 0) & (scores <= 1))).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "softrelu", "softsign"])
def test_accuracy_against_float64(tmp_path, engine, activation):
    """What docs/reliability.md states: rows of 300 entries of size 1, weights to match."""
    model = retail(tmp_path, n_features=3000, hidden=(256, 128), n_heads=200, activation=activation)
    rows = rows_for(model, 300)
    expected = expected_scores(model, feeds_of(model, rows))
    for isa in _core.instruction_sets() if engine == "native" else ["best"]:
        with model.predictor(engine=engine, threads=2, isa=isa) as predictor:
            error = np.abs(predictor.predict(rows) - expected).max()
        assert error < 4e-6, (isa, error)


@pytest.mark.parametrize("engine", ENGINES)
def test_heads_sum_to_one(model, engine):
    rows = rows_for(model, 50)
    with model.predictor(engine=engine, threads=1) as predictor:
        for head, expected in zip(
            predictor.predict_outputs(rows), expected_heads(model, feeds_of(model, rows))
        ):
            np.testing.assert_allclose(head.sum(axis=1), 1, atol=1e-6)
            np.testing.assert_allclose(head, expected, atol=2e-6)

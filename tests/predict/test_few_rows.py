"""Calls of a few rows, which a worker may help with, give the bits that one thread gives."""

import numpy as np
import pytest
from support.models import TOLERANCE, expected_scores, feeds_of, saved
from support.networks import propensity

import fastprop
from fastprop import _core

N_FEATURES = 3_000
NON_ZEROS = 400  # of 128 columns each: enough for the sparse layer to be shared
SIZES = (1, 2, 3, 8, 17, 33)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rng = np.random.default_rng(6)
    network = propensity(
        rng, n_features=N_FEATURES, hidden=(128, 64), n_heads=1_100, activation="prelu"
    )
    return saved(tmp_path_factory.mktemp("few"), network)


def rows_of(size, seed):
    rng = np.random.default_rng(seed)
    indptr = np.arange(0, size * NON_ZEROS + 1, NON_ZEROS)
    indices = rng.integers(0, N_FEATURES, size * NON_ZEROS)
    data = (0.3 * rng.normal(size=size * NON_ZEROS)).astype(np.float32)
    return fastprop.CSR(indptr, indices, data, (size, N_FEATURES))


@pytest.mark.parametrize("isa", _core.instruction_sets())
@pytest.mark.parametrize("weights", ["mapped", "bfloat16", "int8"])
def test_help_does_not_change_bits(model, isa, weights):
    one, two = ({"threads": n, "isa": isa, "weights": weights} for n in (1, 2))
    with model.predictor("native", **one) as alone, model.predictor("native", **two) as helped:
        for seed in range(30):  # calls in quick succession keep a worker awake
            for size in SIZES:
                rows = rows_of(size, seed)
                np.testing.assert_array_equal(helped.predict(rows), alone.predict(rows))
                ours, theirs = helped.predict_top_k(rows, k=7), alone.predict_top_k(rows, k=7)
                np.testing.assert_array_equal(ours.indices, theirs.indices)
                np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_few_rows_agree_with_numpy(model):
    with model.predictor("native", threads=2) as predictor:
        for size in SIZES:
            rows = rows_of(size, 100 + size)
            np.testing.assert_allclose(
                predictor.predict(rows),
                expected_scores(model, feeds_of(model, rows)),
                atol=TOLERANCE,
                rtol=0,
            )


@pytest.mark.parametrize("weights", ["mapped", "bfloat16", "int8"])
def test_halves_of_a_layer_with_few_columns_end_where_it_ends(tmp_path, weights):
    """One panel of columns, of enough weights to be shared: there is one half alone."""
    network = propensity(
        np.random.default_rng(7), n_features=30, hidden=(16_384,), n_heads=5, activation="tanh"
    )
    model = saved(tmp_path, network)
    rows = fastprop.CSR(np.array([0, 3]), np.array([3, 7, 20]), np.ones(3, np.float32), (1, 30))
    with model.predictor("native", threads=2, weights=weights) as predictor:
        scores = np.full((1, 40), 5, np.float32)
        predictor.predict(rows, out=scores[:, 2:7])
        assert (scores[:, [0, 1, *range(7, 40)]] == 5).all()
        top = predictor.predict_top_k(rows, k=5)
        np.testing.assert_array_equal(np.sort(top.scores), np.sort(scores[:, 2:7]))

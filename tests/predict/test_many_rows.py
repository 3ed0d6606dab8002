"""Calls so large that the sparse layer takes many batches at once give the bits of small calls."""

import numpy as np
import pytest
from support.models import TOLERANCE, expected_scores, feeds_of, saved
from support.networks import propensity

import fastprop
from fastprop import _core

N_FEATURES = 140_000  # times 64 columns: more than is kept in the shared cache, also as bfloat16
N_ROWS = 9_300


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rng = np.random.default_rng(3)
    network = propensity(rng, n_features=N_FEATURES, hidden=(64, 8), n_heads=30)
    return saved(tmp_path_factory.mktemp("large"), network)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(4)
    lengths = rng.integers(0, 25, N_ROWS)
    lengths[[0, 700, N_ROWS - 1]] = 0, 3000, 0
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = (N_FEATURES * rng.random(indptr[-1]) ** 3).astype(np.int32)
    for i in range(0, N_ROWS, 2):  # every other row is sorted
        indices[indptr[i] : indptr[i + 1]].sort()
    data = rng.normal(size=indptr[-1]).astype(np.float32)
    return fastprop.CSR(indptr, indices, data, (N_ROWS, N_FEATURES))


def part(rows, begin, end):
    return fastprop.CSR(
        rows.indptr[begin : end + 1], rows.indices, rows.data, (end - begin, N_FEATURES)
    )


@pytest.mark.parametrize("isa", _core.instruction_sets())
@pytest.mark.parametrize("weights", ["mapped", "bfloat16", "int8"])
def test_a_large_call_gives_the_bits_of_small_ones(model, rows, isa, weights):
    bounds = range(0, N_ROWS, 500)
    with model.predictor("native", threads=2, isa=isa, weights=weights) as predictor:
        scores = predictor.predict(rows)
        top = predictor.predict_top_k(rows, k=5)
        assert predictor.stats().tiles < 2 * N_ROWS // 512  # else nothing was taken together
        assert predictor.stats().bytes_copied == 0
        for begin in bounds:
            end = min(begin + 500, N_ROWS)
            few = part(rows, begin, end)
            np.testing.assert_array_equal(scores[begin:end], predictor.predict(few))
            np.testing.assert_array_equal(
                top.indices[begin:end], predictor.predict_top_k(few, k=5).indices
            )


def test_a_large_call_agrees_with_numpy(model, rows):
    with model.predictor("native", threads=1) as predictor:
        scores = predictor.predict(rows)
    np.testing.assert_allclose(
        scores, expected_scores(model, feeds_of(model, rows)), atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("call", ["predict", "predict_top_k"])
def test_where_the_pool_has_no_room_for_many_rows_batches_go_one_by_one(model, rows, call):
    k = {"k": 5} if call == "predict_top_k" else {}
    some = part(rows, 0, 2100)

    def scores_of(predictor, rows=some):
        found = getattr(predictor, call)(rows, **k)
        return np.concatenate([found.indices, found.scores]) if k else found

    with model.predictor("native", threads=1) as predictor:
        scores_of(predictor, part(rows, 0, predictor.batch_size))
        one_batch = predictor.stats().pool.peak
        scores = scores_of(predictor)
        need = predictor.stats().pool.peak
    assert need > one_batch
    # From a batch to all: each buffer in turn is the one that finds no room, the many rows of the
    # sparse layer, their positions, and what a batch takes beside them.
    for limit in range(one_batch, need + (1 << 14), 1 << 13):
        with model.predictor("native", threads=1, pool_limit=limit) as predictor:
            np.testing.assert_array_equal(scores_of(predictor), scores)

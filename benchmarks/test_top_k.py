"""The best labels of each row."""

from __future__ import annotations

import numpy as np
import pytest

from fastprop.bench.oracle import check_scores, check_top_k

TOLERANCE = 2e-6


@pytest.mark.parametrize("k", [1, 20, 200])
def test_top_k(benchmark, suite, k):
    with suite.model.predictor() as predictor:
        top = benchmark(predictor.predict_top_k, suite.rows, k=k)
    check_top_k(top.indices[:512], top.scores[:512], suite.expected, TOLERANCE)


def test_threshold(benchmark, suite):
    with suite.model.predictor() as predictor:
        top = benchmark(predictor.predict_top_k, suite.rows, k=3000, threshold=0.9)
    count = (top.indices[:512] >= 0).sum(axis=1)
    near = np.abs(suite.expected - 0.9) <= TOLERANCE
    assert (np.abs(count - (suite.expected >= 0.9).sum(axis=1)) <= near.sum(axis=1)).all()


def test_allowed(benchmark, suite):
    allowed = np.arange(suite.model.n_labels) % 10 == 0
    with suite.model.predictor() as predictor:
        top = benchmark(predictor.predict_top_k, suite.rows, k=20, allowed=allowed)
    assert (top.indices % 10 == 0).all()
    best = -np.sort(-suite.expected[:, allowed], axis=1)[:, :20]
    check_scores(top.scores[:512], best, TOLERANCE)


def test_numpy_for_comparison(benchmark, suite):
    """What a caller would do with the whole matrix."""

    def select(scores):
        part = np.argpartition(-scores, 20, axis=1)[:, :20]
        order = np.argsort(-np.take_along_axis(scores, part, 1), axis=1)
        return np.take_along_axis(part, order, 1)

    with suite.model.predictor() as predictor:
        indices = benchmark(lambda: select(predictor.predict(suite.rows)))
    own = np.take_along_axis(suite.expected, indices[:512], 1)
    check_scores(own, -np.sort(-suite.expected, axis=1)[:, :20], 2 * TOLERANCE)

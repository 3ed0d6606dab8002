from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprop.errors import ShapeError
from fastprop.training import evaluate
from fastprop.training.evaluate import (
    log_loss,
    macro_auc,
    own_history_scores,
    precision_at_k,
    top_k,
)


def sample(seed, rows=9, labels=6, ties=False):
    generator = np.random.default_rng(seed)
    scores = generator.random((rows, labels))
    if ties:
        scores = np.round(scores, 1)
    return scores, generator.random((rows, labels)) < 0.3


def test_log_loss_by_hand():
    scores = np.array([[0.9, 0.2]])
    expected = -(np.log(0.9) + np.log(0.8)) / 2
    assert log_loss(scores, np.array([[True, False]])) == pytest.approx(expected)
    certain = log_loss(np.array([[0.0]]), np.array([[True]]))
    assert certain == pytest.approx(-np.log(1e-7))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.booleans(), st.integers(1, 8))
def test_precision_by_sorting_pairs(seed, ties, k):
    scores, truth = sample(seed, ties=ties)
    each = []
    for row, true in zip(scores, truth):
        if true.any():
            best = sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]
            each.append(np.mean([true[i] for i in best]))
    expected = np.mean(each) if each else float("nan")
    np.testing.assert_allclose(precision_at_k(scores, truth, k=k), expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.booleans())
def test_auc_by_counting_pairs(seed, ties):
    scores, truth = sample(seed, ties=ties)
    areas = []
    for column, true in zip(scores.T, truth.T):
        if true.any() and not true.all():
            pairs = [
                (column[i] > column[j]) + 0.5 * (column[i] == column[j])
                for i in np.flatnonzero(true)
                for j in np.flatnonzero(~true)
            ]
            areas.append(np.mean(pairs))
    expected = np.mean(areas) if areas else float("nan")
    np.testing.assert_allclose(macro_auc(scores, truth), expected)


def test_equal_scores_are_ordered_by_label():
    np.testing.assert_array_equal(top_k(np.array([[1.0, 3, 3, 2, 3]]), 4), [[1, 2, 4, 3]])


def test_own_history_comes_before_popularity():
    counts = np.array([[0.0, 2, 0, 2], [1, 0, 0, 0]])
    scores = own_history_scores(counts, np.array([9.0, 1, 5, 4]))
    np.testing.assert_array_equal(top_k(scores, 4), [[3, 1, 0, 2], [0, 2, 3, 1]])


def test_all_figures_at_once():
    scores, truth = sample(3)
    found = evaluate(scores, truth, k=2, baselines={"flat": np.arange(6.0), "same": scores})
    assert found.rows == 9
    assert found.baselines["same"] == found.precision == precision_at_k(scores, truth, k=2)
    flat = np.broadcast_to(np.arange(6.0), truth.shape)
    assert found.baselines["flat"] == precision_at_k(flat, truth, k=2)


def test_nothing_to_measure():
    scores, _ = sample(1)
    nothing = np.zeros((9, 6), bool)
    assert np.isnan(precision_at_k(scores, nothing))
    assert np.isnan(macro_auc(scores, nothing))
    with pytest.raises(ShapeError, match="shapes differ"):
        log_loss(scores, nothing[:, 1:])

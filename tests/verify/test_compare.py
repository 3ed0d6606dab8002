from __future__ import annotations

import numpy as np
import pytest

from fastprop.verify.compare import STEP_SCORES, Agreement, Differences, same_bits


def test_differences_over_blocks():
    rng = np.random.default_rng(0)
    right = rng.random((1000, 700))
    assert right.size > 2 * STEP_SCORES
    scores = right + rng.normal(0, 1e-3, right.shape)
    scores[613, 44] += 1
    found = Differences()
    found.add(scores[:300], right[:300], 0)
    found.add(scores[300:], right[300:], 300)
    distance = np.abs(scores - right)
    assert found.largest == distance.max()
    assert (found.row, found.column) == (613, 44)
    assert found.mean == pytest.approx(distance.mean())
    assert found.count == right.size


def test_nan_and_infinity():
    right = np.array([[np.nan, np.inf, -np.inf, 1.0]])
    found = Differences()
    found.add(right.copy(), right, 0)
    assert found.largest == 0
    for column in range(4):
        wrong = right.copy()
        wrong[0, column] = 0.5 if column < 3 else np.nan
        found = Differences()
        found.add(wrong, right, 0)
        assert found.largest == np.inf
        assert found.column == column


def test_nothing_is_no_difference():
    found = Differences()
    found.add(np.zeros((0, 3)), np.zeros((0, 3)), 0)
    assert (found.largest, found.mean, found.row) == (0, 0, None)


def test_agreement():
    right = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.3 - 1e-9]])
    cases = [
        ([[0, 1], [2, 3]], 1.0),
        ([[1, 0], [3, 2]], 1.0),
        ([[0, 2], [2, 3]], 0.75),
        ([[0, 0], [2, 3]], 0.75),
        ([[0, -1], [2, 3]], 0.75),
        ([[3, 2], [0, 1]], 0.0),
    ]
    for labels, share in cases:
        found = Agreement(slack=1e-6)
        found.add(np.array(labels, np.int32), right)
        assert found.share == share, labels
    near = Agreement(slack=0.11)
    near.add(np.array([[0, 2], [2, 1]], np.int32), right)
    assert near.share == 1.0


def test_a_nan_is_not_to_be_selected():
    right = np.array([[np.nan, 0.8, 0.7]])
    found = Agreement(slack=0.0)
    found.add(np.array([[1, 2, -1]], np.int32), right)
    assert found.share == 1.0
    found = Agreement(slack=0.0)
    found.add(np.array([[0, 1, 2]], np.int32), right)
    assert found.share == 2 / 3


def test_same_bits_tells_zeros_apart():
    zero = np.zeros(3, np.float32)
    assert same_bits(zero, zero.copy())
    assert not same_bits(zero, -zero)
    assert not same_bits(zero, zero[:2])
    nan = np.full(2, np.nan, np.float32)
    assert same_bits(nan, nan.copy())

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fastprop.errors import InvalidInputError
from fastprop.spark.selection import best_labels, labels_above
from fastprop.spark.task import label_thresholds


def by_hand(scores, k):
    order = [
        sorted(np.flatnonzero(~np.isnan(row)).tolist(), key=lambda label: (-row[label], label))
        for row in scores
    ]
    padded = [(labels + [-1] * k)[:k] for labels in order]
    return np.array(padded, np.int32).reshape(len(scores), k)


@pytest.mark.parametrize("k", [1, 3, 6, 7, 9])
@pytest.mark.parametrize("n_rows", [0, 1, 50])
def test_best_labels_orders_ties_by_label(k, n_rows):
    rng = np.random.default_rng(k)
    pool = [0.0, -0.0, 0.25, 0.5, 0.5000001, 1.0, -1.0, 1e-40, -3e-41, np.inf, np.nan]
    scores = rng.choice(np.array(pool, np.float32), (n_rows, 7))
    best = best_labels(scores, k)
    assert best.indices.dtype == np.int32
    assert best.scores.dtype == np.float32
    np.testing.assert_array_equal(best.indices, by_hand(scores, k))
    for row in range(n_rows):
        for labels, found in zip(best.indices[row], best.scores[row]):
            if labels >= 0:
                assert found == scores[row, labels]
            else:
                assert np.isnan(found)


def test_best_labels_agrees_with_the_core(tmp_path):
    from support.models import retail, rows_for

    model = retail(tmp_path, n_heads=40)
    rows = rows_for(model, 100)
    with model.predictor() as predictor:
        top = predictor.predict_top_k(rows, 11)
        best = best_labels(predictor.predict(rows), 11)
    np.testing.assert_array_equal(best.indices, top.indices)
    np.testing.assert_array_equal(best.scores, top.scores)


def test_labels_above_their_thresholds_best_first():
    labels = pa.array(["a", "b", "c"])
    scores = np.array([[0.5, 0.9, 0.5], [0.1, 0.1, 0.1], [np.nan, 0.8, 1.0]], np.float32)
    limits = label_thresholds([0.5, 0.9, 0.2], ["a", "b", "c"])
    found = labels_above(scores, limits, labels)
    assert found.type == pa.list_(pa.string())
    assert found.to_pylist() == [["b", "a", "c"], [], ["c"]]
    assert labels_above(scores[:0], limits, labels).to_pylist() == []


def test_thresholds_by_number_list_and_label():
    labels = ["a", "b", "c"]
    assert label_thresholds(0.5, labels).tolist() == [0.5, 0.5, 0.5]
    assert label_thresholds([0.5, 0.25, 0], labels).tolist() == [0.5, 0.25, 0.0]
    assert label_thresholds({"b": 0.25}, labels).tolist() == [np.inf, 0.25, np.inf]
    with pytest.raises(InvalidInputError, match="no label 'd'"):
        label_thresholds({"d": 0.5}, labels)
    with pytest.raises(InvalidInputError, match="2 thresholds for 3 labels"):
        label_thresholds([1, 2], labels)
    with pytest.raises(InvalidInputError, match="NaN"):
        label_thresholds(float("nan"), labels)

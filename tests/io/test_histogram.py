from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from fastprop.errors import InvalidInputError
from fastprop.io.histogram import BINS, ScoreHistogram
from fastprop.io.writers import ScoredBatch


def batch(scores, indices=None, null_rows=None):
    scores = np.array(scores, np.float32)
    indices = None if indices is None else np.array(indices, np.int32)
    return ScoredBatch(pa.array(np.arange(len(scores))), scores, indices, null_rows)


def test_edges_belong_to_the_bin_above_and_1_to_the_last():
    histogram = ScoreHistogram(["a", "b"])
    histogram.add(batch([[0.0, 0.05], [0.049, 0.999], [1.0, -0.1], [1.1, np.nan], [np.inf, 0.5]]))
    wanted = np.zeros((2, BINS + 2), int)
    wanted[0, [1, BINS, BINS + 1]] = 2, 1, 1
    wanted[1, [0, 2, BINS // 2 + 1, BINS]] = 1
    np.testing.assert_array_equal(histogram.counts, wanted)


def test_padding_and_null_rows_are_not_counted():
    histogram = ScoreHistogram(["a", "b", "c"])
    nulls = np.array([False, True])
    histogram.add(batch([[0.9, np.nan], [0.9, 0.8]], [[2, -1], [0, 1]], nulls))
    assert histogram.counts.sum() == 1
    assert histogram.counts[2, 19] == 1


def test_json_reads_back_and_labels_must_agree():
    histogram = ScoreHistogram(['quote "', "b"])
    histogram.add(batch([[0.1, 0.2]]))
    value = json.loads(histogram.to_json())
    again = ScoreHistogram.from_json(value, ['quote "', "b"], "x")
    again.merge(histogram)
    np.testing.assert_array_equal(again.counts, 2 * histogram.counts)
    with pytest.raises(InvalidInputError, match="x: a histogram of other labels"):
        ScoreHistogram.from_json(value, ["b", "a"], "x")

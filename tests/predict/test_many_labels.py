"""The best of many labels, which some instruction sets tell by rough products first."""

from __future__ import annotations

import numpy as np
import pytest
from support.models import rows_for, saved
from support.networks import propensity

from fastprop import _core

N_LABELS = 700


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    network = propensity(np.random.default_rng(4), n_heads=N_LABELS, hidden=(48, 24))
    return saved(tmp_path_factory.mktemp("many"), network)


def best(scores, k, threshold, allowed):
    kept = scores >= threshold
    if allowed is not None:
        kept &= allowed
    order = np.argsort(np.where(kept, -scores, np.inf), axis=1, kind="stable")[:, :k]
    chosen = np.take_along_axis(kept, order, axis=1)
    return (
        np.where(chosen, order, -1),
        np.where(chosen, np.take_along_axis(scores, order, axis=1), np.nan),
    )


@pytest.mark.parametrize("isa", _core.instruction_sets())
@pytest.mark.parametrize("k", [1, 20, 64])
def test_the_best_are_those_of_the_whole_scores(model, isa, k):
    allowed = np.arange(N_LABELS) % 3 != 0
    with model.predictor(isa=isa, threads=2, batch_size=64) as predictor:
        for n_rows in (15, 16, 200):
            rows = rows_for(model, n_rows)
            scores = predictor.predict(rows)
            for threshold, mask in ((-np.inf, None), (0.6, None), (-np.inf, allowed)):
                indices, values = best(scores, k, threshold, mask)
                top = predictor.predict_top_k(
                    rows, k, threshold=None if threshold < 0 else threshold, allowed=mask
                )
                np.testing.assert_array_equal(top.indices, indices)
                np.testing.assert_array_equal(top.scores, values.astype(np.float32))

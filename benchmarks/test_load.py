"""From files to the first score."""

from __future__ import annotations

import fastprop
from fastprop.bench.oracle import check_scores
from fastprop.checkpoint.directory import find_checkpoint
from fastprop.checkpoint.params import read_params


def test_read_params(benchmark, suite):
    path = find_checkpoint(suite.directory).params
    parameters = benchmark(read_params, path)
    assert parameters["arg:weight"].shape == (100_000, 256)
    assert len(parameters) == 2 + 2 + 2 * 3000


def test_load_model(benchmark, suite):
    model = benchmark(fastprop.load_model, suite.directory)
    assert (model.n_features, model.n_labels) == (100_000, 3000)


def test_first_score(benchmark, suite):
    vector = suite.vectors[:1]

    def first():
        with fastprop.load_model(suite.directory).predictor(threads=1) as predictor:
            return predictor.predict(vector)

    check_scores(benchmark(first), suite.expected[:1], 2e-6)

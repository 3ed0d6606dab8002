"""Scores by path, threads and rows a call."""

from __future__ import annotations

import numpy as np
import pytest

import fastprop
from fastprop import _core
from fastprop.bench.oracle import check_scores

TOLERANCE = 2e-6
PATHS = {"split": {}, "whole graph": {"whole_graph": True}}


def first(rows, n):
    end = rows.indptr[n]
    return fastprop.CSR(
        rows.indptr[: n + 1], rows.indices[:end], rows.data[:end], (n, *rows.shape[1:])
    )


@pytest.mark.parametrize("threads", sorted({1, _core.cpu_count()}))
@pytest.mark.parametrize("path", PATHS)
def test_many_rows(benchmark, suite, path, threads):
    out = np.empty((suite.rows.shape[0], suite.model.n_labels), np.float32)
    with suite.model.predictor(threads=threads, **PATHS[path]) as predictor:
        benchmark(predictor.predict, suite.rows, out=out)
    check_scores(out[:512], suite.expected, TOLERANCE)
    if benchmark.enabled:
        benchmark.extra_info["rows/s"] = len(out) / benchmark.stats.stats.median


@pytest.mark.parametrize("n", [1, 4, 16, 64, 512])
def test_rows_a_call(benchmark, suite, n):
    rows = first(suite.rows, n)
    with suite.model.predictor() as predictor:
        scores = benchmark(predictor.predict, rows)
    check_scores(scores, suite.expected[:n], TOLERANCE)


def test_one_sparse_vector(benchmark, suite):
    vector = suite.vectors[:1]
    with suite.model.predictor(threads=1) as predictor:
        scores = benchmark(predictor.predict, vector)
    check_scores(scores, suite.expected[:1], TOLERANCE)


def test_lists(benchmark, suite):
    vectors = suite.vectors
    with suite.model.predictor() as predictor:
        scores = benchmark(predictor.predict, vectors)
    check_scores(scores[:512], suite.expected, TOLERANCE)


def test_stream(benchmark, suite):
    vectors = suite.vectors
    with suite.model.predictor() as predictor:
        parts = benchmark(lambda: list(predictor.stream(vectors)))
    check_scores(np.concatenate(parts)[:512], suite.expected, TOLERANCE)

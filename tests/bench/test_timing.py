from __future__ import annotations

import numpy as np
import pytest

from fastprop.bench.timing import Window, agree, latency_percentiles, summarize


def test_rates_agree_when_the_last_ones_are_close():
    assert agree([1.0, 100.0, 104.0, 102.0], 3, 0.05)
    assert not agree([100.0, 104.0, 106.0], 3, 0.05)
    assert not agree([100.0, 100.0], 3, 0.05)
    assert not agree([], 1, 0.05)


def test_percentiles_are_those_of_a_known_sample():
    found = latency_percentiles([float(n) for n in range(1, 1001)])
    assert found["p50"] == 501.0
    assert found["p90"] == 901.0
    assert found["p99"] == 991.0
    assert found["p99.9"] == 1000.0
    assert (found["min"], found["max"], found["mean"]) == (1.0, 1000.0, 500.5)


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (1, {"p50"}),
        (10, {"p50", "p90"}),
        (20, {"p50", "p90", "p95"}),
        (99, {"p50", "p90", "p95"}),
        (100, {"p50", "p90", "p95", "p99"}),
        (1000, {"p50", "p90", "p95", "p99", "p99.9"}),
    ],
)
def test_percentiles_need_calls_beyond_them(calls, expected):
    assert set(latency_percentiles([0.5] * calls)) - {"mean", "min", "max"} == expected


def test_a_summary_takes_the_windows_that_agree():
    windows = [Window(10, (1.0,)), *(Window(10, (s, s, 9.0)) for s in (0.100, 0.101, 0.102))]
    timing = summarize(windows, count=3, agreement=0.05)
    assert timing.agreed
    assert timing.rows_per_second == pytest.approx(10 / 0.101)
    assert (timing.slowest, timing.fastest) == (pytest.approx(10 / 0.102), pytest.approx(100.0))
    assert (timing.windows, timing.calls, timing.rows_per_call) == (4, 10, 10)
    assert timing.latency["max"] == 9.0


def test_a_summary_takes_all_windows_when_none_agree():
    windows = [Window(1, (1 / rate,)) for rate in (10.0, 20.0, 30.0, 40.0)]
    timing = summarize(windows, count=3, agreement=0.05)
    assert not timing.agreed
    assert timing.rows_per_second == pytest.approx(25.0)
    assert (timing.slowest, timing.fastest) == (pytest.approx(10.0), pytest.approx(40.0))


def test_the_rate_is_that_of_the_median_call():
    assert Window(100, (0.1, 0.2, 50.0)).rate == pytest.approx(100 / np.median([0.1, 0.2, 50.0]))

from __future__ import annotations

import copy

import pytest

from fastprop.capacity import (
    Job,
    Rate,
    estimate,
    memory_bytes,
    parameter_bytes,
    rate_of_report,
)
from fastprop.errors import InvalidInputError

JOB = Job(customers=36_000_000, nonzeros=100, categories=1000, top_k=10)
RATE = Rate(10_000, "here", nonzeros=100, categories=1000)


def test_the_formulas():
    found = estimate(JOB, RATE, share=0.5, cores=4, deadline_hours=0.3, cores_per_executor=2)
    assert found.rows_per_second_per_core == 5000
    assert found.core_hours == pytest.approx(2.0)
    assert found.hours == pytest.approx(0.5)
    # 2 core-hours in 0.3 hours are 6.7 cores: 4 executors of 2.
    assert (found.executors, found.cores) == (4, 8)
    assert found.bytes_read == 36_000_000 * (8 + 630)
    assert found.bytes_written == 36_000_000 * (8 + 43)
    every = estimate(Job(1000, 100, 1000), RATE)
    assert every.bytes_written == 1000 * (8 + 4000)
    assert (every.hours, every.executors, every.cores) == (None, None, None)


def test_executors_are_whole_and_not_one_too_many():
    for hours, executors in ((2.0, 1), (1.0, 1), (0.5, 2), (0.499, 3)):
        found = estimate(JOB, RATE, share=0.5, deadline_hours=hours, cores_per_executor=2)
        assert found.executors == executors


def test_larger_jobs_than_measured_are_slower_and_smaller_ones_no_faster():
    assert RATE.scaled_to(JOB) == 10_000
    assert RATE.scaled_to(Job(1, 200, 1000)) == 5000
    assert RATE.scaled_to(Job(1, 200, 4000)) == 2500
    assert RATE.scaled_to(Job(1, 10, 10)) == 10_000
    assert Rate(10_000, "told").scaled_to(Job(1, 10**6, 10**6)) == 10_000


def test_memory_knows_no_customers_but_batches_and_parameters():
    more = Job(customers=10**12, nonzeros=100, categories=1000, top_k=10)
    assert memory_bytes(more) == memory_bytes(JOB)
    larger = Job(1, 100, 1000, top_k=10, parameter_bytes=10**9)
    assert memory_bytes(larger) == memory_bytes(JOB) + 10**9
    assert memory_bytes(Job(1, 100, 1000, top_k=10, batch_rows=100)) < memory_bytes(JOB)
    assert memory_bytes(Job(1, 100, 1000, top_k=10, read_ahead=9)) > memory_bytes(JOB)


def test_parameters_of_a_chain():
    assert parameter_bytes(100, [8, 4, 3]) == 4 * (100 * 8 + 8 * 4 + 2 * 4 * 3)


def contender(name, rows_per_second, threads, **changes):
    return {
        "name": name,
        "kind": "fastprop",
        "status": "measured",
        "single": False,
        "rows_per_second": rows_per_second,
        "threads": threads,
        **changes,
    }


REPORT = {
    "workload": {
        "n_features": 100,
        "layers": [8, 3],
        "nonzeros_per_row": 5.0,
        "n_labels": 3,
    },
    "contenders": [
        contender("torch@2", 9000, 2, kind="torch"),
        contender("fastprop@1", 1000, 1),
        contender("fastprop@2", 1800, 2),
        contender("fastprop-bf16@2", 5000, 2),
        contender("fastprop-single", 500, 1, single=True),
        contender("fastprop-top20@2", 1700, 2),
        contender("fastprop@4", None, 4, status="failed"),
    ],
}


def test_a_report_gives_the_rate_of_a_core_with_most_threads():
    rate = rate_of_report(REPORT, top_k=False)
    assert (rate.rows_per_second, rate.nonzeros, rate.categories) == (900, 5.0, 3)
    assert rate.parameter_bytes == parameter_bytes(100, [8, 3])
    assert rate_of_report(REPORT, top_k=True).rows_per_second == 850
    without = copy.deepcopy(REPORT)
    del without["contenders"][5]
    assert rate_of_report(without, top_k=True).rows_per_second == 900


@pytest.mark.parametrize("change", [{"contenders": []}, {"contenders": 3}, {"workload": {}}])
def test_other_json_is_refused(change):
    with pytest.raises(InvalidInputError, match=r"x\.json: "):
        rate_of_report({**REPORT, **change}, top_k=False, name="x.json")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Job(0, 1, 1),
        lambda: Job(1, 0, 1),
        lambda: Job(1, 1, 0),
        lambda: Job(1, 1, 1, top_k=0),
        lambda: Job(1, float("inf"), 1),
        lambda: Job(1, 1, 1, bytes_per_nonzero=1e308),
        lambda: Rate(0, "told"),
        lambda: Rate(float("nan"), "told"),
        lambda: estimate(JOB, RATE, share=0),
        lambda: estimate(JOB, RATE, share=1.5),
        lambda: estimate(JOB, RATE, cores=0),
        lambda: estimate(JOB, RATE, deadline_hours=0),
        lambda: estimate(JOB, RATE, deadline_hours=5e-324),
        lambda: estimate(JOB, Rate(1e-300, "told"), cores=1),
        lambda: Rate(float("inf"), "told"),
        lambda: estimate(JOB, RATE, cores_per_executor=0),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(InvalidInputError):
        make()

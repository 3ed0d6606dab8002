from __future__ import annotations

import random
import threading
import time

import pytest

from fastprop.io.ordered import in_order


def unit(number, *, fails_at=None, seen=None):
    def make():
        for item in range(5):
            if fails_at == item:
                raise ValueError(f"unit {number}")
            time.sleep(random.random() * 0.002)
            if seen is not None:
                seen.append((number, item))
            yield number, item

    return make


@pytest.mark.parametrize("threads", [1, 2, 3, 20])
def test_items_come_in_order(threads):
    given = list(in_order((unit(number) for number in range(9)), threads=threads))
    assert given == [(number, item) for number in range(9) for item in range(5)]
    assert list(in_order([], threads=threads)) == []
    assert list(in_order([lambda: iter(())] * 3, threads=threads)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_its_turn(threads):
    units = [unit(0), unit(1, fails_at=2), unit(2)]
    items = in_order(units, threads=threads)
    assert [next(items) for _ in range(7)] == [(n, i) for n in range(2) for i in range(5)][:7]
    with pytest.raises(ValueError, match="unit 1"):
        next(items)
    assert not [t for t in threading.enumerate() if t.name.startswith("fastprop-read_")]


def test_no_more_units_run_than_asked_for():
    seen = []
    items = in_order((unit(number, seen=seen) for number in range(50)), threads=3)
    assert next(items) == (0, 0)
    time.sleep(0.1)
    assert {number for number, _ in seen} == {0, 1, 2}
    items.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("fastprop-read_")]
    assert {number for number, _ in seen} == {0, 1, 2}


def test_units_run_at_the_same_time():
    both = threading.Barrier(2, timeout=30)

    def meet():
        both.wait()
        yield 1

    assert list(in_order([meet, meet], threads=2)) == [1, 1]

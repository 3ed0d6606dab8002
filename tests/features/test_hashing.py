from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.features import CustomerSplit, hash_ids, hash_unit

MASK = 2**64 - 1


def plain_finalizer(word: int, seed: int) -> int:
    word = (word + (seed + 1) * 0x9E3779B97F4A7C15) & MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def plain_fnv(text: str) -> int:
    state = 0xCBF29CE484222325
    for byte in text.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    return state


def test_first_number_of_splitmix64():
    # The published first output of SplitMix64 from state 0.
    assert hash_ids(np.array([0]))[0] == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint32])
def test_integers_hash_by_value(dtype):
    ids = np.array([0, 1, 7, 12345], dtype)
    expected = [plain_finalizer(int(i), 3) for i in ids]
    np.testing.assert_array_equal(hash_ids(ids, seed=3), np.array(expected, np.uint64))


def test_negative_integers():
    expected = [plain_finalizer(-1 & MASK, 0), plain_finalizer(-500 & MASK, 0)]
    np.testing.assert_array_equal(hash_ids(np.array([-1, -500])), np.array(expected, np.uint64))


@pytest.mark.parametrize("make", [pa.array, lambda names: pa.array(names, pa.large_string())])
def test_strings_hash_by_their_bytes(make):
    names = ["", "a", "ab", "ba", "naïve", "x" * 40]
    expected = np.array([plain_finalizer(plain_fnv(name), 1) for name in names], np.uint64)
    np.testing.assert_array_equal(hash_ids(make(names), seed=1), expected)
    np.testing.assert_array_equal(hash_ids(make(["?", *names, "?"])[1:-1], seed=1), expected)
    np.testing.assert_array_equal(hash_ids(pa.chunked_array([make(names)]), seed=1), expected)


def test_unit_is_even():
    unit = hash_unit(np.arange(20_000))
    counts = np.histogram(unit, bins=10, range=(0, 1))[0]
    assert counts.sum() == 20_000
    assert counts.min() > 1_850


def test_a_split_is_a_part_and_its_complement():
    ids = np.arange(5_000)
    low, high = CustomerSplit(0, 0.3, seed=4), CustomerSplit(0.3, 1, seed=4)
    np.testing.assert_array_equal(low.mask(ids), ~high.mask(ids))
    assert 0.27 < low.mask(ids).mean() < 0.33
    assert (low.mask(ids) != CustomerSplit(0, 0.3, seed=5).mask(ids)).any()


def test_what_cannot_be_hashed():
    with pytest.raises(DTypeError, match="1 identifiers are null"):
        hash_ids(pa.array([1, None]))
    with pytest.raises(DTypeError, match="double"):
        hash_ids(np.array([1.5]))
    with pytest.raises(InvalidInputError, match="not in"):
        CustomerSplit(0.5, 0.2)


def test_nothing_to_hash():
    assert len(hash_ids(pa.array([], pa.string()))) == 0
    assert len(hash_ids(pa.chunked_array([], pa.string()))) == 0

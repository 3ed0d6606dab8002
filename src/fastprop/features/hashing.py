"""Stable hashes of identifiers: the same on every machine, Python and run.

Splits and partitions by a hash of the customer stay as they are when the data grow, and need no
list of who is where. Python's own `hash` will not do: it is seeded a process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fastprop.checks import integer, number, shown
from fastprop.errors import DTypeError, InvalidInputError

__all__ = ["CustomerSplit", "hash_ids", "hash_unit"]

_UInt64 = npt.NDArray[np.uint64]


def hash_ids(ids: Any, *, seed: int = 0) -> _UInt64:
    """Hash integers or strings to 64 bits.

    Parameters
    ----------
    ids : ndarray, pyarrow.Array or pyarrow.ChunkedArray, shape (n,)
        Integers (hashed by value, whatever their width) or strings (by their UTF-8 bytes).
    seed : int
        Another seed gives another, independent hash.

    Returns
    -------
    ndarray of uint64, shape (n,)

    Raises
    ------
    DTypeError
        If the identifiers are neither integers nor strings, or one is null.

    Notes
    -----
    Integers go through the finalizer of SplitMix64 (Steele, Lea, Flood, 2014); strings through
    FNV-1a (Fowler, Noll, Vo) first.
    """
    array = ids
    if not isinstance(ids, (pa.Array, pa.ChunkedArray)):
        try:
            array = pa.array(ids)
        except (TypeError, ValueError) as error:  # Arrow's errors are of these, too
            raise DTypeError(
                f"hash_ids: expected integers or strings, got {shown(ids)} ({error})"
            ) from None
    seed = integer("seed", seed)
    if array.null_count:
        raise DTypeError(f"hash_ids: {array.null_count} identifiers are null")
    if pa.types.is_integer(array.type):
        words = (
            array.to_numpy(zero_copy_only=False)
            if isinstance(array, pa.Array)
            else (array.to_numpy())
        )
        state = words.astype(np.int64 if words.dtype.kind == "i" else np.uint64).view(np.uint64)
    elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        state = _fnv1a(array)
    else:
        raise DTypeError(f"hash_ids: expected integers or strings, got {array.type}")
    return _finalize(state, seed)


def hash_unit(ids: Any, *, seed: int = 0) -> npt.NDArray[np.float64]:
    """Hash identifiers to numbers spread evenly over [0, 1); arguments as for `hash_ids`."""
    return (hash_ids(ids, seed=seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class CustomerSplit:
    """Some of the customers, chosen by a hash of their identifier.

    Parameters
    ----------
    low, high : float
        Customers whose `hash_unit` is in [low, high) are chosen, which is about that share.
    seed : int
        Another seed chooses others.
    """

    low: float
    high: float
    seed: int = 0

    def __post_init__(self) -> None:
        integer("seed", self.seed)
        number("low", self.low)
        number("high", self.high)
        if not 0 <= self.low <= self.high <= 1:
            raise InvalidInputError(f"CustomerSplit: [{self.low}, {self.high}) is not in [0, 1]")

    def mask(self, ids: Any) -> npt.NDArray[np.bool_]:
        """Say of each customer whether it is chosen; a customer's rows all go the same way."""
        unit = hash_unit(ids, seed=self.seed)
        return (unit >= self.low) & (unit < self.high)


def _finalize(state: _UInt64, seed: int) -> _UInt64:
    step = np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    with np.errstate(over="ignore"):
        mixed = state + step
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def _fnv1a(array: Any) -> _UInt64:
    """Hash strings, one byte of all of them at a time."""
    flat = pc.cast(array, pa.large_binary())
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.combine_chunks()
    if isinstance(flat, pa.ChunkedArray):  # pyarrow keeps an empty chunked array as it is
        flat = pa.array([], pa.large_binary())
    offsets = np.frombuffer(flat.buffers()[1], dtype=np.int64, count=flat.offset + len(flat) + 1)
    offsets = offsets[flat.offset :]
    data = flat.buffers()[2]
    text = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8)
    lengths = np.diff(offsets)
    state = np.full(len(flat), 0xCBF29CE484222325, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for position in range(int(lengths.max(initial=0))):
            longer = np.flatnonzero(lengths > position)
            byte = text[offsets[longer] + position].astype(np.uint64)
            state[longer] = (state[longer] ^ byte) * np.uint64(0x100000001B3)
    return state

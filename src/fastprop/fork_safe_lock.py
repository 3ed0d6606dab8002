"""A lock for objects that a process may share with its forked children."""

from __future__ import annotations

import threading

from fastprop import _core

__all__ = ["ForkSafeLock"]


class ForkSafeLock:
    """A lock that is free again in a forked child, whatever the parent's threads held.

    A context manager. `threading.Lock` stays locked for ever in a child where another thread of
    the parent held it at the moment of the fork.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def __enter__(self) -> None:
        generation = _core.fork_generation()
        lock = self._locks.get(generation)
        if lock is None:
            lock = self._locks.setdefault(generation, threading.Lock())
        lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._locks[_core.fork_generation()].release()

"""A bounded queue between two threads that ends well: with its items, or with an error."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Channel", "ChannelClosed"]

T = TypeVar("T")


class ChannelClosed(Exception):  # noqa: N818 - a signal between threads, not a fault
    """The other side has stopped; whoever puts has nobody to put for."""


class Channel(Generic[T]):
    """One thread puts, another gets; both wait when they have to.

    Parameters
    ----------
    capacity : int
        Most items that wait.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._stopped = False

    def put(self, item: T) -> None:
        """Add an item, waiting for room.

        Raises
        ------
        ChannelClosed
            If `stop` was called.
        """
        with self._changed:
            while len(self._items) >= self._capacity and not self._stopped:
                self._changed.wait()
            if self._stopped:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no more items come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Say that an error comes after the items, and nothing more."""
        with self._changed:
            self._error = error
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Drop what waits and wake both sides: nothing more is put or got."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Get items until the end; raises `ChannelClosed` after `stop`, and the error of `fail`."""
        while True:
            with self._changed:
                while not (self._items or self._ended or self._stopped):
                    self._changed.wait()
                if self._stopped:
                    raise ChannelClosed
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

"""Several iterators at once, each in a thread, and their items in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Callable, TypeVar

from fastprop.io.channel import Channel, ChannelClosed

__all__ = ["in_order"]

T = TypeVar("T")
_NO_LIMIT = 1 << 62


def in_order(
    units: Iterable[Callable[[], Iterator[T]]], *, threads: int
) -> Generator[T, None, None]:
    """Chain iterators, running some of them ahead.

    Parameters
    ----------
    units : iterable of callables
        Each makes an iterator, which is run in one thread.
    threads : int
        Iterators that run at once. Up to so many are held in memory, with all their items. With 1
        nothing is run ahead, and it is the caller's thread that runs them.

    Yields
    ------
    The items of the first iterator, then those of the second, and so on; and an iterator's error
    when its turn has come. Close the generator to stop the threads.
    """
    if threads == 1:
        for unit in units:
            yield from unit()
        return
    rest = iter(units)
    ahead: deque[Channel[T]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="fastprop-read")
    try:
        for unit in islice(rest, threads):
            ahead.append(_begin(pool, unit))
        while ahead:
            yield from ahead[0]
            ahead.popleft()
            for unit in islice(rest, 1):
                ahead.append(_begin(pool, unit))
    finally:
        for channel in ahead:
            channel.stop()
        pool.shutdown()


def _begin(pool: ThreadPoolExecutor, unit: Callable[[], Iterator[T]]) -> Channel[T]:
    channel: Channel[T] = Channel(_NO_LIMIT)

    def run() -> None:
        try:
            for item in unit():
                channel.put(item)
        except ChannelClosed:
            return
        except BaseException as error:  # raised where its turn comes
            channel.fail(error)
        else:
            channel.end()

    pool.submit(run)
    return channel

"""Reading ahead and writing behind, each on a thread of its own with a bound, beside what the frames are made for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

DEPTH = 4
"""Items that wait at most: frames are megabytes each, and more than a few even out nothing."""


def read_ahead(items: Iterable[Item], depth: int = DEPTH) -> Generator[Item, None, None]:
    """The same items in the same order, made on a thread while the last one is used; at most `depth` wait.

    What making an item raises is raised in its place.
    """
    iterator: Iterator[Any] = iter(items)
    end = object()
    reader = ThreadPoolExecutor(1, thread_name_prefix="reading")
    try:
        ahead: deque[Future[Any]] = deque(reader.submit(next, iterator, end) for _ in range(depth))
        while (item := ahead.popleft().result()) is not end:
            ahead.append(reader.submit(next, iterator, end))
            yield item
    finally:
        reader.shutdown(cancel_futures=True)


class Behind(Generic[Item]):
    """Does something with each item, in order, on a thread of its own.

    work: what is done. depth: how many items wait at most; `put` waits for room, so that memory stays bounded.
    """

    def __init__(self, work: Callable[[Item], object], depth: int = DEPTH) -> None:
        self._work = work
        self._depth = depth
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writing")
        self._waiting: deque[Future[object]] = deque()

    def put(self, item: Item) -> None:
        """Hand an item over. Raises what the work on an earlier one raised."""
        while len(self._waiting) >= self._depth or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._work, item))

    def finish(self) -> None:
        """Return when all is done, and end the thread. Raises what the work on an item raised."""
        try:
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)

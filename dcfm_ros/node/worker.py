"""Threads between a callback and the publishers: the newest frame wins, and every frame is counted. Knows no ROS."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_OUTBOX_LENGTH = 10  # the depth of ~/timing: more could not be delivered late either


class RejectedError(ValueError):
    """The item is bad: it is counted as rejected, and the next one is unharmed."""


@dataclass(frozen=True)
class Counts:
    """received = processed + dropped + rejected + failed + skipped + pending, always; pending is at most 2."""

    received: int = 0
    processed: int = 0
    dropped: int = 0
    rejected: int = 0
    failed: int = 0
    skipped: int = 0
    pending: int = 0


class Worker(Generic[Item, Result]):
    """One thread that works on the newest item, and one that delivers results.

    work: item -> result; raises RejectedError for a bad item, and anything else when it failed.
    deliver: gets all results since its last call, oldest first; slow delivery never delays work.
    on_error: told of what `work` or `deliver` raised. All three are called outside the lock, on the worker's threads.
    Items that come while the worker is stopped are counted as skipped.
    """

    def __init__(
        self,
        work: Callable[[Item], Result],
        deliver: Callable[[list[Result]], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._work = work
        self._deliver = deliver
        self._on_error = on_error
        self._changed = threading.Condition()
        self._counts = Counts()
        self._waiting: Item | None = None
        self._busy = False
        self._outbox: deque[Result] = deque(maxlen=_OUTBOX_LENGTH)
        self._running = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to work. Does nothing when it has begun."""
        if self._running:
            return
        self._running = True
        self._threads = [
            threading.Thread(target=self._work_loop, name="inference", daemon=True),
            threading.Thread(target=self._deliver_loop, name="publishing", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is being worked on and delivered, drop what waits, and return when both threads have ended."""
        with self._changed:
            self._running = False
            if self._waiting is not None:
                self._waiting = None
                self._count("dropped")
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def submit(self, item: Item) -> None:
        """Hand over an item; one that still waits is dropped for it. Returns at once."""
        with self._changed:
            self._count("received")
            if not self._running:
                self._count("skipped")
                return
            if self._waiting is not None:
                self._count("dropped")
            self._waiting = item
            self._changed.notify_all()

    @property
    def counts(self) -> Counts:
        """All counts at one moment."""
        with self._changed:
            return replace(self._counts, pending=(self._waiting is not None) + self._busy)

    def _work_loop(self) -> None:
        while (item := self._next_item()) is not None:
            outcome = "processed"
            try:
                result = self._work(item)
            except Exception as error:  # whatever a message or a device does, the next frame is tried
                outcome = "rejected" if isinstance(error, RejectedError) else "failed"
                self._on_error(error)
            with self._changed:
                self._busy = False
                self._count(outcome)
                if outcome == "processed":
                    self._outbox.append(result)
                    self._changed.notify_all()

    def _deliver_loop(self) -> None:
        while results := self._next_results():
            try:
                self._deliver(results)
            except Exception as error:  # a publisher that fails once must not silence the node
                self._on_error(error)

    def _next_item(self) -> Item | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or not self._running)
            item, self._waiting = self._waiting, None
            self._busy = item is not None
            return item

    def _next_results(self) -> list[Result]:
        with self._changed:
            # After a stop, the result still being worked on is delivered too.
            self._changed.wait_for(lambda: self._outbox or not (self._running or self._busy))
            results = list(self._outbox)
            self._outbox.clear()
            return results

    def _count(self, what: str) -> None:
        self._counts = replace(self._counts, **{what: getattr(self._counts, what) + 1})

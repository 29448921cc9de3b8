"""Threads between callbacks and publishers: the newest frame of each camera wins, and every frame is counted.

Knows no ROS.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_OUTBOX_LENGTH = 10  # the depth of ~/timing: more could not be delivered late either


class RejectedError(ValueError):
    """The item is bad: it is counted as rejected, and the next one is unharmed."""


class UnwantedError(Exception):
    """Nobody takes what was being made ready any more: the items are counted as dropped, and the next are unharmed."""


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
    """One thread that works on the newest item of each camera, and one that delivers results.

    work: the items of a round, at most one of each camera -> a result for each, or the exception that it ended in:
    RejectedError for a bad item, anything else when it failed. What `work` itself raises is every item's end;
    UnwantedError, which `skipping` raises too, has to be let through.
    deliver: gets all results of each camera since its last call, oldest first; slow delivery never delays work.
    on_error: told of each exception but that, with the camera's name, or None where it is of none. All three are called
    outside the lock, on the worker's threads.
    Items are counted as skipped before `start`, after `stop`, while the set-up runs or `skipping` is entered, and
    while the worker does not `accept`.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        work: Callable[[dict[str, Item]], Mapping[str, Result | Exception]],
        deliver: Callable[[dict[str, list[Result]]], None],
        on_error: Callable[[str | None, Exception], None],
    ) -> None:
        self._work = work
        self._deliver = deliver
        self._on_error = on_error
        self._changed = threading.Condition()
        self._counts = {name: Counts() for name in cameras}
        self._waiting: dict[str, Item] = {}
        self._busy: frozenset[str] = frozenset()
        self._outbox: dict[str, deque[Result]] = {}
        self._delivers = False
        self._running = False
        self._accepts = False
        self._skips = 0
        self._threads: list[threading.Thread] = []

    def start(self, set_up: Callable[[], None]) -> None:
        """Begin: `set_up` runs once on the thread that works; if it raises, `on_error` is told and nothing follows.

        Does nothing when the worker has begun.
        """
        if self._running:
            return
        self._running = True
        self._skips = 1
        self._threads = [
            threading.Thread(target=self._work_loop, args=(set_up,), name="inference", daemon=True),
            threading.Thread(target=self._deliver_loop, name="publishing", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait_until_set_up(self, timeout_s: float) -> bool:
        """Whether the set-up was over, well or not, within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._skips or not self._running, timeout_s)

    def accept(self, accepts: bool) -> None:
        """Whether items are taken from now on; when not, return once what was taken is worked on and delivered.

        Work is not waited for where the worker is `skipping`: what it was taken for is dropped at the end of that.
        """
        with self._changed:
            self._accepts = accepts
            if not accepts:
                self._drop_waiting()
                self._changed.wait_for(lambda: (self._skips or not self._busy) and not (self._outbox or self._delivers))

    def stop(self) -> None:
        """Finish what is being worked on and delivered, drop what waits, and return when both threads have ended."""
        with self._changed:
            self._running = False
            self._accepts = False
            self._drop_waiting()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def submit(self, camera: str, item: Item) -> None:
        """Hand over an item; one of the same camera that still waits is dropped for it. Returns at once."""
        with self._changed:
            self._count(camera, "received")
            if not self._running or not self._accepts or self._skips:
                self._count(camera, "skipped")
                return
            if camera in self._waiting:
                self._count(camera, "dropped")
            self._waiting[camera] = item
            self._changed.notify_all()

    @contextmanager
    def skipping(self) -> Iterator[None]:
        """Inside, items are counted as skipped: the worker is at something that is no frame, and may take minutes.

        Raises UnwantedError at the end where the worker does not `accept` any more: that did not wait for the items.
        """
        with self._changed:
            self._skips += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._skips -= 1
                is_wanted = self._accepts
                self._changed.notify_all()
        if not is_wanted:
            raise UnwantedError

    @property
    def counts(self) -> dict[str, Counts]:
        """All counts of each camera, at one moment."""
        with self._changed:
            return {
                name: replace(counts, pending=(name in self._waiting) + (name in self._busy))
                for name, counts in self._counts.items()
            }

    def _work_loop(self, set_up: Callable[[], None]) -> None:
        if not self._is_set_up(set_up):
            return
        while items := self._next_items():
            try:
                outcomes = self._work(items)
            except Exception as error:  # whatever a device does, the next frames are tried
                outcomes = dict.fromkeys(items, error)
            for name, outcome in outcomes.items():
                if isinstance(outcome, Exception):
                    self._tell(name, outcome)
            with self._changed:
                self._busy = frozenset()
                for name, outcome in outcomes.items():
                    self._count(name, _kind(outcome))
                    if not isinstance(outcome, Exception):
                        self._outbox.setdefault(name, deque(maxlen=_OUTBOX_LENGTH)).append(outcome)
                self._changed.notify_all()

    def _is_set_up(self, set_up: Callable[[], None]) -> bool:
        try:
            set_up()
        except Exception as error:  # the node lives on, and says so
            self._tell(None, error)
            with self._changed:
                self._running = False
                self._changed.notify_all()
            return False
        with self._changed:
            self._skips -= 1
            self._changed.notify_all()
        return True

    def _deliver_loop(self) -> None:
        while results := self._next_results():
            try:
                self._deliver(results)
            except Exception as error:  # a publisher that fails once must not silence the node
                self._on_error(None, error)
            with self._changed:
                self._delivers = False
                self._changed.notify_all()

    def _next_items(self) -> dict[str, Item]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._running)
            items, self._waiting = self._waiting, {}
            self._busy = frozenset(items)
            return items

    def _next_results(self) -> dict[str, list[Result]]:
        with self._changed:
            # After a stop, the results still being worked on are delivered too.
            self._changed.wait_for(lambda: self._outbox or not (self._running or self._busy))
            results = {name: list(waiting) for name, waiting in self._outbox.items()}
            self._outbox = {}
            self._delivers = bool(results)
            return results

    def _drop_waiting(self) -> None:
        for name in self._waiting:
            self._count(name, "dropped")
        self._waiting = {}

    def _tell(self, camera: str | None, error: Exception) -> None:
        if not isinstance(error, UnwantedError):
            self._on_error(camera, error)

    def _count(self, camera: str, what: str) -> None:
        counts = self._counts[camera]
        self._counts[camera] = replace(counts, **{what: getattr(counts, what) + 1})


def _kind(outcome: object) -> str:
    if isinstance(outcome, RejectedError):
        return "rejected"
    if isinstance(outcome, UnwantedError):
        return "dropped"
    return "failed" if isinstance(outcome, Exception) else "processed"

"""The threads between callback and publishers, without ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.node.worker import Counts, RejectedError, Worker


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def adds_up(counts: Counts) -> bool:
    parts = counts.processed + counts.dropped + counts.rejected + counts.failed + counts.skipped + counts.pending
    return counts.received == parts and counts.pending <= 2


class Rig:
    """A worker whose work waits for permission; items below 0 are bad, item 0 fails."""

    def __init__(self) -> None:
        self.may_work = threading.Event()
        self.may_deliver = threading.Event()
        self.may_deliver.set()
        self.begun: list[int] = []
        self.delivered: list[list[int]] = []
        self.errors: list[Exception] = []
        self.worker: Worker[int, int] = Worker(self._work, self._deliver, self.errors.append)

    def _work(self, item: int) -> int:
        self.begun.append(item)
        self.may_work.wait(10)
        if item < 0:
            raise RejectedError(f"{item} is negative")
        if item == 0:
            raise RuntimeError("out of memory")
        return item

    def _deliver(self, results: list[int]) -> None:
        self.may_deliver.wait(10)
        self.delivered.append(results)
        if 13 in results:
            raise OSError("the publisher is gone")


@pytest.fixture
def rig():
    rig = Rig()
    rig.worker.start()
    yield rig
    rig.may_work.set()
    rig.may_deliver.set()
    rig.worker.stop()
    assert adds_up(rig.worker.counts)
    assert threading.active_count() == 1 or not any(t.name == "inference" for t in threading.enumerate())


def test_the_newest_item_wins_while_one_is_worked_on(rig: Rig) -> None:
    rig.worker.submit(1)
    wait_until(lambda: rig.begun == [1])
    for item in (2, 3, 4):
        rig.worker.submit(item)
    assert rig.worker.counts == Counts(received=4, dropped=2, pending=2)
    rig.may_work.set()
    wait_until(lambda: [item for results in rig.delivered for item in results] == [1, 4])
    assert rig.worker.counts == Counts(received=4, processed=2, dropped=2)


def test_bad_and_failing_items_are_counted_apart_and_the_next_is_unharmed(rig: Rig) -> None:
    rig.may_work.set()
    for item, done in ((-1, "rejected"), (0, "failed"), (5, "processed")):
        rig.worker.submit(item)
        wait_until(lambda name=done: getattr(rig.worker.counts, name) == 1)
    wait_until(lambda: rig.delivered == [[5]])
    assert [type(error) for error in rig.errors] == [RejectedError, RuntimeError]


def test_slow_delivery_does_not_delay_work_and_gets_the_rest_at_once(rig: Rig) -> None:
    rig.may_work.set()
    rig.may_deliver.clear()
    for item in range(1, 16):
        rig.worker.submit(item)
        wait_until(lambda n=item: rig.worker.counts.processed == n)
    rig.may_deliver.set()
    wait_until(lambda: len(rig.delivered) == 2)
    assert rig.delivered == [[1], list(range(6, 16))]  # the outbox holds ten


def test_a_failing_delivery_is_told_and_does_not_end_the_next(rig: Rig) -> None:
    rig.may_work.set()
    rig.worker.submit(13)
    wait_until(lambda: len(rig.errors) == 1)
    rig.worker.submit(14)
    wait_until(lambda: [14] in rig.delivered)


def test_stopping_delivers_what_is_worked_on_and_drops_what_waits(rig: Rig) -> None:
    rig.worker.submit(1)
    wait_until(lambda: rig.begun == [1])
    rig.worker.submit(2)
    stopping = threading.Thread(target=rig.worker.stop)
    stopping.start()
    wait_until(lambda: rig.worker.counts.dropped == 1)
    rig.may_work.set()
    stopping.join(10)
    assert rig.delivered == [[1]]
    rig.worker.submit(3)
    assert rig.worker.counts == Counts(received=3, processed=1, dropped=1, skipped=1)
    rig.worker.start()
    rig.worker.submit(4)
    wait_until(lambda: [4] in rig.delivered)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 1, 2, "stop", "start"]), max_size=30))
def test_counts_add_up_whatever_happens(events: list) -> None:
    rig = Rig()
    rig.may_work.set()
    rig.worker.start()
    for event in events:
        if event == "stop":
            rig.worker.stop()
        elif event == "start":
            rig.worker.start()
        else:
            rig.worker.submit(event)
        assert adds_up(rig.worker.counts)
    rig.worker.stop()
    assert adds_up(rig.worker.counts)
    assert rig.worker.counts.pending == 0

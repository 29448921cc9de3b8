"""The threads between callback and publishers, without ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.node.worker import Counts, RejectedError, Worker


def wait_until(condition: Callable[..., bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def counts_of(worker: Worker) -> Counts:
    return worker.counts["front"]


def adds_up(counts: Counts) -> bool:
    parts = counts.processed + counts.dropped + counts.rejected + counts.failed + counts.skipped + counts.pending
    return counts.received == parts and counts.pending <= 2


class Rig:
    """A worker of two cameras whose work waits for permission; items below 0 are bad, item 0 fails, 99 fails all."""

    def __init__(self) -> None:
        self.may_work = threading.Event()
        self.may_deliver = threading.Event()
        self.may_deliver.set()
        self.begun: list[int] = []
        self.rounds: list[dict[str, int]] = []
        self.delivered: list[list[int]] = []
        self.errors: list[tuple[str | None, Exception]] = []
        self.worker: Worker[int, int] = Worker(("front", "left"), self._work, self._deliver, self._on_error)

    def start(self) -> None:
        self.worker.start(lambda: None)
        assert self.worker.wait_until_set_up(10)
        self.worker.accept(True)

    def submit(self, item: int) -> None:
        self.worker.submit("front", item)

    def _work(self, items: dict[str, int]) -> dict[str, int | Exception]:
        self.rounds.append(items)
        self.begun += items.values()
        self.may_work.wait(10)
        if 99 in items.values():
            raise RuntimeError("the device is lost")
        return {name: self._outcome(item) for name, item in items.items()}

    def _outcome(self, item: int) -> int | Exception:
        if item < 0:
            return RejectedError(f"{item} is negative")
        return item or RuntimeError("out of memory")

    def _deliver(self, results: dict[str, list[int]]) -> None:
        self.may_deliver.wait(10)
        self.delivered += results.values()
        if 13 in results.get("front", []):
            raise OSError("the publisher is gone")

    def _on_error(self, camera: str | None, error: Exception) -> None:
        self.errors.append((camera, error))


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.start()
    yield rig
    rig.may_work.set()
    rig.may_deliver.set()
    rig.worker.stop()
    assert all(map(adds_up, rig.worker.counts.values()))
    assert threading.active_count() == 1 or not any(t.name == "inference" for t in threading.enumerate())


def test_the_newest_item_wins_while_one_is_worked_on(rig: Rig) -> None:
    rig.submit(1)
    wait_until(lambda: rig.begun == [1])
    for item in (2, 3, 4):
        rig.submit(item)
    assert counts_of(rig.worker) == Counts(received=4, dropped=2, pending=2)
    rig.may_work.set()
    wait_until(lambda: [item for results in rig.delivered for item in results] == [1, 4])
    assert counts_of(rig.worker) == Counts(received=4, processed=2, dropped=2)


def test_bad_and_failing_items_are_counted_apart_and_the_next_is_unharmed(rig: Rig) -> None:
    rig.may_work.set()
    for item, done in ((-1, "rejected"), (0, "failed"), (5, "processed")):
        rig.submit(item)
        wait_until(lambda name=done: getattr(counts_of(rig.worker), name) == 1)
    wait_until(lambda: rig.delivered == [[5]])
    assert [(name, type(error)) for name, error in rig.errors] == [("front", RejectedError), ("front", RuntimeError)]


def test_slow_delivery_does_not_delay_work_and_gets_the_rest_at_once(rig: Rig) -> None:
    rig.may_work.set()
    rig.may_deliver.clear()
    for item in range(1, 16):
        rig.submit(item)
        wait_until(lambda n=item: counts_of(rig.worker).processed == n)
    rig.may_deliver.set()
    wait_until(lambda: len(rig.delivered) == 2)
    assert rig.delivered == [[1], list(range(6, 16))]  # the outbox holds ten


def test_a_failing_delivery_is_told_and_does_not_end_the_next(rig: Rig) -> None:
    rig.may_work.set()
    rig.submit(13)
    wait_until(lambda: len(rig.errors) == 1)
    rig.submit(14)
    wait_until(lambda: [14] in rig.delivered)


def test_stopping_delivers_what_is_worked_on_and_drops_what_waits(rig: Rig) -> None:
    rig.submit(1)
    wait_until(lambda: rig.begun == [1])
    rig.submit(2)
    stopping = threading.Thread(target=rig.worker.stop)
    stopping.start()
    wait_until(lambda: counts_of(rig.worker).dropped == 1)
    rig.may_work.set()
    stopping.join(10)
    assert rig.delivered == [[1]]
    rig.submit(3)
    assert counts_of(rig.worker) == Counts(received=3, processed=1, dropped=1, skipped=1)
    rig.start()
    rig.submit(4)
    wait_until(lambda: [4] in rig.delivered)


def test_each_camera_has_a_slot_of_its_own_and_a_round_takes_all_that_wait(rig: Rig) -> None:
    rig.submit(1)
    wait_until(lambda: rig.begun == [1])
    for item in (2, 3):
        rig.submit(item)
    rig.worker.submit("left", 50)
    rig.may_work.set()
    wait_until(lambda: sum(map(len, rig.delivered)) == 3)
    assert rig.rounds == [{"front": 1}, {"front": 3, "left": 50}]
    assert rig.worker.counts == {
        "front": Counts(received=3, processed=2, dropped=1),
        "left": Counts(received=1, processed=1),
    }


def test_what_work_raises_itself_is_the_end_of_every_item_of_the_round(rig: Rig) -> None:
    rig.submit(1)
    wait_until(lambda: rig.begun == [1])
    rig.submit(99)
    rig.worker.submit("left", 50)
    rig.may_work.set()
    wait_until(lambda: rig.worker.counts["left"].failed == 1)
    assert counts_of(rig.worker) == Counts(received=2, processed=1, failed=1)
    assert [name for name, _ in rig.errors] == ["front", "left"]


def test_items_are_skipped_while_the_set_up_runs() -> None:
    rig, may_end = Rig(), threading.Event()
    rig.may_work.set()

    def set_up() -> None:
        may_end.wait(10)

    rig.worker.start(set_up)
    rig.worker.accept(True)
    rig.submit(1)
    assert not rig.worker.wait_until_set_up(0.01)
    assert counts_of(rig.worker) == Counts(received=1, skipped=1)
    may_end.set()
    assert rig.worker.wait_until_set_up(10)
    rig.submit(2)
    wait_until(lambda: rig.delivered == [[2]])
    rig.worker.stop()


def test_a_set_up_that_fails_is_told_and_items_are_skipped_from_then_on() -> None:
    rig = Rig()

    def fail() -> None:
        raise RuntimeError("no engine")

    rig.worker.start(fail)
    assert rig.worker.wait_until_set_up(10)
    rig.worker.accept(True)
    rig.submit(1)
    assert counts_of(rig.worker) == Counts(received=1, skipped=1)
    assert [str(error) for _, error in rig.errors] == ["no engine"]
    rig.worker.stop()
    rig.may_work.set()
    rig.start()
    rig.submit(2)
    wait_until(lambda: rig.delivered == [[2]])
    rig.worker.stop()


def test_items_are_skipped_and_nothing_is_waited_for_while_work_is_at_something_else() -> None:
    entered, may_leave = threading.Event(), threading.Event()
    delivered: list[dict[str, list[int]]] = []
    errors: list[Exception] = []

    def work(items: dict[str, int]) -> dict[str, int]:
        with worker.skipping():
            entered.set()
            may_leave.wait(10)
        return items

    worker: Worker[int, int] = Worker(("front",), work, delivered.append, lambda name, error: errors.append(error))
    worker.start(lambda: None)
    assert worker.wait_until_set_up(10)
    worker.accept(True)
    worker.submit("front", 1)
    assert entered.wait(10)
    worker.submit("front", 2)
    assert counts_of(worker) == Counts(received=2, skipped=1, pending=1)
    worker.accept(False)
    may_leave.set()
    wait_until(lambda: not counts_of(worker).pending)
    assert counts_of(worker) == Counts(received=2, skipped=1, dropped=1)  # as it is not accepted any more
    worker.accept(True)
    worker.submit("front", 3)
    wait_until(lambda: delivered == [{"front": [3]}])
    worker.stop()
    assert not errors


def test_what_does_not_accept_has_delivered_all_it_took(rig: Rig) -> None:
    rig.submit(1)
    wait_until(lambda: rig.begun == [1])
    rig.submit(2)
    threading.Timer(0.05, rig.may_work.set).start()
    rig.worker.accept(False)
    assert rig.delivered == [[1]]
    rig.submit(3)
    assert counts_of(rig.worker) == Counts(received=3, processed=1, dropped=1, skipped=1)
    rig.worker.accept(True)
    rig.submit(4)
    wait_until(lambda: [4] in rig.delivered)


@settings(max_examples=25)
@given(st.lists(st.sampled_from([-1, 0, 1, 2, "stop", "start"]), max_size=30))
def test_counts_add_up_whatever_happens(events: list) -> None:
    rig = Rig()
    rig.may_work.set()
    rig.start()
    for event in events:
        if event == "stop":
            rig.worker.stop()
        elif event == "start":
            rig.start()
        else:
            rig.submit(event)
        assert adds_up(counts_of(rig.worker))
    rig.worker.stop()
    assert adds_up(counts_of(rig.worker))
    assert counts_of(rig.worker).pending == 0

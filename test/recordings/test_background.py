"""Reading ahead and writing behind: in order, bounded, and errors where they belong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from dcfm_ros.recordings.background import Behind, read_ahead


def test_items_come_in_order_and_no_more_than_the_depth_ahead() -> None:
    made: list[int] = []
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            assert number - len(taken) <= 3
            yield number

    for item in read_ahead(items(), depth=2):
        taken += [item]
    assert taken == made == [*range(20)]


def test_items_are_made_while_the_last_is_used() -> None:
    second = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    with closing(read_ahead(items(), depth=1)) as ahead:
        assert next(ahead) == 1
        assert second.wait(20)


def test_an_error_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="the second"):
        next(ahead)


def test_closing_ends_the_reading() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    before = threading.active_count()
    with closing(read_ahead(items(), depth=2)) as ahead:
        next(ahead)
    assert len(made) <= 4
    assert threading.active_count() == before


def test_work_is_done_in_order_by_the_end() -> None:
    done: list[int] = []
    behind: Behind[int] = Behind(done.append, depth=2)
    for number in range(50):
        behind.put(number)
    behind.finish()
    assert done == [*range(50)]


def test_putting_waits_while_too_much_is_undone() -> None:
    may_work = threading.Event()
    put = []
    behind: Behind[int] = Behind(lambda item: may_work.wait(20), depth=2)

    def fill() -> None:
        for number in range(4):
            behind.put(number)
            put.append(number)

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert put == [0, 1]
    may_work.set()
    thread.join(20)
    behind.finish()
    assert put == [0, 1, 2, 3]


def test_an_error_of_the_work_is_told() -> None:
    def work(item: int) -> None:
        raise OSError(f"no room for {item}")

    behind = Behind(work)
    behind.put(1)
    with pytest.raises(OSError, match="no room for 1"):
        behind.finish()

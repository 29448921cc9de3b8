"""Ctrl-C at a moment of one's choice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from dcfm_ros.streaming import StreamSegmenter


def interrupt_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Ctrl-C when this many frames have been pushed."""
    pushed = []
    push = StreamSegmenter.push

    def pushing(self: StreamSegmenter, *arguments: Any, **named: Any) -> Any:
        pushed.append(1)
        if len(pushed) == count:
            os.kill(os.getpid(), signal.SIGINT)
        return push(self, *arguments, **named)

    monkeypatch.setattr(StreamSegmenter, "push", pushing)


def interrupt_when(condition: Callable[[], bool]) -> None:
    """Ctrl-C once the condition holds, within a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited 60 s for the moment of Ctrl-C"
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def interrupted_by(beside: Callable[[], None]) -> Iterator[None]:
    """`beside`, which sends Ctrl-C, runs on a thread meanwhile; what it raises is raised at the end."""
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(beside)
        yield
    sent.result()

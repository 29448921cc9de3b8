"""Ctrl-C at a frame of one's choice."""

from __future__ import annotations

import os
import signal
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

"""Logging that never waits: for threads whose time belongs to frames. Knows no ROS."""

from __future__ import annotations

import os
import queue
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

_LENGTH = 100
_PERIOD_S = 5.0

Write = Callable[[str], object]


class NodeLog:
    """A log that hands lines to the ROS logger on a thread of its own.

    A slow writer or a storm of messages delays that thread alone. Lines that do not fit into the queue are lost, and
    counted in the next that do.

    writers: what writes a line, by severity.
    """

    def __init__(self, writers: Mapping[str, Write]) -> None:
        self._writers = writers
        self._lines: queue.Queue[tuple[str, str] | None] = queue.Queue(_LENGTH)
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="logging", daemon=True)
        self._thread.start()

    def __call__(self, severity: str, line: str) -> None:
        """Take a line; returns at once."""
        lost = f" ({self._lost} lines before this one were lost)" if self._lost else ""
        try:
            self._lines.put_nowait((severity, line + lost))
        except queue.Full:
            self._lost += 1
        else:
            self._lost = 0

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits and end; a writer that does not return is left behind after `timeout_s`."""
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _write(self) -> None:
        while (entry := self._lines.get()) is not None:
            severity, line = entry
            self._writers[severity](line)


def throttled(logger: Any) -> dict[str, Write]:
    """Writers for `NodeLog` to a logger of rclpy, which writes one line of each severity in five seconds."""
    # Each a line of its own: rclpy throttles by the place of the call.
    return {
        "warning": lambda line: logger.warning(line, throttle_duration_sec=_PERIOD_S),
        "error": lambda line: logger.error(line, throttle_duration_sec=_PERIOD_S),
    }


def lose_what_nobody_reads() -> None:
    """Let this process's standard output and error lose what nobody reads, from now on.

    What does not fit into a pipe or a terminal that nobody reads is lost. To wait there would stop the whole process:
    rclpy writes its log with Python's lock held.
    """
    for descriptor in (1, 2):
        with suppress(OSError):  # closed, or a terminal of another user: then it stays as it is
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor):
                # Opened anew, as O_NONBLOCK on what is shared with other processes would be theirs too.
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
                own = os.open(f"/proc/self/fd/{descriptor}", flags)
                os.dup2(own, descriptor)
                os.close(own)

"""The thread that computes keyframes in the background, as backends on the CPU treat it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

_NICENESS = 10


class BackgroundThread:
    """Knows whether a call comes from that thread, and lets it yield to all others."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def is_here(self) -> bool:
        """Whether the caller is inside `entered`."""
        return getattr(self._local, "is_here", False)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """For the thread's calls. It keeps the low priority afterwards: only root may raise one again."""
        lower_priority()
        self._local.is_here = True
        try:
            yield
        finally:
            self._local.is_here = False


def threads_beside(num_threads: int) -> int:
    """How many threads the keyframes get where the stream has `num_threads` (0: all of the CPU's): one less."""
    return max(1, (num_threads or os.cpu_count() or 1) - 1)


def lower_priority() -> None:
    """Lower the calling thread's priority, on Linux; threads that it starts from now on have it too."""
    # PRIO_PROCESS with a thread's id means that thread alone on Linux; elsewhere it would be another thing.
    if os.uname().sysname == "Linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))

"""Processes that are started here, and end with whoever started them, however that ends: killed as well.

Those who are started hold one end of a pipe, whose other end is closed by the operating system when the one who started
them is gone; a thread waits for that. Unlike Linux's signal at a parent's death (PR_SET_PDEATHSIG) this does not come
from the thread that started them, has no moment in which it is missed, and is there in every operating system that ROS
runs on; and unlike a kill from outside it leaves time to write files to their end and to give shared memory back.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

_VARIABLE = "DCFM_ROS_ENDS_WITH"
"""The pipe that a started process waits on: the number of its end, and which it is, as numbers are used again."""

_GRACE_S = 15.0
"""Seconds that a process left alone may take to end after an interrupt, before it is killed."""


def start(
    command: Sequence[str], environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[Any]:
    """Start a process of this package, which ends with this one; it has to call `end_with_parent`.

    environment: this process's own where None. options: of `subprocess.Popen`.
    """
    reading, _ = _pipe()
    return subprocess.Popen(
        command,
        env=dict(os.environ if environment is None else environment) | {_VARIABLE: _name(reading)},
        pass_fds=(reading,),
        **options,
    )


def end_with_parent() -> None:
    """Interrupt this process when the one that started it by `start` is gone, and kill it where that does not help.

    Does nothing in a process that was started otherwise.
    """
    text = os.environ.get(_VARIABLE, "")
    number = text.partition(":")[0]
    if not number.isdecimal():
        return
    try:
        is_ours = _name(int(number)) == text
    except OSError:
        return
    if is_ours:  # else it is of a process above the one that started this
        threading.Thread(target=_wait_and_end, args=(int(number),), name="parent", daemon=True).start()


def _wait_and_end(reading: int) -> None:
    os.read(reading, 1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


@cache
def _pipe() -> tuple[int, int]:
    """One for all who are started, open as long as this process is there."""
    return os.pipe()


def _name(descriptor: int) -> str:
    return f"{descriptor}:{os.fstat(descriptor).st_ino}"

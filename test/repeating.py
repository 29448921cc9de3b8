"""Something done again and again on a thread, while a test does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(step: Callable[[], object], pause_s: float = 0.0) -> Iterator[None]:
    """Call `step` until the end of the block, waiting `pause_s` seconds before each."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(pause_s):
            step()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

"""Logging that never waits."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

from dcfm_ros.node.log import NodeLog


def test_lines_reach_the_writer_of_their_severity() -> None:
    written: list[tuple[str, str]] = []

    def writer(name: str) -> Callable[[str], None]:
        return lambda line: written.append((name, line))

    log = NodeLog({name: writer(name) for name in ("warning", "error")})
    log("warning", "late")
    log("error", "lost")
    log.close()
    assert written == [("warning", "late"), ("error", "lost")]


def test_a_writer_that_hangs_holds_nobody_up_and_what_was_lost_is_told() -> None:
    may_write, written = threading.Event(), []

    def write(line: str) -> None:
        may_write.wait(10)
        written.append(line)

    log = NodeLog({"warning": write})
    for number in range(250):
        log("warning", f"line {number}")
    assert not written
    may_write.set()
    while len(written) < 50:
        pass
    log("warning", "line 250")
    log.close()
    assert written[:50] == [f"line {number}" for number in range(50)]
    lost = 250 - (len(written) - 1)
    assert lost in (149, 150)  # the writer had taken one out of the queue, or not yet
    assert written[-1] == f"line 250 ({lost} lines before this one were lost)"


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_other_writers_are_as_they_were() -> None:
    script = """if True:
        import os
        from contextlib import suppress
        from dcfm_ros.node.log import lose_what_nobody_reads
        theirs = os.dup(2)
        lose_what_nobody_reads()
        os.write(2, b"first\\n")
        with suppress(BlockingIOError):
            while True:
                os.write(2, b"x" * 4096)
        os.write(1, b"blocking" if os.get_blocking(theirs) else b"changed")
    """
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.wait(20) == 0
    out, said = process.communicate()
    assert out == b"blocking"
    assert said.startswith(b"first\n")

"""A recording that is closed while another thread reads it, as where a run is interrupted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcfm_ros.imaging.frame import Frame

READ_AND_CLOSE = """
import sys, threading
from dcfm_ros.recordings.open import open_recording
from dcfm_ros.recordings.recording import RecordingError
for _ in range(150):
    recording = open_recording(sys.argv[1], damaged="skip")
    frames = iter(recording)
    next(frames)
    def read():
        try:
            for _ in frames:
                pass
        except (RecordingError, ValueError):
            pass
    reader = threading.Thread(target=read)
    reader.start()
    recording.close()
    reader.join()
"""


def test_a_database_may_be_closed_while_it_is_read(
    tmp_path: Path,
    make_frames: Callable[..., list[Frame]],
    image_message: Callable[..., Any],
    write_messages: Callable[..., Path],
) -> None:
    """SQLite's own connection ends the process where that happens, so it is tried in one of its own."""
    frames = make_frames(60, (240, 320))
    bag = write_messages(tmp_path / "bag", [("/camera", frame.stamp_ns, image_message(frame)) for frame in frames])
    done = subprocess.run([sys.executable, "-c", READ_AND_CLOSE, str(bag)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

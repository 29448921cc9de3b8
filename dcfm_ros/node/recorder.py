"""Records what the node publishes: masks as PNG, overlay as a video, timing as CSV and the latest counts as JSON."""

from __future__ import annotations

import csv
import json
import queue
import sys
import threading
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from dcfm_ros.files import write_whole
from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.node.executable import initialize, own_arguments, shut_down
from dcfm_ros.processes import end_with_parent
from dcfm_ros.recordings import RecordingError
from dcfm_ros.recordings.writers import MaskWriter, VideoWriter
from dcfm_ros.streaming.timing import TIMING_COLUMNS, Timing, read_timing, timing_row

_MOST_INCOMPLETE = 200
"""How many frames may wait for a part: one that the node never made, or that was lost, does not come any more."""


class Recorder(Node):
    """Takes messages in callbacks and writes them on a thread, so that a slow disk loses nothing.

    output: the folder. rate_hz: of the overlay video. pictures: whether masks and overlay are recorded, or timing
    alone. Raises RecordingError, and OSError, for a folder or a rate that cannot be.
    """

    def __init__(self, output: Path, rate_hz: float, pictures: bool) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._files = _Files(output, rate_hz, pictures)
        super().__init__("recorder")
        self._queue: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        depth = QoSProfile(depth=100)
        self._topics = ["/segmentation/timing"]
        self.create_subscription(DiagnosticArray, self._topics[0], self._take("timing"), depth)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, depth)
        if pictures:
            for name in ("mask", "overlay"):
                self._topics.append(f"/segmentation/{name}")
                self.create_subscription(Image, self._topics[-1], self._take(name), depth)
        self._thread = threading.Thread(target=self._write, name="writing")
        self._thread.start()

    def is_matched(self) -> bool:
        """Whether somebody publishes every topic."""
        return all(self.count_publishers(topic) for topic in self._topics)

    @property
    def has_failed(self) -> bool:
        """Whether something could not be written: nothing is, from there on."""
        return self._failure is not None

    def close(self) -> None:
        """Write what has come, and close the files. Raises what writing raised."""
        self._queue.put(None)
        self._thread.join()
        try:
            self._files.close()
        finally:
            if self._failure is not None:
                raise self._failure

    def _take(self, name: str) -> Any:
        return lambda message: self._queue.put((name, message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "segmentation":
                self._queue.put(("counts", {pair.key: pair.value for pair in status.values}))

    def _write(self) -> None:
        try:
            while (entry := self._queue.get()) is not None:
                self._files.add(*entry)
        except Exception as error:  # whatever it is, it is told by the thread that waits for it
            self._failure = error


class _Files:
    """Joins mask, overlay and timing of a frame by their stamp: topics come in no order among themselves."""

    def __init__(self, output: Path, rate_hz: float, pictures: bool) -> None:
        self._output = output
        self._needed = {"timing", "mask", "overlay"} if pictures else {"timing"}
        self._masks = MaskWriter(output / "masks") if pictures else None
        self._video = VideoWriter(output / "overlay.mp4", rate_hz) if pictures else None
        self._parts: dict[int, dict[str, Any]] = defaultdict(dict)
        self._rows: dict[int, dict[str, Any]] = {}
        self._stamps: dict[int, int] = {}
        self._before = 0
        self._unstamped: set[str] = set()

    def add(self, name: str, message: Any) -> None:
        if name == "counts":
            write_whole(self._output / "counts.json", json.dumps(message, indent=2) + "\n")
            return
        stamp = stamp_ns(message.header)
        if not stamp and len(self._needed) > 1:
            if name not in self._unstamped:  # the first of a simulation, whose time begins at 0
                self._unstamped.add(name)
                return
            raise RecordingError(
                f"a message on /segmentation/{name} has the stamp 0, by which mask, overlay and timing of a frame are "
                "joined; expected a camera that stamps its images, or --no-pictures for the timing alone"
            )
        parts = self._parts[stamp]
        parts[name] = message
        if parts.keys() >= self._needed:
            del self._parts[stamp]
            self._write(stamp, parts)
        elif len(self._parts) > _MOST_INCOMPLETE:
            del self._parts[next(iter(self._parts))]

    def close(self) -> None:
        if self._masks is not None:
            self._masks.close()
        if self._video is not None:
            self._video.close()
        with (self._output / "timing.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, TIMING_COLUMNS)
            writer.writeheader()
            writer.writerows(self._rows[index] for index in sorted(self._rows))

    def _write(self, stamp: int, parts: dict[str, Any]) -> None:
        timing = self._numbered(stamp, read_timing(parts["timing"]))
        if timing.index in self._stamps:
            return  # the node's second answer to a frame that was sent again
        self._stamps[timing.index] = stamp
        self._rows[timing.index] = timing_row(stamp, timing)
        if self._masks is not None:
            self._masks.write(timing.index, _pixels(parts["mask"]))
        if self._video is not None:
            self._video.write(_pixels(parts["overlay"]))

    def _numbered(self, stamp: int, timing: Timing) -> Timing:
        """With numbers that go on where the node began anew, and with it the numbers of its frames.

        A number that comes again with its stamp is a frame that was sent again, as none without a stamp ever is.
        """
        number = self._before + timing.index
        if number in self._stamps and (not stamp or self._stamps[number] != stamp):
            self._before = max(self._stamps) + 1
        return replace(timing, index=self._before + timing.index, keyframe_index=self._before + timing.keyframe_index)


def _pixels(message: Image) -> np.ndarray:
    data = np.frombuffer(message.data, np.uint8)
    shape = (message.height, message.width, 3) if message.encoding == "rgb8" else (message.height, message.width)
    return data.reshape(shape)


@click.command()
@click.argument("output", type=click.Path(path_type=Path, file_okay=False))
@click.option("--rate", default=10.0, help="Frames per second of the overlay video.")
@click.option("--pictures/--no-pictures", default=True, help="Record masks and overlay, or timing alone.")
def record(output: Path, rate: float, pictures: bool) -> None:
    """Record the segmentation node's topics into the folder OUTPUT until interrupted."""
    recorder = Recorder(output, rate, pictures)
    try:
        announced = False
        while rclpy.ok() and not recorder.has_failed:
            rclpy.spin_once(recorder, timeout_sec=0.1)
            if not announced and recorder.is_matched():
                announced = True
                print("recording", flush=True)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # how a recording is meant to end
    except RuntimeError:
        if rclpy.ok():  # else a signal took ROS away from under the recorder
            raise
    finally:
        try:
            recorder.close()
        finally:
            recorder.destroy_node()


def main(args: list[str] | None = None) -> int:
    """Entry point: 0 after an interrupt, 1 with one line on stderr when something cannot be written."""
    end_with_parent()
    arguments = sys.argv if args is None else args
    try:
        initialize(arguments)
        record.main(own_arguments(arguments)[1:], standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (ValueError, OSError) as error:
        print(f"recorder: {error}", file=sys.stderr)
        return 1
    finally:
        shut_down()
    return 0


if __name__ == "__main__":
    sys.exit(main())

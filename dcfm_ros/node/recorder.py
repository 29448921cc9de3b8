"""Records what the node publishes: masks as PNG, overlay as a video, timing as CSV and the latest counts as JSON."""

from __future__ import annotations

import csv
import json
import queue
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image

from dcfm_ros.files import write_whole
from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.node.executable import shut_down
from dcfm_ros.processes import end_with_parent
from dcfm_ros.recordings.writers import MaskWriter, VideoWriter
from dcfm_ros.streaming.timing import TIMING_COLUMNS, read_timing, timing_row

_MOST_INCOMPLETE = 200
"""How many frames may wait for a part: one that the node never made, or that was lost, does not come any more."""


class Recorder(Node):
    """Takes messages in callbacks and writes them on a thread, so that a slow disk loses nothing.

    output: the folder. rate_hz: of the overlay video. pictures: whether masks and overlay are recorded, or timing
    alone.
    """

    def __init__(self, output: Path, rate_hz: float, pictures: bool) -> None:
        super().__init__("recorder")
        self._output = output
        self._queue: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._files = _Files(output, rate_hz, pictures)
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

    def close(self) -> None:
        """Write what has come, and close the files."""
        self._queue.put(None)
        self._thread.join()
        self._files.close()

    def _take(self, name: str) -> Any:
        return lambda message: self._queue.put((name, message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "segmentation":
                counts = {pair.key: pair.value for pair in status.values}
                write_whole(self._output / "counts.json", json.dumps(counts, indent=2) + "\n")

    def _write(self) -> None:
        while (entry := self._queue.get()) is not None:
            self._files.add(*entry)


class _Files:
    """Joins mask, overlay and timing of a frame by their stamp: topics come in no order among themselves."""

    def __init__(self, output: Path, rate_hz: float, pictures: bool) -> None:
        self._output = output
        self._needed = {"timing", "mask", "overlay"} if pictures else {"timing"}
        self._masks = MaskWriter(output / "masks") if pictures else None
        self._video = VideoWriter(output / "overlay.mp4", rate_hz) if pictures else None
        self._parts: dict[int, dict[str, Any]] = defaultdict(dict)
        self._rows: dict[int, dict[str, Any]] = {}

    def add(self, name: str, message: Any) -> None:
        stamp = stamp_ns(message.header)
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
        timing = read_timing(parts["timing"])
        if timing.index in self._rows:
            return  # the node's second answer to a frame that was sent again
        self._rows[timing.index] = timing_row(stamp, timing)
        if self._masks is not None:
            self._masks.write(timing.index, _pixels(parts["mask"]))
        if self._video is not None:
            self._video.write(_pixels(parts["overlay"]))


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
    output.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(output, rate, pictures)
    try:
        announced = False
        while rclpy.ok():
            rclpy.spin_once(recorder, timeout_sec=0.1)
            if not announced and recorder.is_matched():
                announced = True
                print("recording", flush=True)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # how a recording is meant to end
    finally:
        recorder.close()
        recorder.destroy_node()


def main(args: list[str] | None = None) -> int:
    """Entry point: 0 after an interrupt."""
    end_with_parent()
    arguments = sys.argv if args is None else args
    rclpy.init(args=arguments)
    try:
        record.main(remove_ros_args(arguments)[1:], standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    finally:
        shut_down()
    return 0


if __name__ == "__main__":
    sys.exit(main())

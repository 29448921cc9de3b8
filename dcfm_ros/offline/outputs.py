"""The files of a run, each written on a thread of its own beside the network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from dcfm_ros.imaging.compressed import encode_jpeg
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.imaging.overlay import colorize, overlay
from dcfm_ros.recordings.background import Behind
from dcfm_ros.recordings.writers import MaskWriter, TableWriter, VideoWriter
from dcfm_ros.streaming.timing import TIMING_COLUMNS, Timing, timing_row, timing_texts

Kind = Literal["masks", "overlay", "bag", "csv"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_NODE = "/segmentation"
_JPEG_QUALITY = 90  # as the node's, unless it is told otherwise


@dataclass(frozen=True, eq=False)
class Segmented:
    """A frame, its mask and what its timing says. is_new: whether the mask is not yet in its file."""

    frame: Frame
    mask: np.ndarray
    timing: Timing
    is_new: bool = True


class Outputs:
    """Under `folder`: masks/000000.png, overlay.mp4, the rosbag2 folder bag, and frames.csv.

    kinds: which of them. The table is always written, for a resumed run needs it, and removed at the end of one
    that does not want it. A file that is there already is replaced when the new one is whole.
    """

    def __init__(self, folder: Path, kinds: Collection[Kind], labels: LabelSet, rate_hz: float, frame_id: str) -> None:
        self._sinks: list[_Sink] = [_Table(folder / "frames.csv")]
        if "masks" in kinds:
            self._sinks.append(_Masks(folder / "masks"))
        if "overlay" in kinds:
            self._sinks.append(_Overlay(folder / "overlay.mp4", rate_hz, labels))
        if "bag" in kinds:
            self._sinks.append(_Bag(folder / "bag", labels, frame_id))
        self._behind = [Behind(sink.write) for sink in self._sinks]

    def write(self, item: Segmented) -> None:
        """Hand the next frame over; waits while a file is too far behind. Raises what writing an earlier one raised."""
        for behind in self._behind:
            behind.put(item)

    def close(self) -> None:
        """Write what is left and give the files their names; all of them, also when one cannot be written."""
        _each([*(behind.finish for behind in self._behind), *(sink.close for sink in self._sinks)])


class _Sink(Protocol):
    def write(self, item: Segmented) -> None: ...

    def close(self) -> None: ...


class _Table:
    def __init__(self, path: Path) -> None:
        self._writer = TableWriter(path, TIMING_COLUMNS)

    def write(self, item: Segmented) -> None:
        self._writer.write(timing_row(item.frame.stamp_ns, item.timing))

    def close(self) -> None:
        self._writer.close()


class _Masks:
    def __init__(self, folder: Path) -> None:
        self._writer = MaskWriter(folder)

    def write(self, item: Segmented) -> None:
        if item.is_new:
            self._writer.write(item.timing.index, item.mask)

    def close(self) -> None:
        self._writer.close()


class _Overlay:
    def __init__(self, path: Path, rate_hz: float, labels: LabelSet) -> None:
        self._writer = VideoWriter(path, rate_hz)
        self._labels = labels

    def write(self, item: Segmented) -> None:
        self._writer.write(overlay(item.frame, item.mask, self._labels))

    def close(self) -> None:
        self._writer.close()


class _Bag:
    """The node's topics, with its messages' contents and the frames' own stamps."""

    def __init__(self, path: Path, labels: LabelSet, frame_id: str) -> None:
        from dcfm_ros.recordings.message_bag import MessageBag

        self._path = path
        self._labels = labels
        self._frame_id = frame_id
        # The bag's file is called after its folder, so it is the folder above that is hidden until the bag is whole.
        self._hidden = path.with_name(f".{path.name}.unfinished")
        shutil.rmtree(self._hidden, ignore_errors=True)
        self._bag = MessageBag(self._hidden / path.name, "mcap", compress=True)
        for name in ("mask", "color"):
            self._bag.add_topic(f"{_NODE}/{name}", "sensor_msgs/msg/Image")
        self._bag.add_topic(f"{_NODE}/overlay/compressed", "sensor_msgs/msg/CompressedImage")
        self._bag.add_topic(f"{_NODE}/timing", "diagnostic_msgs/msg/DiagnosticArray")
        self._bag.add_topic(f"{_NODE}/labels", "std_msgs/msg/String", latched=True)
        self._is_empty = True

    def write(self, item: Segmented) -> None:
        stamp_ns, frame_id = item.frame.stamp_ns, self._frame_id
        if self._is_empty:
            self._bag.write_text(f"{_NODE}/labels", stamp_ns, self._labels.to_json())
            self._is_empty = False
        self._bag.write_image(f"{_NODE}/mask", stamp_ns, frame_id, item.mask, "mono")
        self._bag.write_image(f"{_NODE}/color", stamp_ns, frame_id, colorize(item.mask, self._labels), "rgb")
        jpeg = encode_jpeg(overlay(item.frame, item.mask, self._labels), _JPEG_QUALITY)
        self._bag.write_jpeg(f"{_NODE}/overlay/compressed", stamp_ns, frame_id, jpeg)
        texts = timing_texts(item.timing)
        self._bag.write_status(f"{_NODE}/timing", stamp_ns, frame_id, "timing", item.timing.reason, texts)

    def close(self) -> None:
        try:
            self._bag.close()
        except BaseException:
            shutil.rmtree(self._hidden, ignore_errors=True)
            raise
        if not self._is_empty:
            shutil.rmtree(self._path, ignore_errors=True)
            (self._hidden / self._path.name).rename(self._path)
        shutil.rmtree(self._hidden, ignore_errors=True)


def _each(steps: Collection[Callable[[], None]]) -> None:
    """All steps; then the first error among them."""
    errors = []
    for step in steps:
        try:
            step()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]

"""A frame's way through the node: from its callback to the inference thread, and on to the publishing thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from dcfm_ros.imaging.encodings import EncodingError
from dcfm_ros.imaging.frame import Frame, stamp_ns
from dcfm_ros.imaging.view import View
from dcfm_ros.node import messages
from dcfm_ros.node.camera_output import CameraOutput
from dcfm_ros.node.diagnostics import CameraReport
from dcfm_ros.node.frames import ReceivedFrame, SegmentedFrame
from dcfm_ros.node.network import Network
from dcfm_ros.node.settings import Settings
from dcfm_ros.node.worker import Counts, RejectedError, UnwantedError, Worker
from dcfm_ros.streaming.cameras import Round

_MOST_FAILURES = 5
"""So many rounds in a row without a mask, and the network is given up: one picture is no reason, a lost device is."""

_LONGEST_SENTENCE = 400
"""About a message, in the log and each second in the diagnostics: its texts are the sender's, of any length."""


@dataclass(frozen=True)
class _Running:
    """The network and settings that frames go through until parameters change. views: of each camera."""

    network: Network
    settings: Settings
    views: Mapping[str, View]


class Pipeline:
    """Runs a network on what cameras send, and has what comes of it published.

    outputs: of each camera. on_problem: told, on any thread, of a rejected or failed frame by its camera's name, or
    None where it is of none, and the sentence about it. on_failure: called when the network is given up.

    failure: why the network was given up; empty while it was not.
    """

    def __init__(
        self,
        outputs: Mapping[str, CameraOutput],
        on_problem: Callable[[str | None, Exception], None],
        on_failure: Callable[[], None],
    ) -> None:
        self._outputs = outputs
        self._on_failure = on_failure
        self._running: _Running | None = None
        self._rounds_failed = 0
        self._last: dict[str, SegmentedFrame] = {}
        self.failure = ""
        self._worker: Worker[ReceivedFrame, SegmentedFrame] = Worker(
            tuple(outputs), self._segment, self._publish, on_problem
        )

    def start(self, network: Network, settings: Settings) -> None:
        """Begin to make the network ready, on the inference thread."""
        self._rounds_failed = 0
        self.failure = ""
        self._running = _Running(network, settings, network.views)
        self._worker.start(self._set_up)

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Whether the network was ready, or had failed, within so many seconds."""
        return self._worker.wait_until_set_up(timeout_s)

    def change(self, settings: Settings) -> None:
        """Take over changed settings: they hold from the next frame on, and not for those that are under way."""
        assert self._running is not None
        network = self._running.network
        self._running = _Running(network, settings, network.views)

    def accept(self, accepts: bool) -> None:
        """Whether frames are segmented; those that are not are counted as skipped. See `Worker.accept`."""
        self._worker.accept(accepts)

    def stop(self) -> None:
        """Finish the frame that is under way and forget the network."""
        if self._running is not None:
            self._running.network.cancel()
        self._worker.stop()
        self._running = None
        self._last = {}

    def submit(self, camera: str, message: Image | CompressedImage, receipt_ns: int) -> None:
        """Take a message; returns at once. receipt_ns: on the node's clock."""
        # A camera that does not stamp its images gets the time of receipt; the header that goes out stays as it came.
        stamp = stamp_ns(message.header) or receipt_ns
        self._worker.submit(camera, ReceivedFrame(message, stamp, time.monotonic_ns()))

    @property
    def counts(self) -> dict[str, Counts]:
        """The counts of each camera."""
        return self._worker.counts

    @property
    def has_segmented(self) -> bool:
        """Whether the network that runs has made a mask yet."""
        return bool(self._last)

    def reports(self, now_ns: int, problems: Mapping[str | None, str]) -> dict[str, CameraReport]:
        """The report of each camera. now_ns: on the node's clock. problems: sentences, by camera."""
        return {
            name: CameraReport(
                counts=counts,
                latencies=self._outputs[name].latencies,
                input_age_s=None if last is None else (now_ns - last.received.stamp_ns) / 1e9,
                keyframe_age_s=None if last is None else last.segmentation.keyframe_age_s,
                problem=problems.get(name, ""),
            )
            for name, counts in self.counts.items()
            for last in [self._last.get(name)]
        }

    def give_up(self, why: str) -> None:
        """Say that the network is lost."""
        self.failure = why
        self._on_failure()

    def _set_up(self) -> None:
        assert self._running is not None
        try:
            self._running.network.prepare()
        except UnwantedError:
            raise
        except Exception as error:
            self.give_up(f"the network cannot be made ready: {error}")
            raise

    def _segment(self, received: dict[str, ReceivedFrame]) -> dict[str, SegmentedFrame | Exception]:
        """On the inference thread."""
        running = self._running
        assert running is not None
        outcomes: dict[str, SegmentedFrame | Exception] = {}
        pictures: dict[str, Frame] = {}
        cropped: dict[str, Frame] = {}
        for name, item in received.items():
            last, view = self._last.get(name), running.views[name]
            if last is not None and _can_answer(last, item, view):
                outcomes[name] = replace(last, received=item, view=view, settings=running.settings)
                continue
            try:
                pictures[name] = messages.frame_of(item.message, item.stamp_ns, running.settings.max_image_pixels)
                cropped[name] = view.crop(pictures[name])
            except (EncodingError, TypeError, ValueError) as error:
                outcomes[name] = RejectedError(f"an image was rejected: {error}"[:_LONGEST_SENTENCE])
        if cropped:
            done = self._run(running, cropped)
            for name, [segmentation] in done.results.items():
                outcomes[name] = self._last[name] = SegmentedFrame(
                    received[name],
                    pictures[name],
                    segmentation,
                    running.views[name],
                    running.network.labels,
                    running.settings,
                )
            outcomes |= done.failures
        return outcomes

    def _run(self, running: _Running, frames: Mapping[str, Frame]) -> Round:
        confidence = [
            name for name in frames if self._outputs[name].wants_confidence or running.views[name].needs_confidence
        ]
        try:
            done = running.network.segment(frames, confidence, self._worker.skipping())
        except UnwantedError:
            raise
        except Exception as error:
            done = Round({}, dict.fromkeys(frames, error))
        self._rounds_failed = 0 if done.results else self._rounds_failed + 1
        if self._rounds_failed == _MOST_FAILURES:
            last = next(iter(done.failures.values()))
            self.give_up(f"{_MOST_FAILURES} frames in a row failed, the last with {last!r}")
        return done

    def _publish(self, segmented: dict[str, list[SegmentedFrame]]) -> None:
        """On the publishing thread."""
        for name, frames in segmented.items():
            self._outputs[name].publish(frames)


def _can_answer(last: SegmentedFrame, item: ReceivedFrame, view: View) -> bool:
    """Whether the last result is all that this message needs: of the same image, with a confidence where one is due."""
    lacks = view.needs_confidence and last.segmentation.confidence is None
    return not lacks and _same_image(last.received.message, item.message)


def _same_image(one: Image | CompressedImage, other: Image | CompressedImage) -> bool:
    """Say whether a player sent the same image again.

    Cameras repeat stamps, so every field and pixel must be equal; an image without a stamp is never one that was sent
    again.
    """
    if type(one) is not type(other) or not stamp_ns(one.header):
        return False
    fields = [name for name in one.get_fields_and_field_types() if name != "data"]
    return all(getattr(one, field) == getattr(other, field) for field in fields) and np.array_equal(
        np.frombuffer(one.data, np.uint8), np.frombuffer(other.data, np.uint8)
    )

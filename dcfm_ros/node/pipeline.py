"""A frame's way through the node: from its callback to the inference thread, and on to the publishing thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dcfm_ros.imaging.encodings import EncodingError
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.node import messages
from dcfm_ros.node.camera_output import CameraOutput, Look, Received, Result, Shown
from dcfm_ros.node.diagnostics import Latencies
from dcfm_ros.node.engine import Engine
from dcfm_ros.node.settings import Settings
from dcfm_ros.node.worker import Counts, RejectedError, Worker
from dcfm_ros.streaming.cameras import Round

_MOST_FAILURES = 5
"""So many rounds in a row without a mask, and the engine is given up: one picture is no reason, a lost device is."""

_LONGEST_SENTENCE = 400
"""About a message, in the log and each second in the diagnostics: its texts are the sender's, of any length."""


@dataclass(frozen=True)
class _Running:
    """The engine and settings that frames go through until parameters change. looks: of each camera."""

    engine: Engine
    settings: Settings
    looks: Mapping[str, Look]


class Pipeline:
    """Runs an engine on what cameras send, and publishes what comes of it.

    outputs: of each camera. info: a camera's calibration for the image of a stamp in ns, or None. on_problem: told, on
    any thread, of a rejected or failed frame by its camera's name and the sentence about it; on_broken: when the engine
    is given up.
    """

    def __init__(
        self,
        outputs: Mapping[str, CameraOutput],
        info: Callable[[str, int], CameraInfo | None],
        on_problem: Callable[[str, Exception], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self._outputs = outputs
        self._info = info
        self._on_broken = on_broken
        self._running: _Running | None = None
        self._failures = 0
        self._last: dict[str, Result] = {}
        self.latencies = {name: Latencies() for name in outputs}
        self._worker: Worker[Received, Result] = Worker(tuple(outputs), self._segment, self._publish, on_problem)

    def start(self, engine: Engine, settings: Settings) -> None:
        """Begin to make the engine ready, on the inference thread."""
        self._failures = 0
        self._running = _running(engine, settings)
        self._worker.start(self._set_up)

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Whether the engine was ready, or had failed, within so many seconds."""
        return self._worker.wait_until_set_up(timeout_s)

    def change(self, settings: Settings) -> None:
        """Take over changed settings: they hold from the next frame on, and not for those that are under way."""
        assert self._running is not None
        self._running = _running(self._running.engine, settings)

    def accept(self, accepts: bool) -> None:
        """Whether frames are segmented; those that are not are counted as skipped. See `Worker.accept`."""
        self._worker.accept(accepts)

    def stop(self) -> None:
        """Finish the frame that is under way and forget the engine."""
        if self._running is not None:
            self._running.engine.cancel()
        self._worker.stop()
        self._running = None
        self._last = {}

    def submit(self, camera: str, message: Image | CompressedImage, receipt_ns: int) -> None:
        """Take a message; returns at once. receipt_ns: on the node's clock."""
        # A camera that does not stamp its images gets the time of receipt; the header that goes out stays as it came.
        stamp_ns = messages.stamp_ns(message.header) or receipt_ns
        self._worker.submit(camera, Received(message, stamp_ns, time.monotonic_ns()))

    @property
    def counts(self) -> dict[str, Counts]:
        """The counts of each camera."""
        return self._worker.counts

    def last(self, camera: str) -> Result | None:
        """The newest result of a camera."""
        return self._last.get(camera)

    def _set_up(self) -> None:
        assert self._running is not None
        try:
            self._running.engine.prepare()
        except Exception as error:
            self._on_broken(f"the engine cannot be made ready: {error}")
            raise

    def _segment(self, received: dict[str, Received]) -> dict[str, Result | Exception]:
        """On the inference thread."""
        running = self._running
        assert running is not None
        outcomes: dict[str, Result | Exception] = {}
        pictures: dict[str, Frame] = {}
        cropped: dict[str, Frame] = {}
        for name, item in received.items():
            last = self._last.get(name)
            look = running.looks[name]
            if last is not None and _can_answer(last, item, look):
                outcomes[name] = replace(last, received=item, look=look)
                continue
            try:
                pictures[name] = messages.frame_of(item.message, item.stamp_ns, running.settings.max_image_pixels)
                cropped[name] = look.view.crop(pictures[name])
            except (EncodingError, TypeError, ValueError) as error:
                outcomes[name] = RejectedError(f"an image was rejected: {error}"[:_LONGEST_SENTENCE])
        if cropped:
            confidence = [
                name
                for name in cropped
                if self._outputs[name].wants_confidence or running.looks[name].view.needs_confidence
            ]
            done = self._run(running.engine, cropped, confidence)
            for name, [segmentation] in done.results.items():
                result = Result(received[name], pictures[name], segmentation, running.looks[name])
                outcomes[name] = self._last[name] = result
            outcomes |= done.failures
        return outcomes

    def _run(self, engine: Engine, frames: Mapping[str, Frame], confidence: Collection[str]) -> Round:
        try:
            done = engine.segment(frames, confidence, self._worker.skipping())
        except Exception as error:
            done = Round({}, dict.fromkeys(frames, error))
        self._failures = 0 if done.results else self._failures + 1
        if self._failures == _MOST_FAILURES:
            last = next(iter(done.failures.values()))
            self._on_broken(f"{_MOST_FAILURES} frames in a row failed, the last with {last!r}")
        return done

    def _publish(self, results: dict[str, list[Result]]) -> None:
        """On the publishing thread: pictures of each camera's newest result, timing of all."""
        for name, camera_results in results.items():
            output = self._outputs[name]
            shown = [Shown(result) for result in camera_results]
            output.publish_mask(shown[-1])
            published_ns = time.monotonic_ns()
            output.publish_pictures(shown[-1], self._info(name, messages.stamp_ns(shown[-1].header)))
            latencies_ms = [(published_ns - result.received.steady_ns) / 1e6 for result in camera_results]
            for result, latency_ms in zip(camera_results, latencies_ms, strict=True):
                self.latencies[name].add(result.segmentation.is_keyframe, latency_ms)
            output.publish_timing(shown, latencies_ms)


def _running(engine: Engine, settings: Settings) -> _Running:
    looks = {
        name: Look(view, engine.labels, settings.overlay_opacity, settings.jpeg_quality)
        for name, view in engine.views.items()
    }
    return _Running(engine, settings, looks)


def _can_answer(last: Result, item: Received, look: Look) -> bool:
    """Whether the last result is all that this message needs: of the same image, with a confidence where one is due."""
    lacks = look.view.needs_confidence and last.segmentation.confidence is None
    return not lacks and _same_image(last.received.message, item.message)


def _same_image(one: Image | CompressedImage, other: Image | CompressedImage) -> bool:
    """Say whether a player sent the same image again.

    Cameras repeat stamps, so every field and pixel must be equal; an image without a stamp is never one that was sent
    again.
    """
    if type(one) is not type(other) or not messages.stamp_ns(one.header):
        return False
    fields = [name for name in one.get_fields_and_field_types() if name != "data"]
    return all(getattr(one, field) == getattr(other, field) for field in fields) and np.array_equal(
        np.frombuffer(one.data, np.uint8), np.frombuffer(other.data, np.uint8)
    )

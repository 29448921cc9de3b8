"""Publishes what a camera recorded: its images and calibration when they are due, and `/clock` all the time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image

from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.node.messages import camera_info_message, header_of, image_message, recorded_image_message
from dcfm_ros.recordings.bags import IMAGE, camera_info_topic
from dcfm_ros.recordings.recording import Recording

_MATCHING_TIMEOUT_S = 60.0
_TOLD_AFTER_S = 2.0
_NOTICING_S = 3.0
_CLOCK_HZ = 100.0
_LONGEST_PAUSE_S = 60.0
"""Stamps further apart than this, or going back, are of a clock that was set, and nothing to wait for."""


class PlayerError(ValueError):
    """Nobody answers; the message names the topic."""


class PlayedImage(NamedTuple):
    """An image, and the calibrations that came since the one before. stamp_ns: of the image."""

    stamp_ns: int
    image: Image
    infos: list[CameraInfo]


def played_images(recording: Recording) -> Iterator[PlayedImage]:
    """The recording as messages: the camera's own ones, raw ones in place of compressed ones."""
    infos = recording.camera_infos()
    next_info = next(infos, None)
    # Half a frame: drivers send an image's calibration just before it, or just after.
    margin_ns = round(0.5e9 / recording.rate_hz)
    for frame, message, received_ns in recording.recorded():
        since: list[CameraInfo] = []
        while next_info is not None and next_info[0] <= received_ns + margin_ns:
            since.append(camera_info_message(next_info[1]))
            next_info = next(infos, None)
        frame_id = recording.frame_id if message is None else message.header.frame_id
        header = header_of(frame.stamp_ns, frame_id)
        if getattr(message, "__msgtype__", "") == IMAGE:
            image = recorded_image_message(header, message)
        else:
            image = image_message(header, frame.pixels, frame.order)
        yield PlayedImage(frame.stamp_ns, image, since)


class Player(Node):
    """Publishes on `image`, on the camera_info beside it, and on `/clock`; listens to the mask to know of answers.

    image: the topic. clock: whether time is told. resend_after_s, give_up_after_s: of an image that gets no mask.
    """

    def __init__(self, image: str, clock: bool, resend_after_s: float, give_up_after_s: float) -> None:
        super().__init__("player")
        self._resend_after_s = resend_after_s
        self._give_up_after_s = give_up_after_s
        self._answered = -1
        # Depth 1: in real time an image that nobody took is of no use once the next one is there.
        self._image = self.create_publisher(Image, image, QoSProfile(depth=1))
        self._info = self.create_publisher(CameraInfo, camera_info_topic(image), QoSProfile(depth=1))
        self._mask = self.create_subscription(Image, "/segmentation/mask", self._on_mask, qos_profile_sensor_data)
        self._time = _RecordedTime()
        if clock:
            self._clock_topic = self.create_publisher(ClockMessage, "/clock", QoSProfile(depth=1))
            # Of its own clock: the node's own may be the one that is told here.
            self.create_timer(1 / _CLOCK_HZ, self._tell_time, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def play(
        self,
        played: Iterable[PlayedImage],
        pause_s: Callable[[float], float],
        lossless: bool,
        on_image: Callable[[], None],
    ) -> None:
        """Publish each image when it is due and, if lossless, the one before has been answered; `/clock` follows.

        pause_s: from the time between two stamps in seconds, which may be negative, to the time between two images.
        Raises PlayerError when nobody takes images within a minute, and in lossless mode when one gets no mask.
        """
        before_ns: int | None = None
        due = 0.0
        for item in played:
            if before_ns is None:
                self._time.stand(item.stamp_ns)
                self._wait_until_matched(lossless)
                due = time.monotonic()
            else:
                began, due = due, due + pause_s((item.stamp_ns - before_ns) / 1e9)
                self._time.run(before_ns, item.stamp_ns, began, due)
                self.wait(lambda: False, due - time.monotonic())
            self._time.stand(item.stamp_ns)
            before_ns = item.stamp_ns
            for info in item.infos:
                self._info.publish(info)
            if lossless:
                self._send_until_answered(item)
            else:
                self._image.publish(item.image)
            on_image()

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Spin until the condition holds or the time is over; whether it holds."""
        end = time.monotonic() + seconds
        while not condition():
            remaining = end - time.monotonic()
            if remaining <= 0:
                return False
            rclpy.spin_once(self, timeout_sec=min(remaining, 0.1))
        return True

    def _wait_until_matched(self, lossless: bool) -> None:
        def is_matched() -> bool:
            is_taken = self._image.get_subscription_count() > 0
            return is_taken and (not lossless or self.count_publishers(self._mask.topic_name) > 0)

        if not self.wait(is_matched, _TOLD_AFTER_S):
            print(f"player: waiting, as {self._missing(lossless)}", file=sys.stderr)
            if not self.wait(is_matched, _MATCHING_TIMEOUT_S - _TOLD_AFTER_S):
                raise PlayerError(f"gave up after {_MATCHING_TIMEOUT_S:.0f} s, as {self._missing(lossless)}")
        if lossless:
            # The node takes images as reliably as they are published, once it has noticed that: else the first is lost.
            self.wait(self._is_taken_reliably, _NOTICING_S)

    def _missing(self, lossless: bool) -> str:
        """Say who is not there, and where images are taken instead."""
        image, mask = self._image.topic_name, self._mask.topic_name
        missing = f"there is no segmentation node between {image} and {mask}" if lossless else ""
        if self._image.get_subscription_count():
            return missing
        others = sorted(
            topic
            for topic, types in self.get_topic_names_and_types()
            if "sensor_msgs/msg/Image" in types and self._waits_for_images(topic)
        )
        where = (
            f"images are taken on {', '.join(others)}: --remap {others[0]}" if others else "no node takes images yet"
        )
        return f"{missing or f'nobody listens to {image}'}; {where}"

    def _waits_for_images(self, topic: str) -> bool:
        """Whether another node listens and nobody sends: masks and overlays that somebody looks at are sent already."""
        takers = self.get_subscriptions_info_by_topic(topic)
        return self.count_publishers(topic) == 0 and any(taker.node_name != self.get_name() for taker in takers)

    def _is_taken_reliably(self) -> bool:
        takers = self.get_subscriptions_info_by_topic(self._image.topic_name)
        return all(taker.qos_profile.reliability == ReliabilityPolicy.RELIABLE for taker in takers)

    def _send_until_answered(self, item: PlayedImage) -> None:
        self._answered = -1
        deadline = time.monotonic() + self._give_up_after_s
        while (remaining := deadline - time.monotonic()) > 0:
            self._image.publish(item.image)
            if self.wait(lambda: self._answered == item.stamp_ns, min(self._resend_after_s, remaining)):
                return
        raise PlayerError(
            f"the frame with stamp {item.stamp_ns / 1e9:.3f} s got no mask on {self._mask.topic_name} "
            f"within {self._give_up_after_s:.0f} s"
        )

    def _on_mask(self, message: Image) -> None:
        self._answered = stamp_ns(message.header)

    def _tell_time(self) -> None:
        if (now_ns := self._time.now_ns()) is not None:
            self._clock_topic.publish(ClockMessage(clock=header_of(now_ns, "").stamp))


def pace(recording: Recording, rate_hz: float | None, speed: float | None) -> Callable[[float], float]:
    """Seconds between two images for seconds between their stamps: evenly at a rate, or so many times as fast.

    With neither there is nothing to wait for.
    """

    def pause_s(stamps_s: float) -> float:
        if rate_hz is not None:
            return 1 / rate_hz
        if speed is None:
            return 0.0
        is_odd = not 0 <= stamps_s <= _LONGEST_PAUSE_S
        return (1 / recording.rate_hz if is_odd else stamps_s) / speed

    return pause_s


class _RecordedTime:
    """The time in the recording while it is played."""

    def __init__(self) -> None:
        self._now: Callable[[], int] | None = None

    def now_ns(self) -> int | None:
        """None before there is any."""
        return None if self._now is None else self._now()

    def stand(self, at_ns: int) -> None:
        """Time stands still."""
        self._now = lambda: at_ns

    def run(self, from_ns: int, to_ns: int, began: float, ends: float) -> None:
        """Time goes evenly from one stamp to the next, in seconds of the steady clock; one that was set stands."""
        seconds = ends - began
        span_ns = to_ns - from_ns
        if seconds <= 0 or not 0 <= span_ns <= _LONGEST_PAUSE_S * 1e9:
            self.stand(from_ns)
            return
        self._now = lambda: from_ns + round(span_ns * min(1.0, max(0.0, (time.monotonic() - began) / seconds)))

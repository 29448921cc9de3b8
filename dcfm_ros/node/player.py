"""Plays a recording as a camera: sensor_msgs/Image at the recorded rate, or each frame after the mask of the last."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import click
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.utilities import remove_ros_args
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.node.messages import image_message, stamp_ns
from dcfm_ros.node.shutdown import shut_down
from dcfm_ros.recordings import Recording, RecordingError, open_recording

_MATCHING_TIMEOUT_S = 60.0


class PlayerError(RuntimeError):
    """Nobody answers; the message names the topic."""


class Player(Node):
    """Publishes `image`; listens to `mask` to know when a frame has been answered."""

    def __init__(self, resend_after_s: float, give_up_after_s: float) -> None:
        super().__init__("player")
        self._resend_after_s = resend_after_s
        self._give_up_after_s = give_up_after_s
        self._answered = -1
        # Depth 1: in real time an image that nobody took is of no use once the next one is there.
        self._image = self.create_publisher(Image, "image", QoSProfile(depth=1))
        self._mask = self.create_subscription(Image, "/segmentation/mask", self._on_mask, qos_profile_sensor_data)

    def wait_until_matched(self) -> None:
        """Return when somebody takes images and offers masks. Raises PlayerError after a minute."""
        ready = self.wait(
            lambda: self._image.get_subscription_count() > 0 and self.count_publishers(self._mask.topic_name) > 0,
            _MATCHING_TIMEOUT_S,
        )
        if not ready:
            raise PlayerError(
                f"no segmentation node between {self._image.topic_name} and {self._mask.topic_name} "
                f"after {_MATCHING_TIMEOUT_S:.0f} s"
            )

    def play_lossless(self, frames: Iterator[Frame], on_frame: Callable[[], None]) -> None:
        """Publish each frame when the one before has been answered. Raises PlayerError when one never is."""
        for frame in frames:
            self._send_until_answered(frame)
            on_frame()

    def play_real_time(self, frames: Iterator[Frame], speed: float, on_frame: Callable[[], None]) -> None:
        """Publish each frame when its stamp is due, whatever has been answered."""
        began, first = time.monotonic(), None
        for frame in frames:
            first = frame.stamp_ns if first is None else first
            due = began + (frame.stamp_ns - first) / 1e9 / speed
            self.wait(lambda: False, max(0.0, due - time.monotonic()))
            self._send(frame)
            on_frame()

    def _send_until_answered(self, frame: Frame) -> None:
        self._answered = -1
        deadline = time.monotonic() + self._give_up_after_s
        while time.monotonic() < deadline:
            self._send(frame)
            if self.wait(lambda: self._answered == frame.stamp_ns, self._resend_after_s):
                return
        raise PlayerError(
            f"the frame with stamp {frame.stamp_ns / 1e9:.3f} s got no mask on {self._mask.topic_name} "
            f"within {self._give_up_after_s:.0f} s"
        )

    def _send(self, frame: Frame) -> None:
        header = Header(frame_id="camera")
        header.stamp.sec, header.stamp.nanosec = divmod(frame.stamp_ns, 1_000_000_000)
        self._image.publish(image_message(header, frame.pixels, frame.order))

    def _on_mask(self, message: Image) -> None:
        self._answered = stamp_ns(message.header)

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Spin until the condition holds or the time is over; whether it holds."""
        end = time.monotonic() + seconds
        while not condition():
            remaining = end - time.monotonic()
            if remaining <= 0:
                return False
            rclpy.spin_once(self, timeout_sec=min(remaining, 0.1))
        return True


@click.command()
@click.argument("path", metavar="INPUT")
@click.option("--topic", help="The image topic of a bag that has several.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Frames per second of a folder or video.")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Times the recorded rate.")
@click.option("--lossless", is_flag=True, help="Wait for each frame's mask before the next frame.")
@click.option("--frames", type=click.IntRange(min=1), help="Play only the first N frames.")
@click.option("--resend-after", default=5.0, help="Lossless: seconds until an unanswered frame is sent again.")
@click.option("--give-up-after", default=60.0, help="Lossless: seconds until an unanswered frame is an error.")
@click.option("--label", default="playing", help="What the progress bar says.")
def play(
    path: str,
    topic: str | None,
    rate: float | None,
    speed: float,
    lossless: bool,
    frames: int | None,
    resend_after: float,
    give_up_after: float,
    label: str,
) -> None:
    """Play INPUT (a bag, a video, a folder of images) on the topic `image`; remap it by --ros-args -r image:=TOPIC."""
    with open_recording(path, topic=topic, rate_hz=rate) as recording:
        player = Player(resend_after, give_up_after)
        try:
            player.wait_until_matched()
            total = min(frames or len(recording), len(recording))
            with _progress() as progress:
                task = progress.add_task(label, total=total)
                source = _first(recording, total)
                if lossless:
                    player.play_lossless(source, lambda: progress.advance(task))
                else:
                    player.play_real_time(source, speed, lambda: progress.advance(task))
            # The last image is still on its way to a reader when publish returns.
            player.wait(lambda: False, 0.5)
        finally:
            player.destroy_node()


def main(args: list[str] | None = None) -> int:
    """Entry point: 0, or 1 with one line on stderr when the input or the node is not as it should be."""
    arguments = sys.argv if args is None else args
    rclpy.init(args=arguments)
    try:
        play.main(remove_ros_args(arguments)[1:], standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (RecordingError, PlayerError) as error:
        print(f"player: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, click.Abort, ExternalShutdownException):
        return 130
    finally:
        shut_down()
    return 0


def _first(recording: Recording, count: int) -> Iterator[Frame]:
    for index, frame in enumerate(recording):
        if index == count:
            return
        yield frame


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns)


if __name__ == "__main__":
    sys.exit(main())

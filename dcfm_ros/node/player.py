"""Plays a recording as a camera: sensor_msgs/Image at the recorded rate, or each frame after the mask of the last."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path

import click
import rclpy
from rclpy.executors import ExternalShutdownException
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dcfm_ros.node.executable import initialize, own_arguments, shut_down
from dcfm_ros.node.playback import PlayedImage, Player, pace, played_images
from dcfm_ros.processes import end_with_parent
from dcfm_ros.recordings import Recording, open_recording
from dcfm_ros.recordings.background import read_ahead
from dcfm_ros.recordings.open import is_bag

_SHOWN_LOSSES = 10
_POSITIVE = click.FloatRange(min=0, min_open=True)


class _RosCommand(click.Command):
    """Leaves what follows `--ros-args` to ROS."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.obj = list(args)
        return super().parse_args(context, own_arguments(args))


@click.command(cls=_RosCommand)
@click.argument("path", metavar="INPUT", type=click.Path(exists=True, path_type=Path))
@click.option("--topic", help="The image topic of a bag that has several.")
@click.option("--rate", type=_POSITIVE, help="Frames per second, whatever was recorded; gives a folder its stamps.")
@click.option("--speed", type=_POSITIVE, help="Times the recorded rate. Default: 1; lossless: as fast as is answered.")
@click.option("--lossless", is_flag=True, help="Wait for each frame's mask before the next frame.")
@click.option("--loop", is_flag=True, help="Begin again at the end.")
@click.option("--clock/--no-clock", default=True, show_default=True, help="Publish the stamps' time on /clock.")
@click.option("--remap", "image", default="image", show_default=True, help="The topic to play on.")
@click.option("--frames", type=click.IntRange(min=1), help="Play only the first N frames.")
@click.option("--resend-after", default=5.0, type=_POSITIVE, help="Lossless: seconds until a frame is sent again.")
@click.option("--give-up-after", default=60.0, type=_POSITIVE, help="Lossless: seconds until no mask is an error.")
@click.option("--label", default="playing", help="Text of the progress bar.")
@click.pass_context
def play(
    context: click.Context,
    path: Path,
    topic: str | None,
    rate: float | None,
    speed: float | None,
    lossless: bool,
    loop: bool,
    clock: bool,
    image: str,
    frames: int | None,
    resend_after: float,
    give_up_after: float,
    label: str,
) -> None:
    """Play INPUT (a bag, a video, a folder of images) as a camera, with its calibration.

    Images keep the stamp, the frame_id and the encoding that they were recorded with; compressed ones are played as raw
    ones. /clock goes with the stamps, for nodes with use_sim_time. In lossless mode each frame waits for the mask of
    the one before, so that masks are those of `dcfm segment`. Arguments after --ros-args are ROS's own, such as
    -r /segmentation/mask:=/front/segmentation/mask.
    """
    if rate is not None and speed is not None:
        raise click.UsageError("--rate and --speed both say how fast to play; expected one of them")
    initialize(context.obj)
    try:
        with ExitStack() as open_things:
            stamps_hz = None if is_bag(path, "skip") else rate
            recording = open_things.enter_context(open_recording(path, topic, stamps_hz, damaged="skip"))
            player = Player(image, clock, resend_after, give_up_after)
            open_things.callback(player.destroy_node)
            total = min(frames or len(recording), len(recording))
            played = open_things.enter_context(closing(read_ahead(_chosen(recording, total, loop))))
            progress = open_things.enter_context(_progress())
            task = progress.add_task(label, total=None if loop else total)
            speed = 1.0 if speed is None and not lossless else speed
            player.play(played, pace(recording, rate, speed), lossless, lambda: progress.advance(task))
            # The last image is still on its way to a reader when publish returns.
            player.wait(lambda: False, 0.5)
        _tell(recording.losses)
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(130)
    except RuntimeError:
        if rclpy.ok():  # else a signal took ROS away from under what was being sent
            raise
        sys.exit(130)
    finally:
        shut_down()


def main() -> int:
    """Entry point: 1 with one line on stderr when the input or the node is not as it should be, 130 after Ctrl-C."""
    end_with_parent()
    try:
        play.main(prog_name="segmentation_player")
    except (ValueError, OSError) as error:
        print(f"player: {error}", file=sys.stderr)
    return 1


def _chosen(recording: Recording, total: int, loop: bool) -> Iterator[PlayedImage]:
    """The first so many, once or for ever."""
    has_any = True
    while has_any:
        has_any = False
        for item in islice(played_images(recording), total):
            has_any = loop
            yield item


def _tell(losses: Sequence[str]) -> None:
    for loss in losses[:_SHOWN_LOSSES]:
        click.echo(f"could not be read: {loss}", err=True)
    if len(losses) > _SHOWN_LOSSES:
        click.echo(f"and {len(losses) - _SHOWN_LOSSES} more", err=True)


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns)


if __name__ == "__main__":
    sys.exit(main())

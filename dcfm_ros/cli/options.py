"""Options that several commands share: what runs the network, and how a stream is segmented."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import click

from dcfm_ros.imaging.motion import ALIGNMENTS, Align
from dcfm_ros.streaming import Schedule, StreamSegmenter, create_schedule
from dcfm_ros.streaming.backends.base import PRECISIONS
from dcfm_ros.streaming.backends.select import BACKENDS
from dcfm_ros.streaming.schedules import SCHEDULES
from dcfm_ros.streaming.segmenter import KEYFRAME_MODES, KeyframeMode


class SizeType(click.ParamType):
    """HEIGHTxWIDTH in pixels, as (height, width)."""

    name = "HEIGHTxWIDTH"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        """Fails for anything else."""
        height, _, width = str(value).partition("x")
        if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
            self.fail(f"{value!r} is no size; expected a height and a width, like 360x480", parameter, context)
        return int(height), int(width)


def backend_options(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--backend, --precision, --device and --threads, as `backend`, `precision`, `device` and `threads`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(
                "--threads", default=0, type=click.IntRange(0, 1024), help="CPU threads; 0: the backend's own choice."
            ),
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
            click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True),
            click.option("--backend", type=click.Choice(BACKENDS), default=default, show_default=True),
        ):
            command = option(command)
        return command

    return decorate


def stream_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Everything that says how a stream is segmented.

    The command gets `keyframe_interval`; `schedule`, None where it is the fixed interval; and `stream`, which makes a
    StreamSegmenter when it is given a backend, a schedule and a mode.
    """

    @_with_options
    @wraps(command)
    def with_stream(
        schedule: str,
        keyframe_interval: int,
        min_interval: int,
        max_age: float,
        threshold: float,
        align: Align,
        keyframe_mode: KeyframeMode,
        swap_after: int,
        **others: Any,
    ) -> Any:
        made: Schedule = create_schedule(
            schedule,
            interval=keyframe_interval,
            min_interval=min_interval,
            max_age_s=max_age,
            threshold=threshold,
        )
        is_plain = made == create_schedule("fixed", interval=keyframe_interval)
        stream = partial(StreamSegmenter, align=align, keyframe_mode=keyframe_mode, swap_after=swap_after)
        return command(
            keyframe_interval=keyframe_interval, schedule=None if is_plain else made, stream=stream, **others
        )

    return with_stream


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--keyframe-interval", default=5, show_default=True, type=click.IntRange(1, 1000), help="Frames."),
        click.option(
            "--schedule",
            type=click.Choice(SCHEDULES),
            default="fixed",
            show_default=True,
            help="When a keyframe is due: after --keyframe-interval frames, by age, or by what changed.",
        ),
        click.option("--min-interval", default=1, type=click.IntRange(1, 1000), help="Frames keyframes are apart."),
        click.option("--max-age", default=0.0, type=click.FloatRange(0), help="Seconds; 0: none."),
        click.option(
            "--threshold",
            default=0.06,
            show_default=True,
            help="Summed change of the shallow features at which adaptive takes a keyframe.",
        ),
        click.option(
            "--align",
            type=click.Choice(ALIGNMENTS),
            default="flow",
            show_default=True,
            help="How a keyframe's features are moved to where the picture is now.",
        ),
        click.option(
            "--keyframe-mode",
            type=click.Choice(KEYFRAME_MODES),
            default="sync",
            show_default=True,
            help="Whether keyframes are waited for, or computed beside the stream.",
        ),
        click.option(
            "--swap-after",
            default=0,
            type=click.IntRange(0),
            help="Frames after which an asynchronous keyframe comes into use; 0: as soon as it is ready.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command

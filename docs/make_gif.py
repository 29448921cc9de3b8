"""Make docs/drive.gif: a drive beside its overlay, segmented as the node does it.

python docs/make_gif.py INPUT docs/drive.gif --input-rate 25 --seconds 4 --width 320

INPUT is a bag, a video or a folder of images. The picture in the README is of Udacity's `project_video.mp4`
(https://github.com/udacity/CarND-Advanced-Lane-Lines, MIT), of its frames in a folder.
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np

from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.imaging.overlay import overlay
from dcfm_ros.recordings import open_recording
from dcfm_ros.streaming import StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(exists=True, path_type=Path))
@click.argument("target", metavar="GIF", type=click.Path(path_type=Path))
@click.option("--input-rate", type=float, help="Frames per second of a folder. Default: 10.")
@click.option("--start", default=0.0, help="Seconds of INPUT to leave out.")
@click.option("--seconds", default=6.0, show_default=True, help="Seconds of INPUT to show.")
@click.option("--rate", default=8.0, show_default=True, help="Pictures a second.")
@click.option("--width", default=400, show_default=True, help="Width in pixels of each of the two pictures.")
def main(
    source: Path, target: Path, input_rate: float | None, start: float, seconds: float, rate: float, width: int
) -> None:
    """Write GIF, an animation of INPUT beside its overlay."""
    segmenter = StreamSegmenter(create_backend(), StreamOptions())
    pictures = []
    with open_recording(source, rate_hz=input_rate) as recording:
        step = max(1, round(recording.rate_hz / rate))
        first, last = round(start * recording.rate_hz), round((start + seconds) * recording.rate_hz)
        for index, frame in enumerate(recording):
            if index >= last:
                break
            if index < first:
                continue
            [result] = segmenter.push(frame)
            if (index - first) % step == 0:
                both = np.hstack([to_rgb(frame), overlay(frame, result.mask, segmenter.labels)])
                size = 2 * width, round(width * frame.height / frame.width)
                pictures.append(cv2.resize(both, size, interpolation=cv2.INTER_AREA)[..., ::-1])
    animation = cv2.Animation()
    animation.frames = pictures
    animation.durations = [round(1000 * step / recording.rate_hz)] * len(pictures)  # as fast as it was driven
    if not cv2.imwriteanimation(str(target), animation):
        raise click.ClickException(f"OpenCV {cv2.__version__} did not write {target}; expected 4.11 or newer")
    click.echo(f"wrote {target}: {len(pictures)} pictures, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

"""`dcfm render OUTPUT`: the rendered street as a folder of images and exact labels."""

from __future__ import annotations

from pathlib import Path

import click
import cv2
from rich.progress import track

from dcfm_ros.cli.sizes import SizeType
from dcfm_ros.datasets.street import StreetConfig, StreetDrive

_DEFAULT = StreetConfig()


@click.command()
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--drives",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of drives, each with a seed of its own.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the first drive; the others follow.")
@click.option("--frames", default=_DEFAULT.frames, show_default=True, help="Length of each drive, in frames.")
@click.option(
    "--skip", default=0, show_default=True, help="Frames at the beginning of each drive that are not written."
)
@click.option(
    "--size",
    default=f"{_DEFAULT.height}x{_DEFAULT.width}",
    show_default=True,
    type=SizeType(),
    help="Height and width of the images.",
)
@click.option("--rate", default=_DEFAULT.rate_hz, show_default=True, help="Frames a second.")
def command(output: Path, drives: int, seed: int, frames: int, skip: int, size: tuple[int, int], rate: float) -> None:
    """Write street drives to OUTPUT/images (JPEG) and OUTPUT/labels (CamVid's 11 ids), named seed_frame.

    A drive comes to a stop and drives on; the last third of one of 300 frames is at speed.
    `dcfm train` and `dcfm evaluate` read such a folder; drives are its clips.
    """
    if not 0 <= skip < frames:
        raise click.UsageError(f"--skip is {skip}; expected 0 to {frames - 1}, as there are {frames} frames")
    configs = [StreetConfig(number, frames, *size, rate) for number in range(seed, seed + drives)]
    images, labels = output / "images", output / "labels"
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for config in track(configs, "rendering"):
        for index, (frame, label) in enumerate(StreetDrive(config).labelled(skip), skip):
            stem = f"{config.seed:04d}_{index:06d}"
            pixels = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR)
            _write(images / f"{stem}.jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
            _write(labels / f"{stem}.png", label, [])
    click.echo(f"wrote {drives * (frames - skip)} frames to {output}")


def _write(path: Path, pixels: cv2.typing.MatLike, options: list[int]) -> None:
    if not cv2.imwrite(str(path), pixels, options):
        raise OSError(f"{path} cannot be written")

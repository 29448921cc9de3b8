"""`dcfm evaluate --images DIR --labels DIR`: accuracy on labelled frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path

import click
import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dcfm_ros.evaluation.runs import Evaluation, evaluate
from dcfm_ros.imaging.files import images_in
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.streaming import MODES, FixedInterval, StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--images", required=True, type=_FOLDER, help="Frames of one clip, in the natural order of their names.")
@click.option("--labels", required=True, type=_FOLDER, help="8-bit PNGs of class ids with equal stems; some may lack.")
@click.option("--only", default="*", show_default=True, help="Only the frames whose stem matches this pattern.")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False), help="Default: those that ship.")
@click.option("--mode", type=click.Choice(MODES), default="causal", show_default=True)
@click.option("--keyframe-interval", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the scores there.")
def command(
    images: Path,
    labels: Path,
    only: str,
    weights: str | None,
    mode: str,
    keyframe_interval: int,
    device: str,
    json_file: Path | None,
) -> None:
    """Hold the masks that the node would give against labels. Stills that do not follow each other want --mode full."""
    paths = [path for path in images_in(images) if fnmatch(path.stem, only)]
    if not paths:
        raise click.UsageError(f"no image in {images} has a stem like {only}")
    segmenter = StreamSegmenter(
        create_backend(weights or "", device=device),
        FixedInterval(keyframe_interval),
        mode=mode,  # type: ignore[arg-type]
    )
    result = evaluate(segmenter, track(_pairs(paths, labels), "evaluating", total=len(paths)))
    if json_file is not None:
        scores = asdict(result)
        document = {"mIoU": scores.pop("miou"), "wIoU": scores.pop("wiou")} | scores
        json_file.write_text(json.dumps(document, indent=2) + "\n")
    _show(result)


def _pairs(paths: list[Path], labels: Path) -> Iterator[tuple[Frame, np.ndarray | None]]:
    for path in paths:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise click.ClickException(f"{path} cannot be read as an image")
        label_path = labels / f"{path.stem}.png"
        label = cv2.imread(str(label_path), cv2.IMREAD_UNCHANGED) if label_path.is_file() else None
        if label_path.is_file() and (label is None or label.ndim != 2 or label.dtype != np.uint8):
            raise click.ClickException(f"{label_path} is not an 8-bit PNG with one channel of class ids")
        yield Frame(pixels, "bgr"), label


def _show(result: Evaluation) -> None:
    table = Table(header_style="bold")
    table.add_column("class")
    table.add_column("IoU", justify="right")
    for name, value in result.per_class.items():
        table.add_row(name, f"{value:.3f}")
    table.add_section()
    table.add_row("mIoU", f"{result.miou:.3f}")
    for distance, value in result.by_distance.items():
        table.add_row(f"  {distance} frames from the keyframe", f"{value:.3f}")
    for name, consistency in (("mVC8", result.mvc8), ("mVC16", result.mvc16)):
        if consistency is not None:
            table.add_row(name, f"{consistency:.3f}")
    console = Console()
    console.print(table)
    console.print(f"{result.labelled} labelled of {result.frames} frames, {result.keyframes} keyframes")

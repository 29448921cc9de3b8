"""A report's figures in words: what a reader with half a minute takes away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcfm_ros.evaluation.report.frames import FULL


def summary(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences, the most important first."""
    if metrics.get("drive"):
        return _of_drive(metrics)
    return _of_runs(metrics)


def _of_runs(metrics: Mapping[str, Any]) -> list[str]:
    scores, times = metrics["scores"], metrics["times"]["runs"]
    height, width = metrics["size"]
    mean_ms, full_ms = times[metrics["shown"]]["mean_ms"], times[FULL]["mean_ms"]
    said = []
    if gaps := metrics["input"].get("gaps"):
        said.append(
            f"Frames are missing in {_count(gaps, 'place')}, by the numbers in their names: the frame after each is a "
            "keyframe."
        )
    said.append(
        f"{scores['frames']} frames of {width}x{height} were segmented with {_count(scores['keyframes'], 'keyframe')}. "
        f"A frame took {mean_ms:.1f} ms on average; the same network in full on every frame takes {full_ms:.1f} ms, "
        f"{full_ms / mean_ms:.1f} times as much."
    )
    is_reused = scores["keyframes"] < scores["frames"]
    if not is_reused:
        said.append("Every frame was a keyframe: nothing was reused, and nothing here says what reuse costs.")
    elif scores["agreement"] < 1:
        worst = metrics["worst"][0]
        said.append(
            f"{100 * scores['agreement']:.2f} % of the pixels have the class that the full network gives them; the "
            f"worst frame is {worst['frame']}, with {100 * worst['agreement']:.1f} %."
        )
    else:
        said.append("Every pixel has the class that the full network gives it.")
    full = metrics["runs"][FULL]
    if scores["miou"] is not None:
        lost = 100 * (scores["miou"] - full["miou"])
        cost = f", and {100 * full['miou']:.1f} % in full: reuse costs {_signed(-lost)} points" if is_reused else ""
        said.append(
            f"Against the labels of {_count(scores['labelled'], 'frame')}, mIoU is {100 * scores['miou']:.1f} %{cost}."
        )
    if scores["flicker"] is not None:
        said.append(
            f"{100 * scores['flicker']:.2f} % of the pixels flicker from frame to frame, and "
            f"{100 * full['flicker']:.2f} % in full."
        )
    return said


def _of_drive(metrics: Mapping[str, Any]) -> list[str]:
    scores, drive = metrics["scores"], metrics["drive"]
    total = metrics["times"]["runs"][metrics["shown"]]["by_kind"]["all frames"]["total"]
    said = [
        f"The robot published {_count(scores['frames'], 'mask')} on {metrics['ran']['node']}/mask in "
        f"{drive['seconds']:.1f} s, "
        f"{scores['keyframes']} of them on keyframes, with a latency of {total['p50']:.1f} ms (median) and "
        f"{total['p99']:.1f} ms (p99)."
    ]
    if drive["images"] is not None:
        said.append(f"{drive['dropped']} of the {_count(drive['images'], 'recorded image')} got no mask.")
    if drive["gaps"]:
        longest = max(drive["gaps"], key=lambda gap: gap["seconds"])
        said.append(
            f"Masks are more than one and a half times their usual distance apart in "
            f"{_count(len(drive['gaps']), 'place')}; the longest gap, after frame {longest['after_frame']}, is "
            f"{longest['seconds']:.2f} s."
        )
    if scores["flicker"] is not None:
        said.append(f"{100 * scores['flicker']:.2f} % of the pixels flicker from frame to frame.")
    return said


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _signed(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 0.05 else "0.0"

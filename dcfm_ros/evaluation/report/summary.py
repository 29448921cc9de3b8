"""A report's figures in words: what a reader with half a minute takes away, what to doubt, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcfm_ros.evaluation.report.frames import FULL, RECORDED

FEW_PERCENT = 1.0
"""Below this, and this close to 100, percentages have two decimals: 99.96 % is not 100.0 %."""

_SAVES_LITTLE = 1.2  # times as fast
_CHEAPER = 0.9  # of the time of the run that is shown
_MOSTLY_THE_NETWORKS = 3.0  # the full network's own error, as a multiple of what reuse adds to it


def summary(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences, the most important first."""
    return _of_drive(metrics) if metrics["drive"] else _of_runs(metrics)


def warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences on what makes this report say less than it seems to."""
    found = list(metrics["warnings"])
    if gaps := metrics["input"].get("gaps"):
        found.append(
            f"Frames are missing in {count(gaps, 'place')}, by the numbers in their names: the frame after each is a "
            "keyframe."
        )
    if metrics["live"] and RECORDED not in metrics["runs"]:
        found.append(
            f"No mask on {metrics['live']['mask_topic']} has the stamp of an image on {metrics['input']['topic']}, so "
            "the robot's masks are not compared with this run."
        )
    return found


def advice(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences on what a reader can do next."""
    return _after_drive(metrics) if metrics["drive"] else _after_runs(metrics)


def percent(value: float | None) -> str:
    """A fraction in percent; a dash for None."""
    if value is None:
        return "–"  # noqa: RUF001, a dash for nothing
    near = min(abs(100 * value), abs(100 - 100 * value))
    return f"{100 * value:.{2 if 0 < near < FEW_PERCENT else 0 if near == 0 else 1}f} %"


def ms(value: float | None) -> str:
    """Milliseconds; a dash for None."""
    if value is None:
        return "–"  # noqa: RUF001
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def count(number: int, thing: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _of_runs(metrics: Mapping[str, Any]) -> list[str]:
    scores, times, full = metrics["scores"], metrics["times"]["runs"], metrics["runs"][FULL]
    height, width = metrics["size"]
    mean_ms, full_ms = times[metrics["shown"]]["mean_ms"], times[FULL]["mean_ms"]
    over = f"{count(scores['frames'], 'frame')} of {width}x{height} pixels"
    reuses = scores["keyframes"] < scores["frames"]
    if not reuses:
        said = [
            f"Each of {over} was a keyframe and took {ms(mean_ms)} on average: nothing was reused, so this report "
            "does not say what reuse costs."
        ]
    else:
        said = [
            f"Over {over}, {scores['keyframes']} of them keyframes, a frame took {ms(mean_ms)} on average: "
            f"{full_ms / mean_ms:.1f} times as fast as the full network on every frame, which took {ms(full_ms)}.",
            f"{percent(scores['agreement'])} of the pixels have the class that the full network gives them.",
        ]
    if scores["miou"] is None:
        said.append("Without labels, this report says how much reuse changes the masks, and not how right they are.")
    else:
        held = f"Held against the labels of {count(scores['labelled'], 'frame')}, the masks have an mIoU of"
        lost = 100 * (full["miou"] - scores["miou"])
        compared = f", and the full network's {percent(full['miou'])}: {_in_points(lost)}" if reuses else ""
        said.append(f"{held} {percent(scores['miou'])}{compared}.")
    said += _weakest(scores, full)
    if metrics["worst"]:
        worst = metrics["worst"][0]
        said.append(
            f"Reuse changes most in frame {worst['frame']} ({worst['name']}), where {percent(worst['agreement'])} of "
            "the pixels agree."
        )
    if RECORDED in metrics["runs"]:
        live = metrics["runs"][RECORDED]
        said.append(
            f"The robot's masks on {metrics['live']['mask_topic']}, of {live['frames']} of these frames, agree with "
            f"the full network in {percent(live['agreement'])} of the pixels, and with this replay in "
            f"{percent(metrics['live']['as_shown'])}."
        )
    return said


def _weakest(scores: Mapping[str, Any], full: Mapping[str, Any]) -> list[str]:
    """The class that reuse costs most, by the labels or else by the full network; nothing where it costs none."""
    key = "iou_against_full" if scores["miou"] is None else "iou"
    both = [
        (one["class"], one[key], in_full[key])
        for one, in_full in zip(scores["by_class"], full["by_class"], strict=True)
        if one[key] is not None and in_full[key] is not None
    ]
    name, iou, in_full = max(both, key=lambda of: of[2] - of[1], default=("", 0.0, 0.0))
    if in_full - iou < 0.0005:
        return []
    if scores["miou"] is None:
        return [f"Of the classes, {name} changes most: its IoU with the full network's masks is {percent(iou)}."]
    return [f"Of the classes, {name} loses most: its IoU is {percent(iou)}, and {percent(in_full)} in full."]


def _after_runs(metrics: Mapping[str, Any]) -> list[str]:
    scores, full = metrics["scores"], metrics["runs"][FULL]
    times = {run: took["mean_ms"] for run, took in metrics["times"]["runs"].items()}
    shown, intervals = metrics["shown"], [run for run in metrics["runs"] if run.startswith("K=")]
    reuses = scores["keyframes"] < scores["frames"]
    said = (
        []
        if reuses
        else ["To learn what reuse costs, take frames that follow each other and a longer keyframe interval."]
    )
    agreement = {run: metrics["runs"][run]["agreement"] for run in intervals}
    closer = [run for run in intervals if agreement[run] > scores["agreement"]]
    cheaper = [run for run in intervals if times[run] < _CHEAPER * times[shown]]
    if closer:
        run = min(closer, key=agreement.__getitem__)
        said.append(_offer(run, "masks closer to the full network's", agreement[run], times[run]))
    if cheaper:
        run = max(cheaper, key=times.__getitem__)
        said.append(_offer(run, "less time for a frame", agreement[run], times[run]))
    if reuses and times[FULL] < _SAVES_LITTLE * times[shown]:
        said.append(
            "Reuse saves little on this machine, at most a sixth of the time: consider the full network, mode full."
        )
    if scores["miou"] is None:
        said.append("To learn how right the masks are, label some of the frames and name the folder with --labels.")
    elif reuses and 1 - full["miou"] > _MOSTLY_THE_NETWORKS * max(0.0, full["miou"] - scores["miou"]):
        said.append(
            "Most of what is wrong is wrong in full as well: training on pictures of your own helps more than "
            "keyframes at shorter intervals."
        )
    return said


def _offer(run: str, wanted: str, agreement: float, mean_ms: float) -> str:
    return (
        f"For {wanted}, take --keyframe-interval {run.removeprefix('K=')}: "
        f"{ms(mean_ms)} on average, with {percent(agreement)} of the pixels as in full."
    )


def _of_drive(metrics: Mapping[str, Any]) -> list[str]:
    scores, drive = metrics["scores"], metrics["drive"]
    total = metrics["times"]["runs"][metrics["shown"]]["by_kind"]["all frames"]["total"]
    said = [
        f"On {drive['mask_topic']} the robot published {count(scores['frames'], 'mask')} in {drive['seconds']:.1f} s "
        f"({drive['rate_hz']:.1f} Hz), {scores['keyframes']} of them from keyframes."
    ]
    if drive["images"] is not None:
        said.append(
            f"{drive['dropped']} of the {count(drive['images'], 'image')} recorded on {drive['image_topic']} got no "
            f"mask ({percent(drive['dropped'] / max(1, drive['images']))})."
        )
    said.append(
        f"Half of the masks came within {ms(total['p50'])} of the image's receipt, and 99 of 100 within "
        f"{ms(total['p99'])}."
    )
    if drive["gaps"]:
        longest = max(drive["gaps"], key=lambda gap: gap["seconds"])
        said.append(
            f"In {count(len(drive['gaps']), 'place')}, two masks are more than one and a half times their usual "
            f"distance apart; the longest gap, after frame {longest['after_frame']}, is {longest['seconds']:.2f} s."
        )
    else:
        said.append("The masks came evenly, without a gap.")
    return said


def _after_drive(metrics: Mapping[str, Any]) -> list[str]:
    drive = metrics["drive"]
    if drive["images"] is None:
        return ["Record the camera's images too: then the report counts those that got no mask, and can be compared."]
    said = []
    if drive["dropped"]:
        said.append(
            "Where no image may be lost, give the node less to do for each: a larger keyframe_interval, or "
            "keyframe_mode async, with which no frame waits for a keyframe."
        )
    return [
        *said,
        "To see how good the masks are, run dcfm report without --recorded: it segments the images again, and compares "
        "the robot's masks with the full network's.",
    ]


def _in_points(lost: float) -> str:
    if abs(lost) < 0.05:
        return "reuse costs nothing"
    return f"reuse {'costs' if lost > 0 else 'gains'} {abs(lost):.1f} percentage points"

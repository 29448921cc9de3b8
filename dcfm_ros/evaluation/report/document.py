"""`metrics.json`: everything that a report says in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dcfm_ros.evaluation.report.frames import FULL, RECORDED
from dcfm_ros.evaluation.report.in_step import Measured
from dcfm_ros.evaluation.report.numbers import scores, times

FORMAT = 1


def document(measured: Measured, names: Sequence[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a report.

    facts: the sections that say what was run on what: `input`, `ran`, `made_with`; `drive`, of what a robot recorded;
    `live`, its `mask_topic` where the robot's masks are a run beside the others; `warnings`, sentences for the reader.

    Two runs of the same give the same but for `times`, in milliseconds. `scores` are of the run that is shown, `runs`
    of all, the full network among them where it was run. names: of the classes.
    """
    found = {run: scores(records, names) for run, records in measured.runs.items()}
    took = {run: times(records) for run, records in measured.runs.items()}
    return {
        "format": FORMAT,
        "warnings": [],
        **facts,
        "live": facts.get("live") and {**facts["live"], "as_shown": measured.as_live},
        "size": None if measured.size is None else list(measured.size),
        "classes": list(names),
        "shown": measured.shown,
        "scores": found[measured.shown] | {"mvc8": measured.mvc8, "mvc16": measured.mvc16},
        "runs": found,
        "worst": [
            {"frame": picture.number, "name": picture.name, "agreement": picture.agreement}
            for picture in measured.worst
        ],
        "times": {"runs": took},
    }


def run_titles(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return the page's name of each run, in the order of its slider: the full network is a keyframe on every frame."""
    titles = {FULL: "K=1 (full)", RECORDED: "the robot's run"}
    return {run: titles.get(run, run) for run in metrics["runs"]}


def run_points(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the page shows of each run when its slider is there: scores, and times against the full network's.

    The robot's run is none of them: its times are of another machine.
    """
    points = []
    for run, title in run_titles(metrics).items():
        if run == RECORDED:
            continue
        found, took = metrics["runs"][run], metrics["times"]["runs"][run]
        full_ms = metrics["times"]["runs"].get(FULL, took)["mean_ms"]
        points.append(
            {
                "run": run,
                "title": title,
                **{key: found[key] for key in ("frames", "keyframes", "agreement", "miou", "flicker")},
                "mean_ms": took["mean_ms"],
                "speedup": full_ms / took["mean_ms"] if took["mean_ms"] else None,
                **took["by_kind"]["all frames"]["total"],
            }
        )
    return points

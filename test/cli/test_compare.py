"""`dcfm compare` as a team's CI calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from report_inputs import with_small_network, write_folder, write_report

Call = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Of the same frames, with a keyframe on every second and on every sixth."""
    root = tmp_path_factory.mktemp("reports")
    folder, network = write_folder(root / "drive", 12), with_small_network(root)
    often, seldom = (
        write_report(root / f"k{k}", folder, *network, "--keyframe-interval", str(k), "--intervals", "1")
        for k in (2, 6)
    )
    return str(often), str(seldom)


def test_what_changed_is_shown(called: Call, reports: tuple[str, str]) -> None:
    done = called("compare", *reports)
    assert done.returncode == 0
    shown = [line.split() for line in done.stdout.replace("│", " ").splitlines()]
    names = {words[0]: words for words in shown if words}
    assert names["keyframes"][1:6] == ["50.00", "%", "16.67", "%", "-33.33"]
    assert {"agreement", "miou", "cost", "mean_ms", "p99_ms"} <= set(names)
    assert "iou_full/CLASS: with the masks of the full network" in " ".join(done.stdout.split())


@pytest.mark.parametrize("bounds", [["keyframes<=0"], ["agreement<=0.05", "keyframes>=-1"], ["agreement>=-100%"]])
def test_bounds_that_are_kept_give_0(called: Call, reports: tuple[str, str], bounds: list[str]) -> None:
    done = called("compare", *reports, *(part for bound in bounds for part in ("--bound", bound)))
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("kept") == len(bounds)


def test_one_bound_that_is_crossed_gives_1(called: Call, reports: tuple[str, str]) -> None:
    done = called("compare", *reports, "--bound", "keyframes<=0", "--bound", "keyframes>=-0.1")
    assert done.returncode == 1
    assert "keyframes<=0: kept" in done.stdout
    assert "keyframes>=-0.1: crossed" in done.stdout


@pytest.mark.parametrize(
    "bound, said", [("agreement", "is no bound"), ("speed>=0", "no speed in both reports to bound; expected one of")]
)
def test_a_bound_that_says_nothing_gives_2(called: Call, reports: tuple[str, str], bound: str, said: str) -> None:
    done = called("compare", *reports, "--bound", bound)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_reports_of_other_inputs_give_2_unless_told(called: Call, reports: tuple[str, str], tmp_path: Path) -> None:
    for name in ("frames.csv", "classes.csv"):
        (tmp_path / name).write_text((Path(reports[1]) / name).read_text())
    metrics = json.loads((Path(reports[1]) / "metrics.json").read_text())
    metrics["input"]["sha256"] = "0" * 64
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    done = called("compare", reports[0], str(tmp_path))
    assert (done.returncode, "are of different inputs: the files in" in done.stderr) == (2, True)
    assert called("compare", reports[0], str(tmp_path), "--other-input").returncode == 0


def test_a_folder_without_a_report_gives_2(called: Call, reports: tuple[str, str], tmp_path: Path) -> None:
    done = called("compare", reports[0], str(tmp_path))
    assert (done.returncode, "metrics.json cannot be read" in done.stderr) == (2, True)

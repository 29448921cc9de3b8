"""`dcfm segment|report FOLDER --jobs N` as a user calls it."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path

import pytest
from drive_bag import write_drive
from fleet_bags import NAMES, Call, masks, segmented_alone, stamps, write_fleet
from interrupting import interrupt_at, interrupt_when, interrupted_by
from report_inputs import with_small_network

FRAMES = 8


def test_masks_are_the_same_on_any_number_of_jobs_and_nothing_is_done_twice(
    called: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fleet, out = write_fleet(tmp_path / "fleet", FRAMES), tmp_path / "out"
    options = [*with_small_network(tmp_path), "--save", "masks,csv", "--keyframe-interval", "3"]
    options += ["--input-size", "64x96"]
    alone = segmented_alone(called, fleet, tmp_path / "alone", [*options, "--num-threads", "1"])
    assert len({mask for name in NAMES for mask in alone[name].values()}) > FRAMES
    with monkeypatch.context() as patch:
        interrupt_at(patch, 6)
        half_done = out / "robot1" / "a"
        arguments = ["--output", str(half_done), *options, "--num-threads", "1"]
        assert called("segment", str(fleet / "robot1" / "a"), *arguments).returncode == 130
    (fleet / "broken.mcap").write_bytes(b"nothing")

    monkeypatch.chdir(tmp_path)
    arguments = ["segment", "fleet", "--output", "out", *options, "--num-threads", "1"]
    done = called(*arguments, "--jobs", "2")
    assert done.returncode == 1
    assert "1 of 3 recordings failed" in done.stderr
    assert [line.split()[1:4:2] for line in done.stdout.splitlines() if "done" in line or "failed" in line] == [
        ["b", "done"],
        ["broken.mcap", "failed"],
        ["robot1/a", "done"],
    ]
    for name in NAMES:
        assert masks(out / name) == alone[name]
        assert stamps(out / name) == stamps(tmp_path / "alone" / name)
    assert json.loads((half_done / "run.json").read_text())["result"]["went_on_at"] == 3

    (fleet / "broken.mcap").unlink()
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    done = called(*arguments, "--jobs", "3")
    assert (done.returncode, done.stdout.count("done before")) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == written


def test_drives_are_reported_side_by_side(called: Call, tmp_path: Path) -> None:
    fleet, out = tmp_path / "fleet", tmp_path / "out"
    (fleet / "robot 1").mkdir(parents=True)
    write_drive(fleet / "robot 1" / "monday", [3] * 12, node="/front")
    write_drive(fleet / "tuesday", [3] * 4, node="/elsewhere")
    options = ["--recorded", "--node", "/front", "--jobs", "2"]
    done = called("report", str(fleet), "--output", str(out), *options)
    assert (done.returncode, "1 of 2 recordings failed" in done.stderr) == (1, True), done.stderr
    with (out / "index.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["recording"], row["frames"], row["keyframes"], row["agreement"]) == ("robot 1/monday", "12", "3", "")
    page = (out / "index.html").read_text()
    assert 'href="robot%201/monday/report.html"' in page
    assert (out / "robot 1" / "monday" / "report.html").is_file()
    assert "<dt>tuesday</dt>" in page and "/front" in page

    write_drive(fleet / "another", [3] * 4, node="/front")
    with interrupted_by(partial(interrupt_when, (out / "another" / "job.json").exists)):
        assert called("report", str(fleet), "--output", str(out), *options[:-1], "1").returncode == 130
    with (out / "index.csv").open(newline="") as file:
        assert [row["recording"] for row in csv.DictReader(file)] == ["robot 1/monday"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["segment", "--save", "csv"], "expected masks in --save with --jobs or --ray"),
        (["segment", "--decisions", "frames.csv"], "--decisions are the decisions of one recording"),
        (["report", "--labels", "labels"], "--labels are the labels of one recording"),
    ],
)
def test_what_is_of_one_recording_is_refused(
    called: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames.csv").touch()
    (tmp_path / "labels").mkdir()
    command, *options = arguments
    done = called(command, ".", "--output", "out", "--jobs", "2", *options)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("command", ["segment", "report"])
def test_a_folder_of_recordings_asks_for_jobs(called: Call, tmp_path: Path, command: str) -> None:
    fleet = write_fleet(tmp_path / "fleet", 2)
    done = called(command, str(fleet), "--output", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "fleet is no recording, but 2 lie below it (b, ...); name one of them" in done.stderr
    assert "take all of them with --jobs 1" in done.stderr


def test_a_folder_without_recordings_is_told(called: Call, tmp_path: Path) -> None:
    done = called("segment", str(tmp_path), "--output", str(tmp_path / "out"), "--jobs", "2")
    assert (done.returncode, "holds no recordings" in done.stderr) == (1, True)

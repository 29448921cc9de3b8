"""`dcfm report` as a user calls it, with a small network of random weights."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import numpy as np
import pytest
from dataset_files import write_pixels
from drive_bag import write_drive
from report_inputs import label, picture, with_small_network, write_folder, write_report

from dcfm_ros.evaluation.report.index import Entry, write_index
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings.writers import BagWriter

Call = Callable[..., CompletedProcess[str]]
FRAMES = 7
START_NS, STEP_NS = 1_700_000_000_000_000_000, 50_000_000


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return with_small_network(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("street") / "drive", FRAMES)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, folder: Path, network: list[str]) -> Path:
    """Of every frame labelled, at K=3, beside K=1 and 2."""
    arguments: list[str | Path] = [folder, *network, "--keyframe-interval", "3", "--intervals", "1,2"]
    return write_report(tmp_path_factory.mktemp("report") / "made" / "here", *arguments)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """The first four frames."""
    with BagWriter(tmp_path / "bag", "/camera") as writer:
        for number in range(4):
            writer.write(Frame(picture(number), "rgb", START_NS + number * STEP_NS))
    return tmp_path / "bag"


def _pixels(folder: Path, number: int) -> np.ndarray:
    pixels = cv2.imread(str(folder / f"{number:06d}.png"), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels if pixels.ndim == 2 else pixels[..., ::-1]


def metrics_of(report: Path) -> dict[str, Any]:
    return json.loads((report / "metrics.json").read_text())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_numbers_are_there(report: Path, folder: Path) -> None:
    metrics = metrics_of(report)
    assert list(metrics["runs"]) == ["full", "K=2", "K=3"]
    assert [run["keyframes"] for run in metrics["runs"].values()] == [FRAMES, 4, 3]
    scores = metrics["scores"]
    assert {at["distance"]: at["labelled"] for at in scores["by_distance"]} == {0: 3, 1: 2, 2: 2}
    assert 0 < scores["agreement"] < metrics["runs"]["full"]["agreement"] == 1
    assert 0 < scores["miou"] < 1
    assert (metrics["input"]["kind"], metrics["input"]["path"]) == ("folder", str(folder))
    assert all(re.fullmatch("[0-9a-f]{64}", metrics["input"][name]) for name in ("sha256", "labels_sha256"))
    assert re.fullmatch("[0-9a-f]{64}", metrics["ran"]["weights_sha256"])
    assert {"device", "versions"} == set(metrics["made_with"])
    took = metrics["times"]["runs"]["K=3"]["by_kind"]
    assert list(took) == ["all frames", "keyframes", "other frames"]
    assert took["other frames"]["common"]["p99"] == 0 < took["keyframes"]["common"]["p50"]
    assert 0 < took["keyframes"]["total"]["p50"] <= took["keyframes"]["total"]["p95"]


def test_tables_hold_every_frame_and_class(report: Path) -> None:
    frames = rows_of(report / "frames.csv")
    shown = [row for row in frames if row["run"] == "K=3"]
    assert [row["frame"] for row in shown] == [str(number) for number in range(FRAMES)]
    assert [row["is_keyframe"] for row in shown] == list("1001001")
    assert [row["run"] for row in frames].count("full") == FRAMES
    stages = sum(float(value) for name, value in shown[1].items() if name.endswith("_ms") and name != "latency_ms")
    assert float(shown[1]["latency_ms"]) == pytest.approx(stages)
    classes = rows_of(report / "classes.csv")
    assert sum(float(row["share"]) for row in classes) == pytest.approx(FRAMES)
    pixels = [row for row in classes if row["frame"] == "0"]
    assert sum(int(row["full_hits"]) for row in pixels) == 64 * 96
    assert [row["run"] for row in rows_of(report / "runs.csv")] == ["full", "K=2", "K=3"]


def test_two_runs_differ_in_times_alone(report: Path, folder: Path, network: list[str], tmp_path: Path) -> None:
    again = write_report(tmp_path / "again", folder, *network, "--keyframe-interval", "3", "--intervals", "1,2")
    first, second = metrics_of(report), metrics_of(again)
    del first["times"], second["times"]
    assert first == second
    assert (again / "classes.csv").read_text() == (report / "classes.csv").read_text()
    assert not list(again.glob("*.partial"))


class _Page(HTMLParser):
    """What a page would load from elsewhere, and its pictures and charts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elsewhere: list[str] = []
        self.pictures = 0
        self.alternatives: list[str] = []
        self.charts: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.elsewhere += [v for k, v in attributes if k in ("src", "href") and v and not v.startswith(("data:", "#"))]
        self.pictures += tag == "img"
        if tag == "img":
            self.alternatives.append(found["alt"] or "")
        if found.get("class") == "chart":
            self.charts.add(found["id"] or "")
            self.alternatives.append(found["aria-label"] or "")


def test_the_page_needs_nothing_else(report: Path) -> None:
    text = (report / "report.html").read_text()
    page = _Page(text)
    assert page.elsewhere == []
    assert "@import" not in text and "url(" not in text
    assert page.charts == {"cost", "latency", "miou", "agreement", "classes", "shares", "flicker"}
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert data is not None
    drawn = json.loads(data[1])
    assert set(drawn["charts"]) == page.charts
    assert [point["title"] for point in drawn["points"]] == ["K=1 (full)", "K=2", "K=3"]
    assert page.pictures == 6 * len(metrics_of(report)["worst"]) > 0
    assert "Over 7 frames of 96x64 pixels, 3 of them keyframes, a frame took" in text
    assert 'class="warning"' not in text
    assert all(alternative.strip() for alternative in page.alternatives)
    for worst in metrics_of(report)["worst"]:
        assert f'href="#frame-{worst["frame"]}"' in text and f'id="frame-{worst["frame"]}"' in text
        assert f"Frame {worst['frame']} ({worst['frame']:06d}.png)" in text
    assert len(text) < 3_000_000


def test_images_without_labels_are_held_against_the_full_network(network: list[str], tmp_path: Path) -> None:
    images = write_folder(tmp_path / "plain", 4, labelled=False)
    report = write_report(tmp_path / "report", images, *network, "--keyframe-interval", "2", "--intervals", "2")
    scores = metrics_of(report)["scores"]
    assert (scores["miou"], scores["labelled"], list(metrics_of(report)["runs"])) == (None, 0, ["full", "K=2"])
    assert 0 < scores["agreement"] < 1
    text = (report / "report.html").read_text().partition('id="data"')[0]
    assert "accuracy: mIoU" not in text and "IoU with the labels" not in text
    assert "Without labels, this report says how much reuse changes the masks, and not how right they are." in text
    assert "IoU with the masks of the network run in full on every frame. This is not accuracy" in text


def test_a_report_in_the_bags_own_folder_is_no_part_of_the_input(network: list[str], bag: Path) -> None:
    reports = [write_report(bag / name, bag, *network, "--intervals", "1") for name in ("before", "after")]
    before, after = (metrics_of(report)["input"]["sha256"] for report in reports)
    assert before == after


@pytest.mark.parametrize("names", [("000001", "2"), (str(START_NS + STEP_NS), str(START_NS + 2 * STEP_NS))])
def test_labels_are_found_by_index_and_by_stamp(
    network: list[str], bag: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    for number, name in enumerate(names, 1):
        write_pixels(tmp_path / "ids" / f"{name}.png", label(number))
    report = write_report(tmp_path / "report", bag, "--labels", tmp_path / "ids", *network, "--intervals", "1")
    distances = {at["distance"]: at["labelled"] for at in metrics_of(report)["scores"]["by_distance"]}
    assert distances == {0: 0, 1: 1, 2: 1, 3: 0}
    assert metrics_of(report)["input"]["kind"] == "recording"


@pytest.mark.parametrize(
    "name, said",
    [
        ("000004.png", r"no label of a frame; expected 000000\.png to 000003\.png, or <stamp in ns>\.png"),
        ("one.png", "no label of a frame"),
        (f"{START_NS + 7}.png", "fits no frame of the recording"),
    ],
)
def test_labels_that_fit_no_frame_are_refused(
    called: Call, network: list[str], bag: Path, tmp_path: Path, name: str, said: str
) -> None:
    write_pixels(tmp_path / "ids" / name, label(0))
    done = called(
        *("report", str(bag), "--labels", str(tmp_path / "ids"), *network, "--output", str(tmp_path / "report"))
    )
    assert done.returncode == 1
    assert re.search(said, done.stderr)
    assert not (tmp_path / "report" / "report.html").exists()


def test_a_label_of_another_size_is_refused(called: Call, network: list[str], bag: Path, tmp_path: Path) -> None:
    write_pixels(tmp_path / "ids" / "0.png", label(0)[:32])
    done = called(
        *("report", str(bag), "--labels", str(tmp_path / "ids"), *network, "--output", str(tmp_path / "report"))
    )
    assert (done.returncode, "is 96x32; expected its frame's size, 96x64" in done.stderr) == (1, True)


def test_frames_that_do_not_follow_each_other_are_refused_before_any_is_run(
    called: Call, network: list[str], folder: Path, tmp_path: Path
) -> None:
    """Every second frame of a video: each would be a keyframe, and reuse seem to cost nothing."""
    for number in range(0, FRAMES, 2):
        for kind in ("images", "labels"):
            write_pixels(tmp_path / "every_second" / kind / f"{number:06d}.png", _pixels(folder / kind, number))
    root, output = tmp_path / "every_second", tmp_path / "report"
    done = called("report", str(root), *network, "--output", str(output))
    assert done.returncode == 1
    said = (
        f"no frame of {root} follows another, by the numbers in their names (000000.png, 000002.png, 000004.png, ...)"
    )
    assert said in done.stderr and "expected numbers that rise by 1, or --labels" in done.stderr
    assert not output.exists()
    as_one_clip = write_report(output, root, "--labels", root / "labels", *network, "--intervals", "1")
    assert metrics_of(as_one_clip)["scores"]["keyframes"] == 1


def test_missing_frames_are_told_first(called: Call, network: list[str], folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(folder, tmp_path / "drive")
    for kind in ("images", "labels"):
        (root / kind / "000003.png").unlink()
    output = tmp_path / "report"
    done = called("report", str(root), *network, "--output", str(output), "--intervals", "1")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert said.startswith(
        "Frames are missing in 1 place, by the numbers in their names: the frame after each is a key"
    )
    assert (metrics_of(output)["input"]["gaps"], metrics_of(output)["scores"]["keyframes"]) == (1, 2)
    text = (output / "report.html").read_text()
    assert 0 < text.index("Frames are missing in 1 place") < text.index('class="lead"')


def test_a_schedule_is_shown_beside_fixed_intervals(network: list[str], folder: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = [
        folder,
        *network,
        "--schedule",
        "adaptive",
        "--schedule-threshold",
        "10",
        "--intervals",
        "1,2",
    ]
    metrics = metrics_of(write_report(tmp_path / "report", *arguments))
    assert (metrics["shown"], list(metrics["runs"])) == ("Adaptive", ["full", "K=2", "Adaptive"])
    assert metrics["scores"]["keyframes"] == 1


def test_the_full_network_can_be_what_is_shown(network: list[str], folder: Path, tmp_path: Path) -> None:
    report = write_report(tmp_path / "report", folder, *network, "--keyframe-interval", "1", "--intervals", "1")
    metrics = metrics_of(report)
    assert (metrics["shown"], list(metrics["runs"]), metrics["worst"]) == ("full", ["full"], [])
    said = " ".join((report / "report.html").read_text().split())
    assert "Each of 7 frames of 96x64 pixels was a keyframe" in said and "does not say what reuse costs" in said
    assert "reuse costs nothing" not in said and "as fast as the full network" not in said.partition("<h2>")[0]


def test_a_drive_is_reported_as_it_was_recorded(called: Call, tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag", [3] * 20, dropped=[5, 6])
    done = called("report", str(bag), "--recorded", "--output", str(tmp_path / "report"))
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "On /segmentation/mask the robot published 18 masks in 0.9 s" in said and "4 of them from keyframes" in said
    assert "2 of the 20 images recorded on /camera got no mask (10.0 %)" in said
    metrics = metrics_of(tmp_path / "report")
    assert (metrics["shown"], metrics["drive"]["dropped"], metrics["scores"]["agreement"]) == ("recorded", 2, None)
    page = _Page((tmp_path / "report" / "report.html").read_text())
    assert page.charts == {"latency", "spacing", "shares", "flicker"}
    assert "begun 2023-11-14 22:13:20 UTC" in (tmp_path / "report" / "report.html").read_text()


def test_the_robots_masks_are_held_against_the_replay(network: list[str], tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag", [3] * 12, dropped=[5, 6])
    report = write_report(tmp_path / "report", bag, *network, "--intervals", "1")
    metrics = metrics_of(report)
    assert list(metrics["runs"]) == ["full", "K=5", "recorded"]
    assert [metrics["runs"][run]["frames"] for run in metrics["runs"]] == [12, 12, 10]
    assert (metrics["input"]["topic"], metrics["live"]["mask_topic"]) == ("/camera", "/segmentation/mask")
    rows = [row for row in rows_of(report / "frames.csv") if row["run"] == "recorded"]
    assert [row["frame"] for row in rows] == [str(number) for number in range(12) if number not in (5, 6)]
    assert {row["latency_ms"] for row in rows} == {"60.0", "10.0"}
    road = next(one for one in metrics["runs"]["full"]["by_class"] if one["class"] == "road")["share"]
    assert metrics["runs"]["recorded"]["agreement"] == pytest.approx(road, abs=0.01)  # of masks that are road alone
    text = unescape((report / "report.html").read_text())
    assert "The robot's masks on /segmentation/mask, of 10 of these frames, agree with the full network in" in text
    assert "recorded" not in re.findall(r'"run":"([^"]*)"', text)  # whose times are another machine's


def test_masks_of_other_images_are_told_on_top(network: list[str], tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag", [3] * 4, masks_late_ns=1)
    report = write_report(tmp_path / "report", bag, *network, "--intervals", "1")
    assert list(metrics_of(report)["runs"]) == ["full", "K=5"]
    said = "No mask on /segmentation/mask has the stamp of an image on /camera"
    assert said in (report / "report.html").read_text()


def test_masks_of_other_classes_are_named_and_not_compared(tmp_path: Path) -> None:
    network = with_small_network(tmp_path, own_classes=True)
    bag = write_drive(tmp_path / "bag", [3] * 4)
    report = write_report(tmp_path / "report", bag, *network, "--intervals", "1")
    assert list(metrics_of(report)["runs"]) == ["full", "K=5"]
    assert "The masks on /segmentation/mask are not compared with this run" in (report / "report.html").read_text()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--intervals", "1,0"], "'1,0' is no list of intervals"),
        (["--recorded", "--intervals", "2"], "--intervals has no effect with --recorded"),
        (["--node", "/front"], "is no bag that holds /front/mask and /front/timing"),
        (["--keyframe-mode", "async"], "expected --keyframe-mode sync"),
    ],
)
def test_options_that_do_not_fit_are_refused(called: Call, bag: Path, arguments: list[str], said: str) -> None:
    done = called("report", str(bag), *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_split_of_what_is_no_data_set_is_refused(called: Call, network: list[str], bag: Path) -> None:
    done = called("report", str(bag), "--split", "val", *network)
    assert (done.returncode, "--split names a part of a data set" in done.stderr) == (2, True), done.stderr


def test_an_index_leads_to_every_report(report: Path, tmp_path: Path) -> None:
    for name in ("a", "b & c"):
        shutil.copytree(report, tmp_path / name)
    write_index(tmp_path, [Entry("a"), Entry("b & c"), Entry("d", "it <broke>")])
    metrics = metrics_of(report)
    rows = rows_of(tmp_path / "index.csv")
    assert [row["recording"] for row in rows] == ["a", "b & c"]
    for row in rows:
        assert all(row[name] == str(metrics["scores"][name]) for name in ("frames", "keyframes", "agreement", "miou"))
        mean_ms = {run: took["mean_ms"] for run, took in metrics["times"]["runs"].items()}
        assert float(row["speedup"]) == pytest.approx(mean_ms["full"] / mean_ms["K=3"])
    page = (tmp_path / "index.html").read_text()
    assert f"2 recordings, {2 * FRAMES} frames" in page
    assert page.count('href="a/report.html"') == 2  # in the table, and as the one that is least like the full network
    assert 'href="b%20%26%20c/report.html">b &amp; c</a>' in page
    assert "<dt>d</dt><dd>it &lt;broke&gt;</dd>" in page

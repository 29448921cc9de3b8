"""`dcfm segment` as a user calls it: what it leaves, again and after an interruption, and following another run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import foxglove_layout
import numpy as np
import pytest
import torch
from full_disk import files_of_at_most
from interrupting import interrupt_at
from moving_pictures import moved, texture
from rosbags.highlevel import AnyReader

from dcfm_ros.imaging.compressed import encode_jpeg
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import CAMVID, LabelSet
from dcfm_ros.imaging.overlay import colorize, overlay
from dcfm_ros.model import DCFM, model_config, save_weights
from dcfm_ros.recordings import open_recording
from dcfm_ros.recordings.message_bag import MessageBag
from dcfm_ros.recordings.writers import BagWriter
from dcfm_ros.streaming import Schedule, StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.streaming.schedules import Decision, Situation
from dcfm_ros.streaming.timing import read_timing, timing_of, timing_texts

Call = Callable[..., CompletedProcess[str]]
FRAMES = 13
START_NS, STEP_NS = 1_700_000_000_123_456_789, 50_000_000
TOPIC = "/camera/image_raw"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    model = DCFM(replace(model_config("camvid_mitb0"), input_size=(64, 96)))
    with torch.no_grad():  # random weights give nearly equal logits: larger ones make clear winners
        model.head[-1].get_parameter("weight").mul_(50)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_weights(model, path)
    return path


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Small pictures that move."""
    picture = texture(64, 96)
    return [Frame(moved(picture, 3 * i, i), "rgb", START_NS + i * STEP_NS) for i in range(FRAMES)]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, frames: Sequence[Frame]) -> Path:
    path = tmp_path_factory.mktemp("recording") / "drive"
    with BagWriter(path, TOPIC, frame_id="front") as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.fixture
def segmented(called: Call, weights: Path) -> Callable[..., CompletedProcess[str]]:
    """`dcfm segment` with keyframes every fifth frame, unless told otherwise."""

    def call(*arguments: str | Path) -> CompletedProcess[str]:
        options = ["--weights", weights, "--backend", "torch", "--device", "cpu", "--num-threads", "1"]
        return called("segment", *map(str, [*arguments, *options]))

    return call


def engine(weights: Path, schedule: Schedule | None = None, **options: Any) -> StreamSegmenter:
    """What `dcfm segment` and the node run."""
    backend = create_backend(str(weights), "torch", "cpu", 1)
    return StreamSegmenter(backend, StreamOptions(**options), schedule)


def masks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "masks").iterdir())}


def rows(folder: Path) -> list[dict[str, str]]:
    """Without what is measured."""
    with (folder / "frames.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if not k.endswith("_ms")} for row in csv.DictReader(file)]


def bag_messages(path: Path) -> list[tuple[str, int, Any]]:
    with AnyReader([path]) as reader:
        return [(c.topic, ns, reader.deserialize(data, c.msgtype)) for c, ns, data in reader.messages()]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_full_disk_leaves_nothing_of_the_bag(segmented: Call, tmp_path: Path, bag: Path) -> None:
    with files_of_at_most(8000):
        done = segmented(bag, "--output", tmp_path / "out", "--save", "bag")
    assert (done.returncode, "bag cannot be written" in done.stderr) == (1, True), done.stderr
    assert "bag" not in " ".join(names(tmp_path / "out"))


def test_everything_is_written_and_is_what_the_engine_gives(
    segmented: Call, tmp_path: Path, bag: Path, frames: Sequence[Frame], weights: Path
) -> None:
    done = segmented(bag, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"{FRAMES} frames, 3 keyframes" in done.stdout
    out = tmp_path / "out"
    assert names(out) == ["bag", "frames.csv", "labels.json", "masks", "overlay.mp4", "run.json"]
    assert LabelSet.from_json((out / "labels.json").read_text()) == CAMVID
    segmenter = engine(weights)
    expected = [segmenter.push(frame)[0] for frame in frames]
    assert len({result.mask.tobytes() for result in expected}) > 5
    for index, result in enumerate(expected):
        written = cv2.imread(str(out / "masks" / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, result.mask)
    assert len(open_recording(out / "overlay.mp4")) == FRAMES
    for row, result in zip(rows(out), expected, strict=True):
        assert row["stamp"] == f"1700000000.{(123_456_789 + result.index * STEP_NS):09d}"
        assert (int(row["index"]), row["is_keyframe"], row["reason"]) == (
            result.index,
            str(int(result.is_keyframe)),
            result.reason,
        )
        assert (int(row["keyframe_index"]), int(row["age_frames"])) == (
            result.keyframe_index,
            result.keyframe_age_frames,
        )
    document = json.loads((out / "run.json").read_text())
    assert document["made_of"]["weights"]["name"] == "camvid_mitb0"
    assert document["made_of"]["versions"]["opencv"] == cv2.__version__
    assert (document["result"]["frames"], document["result"]["is_complete"]) == (FRAMES, True)


def test_the_bag_holds_the_nodes_topics_at_the_images_stamps(
    segmented: Call, tmp_path: Path, bag: Path, frames: Sequence[Frame]
) -> None:
    segmented(bag, "--output", tmp_path / "out", "--save", "masks,bag")
    messages = bag_messages(tmp_path / "out" / "bag")
    assert names(tmp_path / "out" / "bag") == ["bag.mcap", "metadata.yaml"]
    by_topic = {topic: [m for t, _, m in messages if t == topic] for topic, _, _ in messages}
    assert {topic: len(found) for topic, found in by_topic.items()} == {
        "/segmentation/labels": 1,
        "/segmentation/mask": FRAMES,
        "/segmentation/color": FRAMES,
        "/segmentation/overlay/compressed": FRAMES,
        "/segmentation/timing": FRAMES,
    }
    assert LabelSet.from_json(by_topic["/segmentation/labels"][0].data) == CAMVID
    for index, frame in enumerate(frames):
        mask, color, timing = (by_topic[f"/segmentation/{name}"][index] for name in ("mask", "color", "timing"))
        ids = mask.data.reshape(64, 96)
        written = cv2.imread(str(tmp_path / "out" / "masks" / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(ids, written)
        np.testing.assert_array_equal(color.data.reshape(64, 96, 3), colorize(ids, CAMVID))
        assert (mask.encoding, mask.step, color.encoding, color.step) == ("mono8", 96, "rgb8", 288)
        shown = by_topic["/segmentation/overlay/compressed"][index]
        assert shown.format == "rgb8; jpeg compressed bgr8"
        assert shown.data.tobytes() == encode_jpeg(overlay(frame, ids, CAMVID), 90)
        for message in (mask, color, timing, shown):
            stamp = message.header.stamp
            assert stamp.sec * 10**9 + stamp.nanosec == frame.stamp_ns
            assert message.header.frame_id == "front"
        assert read_timing(timing).index == index
        assert sum(read_timing(timing).shares.values()) == pytest.approx(1, abs=1e-3)
    assert {ns for topic, ns, _ in messages} == {frame.stamp_ns for frame in frames}


def test_the_foxglove_layout_shows_the_bag(segmented: Call, tmp_path: Path, bag: Path) -> None:
    segmented(bag, "--output", tmp_path / "out", "--save", "bag")
    with AnyReader([tmp_path / "out" / "bag"]) as reader:
        kinds = {connection.topic: connection.msgtype for connection in reader.connections}
        timings = [connection for connection in reader.connections if connection.topic == "/segmentation/timing"]
        for connection, _, data in reader.messages(timings):
            timing: Any = reader.deserialize(data, connection.msgtype)
            foxglove_layout.check_timing({pair.key: pair.value for pair in timing.status[0].values})
    assert {*foxglove_layout.topics().items()} - {*kinds.items()} == {
        ("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
    }


def test_two_runs_give_the_same_bytes(segmented: Call, tmp_path: Path, bag: Path) -> None:
    for name in ("one", "two"):
        assert segmented(bag, "--output", tmp_path / name, "--save", "masks,csv,overlay").returncode == 0
    assert masks(tmp_path / "one") == masks(tmp_path / "two")
    assert rows(tmp_path / "one") == rows(tmp_path / "two")
    assert (tmp_path / "one" / "overlay.mp4").read_bytes() == (tmp_path / "two" / "overlay.mp4").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ["--mode", "causal"],
        ["--mode", "bidirectional"],
        ["--mode", "full"],
        ["--schedule", "adaptive", "--schedule-threshold", "0.05"],
        ["--keyframe-mode", "async", "--swap-after", "2"],
    ],
    ids=["causal", "bidirectional", "full", "adaptive", "async"],
)
def test_an_interrupted_run_goes_on_to_the_same(
    segmented: Call, tmp_path: Path, bag: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    assert segmented(bag, "--output", tmp_path / "whole", *options).returncode == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 8)
        done = segmented(bag, "--output", tmp_path / "parts", *options)
    assert done.returncode == 130
    assert "interrupted after" in done.stdout
    parts = tmp_path / "parts"
    some = len(masks(parts))
    assert 5 <= some <= 8
    assert names(parts) == names(tmp_path / "whole"), "the files of what was done are there and whole"
    assert len(rows(parts)) == len(open_recording(parts / "overlay.mp4")) == some
    assert len(list(open_recording(parts / "bag", topic="/segmentation/mask"))) == some

    before = {path: path.stat().st_mtime_ns for path in (parts / "masks").iterdir()}
    done = segmented(bag, "--output", parts, "--resume", *options)
    assert done.returncode == 0, done.stderr
    assert masks(parts) == masks(tmp_path / "whole")
    assert rows(parts) == rows(tmp_path / "whole")
    assert (parts / "overlay.mp4").read_bytes() == (tmp_path / "whole" / "overlay.mp4").read_bytes()
    assert names(parts) == names(tmp_path / "whole")
    for (topic, ns, one), (other_topic, other_ns, two) in zip(
        bag_messages(parts / "bag"), bag_messages(tmp_path / "whole" / "bag"), strict=True
    ):
        assert (topic, ns) == (other_topic, other_ns)
        if topic == "/segmentation/timing":
            assert read_timing(one).shares == read_timing(two).shares
        elif topic == "/segmentation/mask":
            np.testing.assert_array_equal(one.data, two.data)
    kept = [path for path, changed in before.items() if path.stat().st_mtime_ns == changed]
    went_on_at = json.loads((parts / "run.json").read_text())["result"]["went_on_at"]
    assert len(kept) == went_on_at
    if "async" not in options:
        assert went_on_at >= 1


def test_a_run_that_was_killed_goes_on_from_the_keyframe_before_the_first_missing_mask(
    segmented: Call, tmp_path: Path, bag: Path
) -> None:
    """Killed: the table has its unfinished name and a cut last row, and a mask in the middle is not there."""
    assert segmented(bag, "--output", tmp_path / "whole", "--save", "masks,csv").returncode == 0
    assert segmented(bag, "--output", tmp_path / "out", "--save", "masks,csv").returncode == 0
    out = tmp_path / "out"
    text = (out / "frames.csv").read_text()
    (out / ".frames.unfinished.csv").write_text(text[:-40])
    (out / "frames.csv").unlink()
    (out / "masks" / "000007.png").unlink()
    done = segmented(bag, "--output", out, "--save", "masks,csv", "--resume")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "run.json").read_text())["result"]["went_on_at"] == 5
    assert masks(out) == masks(tmp_path / "whole")
    assert rows(out) == rows(tmp_path / "whole")
    assert not (out / ".frames.unfinished.csv").exists()


def test_only_what_is_wanted_is_left(segmented: Call, tmp_path: Path, bag: Path) -> None:
    assert segmented(bag, "--output", tmp_path / "out", "--save", "overlay").returncode == 0
    assert names(tmp_path / "out") == ["labels.json", "overlay.mp4", "run.json"]


def test_a_run_is_neither_overwritten_nor_mixed_with_another(segmented: Call, tmp_path: Path, bag: Path) -> None:
    out = tmp_path / "out"
    assert segmented(bag, "--output", out, "--save", "masks").returncode == 0
    before = masks(out)
    again = segmented(bag, "--output", out, "--save", "masks")
    assert again.returncode == 1
    assert "has a run already; expected --resume" in again.stderr
    other = segmented(bag, "--output", out, "--save", "masks", "--resume", "--keyframe-interval", "3")
    assert other.returncode == 1
    assert other.stderr.endswith(
        f"the run in {out} cannot be continued: --keyframe-interval was 5 and is 3 now; expected the same, or another "
        "--output\n"
    )
    weights = json.loads((out / "run.json").read_text())
    weights["made_of"]["weights"]["sha256"] = "0" * 64
    (out / "run.json").write_text(json.dumps(weights))
    trained_again = segmented(bag, "--output", out, "--save", "masks", "--resume")
    assert "cannot be continued: --weights are other than in that run; expected" in trained_again.stderr
    assert masks(out) == before
    none = segmented(bag, "--output", tmp_path / "none", "--save", "masks", "--resume")
    assert none.returncode == 1 and "expected a run to continue" in none.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--save", "mask"], "there is no 'mask'; expected some of masks, overlay, bag, csv"),
        (["--save", "csv", "--resume"], "expected masks in --save"),
        (["--keyframe-mode", "async"], "needs --swap-after"),
        (["--topic", "/other"], "no topic '/other'"),
    ],
)
def test_options_that_cannot_be(segmented: Call, tmp_path: Path, bag: Path, options: list[str], reason: str) -> None:
    done = segmented(bag, "--output", tmp_path / "out", *options)
    assert done.returncode in (1, 2)
    assert reason in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_what_a_damaged_recording_lost_is_told(segmented: Call, tmp_path: Path, frames: Sequence[Frame]) -> None:
    for index, frame in enumerate(frames[:6]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame.pixels)
    (tmp_path / "3.png").write_bytes(b"no image")
    done = segmented(tmp_path, "--output", tmp_path / "out", "--save", "masks,csv")
    assert done.returncode == 0, done.stderr
    assert "What could not be read" in done.stdout and "3.png" in done.stdout
    assert [row["stamp"] for row in rows(tmp_path / "out")][3] == "1.400000000"
    assert len(json.loads((tmp_path / "out" / "run.json").read_text())["result"]["losses"]) == 1


def test_files_are_finished_when_the_network_fails(
    segmented: Call, tmp_path: Path, bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = StreamSegmenter.push

    def failing(self: StreamSegmenter, frame: Frame, *arguments: Any) -> Any:
        if frame.stamp_ns == START_NS + 6 * STEP_NS:
            raise ValueError("the device is gone")
        return push(self, frame, *arguments)

    monkeypatch.setattr(StreamSegmenter, "push", failing)
    done = segmented(bag, "--output", tmp_path / "out")
    assert done.returncode == 1 and "the device is gone" in done.stderr
    assert len(masks(tmp_path / "out")) == len(rows(tmp_path / "out")) == 6
    assert len(list(open_recording(tmp_path / "out" / "bag", topic="/segmentation/mask"))) == 6


class Given(Schedule):
    """A schedule that has keyframes at these numbers."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def decide(self, situation: Situation) -> Decision:
        return Decision(situation.number in self.numbers, "given")


def live_run(path: Path, frames: Sequence[Frame], segmenter: StreamSegmenter, restart_at: int = -1) -> list[np.ndarray]:
    """What the node records, as a bag; the masks of the frames."""
    bag = MessageBag(path, "mcap")
    bag.add_topic("/segmentation/timing", "diagnostic_msgs/msg/DiagnosticArray")
    found = []
    for number, frame in enumerate(frames):
        if number == restart_at:
            segmenter.restart("reactivated")
        result = segmenter.push(frame)[0]
        texts = timing_texts(timing_of(result, 1.0, CAMVID))
        bag.write_status("/segmentation/timing", frame.stamp_ns, "front", "timing", result.reason, texts)
        found.append(result.mask)
    bag.close()
    segmenter.close()
    return found


def assert_masks(folder: Path, expected: Sequence[np.ndarray]) -> None:
    assert len(masks(folder)) == len(expected)
    for index, mask in enumerate(expected):
        written = cv2.imread(str(folder / "masks" / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, mask)


@pytest.mark.parametrize("options", [{}, {"keyframe_mode": "async", "swap_after": 2}], ids=["sync", "async"])
def test_a_live_run_is_followed_in_its_frames_keyframes_and_swaps(
    segmented: Call,
    tmp_path: Path,
    bag: Path,
    frames: Sequence[Frame],
    weights: Path,
    options: dict[str, Any],
) -> None:
    processed = [frame for number, frame in enumerate(frames) if number not in (0, 3, 8)]
    live = live_run(tmp_path / "live", processed, engine(weights, Given(0, 3, 8), **options), restart_at=6)
    for decisions, name in ((tmp_path / "live", "of_bag"), (tmp_path / "of_bag" / "frames.csv", "of_table")):
        done = segmented(bag, "--output", tmp_path / name, "--save", "masks,csv", "--decisions", decisions)
        assert done.returncode == 0, done.stderr
        assert_masks(tmp_path / name, live)
        assert "other class shares" not in done.stdout
    is_keyframe = [row["is_keyframe"] for row in rows(tmp_path / "of_bag")]
    assert [number for number, value in enumerate(is_keyframe) if value == "1"] == [0, 3, 6, 8]
    assert rows(tmp_path / "of_bag") == rows(tmp_path / "of_table")


def test_following_a_run_goes_on_after_an_interruption(
    segmented: Call,
    tmp_path: Path,
    bag: Path,
    frames: Sequence[Frame],
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live = live_run(tmp_path / "live", frames[1:], engine(weights, Given(0, 4, 6)))
    options = ["--save", "masks,csv", "--decisions", tmp_path / "live"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 8)
        assert segmented(bag, "--output", tmp_path / "out", *options).returncode == 130
    assert segmented(bag, "--output", tmp_path / "out", "--resume", *options).returncode == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["result"]["went_on_at"] == 6
    assert_masks(tmp_path / "out", live)


def test_other_masks_than_those_of_the_run_that_is_followed_are_told(
    segmented: Call, tmp_path: Path, bag: Path, frames: Sequence[Frame], weights: Path
) -> None:
    live_run(tmp_path / "live", frames, engine(weights, Given(0, 4, 8)))
    options = ["--save", "masks", "--align", "none", "--decisions", tmp_path / "live"]
    done = segmented(bag, "--output", tmp_path / "out", *options)
    assert done.returncode == 0
    assert "other class shares" in done.stdout


def test_a_run_that_cannot_be_followed(
    segmented: Call, tmp_path: Path, bag: Path, frames: Sequence[Frame], weights: Path
) -> None:
    live_run(tmp_path / "elsewhere", [Frame(frames[0].pixels, stamp_ns=5)], engine(weights))
    done = segmented(bag, "--output", tmp_path / "a", "--decisions", tmp_path / "elsewhere")
    assert done.returncode == 1 and "no frame with the stamp 0.000000005 s" in done.stderr
    live_run(tmp_path / "live", frames, engine(weights))
    table = tmp_path / "table.csv"
    segmented(bag, "--output", tmp_path / "b", "--save", "csv")
    lines = (tmp_path / "b" / "frames.csv").read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:6] + lines[7:]))  # without frame 5, a keyframe
    done = segmented(bag, "--output", tmp_path / "c", "--decisions", table)
    assert done.returncode == 1 and "lacks frame 5, the keyframe that the mask of frame 6 was made from" in done.stderr
    table.write_text("".join([lines[0], *lines[2:5]]))
    done = segmented(bag, "--output", tmp_path / "d", "--decisions", table)
    assert done.returncode == 1 and "expected a stream's first keyframe" in done.stderr
    done = segmented(bag, "--output", tmp_path / "e", "--decisions", bag)
    assert done.returncode == 1 and "no topic '/segmentation/timing'" in done.stderr

"""`dcfm segment` where a run goes on, or follows one whose node began anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import pytest
from interrupting import interrupt_at
from report_inputs import with_small_network, write_folder

from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.recordings import open_recording
from dcfm_ros.recordings.message_bag import MessageBag
from dcfm_ros.streaming import StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.streaming.timing import timing_of, timing_texts

Call = Callable[..., CompletedProcess[str]]
FRAMES = 8


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "drive", FRAMES, labelled=False)


@pytest.fixture
def segmented(called: Call, tmp_path: Path) -> Call:
    """`dcfm segment` with a small network."""
    network = [*with_small_network(tmp_path), "--device", "cpu", "--num-threads", "1"]
    return lambda *arguments: called("segment", *map(str, arguments), *network)


def test_a_run_goes_on_that_writes_into_the_recordings_own_folder(
    segmented: Call, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--output", drive / "segmented", "--save", "masks"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        assert segmented(drive, *options).returncode == 130
    done = segmented(drive, *options, "--resume")
    assert done.returncode == 0, done.stderr
    assert len(list((drive / "segmented" / "masks").iterdir())) == FRAMES


def test_to_resume_is_advised_where_that_can_be(
    segmented: Call, tmp_path: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kinds, can_go_on in (("masks", True), ("csv", False)):
        with monkeypatch.context() as patch:
            interrupt_at(patch, 3)
            done = segmented(drive, "--output", tmp_path / kinds, "--save", kinds)
        assert done.returncode == 130
        assert "interrupted after" in done.stdout
        assert ("--resume continues" in done.stdout) == can_go_on


@pytest.mark.parametrize("keyframes", ["sync", "async"])
def test_a_live_run_is_followed_whose_node_began_anew_and_answered_a_frame_twice(
    segmented: Call, tmp_path: Path, drive: Path, keyframes: str
) -> None:
    frames = list(open_recording(drive))
    backend = create_backend(tmp_path / "small.safetensors", "torch", "cpu", 1)
    options = {"keyframe_mode": keyframes, "swap_after": 1, "keyframe_interval": 2}
    live = MessageBag(tmp_path / "live", "mcap")
    live.add_topic("/segmentation/timing", "diagnostic_msgs/msg/DiagnosticArray")
    expected = []
    for part in (frames[:5], frames[5:]):
        segmenter = StreamSegmenter(backend, StreamOptions(**options))  # type: ignore[arg-type]
        for frame in part:
            [result] = segmenter.push(frame)
            expected.append(result.mask)
            texts = timing_texts(timing_of(result, 1.0, CAMVID))
            for _ in range(2 if len(expected) == 3 else 1):
                live.write_status("/segmentation/timing", frame.stamp_ns, "front", "timing", result.reason, texts)
        segmenter.close()
    live.close()
    done = segmented(drive, "--output", tmp_path / "out", "--save", "masks", "--decisions", tmp_path / "live")
    assert done.returncode == 0, done.stderr
    assert "other class shares" not in done.stdout
    for index, mask in enumerate(expected):
        written = cv2.imread(str(tmp_path / "out" / "masks" / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, mask)

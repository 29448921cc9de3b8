"""Player, node and recorder together, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from node_process import own_domain

from dcfm_ros.cli.passes import PassError, PassInput, run_pass
from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.recordings.writers import BagWriter
from dcfm_ros.streaming import StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend

FRAMES = 12


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> PassInput:
    """A short bag of a rendered drive."""
    bag = tmp_path_factory.mktemp("bag") / "drive"
    config = StreetConfig(seed=3, frames=FRAMES, height=90, width=120, rate_hz=15)
    with BagWriter(bag, "/camera/image_raw") as writer:
        for frame in StreetDrive(config):
            writer.write(frame)
    return PassInput(bag, config.rate_hz, FRAMES)


@pytest.fixture(autouse=True)
def _environment(ros_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ros_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("dcfm_ros.cli.passes.random", SimpleNamespace(randrange=lambda *bounds: own_domain()))


def test_a_lossless_pass_gives_the_masks_of_the_segmenter_byte_for_byte(drive: PassInput, tmp_path: Path) -> None:
    parameters = {"backend": "torch", "keyframe_interval": 4, "num_threads": 1, "input_size": "[64, 96]"}
    result = run_pass(drive, tmp_path, "test", parameters, lossless=True, pictures=True)

    backend = create_backend(name="torch", num_threads=1)
    segmenter = StreamSegmenter(backend, StreamOptions(keyframe_interval=4, input_size=(64, 96)))
    frames = StreetDrive(StreetConfig(seed=3, frames=FRAMES, height=90, width=120, rate_hz=15))
    for index, frame in enumerate(frames):
        mask = cv2.imread(str(tmp_path / "masks" / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, segmenter.push(frame)[0].mask)

    assert [int(row["index"]) for row in result.frames] == list(range(FRAMES))
    assert [row["is_keyframe"] for row in result.frames] == ["1" if i % 4 == 0 else "0" for i in range(FRAMES)]
    stamps = [float(row["stamp"]) for row in result.frames]
    np.testing.assert_allclose(np.diff(stamps), 1 / 15, atol=1e-6)
    assert {name: result.counts[name] for name in ("received", "processed", "dropped")} == {
        "received": str(FRAMES),
        "processed": str(FRAMES),
        "dropped": "0",
    }
    assert json.loads((tmp_path / "counts.json").read_text()) == result.counts
    video = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == FRAMES


def test_in_real_time_what_is_overtaken_is_dropped_and_counted(drive: PassInput, tmp_path: Path) -> None:
    # Too slow for 15 Hz wherever tests run.
    parameters = {"backend": "torch", "device": "cpu", "num_threads": 1, "mode": "full", "input_size": "[480, 640]"}
    result = run_pass(drive, tmp_path, "test", parameters, lossless=False, pictures=False)
    counts = {name: int(result.counts[name]) for name in ("received", "processed", "dropped")}
    assert counts["processed"] + counts["dropped"] == counts["received"] <= FRAMES
    assert counts["dropped"] > 0
    assert not (tmp_path / "masks").exists()


def test_a_node_that_cannot_start_ends_the_pass_with_its_words(drive: PassInput, tmp_path: Path) -> None:
    with pytest.raises(PassError, match=r"missing\.safetensors is not there"):
        run_pass(drive, tmp_path, "test", {"weights": "missing.safetensors"}, lossless=True, pictures=False)


def test_a_player_without_a_recording_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "not_a_video.mp4"
    text.write_text("plain text")
    with pytest.raises(PassError, match="player ended with code 1"):
        run_pass(PassInput(text, 10, 5), tmp_path / "out", "test", {}, lossless=True, pictures=False)
    said = capfd.readouterr().err
    assert "not_a_video.mp4" in said
    assert "Traceback" not in said


def test_a_pass_that_is_killed_leaves_no_process_behind(drive: PassInput, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dcfm_ros.cli.passes import PassInput, run_pass\n"
        "source = PassInput(Path(sys.argv[1]), 15, 12)\n"
        "parameters = {'backend': 'torch', 'num_threads': 1, 'mode': 'full', 'input_size': '[480, 640]'}\n"
        "run_pass(source, Path(sys.argv[2]), 'test', parameters, lossless=True, pictures=True)"
    )
    mark = f"PASS_THAT_IS_KILLED={tmp_path}"
    command = [sys.executable, "-c", code, str(drive.path), str(tmp_path / "out")]
    with subprocess.Popen(command, env=os.environ | dict([mark.split("=")]), stdout=subprocess.DEVNULL) as killed:
        wait_until(lambda: list((tmp_path / "out" / "masks").glob("*.png")), "a mask")
        assert len(marked(mark)) == 4
        killed.kill()
    wait_until(lambda: not marked(mark), "the end of player, node and recorder")
    assert (tmp_path / "out" / "timing.csv").is_file()


def marked(variable: str) -> list[str]:
    """The processes that have it."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if variable in (process / "environ").read_text().split("\0"):
                found.append((process / "cmdline").read_text())
        except (OSError, UnicodeDecodeError):
            continue
    return found


def wait_until(condition: Any, what: str) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)

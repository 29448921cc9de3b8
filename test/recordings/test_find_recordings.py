"""What of a fleet's folder is a recording."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from recording_types import MakeFrames

from dcfm_ros.recordings import RecordingError, open_recording
from dcfm_ros.recordings.find import find_recordings
from dcfm_ros.recordings.writers import BagWriter


def test_recordings_are_found_at_any_depth_and_can_be_opened(tmp_path: Path, make_frames: MakeFrames) -> None:
    frames = make_frames(3)

    def write_bag(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with BagWriter(path, "/camera", storage="mcap") as bag:
            for frame in frames:
                bag.write(frame)
        return path

    fleet = tmp_path / "fleet"
    split = write_bag(fleet / "robot1" / "monday" / "drive")
    lost_power = write_bag(fleet / "robot1" / "cut")
    (lost_power / "cut.mcap").rename(lost_power / "cut_0.mcap")
    (lost_power / "metadata.yaml").unlink()
    loose = fleet / "robot2" / "a.mcap"
    loose.parent.mkdir()
    (write_bag(tmp_path / "a") / "a.mcap").rename(loose)
    pictures, drive = fleet / "pictures", fleet / "labelled"
    for folder in (pictures, drive / "images", drive / "labels", fleet / ".thumbnails"):
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "0.png"), frames[0].pixels)
    (fleet / "robot2" / "notes.txt").write_text("the camera was wet")
    write_bag(fleet / "out" / "bag")

    found = find_recordings(fleet, leave_out=[fleet / "out"])
    assert found == sorted([split, lost_power, loose, pictures, drive])
    for path in found:
        with open_recording(path, damaged="skip") as recording:
            assert len(list(recording)) in (1, 3)


def test_what_links_lead_to_is_found_once(tmp_path: Path, make_frames: MakeFrames) -> None:
    [frame] = make_frames(1)
    fleet, archive = tmp_path / "fleet", tmp_path / "archive"
    for folder in (fleet / "robot" / "monday", archive / "sunday"):
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "0.png"), frame.pixels)
    (fleet / "latest").symlink_to("robot/monday")
    (fleet / "all").symlink_to("robot")
    (fleet / "old").symlink_to(archive)
    (fleet / "robot" / "fleet").symlink_to("..")
    (fleet / "itself").symlink_to("itself")
    assert find_recordings(fleet) == [fleet / "old" / "sunday", fleet / "robot" / "monday"]


def test_a_link_into_a_recording_is_no_other_recording(tmp_path: Path, make_frames: MakeFrames) -> None:
    [frame] = make_frames(1)
    fleet, archive = tmp_path / "fleet", tmp_path / "archive"
    for folder in (fleet / "labelled" / "images", fleet / "labelled" / "more", archive / "labelled" / "images"):
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "0.png"), frame.pixels)
    with BagWriter(fleet / "drive", "/camera", storage="mcap") as bag:
        bag.write(frame)
    (fleet / "a pictures").symlink_to("labelled/images")
    (fleet / "a.mcap").symlink_to("drive/drive.mcap")
    (fleet / "b").symlink_to(archive / "labelled" / "images")
    (fleet / "c").symlink_to(archive / "labelled")
    (fleet / "more").symlink_to("labelled/more")  # which is no part of it
    assert [path.name for path in find_recordings(fleet)] == ["c", "drive", "labelled", "more"]
    (fleet / "c").unlink()
    assert [path.name for path in find_recordings(fleet)] == ["b", "drive", "labelled", "more"]


def test_a_folder_without_any_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match="holds no recordings; expected bags, videos or folders of images"):
        find_recordings(tmp_path)

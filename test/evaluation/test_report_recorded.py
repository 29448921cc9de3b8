"""Reading a drive from what the robot recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from drive_bag import SIZE, START_NS, STEP_NS, write_drive

from dcfm_ros.evaluation.report.frames import RECORDED
from dcfm_ros.evaluation.report.recorded import read_drive
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.recordings import RecordingError

ROAD, CAR = CAMVID.names.index("road"), CAMVID.names.index("car")


def test_a_drive_is_what_the_node_said(tmp_path: Path) -> None:
    drive = read_drive(write_drive(tmp_path / "bag", [ROAD] * 4 + [CAR, ROAD, ROAD], interval=5))
    records = drive.measured.runs[RECORDED]
    assert [one.is_keyframe for one in records] == [True, False, False, False, False, True, False]
    assert [one.distance for one in records] == [0, 1, 2, 3, 4, 0, 1]
    assert [one.latency_ms for one in records[:2]] == [60, 10]
    assert records[0].stage_ms["common"] == 48
    assert [one.stamp_ns for one in records] == [START_NS + number * STEP_NS for number in range(7)]
    assert [one.flicker for one in records] == [None, None, 0, 0, 0, 1, 0]
    assert records[4].shares[CAR] == 1
    assert records[0].agreement is None
    assert drive.labels == CAMVID
    assert drive.measured.size == SIZE
    assert drive.drive == {
        "mask_topic": "/segmentation/mask",
        "image_topic": "/camera",
        "begins": "2023-11-14 22:13:20 UTC",
        "seconds": 0.3,
        "rate_hz": 20.0,
        "images": 7,
        "dropped": 0,
        "gaps": [],
        "moments": drive.drive["moments"],
    }


def test_dropped_images_are_counted_and_their_gaps_found(tmp_path: Path) -> None:
    drive = read_drive(write_drive(tmp_path / "bag", [ROAD] * 12, dropped=[3, 4, 11])).drive
    assert (drive["images"], drive["dropped"]) == (12, 3)
    assert drive["gaps"] == [{"after_frame": 2, "seconds": 0.15}]


def test_the_worst_moments_are_named_in_their_order(tmp_path: Path) -> None:
    path = write_drive(tmp_path / "bag", [ROAD] * 8 + [CAR] + [ROAD] * 3, dropped=[3, 4], interval=20)
    moments = read_drive(path).drive["moments"]
    assert [moment["frame"] for moment in moments] == sorted(moment["frame"] for moment in moments)
    found = {(moment["what"], moment["frame"]): (moment["seconds"], moment["value"]) for moment in moments}
    assert found["slow", 0] == (0, 60)
    assert found["gap", 2] == (0.1, 0.15)
    assert found["flicker", 7] == (0.45, 1)
    assert [what for what, _ in found].count("slow") == 3


def test_another_node_is_read_where_it_is_named(tmp_path: Path) -> None:
    path = write_drive(tmp_path / "bag", [ROAD] * 3, node="/segmentation/front")
    assert len(read_drive(path, "/segmentation/front").measured.runs[RECORDED]) == 3
    with pytest.raises(RecordingError, match=r"no /segmentation/timing.*/segmentation/front/timing"):
        read_drive(path)


def test_images_are_taken_from_the_topic_that_is_named(tmp_path: Path) -> None:
    path = write_drive(tmp_path / "bag", [ROAD] * 3)
    assert read_drive(path, image_topic="/camera").drive["images"] == 3
    with pytest.raises(RecordingError, match=r"no topic '/rear'.*/camera"):
        read_drive(path, image_topic="/rear")


@pytest.mark.parametrize(
    ("node", "camera", "others"),
    [
        ("/segmentation/front", "/front/image", {"/segmentation/left": "/left/image"}),
        ("/robot/segmentation/front", "/robot/sensors/front/image_raw", {"/segmentation": "/left/image"}),
        ("/segmentation/front", "/camera", {"/segmentation/left": "/camera"}),
        ("/front", "/front/image", {"/left": "/left/image"}),
    ],
)
def test_a_camera_of_several_is_told_by_the_nodes_name(
    tmp_path: Path, node: str, camera: str, others: dict[str, str]
) -> None:
    path = write_drive(tmp_path / "bag", [ROAD] * 3, node=node, camera=camera, others=others)
    drive = read_drive(path, node).drive
    assert (drive["image_topic"], drive["images"], drive["dropped"]) == (camera, 3, 0)


@pytest.mark.parametrize(
    ("node", "camera", "others"),
    [
        ("/segmentation", "/camera/image_raw", {"/sim": "/segmentation/ground_truth"}),
        ("/front", "/front/color/image_raw", {}),
    ],
    ids=["a simulator's masks", "a camera's stream called as an output"],
)
def test_what_only_looks_like_the_nodes_images(tmp_path: Path, node: str, camera: str, others: dict[str, str]) -> None:
    path = write_drive(tmp_path / "bag", [ROAD] * 3, node=node, camera=camera, others=others)
    assert read_drive(path, node).drive["image_topic"] == camera


def test_a_camera_called_as_the_node_is_asked_for(tmp_path: Path) -> None:
    path = write_drive(tmp_path / "bag", [ROAD], camera="/rgb/image", others={"/sim": "/camera/segmentation/image"})
    with pytest.raises(RecordingError, match="expected --topic to name one of"):
        read_drive(path)


def test_cameras_that_the_nodes_name_does_not_tell_are_asked_for(tmp_path: Path) -> None:
    path = write_drive(tmp_path / "bag", [ROAD], camera="/front/image", others={"/left": "/left/image"})
    with pytest.raises(RecordingError, match="expected --topic to name one of /front/image, /left/image"):
        read_drive(path)


def test_what_is_no_timing_is_refused(tmp_path: Path) -> None:
    path = write_drive(tmp_path / "bag", [ROAD], node="/odd")
    with pytest.raises(RecordingError, match="no /segmentation/timing"):
        read_drive(path)
    with pytest.raises(RecordingError, match="cannot be read as a bag"):
        read_drive(tmp_path)

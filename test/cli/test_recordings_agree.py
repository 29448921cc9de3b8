"""Recordings of every kind through `dcfm segment`, `report` and what `dcfm replay` plays: all agree about frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import pytest
from fleet_bags import masks
from foreign_bags import write_foxglove
from recording_inputs import COUNT, FOLDERS, RECORDINGS, frames, turned_jpeg, write_bag, write_compressed
from report_inputs import with_small_network
from sensor_msgs.msg import CompressedImage, Image

from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.node.messages import frame_of
from dcfm_ros.node.playback import played_images
from dcfm_ros.recordings import open_recording

Call = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [*with_small_network(tmp_path_factory.mktemp("weights")), "--device", "cpu", "--num-threads", "1"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, network: list[str]) -> dict[str, bytes]:
    """The masks of these frames."""
    from click.testing import CliRunner

    from dcfm_ros.cli.segment import command

    folder = tmp_path_factory.mktemp("expected")
    arguments = [str(write_bag(folder / "bag", "mcap")), "--output", str(folder / "out"), "--save", "masks", *network]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    found = masks(folder / "out")
    assert len(set(found.values())) == COUNT
    return found


@pytest.mark.parametrize("name", RECORDINGS)
def test_commands_agree_about_a_recording(
    called: Call, network: list[str], expected: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    path = RECORDINGS[name](tmp_path / name)
    done = called("segment", str(path), "--output", str(tmp_path / "out"), "--save", "masks", *network)
    assert done.returncode == 0, done.stderr
    assert masks(tmp_path / "out") == expected
    assert json.loads((tmp_path / "out" / "run.json").read_text())["result"]["losses"] == []
    report = tmp_path / "report"
    done = called("report", str(path), "--output", str(report), "--intervals", "1", *network)
    assert done.returncode == 0, done.stderr
    assert json.loads((report / "metrics.json").read_text())["input"]["frames"] == COUNT
    with open_recording(path, damaged="skip") as recording:
        played = [item.image for item in played_images(recording)]
        assert recording.losses == []
    for frame, image in zip(frames(), played, strict=True):
        np.testing.assert_array_equal(np.frombuffer(image.data, np.uint8), frame.pixels.reshape(-1))


@pytest.mark.parametrize("name", FOLDERS)
def test_evaluate_sees_in_a_folder_what_segment_and_report_see(
    called: Call, network: list[str], tmp_path: Path, name: str
) -> None:
    """Held against the masks of `segment`, those of the others have every pixel right."""
    folder = FOLDERS[name](tmp_path / name)
    images, labels = folder / "images", folder / "labels"
    done = called("segment", str(images), "--output", str(tmp_path / "out"), "--save", "masks", *network)
    assert done.returncode == 0, done.stderr
    labels.mkdir()
    for picture, mask in zip(sorted(images.iterdir()), masks(tmp_path / "out").values(), strict=True):
        (labels / picture.with_suffix(".PNG").name).write_bytes(mask)
    for source in ([str(folder)], ["--images", str(images), "--labels", str(labels)]):
        done = called("evaluate", *source, "--json", str(tmp_path / "scores.json"), *network)
        assert done.returncode == 0, done.stderr
        scores = json.loads((tmp_path / "scores.json").read_text())
        assert (scores["frames"], scores["labelled"], scores["mIoU_present"], scores["wIoU"]) == (COUNT, COUNT, 1, 1)
    for source in ([str(folder)], [str(images), "--labels", str(labels)]):
        done = called("report", *source, "--output", str(tmp_path / "report"), "--intervals", "5", *network)
        assert done.returncode == 0, done.stderr
        metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
        assert metrics["input"]["frames"] == COUNT
        assert {row["iou"] for row in metrics["scores"]["by_class"]} - {None} == {1}


def test_every_command_tells_of_a_picture_that_is_cut(called: Call, network: list[str], tmp_path: Path) -> None:
    """`segment` goes on and tells the loss; where frames are counted and held against labels it is an error."""
    folder = FOLDERS["plain"](tmp_path / "drive")
    (folder / "labels").mkdir()
    for picture in (folder / "images").iterdir():
        cv2.imwrite(str(folder / "labels" / picture.name), np.zeros(frames()[0].pixels.shape[:2], np.uint8))
    last = folder / "images" / f"{COUNT - 1}.png"
    last.write_bytes(last.read_bytes()[:-20])
    done = called("segment", str(folder), "--output", str(tmp_path / "out"), *network)
    assert done.returncode == 0, done.stderr
    [loss] = json.loads((tmp_path / "out" / "run.json").read_text())["result"]["losses"]
    assert last.name in str(loss)
    for command in (["evaluate", str(folder)], ["report", str(folder), "--output", str(tmp_path / "report")]):
        done = called(*command, *network)
        assert (done.returncode, f"{last} cannot be read as an image" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("name", ["h264", "video.mcap", "garbage"])
def test_where_no_frame_can_be_read_every_command_fails_each_time(
    called: Call, network: list[str], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "fleet" / name
    path.parent.mkdir()
    if name == "garbage":
        path.mkdir()
        (path / "000000.png").write_bytes(b"nothing that is a picture")
    elif name == "h264":
        write_compressed(path, [("h264", b"\0\0\0\1\x67" + bytes(100))] * COUNT)
    else:
        write_foxglove(path, frames(), "CompressedVideo", "json")
    reason = {"h264": "packets of video", "video.mcap": "packets of video", "garbage": "cannot be read as an image"}[
        name
    ]
    arguments = ["segment", str(path), "--output", str(tmp_path / "out"), *network]
    done = called(*arguments)
    assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    done = called("report", str(path), "--output", str(tmp_path / "report"), *network)
    assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    for _ in range(2):
        done = called("segment", str(path.parent), "--output", str(tmp_path / "all"), "--jobs", "1", *network)
        assert (done.returncode, "1 of 1 recordings failed" in done.stderr) == (1, True), done.stderr
        assert name in done.stdout and "done" not in done.stdout


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_gbrg16"])
def test_the_node_takes_a_mosaic_as_bags_do(tmp_path: Path, encoding: str) -> None:
    """Raw and compressed, in 8 bits and in 16."""
    grey = cv2.cvtColor(frames()[0].pixels, cv2.COLOR_BGR2GRAY)
    mosaic = grey.astype(np.uint16) * 257 if encoding.endswith("16") else grey
    height, width = grey.shape
    raw = Image(height=height, width=width, encoding=encoding, step=width * mosaic.itemsize)
    raw.data.frombytes(mosaic.tobytes())
    text, data = f"{encoding}; png compressed ", cv2.imencode(".png", mosaic)[1].tobytes()
    packed = CompressedImage(format=text)
    packed.data.frombytes(data)
    with open_recording(write_compressed(tmp_path / "drive", [(text, data)])) as recording:
        [recorded] = recording
    for message in (raw, packed):
        np.testing.assert_array_equal(to_rgb(frame_of(message, 0, 10**6)), to_rgb(recorded))


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_turns_neither_folders_nor_bags_nor_data_sets(tmp_path: Path, orientation: int) -> None:
    from dcfm_ros.datasets.pixels import read_rgb

    data = turned_jpeg(frames()[0].pixels, orientation)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.jpg").write_bytes(data)
    turned = cv2.imread(str(tmp_path / "images" / "0.jpg"))
    with (
        open_recording(tmp_path / "images") as folder,
        open_recording(write_compressed(tmp_path / "drive", [("jpeg", data)])) as bag,
    ):
        [[as_file], [as_message]] = folder, bag
    assert turned is not None
    assert turned.shape != as_file.pixels.shape or not np.array_equal(turned, as_file.pixels)
    np.testing.assert_array_equal(as_file.pixels, as_message.pixels)
    np.testing.assert_array_equal(read_rgb(tmp_path / "images" / "0.jpg"), as_file.pixels[:, :, ::-1])

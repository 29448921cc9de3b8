"""What is wrong with labels is known before the work is begun, and said with the way out."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from dataset_files import write_ids, write_pixels

from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.datasets.folder import FolderDataset
from dcfm_ros.datasets.one_clip import OneClip
from dcfm_ros.datasets.pixels import read_rgb
from dcfm_ros.evaluation.report.inputs import DatasetInput, RecordingInput
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.model import model_config
from dcfm_ros.recordings import open_recording
from dcfm_ros.training.sources import Source


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for index in range(4):
        write_pixels(tmp_path / "images" / f"{index}.png")
        write_ids(tmp_path / "labels" / f"{index}.png", index)
    return tmp_path


def test_labels_in_capitals_are_labels(data: Path) -> None:
    for path in sorted((data / "labels").iterdir()):
        path.rename(path.with_suffix(".PNG"))
    assert len(FolderDataset(data, labels=CAMVID).labelled()) == 4
    assert len(OneClip(data / "images", data / "labels", CAMVID).labelled()) == 4
    source = RecordingInput(open_recording(data / "images"), data / "images", data / "labels", CAMVID)
    assert sum(sample.label is not None for sample in source) == 4


@pytest.mark.parametrize("value", [17, 21])
def test_a_bad_last_label_is_found_before_the_first_frame_is_segmented(data: Path, value: int) -> None:
    write_ids(data / "labels" / "3.png", value)
    expected = rf"3\.png holds the label {value}; expected 0 to 10, or 255: write the id of one of the 11 classes"
    for make in (
        lambda: DatasetInput(FolderDataset(data, labels=CAMVID)),
        lambda: FolderDataset(data, labels=CAMVID).check_labels(),
        lambda: RecordingInput(open_recording(data / "images"), data / "images", data / "labels", CAMVID),
    ):
        with pytest.raises(DatasetError, match=expected):
            make()


def test_colours_for_classes_are_refused_with_the_way_out(data: Path) -> None:
    write_pixels(data / "labels" / "3.png")
    with pytest.raises(DatasetError, match="write the id of each class in place of its colour"):
        FolderDataset(data, labels=CAMVID).check_labels()


def test_a_cut_picture_is_refused(data: Path) -> None:
    path = data / "images" / "3.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"3\.png cannot be read as an image"):
        read_rgb(path)


def test_training_tells_which_classes_never_occur(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Source(FolderDataset(data, labels=CAMVID), model_config("camvid_resnet18"), 0)
    [said] = [record.getMessage() for record in caplog.records]
    assert "no pixel of pavement, tree, sign, fence, car, pedestrian, cyclist in the 4 labels looked at of 4" in said


def test_training_says_nothing_where_all_occur(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pixels(data / "labels" / "3.png", np.arange(24, dtype=np.uint8).reshape(4, 6) % 11)
    with caplog.at_level(logging.WARNING):
        Source(FolderDataset(data, labels=CAMVID), model_config("camvid_resnet18"), 0)
    assert not caplog.records

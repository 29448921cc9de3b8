"""`dcfm evaluate` as a user calls it, with a small network of random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from dataset_files import write_ids, write_lines, write_pixels

from dcfm_ros.evaluation.disturbances import DISTURBANCES
from dcfm_ros.evaluation.metrics import SegmentationScore
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import CAMVID, LABEL_SETS
from dcfm_ros.model import DCFM, model_config, save_weights
from dcfm_ros.streaming import StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend

Call = Callable[..., CompletedProcess[str]]
SIZE = (32, 64)


def _weights(path: Path, name: str) -> Path:
    torch.manual_seed(1)
    classes = len(LABEL_SETS[name])
    model = DCFM(replace(model_config("camvid_mitb0"), input_size=SIZE, num_classes=classes, label_set=name))
    with torch.no_grad():  # random weights give nearly equal logits: larger ones make clear winners
        model.head[-1].get_parameter("weight").mul_(50)
    save_weights(model, path / f"{name}.safetensors", half=True)
    return path / f"{name}.safetensors"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For CamVid's 11 classes."""
    return _weights(tmp_path_factory.mktemp("weights"), "camvid")


@pytest.fixture(scope="module")
def cityscapes_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _weights(tmp_path_factory.mktemp("weights"), "cityscapes")


def picture(number: int) -> np.ndarray:
    """Large patches of random colours."""
    patches = np.random.default_rng(number).integers(0, 256, (4, 8, 3), np.uint8)
    return cv2.resize(patches, SIZE[::-1], interpolation=cv2.INTER_NEAREST)


def ids(number: int) -> np.ndarray:
    return np.random.default_rng(100 + number).integers(0, len(CAMVID), SIZE, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One clip of seven frames, all of them labelled."""
    for number in range(7):
        write_pixels(tmp_path / "data set" / "images" / f"drive_{number}.png", picture(number))
        write_pixels(tmp_path / "data set" / "labels" / f"drive_{number}.png", ids(number))
    return tmp_path / "data set"


@pytest.fixture
def called(called: Call) -> Call:
    """`dcfm evaluate` by PyTorch, which has no graphs to make and compile: seconds for each network."""
    return lambda command, *arguments: called(command, "--backend", "torch", *arguments)


@pytest.fixture
def scored(called: Call, tmp_path: Path, weights: Path) -> Callable[..., dict[str, Any]]:
    """The JSON that `dcfm evaluate` writes for these arguments."""

    def call(*arguments: str | Path, using: Path = weights) -> dict[str, Any]:
        file = tmp_path / "scores.json"
        done = called("evaluate", *map(str, arguments), "--weights", str(using), "--json", str(file))
        assert done.returncode == 0, done.stderr
        assert not list(tmp_path.glob("*.partial"))
        return json.loads(file.read_text())

    return call


def by_hand(weights: Path, placements: Sequence[Sequence[int]]) -> float:
    """mIoU over the last frames of streams that begin with a keyframe."""
    segmenter = StreamSegmenter(create_backend(weights, "torch"), StreamOptions(keyframe_interval=1000))
    score = SegmentationScore(len(CAMVID))
    for numbers in placements:
        segmenter.restart("placed")
        for number in numbers:
            (result,) = segmenter.push(Frame(picture(number)))
        score.update(result.mask, ids(numbers[-1]))
    return score.miou()


def test_a_dense_folder_is_run_once(
    scored: Callable[..., dict[str, Any]], called: Call, folder: Path, weights: Path
) -> None:
    scores = scored(folder, "--keyframe-interval", "3")
    assert scores["by_distance"] == {
        "0": by_hand(weights, [[0], [3], [6]]),
        "1": by_hand(weights, [[0, 1], [3, 4]]),
        "2": by_hand(weights, [[0, 1, 2], [3, 4, 5]]),
    }
    assert len(set(scores["by_distance"].values())) == 3
    assert scores["labelled_by_distance"] == {"0": 3, "1": 2, "2": 2}
    assert (scores["frames"], scores["labelled"], scores["keyframes"], scores["sparse"]) == (7, 7, 3, False)
    assert 0 < scores["mIoU"] <= scores["mIoU_present"] <= 1 and 0 < scores["wIoU"] <= 1
    assert list(scores["per_class"]) == list(CAMVID.names)
    assert (scores["mvc8"], scores["mvc16"], scores["disturbed"]) == (None, None, {})
    assert scores["seconds"] > 0
    assert scores["backend"] == create_backend(weights, "torch").description
    ran = {"dataset": str(folder), "kind": "folder", "split": None, "labels": None, "only": "*"}
    ran |= {"weights": str(weights), "disturb": None}
    assert {key: scores[key] for key in ran} == ran
    assert scores["options"] == json.loads(json.dumps(StreamOptions(keyframe_interval=3).to_json()))
    shown = called("evaluate", str(folder), "--weights", str(weights)).stdout
    assert "ignored" not in shown
    assert "mIoU, over all classes" in shown and "mIoU, over classes that occur" in shown
    assert "7 labelled of 7 frames, 2 keyframes" in shown


def test_sparse_labels_are_met_at_every_distance(
    scored: Callable[..., dict[str, Any]], called: Call, folder: Path, weights: Path
) -> None:
    for number in (0, 2, 3, 4, 6):
        (folder / "labels" / f"drive_{number}.png").unlink()
    expected = {
        "0": by_hand(weights, [[1], [5]]),
        "1": by_hand(weights, [[0, 1], [4, 5]]),
        "2": by_hand(weights, [[3, 4, 5]]),
    }
    for arguments in ((folder,), ("--images", folder / "images", "--labels", folder / "labels")):
        scores = scored(*arguments, "--keyframe-interval", "3")
        assert scores["by_distance"] == expected
        assert scores["labelled_by_distance"] == {"0": 2, "1": 2, "2": 1}
        assert scores["mIoU"] == by_hand(weights, [[1], [5], [0, 1], [4, 5], [3, 4, 5]])
        assert (scores["frames"], scores["labelled"], scores["keyframes"], scores["sparse"]) == (7, 2, 5, True)
    assert "Labels are sparse" in called("evaluate", str(folder), "--weights", str(weights)).stdout


def test_frames_that_do_not_match_are_missing(scored: Callable[..., dict[str, Any]], folder: Path) -> None:
    for arguments in ((folder,), ("--images", folder / "images", "--labels", folder / "labels")):
        scores = scored(*arguments, "--only", "drive_[0156]")
        assert (scores["frames"], scores["without_predecessor"], scores["keyframes"]) == (4, 2, 2)


def test_no_frame_that_matches_is_a_mistake_of_usage(called: Call, folder: Path, weights: Path) -> None:
    done = called("evaluate", str(folder), "--only", "night*", "--weights", str(weights))
    assert done.returncode == 2 and "night*" in done.stderr


def test_images_of_any_names_are_one_clip(scored: Callable[..., dict[str, Any]], folder: Path) -> None:
    for number in range(7):
        for part in ("images", "labels"):
            (folder / part / f"drive_{number}.png").rename(folder / part / f"{number * 30}_{'x' * (number % 2)}.png")
    scores = scored("--images", folder / "images", "--labels", folder / "labels")
    assert scores["labelled_by_distance"] == {"0": 2, "1": 2, "2": 1, "3": 1, "4": 1}
    assert (scores["dataset"], scores["labels"]) == (str(folder / "images"), str(folder / "labels"))
    assert scored(folder)["labelled_by_distance"] == {"0": 7}  # seven stills


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected either DATASET, or --images and --labels"),
        (("{}", "--images", "{}/images", "--labels", "{}/labels"), "expected either DATASET"),
        (("{}", "--labels", "{}/labels"), "expected either DATASET"),
        (("--images", "{}/images"), "expected either DATASET"),
        (("--images", "{}/images", "--labels", "{}/labels", "--split", "val"), "--kind and --split describe DATASET"),
        (("{}", "--disturb", "nigth"), "unknown disturbance 'nigth'; did you mean 'night'?"),
        (("{}", "--kind", "kitti"), "'kitti'"),
        (("{}/gone",), "gone"),
    ],
)
def test_mistakes_of_usage(called: Call, folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = called("evaluate", *(argument.format(folder) for argument in arguments))
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_published_layouts_are_told_apart_and_their_val_is_taken(
    scored: Callable[..., dict[str, Any]], tmp_path: Path, weights: Path, cityscapes_weights: Path
) -> None:
    city = tmp_path / "city"
    for number in range(17, 21):
        frame = city / "leftImg8bit_sequence" / "val" / "ulm" / f"ulm_000000_{number:06d}_leftImg8bit.png"
        write_pixels(frame, picture(number))
    write_ids(city / "gtFine" / "val" / "ulm" / "ulm_000000_000019_gtFine_labelTrainIds.png", 3, SIZE)
    scores = scored(city, using=cityscapes_weights)
    assert (scores["kind"], scores["split"], scores["sparse"]) == ("cityscapes", "val", True)
    assert scores["labelled_by_distance"] == {"0": 1, "1": 1, "2": 1}

    camvid = tmp_path / "camvid"
    write_pixels(camvid / "0001TP" / "0001TP_000001.png", picture(0))
    write_ids(camvid / "gt" / "0001TP_006690_L.png", 2, SIZE)
    write_lines(camvid / "test.txt", "0001TP_006690")
    write_lines(camvid / "id2id.txt", "0001TP_006690 0001TP_000001")
    scores = scored(camvid, "--split", "test")
    assert (scores["kind"], scores["split"], scores["labelled_by_distance"]) == ("camvid", "test", {"0": 1})

    inside = tmp_path / "own" / "day"
    write_pixels(inside / "images" / "a.png", picture(0))
    write_ids(inside / "labels" / "a.png", 0, SIZE)
    scores = scored(inside.parent, "--split", "day")
    assert (scores["kind"], scores["split"]) == ("folder", "day")


def assert_one_line(done: CompletedProcess[str], said: str) -> None:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("dcfm: ") and said in line


def test_weights_of_other_classes_are_refused(
    called: Call, tmp_path: Path, folder: Path, weights: Path, cityscapes_weights: Path
) -> None:
    vspw = tmp_path / "vspw"
    write_pixels(vspw / "data" / "clip" / "origin" / "00000001.jpg", picture(0))
    write_ids(vspw / "data" / "clip" / "mask" / "00000001.png", 1, SIZE)
    write_lines(vspw / "val.txt", "clip")
    done = called("evaluate", str(vspw), "--weights", str(weights))
    assert_one_line(done, f"camvid_mitb0 tell 11 classes apart, but {vspw} has 124")
    (folder / "classes.yaml").write_text("- {name: road, color: [1, 2, 3]}\n")
    assert_one_line(called("evaluate", str(folder), "--weights", str(weights)), "11 classes apart")

    names = ["sky", "road", *(name for name in CAMVID.names if name not in ("sky", "road"))]
    (folder / "classes.yaml").write_text("".join(f"- {{name: {name}, color: [1, 2, 3]}}\n" for name in names))
    done = called("evaluate", str(folder), "--weights", str(weights))
    assert_one_line(
        done, f"camvid_mitb0 and {folder} have different classes: class 1 is 'building' in the first, 'road'"
    )


def test_what_is_no_data_set_or_several_is_said(called: Call, tmp_path: Path, folder: Path, weights: Path) -> None:
    done = called("evaluate", str(tmp_path), "--weights", str(weights))
    assert_one_line(done, "expected leftImg8bit/ or leftImg8bit_sequence/ (cityscapes)")
    (folder / "id2id.txt").touch()
    assert_one_line(called("evaluate", str(folder), "--weights", str(weights)), "looks like camvid and folder")
    assert called("evaluate", str(folder), "--kind", "folder", "--weights", str(weights)).returncode == 0


def test_a_label_that_is_none_of_the_classes_is_named(called: Call, folder: Path, weights: Path) -> None:
    write_ids(folder / "labels" / "drive_3.png", 11, SIZE)
    for arguments in ([folder], ["--images", folder / "images", "--labels", folder / "labels"]):
        done = called("evaluate", *map(str, arguments), "--weights", str(weights))
        assert_one_line(done, "drive_3.png holds the label 11; expected 0 to 10, or 255")


def test_folders_without_an_image_or_a_label_are_refused(
    called: Call, tmp_path: Path, folder: Path, weights: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for images, labels, said in (("empty", "data set/labels", "no image"), ("data set/images", "empty", "no label")):
        arguments = ("--images", str(tmp_path / images), "--labels", str(tmp_path / labels))
        assert_one_line(called("evaluate", *arguments, "--weights", str(weights)), said)


def test_one_disturbance_is_evaluated_alone(
    scored: Callable[..., dict[str, Any]], called: Call, folder: Path, weights: Path
) -> None:
    scores = scored(folder, "--mode", "full", "--disturb", "night")
    for number in range(7):
        write_pixels(folder / "images" / f"drive_{number}.png", DISTURBANCES["night"](picture(number)))
    assert scores["mIoU"] == scored(folder, "--mode", "full")["mIoU"]
    assert (scores["disturb"], scores["disturbed"]) == ("night", {"night": scores["mIoU"]})
    shown = called("evaluate", str(folder), "--weights", str(weights), "--disturb", "fog").stdout
    assert "disturbed: fog" in shown and "undisturbed" not in shown


def test_several_disturbances_stand_beside_the_undisturbed(
    scored: Callable[..., dict[str, Any]], called: Call, folder: Path, weights: Path
) -> None:
    for path in (folder / "images").glob("drive_[3-6].png"):
        path.unlink()
        (folder / "labels" / path.name).unlink()
    plain, dark = scored(folder), scored(folder, "--disturb", "dark")
    scores = scored(folder, "--disturb", "all")
    assert list(scores["disturbed"]) == list(DISTURBANCES)
    assert (scores["mIoU"], scores["disturbed"]["dark"]) == (plain["mIoU"], dark["mIoU"])
    assert scores["disturb"] is None
    shown = called("evaluate", str(folder), "--weights", str(weights), "--disturb", "jpeg,dark").stdout
    rows = [line.split("│")[1:-1] for line in shown.splitlines() if line.startswith("│")]
    means = {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}
    assert means["undisturbed"] == f"{plain['mIoU']:.3f}" and means["dark"] == f"{dark['mIoU']:.3f}"
    assert list(means) == ["undisturbed", "jpeg", "dark"]


def test_stray_labels_are_counted_at_the_end(called: Call, tmp_path: Path) -> None:
    for number in (1, 2):
        write_pixels(tmp_path / "data" / "clip" / "origin" / f"{number:08d}.jpg", picture(number))
        strays = np.array([[252] * 3 + [126] * (number - 1)], np.uint8)
        write_pixels(tmp_path / "data" / "clip" / "mask" / f"{number:08d}.png", np.resize(strays, SIZE))
    write_lines(tmp_path / "val.txt", "clip")
    arguments = ("--weights", str(_weights(tmp_path, "vspw")), "--disturb", "dark,fog")
    shown = " ".join(called("evaluate", str(tmp_path), *arguments).stdout.split())
    # Three runs read the masks of 2048 pixels: all of the first and three in four of the second are 252.
    assert "the data set should not have were ignored: 126 in 512 pixels, 252 in 3584 pixels." in shown


def test_the_folder_of_the_scores_is_made(called: Call, tmp_path: Path, folder: Path, weights: Path) -> None:
    file = tmp_path / "missing" / "too" / "scores.json"
    done = called("evaluate", str(folder), "--weights", str(weights), "--json", str(file))
    assert done.returncode == 0 and "7 labelled of 7 frames" in done.stdout
    assert json.loads(file.read_text())["frames"] == 7
    assert list(file.parent.iterdir()) == [file]


def test_scores_that_cannot_be_written_are_refused_before_the_run(
    called: Call, tmp_path: Path, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("dcfm_ros.cli.evaluate.evaluate", lambda *arguments: pytest.fail("it ran"))
    file = tmp_path / "file" / "scores.json"
    done = called("evaluate", str(folder), "--weights", str(weights), "--json", str(file))
    assert_one_line(done, f"{file} cannot be written (File exists); expected a folder to write in")


def test_scores_are_shown_before_they_are_written(called: Call, tmp_path: Path, folder: Path, weights: Path) -> None:
    file = tmp_path / "scores.json"
    (tmp_path / "scores.json.partial").mkdir()  # what is in the way
    done = called("evaluate", str(folder), "--weights", str(weights), "--json", str(file))
    assert_one_line(done, "scores.json.partial")
    assert "7 labelled of 7 frames" in done.stdout


def test_every_frame_is_a_keyframe_in_the_mode_full(scored: Callable[..., dict[str, Any]], folder: Path) -> None:
    scores = scored(folder, "--mode", "full", "--keyframe-interval", "3")
    assert (scores["options"]["mode"], scores["keyframes"]) == ("full", 7)


def test_scores_replace_older_ones_or_leave_them(called: Call, tmp_path: Path, folder: Path, weights: Path) -> None:
    file = tmp_path / "scores.json"
    file.write_text("older")
    shutil.rmtree(folder / "labels")
    done = called("evaluate", str(folder), "--weights", str(weights), "--json", str(file))
    assert done.returncode == 1 and file.read_text() == "older"

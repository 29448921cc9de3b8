"""What a run is validated on: held-out stems, the val split of a published data set, or some of those frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import write_ids, write_lines, write_pixels
from labelled_folders import street_like, write_folder

from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.model import DCFM, create_model
from dcfm_ros.training.recipe import Recipe, SourceRecipe, load_recipe
from dcfm_ros.training.validation import validate, validation_frames

RECIPES = Path(__file__).parents[2] / "config" / "train"


@pytest.fixture(scope="module")
def model() -> DCFM:
    model = create_model("camvid_mitb0")
    return DCFM(replace(model.config, input_size=(64, 96))).eval()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_folder(root / "street" / "train", street_like(6))
    write_folder(root / "street" / "val", street_like(10), "v{:03d}")
    return root


def recipe_of(data: Path, validate_frames: int = 0, **source: Any) -> Recipe:
    sources = (SourceRecipe("street", 1.0, split="train", **source),)
    return Recipe(sources, data_root=str(data), validate_frames=validate_frames)


def stems(model: DCFM, recipe: Recipe) -> list[str]:
    return [frame.clip.frames[frame.at].stem for frame in validation_frames(model, recipe)]


def test_nothing_is_validated_on_unless_the_recipe_says_so(model: DCFM, data: Path) -> None:
    assert stems(model, recipe_of(data)) == []


def test_held_out_frames_and_the_validation_split_are_validated_on(model: DCFM, data: Path) -> None:
    held_out, split = ["f004", "f005"], [f"v{number:03d}" for number in range(10)]
    assert stems(model, recipe_of(data, hold_out="f00[45]")) == held_out
    assert stems(model, recipe_of(data, validate_split="val")) == split
    assert stems(model, recipe_of(data, hold_out="f00[45]", validate_split="val")) == held_out + split


@pytest.mark.parametrize(
    ("count", "numbers"), [(1, [5]), (2, [2, 7]), (5, [1, 3, 5, 7, 9]), (10, range(10)), (99, range(10))]
)
def test_some_frames_are_spread_evenly_over_all(model: DCFM, data: Path, count: int, numbers: list[int]) -> None:
    assert stems(model, recipe_of(data, count, validate_split="val")) == [f"v{number:03d}" for number in numbers]


def test_a_split_that_cannot_be_validated_on_is_refused_at_once(model: DCFM, data: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere"):
        validation_frames(model, recipe_of(data, validate_split="nowhere"))
    with pytest.raises(ValueError, match="street is trained and validated on 'train'; expected two different splits"):
        recipe_of(data, validate_split="train")


def test_a_pattern_that_holds_nothing_out_is_refused(model: DCFM, data: Path) -> None:
    with pytest.raises(ValueError, match=r"street: hold_out='8' matches no frame with a label; .* stems like f000"):
        stems(model, recipe_of(data, hold_out="8"))


def test_the_score_counts_every_labelled_pixel_at_the_labels_size(model: DCFM, data: Path) -> None:
    frames = validation_frames(model, recipe_of(data, 2, validate_split="val"))
    with pytest.MonkeyPatch.context() as patch:
        seen: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        kind = "dcfm_ros.evaluation.metrics.SegmentationScore.update"
        patch.setattr(kind, lambda self, ids, label: seen.append((tuple(ids.shape), label.shape)))
        validate(model, frames)
    assert seen == [((64, 96), (64, 96))] * 2


# The published data sets


def write_published(root: Path) -> None:
    """A few tiny frames of each data set, as its recipe wants it."""
    for split, clip in (("train", "c1"), ("val", "c2")):
        write_lines(root / "VSPW_480p" / f"{split}.txt", clip)
        for number in (1, 2):
            write_pixels(root / "VSPW_480p" / "data" / clip / "origin" / f"{number:08d}.jpg")
            write_ids(root / "VSPW_480p" / "data" / clip / "mask" / f"{number:08d}.png", number)
    for split, frames in (("train", (18, 19, 20)), ("val", (19,))):
        for frame in frames:
            name = f"{split}ville_000000_{frame:06d}"
            write_pixels(root / f"cityscapes/leftImg8bit_sequence/{split}/{split}ville/{name}_leftImg8bit.png")
        name = f"{split}ville_000000_000019"
        write_ids(root / f"cityscapes/gtFine/{split}/{split}ville/{name}_gtFine_labelTrainIds.png")
    camvid = root / "camvid"
    write_lines(camvid / "id2id.txt", "0001TP_006690 0001TP_000002", "0016E5_00390 0016E5_000002")
    for split, label in (("train", "0001TP_006690"), ("val", "0016E5_00390")):
        write_lines(camvid / f"{split}.txt", label)
        write_ids(camvid / "gt" / f"{label}_L.png")
        sequence = label.partition("_")[0]
        for number in (1, 2, 3):
            write_pixels(camvid / sequence / f"{sequence}_{number:06d}.png")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vspw_mitb2", ["00000001", "00000002"]),
        ("vspw_mitb5", ["00000001", "00000002"]),
        ("cityscapes_mitb1", ["valville_000000_000019_leftImg8bit"]),
        ("cityscapes_resnet18", ["valville_000000_000019_leftImg8bit"]),
        ("cityscapes_resnet50", ["valville_000000_000019_leftImg8bit"]),
        ("cityscapes_resnet101", ["valville_000000_000019_leftImg8bit"]),
        ("camvid_resnet50", ["0016E5_000002"]),
    ],
)
def test_published_recipes_validate_on_the_val_split(name: str, expected: list[str], tmp_path: Path) -> None:
    write_published(tmp_path)
    recipe = load_recipe(RECIPES / f"{name}.yaml", [f"data_root={tmp_path}"])
    # Only the classes of the model matter here: one with that many is enough, and small.
    small = create_model({"vspw": "vspw_mitb2", "city": "cityscapes_resnet18"}.get(name[:4], "camvid_mitb0"))
    frames = validation_frames(small, recipe)
    assert [frame.clip.frames[frame.at].stem for frame in frames] == expected
    image, label = frames[0].dataset.read(frames[0].clip, frames[0].at)
    assert image.shape[:2] == (4, 6) and label is not None and np.unique(label).size == 1

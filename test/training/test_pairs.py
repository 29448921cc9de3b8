"""Pairs for training: the same each time, labels that stay labels, one geometry for both frames of a clip."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_folders import street_like, write_folder

from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.datasets.folder import FolderDataset
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.model import ModelConfig, model_config
from dcfm_ros.training.augmentation import Augmentation, with_a_fault
from dcfm_ros.training.pairs import Pair, PairDataset
from dcfm_ros.training.sources import Direction, Source, class_frequencies

SIZE = (64, 96)
CONFIG = replace(model_config("camvid_resnet18"), input_size=SIZE)
PLAIN = Augmentation(crop=SIZE, scale=(1, 1), rotation=0, colour=0, focus=0)


def source(
    root: Path, max_distance: int = 0, hold_out: str = "", config: ModelConfig = CONFIG, direction: Direction = "both"
) -> Source:
    return Source(FolderDataset(root, labels=CAMVID), config, max_distance, hold_out, direction)


def dataset(sources: Sequence[Source], augmentation: Augmentation, seed: int = 1, length: int = 40) -> PairDataset:
    return PairDataset(sources, [1.0] * len(sources), CONFIG, augmentation, length, seed)


def pixels(image: torch.Tensor) -> np.ndarray:
    """The picture that the network is shown, (H, W, 3) in 0..255."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (CONFIG.mean, CONFIG.std))
    return ((image * std + mean) * 255).permute(1, 2, 0).numpy()


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("street"), street_like(6))


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames, frame i all of the grey 20 * i and the class i % 11: a pair tells which frames it is made of."""
    frames = [(np.full((*SIZE, 3), 20 * i, np.uint8), np.full(SIZE, i % 11, np.uint8)) for i in range(12)]
    return write_folder(tmp_path_factory.mktemp("numbered"), frames)


def numbers(pair: Pair) -> tuple[int, int]:
    """Which frames of `numbered` a pair is made of, from the middle of its pictures."""
    labelled, neighbour = (round(pixels(image)[32, 48, 0] / 20) for image in pair[:2])
    assert pair[2][32, 48] == labelled % 11
    return labelled, neighbour


# The same each time


def test_a_pair_is_fixed_by_seed_and_index(street: Path) -> None:
    augmentation = Augmentation(crop=(48, 64))
    first, again = (dataset([source(street), source(street, 2)], augmentation) for _ in range(2))
    for index in (7, 0, 3):  # in any order
        assert all(torch.equal(a, b) for a, b in zip(first[index][:4], again[index][:4], strict=True))


def test_another_index_or_seed_gives_another_pair(street: Path) -> None:
    augmentation = Augmentation(crop=(48, 64))
    pairs, others = (dataset([source(street)], augmentation, seed) for seed in (1, 2))
    assert not torch.equal(pairs[0][0], pairs[1][0])
    assert not torch.equal(pairs[0][0], others[0][0])


def test_a_dataset_has_a_length_and_an_end(street: Path) -> None:
    pairs = dataset([source(street)], PLAIN, length=3)
    assert len(pairs) == len(list(pairs)) == 3
    for index in (3, -1):
        with pytest.raises(IndexError):
            pairs[index]


def test_shapes_and_types(street: Path) -> None:
    labelled, neighbour, target, neighbour_target, grids = dataset([source(street)], Augmentation(crop=(40, 72)))[0]
    assert labelled.shape == neighbour.shape == (3, 40, 72)
    assert target.shape == neighbour_target.shape == (40, 72)
    assert labelled.dtype == neighbour.dtype == torch.float32
    assert target.dtype == neighbour_target.dtype == torch.int64
    assert grids is None


# Labels


def test_no_label_is_invented(street: Path) -> None:
    pairs = dataset([source(street)], Augmentation(crop=(48, 64), scale=(0.3, 3), rotation=45))
    seen = set(torch.cat([pairs[index][2].unique() for index in range(40)]).tolist())
    assert seen == {0, 3, 8, 255}


@pytest.mark.parametrize("frame", ["labelled", "neighbour"])
def test_labels_lie_on_the_pixels_that_they_were_drawn_on(street: Path, frame: str) -> None:
    """Whatever the geometry and the motion, red is car, blue is sky, grey is road."""
    augmentation = Augmentation(crop=(48, 64), scale=(0.5, 2), rotation=30, colour=0, focus=0.5)
    pairs = dataset([source(street), source(street, 2)], augmentation)
    wrong = total = 0
    for index in range(40):
        pair = pairs[index]
        image, target = (pair.labelled, pair.target) if frame == "labelled" else (pair.neighbour, pair.neighbour_target)
        red, _, blue = np.moveaxis(pixels(image), 2, 0)
        looks_like = np.where(red - blue > 80, 8, np.where(blue - red > 60, 0, 3))
        known = target.numpy() != 255
        wrong += (looks_like != target.numpy())[known].sum()
        total += known.sum()
    assert wrong / total < 0.03  # the blend along the borders


def test_what_lies_outside_the_picture_is_unlabelled_and_of_the_mean_colour(street: Path) -> None:
    shrunk = replace(PLAIN, scale=(0.5, 0.5), crop=(96, 144))
    labelled, _, target, *_ = dataset([source(street)], shrunk)[0]
    assert (target[:30] == 255).all() and (target[:, :45] == 255).all()
    assert labelled[:, :30].abs().max() < 0.02


def test_focus_brings_rare_classes_into_the_crop(tmp_path: Path) -> None:
    label = np.zeros((256, 384), np.uint8)
    label[200:204, 300:304] = 9
    root = write_folder(tmp_path, [(np.zeros((256, 384, 3), np.uint8), label)])
    config = replace(CONFIG, input_size=(256, 384))
    share = {}
    for focus in (0.0, 1.0):
        augmentation = replace(PLAIN, crop=(32, 32), focus=focus)
        pairs = dataset([source(root, config=config)], augmentation)
        share[focus] = np.mean([(pairs[index][2] == 9).any().item() for index in range(40)])
    assert share[0.0] < 0.2 < 0.35 < share[1.0]


# Neighbours


@pytest.mark.parametrize("max_distance", [1, 3, 5])
def test_a_neighbour_is_another_frame_close_by(numbered: Path, max_distance: int) -> None:
    pairs = dataset([source(numbered, max_distance)], PLAIN, length=300)
    drawn = [numbers(pairs[index]) for index in range(300)]
    assert {labelled for labelled, _ in drawn} == set(range(12))
    distances = {neighbour - labelled for labelled, neighbour in drawn}
    assert distances == {*range(-max_distance, 0), *range(1, max_distance + 1)}


@pytest.mark.parametrize(("direction", "sides"), [("both", (-1, 1)), ("past", (-1,))])
def test_every_distance_is_drawn_as_often(numbered: Path, direction: Direction, sides: tuple[int, ...]) -> None:
    """Where the clip goes on far enough on both sides."""
    pairs = dataset([source(numbered, 3, direction=direction)], PLAIN, length=1200)
    drawn = [numbers(pairs[index]) for index in range(1200)]
    apart = [neighbour - labelled for labelled, neighbour in drawn if 3 <= labelled <= 8]
    expected = {side * distance for side in sides for distance in (1, 2, 3)}
    assert set(apart) == expected
    counts = np.array([apart.count(offset) for offset in expected])
    even = len(apart) / len(expected)
    assert ((counts - even) ** 2 / even).sum() < 15  # chi squared, at most five degrees of freedom: 1 of 100 is above


@pytest.mark.parametrize("hold_out", ["", "f00[4-6]"])
def test_neighbours_of_the_past_lie_before_their_frame(numbered: Path, hold_out: str) -> None:
    pairs = dataset([source(numbered, 4, hold_out, direction="past")], PLAIN, length=200)
    drawn = [numbers(pairs[index]) for index in range(200)]
    assert {labelled for labelled, neighbour in drawn if neighbour > labelled} == {0}  # there, nothing is before it
    assert all(neighbour == 1 for labelled, neighbour in drawn if labelled == 0)
    assert not {number for pair in drawn for number in pair} & ({4, 5, 6} if hold_out else set())
    assert all(labelled - neighbour <= 4 for labelled, neighbour in drawn)


def test_a_neighbour_without_a_label_has_none(tmp_path: Path) -> None:
    root = write_folder(tmp_path, street_like(2))
    (root / "labels" / "f001.png").unlink()
    pairs = dataset([source(root, 1)], PLAIN)
    assert all((pair.neighbour_target == 255).all() and (pair.target != 255).any() for pair in pairs)


def test_the_direction_changes_nothing_but_the_neighbour(street: Path) -> None:
    augmentation = Augmentation(crop=(48, 64))
    both, past = (dataset([source(street, 3, direction=direction)], augmentation) for direction in ("both", "past"))
    for index in range(20):
        assert torch.equal(both[index][0], past[index][0])
        assert torch.equal(both[index][2], past[index][2])


def test_an_unknown_direction_and_a_negative_distance_are_refused(numbered: Path) -> None:
    with pytest.raises(ValueError, match="direction is 'future'; expected one of both, past"):
        source(numbered, 2, direction="future")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_distance is -1; expected at least 0"):
        source(numbered, -1)


def test_frames_that_are_held_out_are_never_drawn(numbered: Path) -> None:
    pairs = dataset([source(numbered, 2, "f00[4-6]")], PLAIN, length=200)
    drawn = {number for index in range(200) for number in numbers(pairs[index])}
    assert drawn == set(range(12)) - {4, 5, 6}


def test_frames_on_both_sides_of_what_is_held_out_are_not_neighbours(numbered: Path) -> None:
    pairs = dataset([source(numbered, 2, "f00[4-6]")], PLAIN, length=200)
    distances = [abs(a - b) for a, b in (numbers(pairs[index]) for index in range(200))]
    assert set(distances) == {1, 2}


def test_a_frame_without_a_neighbour_is_seen_again_by_a_camera_that_moved(coordinates: Path) -> None:
    """As a still is; the only other frame is held out."""
    alone = dataset([source(coordinates, 1, "f001")], STRONG)
    shifts = [shift(alone[index]) for index in range(10)]
    assert min(values.max() for values in shifts) > 0.2
    unmoved = dataset([source(coordinates, 1, "f001")], replace(STRONG, motion=0))
    for index in range(10):
        assert shift(unmoved[index]).max() < 0.01
        assert torch.equal(unmoved[index].labelled, alone[index].labelled)
        assert torch.equal(unmoved[index].target, alone[index].target)


def test_other_pairs_know_nothing_of_the_motion_of_those_without_a_neighbour(numbered: Path) -> None:
    """Of frames 0, 2, ... 10 and 11 only the last two are neighbours."""
    moved, unmoved = (
        dataset([source(numbered, 1, "f00[13579]")], replace(PLAIN, motion=motion), length=60) for motion in (3, 0)
    )
    drawn = [numbers(pair) for pair in moved]
    assert all(abs(a - b) == (1 if {a, b} == {10, 11} else 0) for a, b in drawn)
    assert any(a != b for a, b in drawn)
    for (a, b), pair, other in zip(drawn, moved, unmoved, strict=True):
        if a != b:
            assert all(torch.equal(one, another) for one, another in zip(pair[:4], other[:4], strict=True))


def test_the_share_of_frames_without_a_neighbour_is_told_once(numbered: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        pairs = dataset([source(numbered, 1, "f00[13579]")], PLAIN, length=5)
        assert len(list(pairs)) == 5
    assert [message for message in caplog.messages if "neighbour" in message] == [
        f"{numbered}: 5 of 7 labelled frames (71.4 %) have no neighbour within max_distance=1; theirs is the same "
        "picture seen by a camera that moved"
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        source(numbered, 1)
        source(numbered)
    assert not [message for message in caplog.messages if "neighbour" in message]


def test_a_neighbour_of_another_size_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path, [*street_like(1), *street_like(1, (64, 128))])
    pairs = dataset([source(root, 1)], PLAIN)
    with pytest.raises(DatasetError) as caught:
        pairs[0]
    said = str(caught.value)
    assert str(root / "images" / "f000.png") in said and str(root / "images" / "f001.png") in said
    assert "96x64" in said and "expected one size in a clip" in said
    assert len(list(dataset([source(root)], PLAIN, length=4))) == 4  # as stills they are good


def test_where_no_frame_is_as_far_away_as_was_drawn_a_closer_one_is_taken(numbered: Path) -> None:
    pairs = dataset([source(numbered, 8, "f00[2-9]")], PLAIN, length=60)
    drawn = {numbers(pairs[index]) for index in range(60)}
    assert drawn == {(0, 1), (1, 0), (10, 11), (11, 10)}


def test_holding_everything_out_is_refused(numbered: Path) -> None:
    with pytest.raises(ValueError, match="leaves no frame to train on"):
        source(numbered, hold_out="f*")


# Geometry


@pytest.fixture(scope="module")
def coordinates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames whose colour says where a pixel was: red its row, green its column."""
    rows, columns = np.mgrid[0:64, 0:96]
    image = np.stack([rows * 3, columns * 2, np.full(SIZE, 128)], axis=2).astype(np.uint8)
    return write_folder(tmp_path_factory.mktemp("coordinates"), [(image, np.full(SIZE, 3, np.uint8))] * 3)


def shift(pair: Pair) -> np.ndarray:
    """How far apart the same pixel of both pictures was before, in pixels, where both are inside."""
    labelled, neighbour = (pixels(image) for image in pair[:2])
    inside = (pair[2].numpy() != 255) & (abs(labelled[..., 2] - 128) < 1) & (abs(neighbour[..., 2] - 128) < 1)
    apart = (labelled - neighbour)[inside] / (3, 2, 1)
    return np.hypot(apart[:, 0], apart[:, 1])


STRONG = Augmentation(crop=(48, 64), scale=(0.8, 1.5), rotation=20, colour=0)


def test_both_frames_of_a_clip_are_moved_alike(coordinates: Path) -> None:
    pairs = dataset([source(coordinates, max_distance=2)], STRONG)
    for index in range(10):
        assert shift(pairs[index]).max() < 0.01


def test_a_still_is_seen_again_by_a_camera_that_moved_a_little(coordinates: Path) -> None:
    pairs = dataset([source(coordinates)], STRONG)
    shifts = [shift(pairs[index]) for index in range(10)]
    assert min(values.max() for values in shifts) > 0.2
    assert max(np.median(values) for values in shifts) < 8


def test_crops_differ_in_place_scale_and_flip(coordinates: Path) -> None:
    pairs = dataset([source(coordinates)], replace(PLAIN, crop=(32, 48), scale=(1, 1.5)))
    slopes, corners = set(), set()
    for index in range(20):
        picture = pixels(pairs[index][0])
        slopes.add(np.sign(picture[16, 40, 1] - picture[16, 8, 1]))
        corners.add(tuple(picture[16, 24, :2].round()))
    assert slopes == {-1, 1}
    assert len(corners) > 15


def test_colours_of_the_two_frames_are_drawn_apart(numbered: Path) -> None:
    pairs = dataset([source(numbered)], replace(PLAIN, colour=0.3))
    apart = [abs(pixels(pair[0]).mean() - pixels(pair[1]).mean()) for pair in pairs]
    assert np.median(apart) > 2


def test_sources_are_drawn_by_their_shares(numbered: Path, street: Path) -> None:
    sources = [source(numbered), source(street)]
    pairs = PairDataset(sources, [3, 1], CONFIG, PLAIN, 200, 1)
    # A frame of `numbered` is of one colour.
    flat = np.mean([pixels(pair[0])[20:40, 20:80].std() < 3 for pair in pairs])
    assert 0.65 < flat < 0.85


# How much there is of each class


def test_class_frequencies_weigh_sources_by_their_shares(tmp_path: Path) -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    halves = np.zeros(SIZE, np.uint8)
    halves[:, 48:] = 1
    unlabelled = np.full(SIZE, 255, np.uint8)
    unlabelled[:4] = 2
    one = source(write_folder(tmp_path / "one", [(image, halves)] * 3))
    two = source(write_folder(tmp_path / "two", [(image, unlabelled)]))
    np.testing.assert_allclose(class_frequencies([one, two], [3.0, 1.0], 4), [0.375, 0.375, 0.25, 0])


def test_a_source_without_a_label_counts_nothing(tmp_path: Path, street: Path) -> None:
    image, nothing = np.zeros((*SIZE, 3), np.uint8), np.full(SIZE, 255, np.uint8)
    empty = source(write_folder(tmp_path, [(image, nothing)]))
    expected = class_frequencies([source(street)], [1.0], 11)
    np.testing.assert_allclose(class_frequencies([source(street), empty], [1.0, 5.0], 11), expected)
    with pytest.raises(ValueError, match="no frame of any source has a labelled pixel"):
        class_frequencies([empty], [1.0], 11)


def test_pictures_are_cut_at_the_networks_size_or_their_own(tmp_path: Path) -> None:
    root = write_folder(tmp_path, street_like(2, size=(128, 192)))
    sizes = {
        picture: Source(FolderDataset(root, labels=CAMVID), CONFIG, 0, picture=picture).labelled(0)[0].shape[:2]
        for picture in ("network", "source")
    }
    assert sizes == {"network": SIZE, "source": (128, 192)}
    with pytest.raises(ValueError, match="picture is 'small'; expected one of network, source"):
        Source(FolderDataset(root, labels=CAMVID), CONFIG, 0, picture="small")  # type: ignore[arg-type]


def test_the_neighbours_colours_can_be_left_as_they_are(numbered: Path) -> None:
    jitter = replace(PLAIN, colour=0.5, colour_neighbour=False)
    pairs = dataset([source(numbered, 1)], jitter, length=40)
    greys = [pixels(pairs[index][1])[32, 48, 0] for index in range(40)]
    assert all(abs(grey / 20 - round(grey / 20)) < 0.06 for grey in greys)  # frame i is the grey 20 * i
    shown = [pixels(pairs[index][0])[32, 48, 0] for index in range(40)]
    assert any(abs(grey / 20 - round(grey / 20)) > 0.2 for grey in shown)


# Faults


def test_faults_change_pictures_alone_and_each_frame_apart(street: Path) -> None:
    augmentation = Augmentation(crop=(48, 64))
    clean = dataset([source(street, 2), source(street)], augmentation)
    faulty = dataset([source(street, 2), source(street)], replace(augmentation, faults=0.5))
    changed = np.zeros((2, 2), int)
    for before, after in zip(clean, faulty, strict=True):
        assert torch.equal(before.target, after.target)
        assert torch.equal(before.neighbour_target, after.neighbour_target)
        one, other = (not torch.equal(getattr(before, name), getattr(after, name)) for name in Pair._fields[:2])
        changed[int(one), int(other)] += 1
    assert (changed > 2).all()  # of 40 pairs: neither, either, both


@pytest.mark.parametrize("faults", [-0.1, 1.5])
def test_faults_are_a_probability(faults: float) -> None:
    with pytest.raises(ValueError, match=f"faults is {faults}; expected 0 to 1"):
        Augmentation(crop=(48, 64), faults=faults)


def test_a_picture_with_a_fault_is_still_that_picture() -> None:
    """Whichever fault is drawn, shades keep their order on average."""
    picture = np.repeat(np.linspace(20, 235, 96).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    seen = {with_a_fault(picture, np.random.default_rng(seed)).tobytes() for seed in range(60)}
    assert len(seen) > 30
    for pixels in seen:
        columns = np.frombuffer(pixels, np.uint8).reshape(picture.shape).mean((0, 2))
        assert np.corrcoef(columns, picture[0, :, 0])[0, 1] > 0.85

"""The neighbour of a still: the same picture after a few frames of driving, with things that move."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from labelled_folders import street_like, write_folder

from dcfm_ros.datasets.folder import FolderDataset
from dcfm_ros.imaging.labels import CAMVID, CITYSCAPES
from dcfm_ros.model import model_config
from dcfm_ros.training.augmentation import Augmentation
from dcfm_ros.training.motion import seen_again, thing_ids
from dcfm_ros.training.pairs import PairDataset
from dcfm_ros.training.sources import Source

SIZE = (64, 96)
CONFIG = replace(model_config("camvid_resnet18"), input_size=SIZE)
VARIED = Augmentation(crop=(48, 64), scale=(0.5, 1.5), rotation=20)
CAR = 8


def pairs_of(
    root: Path, augmentation: Augmentation, seed: int = 1, length: int = 30, hold_out: str = ""
) -> PairDataset:
    source = Source(FolderDataset(root, labels=CAMVID), CONFIG, 0, hold_out)
    return PairDataset([source], [1.0], CONFIG, augmentation, length, seed)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("street"), street_like(6))


@pytest.mark.parametrize("motion", [1.0, 4.0])
def test_the_labelled_frame_and_its_target_know_nothing_of_the_motion(street: Path, motion: float) -> None:
    still, moved = (pairs_of(street, replace(VARIED, motion=value)) for value in (0.0, motion))
    for index in range(30):
        assert torch.equal(still[index][0], moved[index][0])
        assert torch.equal(still[index][2], moved[index][2])
        assert not torch.equal(still[index][1], moved[index][1])


def test_without_motion_the_neighbour_is_the_frame_itself(street: Path) -> None:
    for labelled, neighbour, target, neighbour_target, _ in pairs_of(street, replace(VARIED, motion=0, colour=0)):
        assert torch.equal(labelled, neighbour)
        assert torch.equal(target, neighbour_target)


def test_a_pair_is_a_function_of_seed_and_index_alone(street: Path) -> None:
    """Not of what was drawn before, nor of how many pairs there are."""
    expected = list(pairs_of(street, VARIED))
    again = pairs_of(street, VARIED, length=1000)
    for index in (29, 0, 13, 29):
        for one, other in zip(expected[index][:4], again[index][:4], strict=True):
            assert torch.equal(one, other)
    neighbours = [pair[1] for pair in expected]
    assert not any(torch.equal(one, other) for one, other in pairwise(neighbours))
    assert not torch.equal(neighbours[0], pairs_of(street, VARIED, seed=2)[0][1])


def test_nothing_of_a_held_out_still_is_drawn(tmp_path: Path) -> None:
    """Frame i is all of the grey 20 * i, whatever moves."""
    frames = [(np.full((*SIZE, 3), 20 * i, np.uint8), np.full(SIZE, i % 11, np.uint8)) for i in range(12)]
    root = write_folder(tmp_path, frames)
    inside = Augmentation(crop=(16, 16), scale=(1, 1), rotation=0, colour=0)
    pairs = pairs_of(root, inside, length=150, hold_out="f00[4-6]")
    mean, std = (torch.tensor(values)[:, None, None] for values in (CONFIG.mean, CONFIG.std))
    drawn = set()
    for labelled, neighbour, target, neighbour_target, _ in pairs:
        greys = {
            round(value / 20)
            for image in (labelled, neighbour)
            for value in (255 * (image * std + mean))[:, 4:12, 4:12].unique().tolist()
        }
        assert len(greys) == 1
        for ids in (target, neighbour_target):
            assert {grey % 11 for grey in greys} == set(ids[4:12, 4:12].unique().tolist())
        drawn |= greys
    assert drawn == set(range(12)) - {4, 5, 6}


def test_the_border_of_the_picture_stays_where_it_is(tmp_path: Path) -> None:
    """What comes in over it, or from behind a thing that moves, is of the picture and not of the mean colour."""
    label = np.full(SIZE, 3, np.uint8)
    label[20:40, 30:60] = CAR
    root = write_folder(tmp_path, [(np.full((*SIZE, 3), 255, np.uint8), label)])
    smaller = Augmentation(crop=(96, 144), scale=(0.8, 1.2), rotation=15, colour=0, motion=3)
    for labelled, neighbour, _, neighbour_target, _ in pairs_of(root, smaller):
        inside, outside = labelled[0] > 2.2, labelled[0].abs() < 0.02
        assert inside.any() and outside.any()
        assert (neighbour[0][inside] > 2.2).all()
        assert (neighbour[0][outside].abs() < 0.02).float().mean() > 0.99  # one pixel of the border is cut sharply
        assert set(neighbour_target[inside].unique().tolist()) <= {3, CAR}
        assert (neighbour_target[outside] == 255).float().mean() > 0.99


# How things move, told from a picture whose colour says where a pixel was: red its row, green its column, blue a car

PICTURE = (120, 160)


def coded() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0 : PICTURE[0], 0 : PICTURE[1]]
    label = np.full(PICTURE, 3, np.uint8)
    label[60:84, 60:100] = CAR
    return np.stack([rows * 2, columns * 1.5, (label == CAR) * 255], axis=2).astype(np.uint8), label


def shifts(seed: int, motion: float = 1.0, things: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """By how much each pixel moved, (H, W, 2) in pixels as rows and columns, and the picture's blue."""
    image, label = coded()
    seen = seen_again(image, label, np.eye(3), PICTURE, motion, things, np.random.default_rng(seed))[0].astype(float)
    return (seen[..., :2] - image[..., :2]) / (2, 1.5), seen[..., 2]


def test_a_picture_moves_as_far_as_was_asked_for() -> None:
    typical = {}
    for motion in (0.5, 1.0, 2.0):
        lengths = [np.hypot(*np.moveaxis(shifts(seed, motion)[0], 2, 0)) for seed in range(40)]
        typical[motion] = np.mean([np.median(length) for length in lengths]) / PICTURE[1]
        assert max(np.percentile(length, 90) for length in lengths) < 0.1 * motion * PICTURE[1]
    assert 0.005 < typical[1.0] < 0.04
    assert 1.5 * typical[0.5] < typical[1.0] < typical[2.0] / 1.5


def test_the_camera_turns_either_way_and_drives_both_ways() -> None:
    """Neighbours lie before and after: pictures grow and shrink, go left and right."""
    middles, growths = [], []
    for seed in range(40):
        moved, _ = shifts(seed)
        middles.append(np.median(moved[..., 1]))
        growths.append(np.median(moved[:, -30:, 1]) - np.median(moved[:, :30, 1]))
    for drawn in (middles, growths):
        assert 0.2 < np.mean(np.array(drawn) > 0) < 0.8


def test_what_is_near_moves_more_than_a_camera_that_only_turns_would_make_it() -> None:
    rows, columns = np.mgrid[0 : PICTURE[0], 0 : PICTURE[1]] / 100
    terms = np.stack([np.ones_like(rows), rows, columns, rows**2, columns**2, rows * columns], axis=2).reshape(-1, 6)
    left = []
    for seed in range(20):
        # The colours are whole numbers: smoothed, their steps are not taken for motion.
        moved = cv2.blur(shifts(seed, motion=3)[0], (9, 9)).reshape(-1, 2)
        fitted = terms @ np.linalg.lstsq(terms, moved, rcond=None)[0]
        left.append(np.median(np.hypot(*(moved - fitted).T)))
    assert np.median(left) > 0.9  # pixels; 0.5 without depth, of the things that move by themselves


def own_motion(seed: int, things: tuple[int, ...]) -> float:
    """How far the car moved against the road around it, in pixels; 0 where it did not stay in one piece."""
    moved, blue = shifts(seed, 2.0, things)
    car = np.zeros(PICTURE, bool)
    rows, columns = np.nonzero(blue > 250)
    car[rows.min() + 4 : rows.max() - 3, columns.min() + 4 : columns.max() - 3] = True
    near = np.zeros(PICTURE, bool)
    near[rows.min() - 14 : rows.max() + 15, columns.min() - 24 : columns.max() + 25] = True
    near[rows.min() - 10 : rows.max() + 11, columns.min() - 20 : columns.max() + 21] = False
    apart = moved[car] - np.median(moved[near], axis=0)
    in_one_piece = (blue[car] > 250).all() and apart.std(axis=0).max() < 1.5
    return float(np.hypot(*np.median(apart, axis=0))) if in_one_piece else 0.0


def test_a_labelled_car_often_moves_by_itself_and_in_one_piece() -> None:
    by_itself = {
        things: np.mean([own_motion(seed, things) > 2.5 for seed in range(60)]) for things in ((), (CAR,), (9, 10))
    }
    assert by_itself[(CAR,)] > 0.25
    assert by_itself[()] < 0.1 and by_itself[(9, 10)] < 0.1


def test_what_moves_by_itself_is_known_by_name() -> None:
    assert [CAMVID.names[index] for index in thing_ids(CAMVID.names)] == ["car", "pedestrian", "cyclist"]
    assert len(thing_ids(CITYSCAPES.names)) == 8
    assert thing_ids(("road", "sky")) == ()


@pytest.mark.parametrize("motion", [-0.1, float("nan"), float("inf")])
def test_an_impossible_motion_is_refused(motion: float) -> None:
    with pytest.raises(ValueError, match=rf"motion is {motion}; expected a number of at least 0"):
        Augmentation(crop=SIZE, motion=motion)

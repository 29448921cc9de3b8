"""Pairs whose features follow the picture: their grids are a stream's, and the losses reuse what the grids moved."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from labelled_folders import write_folder
from moving_pictures import motion_between, moved, texture

from dcfm_ros.datasets.folder import FolderDataset
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.imaging.motion import Align, Motion, MotionSince, small_grey
from dcfm_ros.model import create_model, model_config
from dcfm_ros.model.alignment import aligned
from dcfm_ros.training import step
from dcfm_ros.training.augmentation import Augmentation
from dcfm_ros.training.losses import Losses, LossOptions, dcfm_losses
from dcfm_ros.training.pairs import Pair, PairDataset, batch_of
from dcfm_ros.training.recipe import Recipe
from dcfm_ros.training.sources import Source
from dcfm_ros.training.trainer import train

SIZE = (128, 192)
CONFIG = replace(model_config("camvid_resnet18"), input_size=SIZE)
PLAIN = Augmentation(crop=SIZE, scale=(1, 1), rotation=0, colour=0, focus=0)
VARIED = Augmentation(crop=(96, 128), scale=(0.8, 1.3), rotation=10, colour=0)


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of a camera that turns: each lies 6 pixels further to the right than the one before."""
    frames = [(moved(texture(*SIZE), 6 * index, 0), np.full(SIZE, 3, np.uint8)) for index in range(4)]
    return write_folder(tmp_path_factory.mktemp("turning"), frames)


def pairs_of(root: Path, augmentation: Augmentation, align: Align = "flow", max_distance: int = 2) -> PairDataset:
    source = Source(FolderDataset(root, labels=CAMVID), CONFIG, max_distance)
    return PairDataset([source], [1.0], CONFIG, augmentation, 12, 1, align)


def grids_of(pairs: PairDataset) -> list[torch.Tensor]:
    grids = [pair.grids for pair in pairs if pair.grids is not None]
    assert len(grids) == len(pairs)
    return grids


def picture(image: torch.Tensor) -> np.ndarray:
    """(H, W, 3) uint8 RGB, as it was before it was normalised."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (CONFIG.mean, CONFIG.std))
    return ((image * std + mean) * 255).round().byte().permute(1, 2, 0).numpy()


def grids_between(one: np.ndarray, other: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    greys = small_grey(one), small_grey(other)
    return np.stack([motion_between(*both).grid(size) for both in (greys, greys[::-1])])


# Grids


def test_grids_are_what_a_stream_finds_between_the_two_crops(turning: Path) -> None:
    for pair in pairs_of(turning, VARIED, max_distance=1):
        assert pair.grids is not None
        expected = grids_between(picture(pair.labelled), picture(pair.neighbour), (12, 16))
        assert np.array_equal(pair.grids.numpy(), expected)


def test_grids_over_several_frames_are_followed_from_frame_to_frame(turning: Path) -> None:
    expected = {}
    for mirrored, (first, last) in product((1, -1), permutations(range(4), 2)):
        frames = [small_grey(moved(texture(*SIZE), 6 * index, 0)[:, ::mirrored]) for index in range(4)]
        since, step = MotionSince(frames[first]), 1 if last > first else -1
        motions = [since.follow(frames[at]) for at in range(first + step, last + step, step)]
        expected[last, first, mirrored] = motions[-1].grid((16, 24))
    grids = [pair.grids[0].numpy() for pair in pairs_of(turning, PLAIN, max_distance=3) if pair.grids is not None]
    found = [[key for key, grid in expected.items() if np.median(abs(own - grid)) < 1e-3] for own in grids]
    assert all(found)
    assert any(abs(one - other) == 3 for keys in found for one, other, _ in keys)


def test_grids_lead_from_each_frame_to_where_it_lies_in_the_other(turning: Path) -> None:
    resting = Motion(None).grid((16, 24))
    seen = set()
    for pair in pairs_of(turning, PLAIN):
        to_neighbour, to_labelled = (
            round(np.median(grid - resting, (0, 1))[0] * 96) for grid in np.asarray(pair.grids)
        )
        assert to_neighbour == pytest.approx(-to_labelled, abs=1)
        seen.add(round(to_neighbour / 6))
    assert seen == {-2, -1, 1, 2}


def test_a_still_that_moves_has_grids_too(turning: Path) -> None:
    resting = torch.from_numpy(Motion(None).grid((16, 24)))
    for motion, moves in ((0.0, False), (3.0, True)):
        pairs = list(pairs_of(turning, replace(PLAIN, motion=motion), max_distance=0))
        apart = [(pair.grids - resting).abs().max() > 0 for pair in pairs if pair.grids is not None]
        assert set(map(bool, apart)) == {moves}


def test_motion_is_seen_through_a_cameras_faults_and_not_through_the_jitter_of_colours(turning: Path) -> None:
    clean, jittered, faulty = (
        grids_of(pairs_of(turning, augmentation))
        for augmentation in (VARIED, replace(VARIED, colour=0.5), replace(VARIED, faults=1.0))
    )
    assert all(torch.equal(one, other) for one, other in zip(clean, jittered, strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(clean, faulty, strict=True))


def test_the_rest_of_a_pair_does_not_depend_on_its_grids(turning: Path) -> None:
    for pair, other in zip(pairs_of(turning, VARIED), pairs_of(turning, VARIED, "none"), strict=True):
        assert other.grids is None
        assert all(torch.equal(one, another) for one, another in zip(pair[:4], other[:4], strict=True))


def test_grids_do_not_depend_on_opencvs_threads(turning: Path) -> None:
    """Else a run with other `workers` would not go on with the same pairs."""
    threads, grids = cv2.getNumThreads(), {}
    try:
        for count in (1, 3):
            cv2.setNumThreads(count)
            grids[count] = grids_of(pairs_of(turning, VARIED))
    finally:
        cv2.setNumThreads(threads)
    assert all(torch.equal(one, other) for one, other in zip(grids[1], grids[3], strict=True))


@pytest.mark.parametrize("name", ["camvid_resnet18", "camvid_mitb0"])
@pytest.mark.parametrize("crop", [(64, 96), (41, 70)])
def test_a_grid_is_of_the_common_features_size(turning: Path, name: str, crop: tuple[int, int]) -> None:
    config = replace(model_config(name), input_size=SIZE)
    source = Source(FolderDataset(turning, labels=CAMVID), config, 1)
    pair = PairDataset([source], [1.0], config, replace(PLAIN, crop=crop), 1, 1, "flow")[0]
    model = create_model(name)
    with torch.inference_mode():
        common = model.encode_common(model.encode_shallow(pair.labelled[None]))
    assert pair.grids is not None
    assert (pair.grids.shape, pair.grids.dtype) == ((2, *common.shape[2:], 2), torch.float32)


def test_a_batch_has_grids_where_its_pairs_have(turning: Path) -> None:
    both = (pairs_of(turning, PLAIN, align) for align in ("flow", "none"))
    with_grids, without = (batch_of([pairs[0], pairs[1]]) for pairs in both)
    assert with_grids.labelled.shape == without.labelled.shape == (2, 3, *SIZE)
    assert with_grids.grids is not None and with_grids.grids.shape == (2, 2, 16, 24, 2)
    assert without.grids is None


# Losses


def pair_of(labelled: np.ndarray, neighbour: np.ndarray, stride: int) -> Pair:
    """A batch of one, with nothing labelled."""
    one, other = (
        torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 64 - 2 for image in (labelled, neighbour)
    )
    target = torch.full((1, *SIZE), 255)
    grids = grids_between(labelled, neighbour, (SIZE[0] // stride, SIZE[1] // stride))
    return Pair(one, other, target, target, torch.from_numpy(grids)[None])


def losses_with_and_without(name: str, pair: Pair, target: torch.Tensor | None = None) -> tuple[Losses, Losses]:
    """Of a network with random weights; target: None is what the network itself says of the labelled frame."""
    torch.manual_seed(0)
    model = create_model(name)
    options = LossOptions(distillation=1)
    with torch.no_grad():
        target = model(pair.labelled).argmax(1) if target is None else target
        with_grids, without = (
            dcfm_losses(model, pair.labelled, pair.neighbour, target, options=options, grids=grids)
            for grids in (pair.grids, None)
        )
    return with_grids, without


@pytest.mark.parametrize(("name", "stride"), [("camvid_resnet18", 8), ("camvid_mitb0", 4)])
def test_a_reused_feature_fits_better_where_it_follows_the_picture(name: str, stride: int) -> None:
    still = texture(*SIZE)
    with_grids, without = losses_with_and_without(name, pair_of(still, moved(still, 16, 0), stride))
    assert with_grids.reused < without.reused
    assert with_grids.distillation < 0.5 * without.distillation
    for term in ("individual", "consistency"):  # of features where they lie
        torch.testing.assert_close(getattr(with_grids, term), getattr(without, term))


def test_where_nothing_moves_alignment_changes_no_loss() -> None:
    still = texture(*SIZE)
    target = torch.from_numpy(np.random.default_rng(2).integers(0, 11, (1, *SIZE)))
    with_grids, without = losses_with_and_without("camvid_resnet18", pair_of(still, still, 8), target)
    for one, other in zip(with_grids, without, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_each_frame_has_a_grid_where_both_are_learnt_from() -> None:
    torch.manual_seed(0)
    model = create_model("camvid_mitb0")
    one, other = texture(*SIZE), moved(texture(*SIZE), 9, -4)
    pair, turned = pair_of(one, other, 4), pair_of(other, one, 4)
    target, other_target = torch.from_numpy(np.random.default_rng(2).integers(0, 11, (2, 1, *SIZE)))
    options = LossOptions(distillation=1)
    with torch.no_grad():
        first, second = (
            dcfm_losses(model, *each[:2], ids, options=options, grids=each.grids)
            for each, ids in ((pair, target), (turned, other_target))
        )
        both = dcfm_losses(model, *pair[:2], target, options=options, neighbour_target=other_target, grids=pair.grids)
    for term, of_one, of_other in zip(both, first, second, strict=True):
        torch.testing.assert_close(term, (of_one + of_other) / 2)


def test_the_neighbour_learns_through_the_grid() -> None:
    torch.manual_seed(0)
    model = create_model("camvid_mitb0")
    pair = pair_of(texture(*SIZE), moved(texture(*SIZE), 9, -4), 4)
    neighbour = pair.neighbour.requires_grad_()
    target = torch.zeros((1, *SIZE), dtype=torch.int64)
    only_reused = LossOptions(consistency=0)
    dcfm_losses(model, pair.labelled, neighbour, target, options=only_reused, grids=pair.grids).total.backward()
    assert neighbour.grad is not None and neighbour.grad.any()
    assert neighbour.grad.isfinite().all()


def test_losses_in_bfloat16_are_those_in_float32() -> None:
    torch.manual_seed(0)
    model = create_model("camvid_resnet18")
    pair = pair_of(texture(*SIZE), moved(texture(*SIZE), 9, -4), 8)
    target = torch.zeros((1, *SIZE), dtype=torch.int64)
    losses = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses.append(dcfm_losses(model, *pair[:2], target, grids=pair.grids))
        losses[-1].total.backward()
    torch.testing.assert_close(losses[1].reused, losses[0].reused, rtol=0.01, atol=0)


def test_places_stay_exact_in_bfloat16() -> None:
    """A whole place's shift takes whole places; in bfloat16, those of a wide grid's right end would be blended."""
    wide = torch.arange(256.0).remainder(7)[None, None, None].expand(1, 1, 4, 256).bfloat16()
    grid = torch.from_numpy(Motion(None).grid((4, 256)))[None] + torch.tensor([2 / 256, 0])
    shifted = aligned(wide, grid)
    assert shifted.dtype == torch.bfloat16
    torch.testing.assert_close(shifted[..., :-1], wide[..., 1:], rtol=0, atol=0.01)


# Training


def test_a_recipe_that_aligns_trains_on_grids(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    grids: list[torch.Tensor] = []

    def remembered(*args: Any, **kwargs: Any) -> Losses:
        grids.append(kwargs["grids"])
        return dcfm_losses(*args, **kwargs)

    monkeypatch.setattr(step, "dcfm_losses", remembered)
    grids_between(texture(), moved(texture(), 8, 0), (4, 4))  # OpenCV has threads now, which no worker has
    assert train(replace(recipe, align="flow", steps=2, workers=1, precision="bf16")).exists()
    train(replace(recipe, steps=1, output=f"{recipe.output}_unaligned"))
    assert [None if grid is None else grid.shape for grid in grids] == [(2, 2, 16, 16, 2)] * 2 + [None]

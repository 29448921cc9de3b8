"""The rendered drive: the same bytes each time, all classes, exact labels, a stop and a turn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest

from dcfm_ros.datasets.street import StreetClass, StreetConfig, StreetDrive, scene
from dcfm_ros.datasets.street.visibility import Drawing
from dcfm_ros.datasets.street.world import JUNCTION, Travel
from dcfm_ros.imaging.labels import CAMVID


@pytest.fixture(scope="module")
def default_drive() -> StreetDrive:
    return StreetDrive()


@pytest.fixture(scope="module")
def small() -> StreetDrive:
    return StreetDrive(StreetConfig(seed=4, frames=60, height=96, width=128))


def test_the_ids_are_camvids() -> None:
    assert tuple(member.name.lower() for member in StreetClass) == CAMVID.names


def test_every_class_is_in_a_default_drive_and_nothing_else(default_drive: StreetDrive) -> None:
    counts = np.zeros(256, int)
    for index in range(0, len(default_drive), 10):
        label = default_drive.label(index)
        assert label.dtype == np.uint8
        assert label.shape == (360, 480)
        counts += np.bincount(label.ravel(), minlength=256)
    assert not counts[len(StreetClass) :].any()
    # Enough of each to be measured by, and in the proportions of a street.
    assert (counts[: len(StreetClass)] > 200).all()
    shares = counts / counts.sum()
    assert shares[StreetClass.ROAD] > 0.2
    assert shares[StreetClass.BUILDING] > 0.15
    assert shares[StreetClass.SKY] > 0.05


@cache
def of_seed(seed: int) -> StreetDrive:
    return StreetDrive(StreetConfig(seed=seed, height=180, width=240))


@pytest.mark.parametrize("seed", (2, 5, 9))
def test_other_seeds_have_every_class_a_stop_and_a_turn(seed: int) -> None:
    drive = of_seed(seed)
    seen = set(np.concatenate([np.unique(drive.label(index)) for index in range(0, 150, 15)]).tolist())
    assert seen == set(range(11))
    _assert_stops_and_goes_on(np.array([drive.speed(index) for index in range(len(drive))]))
    headings = [drive.heading(index) for index in range(len(drive))]
    assert max(headings) - min(headings) > np.radians(8)


def test_equal_seeds_give_equal_bytes(small: StreetDrive) -> None:
    again = StreetDrive(small.config)
    # Asked in another order: what is made on the first request must not depend on what came before.
    for index in (47, 3, 20):
        assert again.frame(index).pixels.tobytes() == small.frame(index).pixels.tobytes()
        assert again.label(index).tobytes() == small.label(index).tobytes()


def test_seeds_differ_in_layout_colours_and_travel() -> None:
    drives = [of_seed(seed) for seed in (2, 5, 9)]
    labels = [drive.label(0) for drive in drives]
    means = [drive.frame(0).pixels.mean((0, 1)) for drive in drives]
    speeds = [[drive.speed(index) for index in range(60)] for drive in drives]
    for a, b in itertools.combinations(range(3), 2):
        assert (labels[a] != labels[b]).mean() > 0.05
        assert np.abs(means[a] - means[b]).max() > 1.0
        assert speeds[a] != speeds[b]


def test_iteration_equals_random_access_and_begins_again(small: StreetDrive) -> None:
    frames = list(itertools.islice(small, 20))
    for index, (frame, label) in enumerate(itertools.islice(small.labelled(), 20)):
        assert np.array_equal(frame.pixels, frames[index].pixels)
        assert frame.stamp_ns == frames[index].stamp_ns
        if index % 9 == 0:
            assert np.array_equal(small.frame(index).pixels, frame.pixels)
            assert np.array_equal(small.label(index), label)


def test_frames_are_rgb_of_the_size_asked_for_with_rising_stamps() -> None:
    drive = StreetDrive(StreetConfig(frames=5, height=75, width=101, rate_hz=30.0))
    frames = list(drive)
    assert {(frame.order, frame.pixels.shape, frame.pixels.dtype) for frame in frames} == {
        ("rgb", (75, 101, 3), np.dtype(np.uint8))
    }
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps[0] > 0
    assert [stamp - stamps[0] for stamp in stamps] == [round(index * 1e9 / 30) for index in range(5)]


@pytest.mark.parametrize(("height", "width"), [(32, 400), (400, 32), (720, 1280)])
def test_unusual_sizes_are_filled(height: int, width: int) -> None:
    drive = StreetDrive(StreetConfig(frames=1, height=height, width=width))
    assert drive.label(0).shape == (height, width)
    assert drive.frame(0).pixels.shape == (height, width, 3)
    assert drive.frame(0).pixels.std() > 10


@pytest.mark.parametrize(("frames", "rate_hz"), [(60, 15.0), (60, 30.0), (60, 2.0), (150, 15.0), (2000, 10.0)])
def test_every_travel_stops_and_goes_on(frames: int, rate_hz: float) -> None:
    for seed in range(40):
        travel = Travel(np.random.default_rng(seed), frames / rate_hz, 1 / rate_hz)
        _assert_stops_and_goes_on(np.array([travel.speed(index / rate_hz) for index in range(frames)]))
        assert all(later.junction - stop.junction > JUNCTION for stop, later in itertools.pairwise(travel.stops))


def test_the_picture_stands_still_while_the_camera_does(default_drive: StreetDrive) -> None:
    standing = [index for index in range(150) if default_drive.speed(index) == 0]
    pair = standing[2], standing[3]
    moving = 20, 21
    changed = [(default_drive.label(a) != default_drive.label(b)).mean() for a, b in (pair, moving)]
    assert changed[0] < 0.02
    assert changed[0] < 0.5 * changed[1]


def test_labels_and_colours_share_their_outlines(default_drive: StreetDrive) -> None:
    """Where the labels change, the colours change: much more than a few pixels beside."""
    on, beside = [], []
    for index in range(0, 150, 30):
        grey = cv2.cvtColor(default_drive.frame(index).pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
        label = default_drive.label(index)
        step = np.abs(np.diff(grey, axis=1))
        edge = label[:, 1:] != label[:, :-1]
        on.append(step[edge].mean())
        beside.append(np.mean([step[np.roll(edge, shift, axis=1) & ~edge].mean() for shift in (-4, 4)]))
    assert np.mean(on) > 1.8 * np.mean(beside)


def test_hidden_things_may_be_left_out(small: StreetDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    with_hidden_left_out = [(small.frame(index).pixels, small.label(index)) for index in (0, 25, 59)]

    def everything(drawings: Iterator[Drawing], width: int) -> list[Drawing]:
        return sorted(drawings, key=lambda drawing: drawing.distance)[::-1]

    monkeypatch.setattr(scene, "far_to_near", everything)
    for index, (pixels, label) in zip((0, 25, 59), with_hidden_left_out, strict=True):
        assert np.array_equal(small.label(index), label)
        assert np.array_equal(small.frame(index).pixels, pixels)


def test_it_is_used_like_a_recording(small: StreetDrive) -> None:
    with small as drive:
        assert drive.name == "street-4"
        assert drive.rate_hz == 15.0
        assert next(iter(drive)).pixels.shape == (96, 128, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": 0}, "frames is 0; expected at least 1"),
        ({"height": 31}, "height is 31; expected at least 32"),
        ({"width": -5}, "width is -5; expected at least 32"),
        ({"rate_hz": 0.0}, r"rate_hz is 0\.0; expected a positive"),
        ({"rate_hz": float("nan")}, "rate_hz is nan; expected a positive"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"frames": 100000}, "6667 seconds; expected at most 3600"),
    ],
)
def test_what_cannot_be_rendered_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreetConfig(**values)


@pytest.mark.parametrize("index", [-1, 60])
def test_an_index_outside_is_refused(small: StreetDrive, index: int) -> None:
    for method in (small.frame, small.label, small.speed):
        with pytest.raises(IndexError, match=r"expected 0\.\.59"):
            method(index)


def _assert_stops_and_goes_on(speeds: np.ndarray) -> None:
    runs = [len(list(group)) for still, group in itertools.groupby(speeds == 0) if still]
    assert max(runs, default=0) >= 6
    first = int(np.argmax(speeds == 0))
    assert speeds[:first].max() > 0.5
    assert speeds[-1] > 0.5

"""Where the time of training goes, by a clock that the test turns."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from dcfm_ros.training.speed import Speed


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def test_waiting_counts_and_what_is_no_training_does_not(clock: Clock) -> None:
    speed = Speed(torch.device("cpu"))
    for _ in range(3):
        with speed.waiting_for_data():
            clock.now += 1
        clock.now += 3
    with speed.not_training():
        clock.now += 50
    values = speed.read(pairs=4)
    assert values["speed/images_per_s"] == pytest.approx(3 * 4 * 2 / 12)
    assert values["speed/data_wait_share"] == pytest.approx(0.25)


def test_every_reading_begins_anew(clock: Clock) -> None:
    speed = Speed(torch.device("cpu"))
    with speed.waiting_for_data():
        clock.now += 7
    speed.read(pairs=1)
    with speed.waiting_for_data():
        pass
    clock.now += 2
    values = speed.read(pairs=1)
    assert values["speed/images_per_s"] == pytest.approx(1)
    assert values["speed/data_wait_share"] == 0


def test_the_peak_of_memory_grows_with_what_is_used_and_stays() -> None:
    speed = Speed(torch.device("cpu"))
    before = speed.read(pairs=1)["speed/peak_memory_mb"]
    block = np.ones(int(before * 1e6) // 4 + 30_000_000, np.float32)
    after = speed.read(pairs=1)["speed/peak_memory_mb"]
    assert after > before + 60
    del block
    assert speed.read(pairs=1)["speed/peak_memory_mb"] > after - 5  # the kernel counts by the batch

"""What PyTorch's CUDA side does with its device: recordings, uploads, keyframes beside the stream; on a stand-in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dcfm_ros.imaging.logits import ids_from_logits
from dcfm_ros.streaming.backends.cuda_device import CudaDevice
from dcfm_ros.streaming.backends.torch_cuda import CudaRunner


class HostDevice:
    """Host memory in a CUDA device's place; a replay does again what was recorded."""

    device = torch.device("cpu")
    name = "host"

    def __init__(self, can_record: bool = True) -> None:
        self.can_record = can_record
        self.is_background = False
        self.recordings = 0
        self.handed_over: list[Tensor] = []
        self._selected = False

    @contextlib.contextmanager
    def selected(self) -> Iterator[None]:
        assert not self._selected
        self._selected = True
        yield
        self._selected = False

    @contextlib.contextmanager
    def background(self) -> Iterator[None]:
        self.is_background = True
        yield
        self.is_background = False

    def upload(self, array: np.ndarray) -> Tensor:
        assert self._selected
        return torch.from_numpy(array.copy())

    def download(self, *tensors: Tensor) -> list[np.ndarray]:
        assert self._selected
        return [tensor.numpy().copy() for tensor in tensors]

    def hand_over(self, feature: Tensor) -> None:
        self.handed_over.append(feature)

    def captured(self, enqueue: Callable[[], None]) -> Callable[[], None] | None:
        assert self._selected
        self.recordings += self.can_record
        return enqueue if self.can_record else None


class Sum(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.stack(inputs).sum(0)


def runner_on(device: HostDevice) -> CudaRunner:
    return CudaRunner(cast(CudaDevice, device), 20)


@pytest.fixture
def device() -> HostDevice:
    return HostDevice()


@pytest.fixture
def runner(device: HostDevice) -> CudaRunner:
    return runner_on(device)


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_a_part_is_recorded_once_for_each_shape_when_it_comes_again(runner: CudaRunner, device: HostDevice) -> None:
    part, recordings = Sum(), []
    for shape in ((2, 3), (2, 3), (4, 5), (2, 3), (4, 5), (4, 5)):
        one, other = values(*shape), values(*shape, seed=1)
        torch.testing.assert_close(runner.run(part, one, other), one + other)
        recordings.append(device.recordings)
    assert recordings == [0, 1, 1, 1, 2, 2]
    runner.run(Sum(), one, other)  # another part is another recording
    assert device.recordings == 2


def test_what_a_recording_gave_stays_as_it_was(runner: CudaRunner) -> None:
    part, given = Sum(), [values(2, 3, seed=seed) for seed in range(4)]
    held = [runner.run(part, each) for each in given]
    for each, was in zip(held, given, strict=True):
        torch.testing.assert_close(each, was)


def test_where_nothing_can_be_recorded_parts_run_as_they_are() -> None:
    device = HostDevice(can_record=False)
    runner, part = runner_on(device), Sum()
    for seed in range(4):
        torch.testing.assert_close(runner.run(part, values(2, seed=seed)), values(2, seed=seed))
    assert device.recordings == 0


def test_shapes_without_end_are_not_all_kept(runner: CudaRunner) -> None:
    part = Sum()
    for length in range(1, 200):
        for _ in range(2):
            runner.run(part, values(length))
    assert len(runner._cuda_graphs) < 50


def test_a_keyframe_beside_the_stream_is_handed_over_and_not_recorded(runner: CudaRunner, device: HostDevice) -> None:
    part = Sum()
    for _ in range(3):
        with runner.background():
            common = runner.run(part, values(2, 3))
        assert device.handed_over.pop() is common
    assert device.recordings == 0


@pytest.mark.parametrize("confidence", [False, True])
def test_ids_are_those_of_the_sum_of_logits(runner: CudaRunner, confidence: bool) -> None:
    one, other = values(1, 4, 6, 7), values(1, 4, 6, 7, seed=1)
    for logits in ([one], [one, other]):
        ids, max_softmax = runner.ids(logits, (31, 40), confidence)
        expected, expected_confidence = ids_from_logits(torch.stack(logits).sum(0)[0].numpy(), (31, 40), confidence)
        np.testing.assert_array_equal(ids, expected)
        assert (max_softmax is None) == (expected_confidence is None)
        if max_softmax is not None and expected_confidence is not None:
            np.testing.assert_allclose(max_softmax.astype(int), expected_confidence, atol=1)


def test_arrays_go_there_and_back(runner: CudaRunner) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(runner.download(runner.upload(array)), array)


def test_without_triton_ids_are_decided_in_bands_and_it_is_said(
    device: HostDevice, caplog: pytest.LogCaptureFixture
) -> None:
    runner_on(device)  # Triton has no kernels for the host
    (record,) = caplog.records
    assert "Triton does not run here" in record.message

"""The real network in a stream: masks, confidence, sums and devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcfm_ros.imaging import Frame
from dcfm_ros.model import DCFM, create_model
from dcfm_ros.streaming import FixedInterval, StreamSegmenter
from dcfm_ros.streaming.backends.base import BackendError
from dcfm_ros.streaming.backends.torch_backend import TorchBackend

SECOND = 1_000_000_000

SIZES = {"camvid_resnet18": (64, 96), "camvid_mitb0": (64, 96)}


@dataclass
class Network:
    """A backend and, for sums by hand, a copy of its model that was not folded."""

    model: DCFM
    backend: TorchBackend

    def image(self, picture: Frame) -> torch.Tensor:
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.model.config.mean, self.model.config.std))
        return ((torch.from_numpy(picture.pixels).permute(2, 0, 1) / 255 - mean) / std)[None]

    def segmenter(self, interval: int = 3, mode: str = "causal") -> StreamSegmenter:
        return StreamSegmenter(self.backend, FixedInterval(interval), mode, input_size=(64, 96))


@pytest.fixture(scope="module", params=["camvid_resnet18", "camvid_mitb0"])
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(2)
    model = create_model(request.param)
    # A classifier of random weights gives nearly equal logits: larger ones make clear winners.
    with torch.no_grad():
        model.head[-1].weight.mul_(50)
    copy = DCFM(model.config)
    copy.load_state_dict(model.state_dict())
    return Network(copy, TorchBackend(model, "cpu"))


@pytest.fixture(scope="module")
def pictures() -> list[Frame]:
    rng = np.random.default_rng(3)
    return [Frame(rng.integers(0, 256, (64, 96, 3), np.uint8), stamp_ns=(i + 1) * SECOND // 10) for i in range(5)]


def masks(segmenter: StreamSegmenter, frames: Sequence[Frame]) -> list[bytes]:
    results = [result for picture in frames for result in segmenter.push(picture)] + segmenter.flush()
    return [result.mask.tobytes() for result in results]


def assert_same_ids(mask: np.ndarray, logits: torch.Tensor) -> None:
    """Equal but where two classes are as good as equal: folding rounds otherwise."""
    best = logits.topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-3).numpy()
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(mask[clear], logits.argmax(0).numpy()[clear])


@torch.inference_mode()
def test_masks_and_confidence_are_those_of_the_network(network: Network, pictures: list[Frame]) -> None:
    (result,) = network.segmenter().push(pictures[0], confidence=True)
    logits = network.model(network.image(pictures[0]))[0]
    assert result.mask.dtype == np.uint8
    assert len(np.unique(result.mask)) > 1
    assert_same_ids(result.mask, logits)
    assert result.confidence is not None and result.confidence.dtype == np.uint8
    expected = logits.softmax(0).max(0).values.numpy() * 255
    np.testing.assert_allclose(result.confidence, expected, atol=1)


@torch.inference_mode()
def test_masks_are_brought_to_the_sources_size_before_the_largest_wins(network: Network) -> None:
    backend = network.backend
    image = np.random.default_rng(4).integers(0, 256, (64, 96, 3), np.uint8)
    shallow = backend.encode_shallow(image)
    mask, confidence = backend.decide([backend.encode_common(shallow)], shallow, (37, 51), False)
    own = network.model.encode_shallow(network.image(Frame(image)))
    low = network.model.fuse(network.model.encode_common(own), own)
    assert confidence is None
    assert_same_ids(mask, F.interpolate(low, (37, 51), mode="bilinear", align_corners=False)[0])


@torch.inference_mode()
def test_bidirectional_sums_the_logits_of_both_keyframes(network: Network, pictures: list[Frame]) -> None:
    segmenter = network.segmenter(3, "bidirectional")
    results = [result for picture in pictures[:4] for result in segmenter.push(picture)]
    model = network.model
    shallow = [model.encode_shallow(network.image(picture)) for picture in pictures]
    before, after = model.encode_common(shallow[0]), model.encode_common(shallow[3])
    for index in (1, 2):
        low = model.fuse(before, shallow[index]) + model.fuse(after, shallow[index])
        logits = F.interpolate(low, (64, 96), mode="bilinear", align_corners=False)[0]
        assert_same_ids(results[index].mask, logits)


def test_the_same_frames_give_the_same_bytes(network: Network, pictures: list[Frame]) -> None:
    for mode in ("causal", "bidirectional"):
        assert masks(network.segmenter(3, mode), pictures) == masks(network.segmenter(3, mode), pictures)


def test_causal_with_interval_one_is_the_full_network(network: Network, pictures: list[Frame]) -> None:
    full = masks(network.segmenter(mode="full"), pictures)
    assert masks(network.segmenter(1), pictures) == full
    assert masks(network.segmenter(3), pictures) != full


def test_a_read_only_picture_is_segmented_like_any_other(network: Network, pictures: list[Frame]) -> None:
    pixels = pictures[0].pixels.copy()
    pixels.setflags(write=False)
    assert masks(network.segmenter(), [Frame(pixels)]) == masks(network.segmenter(), pictures[:1])


def test_two_streams_can_share_a_backend(network: Network, pictures: list[Frame]) -> None:
    one, two = network.segmenter(), network.segmenter()
    taken_in_turns = [(one.push(a)[0], two.push(b)[0]) for a, b in zip(pictures[:3], pictures[2:], strict=True)]
    assert [pair[0].mask.tobytes() for pair in taken_in_turns] == masks(network.segmenter(), pictures[:3])
    assert [pair[1].mask.tobytes() for pair in taken_in_turns] == masks(network.segmenter(), pictures[2:])


# Devices


@pytest.mark.parametrize("device", ["", "gpu", "cuda:x", "mps", "meta"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(BackendError, match=f"device is '{device}'; expected auto, cpu, cuda or cuda:N"):
        TorchBackend(create_model("camvid_mitb0"), device)


def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BackendError, match="device is 'cuda:1', but torch sees 1 CUDA devices"):
        TorchBackend(create_model("camvid_mitb0"), "cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(BackendError, match="device is 'cuda', but torch sees 0 CUDA devices"):
        TorchBackend(create_model("camvid_mitb0"), "cuda")


def test_fewer_threads_than_none_are_refused() -> None:
    with pytest.raises(BackendError, match="num_threads is -1"):
        TorchBackend(create_model("camvid_mitb0"), "cpu", num_threads=-1)


def test_the_number_of_threads_is_the_one_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        backend = TorchBackend(create_model("camvid_mitb0"), "cpu", num_threads=2)
        assert torch.get_num_threads() == 2
        assert "CPU, 2 threads" in backend.description
    finally:
        torch.set_num_threads(before)

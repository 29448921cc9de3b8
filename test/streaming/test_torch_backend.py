"""The real network in a stream: masks, confidence, sums and devices."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fake_backend import stream_of

from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.model import DCFM, create_model, load_weights
from dcfm_ros.streaming import FixedInterval, StreamSegmenter
from dcfm_ros.streaming.backends.base import BackendError
from dcfm_ros.streaming.backends.torch_backend import TorchBackend
from dcfm_ros.weights import DEFAULT_WEIGHTS

SECOND = 1_000_000_000

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@dataclass
class Network:
    """A backend and, for sums by hand, a copy of its model that was not folded."""

    model: DCFM
    backend: TorchBackend

    def image(self, picture: Frame) -> torch.Tensor:
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.model.config.mean, self.model.config.std))
        return ((torch.from_numpy(picture.pixels).permute(2, 0, 1) / 255 - mean) / std)[None]

    def segmenter(self, interval: int = 3, mode: str = "causal") -> StreamSegmenter:
        return stream_of(self.backend, FixedInterval(interval), mode=mode, input_size=(64, 96))


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=["camvid_resnet18", "camvid_mitb0"])
def network(request: pytest.FixtureRequest, device: str) -> Network:
    torch.manual_seed(2)
    model = create_model(request.param)
    # A classifier of random weights gives nearly equal logits: larger ones make clear winners.
    with torch.no_grad():
        model.head[-1].get_parameter("weight").mul_(50)
    copy = DCFM(model.config)
    copy.load_state_dict(model.state_dict())
    return Network(copy, TorchBackend(model, device, precision="fp32"))


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


# Features


def test_features_stay_as_they_were_while_others_are_computed(network: Network, pictures: list[Frame]) -> None:
    def features(picture: Frame) -> list[torch.Tensor]:
        shallow = network.backend.encode_shallow(picture.pixels)
        return [shallow, common := network.backend.encode_common(shallow), network.backend.align(common, grid(common))]

    features(pictures[0])  # on CUDA the second call with a shape is another than the first
    held = [features(picture) for picture in pictures]
    were = [[feature.clone() for feature in each] for each in held]
    for picture in pictures:
        features(picture)
    assert all(
        torch.equal(one, other) for a, b in zip(held, were, strict=True) for one, other in zip(a, b, strict=True)
    )


def grid(common: torch.Tensor, columns: float = 0, rows: float = 0) -> np.ndarray:
    """Where each place lies in the keyframe's picture when all has moved by so many places."""
    height, width = common.shape[2:]
    x = (2 * (np.arange(width) - columns) + 1) / width - 1
    y = (2 * (np.arange(height) - rows) + 1) / height - 1
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


def test_align_moves_a_common_feature(network: Network, pictures: list[Frame]) -> None:
    backend = network.backend
    common = backend.encode_common(backend.encode_shallow(pictures[0].pixels))
    torch.testing.assert_close(backend.align(common, grid(common)), common, rtol=1e-4, atol=1e-4)
    moved = backend.align(common, grid(common, columns=2, rows=1))
    torch.testing.assert_close(moved[:, :, 1:, 2:], common[:, :, :-1, :-2], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(moved[:, :, 1:, 0], common[:, :, :-1, 0], rtol=1e-3, atol=1e-4)  # what came in


def test_change_is_nothing_for_the_same_picture_and_grows_with_the_difference(
    network: Network, pictures: list[Frame]
) -> None:
    pixels = pictures[0].pixels
    little = np.clip(pixels.astype(int) + np.random.default_rng(0).integers(-8, 9, pixels.shape), 0, 255)
    same, near, far = (
        network.backend.encode_shallow(other) for other in (pixels, little.astype(np.uint8), np.full_like(pixels, 128))
    )
    changes = [network.backend.change(same, other) for other in (same, near, far)]
    assert changes[0] < 1e-6
    assert changes[0] < changes[1] < changes[2] <= 2


# Keyframes beside the stream


def in_a_thread(work: Callable[[], object]) -> object:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    thread.join()
    return answers[0]


def test_a_keyframe_beside_the_stream_is_like_any_other(network: Network, pictures: list[Frame]) -> None:
    backend, picture = network.backend, pictures[0]
    shallow = backend.encode_shallow(picture.pixels)

    def encode() -> torch.Tensor:
        with backend.background():
            return backend.encode_common(shallow)

    common = in_a_thread(encode)
    assert isinstance(common, torch.Tensor)
    torch.testing.assert_close(common, backend.encode_common(shallow), rtol=1e-4, atol=1e-5)


def test_a_keyframe_beside_the_stream_yields_to_it() -> None:
    backend = TorchBackend(create_model("camvid_resnet18"), "cpu", num_threads=3)
    image = np.zeros((16, 16, 3), np.uint8)
    shallow = backend.encode_shallow(image)
    niceness = os.getpriority(os.PRIO_PROCESS, 0)

    def encode() -> tuple[int, int]:
        with backend.background():
            backend.encode_common(shallow)
            return torch.get_num_threads(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def frame() -> int:
        backend.encode_shallow(image)
        return torch.get_num_threads()

    assert in_a_thread(encode) == (2, max(niceness, 10))
    assert os.getpriority(os.PRIO_PROCESS, 0) == niceness
    assert frame() == 3
    assert in_a_thread(frame) == 3


# Precision


def test_bf16_masks_agree_with_fp32() -> None:
    drive = StreetDrive(StreetConfig(seed=3, frames=60, height=184, width=240))
    keyframe, image = (drive.frame(index).pixels for index in (20, 23))
    answers = {}
    for precision in ("fp32", "bf16"):
        backend = TorchBackend(load_weights(DEFAULT_WEIGHTS), "cpu", precision=precision)
        assert precision in backend.description
        assert backend.precision == precision
        common = backend.encode_common(backend.encode_shallow(keyframe))
        shallow = backend.encode_shallow(image)
        assert backend.change(shallow, shallow) < 1e-6
        answers[precision] = backend.decide([common], shallow, (360, 480), True)
    (mask, confidence), (mask16, confidence16) = answers["fp32"], answers["bf16"]
    assert confidence is not None and confidence16 is not None
    assert len(np.unique(mask)) > 4
    assert np.mean(mask == mask16) > 0.995
    assert np.abs(confidence.astype(int) - confidence16).mean() < 2


def test_auto_is_fp32_on_the_cpu() -> None:
    assert TorchBackend(create_model("camvid_resnet18"), "cpu").precision == "fp32"


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("fp16", "precision is 'fp16', which torch on cpu does not have; expected fp32, bf16"),
        ("int8", "precision is 'int8'"),
        ("half", "precision is 'half'; expected one of auto, fp32, fp16, bf16, int8"),
    ],
)
def test_a_precision_that_is_not_there_is_refused(precision: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        TorchBackend(create_model("camvid_resnet18"), "cpu", precision=precision)


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
    backend = TorchBackend(create_model("camvid_mitb0"), "cpu", num_threads=2)
    assert torch.get_num_threads() == 2
    assert "CPU, 2 threads" in backend.description


def test_backends_keep_their_own_number_of_threads() -> None:
    image, counts = np.zeros((32, 32, 3), np.uint8), (3, 2)
    backends = [TorchBackend(create_model("camvid_mitb0"), "cpu", num_threads=count) for count in counts]
    for backend, count in zip(backends, counts, strict=True):
        backend.encode_shallow(image)
        assert torch.get_num_threads() == count

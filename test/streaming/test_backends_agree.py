"""What every backend on the CPU owes: the same contract, and the masks of the network in torch."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fake_backend import stream_of

from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.deploy.exported import Exported, new_folder, write_document
from dcfm_ros.deploy.onnx_graphs import onnx_graphs
from dcfm_ros.deploy.parts import Parts, inference_parts
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.model import create_model, load_weights, save_weights
from dcfm_ros.streaming import FixedInterval
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.backends.openvino_backend import OpenVinoBackend
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.weights import DEFAULT_WEIGHTS

SIZE, OTHER_SIZE = (64, 96), (96, 64)
MASK = (70, 110)
NETWORKS = ("camvid_resnet18", "camvid_mitb0", "camvid_lite0")


@dataclass
class Case:
    """A backend in float32, and the network's parts to sum by hand."""

    backend: Backend
    parts: Parts

    def features(self, image: np.ndarray) -> tuple[Any, Any]:
        shallow = self.backend.encode_shallow(image)
        return shallow, self.backend.encode_common(shallow)

    def expected_features(self, image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        shallow = self.parts.shallow(torch.from_numpy(image[None]))
        return shallow, self.parts.common(shallow)

    def grid(self) -> np.ndarray:
        """Where every place lies already."""
        stride = self.backend.config.common_stride
        y, x = (2 * (np.arange(side // stride) + 0.5) / (side // stride) - 1 for side in SIZE)
        return np.stack(np.meshgrid(x, y), -1).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Of each network a weights file and its graphs, exported."""
    return {name: _written(name, tmp_path_factory.mktemp(name)) for name in NETWORKS}


def _written(name: str, folder: Path) -> tuple[Path, Path]:
    torch.manual_seed(6)
    model = create_model(name)
    with torch.no_grad():  # random weights give nearly equal logits: larger ones make clear winners
        model.head[-1].get_parameter("weight").mul_(50)
    save_weights(model, folder / "weights.safetensors")
    exported = Exported("onnx", model.config, "fp32", "0" * 64)
    with new_folder(folder / "graphs") as graphs:
        for part, content in onnx_graphs(model, joined=True).items():
            exported.path(graphs, part).write_bytes(content)
        write_document(exported, graphs)
    return folder / "weights.safetensors", folder / "graphs"


@pytest.fixture(
    scope="module",
    params=list(product(NETWORKS, ("torch", "onnxruntime", "openvino"))),
    ids="-".join,
)
def case(request: pytest.FixtureRequest, weights: dict[str, tuple[Path, Path]]) -> Case:
    name, runtime = request.param
    file, graphs = weights[name]
    backend = create_backend(file if runtime == "torch" else graphs, runtime, "cpu", 2, "fp32")
    return Case(backend, inference_parts(load_weights(file)))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8) for seed in range(3)]


def assert_same(ids: np.ndarray, logits: torch.Tensor) -> None:
    """Equal but where two classes are as good as equal: every library rounds otherwise."""
    full = F.interpolate(logits, MASK, mode="bilinear", align_corners=False)[0]
    best = full.topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-3).numpy()
    assert clear.mean() > 0.9 and len(np.unique(ids)) > 1
    assert (ids.dtype, ids.shape) == (np.uint8, MASK)
    np.testing.assert_array_equal(ids[clear], full.argmax(0).numpy()[clear])


@torch.inference_mode()
@pytest.mark.parametrize("size", [SIZE, OTHER_SIZE])
def test_masks_and_confidence_are_the_networks(case: Case, size: tuple[int, int]) -> None:
    image = np.random.default_rng(7).integers(0, 256, (*size, 3), np.uint8)
    shallow, common = case.features(image)
    ids, confidence = case.backend.decide([common], shallow, MASK, True)
    expected_shallow, expected_common = case.expected_features(image)
    logits = case.parts.logits(expected_common, expected_shallow)
    assert_same(ids, logits)
    full = F.interpolate(logits, MASK, mode="bilinear", align_corners=False)[0]
    assert confidence is not None and confidence.dtype == np.uint8
    np.testing.assert_allclose(confidence, full.softmax(0).max(0).values.numpy() * 255, atol=0.51)
    assert case.backend.decide([common], shallow, MASK, False)[1] is None


@torch.inference_mode()
def test_a_common_feature_of_another_frame_is_reused_and_two_are_summed(case: Case, images: list[np.ndarray]) -> None:
    (_, before), (_, after), (shallow, _) = (case.features(image) for image in images)
    (_, own_before), (_, own_after), (own, _) = (case.expected_features(image) for image in images)
    one = case.parts.logits(own_before, own)
    assert_same(case.backend.decide([before], shallow, MASK, False)[0], one)
    both = one + case.parts.logits(own_after, own)
    assert_same(case.backend.decide([before, after], shallow, MASK, False)[0], both)


def test_features_stay_as_they_are_while_they_are_held(case: Case, images: list[np.ndarray]) -> None:
    image = images[0].copy()
    shallow, common = case.features(image)
    before = case.backend.decide([common], shallow, MASK, True)
    image[:] = 0  # the image's memory is the caller's again
    for other in images[1:]:
        case.backend.decide([case.features(other)[1]], shallow, MASK, False)
        case.backend.align(common, 0.5 * case.grid())
    after = case.backend.decide([common], shallow, MASK, True)
    np.testing.assert_array_equal(before, after)
    assert case.backend.change(shallow, case.backend.encode_shallow(images[0])) < 1e-5


@torch.inference_mode()
def test_the_identity_grid_moves_nothing_and_another_moves_as_it_says(case: Case, images: list[np.ndarray]) -> None:
    shallow, common = case.features(images[0])
    own, own_common = case.expected_features(images[0])
    decide = partial(case.backend.decide, shallow=shallow, size=MASK, confidence=False)
    assert_same(decide([case.backend.align(common, case.grid())])[0], case.parts.logits(own_common, own))
    moved = (case.grid() + (0.5, -0.25)).astype(np.float32)
    expected = case.parts.logits(case.parts.align(own_common, torch.from_numpy(moved[None])), own)
    ids = decide([case.backend.align(common, moved)])[0]
    assert_same(ids, expected)
    assert (ids != decide([common])[0]).mean() > 0.01


@torch.inference_mode()
def test_change_is_nothing_against_itself_and_else_what_it_is_in_torch(case: Case, images: list[np.ndarray]) -> None:
    shallow, other = (case.backend.encode_shallow(image) for image in images[:2])
    (own, _), (own_other, _) = (case.expected_features(image) for image in images[:2])
    assert case.backend.change(shallow, shallow) == pytest.approx(0, abs=1e-6)
    expected = float(case.parts.change(own, own_other))
    assert expected > 1e-4
    assert case.backend.change(shallow, other) == pytest.approx(expected, rel=0.01)


@torch.inference_mode()
def test_a_keyframe_beside_the_stream_is_like_any_other(case: Case, images: list[np.ndarray]) -> None:
    shallow, _ = case.features(images[0])
    found: list[Any] = []

    def compute() -> None:
        for _ in range(2):
            with case.backend.background():
                found.append(case.backend.encode_common(shallow))

    thread = threading.Thread(target=compute)
    thread.start()
    meanwhile = [case.backend.decide([case.features(image)[1]], shallow, MASK, False)[0] for image in images]
    thread.join()
    own, own_common = case.expected_features(images[0])
    for common in found:
        assert_same(case.backend.decide([common], shallow, MASK, False)[0], case.parts.logits(own_common, own))
    for image, ids in zip(images, meanwhile, strict=True):
        assert_same(ids, case.parts.logits(case.expected_features(image)[1], own))


def noted_compilations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A list that grows by the part, shapes and threads of each that OpenVINO compiles from now on."""
    compiled: list[tuple[Any, ...]] = []
    compile_part = OpenVinoBackend._compiled

    def noted(backend: OpenVinoBackend, *arguments: Any) -> Any:
        compiled.append(arguments)
        return compile_part(backend, *arguments)

    monkeypatch.setattr(OpenVinoBackend, "_compiled", noted)
    return compiled


def test_what_openvino_compiles_is_kept_for_several_sizes(
    weights: dict[str, tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = noted_compilations(monkeypatch)
    backend = create_backend(weights["camvid_lite0"][1], "openvino", "cpu", 2, "fp32")
    for _ in range(2):
        for width in (64, 96, 128, 160):
            image = np.zeros((32, width, 3), np.uint8)
            shallow, other = backend.encode_shallow(image), backend.encode_shallow(image)
            with backend.background():
                backend.encode_common(shallow)
            backend.change(shallow, other)
            stride = backend.config.common_stride
            moved = backend.align(
                backend.encode_common(shallow), np.zeros((32 // stride, width // stride, 2), np.float32)
            )
            backend.decide([moved], other, MASK, False)
    assert len(compiled) == len(set(compiled)) > 16


def test_what_openvino_compiled_goes_where_more_sizes_come_than_are_kept(
    weights: dict[str, tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = noted_compilations(monkeypatch)
    backend = create_backend(weights["camvid_lite0"][1], "openvino", "cpu", 2, "fp32", kept_sizes=1)
    compiled.clear()
    for _ in range(2):
        for width in (64, 96, 128, 160):
            shallow = backend.encode_shallow(np.zeros((32, width, 3), np.uint8))
            with backend.background():
                backend.encode_common(shallow)
            backend.change(shallow, backend.encode_shallow(np.zeros((32, width, 3), np.uint8)))
    assert len(compiled) == 2 * len(set(compiled))


def test_a_read_only_image_is_taken_like_any_other(case: Case, images: list[np.ndarray]) -> None:
    image = images[0].copy()
    image.setflags(write=False)
    mirrored = images[0][:, ::-1]  # not contiguous
    encode, change = case.backend.encode_shallow, case.backend.change
    assert change(encode(image), encode(images[0])) < 1e-5
    assert change(encode(mirrored), encode(mirrored.copy())) < 1e-5


def test_the_precision_that_auto_means_keeps_the_masks_of_a_street() -> None:
    """It is bfloat16 in OpenVINO where the CPU has it; of half a per cent of the pixels it may think otherwise."""
    frames = list(StreetDrive(StreetConfig(frames=2, height=256, width=320)))
    expected = _masks(create_backend(DEFAULT_WEIGHTS, "torch", "cpu", precision="fp32"), frames)
    for name in ("onnxruntime", "openvino"):
        found = _masks(create_backend(DEFAULT_WEIGHTS, name, "cpu"), frames)
        assert np.mean(np.asarray(expected) == np.asarray(found)) >= 0.995, name


def _masks(backend: Backend, frames: list[Frame]) -> list[np.ndarray]:
    segmenter = stream_of(backend, FixedInterval(2), input_size=(256, 320), align="none")
    return [result.mask for frame in frames for result in segmenter.push(frame)]

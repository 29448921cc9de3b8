"""A stream on TensorRT engines, with the double of TensorRT running their graphs on host memory."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import tensorrt_double
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from fake_backend import stream_of
from torch import Tensor

from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.deploy.engine_cache import EngineCache, EngineKey
from dcfm_ros.deploy.exported import Exported, write_document
from dcfm_ros.deploy.onnx_graphs import onnx_graphs
from dcfm_ros.deploy.parts import Parts, inference_parts
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import resize_to_network
from dcfm_ros.model import create_model, load_weights, save_weights
from dcfm_ros.streaming import FixedInterval
from dcfm_ros.streaming.backends.base import BackendError
from dcfm_ros.weights import DEFAULT_WEIGHTS

SIZE = (64, 96)
IDS_SIZE = (70, 100)


class HostDevice:
    """Host memory in a CUDA device's place; each thread's stream does at once what is asked of it."""

    def __init__(self, name: str) -> None:
        self.device = torch.device("cpu")
        self.is_background = False
        self.num_captured = self.num_replayed = 0

    @property
    def stream(self) -> int:
        return 2 if self.is_background else 1

    def selected(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def background(self) -> Iterator[None]:
        self.is_background = True
        yield
        self.is_background = False

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.full(shape, 77, dtype=dtype)

    def upload(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.copy())

    def hand_over(self, feature: Tensor) -> None:
        pass

    def captured(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        with tensorrt_double._captured(self.stream) as enqueued:
            enqueue()
        self.num_captured += 1

        def replay() -> None:
            self.num_replayed += 1
            for each in enqueued:
                each()

        return replay

    def finish(self) -> None:
        pass


@pytest.fixture(scope="module")
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the network that a test names, untrained; of none: those that ship."""
    if (name := getattr(request, "param", "camvid_resnet18")) == "":
        return DEFAULT_WEIGHTS
    torch.manual_seed(0)
    model = create_model(name)
    # A classifier of random weights gives nearly equal logits: larger ones make clear winners.
    with torch.no_grad():
        model.head[-1].get_parameter("weight").mul_(50)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(model, path)
    return path


@pytest.fixture(scope="module")
def parts(weights: Path) -> Parts:
    return inference_parts(load_weights(weights))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="module", params=["10.3.0"])
def double(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    with tensorrt_double._installed(request.param) as module:
        yield module


@pytest.fixture(scope="module")
def graphs(weights: Path) -> Callable[..., dict[str, bytes]]:
    """`onnx_graphs` of the weights, made once for each size and precision."""

    @lru_cache
    def made(half: bool, size: Any, ids_size: Any, joined: bool) -> dict[str, bytes]:
        model = load_weights(weights)
        return onnx_graphs(model.half() if half else model, size, ids_size, joined)

    def of(model: Any, size: Any, ids_size: Any, joined: bool = False) -> dict[str, bytes]:
        half = model is not None and next(model.parameters()).dtype == torch.float16
        with_ids = made(half, size, ids_size or IDS_SIZE, joined)
        return {name: graph for name, graph in with_ids.items() if ids_size or name != "decide"}

    return of


@pytest.fixture(scope="module")
def create(
    double: ModuleType, weights: Path, cache: EngineCache, graphs: Callable[..., dict[str, bytes]]
) -> Iterator[Callable[..., Any]]:
    module = importlib.import_module("dcfm_ros.streaming.backends.tensorrt_backend")
    engines = importlib.import_module("dcfm_ros.deploy.tensorrt_engines")

    def created(path: Path = weights, **options: Any) -> Any:
        double._built.clear()
        return module.TensorRTBackend(path, **{"precision": "fp32", "cache": cache, **options})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CudaDevice", HostDevice)
        patch.setattr(module, "gpu_of", lambda device: engines.Gpu("Orin", "8.7", 16))
        patch.setattr(module, "onnx_graphs", graphs)
        yield created


@pytest.fixture(scope="module")
def backend(create: Callable[..., Any]) -> Any:
    """In float32."""
    return create()


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return list(np.random.default_rng(3).integers(0, 256, (5, *SIZE, 3), np.uint8))


def decided(parts: Parts, commons: Sequence[Tensor], shallow: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits at full size."""
    low = torch.stack([parts.logits(common, shallow) for common in commons]).sum(0)
    return F.interpolate(low, size, mode="bilinear", align_corners=False)[0]


def assert_same_ids(mask: np.ndarray, logits: Tensor) -> None:
    """Equal but where two classes are as good as equal: another library adds in another order."""
    best = logits.topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-3).numpy()
    assert clear.mean() > 0.9
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[clear], logits.argmax(0).numpy()[clear])


def shallow_of(parts: Parts, image: np.ndarray) -> Tensor:
    return parts.shallow(torch.from_numpy(image[None]))


# The same as PyTorch


@pytest.mark.parametrize("mode", ["causal", "bidirectional"])
def test_masks_of_a_stream_are_those_of_the_network(mode: Any, backend: Any, parts: Parts) -> None:
    check_stream(mode, backend, parts)


@pytest.mark.parametrize("weights", ["camvid_mitb0"], indirect=True)
def test_masks_of_the_other_kind_of_backbone_are_too(weights: Path, backend: Any, parts: Parts) -> None:
    check_stream("causal", backend, parts)


@torch.inference_mode()
def check_stream(mode: Any, backend: Any, parts: Parts) -> None:
    pictures = [Frame(each) for each in np.random.default_rng(4).integers(0, 256, (5, *IDS_SIZE, 3), np.uint8)]
    segmenter = stream_of(backend, FixedInterval(3), mode=mode, input_size=SIZE)
    results = [result for picture in pictures for result in segmenter.push(picture)] + segmenter.flush()
    shallow = [shallow_of(parts, resize_to_network(picture, SIZE)) for picture in pictures]
    first, second = parts.common(shallow[0]), parts.common(shallow[3])
    between = [first, second] if mode == "bidirectional" else [first]
    for index, commons in enumerate([[first], between, between, [second], [second]]):
        assert_same_ids(results[index].mask, decided(parts, commons, shallow[index], IDS_SIZE))


@torch.inference_mode()
def test_masks_and_confidence_have_the_size_asked_for(backend: Any, parts: Parts, images: list[np.ndarray]) -> None:
    shallow = backend.encode_shallow(images[0])
    common = backend.encode_common(shallow)
    own = shallow_of(parts, images[0])
    for commons, own_commons in (([common], [parts.common(own)]), ([common] * 2, [parts.common(own)] * 2)):
        logits = decided(parts, own_commons, own, IDS_SIZE)
        mask, confidence = backend.decide(commons, shallow, IDS_SIZE, True)
        assert_same_ids(mask, logits)
        assert confidence.dtype == np.uint8
        np.testing.assert_allclose(confidence, logits.softmax(0).max(0).values.numpy() * 255, atol=1)
        alone, none = backend.decide(commons, shallow, IDS_SIZE, False)
        assert none is None
        np.testing.assert_array_equal(alone, mask)


@torch.inference_mode()
def test_features_are_moved_and_compared_as_the_parts_do(backend: Any, parts: Parts, images: list[np.ndarray]) -> None:
    one, other = (backend.encode_shallow(image) for image in images[:2])
    common = backend.encode_common(one)
    grid = np.random.default_rng(0).uniform(-1, 1, (*common.shape[2:], 2)).astype(np.float32)
    moved = parts.align(common, torch.from_numpy(grid[None]))
    np.testing.assert_allclose(backend.align(common, grid), moved, atol=1e-5)
    assert backend.change(one, other) == pytest.approx(float(parts.change(one, other)), abs=1e-6)
    assert backend.change(one, one) == pytest.approx(0, abs=1e-6)


def test_a_keyframe_beside_the_stream_is_the_same(backend: Any, images: list[np.ndarray]) -> None:
    shallow = backend.encode_shallow(images[0])
    with backend.background():
        beside = backend.encode_common(shallow)
    assert torch.equal(beside, backend.encode_common(shallow))


def test_features_do_not_change_while_somebody_holds_them(backend: Any, images: list[np.ndarray]) -> None:
    held = [backend.encode_shallow(image) for image in images]
    commons = [backend.encode_common(shallow) for shallow in held]
    before = [(shallow.clone(), common.clone()) for shallow, common in zip(held, commons, strict=True)]
    for image in images:
        backend.encode_common(backend.encode_shallow(image))
    for shallow, common, copies in zip(held, commons, before, strict=True):
        assert torch.equal(shallow, copies[0])
        assert torch.equal(common, copies[1])


def test_what_comes_again_at_the_same_addresses_is_recorded(
    create: Callable[..., Any], images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = create()
    device = backend._device
    expected = [backend.encode_shallow(image) for image in images]
    memory = {"image": torch.empty((1, *SIZE, 3), dtype=torch.uint8), "shallow": torch.empty_like(expected[0])}
    monkeypatch.setattr(device, "empty", lambda shape, dtype: memory["shallow"])
    monkeypatch.setattr(device, "upload", lambda array: memory["image"].copy_(torch.from_numpy(array)))
    before = device.num_captured
    for image, shallow in zip(images, expected, strict=True):
        assert torch.equal(backend.encode_shallow(image), shallow)
    assert (device.num_captured - before, device.num_replayed) == (1, 4)


@pytest.mark.parametrize("weights", ["camvid_resnet18", "camvid_lite0"], indirect=True)
@pytest.mark.parametrize("double", ["10.3.0", "11.4.0.106"], indirect=True)
def test_fp16_keeps_features_in_half_precision(
    create: Callable[..., Any], double: ModuleType, parts: Parts, images: list[np.ndarray]
) -> None:
    backend = create(precision="auto")
    assert backend.description == f"tensorrt {double.__version__} fp16 on Orin"
    shallow = backend.encode_shallow(images[0])
    common = backend.encode_common(shallow)
    assert shallow.dtype == common.dtype == torch.float16
    assert 0 < backend.change(shallow, backend.encode_shallow(images[1])) < 1
    mask, _ = backend.decide([common], shallow, IDS_SIZE, False)
    with torch.inference_mode():
        own = shallow_of(parts, images[0])
        logits = decided(parts, [parts.common(own)], own, IDS_SIZE)
    assert (mask == logits.argmax(0).numpy()).mean() > 0.98


# Engines


def test_engines_are_built_ahead_or_at_the_first_frame_that_needs_them(
    create: Callable[..., Any], double: ModuleType, images: list[np.ndarray], tmp_path: Path
) -> None:
    backend = create(cache=EngineCache(tmp_path))
    told: list[Any] = []
    backend.prepare(SIZE, IDS_SIZE, told.append).result(120)
    outputs = [built.outputs[0] for built in double._built]
    assert outputs == ["shallow", "common", "logits", "aligned", "change", "ids"]
    assert (told[0].phase, told[-1].fraction) == ("graphs", 1.0)
    shallow = backend.encode_shallow(images[0])
    common = backend.encode_common(shallow)
    backend.decide([common], shallow, IDS_SIZE, True)
    assert len(double._built) == 6
    backend.decide([common], shallow, (35, 50), True)
    assert [built.outputs[0] for built in double._built[6:]] == ["ids"]
    create(cache=EngineCache(tmp_path)).prepare(SIZE, IDS_SIZE).result(120)
    assert double._built == []


@pytest.mark.parametrize("kept_sizes", [1, 2])
def test_few_sizes_are_kept_and_the_others_come_from_the_cache(
    create: Callable[..., Any], double: ModuleType, monkeypatch: pytest.MonkeyPatch, kept_sizes: int
) -> None:
    loaded: list[EngineKey] = []
    load = EngineCache.load

    def noted(cache: EngineCache, key: EngineKey) -> bytes | None:
        loaded.append(key)
        return load(cache, key)

    monkeypatch.setattr(EngineCache, "load", noted)
    backend = create(kept_sizes=kept_sizes)
    for _ in range(2):
        before = len(loaded)
        for height, width in (SIZE, (32, 64)):
            shallow = backend.encode_shallow(np.zeros((height, width, 3), np.uint8))
            assert shallow.shape[2:] == (height // 4, width // 4)
            backend.decide([backend.encode_common(shallow)], shallow, IDS_SIZE, False)
            assert len(backend._networks) <= kept_sizes
    assert (len(loaded) == before) is (kept_sizes == 2)
    assert [built.outputs[0] for built in double._built].count("shallow") <= 2


# Exported folders


def export(folder: Path, weights: Path, kind: str, size: Any, ids_size: Any, graphs: dict[str, bytes]) -> Path:
    folder.mkdir()
    exported = Exported(kind, load_weights(weights).config, "fp32", "", size, ids_size)
    for name, graph in graphs.items():
        exported.path(folder, name).write_bytes(graph)
    write_document(exported, folder)
    return folder


@pytest.mark.parametrize("kind, size, ids_size", [("tensorrt", SIZE, IDS_SIZE), ("onnx", None, None)])
@torch.inference_mode()
def test_an_exported_folder_gives_the_masks_of_its_weights(
    kind: str,
    size: Any,
    ids_size: Any,
    create: Callable[..., Any],
    graphs: Callable[..., dict[str, bytes]],
    weights: Path,
    parts: Parts,
    images: list[np.ndarray],
    tmp_path: Path,
) -> None:
    folder = export(tmp_path / "exported", weights, kind, size, ids_size, graphs(None, size, ids_size, kind == "onnx"))
    backend = create(folder, precision="auto")
    assert backend.precision == "fp32"
    shallow = backend.encode_shallow(images[0])
    common = backend.encode_common(shallow)
    own = shallow_of(parts, images[0])
    for wanted in (IDS_SIZE, (35, 50)):
        mask, _ = backend.decide([common], shallow, wanted, False)
        assert_same_ids(mask, decided(parts, [parts.common(own)], own, wanted))


@pytest.mark.parametrize(
    "weights, precision", [("camvid_lite0", "fp16"), ("", "fp16"), ("", "int8")], indirect=["weights"]
)
def test_what_is_exported_for_tensorrt_agrees_with_torch(
    weights: Path, precision: str, create: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `dcfm export` holds it against torch; nothing else is written."""
    monkeypatch.setenv("DCFM_ENGINE_CACHE", str(tmp_path / "engines"))
    how = ["--format", "tensorrt", "--input-size", "128x160", "--ids-size", "90x120", "--precision", precision]
    if precision == "int8":
        (tmp_path / "drive").mkdir()
        for index, frame in enumerate(StreetDrive(StreetConfig(seed=3, frames=4, height=120, width=160))):
            cv2.imwrite(str(tmp_path / "drive" / f"{index}.png"), frame.pixels[..., ::-1])
        how += ["--calibrate", str(tmp_path / "drive")]
    command = importlib.import_module("dcfm_ros.cli.export").command
    done = CliRunner().invoke(command, [str(weights), *how, "--output", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0 and f"checked in tensorrt 10.3.0 {precision} on Orin" in done.output
    shallow = onnx.load(tmp_path / "out" / "shallow.onnx").graph
    assert shallow.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    assert ("QuantizeLinear" in {node.op_type for node in shallow.node}) is (precision == "int8")
    assert create(tmp_path / "out", precision="auto").precision == precision


def test_a_folder_of_one_size_takes_no_other(
    create: Callable[..., Any], graphs: Callable[..., dict[str, bytes]], weights: Path, tmp_path: Path
) -> None:
    backend = create(export(tmp_path / "exported", weights, "onnx", SIZE, None, graphs(None, SIZE, None, True)))
    with pytest.raises(BackendError, match=r"input is 32x64, but its graphs .* set input_size to \[64, 96\]"):
        backend.encode_shallow(np.zeros((32, 64, 3), np.uint8))


# Refused


def test_features_of_another_precision_are_refused(create: Callable[..., Any], images: list[np.ndarray]) -> None:
    half, full = create(precision="fp16"), create()
    message = (
        r"shallow is torch.float16 \(1, \d+, 16, 24\); this engine of common takes torch.float32 \(1, \d+, 16, 24\)"
    )
    with pytest.raises(BackendError, match=message):
        full.encode_common(half.encode_shallow(images[0]))


def test_a_precision_that_is_not_there_is_refused(create: Callable[..., Any]) -> None:
    with pytest.raises(BackendError, match="bf16"):
        create(precision="bf16")
    with pytest.raises(BackendError, match="int8"):
        create(precision="int8")


def test_a_folder_asked_for_another_precision_is_refused(
    create: Callable[..., Any], graphs: Callable[..., dict[str, bytes]], weights: Path, tmp_path: Path
) -> None:
    folder = export(tmp_path / "exported", weights, "onnx", SIZE, None, graphs(None, SIZE, None, True))
    with pytest.raises(BackendError, match="precision is 'fp16', but the graphs were exported in fp32"):
        create(folder, precision="fp16")


def test_an_engine_that_is_not_built_is_said_with_tensorrts_reason(
    create: Callable[..., Any],
    images: list[np.ndarray],
    double: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def fails(self: Any, network: Any, config: Any) -> None:
        self._logger.log(double.ILogger.Severity.ERROR, "Could not find any implementation for node Conv_1.")

    monkeypatch.setattr(double.Builder, "build_serialized_network", fails)
    backend = create(cache=EngineCache(tmp_path))
    with pytest.raises(BackendError, match="engine of shallow: Could not find any implementation for node Conv_1"):
        backend.encode_shallow(images[0])


def test_an_engine_that_does_not_run_is_said(
    create: Callable[..., Any], images: list[np.ndarray], double: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = create()
    backend.encode_shallow(images[0])
    monkeypatch.setattr(double.IExecutionContext, "execute_async_v3", lambda self, stream_handle: False)
    with pytest.raises(BackendError, match="TensorRT did not run shallow"):
        backend.encode_shallow(images[0])

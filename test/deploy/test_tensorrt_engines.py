"""Building engines, on a double of TensorRT: kept and used again, cancelled, told of, and refused with a reason."""

from __future__ import annotations

import importlib
import multiprocessing
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import tensorrt_double
import torch
from onnx import TensorProto, helper

from dcfm_ros.deploy.calibration import Clip
from dcfm_ros.deploy.engine_cache import EngineCache
from dcfm_ros.deploy.onnx_graphs import HALF_INT8_OPSET, onnx_graphs
from dcfm_ros.deploy.quantise import quantised
from dcfm_ros.model import ModelConfig, create_model

ORIN = ("Orin", "8.7", 16)
SIZE = (64, 96)


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return create_model("camvid_mitb0").config


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    """Two small ones."""
    made = onnx_graphs(create_model("camvid_mitb0"), SIZE)
    return {name: made[name] for name in ("logits", "align")}


@pytest.fixture
def double(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    with tensorrt_double._installed(getattr(request, "param", "10.3.0")) as module:
        yield module


every_version = pytest.mark.parametrize("double", ["10.3.0", "11.4.0.106"], indirect=True)


@pytest.fixture
def engines(double: ModuleType) -> ModuleType:
    return importlib.import_module("dcfm_ros.deploy.tensorrt_engines")


class Builds:
    """`build_engines` with what is the same in all tests."""

    def __init__(self, engines: ModuleType, config: ModelConfig, folder: Path) -> None:
        self.engines, self.config, self.cache = engines, config, EngineCache(folder)

    def options(self, **changed: Any) -> Any:
        return self.engines.EngineOptions(**{"size": SIZE, "gpu": self.engines.Gpu(*ORIN), **changed})

    def __call__(self, graphs: dict[str, bytes], report: Any = lambda progress: None, **changed: Any) -> dict[str, Any]:
        return self.engines.build_engines(graphs, self.config, self.options(**changed), self.cache, report)

    def in_thread(self, graphs: dict[str, bytes], report: Any = lambda progress: None) -> Any:
        def work(report: Any, cancelled: Any) -> dict[str, Any]:
            return self.engines.build_engines(
                graphs, self.config, self.options(), self.cache, report=report, cancelled=cancelled
            )

        return self.engines.EngineBuild(work, report)

    def stored(self) -> set[Path]:
        return set(self.cache.folder.iterdir())


@pytest.fixture
def build(engines: ModuleType, config: ModelConfig, tmp_path: Path) -> Builds:
    return Builds(engines, config, tmp_path)


def graph(*nodes: onnx.NodeProto, type_in: int = TensorProto.FLOAT) -> bytes:
    """Of a tensor x to a tensor y, both (2, 3)."""
    x = helper.make_tensor_value_info("x", type_in, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    made = helper.make_graph([*nodes], "graph", [x], [y])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


# Kept


def test_engines_are_built_once(build: Builds, double: ModuleType, graphs: dict[str, bytes]) -> None:
    assert list(build(graphs)) == ["logits", "align"]
    assert [built.outputs for built in double._built] == [["logits"], ["aligned"]]
    told: list[Any] = []
    again = build(graphs, told.append)
    assert again["logits"].get_tensor_name(0) == "common"
    assert len(double._built) == 2
    assert told == [("logits", 1, 2, "cached", 0.5), ("align", 2, 2, "cached", 1.0)]


def test_another_way_of_building_is_another_engine(
    build: Builds, double: ModuleType, engines: ModuleType, graphs: dict[str, bytes]
) -> None:
    changes: list[dict[str, Any]] = [{}, {"size": (32, 64)}, {"workspace_bytes": 1 << 20}]
    changes.append({"gpu": engines.Gpu("Orin", "8.7", 8)})
    for changed in (*changes, *changes):
        build({"align": graphs["align"]}, **changed)
    assert len(double._built) == len(changes)
    assert [built.workspace for built in double._built] == [1 << 30, 1 << 30, 1 << 20, 1 << 30]


def test_a_damaged_engine_is_built_again(build: Builds, double: ModuleType, graphs: dict[str, bytes]) -> None:
    build(graphs)
    path = build.cache.path(build.options().key(graphs["align"]))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    build(graphs)
    assert [built.outputs for built in double._built[2:]] == [["aligned"]]
    assert path.read_bytes() == whole


def test_an_engine_that_tensorrt_does_not_load_is_built_again(
    build: Builds, double: ModuleType, graphs: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    key = build.options().key(graphs["align"])
    build.cache.store(key, b'{"version": "10.2.0"}\n')
    build({"align": graphs["align"]})
    assert len(double._built) == 1
    assert "(The engine plan file is of TensorRT 10.2.0.); it is built again" in caplog.text
    build({"align": graphs["align"]})
    assert len(double._built) == 1


def test_what_was_measured_for_one_engine_serves_the_next(
    build: Builds, double: ModuleType, graphs: dict[str, bytes]
) -> None:
    build({"logits": graphs["logits"]})
    build(graphs)
    assert [built.had_timings for built in double._built] == [False, True]


def build_here(folder: Path, graphs: dict[str, bytes], config: ModelConfig) -> list[str]:
    with tensorrt_double._installed():
        engines = importlib.import_module("dcfm_ros.deploy.tensorrt_engines")
        built = [Builds(engines, config, folder)(graphs) for _ in range(3)]
        return [name for each in built for name in each]


def test_two_processes_may_build_the_same(
    build: Builds, double: ModuleType, graphs: dict[str, bytes], config: ModelConfig, tmp_path: Path
) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.starmap(build_here, [(tmp_path, graphs, config)] * 2)
    assert results == [["logits", "align"] * 3] * 2
    build(graphs)
    assert double._built == []


# Told of, and cancelled


def test_progress_is_reported_and_never_falls(build: Builds, graphs: dict[str, bytes]) -> None:
    told: list[Any] = []
    build(graphs, told.append)
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert {(progress.graph, progress.number, progress.graphs) for progress in told} == {
        ("logits", 1, 2),
        ("align", 2, 2),
    }
    assert {progress.phase for progress in told} == {"Building Engine", "Timing Graph Nodes"}


def test_a_thread_builds_while_the_caller_goes_on(build: Builds, graphs: dict[str, bytes]) -> None:
    may_go_on = threading.Event()
    started = build.in_thread(graphs, lambda progress: may_go_on.wait(60) and None).start()
    with pytest.raises(TimeoutError):
        started.result(timeout_s=0.01)
    may_go_on.set()
    assert list(started.result(60)) == ["logits", "align"]
    assert started.progress == ("align", 2, 2, "Building Engine", 1.0)
    with pytest.raises(RuntimeError):
        started.start()


def test_a_cancelled_build_ends_and_leaves_nothing(
    build: Builds, double: ModuleType, engines: ModuleType, graphs: dict[str, bytes]
) -> None:
    def cancel(progress: Any) -> None:
        if progress.graph == "align":
            building.cancel()

    building = build.in_thread(graphs, cancel)
    with pytest.raises(engines.BuildCancelled):
        building.start().result(60)
    assert [built.outputs for built in double._built] == [["logits"]]
    kept = [build.options().key(content) for content in (graphs["logits"], b"timings")]
    assert build.stored() == {build.cache.path(key) for key in kept}
    build(graphs)
    assert len(double._built) == 2


def test_one_cancelled_before_it_began_builds_nothing(
    build: Builds, double: ModuleType, engines: ModuleType, graphs: dict[str, bytes]
) -> None:
    building = build.in_thread(graphs)
    building.cancel()
    with pytest.raises(engines.BuildCancelled):
        building.start().result(60)
    assert double._built == []


def test_a_failing_report_ends_the_build_and_comes_out(
    build: Builds, double: ModuleType, graphs: dict[str, bytes]
) -> None:
    def fail(progress: Any) -> None:
        raise ZeroDivisionError("shown where it was wanted")

    with pytest.raises(ZeroDivisionError, match="shown where it was wanted"):
        build(graphs, fail)
    assert double._built == []


# Precisions and sizes


@cache
def in_half(name: str) -> dict[str, bytes]:
    """A network's graphs in float16, which no test changes."""
    return onnx_graphs(create_model(name).half(), SIZE, ids_size=(70, 100))


@every_version
def test_the_graph_says_the_precision(build: Builds, double: ModuleType, graphs: dict[str, bytes]) -> None:
    half = in_half("camvid_mitb0")
    for feature, given in ((double.float32, graphs), (double.float16, {name: half[name] for name in graphs})):
        made = build(given)
        types = {name: made["align"].get_tensor_dtype(name) for name in ("common", "grid", "aligned")}
        assert types == {"common": feature, "grid": double.float32, "aligned": feature}
        assert made["logits"].get_tensor_dtype("logits") == feature
    assert [built.flags for built in double._built] == [set()] * 4  # not even TF32


@pytest.mark.parametrize("name", ["camvid_mitb0", "camvid_resnet18"])
def test_a_graph_of_any_size_becomes_an_engine_of_one(name: str, build: Builds) -> None:
    model = create_model(name)
    build.config = model.config
    made = build(onnx_graphs(model), size=(64, 128))
    height, width = 64 // model.config.common_stride, 128 // model.config.common_stride
    for part, tensor, sides in (
        ("shallow", "image", (1, 64, 128, 3)),
        ("common", "shallow", (1, None, 16, 32)),
        ("logits", "common", (1, None, height, width)),
        ("align", "grid", (1, height, width, 2)),
        ("change", "reference", (1, None, 16, 32)),
    ):
        shapes = made[part].get_tensor_profile_shape(tensor, 0)
        assert shapes[0] == shapes[1] == shapes[2]
        expected = [own if side is None else side for side, own in zip(sides, shapes[0], strict=True)]
        assert list(shapes[0]) == expected


# Refused


def test_an_operator_that_tensorrt_does_not_have_is_named(build: Builds, engines: ModuleType) -> None:
    content = graph(helper.make_node("Unique", ["x"], ["y"], name="/head/Unique"))
    message = "does not read the graph of logits: Unique /head/Unique: No importer registered for op"
    with pytest.raises(engines.EngineError, match=message):
        build({"logits": content})
    with pytest.raises(engines.EngineError, match=r"logits: .* could not be deserialized"):
        build({"logits": b"no graph"})
    assert build.stored() == set()


def test_bytes_are_only_converted(build: Builds, engines: ModuleType) -> None:
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    build({"fine": graph(cast, type_in=TensorProto.UINT8)})
    turn = helper.make_node("Transpose", ["x"], ["turned"], name="turn")
    late = helper.make_node("Cast", ["turned"], ["y"], to=TensorProto.FLOAT)
    with pytest.raises(engines.EngineError, match="Transpose turn: uint8 is only converted"):
        build({"shallow": graph(turn, late, type_in=TensorProto.UINT8)})


def test_what_the_graph_does_not_convert_is_refused(build: Builds, engines: ModuleType) -> None:
    model = onnx.load_from_string(in_half("camvid_mitb0")["align"])
    (sampling,) = (node for node in model.graph.node if node.op_type == "GridSample")
    (cast,) = (node for node in model.graph.node if sampling.input[0] in node.output)
    sampling.input[0] = cast.input[0]
    with pytest.raises(engines.EngineError, match="inputs are of two types in a strongly typed network"):
        build({"align": model.SerializeToString()})


@every_version
@pytest.mark.parametrize("name", ["camvid_lite0", "camvid_mitb0", "camvid_resnet18"])
def test_tensorrt_has_all_that_the_networks_half_graphs_ask_for(name: str, build: Builds, double: ModuleType) -> None:
    made = build(in_half(name))
    assert list(made) == ["shallow", "common", "logits", "align", "change", "decide"]


@pytest.mark.parametrize("name", ["camvid_lite0", "camvid_resnet18"])
def test_tensorrt_reads_the_networks_graphs_in_int8(name: str, build: Builds, double: ModuleType) -> None:
    images = [np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)]
    half = onnx_graphs(create_model(name).half(), SIZE, opset=HALF_INT8_OPSET)
    made = quantised(half, [Clip(image, ()) for image in images], signed=True)
    engines = build({name: made[name] for name in ("shallow", "common")})
    assert engines["common"].get_tensor_dtype("common") == double.float16
    assert all(b"QuantizeLinear" in made[name] for name in engines)


@pytest.mark.parametrize("version", ["8.6.2", "10.0.1", "12.0.0"])
def test_other_versions_are_refused(version: str, double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(double, "__version__", version)
    with pytest.raises(ImportError, match=rf"TensorRT is {version}; expected 10.3 or later, or 11"):
        importlib.import_module("dcfm_ros.deploy.tensorrt_engines")


def test_a_device_that_is_not_there_is_refused(engines: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(engines.EngineError, match="device is 'cuda:1', but torch sees 1 CUDA devices here"):
        engines.gpu_of(torch.device("cuda", 1))

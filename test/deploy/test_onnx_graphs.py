"""The ONNX graphs, run by ONNX Runtime, against the modules that they were made from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx.reference import ReferenceEvaluator

from dcfm_ros.deploy.onnx_graphs import onnx_graphs
from dcfm_ros.deploy.parts import Parts, inference_parts
from dcfm_ros.imaging.motion import Motion
from dcfm_ros.model import DCFM, create_model

IDS_SIZE = (150, 203)  # more than a band of rows, and no multiple of one
# Places of the common feature that 2, 3 and 6 bins do not divide, and sizes above and below that of the export.
SIZES = {
    "camvid_resnet18": [(72, 104), (128, 200)],
    "camvid_mitb0": [(64, 96), (96, 160)],
    "camvid_lite0": [(64, 96), (96, 160)],
}
CASES = [(name, size) for name, sizes in SIZES.items() for size in sizes]


@dataclass
class Network:
    graphs: dict[str, bytes]
    parts: Parts
    sessions: dict[str, onnxruntime.InferenceSession] = field(default_factory=dict)

    def run(self, part: str, **inputs: torch.Tensor) -> list[np.ndarray]:
        if part not in self.sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            providers = ["CPUExecutionProvider"]
            self.sessions[part] = onnxruntime.InferenceSession(self.graphs[part], options, providers=providers)
        return self.sessions[part].run(None, {name: tensor.numpy() for name, tensor in inputs.items()})


def weighted(name: str) -> DCFM:
    torch.manual_seed(4)
    model = create_model(name)
    with torch.no_grad():  # random weights give nearly equal logits: larger ones make clear winners
        model.head[-1].get_parameter("weight").mul_(50)
    return model


def graphs_of(model: DCFM) -> dict[str, bytes]:
    return onnx_graphs(model, None, IDS_SIZE, joined=True)


def made(name: str) -> Network:
    model = weighted(name)
    return Network(graphs_of(model), inference_parts(model))


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {name: made(name) for name in SIZES}


def inputs_of(parts: Parts, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An image, its shallow feature and its common feature."""
    image = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (1, *size, 3), np.uint8))
    shallow = parts.shallow(image)
    return image, shallow, parts.common(shallow)


def assert_equal(found: np.ndarray, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "size"), CASES)
@torch.inference_mode()
def test_whole_frames_in_one_graph_are_their_parts(
    networks: dict[str, Network], name: str, size: tuple[int, int]
) -> None:
    network = networks[name]
    image, shallow, common = inputs_of(network.parts, size)
    own, logits = network.run("keyframe", image=image)
    assert_equal(own, common)
    assert_equal(logits, network.parts.logits(common, shallow))
    frame, frames_own = image.flip(2).contiguous(), network.parts.shallow(image.flip(2))
    [reused] = network.run("reused", image=frame, common=common)
    assert_equal(reused, network.parts.logits(common, frames_own))
    height, width = common.shape[2:]
    grid = 0.9 * torch.from_numpy(Motion(None).grid((height, width)))[None]
    [moved] = network.run("moved", image=frame, common=common, grid=grid)
    assert_equal(moved, network.parts.logits(network.parts.align(common, grid), frames_own))


@torch.inference_mode()
@pytest.mark.parametrize("name, size", CASES)
def test_every_part_computes_what_torch_computes_at_any_size(
    networks: dict[str, Network], name: str, size: tuple[int, int]
) -> None:
    network = networks[name]
    parts = network.parts
    image, shallow, common = inputs_of(parts, size)
    grid = torch.rand(1, *common.shape[2:], 2) * 2.4 - 1.2
    reference = shallow.flip(2)
    assert_equal(network.run("shallow", image=image)[0], shallow)
    assert_equal(network.run("common", shallow=shallow)[0], common)
    assert_equal(network.run("logits", common=common, shallow=shallow)[0], parts.logits(common, shallow))
    assert_equal(network.run("align", common=common, grid=grid)[0], parts.align(common, grid))
    change = parts.change(shallow, reference)
    assert change > 1e-3
    assert_equal(network.run("change", shallow=shallow, reference=reference)[0], change)


@torch.inference_mode()
@pytest.mark.parametrize("name, size", CASES)
def test_ids_and_confidence_are_those_of_upsampled_logits(
    networks: dict[str, Network], name: str, size: tuple[int, int]
) -> None:
    network = networks[name]
    _, shallow, common = inputs_of(network.parts, size)
    ids, confidence = network.run("decide", common=common, shallow=shallow)
    full = F.interpolate(network.parts.logits(common, shallow), IDS_SIZE, mode="bilinear", align_corners=False)[0]
    best = full.topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-3).numpy()
    assert clear.mean() > 0.9
    assert (ids.dtype, confidence.dtype, ids.shape) == (np.uint8, np.uint8, IDS_SIZE)
    np.testing.assert_array_equal(ids[clear], full.argmax(0).numpy()[clear])
    np.testing.assert_allclose(confidence, full.softmax(0).max(0).values.numpy() * 255, atol=0.51)


@pytest.mark.parametrize("name", SIZES)
def test_names_of_inputs_and_outputs(networks: dict[str, Network], name: str) -> None:
    expected = {
        "shallow": (["image"], ["shallow"]),
        "common": (["shallow"], ["common"]),
        "logits": (["common", "shallow"], ["logits"]),
        "align": (["common", "grid"], ["aligned"]),
        "change": (["shallow", "reference"], ["change"]),
        "decide": (["common", "shallow"], ["ids", "confidence"]),
        "keyframe": (["image"], ["common", "logits"]),
        "reused": (["image", "common"], ["logits"]),
        "moved": (["image", "common", "grid"], ["logits"]),
    }
    found = {}
    for part, content in networks[name].graphs.items():
        onnx.checker.check_model(content, full_check=True)
        graph = onnx.load_from_string(content).graph
        found[part] = ([tensor.name for tensor in graph.input], [tensor.name for tensor in graph.output])
    assert found == expected


@torch.inference_mode()
def test_graphs_of_one_size_hold_it() -> None:
    model = weighted("camvid_resnet18")
    network = Network(onnx_graphs(model, (64, 96)), inference_parts(model))
    image, shallow, common = inputs_of(network.parts, (64, 96))
    assert_equal(network.run("common", shallow=shallow)[0], common)
    for part, tensor in (("shallow", image), ("common", shallow)):
        shape = onnx.load_from_string(network.graphs[part]).graph.input[0].type.tensor_type.shape
        assert tuple(dim.dim_value for dim in shape.dim) == tuple(tensor.shape)


@pytest.fixture(scope="module")
def halves(networks: dict[str, Network]) -> dict[str, Network]:
    """The same in float16, and the parts in float32."""
    return {name: Network(graphs_of(weighted(name).half()), network.parts) for name, network in networks.items()}


@torch.inference_mode()
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("largest", [1.0, 3000.0], ids=["small", "squares beyond float16"])
def test_graphs_in_float16_give_the_logits_of_float32(
    networks: dict[str, Network], halves: dict[str, Network], name: str, largest: float
) -> None:
    """By what `dcfm export` allows, in ONNX Runtime and in one that computes all in the types of the graph."""
    half, parts = halves[name], networks[name].parts
    image, shallow, common = inputs_of(parts, SIZES[name][0])
    expected = parts.logits(common, shallow)[0].numpy()
    (own,) = half.run("shallow", image=image)
    assert own.dtype == np.float16
    keyframe = half.run("keyframe", image=image)
    assert keyframe[0].dtype == np.float16
    assert_agrees(keyframe[1], expected)
    big = (shallow * (largest / shallow.abs().max())).half()
    inputs = {"common": common.half(), "shallow": big}
    assert_agrees(half.run("logits", **inputs)[0], expected)
    exact = ReferenceEvaluator(onnx.load_from_string(half.graphs["logits"]))
    (found,) = exact.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    assert isinstance(found, np.ndarray)
    assert_agrees(found, expected)


def assert_agrees(found: np.ndarray, expected: np.ndarray) -> None:
    """Half precision's logits, (1, classes, h, w)."""
    assert found.dtype == np.float16
    assert np.abs(found[0].astype(np.float32) - expected).max() <= 0.02 * np.abs(expected).max()
    assert (found[0].argmax(0) == expected.argmax(0)).mean() >= 0.995


@pytest.mark.parametrize("name", SIZES)
def test_norms_in_float16_graphs_are_in_float32(halves: dict[str, Network], name: str) -> None:
    norms = dict.fromkeys(halves[name].graphs, 0)
    for part, content in halves[name].graphs.items():
        graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content), check_type=True).graph
        types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input)}
        for node in graph.node:
            if node.op_type == "ReduceL2":
                assert types[node.input[0]] == types[node.output[0]] == onnx.TensorProto.FLOAT
                norms[part] += 1
    expected = {"shallow": 0, "common": 1, "logits": 2, "align": 0, "change": 2, "decide": 2}
    assert norms == expected | {"keyframe": 3, "reused": 2, "moved": 2}


def test_float16_takes_half_the_bytes(networks: dict[str, Network], halves: dict[str, Network]) -> None:
    sizes = [len(of["camvid_mitb0"].graphs["common"]) for of in (halves, networks)]
    assert sizes[0] < 0.6 * sizes[1]


def test_the_model_is_left_as_it_is() -> None:
    model = create_model("camvid_resnet18").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    onnx_graphs(model)
    assert model.training and model.head[0].weight.requires_grad
    after = model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("size", [(64, 90), (0, 32), (-32, 32)])
def test_a_size_that_the_network_does_not_take_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected positive multiples of 8"):
        onnx_graphs(create_model("camvid_resnet18"), size)

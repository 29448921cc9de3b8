"""The ONNX graphs, run by ONNX Runtime, against the modules that they were made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from dcfm_ros.deploy.onnx_graphs import onnx_graphs
from dcfm_ros.deploy.parts import Parts, inference_parts
from dcfm_ros.imaging.motion import Motion
from dcfm_ros.model import create_model

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

    def run(self, part: str, **inputs: torch.Tensor) -> list[np.ndarray]:
        session = onnxruntime.InferenceSession(self.graphs[part], providers=["CPUExecutionProvider"])
        return session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})


def made(name: str, size: tuple[int, int] | None = None) -> Network:
    torch.manual_seed(4)
    model = create_model(name)
    with torch.no_grad():  # random weights give nearly equal logits: larger ones make clear winners
        model.head[-1].weight.mul_(50)
    graphs = onnx_graphs(model, size, IDS_SIZE, joined=True)
    return Network(graphs, inference_parts(model))


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
    grid = 0.9 * torch.from_numpy(Motion(None).grid(tuple(common.shape[2:])))[None]  # type: ignore[arg-type]
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
    network = made("camvid_resnet18", (64, 96))
    image, shallow, common = inputs_of(network.parts, (64, 96))
    assert_equal(network.run("common", shallow=shallow)[0], common)
    for part, tensor in (("shallow", image), ("common", shallow)):
        shape = onnx.load_from_string(network.graphs[part]).graph.input[0].type.tensor_type.shape
        assert tuple(dim.dim_value for dim in shape.dim) == tuple(tensor.shape)


@torch.inference_mode()
def test_a_model_in_half_precision_gives_half_the_bytes_and_the_same_function(networks: dict[str, Network]) -> None:
    torch.manual_seed(4)
    model = create_model("camvid_mitb0").half()
    half = Network(onnx_graphs(model), networks["camvid_mitb0"].parts)
    image, shallow, _ = inputs_of(half.parts, (64, 96))
    (found,) = half.run("shallow", image=image)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float32), shallow.numpy(), rtol=0.02, atol=0.02)
    assert len(half.graphs["common"]) < 0.6 * len(networks["camvid_mitb0"].graphs["common"])


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

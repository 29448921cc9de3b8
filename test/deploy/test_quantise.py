"""int8 graphs, of whole frames too, and the frames that they are calibrated on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from moving_pictures import moved, texture

from dcfm_ros.cli.calibration import calibration_clips
from dcfm_ros.deploy.calibration import Clip
from dcfm_ros.deploy.onnx_graphs import HALF_INT8_OPSET, onnx_graphs
from dcfm_ros.deploy.quantise import QUANTISED, quantised
from dcfm_ros.model import DCFM, create_model, model_config

SIZE = (64, 96)
CONFIG = model_config("camvid_lite0")


def write_drive(folder: Path, frames: int, right: int = 0) -> Path:
    """Pictures that move to the right by `right` pixels from one to the next."""
    folder.mkdir()
    for index in range(frames):
        picture = moved(texture(128, 192), index * right, 0)
        cv2.imwrite(str(folder / f"{index:03}.png"), picture[..., ::-1])
    return folder


def network() -> DCFM:
    torch.manual_seed(4)
    model = create_model("camvid_lite0")
    with torch.no_grad():  # as of trained weights, one channel goes far above what ReLU6 lets through, others are still
        weight = model.encoder.get_parameter("stem_norm.weight")
        weight[0] = 300
        weight[1] = 0.001
        weight[2] = 0
    return model


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, bytes], list[Clip]]:
    """camvid_lite0's in float32 and in int8, and what they were calibrated on."""
    floats = onnx_graphs(network(), SIZE, joined=True)
    drive = write_drive(tmp_path_factory.mktemp("drive") / "frames", 4, right=4)
    clips = calibration_clips(drive, CONFIG, SIZE, 4)
    return floats, quantised(floats, clips, signed=False), clips


def runs(graph: bytes, **inputs: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    if HALF_INT8_OPSET in [opset.version for opset in onnx.load_from_string(graph).opset_import]:
        # ONNX Runtime 1.32 makes int32 of float16 biases between Q/DQ, with scales that float16 does not hold.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"]).run(None, inputs)


@pytest.mark.parametrize("part", QUANTISED)
def test_convolutions_are_in_int8_but_for_those_that_give_the_outputs(
    graphs: tuple[dict[str, bytes], dict[str, bytes], list[Clip]], part: str
) -> None:
    graph = onnx.load_from_string(graphs[1][part]).graph
    made_by = {output: node for node in graph.node for output in node.output}
    outputs = {output.name for output in graph.output}
    kinds = {value.name: value.data_type for value in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    floats = 0
    for node in convolutions:
        if outputs & set(node.output):
            floats += 1
            continue
        weight = made_by[node.input[1]]
        assert made_by[node.input[0]].op_type == weight.op_type == "DequantizeLinear", node.name
        assert kinds[weight.input[0]] == onnx.TensorProto.INT8, node.name
    expected = {"shallow": 0, "common": 1, "keyframe": 2, "reused": 1, "moved": 1}
    assert floats == expected[part] and len(convolutions) >= 4


def test_weights_that_sum_over_channels_have_7_bits_and_depthwise_ones_8(
    graphs: tuple[dict[str, bytes], dict[str, bytes], list[Clip]],
) -> None:
    graph = onnx.load_from_string(graphs[1]["keyframe"]).graph
    constants = {constant.name: onnx.numpy_helper.to_array(constant) for constant in graph.initializer}
    quantised_by = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    largest: dict[bool, list[int]] = {True: [], False: []}
    for node in graph.node:
        if node.op_type == "Conv" and quantised_by.get(node.input[1]) in constants:
            is_depthwise = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
            levels = constants[quantised_by[node.input[1]]].astype(int)
            largest[is_depthwise].append(int(np.abs(levels).max()))
    assert len(largest[False]) > 20 and {*largest[False]} <= {63, 64}
    assert len(largest[True]) > 10 and {*largest[True]} <= {127, 128}


def test_moving_a_feature_stays_in_floating_point(
    graphs: tuple[dict[str, bytes], dict[str, bytes], list[Clip]],
) -> None:
    floats, int8, _ = graphs
    graph = onnx.load_from_string(int8["moved"]).graph
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    (sampling,) = (node for node in graph.node if node.op_type == "GridSample")
    assert "DequantizeLinear" not in {made_by.get(name) for name in sampling.input}
    assert "QuantizeLinear" not in {node.op_type for node in graph.node if sampling.output[0] in node.input}
    assert int8["align"] == floats["align"]


def test_whole_frames_in_int8_are_those_in_float_up_to_rounding(
    graphs: tuple[dict[str, bytes], dict[str, bytes], list[Clip]],
) -> None:
    floats, int8, clips = graphs
    clip = clips[0]
    image, other = clip.keyframe[None], clip.others[-1]
    common, logits = runs(floats["keyframe"], image=image)
    inputs = {
        "keyframe": {"image": image},
        "reused": {"image": other.image[None], "common": common},
        "moved": {"image": other.image[None], "common": common, "grid": other.grid[None]},
    }
    for part, feeds in inputs.items():
        expected, found = (runs(of[part], **feeds)[-1] for of in (floats, int8))
        assert expected.shape == logits.shape
        error = np.abs(found - expected).mean() / np.abs(expected).std()
        assert 0 < error < 0.1, (part, error)


@pytest.fixture(scope="module")
def half(graphs: tuple[dict[str, bytes], dict[str, bytes], list[Clip]]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The same network's graphs for TensorRT, in float16, and these in int8."""
    floats = onnx_graphs(network().half(), SIZE, opset=HALF_INT8_OPSET)
    return floats, quantised(floats, graphs[2], signed=True)


def test_signed_activations_between_float16_keep_the_function_too(
    graphs: tuple[dict[str, bytes], dict[str, bytes], list[Clip]], half: tuple[dict[str, bytes], dict[str, bytes]]
) -> None:
    floats, _, clips = graphs
    assert half[1].keys() == half[0].keys()
    (expected,), (found,) = (runs(of["shallow"], image=clips[0].keyframe[None]) for of in (floats, half[1]))
    assert found.dtype == np.float16
    assert 0 < np.abs(found - expected).mean() / expected.std() < 0.04
    (common,) = runs(floats["common"], shallow=expected)
    (found,) = runs(half[1]["common"], shallow=expected.astype(np.float16))
    assert 0 < np.abs(found - common).mean() / common.std() < 0.1


@pytest.mark.parametrize("part", ["shallow", "common"])
def test_weights_in_int8_are_the_float16_ones_up_to_half_a_level(
    half: tuple[dict[str, bytes], dict[str, bytes]], part: str
) -> None:
    """Also of channels whose scale is below the least normal number of float16, and of one without any weight."""
    before, after = (
        {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load_from_string(of[part]).graph.initializer}
        for of in half
    )
    weights = [name.removesuffix("_quantized") for name in after if name.endswith("_quantized")]
    smallest = min(float(after[f"{name}_scale"][after[f"{name}_scale"] != 1].min()) for name in weights)
    assert (smallest < 6e-5) is (part == "shallow")
    for name in weights:
        levels, scales = after[f"{name}_quantized"].astype(np.float32), after[f"{name}_scale"]
        assert scales.dtype == np.float16 and (scales > 0).all()
        scale = scales.astype(np.float32).reshape(-1, *[1] * (levels.ndim - 1))
        assert (np.abs(levels * scale - before[name].astype(np.float32)) <= 0.55 * scale).all(), name


def test_frames_are_consecutive_and_moved_by_what_the_picture_does(tmp_path: Path) -> None:
    clips = calibration_clips(write_drive(tmp_path / "drive", 5, right=6), CONFIG, (128, 192), 4)
    (clip,) = clips
    assert len(clip.others) == 3
    for number, other in enumerate(clip.others, 1):
        assert other.image.shape == (128, 192, 3) and other.grid.shape == (16, 24, 2)
        # Places of this frame lay further left in the keyframe.
        x = other.grid[..., 0] - ((np.arange(24) + 0.5) * 2 / 24 - 1)
        assert np.median(x) == pytest.approx(-6 * number * 2 / 192, abs=0.01)


@pytest.mark.parametrize(("wanted", "lengths"), [(1, [1]), (4, [4]), (6, [4, 2]), (10, [4, 4, 2]), (40, [4, 4, 4])])
def test_clips_are_spread_over_the_recording(tmp_path: Path, wanted: int, lengths: list[int]) -> None:
    folder = write_drive(tmp_path / "drive", 12)
    for index in range(12):  # each frame says which it is
        cv2.imwrite(str(folder / f"{index:03}.png"), np.full((64, 96, 3), 10 * index, np.uint8))
    clips = calibration_clips(folder, CONFIG, SIZE, wanted)
    assert [1 + len(clip.others) for clip in clips] == lengths
    numbers = [
        [int(image[0, 0, 0]) // 10 for image in (clip.keyframe, *(o.image for o in clip.others))] for clip in clips
    ]
    assert all(np.diff(clip).tolist() == [1] * (len(clip) - 1) for clip in numbers)
    each = [number for clip in numbers for number in clip]
    assert len(set(each)) == len(each) and each == sorted(each)
    if len(clips) > 1:
        assert each[0] == 0 and each[-1] == 11


def test_pictures_of_several_sizes_are_clips_of_their_own(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive", 2)
    cv2.imwrite(str(folder / "002.png"), np.zeros((64, 192, 3), np.uint8))
    clips = calibration_clips(folder, CONFIG, None, 4)
    assert [1 + len(clip.others) for clip in clips] == [2, 1]
    assert clips[0].keyframe.shape != clips[1].keyframe.shape


def test_without_frames_nothing_is_calibrated() -> None:
    with pytest.raises(ValueError, match="no frame to calibrate on"):
        quantised({}, [], signed=False)

"""torch's newer ONNX exporter beside the one that `dcfm export` uses: what both make of the same part of the network.

`deploy.onnx_graphs` asks for the older: torch before 2.5 knows no other, and the newer needs onnxscript as well.
These tests say that nothing in the network is in the way of a change, and what would come with it.
"""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dcfm_ros.deploy.onnx_graphs import onnx_graphs
from dcfm_ros.deploy.parts import inference_parts
from dcfm_ros.model import DCFM, create_model

INPUTS, OUTPUTS = ["common", "shallow"], ["logits"]


@pytest.fixture(scope="module")
def model() -> DCFM:
    torch.manual_seed(4)
    return create_model("camvid_lite0")


@pytest.fixture(scope="module")
def older(model: DCFM) -> onnx.ModelProto:
    return onnx.load_from_string(onnx_graphs(model)["logits"])


def features(height: int, width: int) -> dict[str, torch.Tensor]:
    """Of an image of 32 `height` x 32 `width`: F_co is on a grid of 1/16, F_in of 1/4."""
    random = torch.Generator().manual_seed(5)
    return {
        "common": torch.randn(1, 64, 2 * height, 2 * width, generator=random),
        "shallow": torch.randn(1, 48, 8 * height, 8 * width, generator=random),
    }


@pytest.fixture(scope="module")
def newer(model: DCFM) -> onnx.ModelProto:
    open_axes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, of its own tree specifications
        program = torch.onnx.export(
            inference_parts(model).logits,
            tuple(features(2, 3).values()),
            dynamo=True,
            dynamic_shapes=(open_axes, open_axes),
            input_names=INPUTS,
            output_names=OUTPUTS,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def test_both_exporters_give_the_same_logits(older: onnx.ModelProto, newer: onnx.ModelProto) -> None:
    """Nearer than the 1 part in 1000 that `dcfm export` allows float32, at a size that neither was made with."""
    inputs = {name: tensor.numpy() for name, tensor in features(3, 5).items()}
    found, expected = (
        onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)[0]
        for graph in (newer, older)
    )
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.999


def test_what_differs_is_the_opset_and_the_names_of_sizes(older: onnx.ModelProto, newer: onnx.ModelProto) -> None:
    """And the number of nodes: 25 where the older has 46, of torch 2.13 and onnxscript 0.7."""
    for graph in (older, newer):
        assert [tensor.name for tensor in graph.graph.input] == INPUTS
        assert [tensor.name for tensor in graph.graph.output] == OUTPUTS
    assert older.opset_import[0].version == 17 < newer.opset_import[0].version
    assert len(newer.graph.node) < len(older.graph.node)
    assert _sizes(older, "common") == ["common_height", "common_width"]
    assert len({*_sizes(newer, "common"), *_sizes(newer, "shallow")}) == 4  # open too, by names that the exporter makes


def _sizes(graph: onnx.ModelProto, name: str) -> list[str]:
    [tensor] = [tensor for tensor in graph.graph.input if tensor.name == name]
    return [dim.dim_param for dim in tensor.type.tensor_type.shape.dim[2:]]

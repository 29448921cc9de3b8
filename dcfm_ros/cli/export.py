"""`dcfm export WEIGHTS`: the network's parts for ONNX Runtime, OpenVINO or TensorRT, checked against torch."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
from rich.console import Console

from dcfm_ros.cli.calibration import calibration_clips
from dcfm_ros.cli.sizes import SizeType
from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.deploy.calibration import Clip
from dcfm_ros.deploy.exported import KINDS, Exported, ExportError, new_folder, write_document
from dcfm_ros.deploy.onnx_graphs import HALF_INT8_OPSET, OPSET, onnx_graphs
from dcfm_ros.deploy.parts import Parts, inference_parts
from dcfm_ros.imaging.geometry import Size, network_size, resize_to_network
from dcfm_ros.imaging.logits import ids_from_logits
from dcfm_ros.imaging.motion import MotionSince, small_grey
from dcfm_ros.model import DCFM, ModelConfig, load_weights
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.weights import DEFAULT_WEIGHTS

_RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}
_PRECISIONS = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("auto", "fp32", "bf16", "int8"),  # the graphs of all but int8 are the same
    "tensorrt": ("fp16", "fp32", "int8"),
}
# By precision: how far a logit may be off, as a part of the largest, and how many pixels must have the same class.
_TOLERANCES = {"fp32": (1e-3, 0.9995), "fp16": (0.02, 0.995), "bf16": (0.05, 0.995), "int8": (0.25, 0.95)}
_CHECKED_FRAMES = 3


@dataclass(frozen=True)
class Agreement:
    """difference: the largest of logits, and largest: the largest logit. same: share of pixels with the same class."""

    difference: float
    largest: float
    same: float


@click.command()
@click.argument("weights", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(tuple(KINDS)),
    default="onnx",
    show_default=True,
    help="Runtime that the graphs are for.",
)
@click.option(
    "--input-size", "size", type=SizeType(), help="Size of the network's input. Default: any, chosen when it runs."
)
@click.option(
    "--ids-size", type=SizeType(), help="Size of the masks: adds a graph that makes them, for runtimes on a GPU."
)
@click.option(
    "--precision",
    type=click.Choice(("auto", *_TOLERANCES)),
    help="Default: fp32; of tensorrt fp16; of openvino auto: bf16 on CPUs that compute in it, fp32 on others.",
)
@click.option(
    "--calibrate", type=click.Path(exists=True, path_type=Path), help="For int8: a bag, video or folder like in use."
)
@click.option("--calibration-frames", default=32, show_default=True, type=click.IntRange(1), help="Spread over it.")
@click.option("--output", type=click.Path(path_type=Path), help="A new folder. Default: named after all this.")
def command(
    weights: Path | None,
    kind: str,
    size: Size | None,
    ids_size: Size | None,
    precision: str | None,
    calibrate: Path | None,
    calibration_frames: int,
    output: Path | None,
) -> None:
    """Export WEIGHTS (default: those that ship) for a runtime, so that it needs no torch.

    What was exported is run on rendered frames and held against torch; where it differs by more than its precision
    explains, that is an error and nothing is written. `--weights` of other commands and the node's `weights` take the
    folder.
    """
    precision = precision or _PRECISIONS[kind][0]
    if precision not in _PRECISIONS[kind]:
        raise click.UsageError(f"--format {kind} has {', '.join(_PRECISIONS[kind])}; not {precision}")
    if (precision == "int8") != (calibrate is not None):
        raise click.UsageError("--calibrate is for --precision int8, and int8 needs it")
    weights = weights or DEFAULT_WEIGHTS
    details = (kind, precision if precision != "auto" else "", f"{size[0]}x{size[1]}" if size else "")
    output = output or Path("_".join((weights.stem, *filter(None, details))))
    model = load_weights(weights)
    made_from = hashlib.sha256(weights.read_bytes()).hexdigest()
    exported = Exported(kind, model.config, precision, made_from, size, ids_size)
    with new_folder(output) as folder:
        clips = calibration_clips(calibrate, model.config, size, calibration_frames) if calibrate else []
        _write_parts(exported, _graphs(model, exported, clips), folder)
        write_document(exported, folder)
        backend = create_backend(folder, _RUNTIMES[kind], precision=precision)
        agreement = _held_against_torch(backend, exported, model)
        _check(agreement, backend.precision)
    console = Console()
    console.print(f"{output}: {', '.join(exported.parts)}; checked in {backend.description}", soft_wrap=True)
    console.print(
        f"Against torch on {_CHECKED_FRAMES} rendered frames, features reused as they are and moved: logits differ by "
        f"at most {agreement.difference:.2g} (of {agreement.largest:.3g}), {100 * agreement.same:.3f} % of pixels have "
        "the same class.",
        soft_wrap=True,
    )


def _graphs(model: DCFM, exported: Exported, clips: list[Clip]) -> dict[str, bytes]:
    is_tensorrt, is_int8 = exported.kind == "tensorrt", exported.precision == "int8"
    # TensorRT computes what lies between int8 layers in the graph's precision; ONNX Runtime's CPU is slow in float16.
    is_half = exported.precision == "fp16" or (is_tensorrt and is_int8)
    network = deepcopy(model).half() if is_half else model
    opset = HALF_INT8_OPSET if is_half and is_int8 else OPSET
    graphs = onnx_graphs(network, exported.size, exported.ids_size, joined=not is_tensorrt, opset=opset)
    if is_int8:
        from dcfm_ros.deploy.quantise import quantised  # needs onnxruntime, which other precisions may do without

        graphs = quantised(graphs, clips, signed=is_tensorrt)
    for graph in graphs.values():
        onnx.checker.check_model(graph, full_check=True)
    return graphs


def _write_parts(exported: Exported, graphs: dict[str, bytes], folder: Path) -> None:
    if exported.kind == "openvino":
        from dcfm_ros.deploy.openvino_files import write_openvino

        write_openvino(graphs, folder)
        return
    for name, graph in graphs.items():
        exported.path(folder, name).write_bytes(graph)


def _fitting(height: int, width: int, config: ModelConfig) -> Size:
    return network_size(height, width, config.input_size, config.size_multiple)


@torch.inference_mode()
def _held_against_torch(backend: Any, exported: Exported, model: DCFM) -> Agreement:
    """A keyframe, and frames that reuse its feature as it is and moved, in torch and in what was exported.

    backend: it runs what was exported. Raises BackendError where that fails.
    """
    parts: Parts = inference_parts(model)
    size = exported.size or _fitting(*model.config.input_size, model.config)
    ids_size = exported.ids_size or size
    stride = model.config.common_stride
    keyframe, *others = (resize_to_network(frame, size) for frame in _checked_drive(size))
    expected_shallow, shallow = parts.shallow(_batch(keyframe)), backend.encode_shallow(keyframe)
    expected_common, common = parts.common(expected_shallow), backend.encode_common(shallow)
    frames = [(expected_common, expected_shallow, common, shallow)]
    since = MotionSince(small_grey(keyframe))
    for image in others:
        grid = since.follow(small_grey(image)).grid((size[0] // stride, size[1] // stride))
        moved = parts.align(expected_common, _batch(grid)), backend.align(common, grid)
        expected_shallow, shallow = parts.shallow(_batch(image)), backend.encode_shallow(image)
        frames += [
            (expected_common, expected_shallow, common, shallow),
            (moved[0], expected_shallow, moved[1], shallow),
        ]
    difference = largest = 0.0
    same = []
    for expected_common, expected_shallow, common, shallow in frames:
        expected = parts.logits(expected_common, expected_shallow)[0].numpy()
        difference = max(difference, float(np.abs(backend.logits([common], shallow) - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
        ids, _ = backend.decide([common], shallow, ids_size, False)
        same.append(float((ids == ids_from_logits(expected, ids_size)[0]).mean()))
    return Agreement(difference, largest, min(same))


def _checked_drive(size: Size) -> StreetDrive:
    return StreetDrive(StreetConfig(frames=_CHECKED_FRAMES, height=max(size[0], 32), width=max(size[1], 32)))


def _batch(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array[None].copy())


def _check(agreement: Agreement, precision: str) -> None:
    """Raises ExportError when it is not what the precision explains; a difference that is no number is not."""
    part, least = _TOLERANCES[precision]
    if not (agreement.difference <= part * agreement.largest and agreement.same >= least):
        raise ExportError(
            f"exported in {precision}, logits differ from torch's by up to {agreement.difference:.3g} of "
            f"{agreement.largest:.3g} and {100 * agreement.same:.2f} % of pixels have the same class; expected at most "
            f"{part * agreement.largest:.3g} and at least {100 * least} %; nothing was written"
        )

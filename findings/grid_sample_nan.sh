#!/usr/bin/env bash
# A NaN in the grid of grid_sample with padding "border": PyTorch and ONNX Runtime give a pixel of the edge, OpenVINO NaN.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 onnx==1.22.0 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from onnx import TensorProto, helper

print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__, "openvino", openvino.__version__)
picture = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
grid = np.zeros((1, 1, 2, 2), np.float32)
grid[0, 0, 1, 0] = np.nan

node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode="linear", padding_mode="border", align_corners=0)
graph = helper.make_graph(
    [node],
    "sample",
    [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in (("x", picture), ("grid", grid))],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 1, 2))],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
onnx.checker.check_model(model)
onnx.save(model, "sample.onnx")

with torch.no_grad():
    by_torch = torch.nn.functional.grid_sample(
        torch.from_numpy(picture), torch.from_numpy(grid), padding_mode="border", align_corners=False
    ).numpy()
by_ort = onnxruntime.InferenceSession("sample.onnx").run(None, {"x": picture, "grid": grid})[0]
by_openvino = openvino.Core().compile_model("sample.onnx", "CPU")({"x": picture, "grid": grid})[0]
seen = {"torch": by_torch, "onnxruntime": by_ort, "openvino": by_openvino}
print("expected: the same of all three")
for name, values in seen.items():
    print("seen,", name, values.ravel())
is_nan = {name: bool(np.isnan(values).any()) for name, values in seen.items()}
raise SystemExit(is_nan != {"torch": False, "onnxruntime": False, "openvino": True})
PYTHON
"$folder/venv/bin/python" try.py

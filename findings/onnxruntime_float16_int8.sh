#!/usr/bin/env bash
# int8 between float16 in ONNX Runtime. A convolution with a bias between Q/DQ with float16 scales loses the bias when it is
# optimised, and quantize_static of 1.31 makes zeros of float16 weights below 0.0078. Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.22.0 onnxruntime==1.32.0 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print("onnxruntime", onnxruntime.__version__)
shape = [1, 8, 16, 16]
bias = np.full(8, 2, np.float16)
constants = {
    "scale": np.array(0.0364, np.float16),
    "zero": np.array(0, np.int8),
    "weight": np.zeros((8, 8, 1, 1), np.int8),
    "weight_scale": np.full(8, 5e-5, np.float16),
    "weight_zero": np.zeros(8, np.int8),
    "bias": bias,
}
graph = helper.make_graph(
    [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x_levels"]),
        helper.make_node("DequantizeLinear", ["x_levels", "scale", "zero"], ["x_again"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["x_again", "w", "bias"], ["convolved"]),
        helper.make_node("Relu", ["convolved"], ["activated"]),
        helper.make_node("QuantizeLinear", ["activated", "scale", "zero"], ["y_levels"]),
        helper.make_node("DequantizeLinear", ["y_levels", "scale", "zero"], ["y"]),
    ],
    "graph",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT16, shape)],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT16, shape)],
    [numpy_helper.from_array(value, name) for name, value in constants.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
onnx.checker.check_model(model, full_check=True)
seen = {}
for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC"):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seen[level] = float(session.run(None, {"x": np.ones(shape, np.float16)})[0].max())
print("expected: the bias, 2, up to a level of 0.0364, with and without optimisations")
print("seen:", seen)
right = abs(seen["ORT_DISABLE_ALL"] - 2) < 0.02
raise SystemExit(not (right and abs(seen["ORT_ENABLE_BASIC"] - 2) > 0.2))
PYTHON

cat > scales.py <<'PYTHON'
import numpy as np
import onnxruntime
from onnxruntime.quantization.quant_utils import compute_scale_zp

print("onnxruntime", onnxruntime.__version__)
least, most, low, high = np.float16(-0.005), np.float16(0.005), np.int8(-127), np.int8(127)
_, scale = compute_scale_zp(least, most, low, high, symmetric=True)
print("expected: a scale of 0.005 / 127, which float16 holds")
print("seen:", float(scale))
raise SystemExit(float(scale) != 1)
PYTHON
"$folder/venv/bin/python" try.py
"$folder/venv/bin/pip" install --quiet onnxruntime==1.31.0
"$folder/venv/bin/python" scales.py

#!/usr/bin/env bash
# The calibration error of torchmetrics counts each bin in float32 by ones, which ends at 2^24: over the pixels of 16 frames in
# full HD, a network that says 0.9 and is right for 60 % is perfectly calibrated. In float64 it is not.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchmetrics==1.9.0 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
import torch
import torchmetrics
from torchmetrics.functional.classification import binary_calibration_error

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)
frame, right_of_ten, said = 1920 * 1080, 6, 0.9


def calibration_error(pixels, dtype):
    is_right = (torch.arange(pixels) % 10 < right_of_ten).byte()
    return float(binary_calibration_error(torch.full((pixels,), said, dtype=dtype), is_right, validate_args=False))


small, large = 640 * 360, 16 * frame
seen = {
    "one frame of 640 x 360": calibration_error(small, torch.float32),
    "8 frames of 1920 x 1080": calibration_error(large // 2, torch.float32),
    "16 frames of 1920 x 1080": calibration_error(large, torch.float32),
    "16 frames of 1920 x 1080, float64": calibration_error(large, torch.float64),
}
print("expected: 0.3 for each, which is 0.9 - 0.6, up to a rounding")
for what, value in seen.items():
    print(f"seen: {value:.4f} for {what}")
near, off, perfect, right = seen.values()
raise SystemExit(not (abs(near - 0.3) < 0.005 and off > 0.37 and perfect < 0.001 and abs(right - 0.3) < 1e-6))
PYTHON
"$folder/venv/bin/python" try.py

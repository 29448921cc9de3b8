#!/usr/bin/env bash
# Accelerate on a CPU takes mixed_precision="fp16" and computes in float32, without a word; bf16 is what it says.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 accelerate==1.15.0 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
import warnings

import accelerate
import torch
from accelerate.state import AcceleratorState

print("accelerate", accelerate.__version__, "torch", torch.__version__)
seen = {}
for precision in ("bf16", "fp16"):
    AcceleratorState._reset_state(reset_partial_state=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        accelerator = accelerate.Accelerator(cpu=True, mixed_precision=precision)
        layer = accelerator.prepare(torch.nn.Linear(4, 4))
        inner = []
        layer.register_forward_hook(lambda module, inputs, output: inner.append(output.dtype))
        with accelerator.autocast():
            layer(torch.ones(1, 4))
            inner.append((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
    seen[precision] = (inner[-1], len(told))
print("expected: a product in the precision asked for, or a warning")
print("seen (dtype, warnings):", seen)
raise SystemExit(seen != {"bf16": (torch.bfloat16, 0), "fp16": (torch.float32, 0)})
PYTHON
"$folder/venv/bin/python" try.py

#!/usr/bin/env bash
# INTER_NEAREST_EXACT of OpenCV 5 takes other pixels than that of OpenCV 4 where a centre lies between two.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 numpy==2.2.6
"$folder/venv/bin/pip" install --quiet --no-deps --target "$folder/older" opencv-python-headless==4.13.0.92
cd "$folder"

cat > try.py <<'PYTHON'
import sys

import cv2
import numpy as np

columns = np.arange(1280, dtype=np.float32)[None]
np.save(sys.argv[1], cv2.resize(columns, (480, 1), interpolation=cv2.INTER_NEAREST_EXACT))
print(cv2.__version__)
PYTHON
"$folder/venv/bin/python" try.py newer.npy
PYTHONPATH="$folder/older" "$folder/venv/bin/python" try.py older.npy
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np

newer, older = np.load("newer.npy"), np.load("older.npy")
differ = int((newer != older).sum())
print("expected: columns of 1280 pixels at 480 are the same ones in both")
print(f"seen: {differ} of 480 differ; {newer[newer != older][:3]} in 5, {older[newer != older][:3]} in 4")
raise SystemExit(differ == 0)
PYTHON

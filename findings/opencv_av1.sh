#!/usr/bin/env bash
# OpenCV's wheel opens a video in AV1, tells its codec, size and number of frames, and decodes none of them.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 av==16.0.1 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
from importlib.metadata import version

import av
import cv2
import numpy as np

encoder = next(name for name in ("libsvtav1", "libaom-av1") if name in av.codecs_available)
with av.open("clip.mp4", "w") as file:
    stream = file.add_stream(encoder, rate=10)
    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
    for number in range(10):
        frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 20 * number, np.uint8), format="rgb24")
        file.mux(stream.encode(frame))
    file.mux(stream.encode())
with av.open("clip.mp4") as file:
    by_av = sum(1 for _ in file.decode(video=0))

capture = cv2.VideoCapture("clip.mp4")
opened, told = capture.isOpened(), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
read = 0
while capture.grab():
    read += 1
print("opencv-python-headless", version("opencv-python-headless"), "av", version("av"), encoder)
print(f"expected: 10 frames, as PyAV decodes ({by_av}), or a video that does not open")
print(f"seen: opened {opened}, {told} frames told, {read} decoded")
raise SystemExit((by_av, opened, told, read) != (10, True, 10, 0))
PYTHON
"$folder/venv/bin/python" try.py

#!/usr/bin/env bash
# rosbags-image shears an Image whose rows are padded: it takes no notice of `step`, and gives the padding as pixels.
# Of a depth image as a PNG of 16 bits it keeps the upper 8 bits alone. No error in either case.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rosbags-image==0.10.4 rosbags==0.11.9 opencv-python-headless==4.13.0.92 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
from importlib.metadata import version

import cv2
import numpy as np
from rosbags.image import message_to_cvimage
from rosbags.typesys import Stores, get_typestore

types = get_typestore(Stores.ROS2_JAZZY).types
stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=0)
header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")

# 100 pixels wide, and rows that begin at multiples of 64 bytes, as many drivers of cameras have them: step is 128.
picture = np.tile(np.arange(100, 200, dtype=np.uint8), (60, 1))
rows = np.zeros((60, 128), np.uint8)
rows[:, :100] = picture
image = types["sensor_msgs/msg/Image"](
    header=header, height=60, width=100, encoding="mono8", is_bigendian=0, step=128, data=rows.reshape(-1)
)
seen = message_to_cvimage(image)

depth = np.full((60, 100), 1500, np.uint16)  # millimetres
png = cv2.imencode(".png", depth)[1].reshape(-1)
compressed = types["sensor_msgs/msg/CompressedImage"](header=header, format="16UC1; png compressed ", data=png)
seen_depth = message_to_cvimage(compressed)

print("rosbags-image", version("rosbags-image"), "rosbags", version("rosbags"), "OpenCV", cv2.__version__)
print("expected: every row 100 to 199; depths of 1500 in uint16")
print(f"seen: row 0 {seen[0, 0]} to {seen[0, -1]}, row 1 {seen[1, 0]} to {seen[1, -1]};", end=" ")
wrong = (seen != picture).mean()
print(f"{wrong:.0%} of the pixels wrong; depths of {np.unique(seen_depth)} in {seen_depth.dtype}")
is_so = seen.shape == picture.shape and wrong > 0.5 and seen_depth.dtype == np.uint8 and (seen_depth < 10).all()
raise SystemExit(0 if is_so else 1)
PYTHON
"$folder/venv/bin/python" try.py

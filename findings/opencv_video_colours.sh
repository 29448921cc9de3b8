#!/usr/bin/env bash
# OpenCV's wheels since 4.13 go by the colour matrix and the range that a video names, 4.12's by BT.601 and the codec's
# usual range for every video: the same file has other colours, and no line of the program that reads it has changed.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==16.0.1 numpy==2.2.6
versions=(4.12.0.88 4.13.0.92 5.0.0.93)
for version in "${versions[@]}"; do
  "$folder/venv/bin/pip" install --quiet --no-deps --target "$folder/$version" "opencv-python-headless==$version"
done
cd "$folder"

cat > write.py <<'PYTHON'
# A red, a green and a blue band, in the colours that each name of file tells.
import av
import numpy as np

BANDS = [(200, 60, 40), (60, 160, 70), (70, 90, 200)]
MATRIX = {"bt601": (0.299, 0.114, 5), "bt709": (0.2126, 0.0722, 1)}  # shares of red and of blue, the number in H.264 and VP9
print("av", av.__version__)
for codec, name, full in (("libx264", "bt601", False), ("libx264", "bt709", False), ("libvpx-vp9", "bt709", True)):
    of_red, of_blue, number = MATRIX[name]
    red, green, blue = np.array(BANDS).T / 255
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    differences = [(blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)]
    levels = [255 * luma, *(128 + 255 * d for d in differences)] if full else [16 + 219 * luma, *(128 + 224 * d for d in differences)]
    planes = [np.repeat(np.rint(plane).astype(np.uint8), 64)[:, None].repeat(64, axis=1) for plane in levels]
    with av.open(f"{name}_{'full' if full else 'limited'}.mkv", "w") as file:
        stream = file.add_stream(codec, rate=10, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 192, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = number, 2 if full else 1
        frame = av.VideoFrame.from_ndarray(np.stack(planes), format="yuv444p")
        frame.colorspace, frame.color_range = number, 2 if full else 1
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
PYTHON
"$folder/venv/bin/python" write.py

cat > read.py <<'PYTHON'
import sys

import cv2

BANDS = [(200, 60, 40), (60, 160, 70), (70, 90, 200)]
off = {}
for name in ("bt601_limited", "bt709_limited", "bt709_full"):
    read, picture = cv2.VideoCapture(f"{name}.mkv").read()
    seen = [picture[32 + 64 * band, 32, ::-1].tolist() for band in range(3)]
    off[name] = max(abs(a - b) for one, other in zip(seen, BANDS) for a, b in zip(one, other))
    print(f"seen: OpenCV {cv2.__version__}, {name}: {seen}, off by {off[name]}")
right = [off[name] <= 3 for name in ("bt601_limited", "bt709_limited", "bt709_full")]
raise SystemExit(right != ([True, False, False] if sys.argv[1].startswith("4.12") else [True] * 3))
PYTHON
echo 'expected: the colours that were written, [200, 60, 40], [60, 160, 70], [70, 90, 200], by every version'
for version in "${versions[@]}"; do
  PYTHONPATH="$folder/$version" "$folder/venv/bin/python" read.py "$version"
done

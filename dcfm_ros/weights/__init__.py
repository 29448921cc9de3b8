"""The weights that ship with the package; their licence is LICENSE.weights.md in this folder."""

from pathlib import Path

DEFAULT_WEIGHTS = Path(__file__).parent / "camvid_resnet18.safetensors"

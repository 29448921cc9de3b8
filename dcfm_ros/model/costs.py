"""The cost of each configuration, kept as numbers so that it can be shown without torch; a test counts it again."""

from __future__ import annotations

from typing import NamedTuple


class Cost(NamedTuple):
    """The cost of a configuration.

    parameters: how many. keyframe_gmac, other_gmac: billions of multiplications with additions, of convolutions and
    products of matrices, of a keyframe and of another frame at the configuration's `input_size`, resized to the nearest
    multiple that the network takes.

    Another frame is what runs again on each of them: F_co's half of the fusion's 1x1 convolution does not.
    """

    parameters: int
    keyframe_gmac: float
    other_gmac: float


def cost_of(name: str) -> Cost:
    """Return the cost of one of `available_models()`."""
    return _COSTS[name]


_COSTS = {
    "vspw_mitb2": Cost(24_828_352, 45.95, 3.85),
    "vspw_mitb5": Cost(82_075_072, 129.49, 3.85),
    "cityscapes_resnet18": Cost(11_990_080, 403.02, 28.15),
    "cityscapes_resnet50": Cost(36_544_448, 640.93, 84.01),
    "cityscapes_resnet101": Cost(55_536_576, 990.03, 84.01),
    "cityscapes_mitb1": Cost(13_822_656, 39.38, 6.59),
    "camvid_resnet50": Cost(36_534_208, 375.45, 49.11),
    "camvid_lite0": Cost(3_392_544, 1.65, 0.23),
    "camvid_lite2": Cost(4_796_256, 2.28, 0.23),
    "cityscapes_lite0": Cost(3_393_056, 5.12, 0.74),
    "camvid_resnet18": Cost(11_987_520, 33.20, 2.31),
    "camvid_mitb0": Cost(3_857_504, 6.26, 1.10),
}

"""Class masks as run lengths, the form in which Autoware's detectors hand them on (tensorrt_yolox, `~/out/mask`).

Runs of equal ids in row-major order, from row to row without a break. Each is a uint8 id and an int32 length of at
least 1, little-endian, without padding: 5 bytes. The sensor_msgs/Image around them says how large the mask is: its
height and width are the mask's, encoding "mono8" and step == width as if it were not run-length coded; only the size
of its data is that of the runs.
"""

from __future__ import annotations

import numpy as np

from dcfm_ros.imaging.masks import check_mask

_RUN = np.dtype([("id", "u1"), ("length", "<i4")])


def run_lengths(mask: np.ndarray) -> bytes:
    """A mask's runs. Raises ValueError when the mask is not (H, W) uint8 or is empty."""
    check_mask(mask)
    ids = mask.ravel()
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    runs = np.empty(len(starts), _RUN)
    runs["id"] = ids[starts]
    runs["length"] = np.diff(starts, append=ids.size)
    return runs.tobytes()

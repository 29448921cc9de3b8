"""What a benchmark says of its machine."""

from __future__ import annotations

import cv2
import numpy as np

from dcfm_ros.cli.bench_machine import device_name, peak_memory_mb
from dcfm_ros.machine.libraries import versions


def test_the_machine_has_a_name_versions_and_memory() -> None:
    assert device_name()
    named = versions()
    assert named["python"] and named["torch"]
    assert (named["numpy"], named["opencv"]) == (np.__version__, cv2.__version__)
    assert 10 < peak_memory_mb() < 1e6

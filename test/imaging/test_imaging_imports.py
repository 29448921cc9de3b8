"""The package's names load when asked for, so that label sets do not need OpenCV."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dcfm_ros.imaging


def test_every_public_name_resolves() -> None:
    for name in dcfm_ros.imaging.__all__:
        assert getattr(dcfm_ros.imaging, name) is not None
        assert name in dir(dcfm_ros.imaging)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dcfm_ros.imaging.nonsense  # noqa: B018


def test_labels_work_without_opencv() -> None:
    script = "import sys; sys.modules['cv2'] = None; from dcfm_ros.imaging import CAMVID, Frame; print(len(CAMVID))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "11"), done.stderr

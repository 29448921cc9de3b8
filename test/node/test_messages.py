"""Messages made and read."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dcfm_ros.imaging.encodings import EncodingError, to_rgb
from dcfm_ros.node.messages import frame_of, image_message, stamp_ns, timing_message
from dcfm_ros.streaming.timing import Timing, read_timing

milliseconds = st.floats(0, 1e4).map(lambda value: float(f"{value:.5g}"))


@given(
    st.builds(
        Timing,
        index=st.integers(0, 10**9),
        is_keyframe=st.booleans(),
        reason=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
        keyframe_index=st.integers(0, 10**9),
        age_frames=st.integers(0, 1000),
        age_s=milliseconds,
        prepare_ms=milliseconds,
        shallow_ms=milliseconds,
        motion_ms=milliseconds,
        common_ms=milliseconds,
        align_ms=milliseconds,
        decide_ms=milliseconds,
        background_ms=milliseconds,
        latency_ms=milliseconds,
        shares=st.dictionaries(st.sampled_from(["sky", "road", "tree"]), st.sampled_from([0.0, 0.25, 0.5])),
    )
)
def test_timing_survives_the_message(timing: Timing) -> None:
    assert read_timing(timing_message(Header(), timing)) == timing


def test_another_diagnostic_array_is_not_timing() -> None:
    with pytest.raises(ValueError, match="not a timing message"):
        read_timing(DiagnosticArray())


@pytest.mark.parametrize(("order", "shape"), [("rgb", (4, 6, 3)), ("mono", (4, 6)), ("bgra", (4, 6, 4))])
def test_an_image_message_is_read_back_without_a_copy(order: str, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    message = image_message(Header(frame_id="camera"), pixels[:, ::-1], order)  # not contiguous
    frame = frame_of(message, 17, 1000)
    np.testing.assert_array_equal(frame.pixels, pixels[:, ::-1])
    assert (frame.order, frame.stamp_ns, message.header.frame_id) == (order, 17, "camera")
    assert np.shares_memory(frame.pixels, np.frombuffer(message.data, np.uint8))


def test_a_stamp_is_counted_in_nanoseconds() -> None:
    header = Header()
    header.stamp.sec, header.stamp.nanosec = 1_700_000_000, 123_456_789
    assert stamp_ns(header) == 1_700_000_000_123_456_789


def test_an_unknown_encoding_is_refused_by_name_or_left_to_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    message = Image(height=2, width=2, encoding="32FC1", step=8, data=bytes(16))
    with pytest.raises(EncodingError, match="32FC1"):
        frame_of(message, 0, 1000)

    class CvBridge:
        def imgmsg_to_cv2(self, message: Image, encoding: str) -> np.ndarray:
            assert encoding == "bgr8"
            return np.full((message.height, message.width, 3), (1, 2, 3), np.uint8)

    monkeypatch.setitem(sys.modules, "cv_bridge", types.SimpleNamespace(CvBridge=CvBridge))
    frame = frame_of(message, 5, 1000)
    assert to_rgb(frame)[0, 0].tolist() == [3, 2, 1]
    assert frame.encoding == "32FC1"

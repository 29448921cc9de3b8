"""Messages made and read."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from dcfm_ros.imaging.encodings import EncodingError, to_rgb
from dcfm_ros.imaging.geometry import mask_to_size
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.imaging.run_lengths import mask_of_run_lengths
from dcfm_ros.node.messages import (
    frame_of,
    image_message,
    label_info_message,
    run_length_message,
    scaled_camera_info,
    stamp_ns,
    timing_message,
)
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


focal_lengths = st.floats(1, 1000)
sizes = st.tuples(st.integers(1, 48), st.integers(1, 48))


@given(
    size=sizes,
    scaled_size=sizes,
    focal=st.tuples(focal_lengths, focal_lengths),
    centre=st.tuples(st.floats(-50, 100), st.floats(-50, 100)),
    baseline=st.floats(-300, 300),
    depth=st.floats(0.5, 100),
)
def test_a_scaled_calibration_sees_in_each_pixel_what_nearest_scaling_shows_there(
    size: tuple[int, int],
    scaled_size: tuple[int, int],
    focal: tuple[float, float],
    centre: tuple[float, float],
    baseline: float,
    depth: float,
) -> None:
    k = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    p = np.hstack([k, [[baseline], [0], [0]]])  # the right camera of a pair has its distance here
    info = CameraInfo(height=size[0], width=size[1], k=k.ravel(), p=p.ravel())
    scaled = scaled_camera_info(info, Header(frame_id="camera"), scaled_size)
    assert (scaled.height, scaled.width, scaled.header.frame_id) == (*scaled_size, "camera")

    rows, columns = (mask_to_size(index.astype(np.uint8), scaled_size) for index in np.indices(size))
    y, x = np.indices(scaled_size).reshape(2, -1)
    k_alone = [np.pad(np.reshape(matrix, (3, 3)), ((0, 0), (0, 1))) for matrix in (info.k, scaled.k)]
    for before, after in (k_alone, [np.reshape(matrix, (3, 4)) for matrix in (info.p, scaled.p)]):
        u, v = projected(points_seen_at(x, y, after, depth), before)
        assert np.abs(u - columns.ravel()).max() <= 0.5 + 1e-6
        assert np.abs(v - rows.ravel()).max() <= 0.5 + 1e-6


def points_seen_at(x: np.ndarray, y: np.ndarray, projection: np.ndarray, depth: float) -> np.ndarray:
    """(3, N) points at a depth that a (3, 4) matrix projects to these pixels."""
    pixels = np.stack([x, y, np.ones_like(x)]) * depth
    return np.linalg.solve(projection[:, :3], pixels - projection[:, 3:])


def projected(points: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """(2, N) pixels of (3, N) points."""
    homogeneous = projection[:, :3] @ points + projection[:, 3:]
    return homogeneous[:2] / homogeneous[2]


def test_a_calibration_that_says_nothing_says_no_more_when_scaled() -> None:
    assert not scaled_camera_info(CameraInfo(height=4, width=6), Header(), (2, 3)).k.any()
    without_size = CameraInfo(k=[4.0, 0, 3.5, 0, 4.0, 2.5, 0, 0, 1])
    assert scaled_camera_info(without_size, Header(), (2, 3)) == without_size


def test_a_scaled_calibration_keeps_the_distortion_and_scales_the_region() -> None:
    info = CameraInfo(height=40, width=60, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.3])
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 12, 8, 30, 20
    scaled = scaled_camera_info(info, Header(), (10, 20))
    assert (scaled.distortion_model, scaled.d, scaled.r.tolist()) == (info.distortion_model, info.d, info.r.tolist())
    assert (scaled.roi.x_offset, scaled.roi.y_offset, scaled.roi.width, scaled.roi.height) == (4, 2, 10, 5)
    assert info.roi.width == 30


def test_label_info_names_the_classes_where_vision_msgs_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class VisionClass:
        class_id: int
        class_name: str

    @dataclass
    class LabelInfo:
        header: Header
        class_map: list[VisionClass]
        threshold: float

    monkeypatch.setitem(sys.modules, "vision_msgs", None)
    assert label_info_message(Header(), CAMVID, 0.5) is None
    messages = types.SimpleNamespace(LabelInfo=LabelInfo, VisionClass=VisionClass)
    monkeypatch.setitem(sys.modules, "vision_msgs", types.SimpleNamespace(msg=messages))
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", messages)
    info = label_info_message(Header(frame_id="camera"), CAMVID, 0.5)
    assert (info.header.frame_id, info.threshold) == ("camera", 0.5)
    assert {c.class_id: c.class_name for c in info.class_map} == dict(enumerate(CAMVID.names))


def test_run_lengths_have_the_fields_of_their_mask() -> None:
    mask = np.array([[3, 3, 7], [7, 255, 255]], np.uint8)
    message = run_length_message(Header(frame_id="camera"), mask)
    assert (message.height, message.width, message.step) == (2, 3, 3)
    assert (message.encoding, message.header.frame_id) == ("mono8", "camera")
    assert len(message.data) == 3 * 5
    np.testing.assert_array_equal(mask_of_run_lengths(message.data.tobytes(), (2, 3)), mask)


def test_a_region_that_is_no_part_of_the_picture_ends_at_its_edge() -> None:
    region = RegionOfInterest(x_offset=2**32 - 1, width=2**32 - 1, height=2**31)
    roi = scaled_camera_info(CameraInfo(height=4, width=1, roi=region), Header(), (8, 6)).roi
    assert (roi.x_offset, roi.y_offset, roi.height, roi.width) == (6, 0, 8, 6)

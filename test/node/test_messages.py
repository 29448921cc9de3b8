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
from run_length_masks import mask_of_run_lengths
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from dcfm_ros.imaging.encodings import EncodingError, to_rgb
from dcfm_ros.imaging.frame import ChannelOrder, Frame
from dcfm_ros.imaging.geometry import mask_to_size
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.imaging.view import View
from dcfm_ros.node.messages import (
    frame_of,
    image_message,
    label_info_message,
    mask_camera_info,
    run_length_message,
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
def test_an_image_message_is_read_back_without_a_copy(order: ChannelOrder, shape: tuple[int, ...]) -> None:
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
    p = np.column_stack([k, np.array([baseline, 0, 0])])  # the right camera of a pair has its distance here
    info = CameraInfo(height=size[0], width=size[1], k=k.ravel(), p=p.ravel())
    scaled = mask_camera_info(info, Header(frame_id="camera"), size, scaled_size)
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
    assert not mask_camera_info(CameraInfo(height=4, width=6, binning_x=2), Header(), (2, 3), (2, 3)).k.any()
    without_size = CameraInfo(k=[4.0, 0, 3.5, 0, 4.0, 2.5, 0, 0, 1])
    assert mask_camera_info(without_size, Header(), (4, 6), (2, 3)) == without_size


@dataclass
class Reading:
    """A camera's full resolution, and what it reads out of it. region: of None, the driver tells none."""

    size: tuple[int, int]
    binning: tuple[int, int]
    region: tuple[int, int, int, int] | None
    tells_region: bool

    @property
    def shown(self) -> tuple[int, int, int, int]:
        """x, y, width and height in pixels of the full resolution."""
        return self.region or (0, 0, self.size[1], self.size[0])

    @property
    def picture_size(self) -> tuple[int, int]:
        _, _, width, height = self.shown
        return height // self.binning[0], width // self.binning[1]

    def info(self, k: np.ndarray, p: np.ndarray) -> CameraInfo:
        info = CameraInfo(height=self.size[0], width=self.size[1], k=k.ravel(), p=p.ravel())
        info.binning_y, info.binning_x = self.binning
        if self.region is not None or self.tells_region:
            x, y, width, height = self.shown
            info.roi = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
        return info


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    height, width = draw(st.integers(8, 48)), draw(st.integers(8, 48))
    binning = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    region = None
    if draw(st.booleans()):
        x, y = draw(st.integers(0, width - 4)), draw(st.integers(0, height - 4))
        region = x, y, draw(st.integers(4, width - x)), draw(st.integers(4, height - y))
    return Reading((height, width), binning, region, draw(st.booleans()))


@given(
    reading=readings(),
    output_size=st.none() | sizes,
    looked_at=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 1), st.floats(0.1, 1)),
    focal=st.tuples(focal_lengths, focal_lengths),
    centre=st.tuples(st.floats(-50, 100), st.floats(-50, 100)),
    skew=st.floats(-2, 2),
    baseline=st.floats(-300, 300),
    depth=st.floats(0.5, 100),
)
def test_rep_104_applied_to_a_masks_calibration_finds_what_the_camera_saw_there(
    reading: Reading,
    output_size: tuple[int, int] | None,
    looked_at: tuple[float, float, float, float],
    focal: tuple[float, float],
    centre: tuple[float, float],
    skew: float,
    baseline: float,
    depth: float,
) -> None:
    """A point seen in the middle of a mask's pixel is one that the full resolution has in the pixels read out there."""
    k = np.array([[focal[0], skew, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    p = np.column_stack([k, np.array([baseline, 0, 0])])
    height, width = reading.picture_size
    x, y, _, _ = reading.shown
    columns = x + np.arange(width) * reading.binning[1]  # of the full resolution, at the picture's pixels
    rows = y + np.arange(height) * reading.binning[0]
    left, top = int(looked_at[0] * (width - 1)), int(looked_at[1] * (height - 1))
    region = left, top, max(1, int(looked_at[2] * (width - left))), max(1, int(looked_at[3] * (height - top)))
    view = View(region=region, output_size=output_size)

    def masked(values: np.ndarray) -> np.ndarray:
        """What the view hands out of values for each pixel, which stand for ids."""
        frame = Frame(np.repeat(values.astype(np.uint8)[..., None], 3, axis=2), "rgb", 0, "rgb8")
        return view.finish(view.crop(frame).pixels[..., 0], None, (height, width))[0]

    mask_rows, mask_columns = masked(np.indices((height, width))[0]), masked(np.indices((height, width))[1])
    is_seen = masked(np.zeros((height, width))) == 0
    own = mask_camera_info(reading.info(k, p), Header(), (height, width), mask_rows.shape)
    assert (own.height, own.width) == mask_rows.shape

    pixel_y, pixel_x = np.nonzero(is_seen)
    without_depth = np.zeros((3, 1))
    for before, after in (
        (np.hstack([k, without_depth]), np.hstack([np.reshape(own.k, (3, 3)), without_depth])),
        (p, np.reshape(own.p, (3, 4))),
    ):
        u, v = projected(points_seen_at(pixel_x, pixel_y, as_rep_104_reads(after, own), depth), before)
        for seen, there, binning in (
            (u, columns[mask_columns[is_seen]], reading.binning[1]),
            (v, rows[mask_rows[is_seen]], reading.binning[0]),
        ):
            assert np.abs(seen - there).max(initial=0) <= 0.5 * binning * (output_size is not None) + 1e-5


def as_rep_104_reads(matrix: np.ndarray, info: CameraInfo) -> np.ndarray:
    """The (3, 4) matrix of the picture that comes with a calibration, of its matrix for the full resolution."""
    binning_x, binning_y = max(1, info.binning_x), max(1, info.binning_y)
    shift = np.array([[1, 0, -info.roi.x_offset], [0, 1, -info.roi.y_offset], [0, 0, 1]])
    return np.diag([1 / binning_x, 1 / binning_y, 1]) @ shift @ matrix


def test_a_masks_calibration_keeps_the_distortion() -> None:
    info = CameraInfo(height=40, width=60, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.3], binning_x=2)
    own = mask_camera_info(info, Header(), (40, 30), (10, 20))
    assert (own.distortion_model, own.d, own.r.tolist()) == (info.distortion_model, info.d, info.r.tolist())
    assert (info.height, info.binning_x) == (40, 2)


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


def test_a_region_that_the_camera_cannot_have_is_none() -> None:
    k = [40.0, 0, 30, 0, 40, 20, 0, 0, 1]
    region = RegionOfInterest(x_offset=2**32 - 1, width=2**32 - 1, height=2**31)
    own = mask_camera_info(CameraInfo(height=40, width=60, k=k, roi=region), Header(), (40, 60), (40, 60))
    assert own.k.tolist() == k


def test_a_picture_that_was_resized_behind_its_calibration_is_brought_along() -> None:
    """As image_proc's resize node does without its camera_info: half the size, with pixels between the first ones."""
    info = CameraInfo(height=40, width=60, k=[40.0, 0, 29.5, 0, 40, 19.5, 0, 0, 1])
    own = mask_camera_info(info, Header(), (20, 30), (20, 30))
    assert own.k.tolist() == [20.0, 0, 14.5, 0, 20, 9.5, 0, 0, 1]


@pytest.mark.parametrize("binning", [0, 2])
def test_a_region_that_the_picture_is_evidently_not_cropped_to_moves_nothing(binning: int) -> None:
    """As drivers leave it that send the whole picture, with the part of it that is rectified."""
    info = CameraInfo(height=60, width=80, binning_x=binning, binning_y=binning, k=[40.0, 0, 20, 0, 40, 15, 0, 0, 1])
    size = (60 // max(1, binning), 80 // max(1, binning))
    plain = mask_camera_info(info, Header(), size, size)
    info.roi = RegionOfInterest(x_offset=2, y_offset=4, width=40, height=20)
    assert mask_camera_info(info, Header(), size, size).k.tolist() == plain.k.tolist()
    cropped = (20 // max(1, binning), 40 // max(1, binning))
    assert mask_camera_info(info, Header(), cropped, cropped).k[2] == plain.k[2] - 2 / max(1, binning)

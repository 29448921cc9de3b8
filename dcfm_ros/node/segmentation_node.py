"""The segmentation node: images in, class masks out. The interface is described in docs/interface.md."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image

from dcfm_ros.imaging.encodings import EncodingError
from dcfm_ros.imaging.overlay import colorize, overlay
from dcfm_ros.node import messages
from dcfm_ros.node.diagnostics import Diagnostics, Latencies
from dcfm_ros.node.parameters import Settings, declare, read_settings
from dcfm_ros.node.shutdown import shut_down
from dcfm_ros.node.worker import RejectedError, Worker
from dcfm_ros.streaming import Segmentation, StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.streaming.timing import timing_of

_LOG_PERIOD_S = 5.0


@dataclass(frozen=True)
class _Received:
    """A message and when its callback was entered, on the steady clock; stamp_ns is never zero."""

    message: Image
    stamp_ns: int
    steady_ns: int


@dataclass(frozen=True)
class _Result:
    """A segmentation and the message it answers."""

    received: _Received
    segmentation: Segmentation


class SegmentationNode(LifecycleNode):
    """A lifecycle node named `segmentation`. Configure loads the weights, activate subscribes.

    The subscription's callback only hands the message to a worker; one thread runs the network, another publishes.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("segmentation", **kwargs)
        self._segmenter: StreamSegmenter | None = None
        self._settings: Settings | None = None
        self._subscription: Any = None
        self._last: _Result | None = None
        self._latencies = Latencies()
        self._problem = ""
        declare(self, lambda: self._segmenter is not None, self._apply)
        self._worker: Worker[_Received, _Result] = Worker(self._segment, self._publish, self._on_error)
        self._diagnostics = Diagnostics(self.get_fully_qualified_name().lstrip("/"), self.get_fully_qualified_name())

        reliable = QoSProfile(depth=5)
        self._mask = self._create_publisher(Image, "~/mask", reliable)
        self._color = self._create_publisher(Image, "~/color", reliable)
        self._overlay = self._create_publisher(Image, "~/overlay", reliable)
        self._timing = self._create_publisher(DiagnosticArray, "~/timing", QoSProfile(depth=10))
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._publish_diagnostics)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights and build the backend; the parameters hold from here on."""
        settings = read_settings(self)
        try:
            backend = create_backend(
                settings.weights, settings.backend, settings.device, settings.num_threads, settings.precision
            )
            segmenter = StreamSegmenter(
                backend,
                settings.create_schedule(),
                mode=settings.mode,  # type: ignore[arg-type]
                input_size=settings.input_size,
                max_stamp_gap_s=settings.max_stamp_gap,
                align=settings.align,  # type: ignore[arg-type]
                keyframe_mode=settings.keyframe_mode,  # type: ignore[arg-type]
                swap_after=settings.swap_after,
            )
            segmenter.warm_up(*(settings.input_size or backend.config.input_size))
        except (ValueError, RuntimeError, ImportError) as error:
            self._problem = str(error)
            self.get_logger().error(f"cannot be configured: {error}")
            return TransitionCallbackReturn.FAILURE
        self._segmenter, self._settings = segmenter, settings
        self._problem = ""
        self.get_logger().info(f"{backend.config.name}, {backend.description}, {settings.mode}")
        if backend.selection:
            self.get_logger().info(f"this backend is {backend.selection}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to take images."""
        self._worker.start()
        self._subscription = self.create_subscription(
            Image,
            "image",
            self._on_image,
            qos_profile_sensor_data,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.get_logger().info(f"segmenting {self._subscription.topic_name}")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking images; the loaded network is kept."""
        self._unsubscribe()
        if self._segmenter is not None:
            self._segmenter.restart("reactivated")
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and its device."""
        if self._segmenter is not None:
            self._segmenter.close()
        self._segmenter = None
        self._settings = None
        self._last = None
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        self._unsubscribe()
        return self.on_cleanup(state)

    def destroy_node(self) -> None:
        """Stop the threads, then the node."""
        self._worker.stop()
        super().destroy_node()

    def _create_publisher(self, kind: type, topic: str, qos: QoSProfile) -> Any:
        overriding = QoSOverridingOptions.with_default_policies()
        return self.create_publisher(kind, topic, qos, qos_overriding_options=overriding)

    def _on_image(self, message: Image) -> None:
        steady_ns = time.monotonic_ns()
        # A camera that does not stamp its images gets the time of receipt; the header that goes out stays as it came.
        stamp = messages.stamp_ns(message.header) or self.get_clock().now().nanoseconds
        self._worker.submit(_Received(message, stamp, steady_ns))

    def _apply(self, changes: dict[str, Any]) -> None:
        """Take changed parameters over, all or none: they hold from the next frame on."""
        assert self._segmenter is not None
        assert self._settings is not None
        settings = replace(self._settings, **changes)
        self._segmenter.schedule = settings.create_schedule()
        self._settings = settings

    def _segment(self, received: _Received) -> _Result:
        """On the inference thread."""
        assert self._segmenter is not None
        if self._last is not None and _same_image(self._last.received.message, received.message):
            return _Result(received, self._last.segmentation)
        try:
            frame = messages.frame_of(received.message, received.stamp_ns)
        except (EncodingError, TypeError, ValueError) as error:
            raise RejectedError(f"an image was rejected: {error}") from error
        segmentation = self._segmenter.push(frame)[0]
        self._last = _Result(received, segmentation)
        return self._last

    def _publish(self, results: list[_Result]) -> None:
        """On the publishing thread: pictures of the newest result, timing of all."""
        if self._segmenter is None or self._settings is None or not self.context.ok():
            return
        newest = results[-1]
        header, segmentation = newest.received.message.header, newest.segmentation
        self._mask.publish(messages.image_message(header, segmentation.mask, "mono"))
        published_ns = time.monotonic_ns()
        labels = self._segmenter.labels
        if self._color.get_subscription_count():
            self._color.publish(messages.image_message(header, colorize(segmentation.mask, labels), "rgb"))
        if self._overlay.get_subscription_count():
            picture = overlay(segmentation.frame, segmentation.mask, labels, self._settings.overlay_opacity)
            self._overlay.publish(messages.image_message(header, picture, "rgb"))
        for result in results:
            latency_ms = (published_ns - result.received.steady_ns) / 1e6
            self._latencies.add(result.segmentation.is_keyframe, latency_ms)
            if self._timing.get_subscription_count():
                timing = timing_of(result.segmentation, latency_ms, labels)
                self._timing.publish(messages.timing_message(result.received.message.header, timing))

    def _publish_diagnostics(self) -> None:
        state = self._state_machine.current_state[1]
        details = {"device": self._segmenter.backend.description} if self._segmenter is not None else {}
        if self._last is not None:
            age_s = (self.get_clock().now().nanoseconds - self._last.received.stamp_ns) / 1e9
            details["input_age_s"] = f"{age_s:.3f}"
        now = self.get_clock().now().to_msg()
        problem = self._problem or self._wrong_type()
        self._diagnostics_publisher.publish(
            self._diagnostics.message(now, self._worker.counts, self._latencies, state, problem, details)
        )
        if state == "active":
            self._problem = ""

    def _wrong_type(self) -> str:
        """What is wrong when somebody publishes another type than images on the topic: DDS itself never says so."""
        if self._subscription is None:
            return ""
        topic = self._subscription.topic_name
        types = {info.topic_type for info in self.get_publishers_info_by_topic(topic)}
        if not types or "sensor_msgs/msg/Image" in types:
            return ""
        problem = f"{topic} carries {', '.join(sorted(types))}; expected sensor_msgs/msg/Image"
        self.get_logger().warning(problem, throttle_duration_sec=_LOG_PERIOD_S)
        return problem

    def _on_error(self, error: Exception) -> None:
        if not self.context.ok():
            return
        if isinstance(error, RejectedError):
            self._problem = str(error)
            self.get_logger().warning(str(error), throttle_duration_sec=_LOG_PERIOD_S)
        else:
            self._problem = f"a frame failed: {error!r}"
            self.get_logger().error(self._problem, throttle_duration_sec=_LOG_PERIOD_S)

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        self._worker.stop()


def _same_image(one: Image, other: Image) -> bool:
    """Whether a player sent the same image again. Cameras repeat stamps, so every field and pixel must be equal; an
    image without a stamp is never one that was sent again.
    """
    fields = ("header", "height", "width", "encoding", "step", "is_bigendian")
    return (
        messages.stamp_ns(one.header) != 0
        and all(getattr(one, field) == getattr(other, field) for field in fields)
        and np.array_equal(np.frombuffer(one.data, np.uint8), np.frombuffer(other.data, np.uint8))
    )


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted: 0, or 1 when a parameter is bad or it cannot be configured."""
    rclpy.init(args=args)
    node = None
    try:
        node = SegmentationNode()
        if node.get_parameter("autostart").value and not _started(node):
            return 1
        rclpy.spin(node)
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        print(f"segmentation_node: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # how a node is meant to end
    except RuntimeError:
        if rclpy.ok():  # else a signal took ROS away from under a callback
            raise
    finally:
        if node is not None:
            node.destroy_node()
        shut_down()
    return 0


def _started(node: SegmentationNode) -> bool:
    success = TransitionCallbackReturn.SUCCESS
    return node.trigger_configure() == success and node.trigger_activate() == success


if __name__ == "__main__":
    sys.exit(main())

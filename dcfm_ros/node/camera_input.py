"""A camera's topics coming in: images, as reliably as they are published, and its calibration."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.node.qos import overridden
from dcfm_ros.node.settings import CameraSettings

_MATCHING = "best_available"
"""ROS 2's own word for a reliability that follows the publishers, which not all of its versions know."""

_KEPT_INFOS = 16
"""Calibrations that are kept, as a camera may change its binning while a frame is under way."""

_SILENCE_S = 2.0
"""After so long without a publisher there is a line about the topic."""

_IMAGE_TYPES = frozenset(("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"))

_RELIABILITIES = {"reliable": ReliabilityPolicy.RELIABLE, "best_effort": ReliabilityPolicy.BEST_EFFORT}

OnImage = Callable[[str, Any, int], None]
"""What takes a camera's name, its sensor_msgs/Image or CompressedImage and the receipt on the node's clock, in ns.

It only hands the message on.
"""


class CameraInputs:
    """The topics of all cameras, taken and left together.

    on_problem: called with a camera's name and a sentence, again and again, where the topic carries another type.
    clock: steady, for what must go on while simulated time stands still.
    """

    def __init__(
        self, node: Node, cameras: Sequence[str], on_problem: Callable[[str, str], None], clock: Clock
    ) -> None:
        self._node = node
        self._on_problem = on_problem
        self._clock = clock
        self._silence: Any = None
        self.cameras = {name: CameraInput(node, name) for name in cameras}
        node.create_timer(1.0, self._look_after, clock=clock)

    def subscribe(self, settings: Mapping[str, CameraSettings], on_image: OnImage) -> None:
        """Begin to take messages of all cameras, or of none: a ValueError says why one cannot be subscribed to."""
        try:
            for name, camera in settings.items():
                topic = self.cameras[name].subscribe(camera.input_transport, on_image)
                self._node.get_logger().info(f"segmenting {topic}")
        except ValueError:
            self.unsubscribe()
            raise
        self._silence = self._node.create_timer(_SILENCE_S, self._tell_of_silence, clock=self._clock)

    def unsubscribe(self) -> None:
        """Take no more. Does nothing when nothing is taken."""
        self._forget_silence()
        for camera in self.cameras.values():
            camera.unsubscribe()

    def _look_after(self) -> None:
        for name, camera in self.cameras.items():
            camera.follow_publishers()
            if problem := camera.problem:
                self._on_problem(name, problem)

    def _tell_of_silence(self) -> None:
        """Once: which topics nobody publishes, as one that is misspelt is silent for ever."""
        self._forget_silence()
        for line in filter(None, (camera.silence for camera in self.cameras.values())):
            self._node.get_logger().warning(line)

    def _forget_silence(self) -> None:
        if self._silence is not None:
            self._node.destroy_timer(self._silence)
            self._silence = None


class CameraInput:
    """Subscribes to `image` and `camera_info`, or to `<camera>/image` and so on where cameras have names."""

    def __init__(self, node: Node, camera: str) -> None:
        self._node = node
        self._camera = camera
        self._prefix = f"{camera}/" if camera else ""
        self._on_image: OnImage = lambda camera, message, receipt_ns: None
        self._images: Any = None
        self._infos: Any = None
        self._kind: type = Image
        self._reliability = ReliabilityPolicy.BEST_EFFORT
        self._recent_infos: deque[CameraInfo] = deque(maxlen=_KEPT_INFOS)

    def subscribe(self, transport: str, on_image: OnImage) -> str:
        """Begin to take messages. transport: "raw" or "compressed". Returns the topic."""
        self._on_image = on_image
        self._kind = Image if transport == "raw" else CompressedImage
        self._reliability = ReliabilityPolicy.BEST_EFFORT
        self._reliability = self._wanted(self._topic())
        self._images = self._subscription()
        infos = f"{self._prefix}camera_info"
        with overridden(self._node, infos, "subscription"):
            self._infos = self._node.create_subscription(
                CameraInfo,
                infos,
                self._on_info,
                qos_profile_sensor_data,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        return self._topic()

    def unsubscribe(self) -> None:
        """Take no more. Does nothing when nothing is taken."""
        for subscription in (self._images, self._infos):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self._images = self._infos = None
        self._recent_infos.clear()

    def info(self, stamp: int) -> CameraInfo | None:
        """The calibration that came with the image of a stamp in ns, or else the newest; None where there is none.

        Safe to call from any thread.
        """
        infos = list(self._recent_infos)
        of_image = (info for info in reversed(infos) if stamp_ns(info.header) == stamp)
        return next(of_image, infos[-1] if infos else None)

    def follow_publishers(self) -> None:
        """Subscribe anew where the publishers have become reliable, or no longer are: to be called now and then."""
        if self._images is None:
            return
        wanted = self._wanted(self._topic())
        if wanted != self._reliability:
            self._node.destroy_subscription(self._images)
            self._reliability = wanted
            self._images = self._subscription()

    @property
    def problem(self) -> str:
        """A sentence where somebody publishes another type on the topic, else empty: DDS itself never says so."""
        if self._images is None:
            return ""
        expected = _type_name(self._kind)
        types = {info.topic_type for info in self._node.get_publishers_info_by_topic(self._name())}
        if not types or expected in types:
            return ""
        return f"{self._topic()} carries {', '.join(sorted(types))}; expected {expected}"

    @property
    def silence(self) -> str:
        """That nobody publishes the topic, and which image topics are published; empty where somebody does publish."""
        if self._images is None or self._node.count_publishers(self._topic()):
            return ""
        own = f"{self._node.get_fully_qualified_name()}/"
        others = [
            f"{topic} ({', '.join(types)})"
            for topic, types in self._node.get_topic_names_and_types()
            if _IMAGE_TYPES & set(types) and not topic.startswith(own) and self._node.count_publishers(topic)
        ]
        there = f"the image topics are {', '.join(sorted(others))}" if others else "there is no image topic"
        return f"nobody publishes {self._topic()} ({_type_name(self._kind)}); {there}"

    def _topic(self) -> str:
        """The topic with remappings, and the suffix that image_transport gives to compressed images."""
        topic: str = self._node.resolve_topic_name(f"{self._prefix}image")
        if self._kind is Image or topic.endswith("/compressed"):
            return topic
        return f"{topic}/compressed"

    def _name(self) -> str:
        """The topic as rclpy takes it, which remaps it: remapped twice, it could be that of another camera."""
        name, topic = f"{self._prefix}image", self._topic()
        return name if topic == self._node.resolve_topic_name(name) else topic

    def _subscription(self) -> Any:
        sensor_data = qos_profile_sensor_data
        with overridden(self._node, self._topic(), "subscription"):
            return self._node.create_subscription(
                self._kind,
                self._name(),
                self._on_message,
                QoSProfile(history=sensor_data.history, depth=sensor_data.depth, reliability=self._reliability),
                # Reliability is decided below: rclpy would keep what it was at the first subscription.
                qos_overriding_options=QoSOverridingOptions((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)),
            )

    def _wanted(self, topic: str) -> ReliabilityPolicy:
        """Return the reliability to subscribe with.

        As overridden; else reliable where all publishers are, and best effort, which matches any, where not. Where
        there are none it stays as it is: what the next will offer cannot be known.
        """
        name = f"qos_overrides.{topic}.subscription.reliability"
        if not self._node.has_parameter(name):
            description = f"reliable, best_effort or {_MATCHING} (what publishers offer), for subscription `{topic}`"
            self._node.declare_parameter(name, _MATCHING, ParameterDescriptor(description=description, read_only=True))
        value = self._node.get_parameter(name).value
        if value == _MATCHING:
            offered = {p.qos_profile.reliability for p in self._node.get_publishers_info_by_topic(self._name())}
            if not offered:
                return self._reliability
            value = "reliable" if offered == {ReliabilityPolicy.RELIABLE} else "best_effort"
        if value not in _RELIABILITIES:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join((*_RELIABILITIES, _MATCHING))}")
        return _RELIABILITIES[value]

    def _on_message(self, message: Image | CompressedImage) -> None:
        self._on_image(self._camera, message, self._node.get_clock().now().nanoseconds)

    def _on_info(self, info: CameraInfo) -> None:
        self._recent_infos.append(info)


def _type_name(kind: type) -> str:
    return f"sensor_msgs/msg/{kind.__name__}"

"""A frame on its way through the node: as it arrives, and as it is published."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.imaging.overlay import overlay
from dcfm_ros.imaging.view import View
from dcfm_ros.node.settings import Settings
from dcfm_ros.streaming import Segmentation


@dataclass(frozen=True, eq=False)
class ReceivedFrame:
    """A message and when its callback was entered, on the steady clock.

    stamp_ns: the time of receipt where the message has none; zero where neither is known, as under simulated time
    before the first `/clock`.
    """

    message: Image | CompressedImage
    stamp_ns: int
    steady_ns: int


@dataclass(frozen=True, eq=False)
class SegmentedFrame:
    """A message and its masks: as the network has them, and in the camera's geometry at the output's size.

    picture: the whole one. segmentation: of the part of it that is looked at. view, settings: those that the frame was
    taken with, whatever has changed by the time it is published. Each part that is published is made once, if ever.
    """

    received: ReceivedFrame
    picture: Frame
    segmentation: Segmentation
    view: View
    labels: LabelSet
    settings: Settings

    @property
    def header(self) -> Header:
        """Of the camera's image, and of all that is published of it."""
        return self.received.message.header

    @property
    def mask(self) -> np.ndarray:
        """The mask that is published."""
        return self._finished[0]

    @property
    def confidence(self) -> np.ndarray | None:
        """The confidence that is published; None where nobody wanted it."""
        return self._finished[1]

    @cached_property
    def overlay(self) -> np.ndarray:
        """The mask over the picture, RGB."""
        return overlay(self.view.picture(self.picture), self.mask, self.labels, self.settings.overlay_opacity)

    @cached_property
    def _finished(self) -> tuple[np.ndarray, np.ndarray | None]:
        size = self.picture.height, self.picture.width
        return self.view.finish(self.segmentation.mask, self.segmentation.confidence, size)

"""The part of the node that exists between configure and cleanup."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from dcfm_ros.node.camera_output import CameraOutput
from dcfm_ros.node.network import Network
from dcfm_ros.node.pipeline import Pipeline
from dcfm_ros.node.settings import Settings
from dcfm_ros.streaming.backends.select import free_devices

_WAIT_S = 10.0
"""How long configuring waits for the network; one that takes longer is made ready while frames are skipped."""


class Configured:
    """The settings and the network that runs by them: made whole or not at all, and torn down by `close`.

    pipeline: what frames go through, from here on through this network. outputs: of each camera. is_wanted: asked while
    the network is waited for; when it answers no, that ends.
    Raises what `Network` does, and RuntimeError when the network cannot be made ready.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        outputs: Mapping[str, CameraOutput],
        is_wanted: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.network = Network(settings)
        self._pipeline = pipeline
        self._outputs = outputs
        try:
            pipeline.start(self.network, settings)
            deadline = time.monotonic() + _WAIT_S
            # In short waits, as SIGTERM takes ROS away and wakes nobody.
            while not pipeline.wait_until_ready(0.1) and time.monotonic() < deadline and is_wanted():
                pass
            if pipeline.failure or not is_wanted():
                raise RuntimeError(pipeline.failure)
            self._publish_labels()
        except BaseException:
            self.close()
            raise

    def change(self, changes: Mapping[str, Any], is_active: bool) -> None:
        """Take changed parameters over, all or none: they hold from the next frame on.

        Raises ValueError, with nothing changed, for values that do not fit.
        """
        settings, before = self.settings.changed(changes), self.settings
        self.network.apply(settings)
        self.settings = settings
        self._pipeline.change(settings)
        if settings.min_confidence != before.min_confidence:
            self._publish_labels()
        if settings.enabled != before.enabled and is_active:
            self._pipeline.accept(settings.enabled)
            if not settings.enabled:
                self.network.restart("enabled")

    def close(self) -> None:
        """Finish the frame that is under way, and free the network and its device."""
        self._pipeline.stop()
        self.network.close()
        del self.network
        free_devices()

    def _publish_labels(self) -> None:
        for output in self._outputs.values():
            output.publish_labels(self.network.labels, self.settings.min_confidence)

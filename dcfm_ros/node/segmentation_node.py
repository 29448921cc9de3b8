"""The segmentation node: images in, class masks out. The interface is described in docs/interface.md."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_srvs.srv import SetBool, Trigger

from dcfm_ros import __version__
from dcfm_ros.machine.hardware import hardware_name, read_hardware
from dcfm_ros.node.autostart import Autostart
from dcfm_ros.node.camera_input import CameraInputs
from dcfm_ros.node.camera_output import CameraOutput
from dcfm_ros.node.configured import Configured
from dcfm_ros.node.diagnostics import Diagnostics
from dcfm_ros.node.executable import run
from dcfm_ros.node.guards import guard_services, spin, transition
from dcfm_ros.node.log import NodeLog, throttled
from dcfm_ros.node.parameters import declare, read_settings, strangers
from dcfm_ros.node.pipeline import Pipeline
from dcfm_ros.node.qos import overridden
from dcfm_ros.node.worker import RejectedError

_SUCCESS = TransitionCallbackReturn.SUCCESS
_FAILURE = TransitionCallbackReturn.FAILURE


class SegmentationNode(LifecycleNode):
    """A lifecycle node named `segmentation`.

    Configure loads the weights and makes the network ready, activate subscribes.

    Callbacks only hand messages over; one thread runs the network, another publishes, a third writes the log. A network
    that fails for good takes the node through error processing to unconfigured; with `autostart` it is tried again,
    after a time that doubles. No request, message or failure ends the process.

    lifecycle_state: by the name that ROS gives to it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("segmentation", **kwargs)
        self.lifecycle_state = "unconfigured"
        self._configured: Configured | None = None
        self._why_not_begun = ""
        self._problems: dict[str | None, str] = {}
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        try:
            self._cameras = declare(self, lambda: self._configured is not None, self._change)
            self._inputs = CameraInputs(self, self._cameras, partial(self._note, "warning"), steady)
            self._outputs = {
                name: CameraOutput(self, name, camera.info) for name, camera in self._inputs.cameras.items()
            }
            with overridden(self, "/diagnostics", "publisher"):
                self._diagnostics_publisher = self.create_publisher(
                    DiagnosticArray,
                    "/diagnostics",
                    10,
                    qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                )
        except Exception:
            # rclpy crashes at exit over a node that outlives its context, as one in a traceback may.
            super().destroy_node()
            raise
        self._log = NodeLog(throttled(self.get_logger()))
        given_up = self.create_guard_condition(self._on_given_up).trigger
        self._pipeline = Pipeline(self._outputs, self._on_frame_error, given_up)
        self._diagnostics = Diagnostics(self.get_fully_qualified_name().lstrip("/"))
        self.create_timer(1.0, self._publish_diagnostics)
        self._autostart = Autostart(self, self.start, steady)
        self.create_service(Trigger, "~/force_keyframe", self._on_force_keyframe)
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        guard_services(self, partial(self._log, "warning"))
        self.get_logger().info(f"dcfm_ros {__version__}")
        if strange := strangers(self, **kwargs):
            self.get_logger().warning(strange)

    def begin(self) -> bool:
        """Do what `autostart` says; False where the node was to be started and cannot be."""
        return self._autostart.begin()

    def start(self) -> bool:
        """Configure and activate, as far as it is not done already; False where that fails."""
        if self.lifecycle_state == "unconfigured" and self.trigger_configure() != _SUCCESS:
            return False
        return self.lifecycle_state != "inactive" or self.trigger_activate() == _SUCCESS

    @transition("inactive")
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights and take the device; the parameters hold from here on.

        A network that is not ready after some seconds continues to be made ready while the node may already be active.
        """
        self._why_not_begun = ""
        try:
            settings = read_settings(self, self._cameras)
            self._configured = Configured(settings, self._pipeline, self._outputs, self.context.ok)
        except Exception as error:  # whatever a library does, there is a line, and the next try may succeed
            return self._cannot_be_configured(error)
        self._autostart.leave()
        self._problems.clear()
        for line in self._configured.network.describe():
            self.get_logger().info(line)
        return _SUCCESS

    @transition("active")
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to take images."""
        assert self._configured is not None
        settings = self._configured.settings
        try:
            self._inputs.subscribe(settings.cameras, self._pipeline.submit)
        except ValueError as error:
            self._why_not_begun = f"cannot be activated: {error}"
            self.get_logger().error(self._why_not_begun)
            return _FAILURE
        self._why_not_begun = ""
        self._pipeline.accept(settings.enabled)
        self._autostart.leave()
        return _SUCCESS

    @transition("inactive")
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking images; the network is kept, ready."""
        self._inputs.unsubscribe()
        self._pipeline.accept(False)
        if self._pipeline.failure:
            return TransitionCallbackReturn.ERROR
        assert self._configured is not None
        self._configured.network.restart("reactivated")
        return _SUCCESS

    @transition("unconfigured")
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and its device."""
        self._free()
        return _SUCCESS

    @transition("finalized", failed="finalized")
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        self._autostart.leave()
        self._free()
        return _SUCCESS

    @transition("unconfigured", failed="finalized")
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything up; the node is unconfigured then."""
        self._free()
        return _SUCCESS

    def spin(self) -> None:
        """Execute callbacks until ROS is shut down. What one raises is logged."""
        spin(self, partial(self._log, "error"))

    def destroy_node(self) -> None:
        """Stop the threads, then the node."""
        self._free()
        self._log.close()
        super().destroy_node()

    def _change(self, changes: Mapping[str, Any]) -> None:
        assert self._configured is not None
        self._configured.change(changes, is_active=self.lifecycle_state == "active")

    def _on_force_keyframe(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._configured is not None:
            self._configured.network.force_keyframe()
        response.success = self._configured is not None
        response.message = "the next frame will be a keyframe" if response.success else "the node is not configured"
        return response

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        [result] = self.set_parameters([Parameter("enabled", value=request.data)])
        response.success = result.successful
        response.message = result.reason or ("images are segmented" if request.data else "images are skipped")
        return response

    def _on_frame_error(self, camera: str | None, error: Exception) -> None:
        """On any thread."""
        if isinstance(error, RejectedError):
            self._note("warning", camera, str(error))
        elif not self._pipeline.failure:
            self._note("error", camera, f"a frame failed: {error!r}")

    def _note(self, severity: str, camera: str | None, problem: str) -> None:
        self._problems[camera] = problem
        self._log(severity, problem)

    def _on_given_up(self) -> None:
        """Let go of a network that failed, and try another if it is for this node to do so."""
        if not self._pipeline.failure or self._configured is None:  # while it was configured, which says so itself
            return
        if self._pipeline.has_segmented:  # it did work for a while
            self._autostart.was_well()
        self.get_logger().error(f"the network is given up: {self._pipeline.failure}")
        if self.lifecycle_state == "active":
            self.trigger_deactivate()  # to error processing
        else:
            self.trigger_cleanup()
        self._autostart.try_again_later()

    def _publish_diagnostics(self) -> None:
        configured = self._configured
        settings = configured.settings if configured else read_settings(self, self._cameras)
        device = configured.network.backend.description if configured else ""
        progress = configured.network.progress if configured else ""
        failure = self._why_not_begun or self._pipeline.failure
        now = self.get_clock().now()
        problems, self._problems = self._problems, {}
        message = self._diagnostics.message(
            now.to_msg(),
            "broken" if failure else self.lifecycle_state,
            self._pipeline.reports(now.nanoseconds, problems),
            settings.limits,
            " | ".join(filter(None, (failure or progress, problems.get(None)))),
            hardware_name(),
            {"version": __version__, "device": device, "enabled": str(settings.enabled).lower()}
            | read_hardware(settings.device),
        )
        self._diagnostics_publisher.publish(message)

    def _cannot_be_configured(self, error: Exception) -> TransitionCallbackReturn:
        if not self.context.ok():  # whatever failed then failed for that
            self.get_logger().info("the node is shutting down while it is being configured")
            return _FAILURE
        is_sentence = isinstance(error, (ValueError, RuntimeError, ImportError, OSError))
        self._why_not_begun = f"cannot be configured: {error if is_sentence else repr(error)}"
        self.get_logger().error(self._why_not_begun)
        return _FAILURE

    def _free(self) -> None:
        self._why_not_begun = ""  # of a configuration that is gone now
        self._inputs.unsubscribe()
        configured, self._configured = self._configured, None
        if configured is not None:
            configured.close()


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted: 0, or 1 when a parameter is bad or it cannot be configured."""
    return run(SegmentationNode, "segmentation_node", args)


if __name__ == "__main__":
    sys.exit(main())

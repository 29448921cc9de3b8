"""The segmentation node: images in, class masks out. The interface is described in docs/interface.md."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.utilities import remove_ros_args
from std_srvs.srv import SetBool, Trigger

from dcfm_ros import __version__
from dcfm_ros.machine.hardware import hardware_name, read_hardware
from dcfm_ros.node.autostart import Autostart
from dcfm_ros.node.camera_input import CameraInput
from dcfm_ros.node.camera_output import CameraOutput
from dcfm_ros.node.diagnostics import CameraReport, Diagnostics
from dcfm_ros.node.engine import Engine
from dcfm_ros.node.guards import guard_services, spin, transition
from dcfm_ros.node.log import NodeLog, lose_what_nobody_reads
from dcfm_ros.node.parameters import declare, read_settings, strangers
from dcfm_ros.node.pipeline import Pipeline
from dcfm_ros.node.settings import Settings
from dcfm_ros.node.shutdown import shut_down
from dcfm_ros.node.worker import RejectedError
from dcfm_ros.processes import end_with_parent
from dcfm_ros.streaming.backends.select import free_devices

_LOG_PERIOD_S = 5.0
_CONFIGURE_WAIT_S = 10.0
"""How long configuring waits for the engine; a longer build continues while the node is active and skips frames."""
_SILENCE_S = 2.0
"""After so long without a publisher there is a line about the topic."""

_SUCCESS = TransitionCallbackReturn.SUCCESS


class SegmentationNode(LifecycleNode):
    """A lifecycle node named `segmentation`.

    Configure loads the weights and makes the engine ready, activate subscribes.

    Callbacks only hand messages over; one thread runs the network, another publishes, a third writes the log. An engine
    that fails for good takes the node through error processing to unconfigured; with `autostart` it is tried again,
    after a time that doubles. No request, message or failure ends the process.

    lifecycle_state: by the name that ROS gives to it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("segmentation", **kwargs)
        self._engine: Engine | None = None
        self._settings: Settings | None = None
        self.lifecycle_state = "unconfigured"
        self._is_active = False
        self._broken = ""
        self._problems: dict[str, str] = {}
        try:
            self._names = declare(self, lambda: self._engine is not None, self._apply)
        except Exception:
            # rclpy crashes at exit over a node that outlives its context, as one in a traceback may.
            super().destroy_node()
            raise
        self._log = NodeLog(
            {
                "warning": lambda line: self.get_logger().warning(line, throttle_duration_sec=_LOG_PERIOD_S),
                "error": lambda line: self.get_logger().error(line, throttle_duration_sec=_LOG_PERIOD_S),
            }
        )
        self._inputs = {name: CameraInput(self, name, self._receiver(name)) for name in self._names}
        run_lengths = self.get_parameter("run_length_mask").value
        self._outputs = {name: CameraOutput(self, name, run_lengths) for name in self._names}
        self._pipeline = Pipeline(
            self._outputs, lambda name, stamp: self._inputs[name].info(stamp), self._on_problem, self._on_broken
        )
        self._diagnostics = Diagnostics(self.get_fully_qualified_name().lstrip("/"))
        self._diagnostics_publisher = self.create_publisher(
            DiagnosticArray, "/diagnostics", 10, qos_overriding_options=QoSOverridingOptions.with_default_policies()
        )
        self.create_timer(1.0, self._publish_diagnostics)
        # For what must go on while simulated time stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._look_after_inputs, clock=self._steady)
        self._silence: Any = None
        self._autostart = Autostart(self, self.start, self._steady)
        self._gave_up = self.create_guard_condition(self._give_up)
        self.create_service(Trigger, "~/force_keyframe", self._on_force_keyframe)
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        guard_services(self, lambda line: self._log("warning", line))
        self.get_logger().info(f"dcfm_ros {__version__}")
        if strange := strangers(self):
            self.get_logger().warning(strange)

    def begin(self) -> bool:
        """Do what `autostart` says, see `Autostart.begin`. False where the node was to be started and cannot be."""
        return not self.get_parameter("autostart").value or self._autostart.begin()

    def start(self) -> bool:
        """Configure and activate, as far as it is not done already; False where that fails."""
        if self.lifecycle_state == "unconfigured" and self.trigger_configure() != _SUCCESS:
            return False
        return self.lifecycle_state != "inactive" or self.trigger_activate() == _SUCCESS

    @transition("inactive")
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights and take the device; the parameters hold from here on.

        An engine that is not ready after some seconds continues to be built while the node may already be active.
        """
        self._broken = ""
        try:
            settings = read_settings(self, self._names)
            engine = self._begin(settings)
        except Exception as error:  # whatever a library does, there is a line, and the next try may succeed
            self._free()
            is_sentence = isinstance(error, (ValueError, RuntimeError, ImportError, OSError))
            return self._cannot_be_configured(str(error) if is_sentence else repr(error))
        if self._broken or not self.context.ok():
            self._free()
            return self._cannot_be_configured(self._broken)
        self._autostart.leave()
        self._problems.clear()
        self.get_logger().info(f"{engine.backend.config.name}, {engine.backend.description}, {settings.stream.mode}")
        if engine.backend.selection:
            self.get_logger().info(f"this backend is {engine.backend.selection}")
        if engine.progress:
            self.get_logger().info(f"frames are skipped for now: {engine.progress}")
        return _SUCCESS

    @transition("active")
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to take images."""
        assert self._settings is not None
        try:
            for name, camera in self._settings.cameras.items():
                topic = self._inputs[name].subscribe(camera.input_transport)
                self.get_logger().info(f"segmenting {topic}")
        except ValueError as error:
            self._stop_receiving()
            self._problems[self._names[0]] = f"cannot be activated: {error}"
            self.get_logger().error(self._problems[self._names[0]])
            return TransitionCallbackReturn.FAILURE
        self._pipeline.accept(self._settings.enabled)
        self._is_active = True
        self._autostart.leave()
        self._silence = self.create_timer(_SILENCE_S, self._tell_of_silence, clock=self._steady)
        return _SUCCESS

    @transition("inactive")
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking images; the engine is kept, ready."""
        self._stop_receiving()
        if self._broken:
            return TransitionCallbackReturn.ERROR
        assert self._engine is not None
        self._engine.restart("reactivated")
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
        self._stop_receiving()
        self._free()
        return _SUCCESS

    @transition("unconfigured", failed="finalized")
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything up; the node is unconfigured then."""
        self._stop_receiving()
        self._free()
        return _SUCCESS

    def spin(self) -> None:
        """Execute callbacks until ROS is shut down. What one raises is logged."""
        spin(self, lambda line: self._log("error", line))

    def destroy_node(self) -> None:
        """Stop the threads, then the node."""
        self._free()
        self._log.close()
        super().destroy_node()

    def _begin(self, settings: Settings) -> Engine:
        self._engine, self._settings = Engine(settings), settings
        self._pipeline.start(self._engine, settings)
        deadline = time.monotonic() + _CONFIGURE_WAIT_S
        # In short waits, as SIGTERM takes ROS away and wakes nobody.
        while not self._pipeline.wait_until_ready(0.1) and time.monotonic() < deadline and self.context.ok():
            pass
        self._publish_labels()
        return self._engine

    def _publish_labels(self) -> None:
        assert self._engine is not None
        assert self._settings is not None
        for output in self._outputs.values():
            output.publish_labels(self._engine.labels, self._settings.min_confidence)

    def _receiver(self, name: str) -> Any:
        return lambda message: self._pipeline.submit(name, message, self.get_clock().now().nanoseconds)

    def _apply(self, changes: Mapping[str, Any]) -> None:
        """Take changed parameters over, all or none: they hold from the next frame on."""
        assert self._engine is not None
        assert self._settings is not None
        settings, before = self._settings.changed(changes), self._settings
        self._engine.apply(settings)
        self._settings = settings
        self._pipeline.change(settings)
        if settings.min_confidence != before.min_confidence:
            self._publish_labels()
        if settings.enabled != before.enabled and self._is_active:
            self._pipeline.accept(settings.enabled)
            if not settings.enabled:
                self._engine.restart("enabled")

    def _on_force_keyframe(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._engine is None:
            response.success, response.message = False, "the node is not configured"
            return response
        self._engine.force_keyframe()
        response.success, response.message = True, "the next frame will be a keyframe"
        return response

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        [result] = self.set_parameters([Parameter("enabled", value=request.data)])
        response.success = result.successful
        response.message = result.reason or ("images are segmented" if request.data else "images are skipped")
        return response

    def _on_problem(self, name: str, error: Exception) -> None:
        """On any thread."""
        if self._broken:
            return
        if isinstance(error, RejectedError):
            self._problems[name] = str(error)
            self._log("warning", str(error))
        else:
            self._problems[name] = f"a frame failed: {error!r}"
            self._log("error", self._problems[name])

    def _on_broken(self, why: str) -> None:
        """On the inference thread: the executor does the rest."""
        self._broken = why
        self._gave_up.trigger()

    def _give_up(self) -> None:
        """Let go of an engine that failed, and try another if it is for this node to do so."""
        if not self._broken or self._engine is None:  # it failed while the node was being configured, which says so
            return
        if any(self._pipeline.last(name) for name in self._names):  # it did work for a while
            self._autostart.was_well()
        self.get_logger().error(f"the engine is given up: {self._broken}")
        if self._is_active:
            self.trigger_deactivate()  # to error processing
        else:
            self.trigger_cleanup()
        if self.get_parameter("autostart").value:
            self._autostart.try_again_later()

    def _look_after_inputs(self) -> None:
        for name, camera in self._inputs.items():
            camera.follow_publishers()
            if problem := camera.problem:
                self._problems[name] = problem
                self._log("warning", problem)

    def _tell_of_silence(self) -> None:
        """Once: which topics nobody publishes, as one that is misspelt is silent for ever."""
        self._forget_silence()
        for line in filter(None, (camera.silence for camera in self._inputs.values())):
            self.get_logger().warning(line)

    def _forget_silence(self) -> None:
        if self._silence is not None:
            self.destroy_timer(self._silence)
            self._silence = None

    def _publish_diagnostics(self) -> None:
        engine, settings = self._engine, self._settings or read_settings(self, self._names)
        device = engine.backend.description if engine is not None else ""
        progress = engine.progress if engine is not None else ""
        details = {"version": __version__, "device": device, "enabled": str(settings.enabled).lower()}
        details |= read_hardware(settings.device)
        now = self.get_clock().now()
        between_cameras = "" if "" in self._names else self._problems.pop("", "")
        message = self._diagnostics.message(
            now.to_msg(),
            "broken" if self._broken else self.lifecycle_state,
            {name: self._report(name, now.nanoseconds) for name in self._names},
            settings.limits,
            self._broken or progress or between_cameras,
            hardware_name(),
            details,
        )
        self._diagnostics_publisher.publish(message)

    def _report(self, name: str, now_ns: int) -> CameraReport:
        last = self._pipeline.last(name)
        return CameraReport(
            counts=self._pipeline.counts[name],
            latencies=self._pipeline.latencies[name],
            input_age_s=None if last is None else (now_ns - last.received.stamp_ns) / 1e9,
            keyframe_age_s=None if last is None else last.segmentation.keyframe_age_s,
            problem=self._problems.pop(name, ""),
        )

    def _cannot_be_configured(self, why: str) -> TransitionCallbackReturn:
        if not self.context.ok():  # whatever failed then failed for that
            self.get_logger().info("the node is shutting down while it is being configured")
            return TransitionCallbackReturn.FAILURE
        self._broken = f"cannot be configured: {why}"
        self.get_logger().error(self._broken)
        return TransitionCallbackReturn.FAILURE

    def _stop_receiving(self) -> None:
        self._is_active = False
        self._forget_silence()
        for camera in self._inputs.values():
            camera.unsubscribe()
        self._pipeline.accept(False)

    def _free(self) -> None:
        self._pipeline.stop()
        if self._engine is not None:
            self._engine.close()
            self._engine = self._settings = None
            free_devices()


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted: 0, or 1 when a parameter is bad or it cannot be configured."""
    end_with_parent()
    lose_what_nobody_reads()
    node = None
    try:
        if not _is_initialized(args):
            return 1
        node = _created()
        if node is None or not node.begin():
            return 1 if rclpy.ok() else 0
        node.spin()
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


def _is_initialized(args: list[str] | None) -> bool:
    """Whether ROS can read the arguments and the parameter files in them; if not there is a line on stderr."""
    try:
        rclpy.init(args=args)
    except RuntimeError as error:
        why = re.sub(r", at \S+\.c:\d+", "", str(error)).removeprefix("failed to initialize rcl: ")
        expected = next((expected for part, expected in _EXPECTED.items() if part in why), "")
        print(f"segmentation_node: {why}{expected}", file=sys.stderr)
        return False
    if others := remove_ros_args(sys.argv[1:] if args is None else args):
        print(
            f"segmentation_node: the argument {others[0]} is unknown; expected parameters after --ros-args, as in "
            "--ros-args -p keyframe_interval:=10",
            file=sys.stderr,
        )
        return False
    return True


_EXPECTED = {
    "same type": "; expected values of one kind, as [160.0, 24.5]",
    "log level": "; expected debug, info, warn, error or fatal",
    "Error opening YAML file": "; expected a file that is there",
    "params file": "; expected YAML, as in the config/segmentation.yaml that ships",
}
"""By a part of what ROS says of an argument: what it does not say."""


def _created() -> SegmentationNode | None:
    """The node; None, with a line on stderr, when a parameter is bad."""
    try:
        return SegmentationNode()
    except (InvalidParameterTypeException, InvalidParameterValueException, ValueError) as error:
        print(f"segmentation_node: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    sys.exit(main())

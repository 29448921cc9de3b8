"""How an executable takes ROS, runs its node and lets go of both."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import rclpy
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException
from rclpy.utilities import remove_ros_args

from dcfm_ros.node.log import lose_what_nobody_reads
from dcfm_ros.processes import end_with_parent


class Runnable(Protocol):
    """A node that can be run."""

    def begin(self) -> bool:
        """Make ready; False where that fails."""

    def spin(self) -> None: ...

    def destroy_node(self) -> None: ...


def run(make: Callable[[], Runnable], name: str, args: list[str] | None) -> int:
    """Make a node and run it until it is interrupted; return the exit code.

    That is 1, with a line on stderr that begins with `name`, when the arguments or a parameter are bad, and 1 when the
    node does not begin.
    """
    end_with_parent()
    lose_what_nobody_reads()
    node = None
    try:
        initialize(args)
        _refuse(own_arguments(sys.argv[1:] if args is None else args))
        node = make()
        if not node.begin():
            return 1 if rclpy.ok() else 0
        node.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # how a node is meant to end
    except (InvalidParameterTypeException, InvalidParameterValueException, ValueError) as error:
        if node is not None:
            raise
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except RuntimeError:
        if rclpy.ok():  # else a signal took ROS away from under a callback
            raise
    finally:
        if node is not None:
            node.destroy_node()
        shut_down()
    return 0


def shut_down() -> None:
    """Shut rclpy down where its own handler of SIGINT and SIGTERM has not, or is not doing so at this moment."""
    with suppress(RuntimeError):  # rclpy's RCLError: between the look and the call the handler was quicker
        rclpy.try_shutdown()


def initialize(args: list[str] | None) -> None:
    """Begin with ROS. Raises ValueError, in a sentence, for arguments or parameter files that it cannot read."""
    try:
        rclpy.init(args=args)
    except RuntimeError as error:
        raise ValueError(_in_a_sentence(error)) from error


def own_arguments(args: list[str]) -> list[str]:
    """The arguments that are not for ROS. Raises ValueError, in a sentence, for such as it cannot read."""
    try:
        return remove_ros_args(args)
    except RuntimeError as error:
        raise ValueError(_in_a_sentence(error)) from error


def _refuse(arguments: list[str]) -> None:
    if arguments:
        raise ValueError(
            f"the argument {arguments[0]} is unknown; expected parameters after --ros-args, as in "
            "--ros-args -p keyframe_interval:=10"
        )


def _in_a_sentence(error: RuntimeError) -> str:
    why = re.sub(r", at \S+\.c:\d+", "", str(error))
    for begin in ("failed to initialize rcl: ", "Failed to parse ROS arguments: "):
        why = why.removeprefix(begin)
    return why + next((expected for part, expected in _EXPECTED.items() if part in why), "")


_EXPECTED = {
    "same type": "; expected values of one kind, as [160.0, 24.5]",
    "log level": "; expected debug, info, warn, error or fatal",
    "Error opening YAML file": "; expected a file that is there",
    "params file": "; expected YAML, as in the config/segmentation.yaml that ships",
}
"""By a part of what ROS says of an argument: what it does not say."""

"""The little of `launch` and `launch_ros` that the launch file uses, for machines that have neither."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, MutableMapping
from types import ModuleType
from typing import Any


class LaunchContext:
    """What is set while a launch file runs."""

    def __init__(self) -> None:
        self.launch_configurations: dict[str, str] = {}

    @property
    def environment(self) -> MutableMapping[str, str]:
        return os.environ


class LaunchDescription:
    """The entities of a launch file."""

    def __init__(self, initial_entities: Iterable[Any] = ()) -> None:
        self.entities = list(initial_entities)


class DeclareLaunchArgument:
    """An argument with its default, which must be one of the choices where there are any."""

    def __init__(self, name: str, *, default_value: str, description: str, choices: list[str] | None = None) -> None:
        self.name = name
        self.description = description if choices is None else f"{description} Valid choices are: {choices}"
        self._default_value = default_value
        self._choices = choices
        if choices is not None and default_value not in choices:
            raise RuntimeError(f'Provided default_value "{default_value}" is not in provided choices "{choices}".')

    def visit(self, context: LaunchContext) -> None:
        value = context.launch_configurations.setdefault(self.name, self._default_value)
        if self._choices is not None and value not in self._choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{value}" is not valid. Valid options are: {self._choices}'
            )


class OpaqueFunction:
    """A function that makes entities when it is visited."""

    def __init__(self, *, function: Callable[[LaunchContext], Any]) -> None:
        self._function = function

    def visit(self, context: LaunchContext) -> Any:
        return self._function(context)


class SetEnvironmentVariable:
    """A variable for this process and what it starts."""

    def __init__(self, name: str, value: str) -> None:
        self._name = name
        self._value = value

    def visit(self, context: LaunchContext) -> None:
        context.environment[self._name] = self._value


class RegisterEventHandler:
    """Waits for an event, once it is visited."""

    def __init__(self, event_handler: Any) -> None:
        self.event_handler = event_handler

    def visit(self, context: LaunchContext) -> None:
        pass


class ExecuteProcess:
    """Takes the arguments of the real one that the launch file gives; another name is an error."""

    def __init__(
        self,
        *,
        cmd: list[str],
        name: str | None = None,
        respawn: bool = False,
        respawn_delay: float | None = None,
        output: str = "log",
    ) -> None:
        pass


class Node(ExecuteProcess):
    """As the real one it is a process, and wants its parameters in a list."""

    def __init__(
        self,
        *,
        executable: str,
        package: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        parameters: list[Any] | None = None,
        remappings: Iterable[tuple[str, str]] | None = None,
        ros_arguments: list[str] | None = None,
        arguments: list[str] | None = None,
        **process: Any,
    ) -> None:
        if parameters is not None and not isinstance(parameters, list):
            raise TypeError(f"'parameters' is {type(parameters)}; expected a list")
        super().__init__(cmd=[executable], **process)


class LifecycleNode(Node):
    """Its name and namespace are needed to listen to it."""

    def __init__(self, *, name: str, namespace: str, **node: Any) -> None:
        super().__init__(name=name, namespace=namespace, **node)


class PackageNotFoundError(KeyError):
    """A package that is not in the ament index."""


def get_package_prefix(package_name: str) -> str:
    """Where a package is installed: nowhere."""
    raise PackageNotFoundError(package_name)


class OnStateTransition:
    """What is to begin when a lifecycle node comes into a state."""

    def __init__(
        self, *, target_lifecycle_node: LifecycleNode, goal_state: str, entities: list[Any], handle_once: bool = False
    ) -> None:
        if not isinstance(target_lifecycle_node, LifecycleNode):
            raise RuntimeError("OnStateTransition requires a 'LifecycleNode' action as the target")
        self.entities = entities


def modules() -> dict[str, ModuleType]:
    """The modules that a launch file imports, by name."""
    contents: dict[str, list[Any]] = {
        "ament_index_python": [],
        "ament_index_python.packages": [PackageNotFoundError, get_package_prefix],
        "launch": [LaunchContext, LaunchDescription],
        "launch.actions": [
            DeclareLaunchArgument,
            ExecuteProcess,
            OpaqueFunction,
            RegisterEventHandler,
            SetEnvironmentVariable,
        ],
        "launch_ros": [],
        "launch_ros.actions": [LifecycleNode, Node],
        "launch_ros.event_handlers": [OnStateTransition],
    }
    made = {}
    for name, kinds in contents.items():
        made[name] = ModuleType(name)
        vars(made[name]).update({kind.__name__: kind for kind in kinds})
    return made

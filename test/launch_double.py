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


class LaunchConfiguration:
    """A launch argument's value, asked for by name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def perform(self, context: LaunchContext) -> str:
        return context.launch_configurations[self._name]


class DeclareLaunchArgument:
    """An argument with its default."""

    def __init__(
        self, name: str, *, default_value: str, description: str, choices: Iterable[str] | None = None
    ) -> None:
        self.name = name
        self.description = description
        self._default_value = default_value
        self._choices = None if choices is None else list(choices)

    def visit(self, context: LaunchContext) -> None:
        value = context.launch_configurations.setdefault(self.name, self._default_value)
        if self._choices is not None and value not in self._choices:
            raise RuntimeError(f"{self.name}: {value} is not in {self._choices}")


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


class ParameterValue:
    """A parameter's value of a given type."""

    def __init__(self, value: LaunchConfiguration, *, value_type: type) -> None:
        self._value = value
        self._value_type = value_type

    def evaluate(self, context: LaunchContext) -> Any:
        return self._value_type(self._value.perform(context))


class Node:
    """Takes the arguments of the real one that the launch file gives; another name is an error."""

    def __init__(
        self,
        *,
        package: str,
        executable: str,
        name: str,
        namespace: Any,
        remappings: Any,
        parameters: Any,
        ros_arguments: Any,
        output: str,
    ) -> None:
        pass


def modules() -> dict[str, ModuleType]:
    """The modules that a launch file imports, by name."""
    contents: dict[str, list[type]] = {
        "launch": [LaunchContext, LaunchDescription],
        "launch.actions": [DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable],
        "launch.substitutions": [LaunchConfiguration],
        "launch_ros": [],
        "launch_ros.actions": [Node],
        "launch_ros.parameter_descriptions": [ParameterValue],
    }
    made = {}
    for name, kinds in contents.items():
        made[name] = ModuleType(name)
        vars(made[name]).update({kind.__name__: kind for kind in kinds})
    return made

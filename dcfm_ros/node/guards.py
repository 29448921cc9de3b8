"""Guards of callbacks: what one raises ends its request or transition, with a line, and never the process."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def transition(goal: str, failed: str = "") -> Callable[[Transition], Transition]:
    """A lifecycle callback that logs what it raises, which rclpy does not, and keeps `lifecycle_state` of its node.

    goal: the state after success. failed: the state after a failure; empty: the one before. What is raised is a failure
    where that has a state of its own, and else an error.
    """

    def decorate(callback: Transition) -> Transition:
        @wraps(callback)
        def run(node: Any, previous: LifecycleState) -> TransitionCallbackReturn:
            try:
                outcome = callback(node, previous)
            except (Exception, SystemExit) as error:  # what a library raises to end the process ends the transition
                node.get_logger().error(f"{callback.__name__} failed: {error!r}")
                outcome = TransitionCallbackReturn.FAILURE if failed else TransitionCallbackReturn.ERROR
            node.lifecycle_state = {
                TransitionCallbackReturn.SUCCESS: goal,
                TransitionCallbackReturn.FAILURE: failed or previous.label,
            }.get(outcome, "errorprocessing")
            return outcome

        return run

    return decorate


def guard_services(node: Node, on_error: Callable[[str], None]) -> None:
    """Answer each request that a service of the node cannot fulfil, rclpy's own services among them.

    The answer is what stands for a refusal in the service's type. Of parameters that are set one by one, each has an
    answer of its own. on_error: told of it in a sentence.
    """
    for service in node.services:
        answer = _guarded(service.srv_name, service.callback, on_error)
        service.callback = _one_by_one(answer) if service.srv_type is SetParameters else answer


def _guarded(name: str, callback: Callable[[Any, Any], Any], on_error: Callable[[str], None]) -> Callable[..., Any]:
    def answer(request: Any, response: Any) -> Any:
        try:
            return callback(request, response)
        except (Exception, SystemExit) as error:
            reason = f"a request to {name} is refused: {error}"
            on_error(reason)
            return _refused(request, response, reason)

    return answer


def _one_by_one(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """For each parameter of a request alone: rclpy would end at the first that raises."""

    def answers(request: SetParameters.Request, response: SetParameters.Response) -> SetParameters.Response:
        for parameter in request.parameters:
            alone = SetParameters.Request(parameters=[parameter])
            response.results.extend(answer(alone, SetParameters.Response()).results)
        return response

    return answers


def _refused(request: Any, response: Any, reason: str) -> Any:
    """The response; what it has to say of success is that there is none."""
    refusal = SetParametersResult(successful=False, reason=reason)
    if hasattr(response, "success"):
        response.success = False
    if hasattr(response, "message"):
        response.message = reason
    if isinstance(getattr(response, "result", None), SetParametersResult):
        response.result = refusal
    if hasattr(response, "results"):
        response.results = [refusal] * len(request.parameters)
    return response


def spin(node: Node, on_error: Callable[[str], None]) -> None:
    """Execute callbacks until ROS is shut down, whatever they raise; on_error: told of it in a sentence."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    try:
        while node.context.ok():
            try:
                executor.spin_once()
            except ExternalShutdownException:
                return
            except (Exception, SystemExit) as error:
                if node.context.ok():  # else a signal took ROS away from under a callback
                    on_error(f"a callback failed: {error!r}")
    finally:
        executor.remove_node(node)

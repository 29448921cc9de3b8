"""Overrides of the quality of service that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.node import Node


@contextmanager
def overridden(node: Node, topic: str, entity: str) -> Iterator[None]:
    """Make the publisher or the subscription of a topic inside: an override that cannot be is a ValueError.

    entity: "publisher" or "subscription". rclpy's own error names no topic.
    """
    try:
        yield
    except RuntimeError as error:
        if "QoS override" not in str(error):
            raise
        name = f"qos_overrides.{node.resolve_topic_name(topic)}.{entity}"
        raise ValueError(f"{name}: {error}; expected a word of ROS, as best_effort or keep_last") from error

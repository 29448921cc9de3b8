"""What the readers of damaged files give, and how they tell what is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Lose = Callable[[str], None]
"""Told what is lost, where and why."""


class RawMessage(NamedTuple):
    """A message as it was serialised. kind: the type's name. encoding: "cdr", "ros1", "protobuf", "json", ...

    definition: what describes the type, where the file has it in the message's own encoding's words.
    """

    topic: str
    kind: str
    received_ns: int
    data: bytes
    encoding: str = "cdr"
    definition: bytes = b""

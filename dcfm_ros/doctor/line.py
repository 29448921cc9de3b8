"""One line of what the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]
"""note: nothing is wrong, but something is not there. warning: the node starts, and will not do as well as it could.
error: the node would not start.
"""


@dataclass(frozen=True)
class Line:
    """section, name: what it is about. told: what was found, in words. remedy: what a person should do.

    Raises:
        ValueError: A warning or an error without a remedy.
    """

    section: str
    name: str
    level: Level
    told: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.level in ("warning", "error") and not self.remedy:
            raise ValueError(f"{self.name} is {self.level!r} without a remedy; expected what a person should do")

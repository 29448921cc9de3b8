"""Sizes of pictures as options give them."""

from __future__ import annotations

from typing import Any

import click


class SizeType(click.ParamType):
    """HEIGHTxWIDTH in pixels, as (height, width)."""

    name = "HEIGHTxWIDTH"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        """Fails for anything else, but a size that this made before: Click 8.0 converts a default twice."""
        if isinstance(value, tuple):
            return value
        height, _, width = str(value).partition("x")
        if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
            self.fail(f"{value!r} is no size; expected a height and a width, like 384x480", parameter, context)
        return int(height), int(width)

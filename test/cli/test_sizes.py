"""Sizes as options give them."""

from __future__ import annotations

import click
import pytest

from dcfm_ros.cli.sizes import SizeType


@pytest.mark.parametrize("value", ["720x1280", (720, 1280)])
def test_a_size_is_taken_as_text_and_as_it_was_made_of_one(value: object) -> None:
    """Click 8.0 converts a default twice."""
    assert SizeType()(value) == (720, 1280)


@pytest.mark.parametrize("value", ["720", "0x1280", "720x-1", "720x1280x3", "axb"])
def test_what_is_no_size_is_refused(value: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a height and a width, like 384x480"):
        SizeType()(value)

"""A stream's choices as a record: what it refuses, what it says of itself, and how it is written down."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from dcfm_ros.streaming import StreamOptions
from dcfm_ros.streaming.options import stream_choices


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("mode", "both", "mode is 'both'; expected one of causal, bidirectional, full"),
        ("align", "shift", "align is 'shift'; expected one of none, flow"),
        ("keyframe_mode", "later", "keyframe_mode is 'later'; expected one of sync, async"),
        ("schedule", "budget", "schedule is 'budget'; expected one of fixed, max_age, adaptive"),
        ("swap_after", -1, "swap_after is -1; expected 0 to 1000"),
        ("keyframe_interval", 0, "keyframe_interval is 0; expected 1 to 1000"),
        ("schedule_min_interval", 0, "schedule_min_interval is 0; expected 1 to 1000"),
        ("schedule_max_age_s", -0.5, "schedule_max_age_s is -0.5; expected 0.0 to 3600.0"),
        ("schedule_threshold", float("nan"), "schedule_threshold is nan; expected 0.0001 to 10.0"),
        ("input_size", (64, 9000), r"input_size is \(64, 9000\); expected 0 to 8192"),
        ("max_stamp_gap_s", 0.0, "max_stamp_gap_s is 0.0; expected 0.001 to 3600.0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StreamOptions(**{field: value})


def test_every_choice_says_in_sentences_what_it_is_and_what_is_allowed() -> None:
    assert [choice.name for choice in stream_choices()] == [field.name for field in fields(StreamOptions)]
    for choice in stream_choices():
        assert choice.description[0].isupper() and choice.description.endswith("."), choice.name
        assert not choice.description.startswith(("Of ", "What ")), choice.name
        assert bool(choice.choices) != (choice.minimum is not None and choice.maximum is not None), choice.name
        assert choice.name.endswith("_s") == (choice.unit == "s"), choice.name


def test_every_choice_is_written_by_its_name() -> None:
    written = json.loads(json.dumps(StreamOptions(keyframe_interval=3, input_size=(64, 96)).to_json()))
    assert list(written) == [field.name for field in fields(StreamOptions)]
    assert (written["keyframe_interval"], written["input_size"], written["align"]) == (3, [64, 96], "flow")


def test_masks_are_repeatable_unless_a_keyframe_comes_into_use_whenever_it_is_ready() -> None:
    assert StreamOptions().is_repeatable
    assert StreamOptions(keyframe_mode="async", swap_after=2).is_repeatable
    assert not StreamOptions(keyframe_mode="async").is_repeatable


@pytest.mark.parametrize(
    ("options", "interval"),
    [
        (StreamOptions(keyframe_interval=7), 7),
        (StreamOptions(mode="full"), 1),
        (StreamOptions(schedule="adaptive"), None),
        (StreamOptions(schedule_max_age_s=1.0), None),
        (StreamOptions(schedule_min_interval=2), None),
    ],
)
def test_an_interval_is_fixed_where_no_frame_can_change_it(options: StreamOptions, interval: int | None) -> None:
    assert options.fixed_interval == interval

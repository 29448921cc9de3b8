"""What the tests of weights files share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dcfm_ros.model import (
    DCFM,
    WeightsError,
)

State = dict[str, Tensor]


def copy_of(model: DCFM) -> State:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype, name
        assert torch.equal(state[name], tensor), name


def refusal(call: Callable[..., object]) -> str:
    """The sentence of the WeightsError that `call` must raise."""
    with pytest.raises(WeightsError) as caught:
        call()
    message = str(caught.value)
    assert message and "\n" not in message
    return message


class WritesWhenUnpickled:
    """What an attacker would put into a .pth file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "ran")


def drop(key: str) -> Callable[[State], None]:
    return lambda state: state.__delitem__(key)


def put(key: str, value: Any) -> Callable[[State], None]:
    return lambda state: state.__setitem__(key, value)

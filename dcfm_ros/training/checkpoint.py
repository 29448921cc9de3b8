"""A run between two steps, and the file that it is resumed from."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from dcfm_ros.files import whole_file
from dcfm_ros.model import DCFM
from dcfm_ros.training.recipe import Recipe

log = logging.getLogger(__name__)

_MAY_CHANGE = (
    "output",
    "data_root",
    "workers",
    "log_every",
    "checkpoint_every",
    "validate_every",
    "validate_frames",
    "steps",
)
"""Keys of a recipe that a run may go on with other values of; with any other, it would be neither of the two runs."""


class RunState:
    """The state of a run between two steps; `best` is the highest mIoU on held-out frames, -1 before the first.

    scaler: that of the gradients, which fp16 has.
    """

    def __init__(
        self,
        model: DCFM,
        averaged: AveragedModel,
        optimizer: torch.optim.Optimizer,
        schedule: LambdaLR,
        recipe: Recipe,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self._parts: dict[str, Any] = {
            "model": model,
            "averaged": averaged,
            "optimizer": optimizer,
            "schedule": schedule,
        }
        if scaler is not None:
            self._parts["scaler"] = scaler
        self._model = model
        self._optimizer = optimizer
        self._schedule = schedule
        self._recipe = dataclasses.asdict(recipe)
        self.averaged = averaged
        self.step = 0
        self.best = -1.0

    def save(self, path: Path) -> None:
        """Write everything, atomically, whatever happens to the machine meanwhile.

        Raises ValueError, and leaves the last checkpoint as it is, when a weight is not finite.
        """
        self._check_finite(path)
        document = {name: part.state_dict() for name, part in self._parts.items()}
        with whole_file(path, durable=True) as partial:
            torch.save(document | {"step": self.step, "best": self.best, "recipe": self._recipe}, partial)

    def load(self, path: Path, device: torch.device) -> None:
        """Read what `save` wrote; learning rates are those of this recipe's `steps`.

        Raises ValueError when it is not of such a run, or of a recipe that differs (see `_MAY_CHANGE`).
        """
        with _refused_by_name(path):
            document = torch.load(path, map_location=device, weights_only=True)
            self.step, self.best = document["step"], document["best"]
        if "recipe" in document:  # checkpoints did not always say it
            _check_same(document["recipe"], self._recipe, path)
        with _refused_by_name(path):
            for name, part in self._parts.items():
                part.load_state_dict(document[name])
        factors = zip(self._schedule.base_lrs, self._schedule.lr_lambdas, strict=True)
        for group, (rate, factor) in zip(self._optimizer.param_groups, factors, strict=True):
            group["lr"] = rate * factor(self._schedule.last_epoch)
        log.info("continuing from step %d of %s", self.step, path)

    def _check_finite(self, path: Path) -> None:
        for name, parameter in self._model.named_parameters():
            if not parameter.isfinite().all():
                raise ValueError(
                    f"{name} is not finite after step {self.step}; expected numbers. A lower learning rate "
                    f"(encoder_lr, decoder_lr) may help; {path} stays as it is"
                )


@contextmanager
def _refused_by_name(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch raises a dozen types here
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is not of a run of this recipe; move it away: {problem}") from error


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raises ValueError for the first key that both recipes have and that differs."""
    first, second = _by_key(before), _by_key(now)
    for key, value in second.items():
        if key in first and first[key] != value:
            raise ValueError(
                f"{path} is of a run with {key}={first[key]!r}, but the recipe says {value!r}; expected the same. "
                "Name another output to begin anew"
            )


def _by_key(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to stay, flat: `sources` are their paths, and each source's keys `sources[0].share` and so on."""
    values = {key: value for key, value in recipe.items() if key not in _MAY_CHANGE}
    values["sources"] = [source["path"] for source in recipe["sources"]]
    for number, source in enumerate(recipe["sources"]):
        values |= {f"sources[{number}].{key}": value for key, value in source.items()}
    return values

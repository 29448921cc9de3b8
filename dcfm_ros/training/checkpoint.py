"""A run between two steps, and the file that it goes on from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from dcfm_ros.model import DCFM

log = logging.getLogger(__name__)


class RunState:
    """What a run is made of between two steps; `best` is the highest mIoU on held-out frames, -1 before the first."""

    def __init__(
        self, model: DCFM, averaged: AveragedModel, optimizer: torch.optim.Optimizer, schedule: LambdaLR
    ) -> None:
        self._parts: dict[str, Any] = {
            "model": model,
            "averaged": averaged,
            "optimizer": optimizer,
            "schedule": schedule,
        }
        self.averaged = averaged
        self.step = 0
        self.best = -1.0

    def save(self, path: Path) -> None:
        """Write everything, atomically."""
        document = {name: part.state_dict() for name, part in self._parts.items()}
        torch.save(document | {"step": self.step, "best": self.best}, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)

    def load(self, path: Path, device: torch.device) -> None:
        """Read what `save` wrote. Raises ValueError when it is not of such a run."""
        try:
            document = torch.load(path, map_location=device, weights_only=True)
            for name, part in self._parts.items():
                part.load_state_dict(document[name])
            self.step, self.best = document["step"], document["best"]
        except Exception as error:  # torch raises a dozen types here
            problem = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{path} is not of a run of this recipe; move it away: {problem}") from error
        log.info("going on from step %d of %s", self.step, path)

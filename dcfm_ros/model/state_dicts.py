"""Plain state dicts, freed of what training tools put around them and in front of their names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "module")
# DataParallel and DistributedDataParallel, Lightning, torch.compile, and what people call their networks.
_PREFIXES = ("module.", "model.", "net.", "network.", "state_dict.", "_orig_mod.")


def unwrapped(state: Any, source: object) -> Any:
    """The state dict inside a checkpoint, its names without the prefix that all of them have; says so in the log.

    source: what it is called there. What is no dictionary comes back as it is.
    """
    taken: list[str] = []
    while isinstance(state, Mapping):
        if inner := next((name for name in _WRAPPERS if isinstance(state.get(name), Mapping) and state[name]), None):
            state = state[inner]
            taken.append(f"[{inner!r}]")
            continue
        prefix = next((prefix for prefix in _PREFIXES if _all_begin(state, prefix)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        taken.append(f"{prefix!r} in front of its names")
    if taken:
        log.warning("%s: taken without %s, which a training tool put there", source, " and ".join(taken))
    return state


def _all_begin(state: Mapping[Any, Any], prefix: str) -> bool:
    return bool(state) and all(isinstance(name, str) and name.startswith(prefix) for name in state)

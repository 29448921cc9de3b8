"""Fast DDS's shared memory: how much of it the profile in the environment gives to a process for its messages."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dcfm_ros.machine.share import share_file

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""The Fast DDS of Humble and Jazzy reads the first name alone; Kilted's both, and warns of the first."""

DEFAULT_SEGMENT = 512 * 1024
"""Bytes of shared memory that a process has without a profile, in Fast DDS 2 and 3."""


class ProfileError(ValueError):
    """A profile that Fast DDS would not take; it would go on with its defaults."""


@dataclass(frozen=True)
class Profile:
    """A profile of Fast DDS.

    path: None where the environment names no profile. segment: bytes of shared memory of one process; 0 where the
    profile has none.
    """

    path: Path | None
    segment: int


def shipped_profile() -> Path | None:
    """Return the file of the profile for large images; None where it is not installed."""
    return share_file("config", "fastdds_large_images.xml")


def names_a_profile(environment: Mapping[str, str]) -> bool:
    """Whether one of PROFILE_VARIABLES is set."""
    return any(environment.get(name) for name in PROFILE_VARIABLES)


def profile_in_use(environment: Mapping[str, str] = os.environ) -> Profile:
    """Read the profile that `environment` names.

    Raises:
        ProfileError: It is not there, or no XML.
    """
    path = next((Path(environment[name]) for name in PROFILE_VARIABLES if environment.get(name)), None)
    return Profile(path, DEFAULT_SEGMENT if path is None else _segment(path))


def _segment(path: Path) -> int:
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise ProfileError(f"{path} cannot be read: {error}") from error
    # Tags have a namespace, which differs between the versions of Fast DDS.
    transports = [
        {field.tag.rpartition("}")[2]: (field.text or "").strip() for field in element}
        for element in root.iter()
        if element.tag.endswith("transport_descriptor")
    ]
    shared = [each.get("segment_size", str(DEFAULT_SEGMENT)) for each in transports if each.get("type") == "SHM"]
    if not all(size.isdecimal() for size in shared):
        raise ProfileError(f"{path} has a segment_size that is no number of bytes")
    builtin = [element.text or "" for element in root.iter() if element.tag.endswith("useBuiltinTransports")]
    if not shared and "false" not in (text.strip() for text in builtin):
        return DEFAULT_SEGMENT
    return max(map(int, shared), default=0)

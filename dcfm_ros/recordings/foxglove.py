"""Images in Foxglove's own messages (https://docs.foxglove.dev/docs/sdk/schemas), as those of ROS.

In Protobuf, JSON or, as package foxglove_msgs, in ROS 2's CDR.
"""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

_FAMILIES = ("foxglove.", "foxglove_msgs/msg/")
RAW_IMAGES = tuple(f"{family}RawImage" for family in _FAMILIES)
COMPRESSED_IMAGES = tuple(f"{family}CompressedImage" for family in _FAMILIES)
VIDEOS = tuple(f"{family}CompressedVideo" for family in _FAMILIES)


def from_protobuf(data: bytes, kind: str, definition: bytes) -> Any:
    """The message. definition: a FileDescriptorSet. Raises ValueError when it cannot be read, or not here."""
    try:
        return _message_class(kind, definition).FromString(data)
    except ImportError as error:
        raise ValueError(f"{kind} is in Protobuf, which is not installed; pip install protobuf") from error
    except Exception as error:  # of a library, for bytes that are anything
        raise ValueError(f"the {kind} is no message of its definition: {error}") from error


def from_json(data: bytes) -> Any:
    """The message. Raises ValueError when it is no JSON."""
    found = json.loads(data, object_hook=lambda values: SimpleNamespace(**values))
    if isinstance(getattr(found, "data", None), str):
        found.data = base64.b64decode(found.data)
    return found


def as_ros(message: Any, kind: str) -> Any:
    """A sensor_msgs/Image or sensor_msgs/CompressedImage with the same content. Raises AttributeError for another."""
    timestamp = message.timestamp
    nanoseconds = next(
        (getattr(timestamp, name) for name in ("nanosec", "nanos", "nsec") if hasattr(timestamp, name)), 0
    )
    seconds = getattr(timestamp, "sec", None)
    stamp = SimpleNamespace(sec=int(timestamp.seconds if seconds is None else seconds), nanosec=int(nanoseconds))
    header = SimpleNamespace(stamp=stamp, frame_id=getattr(message, "frame_id", ""))
    if kind in COMPRESSED_IMAGES:
        return SimpleNamespace(header=header, format=message.format, data=message.data)
    size = {name: int(getattr(message, name)) for name in ("height", "width", "step")}
    return SimpleNamespace(header=header, encoding=message.encoding, is_bigendian=0, data=message.data, **size)


@lru_cache(maxsize=8)
def _message_class(kind: str, definition: bytes) -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

    pool = descriptor_pool.DescriptorPool()
    files = {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(definition).file}
    while files:
        # A file is added after those that it imports.
        name = next(name for name, file in files.items() if not files.keys() & set(file.dependency))
        pool.Add(files.pop(name))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(kind))

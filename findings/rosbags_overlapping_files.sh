#!/usr/bin/env bash
# rosbags reads the files of one bag one after the other, also where they overlap in time; two bags it merges by time.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rosbags==0.11.9 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

types = get_typestore(Stores.ROS2_JAZZY)
String = types.types["std_msgs/msg/String"]


def write(name, times):
    with Writer(Path(name), version=9) as bag:
        topic = bag.add_connection("/text", String.__msgtype__, typestore=types)
        for time in times:
            bag.write(topic, time, types.serialize_cdr(String(data=str(time)), String.__msgtype__))
    return Path(name)


def times(*paths):
    with AnyReader(list(paths), default_typestore=types) as bag:
        return [time for _, time, _ in bag.messages()]


first, second = write("first", [1, 3, 5]), write("second", [2, 4, 6])
print("rosbags", version("rosbags"))
print("expected of either: [1, 2, 3, 4, 5, 6]")
as_bags = times(first, second)
# The same two files as one bag that a recorder split.
(second / "second.db3").rename(first / "second.db3")
metadata = first / "metadata.yaml"
metadata.write_text(metadata.read_text().replace("- first.db3", "- first.db3\n  - second.db3"))
as_files = times(first)
print("seen of two bags:          ", as_bags)
print("seen of one bag's two files:", as_files)
raise SystemExit((as_bags, as_files) != ([1, 2, 3, 4, 5, 6], [1, 3, 5, 2, 4, 6]))
PYTHON
"$folder/venv/bin/python" try.py

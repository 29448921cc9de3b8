#!/usr/bin/env bash
# rosbags puts a .db3 file's path into a SQLite URI as it is: a bag in a folder called `run#2` cannot be opened, and one
# in `run%20a` is another bag's, that in `run a`. Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rosbags==0.11.9 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
import shutil
from importlib.metadata import version
from pathlib import Path

from rosbags.rosbag2 import Reader, Writer
from rosbags.typesys import Stores, get_typestore

types = get_typestore(Stores.ROS2_JAZZY)
String = types.types["std_msgs/msg/String"]


def write(path, texts):
    path.parent.mkdir()
    with Writer(Path("plain"), version=9) as bag:
        topic = bag.add_connection("/text", String.__msgtype__, typestore=types)
        for number, text in enumerate(texts):
            bag.write(topic, number, types.serialize_cdr(String(data=text), String.__msgtype__))
    shutil.move("plain", path)
    return path


def read(path):
    try:
        with Reader(path) as bag:
            return [types.deserialize_cdr(data, topic.msgtype).data for topic, _, data in bag.messages()]
    except Exception as error:
        return type(error).__name__


print("rosbags", version("rosbags"))
hash_bag = write(Path("run#2/drive"), ["right"])
percent_bag = write(Path("run%20a/drive"), ["right"])
write(Path("run a/drive"), ["another bag's"])
expected = [["right"], ["right"]]
seen = [read(hash_bag), read(percent_bag)]
print("expected of run#2 and of run%20a:", expected)
print("seen:                            ", seen)
raise SystemExit(seen != ["ReaderError", ["another bag's"]])
PYTHON
"$folder/venv/bin/python" try.py

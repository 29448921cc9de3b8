#!/usr/bin/env bash
# Of an MCAP file that was recorded without its message index, rosbags tells every message and gives none; of one whose
# channels are not repeated in the summary it gives neither messages nor topics. No error in either case.
# Both are options of `ros2 bag record --storage-config-file` (noMessageIndex, noRepeatedChannels), and the specification
# of MCAP allows both.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rosbags==0.11.9 mcap==1.6.0 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

from mcap.reader import NonSeekingReader
from mcap.writer import IndexType, Writer
from rosbags.rosbag2 import Reader

MESSAGE = b"\x00\x01\x00\x00" + b"\x02\x00\x00\x00a\x00"  # a std_msgs/msg/String


def write(name, **options):
    with open(name, "wb") as file:
        bag = Writer(file, **options)
        bag.start(profile="ros2")
        schema = bag.register_schema("std_msgs/msg/String", "ros2msg", b"string data\n")
        channel = bag.register_channel("/text", "cdr", schema)
        for time in range(1, 21):
            bag.add_message(channel, log_time=time, publish_time=time, data=MESSAGE)
        bag.finish()
    return Path(name)


def by_rosbags(path):
    with Reader(path) as bag:
        return bag.message_count, len(bag.topics), len(list(bag.messages()))


def by_mcap(path):
    with path.open("rb") as file:
        return len(list(NonSeekingReader(file).iter_messages()))


files = {
    "everything": write("all.mcap"),
    "no message index": write("unindexed.mcap", index_types=IndexType.ALL & ~IndexType.MESSAGE),
    "no repeated channels": write("unrepeated.mcap", repeat_channels=False),
}
print("rosbags", version("rosbags"), "mcap", version("mcap"))
print("expected of each: 20 messages told, 1 topic, 20 messages read, or an error")
seen = {name: by_rosbags(path) for name, path in files.items()}
streamed = {name: by_mcap(path) for name, path in files.items()}
print("seen in rosbags:", seen)
print("seen in mcap as a stream:", streamed)
is_so = list(seen.values()) == [(20, 1, 20), (20, 1, 0), (20, 0, 0)] and set(streamed.values()) == {20}
raise SystemExit(0 if is_so else 1)
PYTHON
"$folder/venv/bin/python" try.py

#!/usr/bin/env bash
# A byte of 200 that ROS 2 serialised is 200 in mcap-ros2-support and -56 in rosbags; a char of 200 is the other way round.
# In ROS 2 both are unsigned, and rclpy reads 200 of either.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE # the wheels set themselves up once per process tree
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ros-jazzy-rclpy[fastrtps]==7.1.6' ros-jazzy-std-msgs==5.3.6 \
    rosbags==0.11.9 mcap==1.6.0 mcap-ros2-support==0.6.0 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import Writer
from mcap_ros2.decoder import DecoderFactory
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.highlevel import AnyReader
from std_msgs.msg import Byte, Char

# The bytes are what ROS 2 makes of its own messages; the files hold them, and the definitions of these types.
data = {"byte": serialize_message(Byte(data=b"\xc8")), "char": serialize_message(Char(data=200))}
with open("bag.mcap", "wb") as file:
    bag = Writer(file)
    bag.start(profile="ros2")
    for word, serialised in data.items():
        schema = bag.register_schema(f"std_msgs/msg/{word.capitalize()}", "ros2msg", f"{word} data\n".encode())
        bag.add_message(bag.register_channel(f"/{word}", "cdr", schema), log_time=1, publish_time=1, data=serialised)
    bag.finish()

by_rclpy = [deserialize_message(data["byte"], Byte).data[0], deserialize_message(data["char"], Char).data]
with open("bag.mcap", "rb") as file:
    messages = make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages()
    read = {message.channel.topic: message.decoded_message.data for message in messages}
    by_mcap = [read["/byte"], read["/char"]]
with AnyReader([Path("bag.mcap")]) as bag:
    read = {topic.topic: int(bag.deserialize(raw, topic.msgtype).data) for topic, _, raw in bag.messages()}
    by_rosbags = [read["/byte"], read["/char"]]

packages = ("ros-jazzy-rclpy", "rosbags", "mcap-ros2-support")
print(*(f"{package} {version(package)}" for package in packages))
print("expected of each: byte and char [200, 200]")
print(f"seen: rclpy {by_rclpy}, mcap-ros2-support {by_mcap}, rosbags {by_rosbags}")
raise SystemExit(0 if (by_rclpy, by_mcap, by_rosbags) == ([200, 200], [200, -56], [-56, 200]) else 1)
PYTHON
ROS_LOG_DIR=$PWD/log venv/bin/python try.py

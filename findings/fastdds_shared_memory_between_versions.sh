#!/usr/bin/env bash
# Processes of ROS 2 Jazzy (Fast DDS 2.14) and of Kilted (3.2) on one machine do not meet over shared memory: with that transport
# alone neither sees the other, while two of one version exchange everything.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE # the wheels set themselves up once per process tree, and two sorts are run here
declare -A rclpy=([jazzy]=7.1.6 [kilted]=9.1.2)
for distribution in jazzy kilted; do
  python3 -m venv "$folder/$distribution"
  "$folder/$distribution/bin/pip" install --quiet "ros-$distribution-rclpy[fastrtps]==${rclpy[$distribution]}" "ros-$distribution-std-msgs"
done
cd "$folder"

cat > shared_memory.xml <<'XML'
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"><profiles>
  <transport_descriptors><transport_descriptor>
    <transport_id>shared_memory</transport_id><type>SHM</type>
  </transport_descriptor></transport_descriptors>
  <participant profile_name="shared_memory" is_default_profile="true"><rtps>
    <userTransports><transport_id>shared_memory</transport_id></userTransports>
    <useBuiltinTransports>false</useBuiltinTransports>
  </rtps></participant>
</profiles></dds>
XML
cat > talk.py <<'PYTHON'
import time

import rclpy
from std_msgs.msg import String

rclpy.init()
node = rclpy.create_node("talker")
publisher = node.create_publisher(String, "text", 10)
while True:
    publisher.publish(String(data="hello"))
    time.sleep(0.1)
PYTHON
cat > listen.py <<'PYTHON'
import time

import rclpy
from std_msgs.msg import String

rclpy.init()
node = rclpy.create_node("listener")
received = []
node.create_subscription(String, "text", received.append, 10)
end = time.monotonic() + 20
while not received and time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.1)
print("received" if received else "nothing")
PYTHON

export FASTRTPS_DEFAULT_PROFILES_FILE=$PWD/shared_memory.xml ROS_LOG_DIR=$PWD/log
export ROS_DOMAIN_ID=$((RANDOM % 100 + 1))
try() { # talker's, listener's
  "$1/bin/python" talk.py > /dev/null 2>&1 &
  local talker=$!
  "$2/bin/python" listen.py 2> /dev/null
  kill "$talker"
  wait "$talker" 2> /dev/null || true
}
versions() {
  "$1/bin/python" - <<'PYTHON'
from importlib.metadata import version

print(*(f"{name} {version(name)}" for name in ("ros-rclpy", "ros-rmw-fastrtps-cpp")))
PYTHON
}
seen=
for talker in jazzy kilted; do
  for listener in jazzy kilted; do
    seen+="$talker to $listener: $(try "$talker" "$listener"); "
  done
done
echo "Jazzy: $(versions jazzy); Kilted: $(versions kilted)"
echo 'expected: received, four times'
echo "seen: $seen"
[ "$seen" = 'jazzy to jazzy: received; jazzy to kilted: nothing; kilted to jazzy: nothing; kilted to kilted: received; ' ]

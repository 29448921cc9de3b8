#!/usr/bin/env bash
# ROS 2 Jazzy ignores a profile that FASTDDS_DEFAULT_PROFILES_FILE names, and says nothing; Kilted, whose documents name that
# variable alone, still reads FASTRTPS_DEFAULT_PROFILES_FILE, with a warning.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE # the wheels set themselves up once per process tree, and two sorts are run here
declare -A rclpy=([jazzy]=7.1.6 [kilted]=9.1.2)
for distribution in jazzy kilted; do
  python3 -m venv "$folder/$distribution"
  "$folder/$distribution/bin/pip" install --quiet "ros-$distribution-rclpy[fastrtps]==${rclpy[$distribution]}"
done
cd "$folder"

cat > large.xml <<'XML'
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"><profiles>
  <transport_descriptors><transport_descriptor>
    <transport_id>large</transport_id><type>SHM</type><segment_size>33554432</segment_size>
  </transport_descriptor></transport_descriptors>
  <participant profile_name="large" is_default_profile="true"><rtps>
    <userTransports><transport_id>large</transport_id></userTransports>
    <useBuiltinTransports>false</useBuiltinTransports>
  </rtps></participant>
</profiles></dds>
XML
cat > try.py <<'PYTHON'
# The shared memory that this process has mapped tells which profile it has.
import re
from importlib.metadata import version
from pathlib import Path

import rclpy

rclpy.init()
node = rclpy.create_node("node")
spans = re.findall(r"^(\w+)-(\w+) .*/dev/shm/fast\w+_[0-9a-f]{16}$", Path("/proc/self/maps").read_text(), re.MULTILINE)
largest = max(int(end, 16) - int(begin, 16) for begin, end in spans)
print("read" if largest > 30_000_000 else "ignored", version("ros-rmw-fastrtps-cpp"))
PYTHON

export ROS_LOG_DIR=$PWD/log
seen=
for distribution in jazzy kilted; do
  for name in FASTRTPS FASTDDS; do
    said=$(env "${name}_DEFAULT_PROFILES_FILE=$PWD/large.xml" ROS_DOMAIN_ID=$((RANDOM % 100 + 1)) \
      "$distribution/bin/python" try.py 2> warnings)
    [[ $said == *' '* ]] && version=${said#* }
    seen+="$distribution $name ${said% *}, $(grep -c "${name}_DEFAULT_PROFILES_FILE" warnings || true) warnings; "
  done
  echo "$distribution: rmw_fastrtps_cpp $version"
done
echo 'expected: either name read by both, or a line that it is not'
echo "seen: $seen"
[ "$seen" = 'jazzy FASTRTPS read, 0 warnings; jazzy FASTDDS ignored, 0 warnings; kilted FASTRTPS read, 1 warnings; kilted FASTDDS read, 0 warnings; ' ]

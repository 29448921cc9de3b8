#!/usr/bin/env bash
# A node of rclpy that declares by itself what its parameter file gives cannot be made where the file has an empty list, and
# the error names neither the parameter nor the file. A node that declares the parameter itself takes the list.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE # the wheels set themselves up once per process tree
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ros-jazzy-rclpy[fastrtps]==7.1.6'
cd "$folder"

cat > parameters.yaml <<'YAML'
/**:
  ros__parameters:
    names: []
    rate: 5.0
YAML
cat > try.py <<'PYTHON'
from importlib.metadata import version

import rclpy
from rcl_interfaces.msg import ParameterDescriptor

rclpy.init(args=["--ros-args", "--params-file", "parameters.yaml"])
node = rclpy.create_node("one")
node.declare_parameter("names", [""], ParameterDescriptor(dynamic_typing=True))
declared = list(node.get_parameter("names").value or [])
try:
    rclpy.create_node("other", automatically_declare_parameters_from_overrides=True)
    by_itself = "made"
except ValueError as error:
    by_itself = str(error)
print(f"rclpy {version('ros-jazzy-rclpy')}")
print("expected: both nodes have the empty list")
print(f"seen: declared {declared}; by itself: {by_itself}")
is_so = declared == [] and "PARAMETER_NOT_SET" in by_itself and "names" not in by_itself
raise SystemExit(0 if is_so else 1)
PYTHON
ROS_DOMAIN_ID=$((RANDOM % 100 + 1)) ROS_LOG_DIR=$PWD/log venv/bin/python try.py

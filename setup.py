"""Installs the package and the files that ROS looks for under share/; the metadata is in setup.cfg."""

from glob import glob

from setuptools import setup

setup(
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/dcfm_ros"]),
        ("share/dcfm_ros", ["package.xml"]),
        ("share/dcfm_ros/launch", glob("launch/*.launch.py")),
        ("share/dcfm_ros/config", [*glob("config/*.yaml"), *glob("config/*.xml"), *glob("config/*.rviz")]),
        ("share/dcfm_ros/config/train", glob("config/train/*.yaml")),
    ],
)

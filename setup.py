"""Installs the package and the files that ROS looks for under share/; the metadata is in setup.cfg."""

from pathlib import Path

from setuptools import setup


def share(folder: str, pattern: str = "*.*") -> tuple[str, list[str]]:
    return f"share/dcfm_ros/{folder}", sorted(str(path) for path in Path(folder).glob(pattern))


setup(
    # Here and not in setup.cfg: colcon prints and parses what setuptools makes of it there, and cannot.
    python_requires=">=3.10",
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/dcfm_ros"]),
        ("share/dcfm_ros", ["package.xml"]),
        share("launch", "*.launch.py"),
        share("config"),
        share("config/train"),
    ],
)

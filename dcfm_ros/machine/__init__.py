"""This machine: its hardware, the Python packages on it, and what ROS 2's middleware finds there.

Nothing is imported here, and none of the modules needs torch, OpenCV or ROS.
"""

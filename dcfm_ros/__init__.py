"""dcfm_ros: dense semantic segmentation of video at camera rate, for ROS 2.

The method is Deep Common Feature Mining (Zheng, Yang, Huang; IEEE TCSVT 2024). Nothing is imported here: torch, OpenCV
and ROS are loaded only by the parts that use them.
"""

__version__ = "0.2.0"

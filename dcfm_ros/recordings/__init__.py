"""Bags, videos and image folders, read and written without a ROS installation."""

"""The ROS 2 nodes. The only place that imports rclpy."""

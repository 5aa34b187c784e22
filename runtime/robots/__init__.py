"""What robots speak: ROS 2 messages without a ROS installation, MCAP files, and two transports of ROS 2.

Found by entry point only: addresses such as ``out.mcap``, ``ros2://camera/image_raw`` and ``zenoh://detections``.
Needs the extras `mcap`, `ros2`, `zenoh` or `foxglove`, each only where its address is used.
"""

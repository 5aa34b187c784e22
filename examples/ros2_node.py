"""A node of ROS 2 that runs a bundle on an image topic; needs a ROS 2 installation, which brings rclpy.

    python examples/ros2_node.py --ros-args -p bundle:=stylize-wave -r image:=/camera/image_raw

Image tasks publish `sensor_msgs/Image` on ~/image; pose publishes `vision_msgs/Detection2DArray` on ~/detections. The
header of the incoming image is repeated. Without ROS, the addresses ros2:// and zenoh:// do the same.
"""

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

import steadyframe as sf


class SteadyframeNode(Node):
    """One processor between one image topic and one topic of results."""

    def __init__(self):
        super().__init__("steadyframe")
        self.processor = sf.open_processor(self.declare_parameter("bundle", "pose").value)
        self.pose = self.processor.task.name == "pose"
        kind, name = (Detection2DArray, "~/detections") if self.pose else (Image, "~/image")
        # Reliable out, because rviz asks for it; best effort in, because a camera may be either.
        self.publisher = self.create_publisher(kind, name, QoSProfile(depth=1))
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, "image", self.on_image, newest)

    def on_image(self, message):
        """Process one image and publish what came of it."""
        if message.encoding not in ("bgr8", "rgb8"):
            self.get_logger().error(f"encoding {message.encoding}: expected bgr8 or rgb8", once=True)
            return
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        pixels = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
        if message.encoding == "rgb8":
            pixels = pixels[..., ::-1]
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        result = self.processor.process(sf.Frame(np.ascontiguousarray(pixels), wall_ns=stamp_ns))[0]
        self.publisher.publish(self.detections(result, message) if self.pose else self.image(result, message))

    def image(self, result, message):
        """Make the result's image, under the header of the image it came from."""
        pixels = np.ascontiguousarray(result.draw())
        height, width = pixels.shape[:2]
        out = Image(header=message.header, height=height, width=width, encoding="bgr8", step=3 * width)
        out.data = pixels.tobytes()
        return out

    def detections(self, result, message):
        """List everybody in the image; boxes in pixels."""
        out = Detection2DArray(header=message.header)
        for person in result.output.people:
            found, guess = Detection2D(header=message.header, id=str(person.id)), ObjectHypothesisWithPose()
            x, y, width, height = person.bbox
            found.bbox.center.position.x, found.bbox.center.position.y = x + width / 2, y + height / 2
            found.bbox.size_x, found.bbox.size_y = width, height
            guess.hypothesis.class_id, guess.hypothesis.score = "person", person.score
            found.results.append(guess)
            out.detections.append(found)
        return out


def main():
    rclpy.init()
    node = SteadyframeNode()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.processor.close()
        node.destroy_node()


if __name__ == "__main__":
    main()

"""The node of `examples/`: its conversions, with stand-ins for the packages that only a ROS 2 installation has.

Messages are those of rosbags, whose fields are those of ROS; that a real graph takes them is for a machine with ROS.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from steadyframe.runtime.robots.codec import encode, make
from steadyframe.runtime.robots.conversion import header_of

NODE = Path(__file__).resolve().parents[3] / "examples" / "ros2_node.py"
EMPTY = header_of(0, "")


def vector(kind: str, names: str) -> object:
    return make(f"geometry_msgs/msg/{kind}", **{name: 0.0 for name in names})


def hypothesis() -> object:
    pose = make("geometry_msgs/msg/Pose", position=vector("Point", "xyz"), orientation=vector("Quaternion", "xyzw"))
    covariance = make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36))
    guess = make("vision_msgs/msg/ObjectHypothesis", class_id="", score=0.0)
    return make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=guess, pose=covariance)


def detection(header, id):
    centre = make("vision_msgs/msg/Pose2D", position=make("vision_msgs/msg/Point2D", x=0.0, y=0.0), theta=0.0)
    box = make("vision_msgs/msg/BoundingBox2D", center=centre, size_x=0.0, size_y=0.0)
    return make("vision_msgs/msg/Detection2D", header=header, results=[], bbox=box, id=id)


def image(**fields):
    return make("sensor_msgs/msg/Image", **{"data": np.zeros(0, np.uint8), "is_bigendian": 0, **fields})


class Parameter:
    def __init__(self, value):
        self.value = value


class Node:
    bundle = "pose"

    def __init__(self, name):
        self.published = []

    def declare_parameter(self, name, default):
        return Parameter(self.bundle)

    def create_publisher(self, kind, name, qos):
        return types.SimpleNamespace(publish=self.published.append)

    def create_subscription(self, kind, name, callback, qos):
        self.callback = callback


@pytest.fixture
def module(monkeypatch):
    def package(name, **contents):
        made = types.ModuleType(name)
        made.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, made)

    package("rclpy")
    package("rclpy.node", Node=Node)
    package("rclpy.qos", QoSProfile=dict, ReliabilityPolicy=types.SimpleNamespace(BEST_EFFORT=1))
    package("sensor_msgs")
    package("sensor_msgs.msg", Image=image)
    package("vision_msgs")
    package(
        "vision_msgs.msg",
        Detection2D=detection,
        Detection2DArray=lambda header: make("vision_msgs/msg/Detection2DArray", header=header, detections=[]),
        ObjectHypothesisWithPose=hypothesis,
    )
    spec = importlib.util.spec_from_file_location("ros2_node", NODE)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("bundle", ["pose", "colorize"])
def test_the_node_answers_with_a_message_under_the_same_header(module, monkeypatch, bundle, data_root):
    import cv2

    pixels = cv2.imread(str(sorted((data_root / "photos" / "val").glob("ccp*"))[0]))
    monkeypatch.setattr(Node, "bundle", bundle)
    node = module.SteadyframeNode()
    header = header_of(1_700_000_000_000_000_007, "eye")
    height, width = pixels.shape[:2]
    padded = np.zeros((height, 3 * width + 5), np.uint8)
    padded[:, : 3 * width] = pixels[..., ::-1].reshape(height, -1)
    node.callback(
        image(header=header, height=height, width=width, encoding="rgb8", step=3 * width + 5, data=padded.reshape(-1))
    )
    node.processor.close()
    answer = node.published[0]
    assert answer.header is header
    if bundle == "pose":
        assert answer.detections and answer.detections[0].results[0].hypothesis.class_id == "person"
        encode(answer, "vision_msgs/msg/Detection2DArray")
    else:
        out = np.frombuffer(bytes(answer.data), np.uint8).reshape(height, width, 3)
        assert (
            np.abs(
                cv2.cvtColor(out, cv2.COLOR_BGR2GRAY).astype(int) - cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
            ).mean()
            < 3
        )

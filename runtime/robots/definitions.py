"""The messages that no distribution of ROS 2 brings in its base, as `.msg` text.

Owns `DEFINITIONS`. Field names, types and their order are the contract of each package; a wrong one changes the type
hash, which the tests pin.

References
----------
vision_msgs 4 (Humble and later), hri_msgs 2 (REP-155).
"""

from __future__ import annotations

# Joints of `hri_msgs/Skeleton2D` in the order of its array, by our own names.
SKELETON_JOINTS = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("left_eye", "right_eye", "left_ear", "right_ear"),
)

DEFINITIONS = {
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y\n",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id\n"
    ),
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections\n",
    "hri_msgs/msg/NormalizedPointOfInterest2D": "float32 x\nfloat32 y\nfloat32 c\n",
    "hri_msgs/msg/IdsList": "std_msgs/Header header\nstring[] ids\n",
    "hri_msgs/msg/Skeleton2D": (
        "std_msgs/Header header\n"
        + "".join(f"uint8 {name.upper()}={place}\n" for place, name in enumerate(SKELETON_JOINTS))
        + "hri_msgs/NormalizedPointOfInterest2D[18] skeleton\n"
    ),
}

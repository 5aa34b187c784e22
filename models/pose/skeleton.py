"""Skeletons as data: joints, bones, mirror twins, and where each joint of a label set goes in another.

Owns the four skeletons of the project and the union that the shipped network is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...runtime.bundle.manifest import Skeleton
from ...runtime.errors import BundleError

# child -> parent; drawn as bones, and used to tell a joint outside the image from one that nobody marked
PARENTS = {
    "left_eye": "nose", "right_eye": "nose", "left_ear": "left_eye", "right_ear": "right_eye",
    "left_elbow": "left_shoulder", "right_elbow": "right_shoulder",
    "left_wrist": "left_elbow", "right_wrist": "right_elbow",
    "left_hip": "left_shoulder", "right_hip": "right_shoulder",
    "left_knee": "left_hip", "right_knee": "right_hip",
    "left_ankle": "left_knee", "right_ankle": "right_knee",
    "head_top": "neck",
}  # fmt: skip
_CROSS_BONES = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))

_COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_LSP = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head_top",
)  # fmt: skip
LIMBS = _LSP[:12]  # the twelve joints that PCK is averaged over


def twin(joint: str) -> str:
    """Name of the mirrored joint; a joint on the midline is its own twin."""
    if joint.startswith("left_"):
        return "right_" + joint[5:]
    return "left_" + joint[6:] if joint.startswith("right_") else joint


def make_skeleton(name: str, joints: Sequence[str]) -> Skeleton:
    """Build a skeleton from its joint names; bones and mirror follow from the names.

    Raises
    ------
    BundleError
        If a joint's mirror twin is missing.
    """
    joints = tuple(joints)
    missing = [twin(joint) for joint in joints if twin(joint) not in joints]
    if missing:
        raise BundleError(f"Skeleton {name!r} lacks mirror twins", expected=missing, found=joints)
    place = {joint: index for index, joint in enumerate(joints)}
    pairs = [*PARENTS.items(), *_CROSS_BONES]
    bones = tuple((place[a], place[b]) for a, b in pairs if a in place and b in place)
    return Skeleton(name, joints, bones, tuple(place[twin(joint)] for joint in joints))


SKELETONS = {
    s.name: s
    for s in (
        make_skeleton(
            "FLIC-4",
            ("nose", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
        ),
        make_skeleton("upper-body", _COCO[:13]),
        make_skeleton("LSP-14", _LSP),
        make_skeleton("COCO-17", _COCO),
        make_skeleton("union-19", (*_COCO, "neck", "head_top")),
    )
}


def placed(joints: Sequence[str], skeleton: Skeleton) -> list[int]:
    """Index in `joints` of each of the skeleton's joints, or -1 where a label set does not have it."""
    place = {joint: index for index, joint in enumerate(joints)}
    return [place.get(joint, -1) for joint in skeleton.joints]

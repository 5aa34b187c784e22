"""Results as ROS 2 messages.

Owns `messages_of`, which says what a result becomes, and the single conversions.

References
----------
REP-155 for people: ``humans/bodies/tracked`` with the ids, ``humans/bodies/ID/skeleton2d`` for each of them, joints
in the order of `hri_msgs/Skeleton2D`, coordinates as shares of width and height.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError
from ..io.sinks.jsonl import as_line
from ..tasks.pose.people import People, Person
from ..tasks.task import Result
from .codec import Message, make
from .definitions import SKELETON_JOINTS
from .frames import COMPRESSED, IMAGE

STRING = "std_msgs/msg/String"
DETECTIONS = "vision_msgs/msg/Detection2DArray"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
IDS, SKELETON = "hri_msgs/msg/IdsList", "hri_msgs/msg/Skeleton2D"
_QUALITY = 90
_OK, _WARN, _ERROR = 0, 1, 2
_PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages a result becomes.

    Parameters
    ----------
    prefix : of the topics, without slashes at its ends
    raw, jpeg : images as `Image`, as `CompressedImage`
    camera : the frame as it came, too
    result : the line of JSON, as `std_msgs/String`
    """

    prefix: str = "steadyframe"
    raw: bool = False
    jpeg: bool = True
    camera: bool = False
    result: bool = False


def header_of(stamp_ns: int, frame_id: str) -> Any:
    """Make a `std_msgs/Header`."""
    stamp = make("builtin_interfaces/msg/Time", sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def image_message(topic: str, pixels: NDArray[np.uint8], stamp_ns: int, frame_id: str, *, raw: bool) -> Message:
    """Make an image message.

    Parameters
    ----------
    topic : without ``/compressed``, which is added to that of a compressed image
    pixels : (H, W, 3) uint8 BGR
    stamp_ns, frame_id : of the header
    raw : `Image` in bgr8, else `CompressedImage` in JPEG

    Raises
    ------
    SinkError
        If it cannot be encoded.
    """
    header = header_of(stamp_ns, frame_id)
    if raw:
        height, width = pixels.shape[:2]
        body = make(
            IMAGE, header=header, height=height, width=width, encoding="bgr8", is_bigendian=0, step=3 * width,
            data=np.ascontiguousarray(pixels).reshape(-1),
        )  # fmt: skip
        return Message(topic, IMAGE, stamp_ns, body)
    good, encoded = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    if not good:
        raise SinkError("An image cannot be encoded as JPEG", found=str(pixels.shape))
    body = make(COMPRESSED, header=header, format="jpeg", data=encoded.reshape(-1))
    return Message(f"{topic}/compressed", COMPRESSED, stamp_ns, body)


def messages_of(result: Result[Any], task: str, stamp_ns: int, frame_id: str, wanted: Wanted) -> Iterator[Message]:
    """Make all messages of a result, the camera's image first.

    People give detections, their ids and skeletons, an image output gives an image; whatever else a result holds
    is in its line of JSON.
    """
    output, prefix = result.output, f"{wanted.prefix}/" if wanted.prefix else ""
    if wanted.camera:
        yield from _images(f"{prefix}camera/image", lambda: result.frame.pixels, stamp_ns, frame_id, wanted)
    if isinstance(output, People):
        yield Message(f"{prefix}detections", DETECTIONS, stamp_ns, detections_of(output, stamp_ns, frame_id))
        yield from people_messages(output, stamp_ns, frame_id)
    elif getattr(output, "pixels", None) is not None:
        yield from _images(f"{prefix}image", result.draw, stamp_ns, frame_id, wanted)
    if wanted.result:
        text = json.dumps(as_line(result, task), separators=(",", ":"))
        yield Message(f"{prefix}result", STRING, stamp_ns, make(STRING, data=text))


def topics_of(task: str, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Name the topics, with their types, that a task will have; those of single people come with them.

    Parameters
    ----------
    task : name of the task; of one that is not ours, an image is expected
    wanted : which messages
    """
    prefix = f"{wanted.prefix}/" if wanted.prefix else ""
    images = [f"{prefix}camera/image"] if wanted.camera else []
    if task == "pose":
        yield f"{prefix}detections", DETECTIONS
        yield "humans/bodies/tracked", IDS
    else:
        images.append(f"{prefix}image")
    for image in images:
        if wanted.raw:
            yield image, IMAGE
        if wanted.jpeg:
            yield f"{image}/compressed", COMPRESSED
    if wanted.result:
        yield f"{prefix}result", STRING


def _images(
    topic: str, pixels: Callable[[], NDArray[np.uint8]], stamp_ns: int, frame_id: str, wanted: Wanted
) -> Iterator[Message]:
    """Make an image in the forms that are wanted; pixels are converted only if there is one."""
    for raw in (*([True] if wanted.raw else []), *([False] if wanted.jpeg else [])):
        yield image_message(topic, pixels(), stamp_ns, frame_id, raw=raw)


def detections_of(people: People, stamp_ns: int, frame_id: str) -> Any:
    """Make a `vision_msgs/Detection2DArray`; boxes in pixels, ids as of the tracks."""
    header = header_of(stamp_ns, frame_id)
    found = [_detection(person, header) for person in people.people]
    return make(DETECTIONS, header=header, detections=found)


def _detection(person: Person, header: Any) -> Any:
    x, y, width, height = person.bbox
    nowhere = make(
        "geometry_msgs/msg/PoseWithCovariance",
        pose=make(
            "geometry_msgs/msg/Pose",
            position=make("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0),
            orientation=make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
        ),
        covariance=np.zeros(36),
    )
    hypothesis = make("vision_msgs/msg/ObjectHypothesis", class_id=_PERSON, score=float(person.score))
    centre = make("vision_msgs/msg/Point2D", x=float(x + width / 2), y=float(y + height / 2))
    return make(
        "vision_msgs/msg/Detection2D",
        header=header,
        results=[make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=nowhere)],
        bbox=make(
            "vision_msgs/msg/BoundingBox2D",
            center=make("vision_msgs/msg/Pose2D", position=centre, theta=0.0),
            size_x=float(width),
            size_y=float(height),
        ),
        id=body_id(person.id),
    )


def body_id(number: int) -> str:
    """Five letters for a person, as REP-155 has them; they can stand in a topic's name.

    Examples
    --------
    >>> body_id(0), body_id(27)
    ('aaaaa', 'aaabb')
    """
    letters = ""
    for _ in range(5):
        number, rest = divmod(number, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def people_messages(people: People, stamp_ns: int, frame_id: str) -> Iterator[Message]:
    """Make REP-155's messages: the ids of everybody, then a skeleton for each."""
    header = header_of(stamp_ns, frame_id)
    ids = [body_id(person.id) for person in people.people]
    yield Message("humans/bodies/tracked", IDS, stamp_ns, make(IDS, header=header, ids=ids))
    for name, person in zip(ids, people.people, strict=True):
        body = make(SKELETON, header=header, skeleton=_skeleton(person, people))
        yield Message(f"humans/bodies/{name}/skeleton2d", SKELETON, stamp_ns, body)


def _skeleton(person: Person, people: People) -> list[Any]:
    """Turn joints into shares of width and height; a joint that the skeleton does not have gets confidence 0."""
    places = {name: place for place, name in enumerate(people.skeleton.joints)}
    width, height = people.frame.size_wh
    found = []
    for name in SKELETON_JOINTS:
        place = places.get(name)
        x, y, score = person.keypoints[place].tolist() if place is not None else (0.0, 0.0, 0.0)
        if place is None and name == "neck" and {"left_shoulder", "right_shoulder"} <= set(places):
            left, right = (person.keypoints[places[side]] for side in ("left_shoulder", "right_shoulder"))
            x, y, score = (
                float((left[0] + right[0]) / 2),
                float((left[1] + right[1]) / 2),
                float(min(left[2], right[2])),
            )
        share = {"x": min(max(x / width, 0.0), 1.0), "y": min(max(y / height, 0.0), 1.0)}
        found.append(make("hri_msgs/msg/NormalizedPointOfInterest2D", c=float(score), **share))
    return found


def diagnostics_message(
    topic: str, name: str, signal: str, figures: Mapping[str, Any], stamp_ns: int, *, source: str = ""
) -> Message:
    """Make a `diagnostic_msgs/DiagnosticArray` with one status.

    Parameters
    ----------
    topic : ``diagnostics`` as tools expect it
    name : of the status
    signal : state of the source, as the name of a `Signal`; all but ``LIVE`` is a warning, ``NO_SIGNAL`` an error
    figures : name -> value, which are given as text
    stamp_ns : of the header
    source : address of the source, without credentials
    """
    level = {"LIVE": _OK, "NO_SIGNAL": _ERROR, "RECONNECTING": _ERROR}.get(signal, _WARN)
    values = [
        make(
            "diagnostic_msgs/msg/KeyValue", key=key, value=f"{value:.4g}" if isinstance(value, float) else str(value)
        )
        for key, value in figures.items()
    ]
    status = make(
        "diagnostic_msgs/msg/DiagnosticStatus", level=level, name=name, message=signal.lower().replace("_", " "),
        hardware_id=source, values=values,
    )  # fmt: skip
    body = make(DIAGNOSTICS, header=header_of(stamp_ns, ""), status=[status])
    return Message(topic, DIAGNOSTICS, stamp_ns, body)

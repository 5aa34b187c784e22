"""People in an image: what the pose task gives.

Owns `Person` and `People`, their JSON, and the image with the skeletons drawn on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Skeleton
from ...errors import ShapeMismatch, UsageError
from ...frame import Frame

_LEFT, _RIGHT, _MIDDLE = (110, 210, 70), (70, 130, 255), (245, 200, 90)
_DARK, _LIGHT = (25, 25, 25), (250, 250, 250)


# The joints of COCO's people, in its order.
COCO_JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """One person.

    Parameters
    ----------
    id : the same as long as the person is followed
    score : chance that this is a person, 0 to 1
    bbox : x, y, width and height around the joints that are seen, in pixels of the frame
    keypoints : (J, 3) float32, x and y in pixels of the frame, and the chance that the joint is right
    """

    id: int
    score: float
    bbox: tuple[float, float, float, float]
    keypoints: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class People:
    """Everybody in a frame, the nearest (largest) first.

    Parameters
    ----------
    people : may be empty
    skeleton : names and bones of the joints
    frame : the frame they were found in
    least_score : joints below it are not drawn; they are all in the JSON
    overlay : whether `pixels` shows the skeletons

    Raises
    ------
    ShapeMismatch
        If somebody's joints are not those of the skeleton.

    Examples
    --------
    >>> from ...bundle.manifest import Skeleton
    >>> dot = Skeleton("dot", ("nose",), (), (0,))
    >>> People((), dot, Frame(np.zeros((48, 64, 3), np.uint8))).as_json()
    {'people': []}
    """

    people: tuple[Person, ...]
    skeleton: Skeleton
    frame: Frame
    least_score: float = 0.3
    overlay: bool = True
    _drawn: list[NDArray[np.uint8]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        expected = (len(self.skeleton.joints), 3)
        for person in self.people:
            if person.keypoints.shape != expected:
                raise ShapeMismatch("A person has other joints than the skeleton", expected=expected,
                                    found=person.keypoints.shape)  # fmt: skip

    def __len__(self) -> int:
        return len(self.people)

    def as_json(self) -> dict[str, Any]:
        """Give the fields of a JSON line; pixels to a tenth, scores to a thousandth."""
        return {"people": [self._person(person) for person in self.people]}

    def as_array(self) -> NDArray[np.float32]:
        """Return the joints of all people, (N, J, 3) float32; one row of zeros without people, for comparison."""
        if not self.people:
            return np.zeros((1, len(self.skeleton.joints), 3), np.float32)
        return np.stack([person.keypoints for person in self.people])

    def as_coco(self) -> NDArray[np.float32]:
        """Return the joints in COCO's order, (N, 17, 3) float32: x and y in pixels of the frame, and the score.

        Joints that the skeleton does not have are zeros, as COCO has it.
        """
        rows = {name: row for row, name in enumerate(self.skeleton.joints)}
        array = np.zeros((len(self.people), len(COCO_JOINTS), 3), np.float32)
        for place, name in enumerate(COCO_JOINTS):
            if name in rows:
                for who, person in enumerate(self.people):
                    array[who, place] = person.keypoints[rows[name]]
        return array

    def as_coco_results(self, image_id: int) -> list[dict[str, Any]]:
        """Give the entries of a COCO results file, one a person; what pycocotools' `loadRes` takes."""
        found = zip(self.people, self.as_coco(), strict=True)
        return [
            {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": [round(float(value), 3) for value in joints.reshape(-1)],
                "score": float(person.score),
                "bbox": [float(value) for value in person.bbox],
            }
            for person, joints in found
        ]

    def to_supervision(self) -> Any:
        """Convert to `supervision.KeyPoints`: `xy` (N, J, 2), the scores of the joints, and the ids as data.

        Raises
        ------
        UsageError
            If the package `supervision` is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise UsageError("supervision is not installed", todo="pip install supervision") from error
        joints = self.as_array()[: len(self.people)]
        kind: Any = supervision.KeyPoints
        return kind(
            xy=np.ascontiguousarray(joints[..., :2]),
            class_id=np.zeros(len(self.people), int),
            data={"tracker_id": np.array([person.id for person in self.people], int)},
            **{_confidence_name(kind): np.ascontiguousarray(joints[..., 2])},
        )

    def _person(self, person: Person) -> dict[str, Any]:
        joints = zip(self.skeleton.joints, person.keypoints.tolist(), strict=True)
        return {
            "id": person.id,
            "score": round(person.score, 3),
            "bbox": [round(v, 1) for v in person.bbox],
            "keypoints": {name: [round(x, 1), round(y, 1), round(s, 3)] for name, (x, y, s) in joints},
        }

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The frame with every skeleton drawn, (H, W, 3) uint8 BGR; the frame itself without overlay.

        Drawn at first use and kept, because several sinks show it.
        """
        if not (self.overlay and self.people):
            return self.frame.pixels
        if self._drawn:
            return self._drawn[0]
        image = self.frame.drawable()
        for person in reversed(self.people):  # the nearest lies on top
            self._draw(image, person)
        self._drawn.append(image)  # two threads at once would only draw twice
        return image

    def _draw(self, image: NDArray[np.uint8], person: Person) -> None:
        """Draw bones with a dark rim, so that they read on bright and on dark ground; the id near the head."""
        side = max(person.bbox[2:])
        thin = max(1, round(min(side, *image.shape[:2]) / 130))
        seen = person.keypoints[:, 2] >= self.least_score
        at = [(round(float(x) * 16), round(float(y) * 16)) for x, y in person.keypoints[:, :2]]  # 1/16 pixel
        lines = [(a, b) for a, b in self.skeleton.bones if seen[a] and seen[b]]
        for rim in (True, False):
            for a, b in lines:
                color = _DARK if rim else self._color(b)
                cv2.line(image, at[a], at[b], color, thin + 2 * rim * max(1, thin // 2), cv2.LINE_AA, 4)
            for joint in np.flatnonzero(seen):
                radius, color = (16 * thin + 12 + 16 * rim, _DARK if rim else _LIGHT)
                cv2.circle(image, at[joint], radius, color, -1, cv2.LINE_AA, 4)
        self._label(image, person, thin)

    def _label(self, image: NDArray[np.uint8], person: Person, thin: int) -> None:
        """Write the id and the score above the person, inside the image."""
        text, size = f"{person.id}  {person.score:.2f}", 0.4 + 0.08 * thin
        x = int(np.clip(person.bbox[0], 2, max(2, image.shape[1] - 70 * size / 0.5)))
        y = int(np.clip(person.bbox[1] - 12 * thin, 16, image.shape[0] - 4))
        for color, width in ((_DARK, 3), (_LIGHT, 1)):
            cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, color, width, cv2.LINE_AA)

    def _color(self, joint: int) -> tuple[int, int, int]:
        name = self.skeleton.joints[joint]
        return _LEFT if name.startswith("left_") else _RIGHT if name.startswith("right_") else _MIDDLE


def _confidence_name(kind: type) -> str:
    """Name of the scores of joints, which newer versions of supervision call otherwise."""
    names = getattr(kind, "__dataclass_fields__", {})
    return "keypoint_confidence" if "keypoint_confidence" in names else "confidence"

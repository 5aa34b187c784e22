"""What several labellers say of one person, made into one place and one weight a joint.

Owns the rules: where the human (or older) label and the teacher network agree, the mean counts fully; where they do
not, the one that is more often right counts for less. A joint that the teacher is unsure of is masked, not absent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...runtime.bundle.manifest import Skeleton

AGREED, SWAPPED, APART = 1, 2, 0  # the teacher's joint beside the older label
SURE = 2  # the teacher's `v` of a joint to trust
FACE = ("nose", "eye", "ear")
FACE_WEIGHT = 0.3
UPRIGHT_WEIGHT, HUMAN_WEIGHT, UNSURE_WEIGHT = 0.5, 0.3, 0.5
UPRIGHT = 0.7  # least cosine between the torso and the vertical

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Opinion:
    """One labeller's joints of one person, in the skeleton's order.

    Parameters
    ----------
    joints : (J, 2) float32, pixels of the image
    known : (J,) float32, trust of an older label, 0 where nobody marked; 0 or 1 for the teacher (1: `v` is 2)
    scores : (J,) float32 in [0, 1]
    agree : (J,) int, `AGREED`, `SWAPPED`, `APART` or -1 (no older label); only the teacher has it
    """

    joints: Floats
    known: Floats
    scores: Floats
    agree: NDArray[np.int64]


def torso_vector(joints: Floats, known: Floats, skeleton: Skeleton) -> Floats:
    """Give the vector from the middle of the hips to that of the shoulders, (2,), or NaN where joints lack.

    Swapping left and right does not change it.
    """
    place = {name: index for index, name in enumerate(skeleton.joints)}
    ends = []
    for part in ("hip", "shoulder"):
        sides = [place[f"{side}_{part}"] for side in ("left", "right")]
        here = [joints[i] for i in sides if known[i] > 0]
        ends.append(np.mean(here, axis=0) if here else np.full(2, np.nan))
    return np.asarray(ends[1] - ends[0], np.float32)


def is_upright(joints: Floats, known: Floats, skeleton: Skeleton) -> bool:
    """Say whether the torso stands; a person whose hips are not seen counts as upright."""
    x, y = torso_vector(joints, known, skeleton)
    if not np.isfinite(x):
        return True
    return bool(-y > UPRIGHT * np.hypot(x, y))


def is_back_view(joints: Floats, known: Floats, skeleton: Skeleton) -> bool:
    """Say whether an upright person is seen from behind: their left shoulder is on the left of the image."""
    place = {name: index for index, name in enumerate(skeleton.joints)}
    left, right = place["left_shoulder"], place["right_shoulder"]
    if min(known[left], known[right]) <= 0 or not is_upright(joints, known, skeleton):
        return False
    span = float(np.ptp(joints[known > 0], axis=0).max())
    return bool(joints[left, 0] < joints[right, 0] - 0.03 * span)


def taught(teacher: Opinion, skeleton: Skeleton) -> tuple[Floats, Floats]:
    """Give joints (J, 2) and weights (J,) of a person whom only the teacher has labelled."""
    weight = teacher.known * np.clip(teacher.scores / 0.7, 0.3, 1)
    face = _faces(skeleton)
    back = is_back_view(teacher.joints, teacher.known, skeleton)
    weight = np.where(face, 0 if back else FACE_WEIGHT * teacher.known, weight)
    return teacher.joints, weight.astype(np.float32)


def merged(older: Opinion, teacher: Opinion, skeleton: Skeleton) -> tuple[Floats, Floats]:
    """Merge an older label with the teacher's opinion of the same person: joints (J, 2) and weights (J,).

    * both agree: their mean, weight 1;
    * the teacher is unsure: the older label, 0.5;
    * they differ and the person is upright: the teacher, 0.5;
    * they differ otherwise: swapped ones are dropped, others are the older label's at 0.3;
    * what only the teacher has: limbs of upright people by score; the face at 0.3, none on a back view.
    """
    upright = is_upright(older.joints, older.known, skeleton)
    face = _faces(skeleton)
    back = is_back_view(teacher.joints, teacher.known, skeleton)
    joints, weight = older.joints.copy(), older.known.copy()
    for j in range(len(joints)):
        agree, sure, marked = int(teacher.agree[j]), teacher.known[j] > 0, older.known[j] > 0
        if agree == AGREED:
            joints[j], weight[j] = (older.joints[j] + teacher.joints[j]) / 2, 1.0
        elif agree == -1:  # the older label lacks it, or the teacher cannot have it (neck)
            if face[j] and sure and not marked:
                joints[j], weight[j] = teacher.joints[j], 0.0 if back else FACE_WEIGHT
            elif face[j]:
                weight[j] = min(weight[j], 0.0 if back else FACE_WEIGHT)
            elif sure and not marked and upright:
                joints[j], weight[j] = teacher.joints[j], 0.5 * teacher.scores[j]
        elif not sure:
            weight[j] = UNSURE_WEIGHT * marked
        elif upright:
            joints[j], weight[j] = teacher.joints[j], UPRIGHT_WEIGHT
        else:
            weight[j] = 0.0 if agree == SWAPPED else HUMAN_WEIGHT
    return joints, weight.astype(np.float32)


def _faces(skeleton: Skeleton) -> NDArray[np.bool_]:
    return np.array([any(part in name for part in FACE) for name in skeleton.joints])

"""How good joints are: PCK over torso height, the detection-rate curve, and OKS average precision.

Owns the protocols. Works on arrays in pixels of any image; pycocotools does the OKS.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .skeleton import LIMBS

RADII = np.arange(0, 0.51, 0.02)


def torso(joints: NDArray[Any], known: NDArray[Any], names: Sequence[str]) -> NDArray[np.float64]:
    """Give the torso height, left hip to right shoulder or the other diagonal, (N,); NaN where neither is known.

    References
    ----------
    Tompson et al. 2014, evaluation (distance of left hip and right shoulder); the mirrored diagonal is ours, for
    people of whom one end is unmarked.
    """
    place = {name: i for i, name in enumerate(names)}
    height = np.full(len(joints), np.nan)
    for hip, shoulder in (("right_hip", "left_shoulder"), ("left_hip", "right_shoulder")):
        a, b = place[hip], place[shoulder]
        both = (known[:, a] > 0) & (known[:, b] > 0)
        height[both] = np.linalg.norm(joints[both, a] - joints[both, b], axis=-1)
    return height


def errors_in_torsos(
    found: NDArray[Any], joints: NDArray[Any], known: NDArray[Any], names: Sequence[str]
) -> NDArray[np.float64]:
    """Distance of each joint in torso heights, (N, J); NaN where the joint or the torso is unknown."""
    distance = np.linalg.norm(np.asarray(found, np.float64) - joints, axis=-1)
    distance[known <= 0] = np.nan
    height = torso(joints, known, names)
    height[height < 1e-6] = np.nan
    return np.asarray(distance / height[:, None], np.float64)


def pck(errors: NDArray[np.float64], names: Sequence[str], radius: float = 0.2) -> dict[str, float]:
    """Compute the share of joints within `radius` torsos, from errors (N, J), for each joint and as `limbs`.

    `limbs` is the mean of the twelve limb joints.
    """
    counts = np.isfinite(errors).sum(0)
    hits = (errors <= radius).sum(0)  # a NaN is never a hit
    shares = {name: float(hits[i] / counts[i]) for i, name in enumerate(names) if counts[i]}
    limbs = [shares[name] for name in LIMBS if name in shares]
    return shares | {"limbs": float(np.mean(limbs)) if limbs else float("nan")}


def detection_curve(errors: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    """Compute the mean detection rate of the limb joints, (len(RADII),), from errors (N, J) in torsos."""
    return np.array([pck(errors, names, radius)["limbs"] for radius in RADII])


def oks_average_precision(truth: dict[str, Any], found: list[dict[str, Any]]) -> float:
    """COCO keypoint AP (OKS 0.50 to 0.95) of detections against a COCO-keypoints dictionary.

    Parameters
    ----------
    truth : as in a COCO-keypoints JSON, 17 joints
    found : `image_id`, `category_id`, `keypoints` (51 figures), `score`
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its tables
        truth_set = COCO()
        truth_set.dataset = truth
        truth_set.createIndex()
        judge = COCOeval(truth_set, truth_set.loadRes(found), "keypoints")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])

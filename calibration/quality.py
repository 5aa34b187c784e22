"""How far a cheaper precision is from fp32, in the measure of the task.

Owns the measures and what they must reach. The fp32 bundle is the reference, because the question is what the
precision costs, not how good the network is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..runtime.bench.metrics import psnr
from ..runtime.errors import UsageError
from ..runtime.tasks.pose.people import People
from ..runtime.tasks.registry import task_descriptor
from ..runtime.tasks.task import Image

_SURE = 0.5  # a joint that fp32 itself holds for wrong more likely than right is no measure
_NEAR = 0.1  # of the diagonal of the person's box


@dataclass(frozen=True, slots=True)
class QualityMetric:
    """A measure and the value that it must reach.

    Parameters
    ----------
    measure : name and unit
    of : (fp32 result, other result) -> value of one frame, or None if the frame has none
    limit : precision -> worst mean value that still holds
    higher_is_better : direction
    reserve : by how much the frames that decide what stays float must be better than the limit, so that others, too,
        will be good enough
    """

    measure: str
    of: Callable[[Any, Any], float | None]
    limit: Mapping[str, float]
    higher_is_better: bool
    reserve: float = 0.0

    def holds(self, value: float, precision: str, *, with_reserve: bool = False) -> bool:
        """Whether a mean value is good enough; NaN never is."""
        spare = self.reserve if with_reserve else 0.0
        if self.higher_is_better:
            return value >= self.limit[precision] + spare
        return value <= self.limit[precision] - spare


def delta_e(left: Image, right: Image) -> float:
    """Mean CIE76 color difference between two images of the same size.

    Examples
    --------
    >>> grey = Image(np.full((4, 4, 3), 100, np.uint8))
    >>> delta_e(grey, grey)
    0.0
    """
    labs = [cv2.cvtColor(image.pixels.astype(np.float32) / 255, cv2.COLOR_BGR2LAB) for image in (left, right)]
    return float(np.linalg.norm(labs[0] - labs[1], axis=2).mean())


def psnr_db(left: Image, right: Image) -> float:
    """Peak signal-to-noise ratio of two 8-bit images in decibels; 99 where they are the same, so that it averages."""
    return min(99.0, psnr(right.pixels, left.pixels))


def lost_joints(left: People, right: People) -> float | None:
    """Share of the confident joints of fp32 that the other result does not have nearby, in percent.

    Returns
    -------
    0 to 100, or None if fp32 finds no person. An additional person is not counted; a missing person loses all joints.
    """
    lost = total = 0
    for person in left.people:
        reach = _NEAR * float(np.hypot(*person.bbox[2:]))
        sure = person.keypoints[:, 2] >= _SURE
        total += int(sure.sum())
        gaps = [np.linalg.norm(person.keypoints[:, :2] - other.keypoints[:, :2], axis=1) for other in right.people]
        found = max((int((gap[sure] <= reach).sum()) for gap in gaps), default=0)
        lost += int(sure.sum()) - found
    return None if total == 0 else 100 * lost / total


def signal_db(left: Any, right: Any) -> float | None:
    """Signal-to-noise ratio in dB; of several outputs the lowest, 99 if they are equal.

    Parameters
    ----------
    left, right : results with `pixels`, or with named arrays in `values`

    Returns
    -------
    20 log10(rms of the first / rms of the difference), or None where the first is all zero; 0 if their shapes differ
    """
    sides = [getattr(side, "values", None) or {"image": side.pixels} for side in (left, right)]
    found = []
    for name, expected in sides[0].items():
        if sides[1][name].shape != expected.shape:
            return 0.0
        signal = float(np.sqrt(np.square(expected.astype(np.float64)).mean()))
        error = float(np.sqrt(np.square(sides[1][name].astype(np.float64) - expected).mean()))
        if signal > 0:
            found.append(99.0 if error == 0 else min(99.0, 20 * float(np.log10(signal / error))))
    return min(found, default=None)


DELTA_E = QualityMetric(
    "mean Delta-E", delta_e, {"fp32": 0.2, "fp16": 1.0, "int8": 1.0}, higher_is_better=False, reserve=0.2
)
PSNR = QualityMetric(
    "PSNR, dB", psnr_db, {"fp32": 40.0, "fp16": 35.0, "int8": 28.0}, higher_is_better=True, reserve=1.0
)
JOINTS_LOST = QualityMetric(
    "joints lost, %", lost_joints, {"fp32": 0.5, "fp16": 1.0, "int8": 1.0}, higher_is_better=False, reserve=0.4
)
SIGNAL = QualityMetric(
    "signal to error, dB", signal_db, {"fp32": 50.0, "fp16": 35.0, "int8": 20.0}, higher_is_better=True, reserve=1.0
)


def quality_metric_of(task: str) -> QualityMetric:
    """Quality metric of a task, as its descriptor names it.

    Raises
    ------
    UsageError
        If the task has none; a precision without a metric cannot be judged.
    """
    named = task_descriptor(task).quality_metric
    if not named:
        raise UsageError(
            f"Task {task!r} has no quality metric, so no precision of it can be accepted",
            todo="Name one in its descriptor: quality_metric='module:attribute'",
        )
    module, _, attribute = named.partition(":")
    metric: QualityMetric = getattr(importlib.import_module(module), attribute)
    return metric

"""Where what is propagated does not look like the frame any more, and must be painted anew.

Owns `Repaint`, the check that finds it, and the crops that cover it. A flow says of itself that it is reliable; the
input says whether it is right: the keyframe's own image is propagated along the very path that carries the result,
and compared with the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..motion.flow import positions, sample
from ..motion.warp import inside
from .motion_path import MotionPath

_WINDOW = 9  # pixels of the flow's image
_MAX_CROPS = 6
_AROUND = 8  # pixels of the flow's image that a network looks at around a crop, about


@dataclass(frozen=True, slots=True, kw_only=True)
class RepaintOptions:
    """When a place counts as unlike.

    Parameters
    ----------
    correlation : local correlation below which a textured place is unlike
    texture : variance, in grey levels squared, from which a place is textured
    difference : change of the local mean, in grey levels, from which any place is unlike
    grow : pixels of the flow's image by which unlike places are grown
    blend : pixels of the flow's image over which the new paint comes in
    most : share of the image that the crops may cover; beyond, the whole frame is a keyframe instead, which costs
        little more and sets the path back to nothing
    """

    correlation: float = 0.7
    texture: float = 100.0
    difference: float = 10.0
    grow: int = 5
    blend: int = 4
    most: float = 0.6

    def __post_init__(self) -> None:
        if not (0 < self.correlation <= 1 and self.difference > 0 and self.grow >= 0 and 0 < self.most <= 1):
            expected = "correlation and most in 0..1, difference above 0, grow 0 or more"
            raise UsageError("The options of repainting are out of range", expected=expected, found=self)


@dataclass(frozen=True, slots=True)
class Repaint:
    """Places of a frame that the network paints anew.

    Parameters
    ----------
    weight : (h, w) float32 in 0..1 at the flow's size, 1 where the new paint is shown
    crops : (N, 4) int64, x, y, width and height in pixels of `weight`, which cover all that is above 0
    """

    weight: NDArray[np.float32]
    crops: NDArray[np.int64]

    @property
    def share(self) -> float:
        """Share of the image that is painted anew, 0 to 1."""
        return float(self.weight.mean())

    @property
    def cost(self) -> float:
        """Share of the image that the network looks at for it, 0 to 1 and above where crops overlap."""
        height, width = self.weight.shape
        sides = np.minimum(self.crops[:, 2:] + 2 * _AROUND, (width, height))
        return float(sides.prod(axis=1).sum() / (width * height))


def unlike(
    path: MotionPath, key: NDArray[np.uint8], current: NDArray[np.uint8], options: RepaintOptions
) -> NDArray[np.bool_]:
    """Tell where the keyframe, propagated along a path, does not look like the frame.

    Parameters
    ----------
    path : from the frame back to the keyframe
    key, current : (h, w) uint8, reduced luma of both, at the flow's size

    Returns
    -------
    (h, w) bool

    References
    ----------
    Ours. Normalized cross-correlation in 9x9 windows where there is texture, the local mean elsewhere.
    """
    if path.flow is None:
        return np.zeros(current.shape, np.bool_)
    at = positions(path.flow.scaled((current.shape[1], current.shape[0])))
    first, second = current.astype(np.float32), sample(key, at).astype(np.float32)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(values, (_WINDOW, _WINDOW)), np.float32)

    mean_1, mean_2 = mean(first), mean(second)
    variance_1 = np.maximum(mean(first * first) - mean_1 * mean_1, 0)
    variance_2 = np.maximum(mean(second * second) - mean_2 * mean_2, 0)
    covariance = mean(first * second) - mean_1 * mean_2
    correlation = covariance / np.sqrt(np.maximum(variance_1 * variance_2, 1.0))
    textured = np.maximum(variance_1, variance_2) > options.texture
    found = (correlation < options.correlation) & textured
    found |= np.abs(mean_1 - mean_2) > options.difference
    found |= ~inside(at, (current.shape[1], current.shape[0]))
    return np.asarray(found, np.bool_)


def repaint_of(found: NDArray[np.bool_], options: RepaintOptions) -> Repaint | None:
    """Grow unlike places, (h, w) bool, soften their rim, and cover them with a few crops; None if there are none."""
    if not found.any():
        return None
    mask = found.astype(np.uint8)
    if options.grow:
        side = 2 * options.grow + 1
        mask = np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))), np.uint8)
    side = 2 * options.blend + 1
    weight = np.asarray(cv2.blur(mask.astype(np.float32), (side, side)), np.float32)
    return Repaint(weight, _crops((weight > 0).astype(np.uint8)))


def _crops(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Cover a mask, (h, w) 0 or 1, with a few boxes, (N, 4): those that cost least when joined are joined."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes = [tuple(int(v) for v in stats[i, :4]) for i in range(1, count)]
    while len(boxes) > 1:
        pairs = [(_joined_cost(a, b), i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes) if i < j]
        cost, i, j = min(pairs)
        if len(boxes) <= _MAX_CROPS and cost > 0:
            break
        joined = _join(boxes[i], boxes[j])
        boxes = [box for place, box in enumerate(boxes) if place not in (i, j)] + [joined]
    return np.array(boxes, np.int64).reshape(-1, 4)


def _join(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, int, int, int]:
    x, y = min(one[0], other[0]), min(one[1], other[1])
    right, low = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return x, y, right - x, low - y


def _joined_cost(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Pixels more that one box around both holds."""
    joined = _join(one, other)
    return joined[2] * joined[3] - one[2] * one[3] - other[2] * other[3]

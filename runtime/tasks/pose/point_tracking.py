"""Propagate single points between two images, those on small, quick things with care.

Owns `FramePair` and `propagate_points`. Dense flow is smooth: it leaves a hand behind that crosses a body. So a point
on something small is sought in the next image by itself, together with four around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...motion.flow import Flow, shrinking_kernel
from ...motion.warp import warp_points

_WINDOW = 9  # pixels; about a third of the shoulder width at the size that `FramePair.level` takes
_LEVELS = 2  # of the pyramid above it
_AROUND = np.array([[0, 0], [3, 0], [-3, 0], [0, 3], [0, -3]], np.float32)  # pixels; the median of five is robust
_LEAST_FOUND = 3  # of the five
_LARGE = 100.0  # pixels; a thing that measures more in the larger image is sought in the one of half the size
_FARTHEST = 0.3  # of the thing's size in one frame; beyond, another thing was found
_STILL = 0.003  # of the thing's size; a shorter step is mostly the camera's noise, and is shortened
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)


@dataclass(frozen=True, slots=True)
class FramePair:
    """Two images that follow each other, and the motion between them.

    Parameters
    ----------
    flow : forward, from the previous to the current image
    pairs : previous and current reduced luma, (h, w) uint8; first at the flow's size, then at half of it
    """

    flow: Flow
    pairs: tuple[tuple[NDArray[np.uint8], NDArray[np.uint8]], ...]

    @classmethod
    def of(cls, previous: NDArray[np.uint8], current: NDArray[np.uint8], flow: Flow) -> FramePair:
        """Make a pair from two luma images, (H, W) uint8, and add the pair at half the size."""
        return cls(flow, ((previous, current), (_half(previous), _half(current))))

    def level(self, size: float, frame_wh: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Choose the two images, (h, w) uint8, in which something of `size` pixels of the frame is tracked best."""
        here = size * self.pairs[0][0].shape[0] / frame_wh[1]
        return self.pairs[1 if here > _LARGE else 0]


def propagate_points(
    points: NDArray[np.float32],
    pair: FramePair,
    frame_wh: tuple[int, int],
    *,
    size: float,
    small: tuple[int, ...] = (),
) -> NDArray[np.float32]:
    """Propagate points of the previous frame to the current one.

    Parameters
    ----------
    points : (N, 2) float32, x and y in pixels of the frame; rows with NaN stay NaN
    pair : the two frames
    frame_wh : width and height of the frame
    size : of what the points belong to, in pixels of the frame
    small : rows of points that lie on small, quick things

    Returns
    -------
    (N, 2) float32

    References
    ----------
    Lucas, Kanade 1981, in Bouguet's pyramid (OpenCV), for the small things. On webcam clips it propagates a wrist
    along 0.8 of its way over five frames, the dense flow 0.4 to 0.5. The median of five, and the shortening of steps
    that are noise, are ours.
    """
    moved = warp_points(points, pair.flow, frame_wh)
    rows = [row for row in small if np.isfinite(points[row]).all()]
    if rows:
        sought, found = _seek(points[rows], pair.level(size, frame_wh), frame_wh)
        near = np.linalg.norm(sought - points[rows], axis=1) < _FARTHEST * size
        moved[rows] = np.where((found & near)[:, None], sought, moved[rows])
    step = moved - points
    share = np.minimum(1, np.linalg.norm(step, axis=1, keepdims=True) / np.float32(_STILL * size))
    return np.asarray(points + step * share, np.float32)


def _seek(
    points: NDArray[np.float32],
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    frame_wh: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Find every point again by itself: its new place, (N, 2), and whether it was found, (N,)."""
    previous, current = pair
    ratio = np.array([previous.shape[1] / frame_wh[0], previous.shape[0] / frame_wh[1]], np.float32)
    # Pixel centres lie at whole numbers in both images, so that the two grids are half a pixel apart.
    start = ((points + 0.5) * ratio - 0.5)[:, None] + _AROUND  # (N, 5, 2)
    ends, status, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        previous, current, start.reshape(-1, 1, 2), None,
        winSize=(_WINDOW, _WINDOW), maxLevel=_LEVELS, criteria=_CRITERIA,
    )  # fmt: skip
    good = status.reshape(len(points), len(_AROUND)) > 0
    step = _median(np.asarray(ends.reshape(start.shape) - start, np.float32), good)
    return np.asarray(points + step / ratio, np.float32), good.sum(1) >= _LEAST_FOUND


def _median(steps: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Median of the steps (N, M, 2) that are good (N, M), 0 where none is; numpy's takes as long as the search."""
    ordered = np.sort(np.where(good[..., None], steps, np.float32(np.inf)), axis=1)
    count = good.sum(1)
    rows = np.arange(len(steps))
    middle = ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, steps.shape[1] - 1)]
    return np.asarray(np.where(count[:, None] > 0, middle / 2, 0), np.float32)


def _half(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape
    size_wh = (max(_WINDOW, width // 2), max(_WINDOW, height // 2))
    kernel = shrinking_kernel((width, height), size_wh)
    return np.asarray(cv2.resize(image, size_wh, interpolation=kernel), np.uint8)

"""Warp images and move points along a flow.

Owns `warp` and `warp_points`. A warp always says which of its pixels are real.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch, UsageError
from .flow import Flow, positions, sample


class Warped(NamedTuple):
    """An image warped along a flow, and where it is valid.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C), the dtype of what was warped; outside, the nearest border pixel
    valid : (H, W) bool, False where the flow pointed outside the image
    """

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]


def warp(image: NDArray[Any], flow: Flow) -> Warped:
    """Sample `image` where a backward flow points, with bilinear weights.

    Parameters
    ----------
    image : (H, W) or (H, W, C) with at most 4 channels, uint8 or float32, any range
    flow : backward; of any size, scaled to the image's own, so that images of reduced size are warped by the
        same flow as large ones

    Returns
    -------
    Warped
        `pixels` like `image`; `valid` (H, W) bool, False where the flow left the image.

    Raises
    ------
    ShapeMismatch
        If `image` is not an image.
    UsageError
        If the flow is a forward one.

    References
    ----------
    Bilinear sampling as in Ruder et al. 2016, section 4; cv2's remap rounds positions to 1/32 pixel for uint8 and
    float32 alike.

    Examples
    --------
    >>> bool(warp(np.ones((2, 2, 1), np.float32), Flow.constant((2, 2))).valid.all())
    True
    """
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] > 4):
        raise ShapeMismatch("Only images are warped", expected="(H, W) or (H, W, 1..4)", found=image.shape)
    if flow.forward:
        raise UsageError("warp samples backwards", expected="a backward flow", found="a forward flow")
    height, width = image.shape[:2]
    at = positions(flow.scaled((width, height)))
    return Warped(sample(image, at), inside(at, (width, height)))


def warp_pixels(image: NDArray[Any], flow: Flow) -> NDArray[Any]:
    """Sample `image`, (H, W) or (H, W, C), as `warp` does, without computing where the flow left it."""
    return sample(image, positions(flow.scaled((image.shape[1], image.shape[0]))))


def inside(at: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Find the positions, (H, W, 2), whose bilinear neighbors of non-zero weight are all inside an image."""
    within = cv2.inRange(at, (0.0, 0.0), (size_wh[0] - 1.0, size_wh[1] - 1.0))
    return np.asarray(within > 0, np.bool_)


def warp_points(points: NDArray[np.float32], flow: Flow, frame_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Move points of the previous frame along the forward flow.

    Parameters
    ----------
    points : (N, 2) float32, x and y in pixels of the frame; rows with NaN stay NaN
    flow : forward; of any size
    frame_wh : width and height of the frame

    Returns
    -------
    (N, 2) float32

    Raises
    ------
    UsageError
        If the flow is a backward one: a point needs to know where it goes, not where another came from.
    """
    if not flow.forward:
        raise UsageError("Points are moved along a forward flow", expected="a forward flow", found="a backward flow")
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeMismatch("Points are x and y", expected="(N, 2)", found=points.shape)
    if not len(points):
        return points.astype(np.float32)
    ratio = np.array([flow_side / side for flow_side, side in zip(flow.size_wh, frame_wh, strict=True)], np.float32)
    known = np.asarray(np.isfinite(points).all(axis=1, keepdims=True), np.bool_)
    # Pixel centres lie at whole numbers in both images, so that the two grids are half a pixel apart.
    small = np.where(known, (points + 0.5) * ratio - 0.5, 0).astype(np.float32)
    moved = sample(flow.vectors, small[:, None])[:, 0]
    return np.where(known, points + moved / ratio, np.nan).astype(np.float32)

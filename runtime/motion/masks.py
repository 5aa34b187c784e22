"""Reliability masks: where a flow is correct.

Owns the disocclusion and motion-boundary masks of Ruder et al. 2016, their smoothed form, and the long-term rule.
Pure functions; lengths are pixels of the image that the flow was measured on.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch, UsageError
from .flow import Flow, positions, sample
from .warp import inside

_SMOOTHING_SIGMA = 0.8  # pixels; the released checker's Gaussian, five taps


def disocclusion(flow: Flow, opposite: Flow) -> NDArray[np.bool_]:
    """Find where content appears that the other frame does not have.

    Parameters
    ----------
    flow : (H, W) flow w of the frame that the mask is for
    opposite : flow w' of the other frame back to this one, of the same size

    Returns
    -------
    (H, W) bool
        True where |w + w'|^2 >= 0.01 (|w|^2 + |w'|^2) + 0.5, with w' sampled at x + w(x); True also where x + w(x)
        is outside the frame.

    References
    ----------
    Sundaram et al. 2010; Ruder et al. 2016, equation 5 and the released consistency checker. The checker also gives
    up samples that lie exactly on the last row or column, whose further neighbours have no weight; here they count
    as inside, so that nothing is disoccluded in a still video.
    """
    _check_pair(flow, opposite)
    at = positions(flow)
    return _disoccluded(flow, sample(opposite.vectors, at)) | ~inside(at, flow.size_wh)


def motion_boundary(flow: Flow) -> NDArray[np.bool_]:
    """Find motion boundaries, where the flow is imprecise.

    Returns
    -------
    (H, W) bool
        True where |grad u|^2 + |grad v|^2 > 0.01 |w|^2 + 0.002, by central differences.

    References
    ----------
    Ruder et al. 2016, equation 6 and the released consistency checker.
    """
    gradient = np.zeros(flow.vectors.shape[:2], np.float32)
    for along_x, along_y in ((1, 0), (0, 1)):
        slope = cv2.Sobel(
            flow.vectors, cv2.CV_32F, along_x, along_y, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE
        )
        gradient += _squared(np.asarray(slope, np.float32))
    return np.asarray(gradient > 0.01 * _squared(flow.vectors) + 0.002, np.bool_)


def reliable(flow: Flow, opposite: Flow) -> NDArray[np.bool_]:
    """Find where an image warped along `flow` shows the same content.

    Parameters
    ----------
    flow : backward flow, for the mask of the current frame; or forward flow, for that of the previous one
    opposite : the flow the other way

    Returns
    -------
    (H, W) bool
        The paper's binary c: False where disoccluded, at a motion boundary or from outside the frame.

    Examples
    --------
    >>> still = Flow.constant((6, 8))
    >>> bool(reliable(still, Flow(still.vectors, forward=True)).all())
    True
    """
    return ~(disocclusion(flow, opposite) | motion_boundary(flow))


def reliable_smooth(flow: Flow, opposite: Flow) -> NDArray[np.float32]:
    """Compute the soft mask of the released code, which grows the disoccluded areas outwards.

    Returns
    -------
    (H, W) float32 in 0..1
        1 reliable, 0 at a boundary, -1 where disoccluded, 0 from outside the frame; then a Gaussian of sigma 0.8
        and five taps, then clipped to 0..1.

    References
    ----------
    Ruder et al. 2016, released consistency checker; the smoothing is in the code only.
    """
    outside = ~inside(positions(flow), flow.size_wh)
    values = np.where(motion_boundary(flow), np.float32(0), np.float32(1))
    values[disocclusion(flow, opposite)] = -1
    values[outside] = 0
    smooth = cv2.GaussianBlur(values, (5, 5), _SMOOTHING_SIGMA, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(smooth, 0, 1), np.float32)


def long_term(masks: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Assign every pixel to the nearest earlier frame that shows it.

    Parameters
    ----------
    masks : reliability against earlier frames, nearest first; (H, W) float32 in 0..1 each

    Returns
    -------
    list of (H, W) float32
        max(c_j - sum of the c of nearer frames, 0), in the same order. Their sum is at most 1 for binary masks.

    Raises
    ------
    ShapeMismatch
        If the masks differ in size.

    References
    ----------
    Ruder et al. 2016, equation 9; the released code's `closestFirst`.
    """
    if len({mask.shape for mask in masks}) > 1:
        shapes = [mask.shape for mask in masks]
        raise ShapeMismatch("Long-term masks differ in size", expected="one size", found=shapes)
    taken: NDArray[np.float32] | None = None
    weights = []
    for mask in masks:
        own = mask.astype(np.float32)
        weights.append(own if taken is None else np.maximum(own - taken, np.float32(0)))
        taken = own if taken is None else taken + own
    return weights


def _disoccluded(flow: Flow, back: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Compare a flow with the backward flow, (H, W, 2), sampled where it points."""
    allowed = 0.01 * (_squared(flow.vectors) + _squared(back)) + 0.5
    return np.asarray(_squared(flow.vectors + back) >= allowed, np.bool_)


def _squared(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared lengths, (H, W), of (H, W, 2) vectors."""
    # numpy is slow where the last axis holds two.
    x, y = (np.asarray(part, np.float32) for part in cv2.split(vectors))
    x *= x
    y *= y
    x += y
    return x


def _check_pair(flow: Flow, opposite: Flow) -> None:
    if flow.size_wh != opposite.size_wh:
        raise ShapeMismatch("The two flows differ in size", expected=flow.size_wh, found=opposite.size_wh)
    if flow.forward == opposite.forward:
        raise UsageError("A mask needs a flow each way", expected="one backward, one forward", found="two of a kind")

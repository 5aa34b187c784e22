"""Motion accumulated over several frames.

Owns `MotionPath`. Knows flow and masks, not what is propagated along it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..motion.flow import Flow, compose, fitting_kernel, positions, sample

_AROUND = np.ones((3, 3), np.uint8)


@dataclass(slots=True)
class MotionPath:
    """The accumulated backward flow from the current frame to an earlier one.

    What is propagated along it is sampled once, however many frames it spans, so it is not blurred a little more with
    every frame.

    Attributes
    ----------
    flow : (h, w, 2) backward, from the current frame to the earlier one; None while they are the same frame
    reliability : (h, w) float32 in 0..1 at the flow's size, 1 where every step was reliable; None with `flow`
    source : (h, w) uint8, which of several earlier frames each pixel leads to; None while there is only one
    steps : frames that the path spans, at most

    References
    ----------
    Ours, on `steadyframe.runtime.motion.flow.compose`.
    """

    flow: Flow | None = None
    reliability: NDArray[np.float32] | None = None
    source: NDArray[np.uint8] | None = None
    steps: int = 0

    def copy(self) -> MotionPath:
        """Copy the path; steps make new arrays, so the arrays are shared."""
        return MotionPath(self.flow, self.reliability, self.source, self.steps)

    def step(self, flow: Flow, reliability: NDArray[np.float32]) -> None:
        """Advance by one frame; the first step sets the size of all.

        Parameters
        ----------
        flow : backward, from the new frame to the one before
        reliability : (h, w) float32 in 0..1, of that flow
        """
        self.steps += 1
        if self.flow is None or self.reliability is None:
            self.flow, self.reliability = flow, reliability
            return
        flow = flow.scaled(self.flow.size_wh)
        at, early = positions(flow), self.flow
        self.flow = compose(flow, early)
        self.reliability = np.minimum(fit_mask(reliability, flow.size_wh), sample(self.reliability, at))
        if self.source is not None:
            rims = np.asarray(nearest(rims_of(self.source).view(np.uint8), at), np.bool_)
            # A mean of ways to two different frames leads nowhere.
            self.flow.vectors[rims] = flow.vectors[rims] + nearest(early.vectors, at[rims][None])[0]
            self.source = nearest(self.source, at)

    def lead(self, mask: NDArray[np.bool_], number: int) -> None:
        """Let the pixels of a mask, (h, w) bool, lead to the current frame itself from now on, by its number."""
        assert self.flow is not None and self.reliability is not None  # before the first step all lead to it anyway
        self.source = np.zeros(mask.shape, np.uint8) if self.source is None else self.source.copy()
        self.source[mask] = number
        vectors, reliability = self.flow.vectors.copy(), self.reliability.copy()
        vectors[mask], reliability[mask] = 0, 1
        self.flow, self.reliability = Flow(vectors), reliability

    def propagate(self, array: NDArray[Any]) -> NDArray[Any]:
        """Warp an array, (h, w, C) float32 or uint8 of any size, from the earlier to the current frame."""
        if self.flow is None:
            return array
        at = positions(self.flow.scaled((array.shape[1], array.shape[0])))
        return sample(array, at, cubic=array.dtype == np.uint8)  # images, whose edges are seen

    def reliability_at(self, size_wh: tuple[int, int]) -> NDArray[np.float32] | float:
        """Compute the reliability of the whole path, (h, w) float32 for an array of a size; 1 without a path."""
        return 1.0 if self.reliability is None else fit_mask(self.reliability, size_wh)


def nearest(array: NDArray[Any], at: NDArray[np.float32]) -> NDArray[Any]:
    """Read the pixels of an array, (h, w) or (h, w, C), that are next to positions, (H, W, 2)."""
    border = cv2.BORDER_REPLICATE
    read: NDArray[Any] = cv2.remap(array, at, None, cv2.INTER_NEAREST, borderMode=border)  # type: ignore[call-overload]
    return read.reshape(*at.shape[:2], *array.shape[2:])


def rims_of(source: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find the pixels, (h, w), beside which another frame begins."""
    return np.asarray(cv2.dilate(source, _AROUND) != cv2.erode(source, _AROUND), np.bool_)


def no_larger(
    flow: Flow, reliability: NDArray[np.float32], size_wh: tuple[int, int] | None
) -> tuple[Flow, NDArray[np.float32]]:
    """Shrink a flow and its mask, (h, w) float32, to the size of the propagated output, where warping is cheaper."""
    if size_wh is None or size_wh[0] >= flow.size_wh[0]:
        return flow, reliability
    return flow.scaled(size_wh), fit_mask(reliability, size_wh)


def fit_mask(mask: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a mask, (h, w) float32."""
    own_wh = (mask.shape[1], mask.shape[0])
    if own_wh == size_wh:
        return mask
    return np.asarray(cv2.resize(mask, size_wh, interpolation=fitting_kernel(own_wh, size_wh)), np.float32)

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


@dataclass(slots=True)
class MotionPath:
    """The accumulated backward flow from the current frame to an earlier one.

    What is propagated along it is sampled once, however many frames it spans, so it is not blurred a little more with
    every frame.

    Attributes
    ----------
    flow : (h, w, 2) backward, from the current frame to the earlier one; None while they are the same frame
    reliability : (h, w) float32 in 0..1 at the flow's size, 1 where every step was reliable; None with `flow`

    References
    ----------
    Ours, on `steadyframe.runtime.motion.flow.compose`.
    """

    flow: Flow | None = None
    reliability: NDArray[np.float32] | None = None

    def copy(self) -> MotionPath:
        """Copy the path; steps make new arrays, so the arrays are shared."""
        return MotionPath(self.flow, self.reliability)

    def step(self, flow: Flow, reliability: NDArray[np.float32]) -> None:
        """Advance by one frame; the first step sets the size of all.

        Parameters
        ----------
        flow : backward, from the new frame to the one before
        reliability : (h, w) float32 in 0..1, of that flow
        """
        if self.flow is None or self.reliability is None:
            self.flow, self.reliability = flow, reliability
            return
        flow = flow.scaled(self.flow.size_wh)
        self.flow = compose(flow, self.flow)
        self.reliability = np.minimum(fit_mask(reliability, flow.size_wh), sample(self.reliability, positions(flow)))

    def propagate(self, array: NDArray[Any]) -> NDArray[Any]:
        """Warp an array, (h, w, C) float32 or uint8 of any size, from the earlier to the current frame."""
        if self.flow is None:
            return array
        at = positions(self.flow.scaled((array.shape[1], array.shape[0])))
        return sample(array, at, cubic=array.dtype == np.uint8)  # images, whose edges are seen

    def reliability_at(self, size_wh: tuple[int, int]) -> NDArray[np.float32] | float:
        """Compute the reliability of the whole path, (h, w) float32 for an array of a size; 1 without a path."""
        return 1.0 if self.reliability is None else fit_mask(self.reliability, size_wh)


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

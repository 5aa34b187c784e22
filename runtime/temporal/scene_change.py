"""Motion analysis: the motion into a frame, where earlier results are still reliable, and scene changes.

Owns `MotionAnalysis` and the figures that a keyframe rule needs. Pure functions over a flow pair; knows no results.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..motion.flow import FlowPair, positions, sample
from ..motion.masks import disocclusion, motion_boundary, reliable_smooth

_NEIGHBOURS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionAnalysisOptions:
    """When earlier results are no longer reliable.

    Parameters
    ----------
    smooth_mask : use the released code's soft mask instead of the paper's binary one
    surface_level : grey levels by which a small neighbourhood may change along the flow; beyond, it is taken for
        another surface, however well the two flows agree
    cut_share : reliable share of the image below which the whole scene counts as new
    """

    smooth_mask: bool = False
    surface_level: float = 20.0
    cut_share: float = 0.1

    def __post_init__(self) -> None:
        if self.surface_level <= 0 or not 0 <= self.cut_share < 1:
            expected = "surface_level > 0 and cut_share in 0..1"
            raise UsageError("The options of motion analysis are out of range", expected=expected, found=self)


@dataclass(frozen=True, slots=True)
class MotionAnalysis:
    """The motion into a frame.

    Parameters
    ----------
    pair : flows between the two, at reduced size; None where there is nothing before: the first frame, another size
    reliability : (h, w) float32 in 0..1 at the flow's size: what is propagated along it still holds; None with `pair`
    residual : mean change along the flow of what is reliable, in grey levels, noise averaged out
    cut : nothing remembered is of any use here
    appeared : (h, w) float32, 0 or 1: surely not there in the frame before; None with `pair`
    """

    pair: FlowPair | None = None
    reliability: NDArray[np.float32] | None = None
    residual: float = 0.0
    cut: bool = True
    appeared: NDArray[np.float32] | None = None


def analyze_motion(pair: FlowPair | None, options: MotionAnalysisOptions) -> MotionAnalysis:
    """Analyze the motion into a frame.

    References
    ----------
    The masks are Ruder et al. 2016's; the photometric check and the cut by reliable share are ours. Small
    neighbourhoods (5x5) are compared rather than pixels, because camera noise is not a change of surface.
    """
    if pair is None:
        return MotionAnalysis()
    uncovered = _uncovered(pair)
    if options.smooth_mask:
        mask = reliable_smooth(pair.backward, pair.forward.scaled(pair.backward.size_wh))
    else:
        mask = np.asarray(~(uncovered | motion_boundary(pair.backward)), np.float32)
    warped = sample(pair.previous, positions(pair.backward))
    change = cv2.subtract(pair.current, warped, dtype=cv2.CV_32F)
    change = np.abs(cv2.blur(change, (5, 5), borderType=cv2.BORDER_REPLICATE))
    reliability = np.asarray(mask * (change < options.surface_level), np.float32)
    total = float(reliability.sum())
    residual = float((reliability * change).sum()) / total if total else float("inf")
    # Flow is off by a pixel at any edge; only what is further inside has surely appeared.
    appeared = cv2.erode(uncovered.view(np.uint8), _NEIGHBOURS, borderValue=1).astype(np.float32)
    return MotionAnalysis(
        pair, reliability, residual, cut=total < options.cut_share * reliability.size, appeared=appeared
    )


def _uncovered(pair: FlowPair) -> NDArray[np.bool_]:
    """Find where content appears, at the size of the backward flow.

    The two flows are compared at the size of the coarser one, because agreement cannot be finer than that.
    """
    found = disocclusion(pair.backward.scaled(pair.forward.size_wh), pair.forward)
    if pair.forward.size_wh == pair.backward.size_wh:
        return found
    return cv2.resize(found.view(np.uint8), pair.backward.size_wh, interpolation=cv2.INTER_NEAREST) > 0

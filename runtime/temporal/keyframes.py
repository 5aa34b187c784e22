"""Choice of keyframes: the frames that the network runs on.

Owns `KeyframeRule`: every N frames, or when what is remembered has worn off. Knows frames, not results.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..motion.flow import shrinking_kernel
from ..motion.warp import warp_pixels
from .scene_change import MotionAnalysis

_SMALL_SIDE = 60  # pixels; shares of the image need no detail


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeOptions:
    """When the network runs.

    Parameters
    ----------
    every : run it on every n-th frame; None means `auto`, by the three thresholds below
    unreliable_share : share of the image, 0..1, that has become unreliable since the last keyframe
    residual : change along the flow summed over the frames since the last keyframe, in grey levels
    max_age : frames since the last keyframe after which it runs in any case
    min_age : frames since the last keyframe before which it does not run, however great the need; a cut excepted
    """

    every: int | None = None
    unreliable_share: float = 0.05
    residual: float = 20.0
    max_age: int = 6
    min_age: int = 4

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise UsageError("Keyframes come every 1 or more frames", expected="1 or more, or auto", found=self.every)
        if not (0 < self.unreliable_share <= 1 and self.residual > 0 and 1 <= self.min_age <= self.max_age):
            expected = "unreliable_share in 0..1, residual > 0, 1 <= min_age <= max_age"
            raise UsageError("The keyframe thresholds are out of range", expected=expected, found=self)


class KeyframeRule:
    """Decide frame by frame; holds the state of one stream.

    Attributes
    ----------
    stretch : factor on every number of frames between keyframes, 1 or more, by which a stream works less

    References
    ----------
    Ours; the unreliable share accumulates along the flow, as what was unreliable once stays so until the network
    has looked again.
    """

    def __init__(self, options: KeyframeOptions | None = None) -> None:
        self.options = options or KeyframeOptions()
        self.stretch = 1
        self.reset()

    def reset(self) -> None:
        """Forget the last keyframe; the next frame is one."""
        self._age: int | None = None
        self._residual = 0.0
        self._reliability: NDArray[np.float32] | None = None

    def decide(self, analysis: MotionAnalysis, *, may_run: bool = True) -> bool:
        """Decide whether the network runs on a frame.

        Parameters
        ----------
        analysis : how the frame follows on the one before
        may_run : False while the network is busy: the answer is then False, and the need remains
        """
        self._age_by(analysis)
        due = self._age is None or self._is_due(self._age)
        if not (due and may_run):
            return False
        self._age, self._residual, self._reliability = 0, 0.0, None
        return True

    def force(self) -> None:
        """Note that the network runs on this frame for another reason."""
        self._age, self._residual, self._reliability = 0, 0.0, None

    def _age_by(self, analysis: MotionAnalysis) -> None:
        """Age the reliability by one frame."""
        if analysis.cut or self._age is None:
            self.reset()
            return
        self._age += 1
        if self.options.every is not None or analysis.pair is None or analysis.reliability is None:
            return
        self._residual += analysis.residual
        height, width = analysis.reliability.shape
        scale = min(1.0, _SMALL_SIDE / min(height, width))
        small_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        kernel = shrinking_kernel((width, height), small_wh)
        reliability = np.asarray(cv2.resize(analysis.reliability, small_wh, interpolation=kernel), np.float32)
        if self._reliability is not None:
            reliability = np.minimum(reliability, warp_pixels(self._reliability, analysis.pair.backward))
        self._reliability = reliability

    def _is_due(self, age: int) -> bool:
        options, stretch = self.options, self.stretch
        if options.every is not None:
            return age >= options.every * stretch
        if age < options.min_age * stretch:
            return False
        unreliable = 0.0 if self._reliability is None else 1 - float(self._reliability.mean())
        return (
            age >= options.max_age * stretch
            or self._residual > options.residual
            or unreliable > options.unreliable_share
        )

"""Propagate a dense result from frame to frame, and blend in new results without a jump.

Owns `Propagator`, the memory of one result array of one stream. Knows nothing of networks or threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch
from .motion_path import MotionPath, fit_mask, no_larger
from .scene_change import MotionAnalysis

_MAX_SUBMITTED = 4  # fresh results under way at most; a stream drops older ones
_UNRELIABLE_SPEEDUP = 2  # what became unreliable since the last fresh result is corrected so many times faster


@dataclass(frozen=True, slots=True)
class _Fade:
    """The target of a fade, and the share of the difference that is covered in each frame."""

    target: NDArray[Any]  # (h, w, C), like the value
    rate: NDArray[np.float32]  # (h, w), 0..1 a frame

    def after(self, frames: int, value: NDArray[Any]) -> NDArray[Any]:
        """Compute the value after a number of frames."""
        part = np.minimum(self.rate * np.float32(frames), np.float32(1))
        if value.dtype == np.uint8:
            return np.asarray(cv2.blendLinear(value, self.target, 1 - part, part), np.uint8)
        # On every channel: numpy is slow where the last axis holds two or three.
        parts = cv2.merge([part] * value.shape[2]).reshape(value.shape)
        return np.asarray(value + parts * (self.target - value), np.float32)

    def propagated(self, path: MotionPath) -> _Fade:
        """Warp the fade to the current frame."""
        if path.flow is None:
            return self
        return _Fade(path.propagate(self.target), path.propagate(self.rate))


@dataclass(slots=True)
class _Shown:
    """The shown value and its fade at one frame, the number of frames since, and the motion path from there."""

    value: NDArray[Any]
    fade: _Fade | None
    frames: int = 0
    path: MotionPath = field(default_factory=MotionPath)

    def now(self) -> NDArray[Any]:
        """Value on the current frame."""
        return self.path.propagate(self.value if self.fade is None else self.fade.after(self.frames, self.value))


@dataclass(slots=True)
class _Submitted:
    """The state at a frame that the network runs on, when the run began.

    On live streams the outputs come some frames later, and the fade has continued meanwhile.
    """

    key: object
    source: _Shown | None  # what was being shown; None if nothing was
    value: NDArray[Any] | None = None  # on that frame, as it was before the fade
    fade: _Fade | None = None  # on that frame
    frames: int = 0  # of the fade until then
    before: MotionPath = field(default_factory=MotionPath)  # from the last fresh result to that frame
    path: MotionPath = field(default_factory=MotionPath)  # from that frame to the current one

    def value_now(self, shown: _Shown | None) -> NDArray[Any] | None:
        """Compute what that frame would show now, with its fade advanced like that of `shown`."""
        if self.value is None or self.fade is None:
            return self.value
        frames = shown.frames if shown is not None and shown is self.source else self.frames
        return self.fade.after(frames, self.value)


class Propagator:
    """The steady version of one dense result.

    A fresh result replaces what is propagated at once where something appears on this very frame: nothing was there
    before that could flicker. Elsewhere it only corrects what is propagated, by an equal part of the difference with
    each of the next frames, so that no pulse shows at keyframes; twice as fast where the path from the last fresh
    result was not reliable.

    Parameters
    ----------
    fade_frames : frames over which a correction is spread; 1 takes it at once

    References
    ----------
    Ours. Trusting the warped result where the mask is reliable, and only there, is the rule of Ruder et al. 2016,
    section 4.2.
    """

    def __init__(self, *, fade_frames: int = 8) -> None:
        self._fade_frames = fade_frames
        self._size_wh: tuple[int, int] | None = None  # of the results; known after the first one
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._shown: _Shown | None = None
        self._submitted: list[_Submitted] = []
        self._appeared: NDArray[np.float32] | None = None

    def step(self, analysis: MotionAnalysis) -> None:
        """Advance to the next frame."""
        if analysis.cut or analysis.pair is None or analysis.reliability is None:
            self.reset()
            return
        self._appeared = analysis.appeared
        paths = [submitted.path for submitted in self._submitted]
        if self._shown is not None:
            paths.append(self._shown.path)
        flow, reliability = no_larger(analysis.pair.backward, analysis.reliability, self._size_wh)
        for path in paths:
            path.step(flow, reliability)

    def submit(self, key: object) -> None:
        """Note that the network runs on the current frame; `update` with the same key follows, now or later."""
        shown = self._shown
        submitted = _Submitted(key, shown)
        if shown is not None:
            submitted.value = shown.path.propagate(shown.value)
            submitted.fade = None if shown.fade is None else shown.fade.propagated(shown.path)
            submitted.frames = shown.frames
            submitted.before = shown.path.copy()
        self._submitted = [*self._submitted, submitted][-_MAX_SUBMITTED:]

    def update(self, key: object, fresh: NDArray[Any]) -> None:
        """Blend in a new result, (h, w, C) float32 or uint8, of the frame that was submitted under a key.

        The result of a frame before a cut, or of one that was never submitted, is of no use and is left.

        Raises
        ------
        ShapeMismatch
            If it has another shape than what is propagated.
        """
        places = [place for place, submitted in enumerate(self._submitted) if submitted.key == key]
        if not places:
            return
        submitted = self._submitted[places[0]]
        del self._submitted[: places[0] + 1]  # runs that began before it will not be used any more
        self._size_wh = (fresh.shape[1], fresh.shape[0])
        value = submitted.value_now(self._shown)
        if value is None:
            self._shown = _Shown(fresh, None, path=submitted.path)
            return
        if fresh.shape != value.shape:
            raise ShapeMismatch("The result changed its shape", expected=value.shape, found=fresh.shape)
        fade = _Fade(fresh, self._rate(submitted))
        self._shown = _Shown(value, fade, path=submitted.path)

    def _rate(self, submitted: _Submitted) -> NDArray[np.float32]:
        """Share of a correction that is applied in each frame, (h, w)."""
        assert self._size_wh is not None  # set by `update`
        slow = 1 / self._fade_frames
        fast = min(1.0, slow * _UNRELIABLE_SPEEDUP)
        rate = fast - (fast - slow) * submitted.before.reliability_at(self._size_wh)
        if submitted.path.flow is None and self._appeared is not None:
            rate = np.maximum(rate, fit_mask(self._appeared, self._size_wh))
        width, height = self._size_wh
        return np.asarray(np.broadcast_to(rate, (height, width)), np.float32)

    def show(self) -> NDArray[Any] | None:
        """Advance the fade by one step and return the value on the current frame; call it last, once for each frame.

        Returns
        -------
        (h, w, C) like the results, or None until a first result was taken in since a cut
        """
        shown = self._shown
        if shown is None:
            return None
        shown.frames += 1
        if shown.fade is not None and shown.frames >= self._fade_frames:
            shown.value, shown.fade = shown.fade.target, None
        return shown.now()

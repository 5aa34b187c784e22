"""Carry a dense result from frame to frame, and take in fresh ones without a jump.

Owns `MotionPath`, the motion recorded since an earlier frame, and `Propagator`, the memory of one result array of one stream.
Knows nothing of networks or threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch
from ..motion.flow import Flow, compose, fitting_kernel, positions, sample
from .scene_change import MotionAnalysis

_MAX_ASKED = 4  # fresh results under way at most; a stream drops older ones
_UNKNOWN_HASTE = 2  # what was lost since the last fresh result is corrected so many times faster than the rest


@dataclass(slots=True)
class MotionPath:
    """The way from an earlier frame to the current one, recorded step by step.

    What is carried along it is sampled once, however long it is, and so does not blur a little more every frame.

    Attributes
    ----------
    flow : backward, from the current frame to the earlier one; None while they are the same frame
    known : (h, w) float32 in 0..1 at the flow's size, 1 where every step was reliable
    """

    flow: Flow | None = None
    known: NDArray[np.float32] | None = None

    def step(self, flow: Flow, trusted: NDArray[np.float32]) -> None:
        """Go on by one frame, along its backward flow and mask; the first step settles the size of them all."""
        if self.flow is None or self.known is None:
            self.flow, self.known = flow, trusted
            return
        flow = flow.scaled(self.flow.size_wh)
        self.flow = compose(flow, self.flow)
        self.known = np.minimum(_fit(trusted, flow.size_wh), sample(self.known, positions(flow)))

    def carry(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring an array, (h, w, C) of any size, float32 or uint8, from the earlier to the current frame."""
        if self.flow is None:
            return array
        return sample(array, positions(self.flow.scaled((array.shape[1], array.shape[0]))))

    def known_at(self, size_wh: tuple[int, int]) -> NDArray[np.float32] | float:
        """Where the whole way is reliable, (h, w) for an array of a size."""
        return 1.0 if self.known is None else _fit(self.known, size_wh)


@dataclass(frozen=True, slots=True)
class _Fade:
    """Where a value is going, and the part of the way that it goes with every frame; both belong to one frame."""

    target: NDArray[Any]  # (h, w, C), like the value
    rate: NDArray[np.float32]  # (h, w), 0..1 a frame

    def after(self, frames: int, value: NDArray[Any]) -> NDArray[Any]:
        """Give what a value has become after so many frames."""
        part = np.minimum(self.rate * np.float32(frames), np.float32(1))
        if value.dtype == np.uint8:
            return np.asarray(cv2.blendLinear(value, self.target, 1 - part, part), np.uint8)
        # On every channel: numpy is slow where the last axis holds two or three.
        parts = cv2.merge([part] * value.shape[2]).reshape(value.shape)
        return np.asarray(value + parts * (self.target - value), np.float32)

    def carried(self, way: MotionPath) -> _Fade:
        """Bring the fade to the current frame."""
        if way.flow is None:
            return self
        return _Fade(way.carry(self.target), way.carry(self.rate))


@dataclass(slots=True)
class _Shown:
    """What is shown: a value and its fade as of one frame, the frames since, and the way from there."""

    value: NDArray[Any]
    fade: _Fade | None
    frames: int = 0
    way: MotionPath = field(default_factory=MotionPath)

    def now(self) -> NDArray[Any]:
        """Value on the current frame."""
        return self.way.carry(self.value if self.fade is None else self.fade.after(self.frames, self.value))


@dataclass(slots=True)
class _Asked:
    """A frame that the network was asked about, as it was when it was asked.

    On live streams the answer comes some frames later, and the fade that was going on has gone on by then.
    """

    key: object
    source: _Shown | None  # what was being shown; None if nothing was
    value: NDArray[Any] | None = None  # on that frame, as it was before the fade
    fade: _Fade | None = None  # on that frame
    frames: int = 0  # of the fade until then
    known: MotionPath = field(default_factory=MotionPath)  # from the last fresh result to that frame
    way: MotionPath = field(default_factory=MotionPath)  # from that frame to the current one

    def value_now(self, shown: _Shown | None) -> NDArray[Any] | None:
        """Give what that frame would show by now, its fade having gone on as that of `shown` has."""
        if self.value is None or self.fade is None:
            return self.value
        frames = shown.frames if shown is not None and shown is self.source else self.frames
        return self.fade.after(frames, self.value)


class Propagator:
    """The steady version of one dense result.

    A fresh result replaces what is carried at once where something appears on this very frame: nothing was there
    before that could flicker. Elsewhere it only corrects what is carried, by an equal part of the difference with
    each of the next frames, so that no pulse shows at keyframes; twice as fast where the way from the last fresh
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
        """Forget everything."""
        self._shown: _Shown | None = None
        self._asked: list[_Asked] = []
        self._appeared: NDArray[np.float32] | None = None

    def step(self, sight: MotionAnalysis) -> None:
        """Go on to the next frame."""
        if sight.cut or sight.pair is None or sight.trusted is None:
            self.reset()
            return
        self._appeared = sight.appeared
        ways = [asked.way for asked in self._asked]
        if self._shown is not None:
            ways.append(self._shown.way)
        flow, trusted = no_larger(sight.pair.backward, sight.trusted, self._size_wh)
        for way in ways:
            way.step(flow, trusted)

    def ask(self, key: object) -> None:
        """Note that the network looks at the current frame; `take` with the same key follows, now or later."""
        shown = self._shown
        asked = _Asked(key, shown)
        if shown is not None:
            asked.value = shown.way.carry(shown.value)
            asked.fade = None if shown.fade is None else shown.fade.carried(shown.way)
            asked.frames = shown.frames
            asked.known = MotionPath(shown.way.flow, shown.way.known)
        self._asked = [*self._asked, asked][-_MAX_ASKED:]

    def take(self, key: object, fresh: NDArray[Any]) -> None:
        """Take in a fresh result, (h, w, C) float32 or uint8, of the frame that was asked about under a key.

        The result of a frame before a cut, or of one that was never asked about, is of no use and is left.

        Raises
        ------
        ShapeMismatch
            If it has another shape than what is carried.
        """
        places = [place for place, asked in enumerate(self._asked) if asked.key == key]
        if not places:
            return
        asked = self._asked[places[0]]
        del self._asked[: places[0] + 1]  # what was asked before it will not be answered any more
        self._size_wh = (fresh.shape[1], fresh.shape[0])
        value = asked.value_now(self._shown)
        if value is None:
            self._shown = _Shown(fresh, None, way=asked.way)
            return
        if fresh.shape != value.shape:
            raise ShapeMismatch("The result changed its shape", expected=value.shape, found=fresh.shape)
        fade = _Fade(fresh, self._rate(asked))
        self._shown = _Shown(value, fade, way=asked.way)

    def _rate(self, asked: _Asked) -> NDArray[np.float32]:
        """Part of a correction that comes in with every frame, (h, w)."""
        assert self._size_wh is not None  # set by `take`
        slow = 1 / self._fade_frames
        fast = min(1.0, slow * _UNKNOWN_HASTE)
        rate = fast - (fast - slow) * asked.known.known_at(self._size_wh)
        if asked.way.flow is None and self._appeared is not None:
            rate = np.maximum(rate, _fit(self._appeared, self._size_wh))
        width, height = self._size_wh
        return np.asarray(np.broadcast_to(rate, (height, width)), np.float32)

    def show(self) -> NDArray[Any] | None:
        """Fade on by one part and give the value on the current frame; to be called once a frame, last.

        Returns
        -------
        (h, w, C) like the results, or None until a first result was taken since a cut
        """
        shown = self._shown
        if shown is None:
            return None
        shown.frames += 1
        if shown.fade is not None and shown.frames >= self._fade_frames:
            shown.value, shown.fade = shown.fade.target, None
        return shown.now()


def no_larger(
    flow: Flow, trusted: NDArray[np.float32], size_wh: tuple[int, int] | None
) -> tuple[Flow, NDArray[np.float32]]:
    """Bring a flow and its mask to the size of what they carry, where that is smaller: the work there is cheaper."""
    if size_wh is None or size_wh[0] >= flow.size_wh[0]:
        return flow, trusted
    return flow.scaled(size_wh), _fit(trusted, size_wh)


def _fit(mask: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a mask (h, w) to another size."""
    own_wh = (mask.shape[1], mask.shape[0])
    if own_wh == size_wh:
        return mask
    return np.asarray(cv2.resize(mask, size_wh, interpolation=fitting_kernel(own_wh, size_wh)), np.float32)

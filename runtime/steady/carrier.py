"""Carry a dense result from frame to frame, and take in fresh ones without a jump.

Owns `Carrier`: the memory of one result array of one stream. Knows nothing of networks or threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch
from .flow import Flow, compose, shrinking_kernel
from .sight import Sight
from .warp import warp

_MAX_ASKED = 4  # fresh results under way at most; a stream drops older ones


@dataclass(slots=True)
class Way:
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
        """Go on by one frame, along its backward flow."""
        if self.flow is None or self.known is None:
            self.flow, self.known = flow, trusted
            return
        self.flow = compose(flow, self.flow)
        self.known = np.minimum(trusted, warp(self.known, flow).pixels)

    def carry(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring an array, (h, w, C) of any size, from the earlier to the current frame."""
        return array if self.flow is None else np.asarray(warp(array, self.flow).pixels, np.float32)

    def known_at(self, size_wh: tuple[int, int]) -> NDArray[np.float32] | float:
        """Where the whole way is reliable, (h, w, 1) for an array of a size."""
        if self.known is None:
            return 1.0
        own_wh = (self.known.shape[1], self.known.shape[0])
        fitted = cv2.resize(self.known, size_wh, interpolation=shrinking_kernel(own_wh, size_wh))
        return np.asarray(fitted, np.float32).reshape(size_wh[1], size_wh[0], 1)


@dataclass(slots=True)
class _Shown:
    """What is shown: a value and a correction as of one frame, and the way from there.

    The value on the current frame is that of ``value + faded * correction``, carried along the way.
    """

    value: NDArray[np.float32]
    correction: NDArray[np.float32]
    faded: float
    way: Way = field(default_factory=Way)

    def now(self) -> NDArray[np.float32]:
        """Value on the current frame."""
        part = self.value if self.faded == 0 else self.value + np.float32(self.faded) * self.correction
        return self.way.carry(part)


@dataclass(slots=True)
class _Asked:
    """A frame that the network was asked about, as it was when it was asked.

    On live streams the answer comes some frames later, and the fade that was going on has gone on by then.
    """

    key: object
    shown: NDArray[np.float32] | None  # what was shown on that frame; None if nothing was
    correction: NDArray[np.float32] | None  # of which the part `faded` was in already
    faded: float
    known: Way  # from the last fresh result to that frame
    way: Way = field(default_factory=Way)  # from that frame to the current one


class Carrier:
    """The steady version of one dense result.

    What is carried holds where the motion since the last fresh result is reliable. A fresh result replaces it at
    once where it is not, and elsewhere only corrects it, a part of the difference with each of the next frames, so
    that no pulse shows at keyframes.

    Parameters
    ----------
    fade_frames : frames over which a correction is spread; 1 takes it at once

    References
    ----------
    Ours. Trusting the warped result where the mask is reliable, and only there, is the rule of Ruder et al. 2016,
    section 4.2.
    """

    def __init__(self, *, fade_frames: int = 4) -> None:
        self._fade_frames = fade_frames
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._shown: _Shown | None = None
        self._asked: list[_Asked] = []

    def step(self, sight: Sight) -> None:
        """Go on to the next frame."""
        if sight.cut or sight.pair is None or sight.trusted is None:
            self.reset()
            return
        ways = [asked.way for asked in self._asked]
        if self._shown is not None:
            ways.append(self._shown.way)
        for way in ways:
            way.step(sight.pair.backward, sight.trusted)

    def ask(self, key: object) -> None:
        """Note that the network looks at the current frame; `take` with the same key follows, now or later."""
        shown = self._shown
        if shown is None:
            asked = _Asked(key, None, None, 0.0, Way())
        else:
            known = Way(shown.way.flow, shown.way.known)
            asked = _Asked(key, shown.now(), shown.way.carry(shown.correction), shown.faded, known)
        self._asked = [*self._asked, asked][-_MAX_ASKED:]

    def take(self, key: object, fresh: NDArray[np.float32]) -> None:
        """Take in a fresh result, (h, w, C) float32, of the frame that was asked about under a key.

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
        if asked.shown is None or asked.correction is None:
            self._shown = _Shown(fresh, np.zeros_like(fresh), 1.0, asked.way)
            return
        if fresh.shape != asked.shown.shape:
            raise ShapeMismatch("The result changed its shape", expected=asked.shown.shape, found=fresh.shape)
        value = asked.shown
        if self._shown is not None and self._shown.faded != asked.faded:
            value = value + np.float32(self._shown.faded - asked.faded) * asked.correction
        difference = fresh - value
        known = asked.known.known_at((fresh.shape[1], fresh.shape[0]))
        correction = np.asarray(known * difference, np.float32)
        self._shown = _Shown(fresh - correction, correction, 0.0, asked.way)

    def show(self) -> NDArray[np.float32] | None:
        """Fade on by one part and give the value on the current frame; to be called once a frame, last.

        Returns
        -------
        (h, w, C) float32, or None until a first result was taken since a cut
        """
        shown = self._shown
        if shown is None:
            return None
        shown.faded = min(1.0, shown.faded + 1 / self._fade_frames)
        return shown.now()

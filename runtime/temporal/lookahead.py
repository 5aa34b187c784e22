"""Fill the frames between two keyframes of a file from both of them.

Owns `BetweenSteadier`, which holds frames back until the next keyframe is known. What it gives is steadier, and
closer to the network on every frame, than what `ArraySteadier` gives, which knows the past alone. A live stream
cannot wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..motion.flow import Flow, FlowEstimator, FlowOptions
from ..motion.masks import disocclusion
from ..tasks.task import Outputs
from .keyframes import KeyframeOptions, KeyframeRule
from .propagation import MotionPath, no_larger
from .scene_change import MotionAnalysis, MotionAnalysisOptions, analyze_motion
from .stage import Fresh, Motion

EVERY = 10  # frames from one keyframe to the next, where the user asks for no number
LONGEST = 16  # more frames are not held back: each is an image in memory
_FRESH = 0.7  # weight of a keyframe's own result over the one before it, carried along; the rest steadies
_DOUBT = 0.6  # weight of a way that is not reliable, beside 1 + this of one that is: no seam where masks begin
_NOTHING = np.zeros((0, 0, 1), np.float32)


@dataclass(frozen=True, slots=True)
class _Held:
    """A frame that waits for the next keyframe: its way to the one before, and how it follows on its neighbour."""

    way: MotionPath
    sight: MotionAnalysis


class BetweenSteadier:
    """Steadies one dense output of a file.

    A keyframe's result is a mean of its own and of the one before, carried along, where that way is reliable. Every
    frame in between mixes the results of the two keyframes around it, both carried to it by the flow, by its distance
    in time and by what is reliable. So nothing jumps, neither at keyframes nor after them.

    Parameters
    ----------
    name : the output that is carried: (h, w, C) with at most 4 channels; others are those of the last keyframe
    flow, sight, keyframes : options of the parts; `keyframes.every` of None is every tenth frame and after cuts

    Attributes
    ----------
    held_back : frames that may wait at once

    References
    ----------
    Ours, on the masks of Ruder et al. 2016. Video codecs fill frames from both sides in the same way.
    """

    def __init__(
        self, name: str, *, flow: FlowOptions | None = None, sight: MotionAnalysisOptions | None = None,
        keyframes: KeyframeOptions | None = None,
    ) -> None:  # fmt: skip
        keyframes = keyframes or KeyframeOptions()
        every = keyframes.every or EVERY
        self.held_back = every
        self._name = name
        self._sight = sight or MotionAnalysisOptions()
        # The forward flow does more than check here: it carries the next keyframe back.
        self._estimator = FlowEstimator(replace(flow or FlowOptions(), check_side=None))
        self._rule = KeyframeRule(replace(keyframes, every=every))
        self._key: NDArray[np.float32] = _NOTHING  # what the last keyframe shows
        self._outputs: Outputs = {}  # of the network on it
        self._way = MotionPath()  # from the current frame back to it
        self._held: list[_Held] = []

    def observe(self, frame: Frame, *, may_run: bool = True) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it."""
        sight = analyze_motion(self._estimator.step(frame.luma), self._sight)
        return Motion(frame, self._rule.decide(sight, may_run=may_run), sight)

    def take(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Take in the next frame, and give the outputs of all frames that are known now, oldest first."""
        sight: MotionAnalysis = motion.fields
        if fresh is not None:
            return self._arrive(sight, fresh.outputs)
        self._go_on(sight)
        self._held.append(_Held(MotionPath(self._way.flow, self._way.known), sight))
        return []

    def flush(self) -> list[Outputs]:
        """Give the outputs of the frames that still wait: no keyframe will follow them."""
        held = self._held
        self._held = []
        return [self._as_output(one.way.carry(self._key)) for one in held]

    def reset(self) -> None:
        """Forget everything; to be called when no frame waits."""
        self._estimator.reset()
        self._rule.reset()
        self._key, self._outputs, self._way, self._held = _NOTHING, {}, MotionPath(), []

    def _go_on(self, sight: MotionAnalysis) -> None:
        """Go on by one frame."""
        assert sight.pair is not None and sight.trusted is not None  # else it were a cut, and a keyframe
        self._way.step(*no_larger(sight.pair.backward, sight.trusted, self._size_wh))

    @property
    def _size_wh(self) -> tuple[int, int]:
        return self._key.shape[1], self._key.shape[0]

    def _arrive(self, sight: MotionAnalysis, outputs: Outputs) -> list[Outputs]:
        """Take in a keyframe."""
        shown = np.asarray(outputs[self._name], np.float32)
        if sight.cut or not self._outputs:
            ready = self.flush()
        else:
            self._go_on(sight)
            kept = np.float32(1 - _FRESH) * self._way.known_at(self._size_wh)
            shown = _mixed(shown, self._way.carry(self._key), np.asarray(kept, np.float32))
            ready = self._filled(shown, sight)
        self._key, self._outputs, self._way = shown, outputs, MotionPath()
        return [*ready, self._as_output(shown)]

    def _filled(self, shown: NDArray[np.float32], sight: MotionAnalysis) -> list[Outputs]:
        """Give the outputs of the frames that were held, now that the keyframe after them is known."""
        held = self._held
        self._held = []
        found: list[Outputs] = []
        ahead = MotionPath()
        for place, one in reversed(list(enumerate(held, start=1))):
            _step_ahead(ahead, sight, self._size_wh)
            sight = one.sight
            share = np.float32(place / (len(held) + 1))
            before = (1 - share) * (one.way.known_at(self._size_wh) + np.float32(_DOUBT))
            after = share * (ahead.known_at(self._size_wh) + np.float32(_DOUBT))
            part = np.asarray(after / (before + after), np.float32)
            found.append(self._as_output(_mixed(one.way.carry(self._key), ahead.carry(shown), part)))
        return found[::-1]

    def _as_output(self, value: NDArray[np.float32]) -> Outputs:
        return {**self._outputs, self._name: value}


def _step_ahead(way: MotionPath, sight: MotionAnalysis, size_wh: tuple[int, int]) -> None:
    """Lengthen the way to a later keyframe at its near end, by the two frames of `sight`."""
    assert sight.pair is not None  # else it were a cut
    surely = ~disocclusion(sight.pair.forward, sight.pair.backward)
    there = Flow(sight.pair.forward.vectors)  # where to read in the later frame, as a backward flow says it
    way.step(*no_larger(there, surely.astype(np.float32), size_wh))


def _mixed(
    one: NDArray[np.float32], other: NDArray[np.float32], part: NDArray[np.float32]
) -> NDArray[np.float32]:  # fmt: skip
    """Mix two results, (h, w, C), by the part (h, w) of the other."""
    channels: Sequence[NDArray[np.float32]] = [part] * one.shape[2]
    parts = cv2.merge(channels).reshape(one.shape)  # numpy is slow where the last axis holds two or three
    return np.asarray(one + parts * (other - one), np.float32)

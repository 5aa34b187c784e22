"""Fill the frames between two keyframes of a file from both of them.

Owns `LookaheadStage`, which holds frames back until the next keyframe is known. What it gives is steadier, and closer
to the network on every frame, than what `DenseStage` gives, which knows the past alone. A live stream cannot wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..frame import Frame
from ..motion.flow import Flow, FlowEstimator
from ..motion.masks import disocclusion
from .keyframes import KeyframeOptions, KeyframeRule
from .motion_path import MotionPath, no_larger
from .options import PropagatedOutput, SteadyOptions
from .scene_change import MotionAnalysis, analyze_motion
from .stage import Fresh, Motion, Outputs

EVERY = 10  # frames from one keyframe to the next at least, where the user asks for no number
LONGEST = 16  # more frames are not held back: each is an image in memory
_UNRELIABLE = 0.4  # share of the image whose path to the last keyframe is lost; calm scenes stay below it
_HELD_BYTES = 50 << 20  # of those images, where the user asks for no number: four frames of 4K
_FRESH = 0.7  # weight of a keyframe's own result over the one before it, propagated; the rest steadies
_DOUBT = 0.6  # weight of a path that is not reliable, beside 1 + this of one that is: no seam where masks begin
_NOTHING = np.zeros((0, 0, 1), np.float32)


@dataclass(frozen=True, slots=True)
class _Held:
    """A frame that waits for the next keyframe: its motion path to the last one, and its motion analysis."""

    path: MotionPath
    analysis: MotionAnalysis


class LookaheadStage:
    """Steadies one dense output of a file.

    A keyframe's result is a mean of its own and of the one before, propagated, where that path is reliable. Every
    frame in between mixes the results of the two keyframes around it, both brought to it by the flow, by its distance
    in time and by what is reliable. So nothing jumps, neither at keyframes nor after them.

    Parameters
    ----------
    output : what is propagated; other outputs are those of the last keyframe
    options : mode and figures; `keyframes` of None is every 10th to 16th frame, the later the calmer the scene, and
        after cuts; sooner where ten frames are more than 50 MB

    Attributes
    ----------
    lookahead : frames that may wait at once

    Raises
    ------
    UsageError
        If more than 16 frames would have to wait.

    References
    ----------
    Ours, on the masks of Ruder et al. 2016. Video codecs fill frames from both sides in the same way.
    """

    every_frame = False

    def __init__(self, output: PropagatedOutput, options: SteadyOptions | None = None) -> None:
        options = options or SteadyOptions()
        keyframes = options.keyframes or KeyframeOptions()
        every = keyframes.every or LONGEST
        if every > LONGEST:
            raise UsageError("Look-ahead holds frames in memory", expected=f"every {LONGEST} or less", found=every)
        self.lookahead = every
        self._bounded = keyframes.every is None
        self.output = output
        self._options = options.analysis
        # The forward flow does more than check here: it propagates the next keyframe backward.
        flow = options.flow or output.lookahead_flow or output.flow
        self._estimator = FlowEstimator(replace(flow, check_side=None))
        if self._bounded:
            keyframes = KeyframeOptions(min_age=EVERY, max_age=LONGEST, unreliable_share=_UNRELIABLE)
        self._rule = KeyframeRule(keyframes)
        self._key: NDArray[np.float32] = _NOTHING  # what the last keyframe shows
        self._outputs: Outputs = {}  # of the network on it
        self._path = MotionPath()  # from the current frame back to it
        self._held: list[_Held] = []

    def observe(self, frame: Frame, *, may_run: bool = True, restart: bool = False) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it."""
        if restart:
            self._estimator.reset()
            self._rule.reset()
            if self._bounded:
                longest = self.held_back(frame)
                self._rule.options = replace(self._rule.options, min_age=min(EVERY, longest), max_age=longest)
        analysis = analyze_motion(self._estimator.step(frame.luma), self._options)
        keyframe = self._rule.decide(analysis, may_run=may_run)
        return Motion(frame, keyframe, restart or analysis.pair is None, fields=analysis)

    def held_back(self, frame: Frame) -> int:
        """Give the number of frames from one keyframe to the next at most, so that those between fit into memory."""
        if not self._bounded:
            return self.lookahead
        return max(2, min(self.lookahead, _HELD_BYTES // max(1, frame.num_bytes)))

    def update(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Add the next frame, and return the outputs of all frames that are final now, oldest first."""
        analysis: MotionAnalysis = motion.fields
        if fresh is not None:
            return self._arrive(analysis, fresh.outputs)
        self._go_on(analysis)
        self._held.append(_Held(self._path.copy(), analysis))
        return []

    def flush(self) -> list[Outputs]:
        """Return the outputs of the frames that still wait: no keyframe will follow them."""
        held = self._held
        self._held = []
        return [self._as_output(one.path.propagate(self._key)) for one in held]

    def _go_on(self, analysis: MotionAnalysis) -> None:
        """Advance by one frame."""
        assert analysis.pair is not None and analysis.reliability is not None  # else it were a cut, and a keyframe
        self._path.step(*no_larger(analysis.pair.backward, analysis.reliability, self._size_wh))

    @property
    def _size_wh(self) -> tuple[int, int]:
        return self._key.shape[1], self._key.shape[0]

    def _arrive(self, analysis: MotionAnalysis, outputs: Outputs) -> list[Outputs]:
        """Add a keyframe."""
        shown = np.asarray(outputs[self.output.name], np.float32)
        if analysis.cut or not self._outputs:
            ready = self.flush()
        else:
            self._go_on(analysis)
            kept = np.float32(1 - _FRESH) * self._path.reliability_at(self._size_wh)
            shown = _mixed(shown, self._path.propagate(self._key), np.asarray(kept, np.float32))
            ready = self._filled(shown, analysis)
        self._key, self._outputs, self._path = shown, outputs, MotionPath()
        return [*ready, self._as_output(shown)]

    def _filled(self, shown: NDArray[np.float32], analysis: MotionAnalysis) -> list[Outputs]:
        """Compute the outputs of the frames between the last two keyframes."""
        held = self._held
        self._held = []
        found: list[Outputs] = []
        ahead = MotionPath()
        for place, one in reversed(list(enumerate(held, start=1))):
            _step_ahead(ahead, analysis, self._size_wh)
            analysis = one.analysis
            share = np.float32(place / (len(held) + 1))
            before = (1 - share) * (one.path.reliability_at(self._size_wh) + np.float32(_DOUBT))
            after = share * (ahead.reliability_at(self._size_wh) + np.float32(_DOUBT))
            part = np.asarray(after / (before + after), np.float32)
            found.append(self._as_output(_mixed(one.path.propagate(self._key), ahead.propagate(shown), part)))
        return found[::-1]

    def _as_output(self, value: NDArray[np.float32]) -> Outputs:
        return {**self._outputs, self.output.name: value}


def _step_ahead(path: MotionPath, analysis: MotionAnalysis, size_wh: tuple[int, int]) -> None:
    """Extend the path to a later keyframe at its near end, by the two frames of `analysis`."""
    assert analysis.pair is not None  # else it were a cut
    surely = ~disocclusion(analysis.pair.forward, analysis.pair.backward)
    there = Flow(analysis.pair.forward.vectors)  # where to read in the later frame, as a backward flow says it
    path.step(*no_larger(there, surely.astype(np.float32), size_wh))


def _mixed(
    one: NDArray[np.float32], other: NDArray[np.float32], part: NDArray[np.float32]
) -> NDArray[np.float32]:  # fmt: skip
    """Mix two results, (h, w, C), by the share (h, w) of the other."""
    channels: Sequence[NDArray[np.float32]] = [part] * one.shape[2]
    parts = cv2.merge(channels).reshape(one.shape)  # numpy is slow where the last axis holds two or three
    return np.asarray(one + parts * (other - one), np.float32)

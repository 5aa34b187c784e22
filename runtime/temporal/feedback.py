"""The temporal stage of a network that takes its own last output as an input.

Owns `FeedbackSteadier`: how the last output lies to the frame that the network looks at next. The network's task
asks it while it prepares that frame.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from ..frame import Frame
from ..motion.flow import FlowOptions
from ..motion.warp import warp
from ..tasks.task import Outputs
from .dense import FLOW, ArraySteadier, SteadyOptions
from .keyframes import KeyframeOptions
from .propagation import MotionPath
from .scene_change import MotionAnalysis
from .stage import Fresh, Motion

# Of `keyframe`: a fresh image comes in over about the time until the next one. What costs is the flow; it is fine,
# and so what it carries stays good for longer than chroma does. Its way back, which only checks, may be coarse: a
# false alarm lets the next image come in sooner, no more. In `blend` the network would paint afresh there.
_CHECK_SIDE = 120
_FADE_FRAMES = 9
_KEYFRAMES = KeyframeOptions(min_age=8, max_age=10)


class FeedbackSteadier(ArraySteadier):
    """Steadies one dense output of a network that is steady by itself as far as it is told where things went.

    Where the network runs on every frame its outputs are shown as they are: it has seen what was shown before, and
    has done the blending. Between keyframes the last one is carried along the flow, and the next comes in over a few
    frames, as any dense output does; at once, all of the image would take a small step together. With
    `fade_frames` given, that holds for both modes.

    Parameters
    ----------
    name : the output that is carried, and fed back; uint8 or float32, (h, w, C) with at most 4 channels
    options : mode and figures; the mode must not be `off`

    References
    ----------
    Ruder et al. 2018, section 3: the previous output, warped, and the mask as inputs. The way over several frames
    between two runs of the network is ours.
    """

    def __init__(self, name: str, options: SteadyOptions | None = None) -> None:
        options = options or SteadyOptions()
        if options.mode == "keyframe":
            fade = options.fade_frames or _FADE_FRAMES
            rule = _KEYFRAMES if options.keyframes == KeyframeOptions() else options.keyframes
            flow = options.flow or replace(FLOW.get(name, FlowOptions()), check_side=_CHECK_SIDE)
            options = replace(options, flow=flow, fade_frames=fade, keyframes=rule)
        super().__init__(name, options)
        self._since: MotionPath | None = None
        self._way: MotionPath | None = None
        self._asked: dict[int, MotionPath] = {}  # frames that the network was asked about, and the way back to them
        self._shown = MotionPath()  # to the frame of the last output

    @property
    def way(self) -> MotionPath | None:
        """From the frame that was observed last, back to the one that the network ran on before it.

        None where nothing leads back: at the start, after a cut and after `reset`. Read by the thread that observes.
        """
        return self._way

    def observe(self, frame: Frame, *, may_run: bool = True) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it."""
        motion = super().observe(frame, may_run=may_run)
        sight: MotionAnalysis = motion.fields
        if sight.cut or sight.pair is None or sight.trusted is None:
            self._since = None
        elif self._since is not None:
            self._since.step(sight.pair.backward, sight.trusted)
        self._way = self._since
        if motion.keyframe:
            self._since = MotionPath()
        return motion

    def steady(self, motion: Motion, fresh: Fresh | None) -> Outputs:
        """Give a fresh output of this frame as it is, or the last one carried to it."""
        if self.options.fade_frames is not None:
            return super().steady(motion, fresh)
        self._go_on(motion.fields)
        if motion.keyframe:
            self._asked[motion.frame.index] = MotionPath()
        if fresh is not None and fresh.frame.index in self._asked:
            self._outputs, self._shown = fresh.outputs, self._asked[fresh.frame.index]
            # What was asked before it will not be answered any more.
            self._asked = {index: way for index, way in self._asked.items() if index > fresh.frame.index}
        value: NDArray[Any] = self._outputs[self._name]
        if self._shown.flow is not None:
            value = warp(value, self._shown.flow).pixels
        return {**self._outputs, self._name: value}

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._since = self._way = None
        self._asked, self._shown = {}, MotionPath()

    def _go_on(self, sight: MotionAnalysis) -> None:
        """Go on to the next frame; after a cut, answers about frames before it are not waited for."""
        if sight.cut or sight.pair is None or sight.trusted is None:
            self._asked, self._shown = {}, MotionPath()
            return
        for way in (self._shown, *self._asked.values()):
            way.step(sight.pair.backward, sight.trusted)

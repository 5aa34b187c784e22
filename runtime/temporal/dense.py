"""The causal temporal stage of a dense output, and the choice between it and look-ahead.

Owns `DenseStage` and `make_dense_stage`. Measuring motion and propagating results are two halves, each with its own
memory, so that they may run in two threads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import UsageError
from ..frame import Frame
from ..motion.flow import FlowEstimator
from .keyframes import KeyframeOptions, KeyframeRule
from .lookahead import LONGEST, LookaheadStage
from .options import PropagatedOutput, SteadyOptions
from .propagation import Propagator
from .scene_change import MotionAnalysis, analyze_motion
from .stage import EveryFrame, Fresh, Motion, Outputs, Stage

_FADE_FRAMES = {"blend": 2, "keyframe": 9}


def make_dense_stage(output: PropagatedOutput, options: SteadyOptions, *, live: bool) -> Stage:
    """Make the stage of one stream for a dense output.

    Parameters
    ----------
    output : what is propagated
    options : mode and figures
    live : whether results must come at once. A file can wait for the next keyframe, so its frames are filled from
        both sides; but not over more than 16 frames, each of which is an image in memory
    """
    if options.mode == "off":
        return EveryFrame()
    every = options.keyframes.every if options.keyframes is not None else None
    if not live and options.mode == "keyframe" and options.fade_frames is None and (every or 1) <= LONGEST:
        return LookaheadStage(output, options)
    return DenseStage(output, options)


class DenseStage:
    """Steadies one dense output of a stream from its past frames.

    Parameters
    ----------
    output : what is propagated; other outputs are those of the last keyframe
    options : mode and figures; the mode must not be `off`

    Raises
    ------
    UsageError
        If the mode is `off`.

    References
    ----------
    Ours, on the masks of Ruder et al. 2016.
    """

    lookahead = 0
    every_frame = False

    def __init__(self, output: PropagatedOutput, options: SteadyOptions | None = None) -> None:
        self.options = options or SteadyOptions()
        mode = self.options.mode
        if mode == "off":
            raise UsageError("A stage steadies", expected="blend or keyframe", found="off")
        keyframes = self.options.keyframes or KeyframeOptions()
        self.output = output
        self._estimator = FlowEstimator(self.options.flow or output.flow)
        self._rule = KeyframeRule(replace(keyframes, every=1) if mode == "blend" else keyframes)
        self._propagator = Propagator(fade_frames=self.options.fade_frames or _FADE_FRAMES[mode])
        self._outputs: Outputs = {}

    def stretch(self, factor: int) -> None:
        """Run the network so many times less often; 1 is as usual. May be called from any thread."""
        self._rule.stretch = factor

    def observe(self, frame: Frame, *, may_run: bool = True, restart: bool = False) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it."""
        if restart:
            self._estimator.reset()
            self._rule.reset()
        analysis = analyze_motion(self._estimator.step(frame.luma), self.options.analysis)
        keyframe = self._rule.decide(analysis, may_run=may_run)
        return Motion(frame, keyframe, restart or analysis.pair is None, fields=analysis)

    def update(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Propagate the output to the frame of `motion`, and blend in a new one of this or an earlier frame."""
        analysis: MotionAnalysis = motion.fields
        self._propagator.step(analysis)
        if motion.keyframe:
            self._propagator.submit(motion.frame.index)
        if fresh is not None:
            self._outputs = fresh.outputs
            value = fresh.outputs[self.output.name]
            if value.dtype != np.uint8:  # images stay as they are: a quarter of the memory to move
                value = np.asarray(value, np.float32)
            self._propagator.update(fresh.frame.index, value)
        shown = self._propagator.show()
        if shown is None:  # after a cut, until the network has looked
            last = self._outputs[self.output.name]
            shown = last if self.output.neutral is None else np.full_like(last, self.output.neutral)
        return [{**self._outputs, self.output.name: shown}]

    def flush(self) -> list[Outputs]:
        """Return nothing: no frame is held back."""
        return []

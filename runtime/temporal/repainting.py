"""The temporal stage of a file's keyframes whose network paints anew, between them, what does not look right.

Owns `RepaintStage`. What is shown is put together from the last keyframe and from what was painted since; a motion
path leads every pixel back to one of these images.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..motion.flow import FlowEstimator
from .image_stack import ImageStack
from .keyframes import KeyframeOptions, KeyframeRule
from .motion_path import MotionPath
from .options import PropagatedOutput, SteadyOptions
from .repaint import Repaint, RepaintOptions, repaint_of, unlike
from .scene_change import MotionAnalysis, analyze_motion
from .stage import Fresh, Motion, Outputs

# Of `keyframe`. What costs is the flow; it is fine, and so what it propagates stays good for longer than chroma does.
# The forward flow, which only checks, may be coarse: in `blend` the network would paint new strokes at a false alarm.
CHECK_SIDE = 120
KEYFRAMES = KeyframeOptions(min_age=8, max_age=10)


class RepaintStage:
    """Propagates one dense output, and has painted anew what does not look like the frame.

    The input is propagated along the very path that carries the result. Where it does not look like the frame any
    more, the network paints tiles, and the path leads there from then on: what was painted once is propagated like
    the rest. Where tiles would cover most of a frame, it is a keyframe.

    The task puts the new paint into what is shown (`Motion.repaint`), so outputs of such a frame are whole images.

    Parameters
    ----------
    output : what is propagated, and fed back; uint8 or float32, (h, w, C) with at most 4 channels
    options : mode `keyframe`. `keyframes` of None is every 8 to 10 frames

    References
    ----------
    Ours, on the network of Ruder et al. 2018.
    """

    lookahead = 0
    every_frame = False

    def __init__(self, output: PropagatedOutput, options: SteadyOptions) -> None:
        self.output = output
        self.options = options
        keyframes = options.keyframes or KEYFRAMES
        self._rule = KeyframeRule(keyframes)
        self._fixed = keyframes.every is not None  # who names every N-th frame gets no more
        self._estimator = FlowEstimator(options.flow or replace(output.flow, check_side=CHECK_SIDE))
        self._repaint = options.repaint or RepaintOptions()
        self._path: MotionPath | None = None  # of `observe`, to the frames whose results are in the stack
        self._inputs: ImageStack | None = None  # reduced luma of those frames; of `observe`
        self._outputs: Outputs = {}  # of `update`
        self._images: ImageStack | None = None  # of `update`

    def observe(self, frame: Frame, *, may_run: bool = True, restart: bool = False) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it, or on parts of it.

        Returns
        -------
        Motion
            `path` leads back to the frames whose results are shown; None at the start and after a cut.
        """
        if restart:
            self._estimator.reset()
            self._rule.reset()
            self._path = self._inputs = None
        analysis = analyze_motion(self._estimator.step(frame.luma), self.options.analysis)
        keyframe = self._rule.decide(analysis, may_run=may_run)
        self._step(analysis)
        path = None if self._path is None else self._path.copy()
        repaint = None
        if not keyframe and path is not None and analysis.pair is not None:
            repaint = self._check(path, analysis.pair.current)
            if repaint is not None and repaint.cost > self._repaint.most and not self._fixed:
                self._rule.force()
                keyframe, repaint = True, None
        if keyframe:
            self._path = MotionPath()
            self._inputs = None if analysis.pair is None else ImageStack(analysis.pair.current)
        elif repaint is not None and analysis.pair is not None:
            self._remember(repaint, analysis.pair.current)
        restart = restart or analysis.pair is None
        return Motion(frame, keyframe, restart, path=path, repaint=repaint, fields=analysis)

    def _step(self, analysis: MotionAnalysis) -> None:
        """Advance the path by one frame."""
        if analysis.cut or analysis.pair is None or analysis.reliability is None:
            self._path = None
        elif self._path is not None:
            self._path.step(analysis.pair.backward, analysis.reliability)
            if self._inputs is None:  # of the first frame, which had no pair
                self._inputs = ImageStack(analysis.pair.previous)

    def _check(self, path: MotionPath, current: NDArray[np.uint8]) -> Repaint | None:
        """Find what does not look like the frame, (h, w) uint8; None if all of it does."""
        if self.options.repaint is None or self._inputs is None or path.flow is None:
            return None
        found = unlike(path.flow, self._inputs.read(path), current, self._repaint)
        number = 0 if self._inputs.full else self._inputs.count
        return repaint_of(found, self._repaint, number=number)

    def _remember(self, repaint: Repaint, current: NDArray[np.uint8]) -> None:
        """Let what is painted anew lead to this frame; where there is no room for more, all of it."""
        assert self._path is not None and self._inputs is not None
        if repaint.number:
            self._inputs.add(current)
            self._path.lead(repaint.weight > 0, repaint.number)
            return
        shown = np.where(repaint.weight > 0, current, self._inputs.read(self._path))
        self._inputs, self._path = ImageStack(shown), MotionPath()

    def update(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Return the outputs of this frame unchanged, or put those of earlier frames together."""
        name = self.output.name
        if fresh is None:
            assert self._images is not None and motion.path is not None  # a file's first frame is a keyframe
            return [{**self._outputs, name: self._images.read(motion.path)}]
        self._outputs, image = fresh.outputs, fresh.outputs[name]
        if motion.repaint is None or not motion.repaint.number or self._images is None:
            self._images = ImageStack(image)
        else:
            self._images.add(image)
        return [fresh.outputs]

    def flush(self) -> list[Outputs]:
        """Return nothing: no frame is held back."""
        return []

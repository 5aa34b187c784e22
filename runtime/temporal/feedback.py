"""The temporal stage of a network that reads its own last output.

Owns `FeedbackStage`. It measures how the last output lies to the frame that the network runs on next, and hands that
motion path to the task with the frame's `Motion`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..motion.flow import positions, sample
from .dense import DenseStage
from .motion_path import MotionPath
from .options import PropagatedOutput, SteadyOptions
from .repaint import unlike
from .repainting import CHECK_SIDE, KEYFRAMES
from .scene_change import MotionAnalysis
from .stage import Fresh, Motion, Outputs

_FADE_FRAMES = 1  # between keyframes; with more, moving things would be seen twice


class FeedbackStage(DenseStage):
    """Steadies one dense output of a network that reads its own last output, warped along the motion.

    Where the network runs on every frame its outputs are shown as they are: it has seen what was shown before, and
    has done the blending. Between keyframes the last one is propagated along the flow; where the input, propagated
    along the same path, does not look like the frame any more, the frame is a keyframe too. With `fade_frames` above
    1 a new one comes in over so many frames, in both modes.

    Parameters
    ----------
    output : what is propagated, and fed back; uint8 or float32, (h, w, C) with at most 4 channels
    options : mode and figures; the mode must not be `off`. `keyframes` of None is every 8 to 10 frames

    References
    ----------
    Ruder et al. 2018, section 3: the previous output, warped, and the mask as inputs. The path over several frames
    between two runs of the network is ours.
    """

    def __init__(self, output: PropagatedOutput, options: SteadyOptions | None = None) -> None:
        options = options or SteadyOptions()
        if options.mode == "keyframe":
            options = replace(
                options,
                flow=options.flow or replace(output.flow, check_side=CHECK_SIDE),
                fade_frames=options.fade_frames or _FADE_FRAMES,
                keyframes=options.keyframes or KEYFRAMES,
            )
        super().__init__(output, options)
        fixed = options.keyframes is not None and options.keyframes.every is not None
        self._check = None if options.mode != "keyframe" or fixed else options.repaint
        self._input: NDArray[np.uint8] | None = None  # reduced luma of the network's last frame
        self._since: MotionPath | None = None  # from the frame observed last to the network's last frame
        self._submitted: dict[int, MotionPath] = {}  # frames that the network runs on, and the paths back to them
        self._shown = MotionPath()  # to the frame of the last output

    def observe(self, frame: Frame, *, may_run: bool = True, restart: bool = False) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it.

        Returns
        -------
        Motion
            `path` leads back to the frame that the network ran on before this one; None at the start and after a cut.
        """
        if restart:
            self._since = None
        motion = super().observe(frame, may_run=may_run, restart=restart)
        analysis: MotionAnalysis = motion.fields
        if analysis.cut or analysis.pair is None or analysis.reliability is None:
            self._since = None
        elif self._since is not None:
            self._since.step(analysis.pair.backward, analysis.reliability)
        path = None if self._since is None else self._since.copy()
        if may_run and not motion.keyframe and self._is_unlike(path, analysis):
            self._rule.force()
            motion = replace(motion, keyframe=True)
        if motion.keyframe:
            self._since = MotionPath()
            self._input = None if analysis.pair is None else analysis.pair.current
        return replace(motion, path=path)

    def _is_unlike(self, path: MotionPath | None, analysis: MotionAnalysis) -> bool:
        """Whether too much of the network's last frame, propagated to this one, does not look like it."""
        if self._check is None or path is None or path.flow is None or analysis.pair is None:
            return False
        if self._rule.stretch > 1:  # the stream shall work less
            return False
        if self._input is None:  # of the first frame, which had no pair
            self._input = analysis.pair.previous
        carried = sample(self._input, positions(path.flow), cubic=True)
        return float(unlike(path.flow, carried, analysis.pair.current, self._check).mean()) > self._check.alarm

    def update(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Return a new output of this frame unchanged, or the last one propagated to it."""
        if self.options.fade_frames is not None:
            return super().update(motion, fresh)
        self._go_on(motion.fields)
        if motion.keyframe:
            self._submitted[motion.frame.index] = MotionPath()
        if fresh is not None and fresh.frame.index in self._submitted:
            self._outputs, self._shown = fresh.outputs, self._submitted[fresh.frame.index]
            # Runs that began before it will not be used any more.
            self._submitted = {i: path for i, path in self._submitted.items() if i > fresh.frame.index}
        value: NDArray[Any] = self._outputs[self.output.name]
        if self._shown.flow is not None:
            value = self._shown.propagate(value)
        return [{**self._outputs, self.output.name: value}]

    def _go_on(self, analysis: MotionAnalysis) -> None:
        """Advance to the next frame; after a cut, outputs of frames before it are not used."""
        if analysis.cut or analysis.pair is None or analysis.reliability is None:
            self._submitted, self._shown = {}, MotionPath()
            return
        for path in (self._shown, *self._submitted.values()):
            path.step(analysis.pair.backward, analysis.reliability)

"""The temporal stage of a network that reads its own last output.

Owns `FeedbackStage`. It measures how the last output lies to the frame that the network runs on next, and hands that
motion path to the task with the frame's `Motion`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from .dense import DenseStage
from .keyframes import KeyframeOptions
from .motion_path import MotionPath
from .options import PropagatedOutput, SteadyOptions
from .repaint import Repaint, repaint_of, unlike
from .scene_change import MotionAnalysis
from .stage import Fresh, Motion, Outputs

# Of `keyframe`. What costs is the flow; it is fine, and so what it propagates stays good for longer than chroma does.
# The forward flow, which only checks, may be coarse: in `blend` the network would paint new strokes at a false alarm.
_CHECK_SIDE = 120
_FADE_FRAMES = 1  # what no longer looks like the frame is painted anew, so nothing jumps when a keyframe comes
_KEYFRAMES = KeyframeOptions(min_age=8, max_age=10)


class FeedbackStage(DenseStage):
    """Steadies one dense output of a network that reads its own last output, warped along the motion.

    Where the network runs on every frame its outputs are shown as they are: it has seen what was shown before, and
    has done the blending. Between keyframes the last one is propagated along the flow. Of a file, places where that
    no longer looks like the frame are painted anew (`repaint`), so the next keyframe is shown at once. With
    `fade_frames` above 1 it comes in over so many frames instead, in both modes.

    Parameters
    ----------
    output : what is propagated, and fed back; uint8 or float32, (h, w, C) with at most 4 channels
    options : mode and figures; the mode must not be `off`. `keyframes` of None is every 8 to 10 frames

    References
    ----------
    Ruder et al. 2018, section 3: the previous output, warped, and the mask as inputs. The path over several frames
    between two runs of the network is ours.
    """

    def __init__(
        self, output: PropagatedOutput, options: SteadyOptions | None = None, *, live: bool = False
    ) -> None:  # fmt: skip
        options = options or SteadyOptions()
        # Of a live stream the paint would come a frame late, and where it belonged things have moved on.
        self._repaint = options.repaint if options.mode == "keyframe" and not live else None
        self._key: NDArray[np.uint8] | None = None  # reduced luma of the keyframe; of `observe`
        if options.mode == "keyframe":
            options = replace(
                options,
                flow=options.flow or replace(output.flow, check_side=_CHECK_SIDE),
                fade_frames=options.fade_frames or _FADE_FRAMES,
                keyframes=options.keyframes or _KEYFRAMES,
            )
        super().__init__(output, options)
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
        repaint = None
        if self._key is None and analysis.pair is not None:
            self._key = analysis.pair.previous  # the first frame, which has no pair, is the keyframe
        if analysis.pair is not None and path is not None and not motion.keyframe:
            repaint, motion = self._check(path, analysis.pair.current, motion)
        if motion.keyframe:
            self._since = MotionPath()
            self._key = None if analysis.pair is None else analysis.pair.current
        return replace(motion, path=path, repaint=repaint)

    def _check(
        self, path: MotionPath, current: NDArray[np.uint8], motion: Motion
    ) -> tuple[Repaint | None, Motion]:  # fmt: skip
        """Look whether what is propagated looks like the frame, (h, w) uint8; else it is a keyframe."""
        options = self._repaint
        if options is None or self._key is None or self._key.shape != current.shape:
            return None, motion
        found = repaint_of(unlike(path, self._key, current, options), options)
        fixed = self.options.keyframes is not None and self.options.keyframes.every is not None
        if found is None or found.cost <= options.most or fixed:  # who names every N-th frame gets no more
            return found, motion
        self._rule.force()
        return None, replace(motion, keyframe=True)

    def update(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Return a new output of this frame unchanged, or the last one propagated to it."""
        if self.options.fade_frames is not None:
            if motion.repaint is None:
                return super().update(motion, fresh)
            (outputs,) = super().update(motion, None)
            painted = None if fresh is None or fresh.frame is not motion.frame else fresh.outputs[self.output.name]
            return [outputs if painted is None else self._with_repaint(outputs, painted, motion.repaint)]
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

    def _with_repaint(self, outputs: Outputs, painted: NDArray[Any], repaint: Repaint) -> Outputs:
        """Show the new paint, (h, w, C), where it is wanted."""
        height, width = painted.shape[:2]
        weight = cv2.resize(repaint.weight, (width, height), interpolation=cv2.INTER_LINEAR)
        shown = outputs[self.output.name]
        if shown.dtype == np.uint8:
            mixed = cv2.blendLinear(shown, np.asarray(painted, np.uint8), 1 - weight, weight)
        else:
            mixed = shown + weight[..., None] * (painted - shown)
        return {**outputs, self.output.name: np.asarray(mixed, shown.dtype)}

    def _go_on(self, analysis: MotionAnalysis) -> None:
        """Advance to the next frame; after a cut, outputs of frames before it are not used."""
        if analysis.cut or analysis.pair is None or analysis.reliability is None:
            self._submitted, self._shown = {}, MotionPath()
            return
        for path in (self._shown, *self._submitted.values()):
            path.step(analysis.pair.backward, analysis.reliability)

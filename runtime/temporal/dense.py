"""The temporal stage of one stream: when the network runs, and what is shown in between.

Owns `SteadyOptions`, and `ArraySteadier`, which fits the seam of `steadyframe.runtime.temporal.stage`. Looking at
frames and carrying results are two stages, each with its own memory, so that they run at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..frame import Frame
from ..motion.flow import FlowEstimator, FlowOptions
from ..tasks.task import Outputs, Task
from .keyframes import KeyframeOptions, KeyframeRule
from .lookahead import LONGEST, BetweenSteadier
from .propagation import Propagator
from .scene_change import MotionAnalysis, MotionAnalysisOptions, analyze_motion
from .stage import AheadSteadier, Fresh, Motion, Steadier

MODES = ("off", "blend", "keyframe")
# Carried output -> what says "nothing is known": neutral chroma. Others show their last value.
_NEUTRAL: Mapping[str, float] = MappingProxyType({"crcb": 128.0})
# Carried output -> flow that is fine enough for it: chroma is small, about 96 rows; a brush stroke is as sharp as the
# image, and every tenth of a pixel that it is carried wrong is seen as seething.
FLOW: Mapping[str, FlowOptions] = MappingProxyType({
    "crcb": FlowOptions(short_side=120), "styled": FlowOptions("medium", short_side=240),
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyOptions:
    """How a stream is steadied.

    Parameters
    ----------
    mode : `off`, `blend` (the network runs on every frame, its results are blended) or `keyframe` (it runs now and
        then, and its results are carried in between)
    fade_frames : frames over which a fresh result is blended in where the motion is reliable; None takes the mode's
        own
    flow : how motion is measured; None takes what is fine enough for the task's result
    sight, keyframes : options of the parts

    Examples
    --------
    >>> SteadyOptions.of("keyframe", every=4).keyframes.every
    4
    """

    mode: str = "keyframe"
    fade_frames: int | None = None
    flow: FlowOptions | None = None
    sight: MotionAnalysisOptions = field(default_factory=MotionAnalysisOptions)
    keyframes: KeyframeOptions = field(default_factory=KeyframeOptions)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"There is no steady mode {self.mode!r}", available=MODES)
        if self.fade_frames is not None and self.fade_frames < 1:
            raise UsageError("A correction is spread over 1 or more frames", found=self.fade_frames)

    @classmethod
    def of(cls, mode: str, *, every: int | str | None = None, flow: str | None = None) -> SteadyOptions:
        """Read what the command line says: a mode, N or ``auto`` for `keyframe`, and the flow as ``PRESET:SIZE``.

        Raises
        ------
        UsageError
            If there is no such mode or flow, `every` is neither a number nor ``auto``, or one of them is given to a
            mode that has no use for it.
        """
        if flow is not None and mode == "off":
            raise UsageError("Without steadying there is no flow", expected="--steady blend or keyframe", found=mode)
        measured = None if flow is None else FlowOptions.of(flow)
        if every is None:
            return cls(mode=mode, flow=measured)
        if mode != "keyframe":
            raise UsageError("Only the mode keyframe leaves frames out", expected="--steady keyframe", found=mode)
        return cls(mode=mode, flow=measured, keyframes=KeyframeOptions(every=_every(every)))


def _every(text: int | str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError("Keyframes come every N frames", expected="a number or auto", found=text) from None


def open_steadier(task: Task, options: SteadyOptions, *, ahead: bool = False) -> Steadier | AheadSteadier | None:
    """Make the steadier of one stream of a task; None if nothing is to be steadied.

    A task whose network wants more than a plain steadier gives has a method `steadier` that makes its own.

    Parameters
    ----------
    ahead : the stream is a file, whose frames can wait for the next keyframe; a live one must not ask for it

    Raises
    ------
    UsageError
        If the task has no result that can be carried from frame to frame.
    """
    if options.mode == "off":
        return None
    own: Callable[[SteadyOptions], Steadier] | None = getattr(task, "steadier", None)
    if own is not None:
        return own(options)
    if task.carried is None:
        raise UsageError(f"Task {task.name} has nothing that can be steadied", expected="--steady off")
    every = options.keyframes.every
    if ahead and options.mode == "keyframe" and options.fade_frames is None and (every or 1) <= LONGEST:
        flow = options.flow or FLOW.get(task.carried)
        return BetweenSteadier(task.carried, flow=flow, sight=options.sight, keyframes=options.keyframes)
    return ArraySteadier(task.carried, options)


class ArraySteadier:
    """Steadies one dense output of a task.

    Parameters
    ----------
    name : the output that is carried: (h, w, C) with at most 4 channels; others are those of the last keyframe
    options : mode and figures; the mode must not be `off`

    References
    ----------
    Ours, on the masks of Ruder et al. 2016.
    """

    def __init__(self, name: str, options: SteadyOptions | None = None) -> None:
        self.options = options or SteadyOptions()
        if self.options.mode == "off":
            raise UsageError("There is nothing to steady with", expected="blend or keyframe", found="off")
        blend = self.options.mode == "blend"
        keyframes = replace(self.options.keyframes, every=1) if blend else self.options.keyframes
        self._name = name
        self._estimator = FlowEstimator(self.options.flow or FLOW.get(name))
        self._rule = KeyframeRule(keyframes)
        self._carrier = Propagator(fade_frames=self.options.fade_frames or (2 if blend else 9))
        self._outputs: Outputs = {}

    def observe(self, frame: Frame, *, may_run: bool = True) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it."""
        sight = analyze_motion(self._estimator.step(frame.luma), self.options.sight)
        return Motion(frame, self._rule.decide(sight, may_run=may_run), sight)

    def steady(self, motion: Motion, fresh: Fresh | None) -> Outputs:
        """Carry the output to the frame of `motion`, and take in a fresh one of this or an earlier frame."""
        sight: MotionAnalysis = motion.fields
        self._carrier.step(sight)
        if motion.keyframe:
            self._carrier.ask(motion.frame.index)
        if fresh is not None:
            self._outputs = fresh.outputs
            value = fresh.outputs[self._name]
            if value.dtype != np.uint8:  # images are carried as such, a quarter of the memory to move
                value = np.asarray(value, np.float32)
            self._carrier.take(fresh.frame.index, value)
        shown = self._carrier.show()
        return {**self._outputs, self._name: self._unknown() if shown is None else shown}

    def reset(self) -> None:
        """Forget everything."""
        self._estimator.reset()
        self._rule.reset()
        self._carrier.reset()
        self._outputs = {}

    def _unknown(self) -> NDArray[Any]:
        """Stand-in for the frame or two of a live stream between a cut and the first result after it."""
        last = self._outputs[self._name]
        neutral = _NEUTRAL.get(self._name)
        return last if neutral is None else np.full_like(last, neutral)

"""Options of steadying.

Owns `SteadyOptions` and `PropagatedOutput`, the part of a task's result that a stage may propagate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import UsageError
from ..motion.flow import FlowOptions
from .keyframes import KeyframeOptions
from .repaint import RepaintOptions
from .scene_change import MotionAnalysisOptions

MODES = ("off", "blend", "keyframe")


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagatedOutput:
    """The output of a task that may be propagated from frame to frame.

    Parameters
    ----------
    name : of the output: (h, w, C) with at most 4 channels, or what a stage of the task's own takes
    neutral : value that says "nothing is known", such as 128 for chroma; None shows the last value instead
    flow : flow that is fine enough for it
    lookahead_flow : the same where frames between two keyframes are filled from both sides; None takes `flow`
    """

    name: str
    neutral: float | None = None
    flow: FlowOptions = field(default_factory=FlowOptions)
    lookahead_flow: FlowOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyOptions:
    """How a stream is steadied.

    Parameters
    ----------
    mode : `off`, `blend` (the network runs on every frame and its results are blended) or `keyframe` (it runs on some
        frames, and its results are propagated to those between)
    fade_frames : frames over which a fresh result is blended in where the motion is reliable; None takes the mode's
        own. With a number, files are steadied as live streams are, without look-ahead
    flow : how motion is measured; None takes what is fine enough for the task's result
    analysis : when a motion counts as reliable, and when a scene as new
    keyframes : when the network runs; None takes the stage's own
    repaint : when a network that is fed its last output paints places anew between keyframes of a file; None never

    Raises
    ------
    UsageError
        If there is no such mode, or `fade_frames` is below 1.

    Examples
    --------
    >>> SteadyOptions.of("keyframe", every=4).keyframes.every
    4
    """

    mode: str = "keyframe"
    fade_frames: int | None = None
    flow: FlowOptions | None = None
    analysis: MotionAnalysisOptions = field(default_factory=MotionAnalysisOptions)
    keyframes: KeyframeOptions | None = None
    repaint: RepaintOptions | None = field(default_factory=RepaintOptions)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"There is no steady mode {self.mode!r}", available=MODES)
        if self.fade_frames is not None and self.fade_frames < 1:
            raise UsageError("A correction is spread over 1 or more frames", found=self.fade_frames)

    @classmethod
    def of(cls, mode: str, *, every: int | str | None = None, flow: str | None = None) -> SteadyOptions:
        """Read the command line's options: a mode, N or ``auto`` for `keyframe`, the flow as ``PRESET:SIZE``.

        Raises
        ------
        UsageError
            If there is no such mode or flow, `every` is neither a number nor ``auto``, or one of them is given to a
            mode that has no use for it.
        """
        if flow is not None and mode == "off":
            raise UsageError(
                "Without steadying no flow is measured", expected="--steady blend or keyframe", found=mode
            )
        measured = None if flow is None else FlowOptions.of(flow)
        if every is None:
            return cls(mode=mode, flow=measured)
        if mode != "keyframe":
            raise UsageError("Only the mode keyframe leaves frames out", expected="--steady keyframe", found=mode)
        number = _every(every)
        return cls(mode=mode, flow=measured, keyframes=None if number is None else KeyframeOptions(every=number))


def _every(text: int | str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError("Keyframes come every N frames", expected="a number or auto", found=text) from None

"""The seam for a temporal stage between a task's `infer` and its `postprocess`.

Owns the protocols `Steadier`, for any stream, and `AheadSteadier`, for files, and the two small values that they
trade with a stream. Knows nothing of flow or warping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..frame import Frame
from ..tasks.task import Outputs


@dataclass(frozen=True, slots=True)
class Motion:
    """What a steadier saw when it looked at a frame, handed back to it when the frame's result is due.

    Parameters
    ----------
    frame : the frame that was looked at
    keyframe : the network shall run on this frame
    fields : the steadier's own (flow, masks, grey image)
    """

    frame: Frame
    keyframe: bool
    fields: Any = None


@dataclass(frozen=True, slots=True)
class Fresh:
    """Outputs of the network, and the frame that they belong to."""

    frame: Frame
    outputs: Outputs


@runtime_checkable
class AheadSteadier(Protocol):
    """A steadier of files that looks ahead: it holds frames back until it knows what comes after them.

    `observe` and `take` run in two different threads, each called once for every frame, in the order of the frames.
    The outputs of a keyframe are always there when `take` is called for it. `flush` comes after the last frame and
    before a `reset`.

    Attributes
    ----------
    held_back : frames that may wait at once
    """

    held_back: int

    def observe(self, frame: Frame, *, may_run: bool) -> Motion:
        """Look at a frame, and say whether the network shall run on it."""

    def take(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Take in the next frame, and give the outputs of all frames that are known now, oldest first."""

    def flush(self) -> list[Outputs]:
        """Give the outputs of all frames that still wait."""

    def reset(self) -> None:
        """Forget everything."""


class Steadier(Protocol):
    """Carries results from frame to frame; the memory of one stream.

    `observe` and `steady` run in two different threads, each called once for every frame, in the order of the
    frames; `observe` may be some frames ahead. `reset` is called only when neither runs and no frame is under way.

    For files, the outputs of a keyframe are always there when `steady` is called for that very frame, so that the
    result does not depend on how fast anything ran. For live sources, `steady` is called at once, and the outputs
    come with a later frame, as soon as the network has finished; only after a start or a reset does it wait.
    """

    def observe(self, frame: Frame, *, may_run: bool) -> Motion:
        """Look at a frame, and say whether the network shall run on it.

        `may_run` is False while the network is still busy with an earlier frame of a live source: then the answer's
        `keyframe` must be False. After a start or a reset it is True, and the answer must be a keyframe.
        """

    def steady(self, motion: Motion, fresh: Fresh | None) -> Outputs:
        """Give outputs for the frame of `motion`, from what is remembered and from `fresh` outputs, if there are any.

        `fresh.frame` is the frame of `motion`, or, for live sources, an earlier one.
        """

    def reset(self) -> None:
        """Forget everything: another image, a new size, a source that came back."""

"""The temporal protocol: when the network runs, and what is shown on every frame.

Owns `Stage`, the two values that it trades with a processor (`Motion` and `Fresh`), and `EveryFrame`, the stage that
does nothing. Knows neither networks nor threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from ..frame import Frame
from ..motion.flow import Flow
from .motion_path import MotionPath
from .repaint import Repaint

Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Motion:
    """The motion from earlier frames to a frame; the result of `observe`.

    A task reads it while it prepares the frame, and the stage gets it back when the frame's result is due.

    Parameters
    ----------
    frame : the frame that was observed
    keyframe : whether the network shall run on this frame
    restart : whether nothing that is remembered of earlier frames holds any more
    path : accumulated backward flow from this frame to the one that the network ran on before it, with its
        reliability; None where nothing leads back, and for stages that do not measure it
    flows : forward flows from that frame to this one, oldest first; empty for stages that do not measure them
    repaint : places that the network paints anew on a frame that is no keyframe; None if there are none
    fields : the stage's own
    """

    frame: Frame
    keyframe: bool = True
    restart: bool = True
    path: MotionPath | None = None
    flows: tuple[Flow, ...] = ()
    repaint: Repaint | None = None
    fields: Any = None

    @property
    def runs(self) -> bool:
        """Whether the network runs on this frame, on all of it or on some crops."""
        return self.keyframe or self.repaint is not None


@dataclass(frozen=True, slots=True)
class Fresh:
    """Outputs of the network, and the frame that it ran on."""

    frame: Frame
    outputs: Outputs


class Stage(Protocol):
    """Keeps the results of one stream steady; holds the state of that stream.

    `observe` and `update` are each called once for every frame, in the order of the frames. They may run in two
    threads, and `observe` may be some frames ahead: what one of them remembers, the other never touches.

    A stage with look-ahead may have ``held_back(frame)``, which says how many frames of its size it holds back at
    most. A stage that chooses keyframes may have ``stretch(factor)``, which makes it choose them so many times less
    often.

    Of a file, the outputs of a keyframe are there when `update` is called for that very frame, so the result does not
    depend on how fast anything ran. Of a live source, they come with a later frame, as soon as the network has
    finished; only after a restart does the stream wait for them.

    Attributes
    ----------
    lookahead : frames that the stage may hold back until it knows what comes after them; 0 for a live source
    every_frame : whether each frame waits for the network to run on it, on live sources too
    """

    lookahead: int
    every_frame: bool

    def observe(self, frame: Frame, *, may_run: bool = True, restart: bool = False) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it.

        Parameters
        ----------
        frame : the next one
        may_run : False while the network is still busy with an earlier frame of a live source; then the answer is no
            keyframe
        restart : nothing about earlier frames holds: another image, a new size, a source that came back. The frame is
            then a keyframe. The first frame of a stream restarts as well
        """

    def update(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Advance to the frame of `motion`, and blend in the `fresh` outputs if there are any.

        Returns
        -------
        list of Outputs
            The outputs of all frames that are final now, oldest first. A stage with look-ahead gives none for some
            frames and several for others; every frame gets its outputs once.
        """

    def flush(self) -> list[Outputs]:
        """Return the outputs of the frames that are still held back: no frame will follow them."""


class EveryFrame:
    """Runs the network on every frame and returns its outputs unchanged: `--steady off`.

    Examples
    --------
    >>> import numpy as np
    >>> frame = Frame(np.zeros((4, 4, 3), np.uint8))
    >>> stage = EveryFrame()
    >>> stage.update(stage.observe(frame), Fresh(frame, {"ab": np.ones(1)}))
    [{'ab': array([1.])}]
    """

    lookahead = 0
    every_frame = True

    def observe(self, frame: Frame, *, may_run: bool = True, restart: bool = False) -> Motion:
        """Choose every frame."""
        del may_run
        return Motion(frame, keyframe=True, restart=restart)

    def update(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Return the outputs unchanged.

        Raises
        ------
        ValueError
            If there are none: the network runs on every frame here.
        """
        if fresh is None:
            raise ValueError(f"frame {motion.frame.index} has no outputs; the network runs on every frame here")
        return [fresh.outputs]

    def flush(self) -> list[Outputs]:
        """Return nothing: no frame is held back."""
        return []

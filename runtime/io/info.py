"""What every source of frames offers.

Owns the `Source` protocol, its facts and its states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..frame import Frame


class Signal(Enum):
    """Whether frames are coming."""

    GOOD = "good"
    NO_SIGNAL = "no_signal"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its first frame.

    Parameters
    ----------
    address : as given, without credentials
    live : frames come at their own time and are lost if nobody takes them
    independent : every frame is an image of its own, unrelated to the one before
    fps : frames a second; None for images and for sources that do not say
    count : number of frames, as far as the container says it; None if endless or unknown
    folders : folders that the source reads from; nothing may be written over them
    """

    address: str
    live: bool = False
    independent: bool = False
    fps: float | None = None
    count: int | None = None
    folders: tuple[str, ...] = ()


class Source(Protocol):
    """Frames, one after the other; iterated once, in one thread.

    Raises
    ------
    SourceNotFound
        On opening, if there is nothing to read.
    SignalLost
        While iterating, if frames stop before the end.
    """

    @property
    def info(self) -> SourceInfo:
        """What is known before the first frame."""

    @property
    def signal(self) -> Signal:
        """Whether frames are coming right now; may be read from any thread."""

    def __iter__(self) -> Iterator[Frame]:
        """Decode the frames in order. Their `index` counts every frame that was decoded."""

    def stop(self) -> None:
        """Ask the iteration to end soon; may be called from any thread."""

    def close(self) -> None:
        """Give the device or the file back; only when nobody iterates."""

"""What every source of frames offers.

Owns the `Source` protocol and its facts; the states are those of `live.signal`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from ..frame import Frame
from .live.signal import Signal

__all__ = ["Media", "Signal", "Source", "SourceInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Properties of a video, for writing another one from it.

    Parameters
    ----------
    time_base : unit of its time stamps in seconds
    sample_aspect : width of a pixel over its height
    target : name for FFmpeg, by which its sound can be read a second time; empty where it cannot (a pipe)
    options : of FFmpeg, for opening it
    start_ns : time stamp that is the zero of its frames' `time_ns`
    video_index : index of its video stream
    others : kinds of its other streams: ``audio``, ``subtitle``, …
    """

    time_base: Fraction
    sample_aspect: Fraction = Fraction(1)
    target: str = field(default="", repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)
    start_ns: int = 0
    video_index: int = 0
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Properties of a source before its first frame.

    Parameters
    ----------
    address : as given, without credentials
    live : frames come at the source's own rate and are lost if they are not read in time
    independent : every frame is an image of its own, unrelated to the one before
    fps : frames a second; None for images and where the source does not declare it
    count : number of frames, as the container declares it; None if endless or unknown
    folders : folders that the source reads from; nothing may be written over them
    media : of a video; None for images and cameras
    files : the images, where they are known before the first is read
    """

    address: str
    live: bool = False
    independent: bool = False
    fps: float | None = None
    count: int | None = None
    folders: tuple[str, ...] = ()
    media: Media | None = None
    files: tuple[str, ...] = field(default=(), repr=False)


class Source(Protocol):
    """Frames, one after the other; iterated once, in one thread.

    A source may have `notes`, lines of text that say what was done to the frames or what is missing, and
    `signal_log`, a `SignalLog` with the events behind its `signal`.

    Raises
    ------
    SourceNotFound
        On opening, if there is nothing to read.
    SignalLost
        While iterating, if frames stop before the end.
    """

    @property
    def info(self) -> SourceInfo:
        """Properties before the first frame."""

    @property
    def signal(self) -> Signal:
        """State right now; may be read from any thread."""

    def __iter__(self) -> Iterator[Frame]:
        """Decode the frames in order. Their `index` counts every frame that was decoded."""

    def stop(self) -> None:
        """Ask the iteration to end soon; may be called from any thread."""

    def close(self) -> None:
        """Close the device or the file; only after the iteration has ended."""

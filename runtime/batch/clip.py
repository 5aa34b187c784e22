"""The frames of a clip from any frame on, with the numbers and times that a run from the beginning gives them.

Owns `ClipFrames` and `FrameIndex`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..errors import SourceError
from ..frame import Frame
from ..io.decode import Decoder
from ..io.info import Source
from ..io.names import ffmpeg_name
from ..io.sources import open_source
from ..io.timeline import Timeline

_SECOND = 1_000_000_000
_SEEKABLE = ("mov,mp4", "matroska", "avi")  # containers with an index


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Where every frame of a clip is.

    Parameters
    ----------
    stamps : time stamp of every frame in the container's unit, growing
    keyframes : numbers of the frames that can be decoded without an earlier one, growing
    """

    stamps: tuple[int, ...]
    keyframes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.stamps)


class IndexMismatch(SourceError):
    """The frames that were decoded are not those that the index promises; the clip is then read from its start."""


def index_of(path: str) -> FrameIndex | None:
    """Read the index of a clip, without decoding; None for one that must be read from its beginning.

    Clips are read from their beginning if their container has no index, if a frame has no time stamp or two have the
    same, and if the time line has to be repaired on the way.
    """
    source = open_source(path)
    media, count = source.info.media, source.info.count
    source.close()
    if media is None or not media.target or not count:
        return None
    decoder = Decoder(media.target, path, options=media.options)
    try:
        facts = decoder.facts
        if not facts.container.startswith(_SEEKABLE) or facts.count is None:
            return None
        found = decoder.stamps()
        if len(found) != facts.count or any(stamp is None for stamp, _ in found):
            return None
        ordered = sorted((stamp, key) for stamp, key in found if stamp is not None)
        stamps = tuple(stamp for stamp, _ in ordered)
        if any(one == other for one, other in pairwise(stamps)) or not ordered[0][1]:
            return None
        times = Timeline(facts.start_ns, round(_SECOND / (facts.fps or 25.0)))
        if any(times.place(s, facts.time_base) != time_of(s, decoder) for s in stamps):
            return None
        return FrameIndex(stamps, tuple(number for number, (_, key) in enumerate(ordered) if key))
    finally:
        decoder.close()


def count_of(path: str) -> int:
    """Frames of a clip, as its container says; 0 where it does not."""
    source = open_source(path)
    source.close()
    return source.info.count or 0


def time_of(stamp: int, decoder: Decoder) -> int:
    """Time of a frame in nanoseconds from the clip's beginning."""
    facts = decoder.facts
    return round(stamp * facts.time_base * _SECOND) - facts.start_ns


class ClipFrames:
    """The frames of a clip, from one of them on.

    Parameters
    ----------
    path : of the clip
    start : number of the first frame; 0 reads as every run does
    index : of the clip; needed to begin later

    Attributes
    ----------
    seen : number after the last frame that was given

    Raises
    ------
    SourceError
        While iterating, if the clip is cut off or frames of it are broken.
    IndexMismatch
        While iterating, if the frames are not those of the index.
    """

    def __init__(self, path: str, start: int = 0, index: FrameIndex | None = None) -> None:
        self._path = path
        self._start = start
        self._index = index
        self.seen = start
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        """Decode to the end of the clip."""
        source = open_source(self._path)
        try:
            frames = iter(source) if self._index is None or self._start == 0 else self._later(source, self._index)
            for frame in frames:
                self.seen = frame.index + 1
                yield frame
            if self._index is not None and self.seen != len(self._index):
                raise IndexMismatch(
                    f"{self._path} holds other frames than its index", expected=len(self._index), found=self.seen
                )
        finally:
            self.notes = self.notes or list(getattr(source, "notes", ()))
            source.close()

    def _later(self, source: Source, index: FrameIndex) -> Iterator[Frame]:
        """Begin at a frame that is not the first: at the keyframe before it."""
        media = source.info.media
        assert media is not None  # or there were no index
        decoder = Decoder(media.target or ffmpeg_name(Path(self._path)), self._path, options=media.options)
        try:
            numbers = {time_of(stamp, decoder): number for number, stamp in enumerate(index.stamps)}
            first = max(key for key in index.keyframes if key <= self._start)
            decoder.seek(index.stamps[first])
            expected = None
            for decoded in decoder:
                number = numbers.get(decoded.time_ns)
                if number is None or (expected is not None and number != expected):
                    raise IndexMismatch(f"{self._path} has a frame that its index has not", found=decoded.time_ns)
                if expected is None and number > self._start:
                    raise IndexMismatch(f"{self._path} was opened too late", expected=self._start, found=number)
                expected = number + 1
                if number >= self._start:
                    image = decoded.planes if decoded.planes is not None else decoded.pixels
                    assert image is not None  # one of the two
                    yield Frame(image, number, decoded.taken_ns, source.info.address, decoded.time_ns)
                self.notes = list(decoder.notes)
                if any("interlaced" in note for note in self.notes):  # the filter remembers earlier frames
                    raise IndexMismatch(f"{self._path} is interlaced")
            if decoder.broken:
                raise SourceError(f"{decoder.broken} frames of {self._path} are broken and were left out")
        finally:
            decoder.close()

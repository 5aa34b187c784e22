"""Segments on the disk: what goes to the encoder, exactly as it goes there, until the clip is joined.

Owns `SegmentWriter`, `Segment` and `read_images`. A segment is whole when its description is there, which is written
last. The planes or pixels are stored as they are, one after the other: nothing is faster, and nothing changes them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError
from ..files import write_whole
from ..frame import Frame
from ..io.sinks.jsonl import JsonLinesSink
from ..io.sinks.sink import image_of, planes_of
from ..planes import ColorTags, Planes
from ..tasks.task import Image, Result
from .job import LINES


@dataclass(frozen=True, slots=True)
class Segment:
    """Description of a finished segment: frames ``start`` to ``end - 1`` of a clip.

    Parameters
    ----------
    start, end : of its frames; `end` is the first frame of the next segment
    last : whether the clip ends here
    first_hash : of the first frame as it was decoded
    next_hash : of frame `end`, as this segment's own decoder gave it; empty for the last one
    times_ns : of every frame
    parts : runs of images of one kind: shapes of their arrays, color tags of planes, and how many there are
    notes : what was done to the frames
    """

    start: int
    end: int
    last: bool
    first_hash: str
    next_hash: str
    times_ns: list[int]
    parts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def described(folder: Path, start: int) -> Path:
    """Path of the description of the segment that begins at a frame."""
    return folder / f"{start:08d}.json"


def stored(folder: Path, start: int) -> Segment | None:
    """Read the description of a segment, or None if it is not finished."""
    path = described(folder, start)
    return Segment(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def frame_hash(frame: Frame) -> str:
    """Hash of a frame as it was decoded."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays_of(frame.image):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class SegmentWriter:
    """Stores the results of one segment.

    Parameters
    ----------
    folder : of the clip's segments; made if it is not there
    start : first frame
    images : whether images are stored
    task : whose lines of JSON are stored; None stores none

    Raises
    ------
    SinkError
        If it cannot be written.
    """

    def __init__(self, folder: Path, start: int, *, images: bool, task: str | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._start = start
        self._images = images
        self._lines = None if task is None else JsonLinesSink(str(folder / f"{start:08d}{LINES}"), task)
        self._parts: list[dict[str, Any]] = []
        self._times_ns: list[int] = []
        self._file: BinaryIO | None = None

    def write(self, result: Result[Any]) -> None:
        """Append a result."""
        self._times_ns.append(result.frame.time_ns)
        if self._lines is not None:
            self._lines.write(result)
        if not self._images:
            return
        planes = planes_of(result)
        self._store(image_of(result) if planes is None else planes)

    def _store(self, image: Planes | NDArray[np.uint8]) -> None:
        """Append what the encoder would get."""
        arrays = arrays_of(image)
        tags = asdict(image.tags) if isinstance(image, Planes) else None
        facts = {"shapes": [list(array.shape) for array in arrays], "tags": tags}
        try:
            if self._file is None:
                self._file = (self._folder / f"{self._start:08d}.raw").open("wb")
            for array in arrays:
                self._file.write(np.ascontiguousarray(array).data)
        except OSError as error:
            raise self._failed(error) from error
        if self._parts and all(self._parts[-1][key] == value for key, value in facts.items()):
            self._parts[-1]["count"] += 1
        else:
            self._parts.append(facts | {"count": 1})

    def finish(self, end: int, *, last: bool, hashes: tuple[str, str], notes: list[str]) -> Segment:
        """Finish the files, then write the description.

        Parameters
        ----------
        end : first frame of the next segment
        last : whether the clip ends here
        hashes : of the first frame and of frame `end`
        notes : what was done to the frames

        Raises
        ------
        SinkError
            If it cannot be written.
        """
        try:
            if self._file is not None:
                self._file.close()
        except OSError as error:
            raise self._failed(error) from error
        if self._lines is not None:
            self._lines.close()
        found = Segment(self._start, end, last, *hashes, self._times_ns, self._parts, notes)
        write_whole(described(self._folder, self._start), json.dumps(asdict(found)).encode())
        return found

    def discard(self) -> None:
        """Close what is open; without a description the segment counts as not done."""
        if self._file is not None:
            self._file.close()
        if self._lines is not None:
            self._lines.discard()

    def _failed(self, error: OSError) -> SinkError:
        return SinkError(
            f"A segment cannot be written in {self._folder} ({error.strerror})", todo="Is the disk full?"
        )


def read_images(folder: Path, segment: Segment) -> Iterator[Result[Any]]:
    """Give the stored images of a segment back, as results that a sink can write.

    Raises
    ------
    SinkError
        If the stored file is shorter than its description.
    """
    if not segment.parts:
        return
    place = 0
    with (folder / f"{segment.start:08d}.raw").open("rb") as file:
        for part in segment.parts:
            shapes = [tuple(shape) for shape in part["shapes"]]
            for _ in range(part["count"]):
                arrays = [np.fromfile(file, np.uint8, math.prod(shape)) for shape in shapes]
                if any(array.size != math.prod(shape) for array, shape in zip(arrays, shapes, strict=True)):
                    raise SinkError(f"The segment {file.name} is damaged", expected=f"{len(segment.times_ns)} frames")
                image = image_from([a.reshape(shape) for a, shape in zip(arrays, shapes, strict=True)], part["tags"])
                at_ns = segment.times_ns[place]
                yield Result(Frame(image, segment.start + place, 0, time_ns=at_ns), Image(image))
                place += 1


def arrays_of(image: Planes | NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Arrays of an image: its planes, (H, W) each and smaller for chroma, or one of BGR, (H, W, 3)."""
    if not isinstance(image, Planes):
        return [image]
    return [plane for plane in (image.y, image.u, image.v) if plane is not None]


def image_from(arrays: list[NDArray[np.uint8]], tags: dict[str, Any] | None) -> Planes | NDArray[np.uint8]:
    """Make an image of its arrays, as `arrays_of` gives them: (H, W, 3) alone, or planes with color tags."""
    if tags is None:
        return arrays[0]
    y, u, v = (*arrays, None, None)[:3]
    assert y is not None
    return Planes(y, u, v, ColorTags(**tags))

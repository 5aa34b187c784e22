"""Selection of frames that represent a stream.

Owns the selection. Frames come from the runtime's own sources, in the runtime's own pixel order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from ..runtime.bundle.manifest import Manifest
from ..runtime.errors import CalibrationError
from ..runtime.frame import Frame
from ..runtime.io.sources import open_source

_Item = TypeVar("_Item")  # a frame, or several that belong together


def spread_frames(frames: Iterable[_Item], count: int, *, most: int = 10_000) -> list[_Item]:
    """Pick frames evenly from a stream whose length is unknown.

    Every `stride`-th frame is kept; when twice as many as wanted are kept, every other one is dropped and the stride
    doubles. Memory is bounded, and the same stream gives the same frames.

    Parameters
    ----------
    frames : a source, or any frames
    count : frames wanted; a shorter stream gives all it has
    most : frames read at most, so that a camera comes to an end

    Raises
    ------
    CalibrationError
        If `count` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> film = [Frame(np.zeros((2, 2, 3), np.uint8), index=i) for i in range(100)]
    >>> [frame.index for frame in spread_frames(film, 4)]
    [0, 32, 64, 96]
    """
    if count < 1:
        raise CalibrationError("At least one frame must be chosen", expected="count >= 1", found=count)
    kept: list[_Item] = []
    stride = 1
    for position, frame in enumerate(islice(frames, most)):
        if position % stride:
            continue
        kept.append(frame)
        if len(kept) == 2 * count:
            kept = kept[::2]
            stride *= 2
    if len(kept) <= count:
        return kept
    return [kept[round(i * (len(kept) - 1) / max(1, count - 1))] for i in range(count)]


def spread_takes(frames: Iterable[Frame], count: int, *, length: int = 4, most: int = 10_000) -> list[Frame]:
    """Pick sequences of `length` consecutive frames evenly from a stream, for networks with state.

    Parameters
    ----------
    frames : a source, or any frames
    count : frames wanted in all
    length : of a take
    most : frames read at most

    Raises
    ------
    CalibrationError
        If `count` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> film = [Frame(np.zeros((2, 2, 3), np.uint8), index=i) for i in range(100)]
    >>> [frame.index for frame in spread_takes(film, 6, length=3)]
    [0, 1, 2, 96, 97, 98]
    """
    stream = iter(frames)
    pieces = iter(lambda: list(islice(stream, length)), [])
    takes = spread_frames(pieces, -(-count // length), most=max(1, most // length))
    return [frame for take in takes for frame in take]


def frames_for(manifest: Manifest, address: str, count: int) -> list[Frame]:
    """Pick frames of a source for a bundle: takes where an output is fed back, else single frames.

    Raises
    ------
    SourceError
        If there is nothing to read at the address.
    CalibrationError
        If `count` is below 1.
    """
    source = open_source(address)
    try:
        return spread_takes(source, count) if manifest.state else spread_frames(source, count)
    finally:
        source.close()


def takes_of(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Group frames that follow each other in one source.

    A frame without a neighbour is there twice, as a camera shows it that stands still: so whoever remembers the
    frame before has one to remember.

    Examples
    --------
    >>> import numpy as np
    >>> film = [Frame(np.zeros((2, 2, 3), np.uint8), index=i) for i in (0, 1, 2, 7)]
    >>> [[frame.index for frame in take] for take in takes_of(film)]
    [[0, 1, 2], [7, 7]]
    """
    take: list[Frame] = []
    for frame in frames:
        last = take[-1] if take else frame
        follows = frame.index == last.index + 1 and frame.source == last.source
        if take and not (follows and frame.pixels.shape == last.pixels.shape):
            yield take if len(take) > 1 else take * 2
            take = []
        take.append(frame)
    if take:
        yield take if len(take) > 1 else take * 2

"""Choice of frames that stand for a stream.

Owns the selection. Frames come from the runtime's own sources, in the runtime's own pixel order.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from ..runtime.errors import CalibrationError
from ..runtime.frame import Frame


def spread_frames(frames: Iterable[Frame], count: int, *, most: int = 10_000) -> list[Frame]:
    """Pick frames that lie evenly over a stream whose length nobody knows beforehand.

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
    kept: list[Frame] = []
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

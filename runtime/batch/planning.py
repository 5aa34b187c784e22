"""Where a clip may be cut: at frames from which on its task remembers nothing of earlier ones.

Owns `Plan` and `plan_clip`. A plan is a guess that costs little: it decodes keyframes of the video, and more only
between two that differ. Who works on a segment proves each cut (`work`), so a wrong guess costs time, never a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..processor import Processor, Step
from .clip import ClipFrames, FrameIndex, count_of, index_of

_THUMBNAIL_WH = (64, 36)
_LIKE = 8.0  # mean difference of two thumbnails, in grey levels, below which no scene change is sought between them
_CUT = 12.0  # of two neighbouring frames, from which a change is looked at closely


@dataclass(frozen=True, slots=True)
class Plan:
    """How a clip is cut.

    Parameters
    ----------
    starts : first frames of the segments, growing; the first one is 0
    index : of the clip; None if it must be read from its beginning, in one segment
    count : frames of the clip, as its container says; 0 where that is not known
    """

    starts: tuple[int, ...] = (0,)
    index: FrameIndex | None = None
    count: int = 0


def plan_clip(
    path: str, processor: Callable[[], Processor], forgets: Callable[[Step], bool] | None, shortest: int
) -> Plan:  # fmt: skip
    """Find where a clip may be cut.

    Parameters
    ----------
    path : of the clip
    processor : opens one for the job's task and stage
    forgets : whether nothing of earlier frames matters from a prepared frame on; None for tasks that never forget
    shortest : least frames of a segment

    Raises
    ------
    SourceError
        If the clip cannot be read.
    """
    index, count = index_of(path), count_of(path)
    if index is None or forgets is None or len(index) < 2 * shortest:
        return Plan(index=index, count=count)
    if _forgets_always(processor, forgets):
        return Plan(_spaced(index, shortest), index, count)
    starts = [0]
    for low, high in _changing(path, index):
        if len(index) - starts[-1] < 2 * shortest:
            break
        if high - starts[-1] >= shortest:
            for frame in _scene_changes(path, index, (max(low, starts[-1] + shortest), high), (processor, forgets)):
                if frame - starts[-1] >= shortest and len(index) - frame >= shortest:
                    starts.append(frame)
    return Plan(tuple(starts), index, count)


def _spaced(index: FrameIndex, shortest: int) -> tuple[int, ...]:
    """Cut a clip where any frame will do: at keyframes, which are cheap to begin at, or else in the middle."""
    starts = [0]
    while len(index) - starts[-1] >= 2 * shortest:
        low, high = starts[-1] + shortest, min(starts[-1] + 2 * shortest, len(index) - shortest)
        starts.append(next((key for key in index.keyframes if low <= key <= high), low))
    return tuple(starts)


def _forgets_always(open_processor: Callable[[], Processor], forgets: Callable[[Step], bool]) -> bool:
    """Whether a task forgets even where nothing changes: then every frame is worked on by itself."""
    still = np.full((96, 96, 3), 127, np.uint8)
    with open_processor() as processor:
        processor.prepare(Frame(still, 0))
        return forgets(processor.prepare(Frame(still, 1)))


def _changing(path: str, index: FrameIndex) -> Iterator[tuple[int, int]]:
    """Pairs of neighbouring keyframes (the last frame counts as one) whose images differ."""
    places = (*index.keyframes, len(index) - 1) if index.keyframes[-1] != len(index) - 1 else index.keyframes
    last: tuple[int, NDArray[np.uint8]] | None = None
    for place in places:
        thumbnail = _thumbnail(next(iter(ClipFrames(path, place, index))))
        if last is not None and float(cv2.absdiff(last[1], thumbnail).mean()) > _LIKE:
            yield last[0], place
        last = place, thumbnail


def _scene_changes(
    path: str,
    index: FrameIndex,
    bounds: tuple[int, int],
    task: tuple[Callable[[], Processor], Callable[[Step], bool]],
) -> Iterator[int]:
    """Give the frames within `bounds`, both included, where the task forgets."""
    open_processor, forgets = task
    low, high = max(0, bounds[0] - 1), bounds[1]
    earlier: Frame | None = None
    for frame in islice(ClipFrames(path, low, index), high - low + 1):
        if earlier is not None:
            difference = float(cv2.absdiff(_thumbnail(earlier), _thumbnail(frame)).mean())
            if difference > _CUT:
                with open_processor() as processor:
                    processor.prepare(earlier)
                    if forgets(processor.prepare(frame)):
                        yield frame.index
        earlier = frame


def _thumbnail(frame: Frame) -> NDArray[np.uint8]:
    """Reduce a frame's luma, (36, 64) uint8."""
    return np.asarray(cv2.resize(frame.luma, _THUMBNAIL_WH, interpolation=cv2.INTER_AREA), np.uint8)

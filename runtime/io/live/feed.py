"""One connection to a live source.

Owns the `Feed` protocol and `Taken`, one frame of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...planes import Planes
from ..info import Media


@dataclass(frozen=True, slots=True)
class Taken:
    """One frame of a feed.

    Parameters
    ----------
    image : planes, or (H, W, 3) uint8 BGR
    captured_ns : when it was captured, on the monotonic clock
    """

    image: Planes | NDArray[np.uint8]
    captured_ns: int

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self.image, Planes):
            return self.image.size_wh
        return self.image.shape[1], self.image.shape[0]


class Feed(Protocol):
    """One connection to a live source; its iteration ends, or raises a `SourceError`, when nothing comes any more.

    A feed is opened, iterated and closed in one thread. It may have `cancel`, which any thread may call: it wakes the
    thread that waits for a frame. It may have `notes`, as a source has.

    Attributes
    ----------
    frozen_frames : byte-identical frames in a row that no working camera of this kind delivers
    """

    frozen_frames: int

    @property
    def fps(self) -> float | None:
        """Frames a second, as far as it is known."""

    @property
    def media(self) -> Media | None:
        """What the stream says of itself."""

    def __iter__(self) -> Iterator[Taken]:
        """Take the frames as they come."""

    def close(self) -> None:
        """Hang up."""

"""One image on its way through the runtime, and the facts that travel with it.

Owns `Frame`. Imports numpy, OpenCV and the error tree only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import ShapeMismatch


@dataclass(frozen=True, slots=True)
class Frame:
    """An image, and when and where it was taken.

    Parameters
    ----------
    pixels : (H, W, 3) uint8, BGR (OpenCV's order, here and in every graph's input)
    index : position in the source; a gap is a drop
    captured_ns : capture time in nanoseconds on the monotonic clock; the age of a result counts from here. Now, if it
        is not given
    source : address of the source, or path of the image
    time_ns : position on the source's own time line in nanoseconds; time steps are taken from here, because a file
        is decoded faster than it was filmed. `captured_ns`, if it is not given, as for live sources
    independent : an image of its own: no later frame shows this scene, so all that is sought in it is sought now, and
        nothing is remembered of earlier frames
    wall_ns : capture time in nanoseconds on the UNIX clock. Now, if it is not given

    Raises
    ------
    ShapeMismatch
        If `pixels` is not an (H, W, 3) uint8 array with at least one pixel.

    Examples
    --------
    >>> Frame(np.zeros((480, 640, 3), np.uint8)).size_wh
    (640, 480)
    """

    pixels: NDArray[np.uint8]
    index: int = 0
    captured_ns: int = field(default_factory=time.monotonic_ns)
    source: str = ""
    time_ns: int = -1
    independent: bool = False
    wall_ns: int = field(default_factory=time.time_ns)
    _luma: NDArray[np.uint8] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pixels = self.pixels
        found = f"{getattr(pixels, 'shape', type(pixels).__name__)} {getattr(pixels, 'dtype', '')}".strip()
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            raise ShapeMismatch("A frame holds 8-bit pixels", expected="(H, W, 3) uint8 BGR", found=found)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
            raise ShapeMismatch("A frame holds color pixels", expected="(H, W, 3) uint8 BGR", found=found)
        if self.time_ns < 0:
            object.__setattr__(self, "time_ns", self.captured_ns)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def luma(self) -> NDArray[np.uint8]:
        """BT.601 luma, (H, W) uint8, read-only; converted once, because several stages look at it."""
        luma = self._luma
        if luma is None:
            luma = np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_BGR2GRAY), np.uint8)
            luma.flags.writeable = False
            object.__setattr__(self, "_luma", luma)  # two threads at once would only convert twice
        return luma

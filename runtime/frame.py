"""One image in the runtime, with its time stamps and source.

Owns `Frame`. Imports numpy, OpenCV, the planes and the error tree only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import ShapeMismatch
from .planes import Planes


@dataclass(frozen=True, slots=True)
class Frame:
    """An image, and when and where it was taken.

    Parameters
    ----------
    image : (H, W, 3) uint8, BGR (OpenCV's order, here and in every graph's input), or the planes of a decoder
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
        If `image` is neither planes nor an (H, W, 3) uint8 array with at least one pixel.

    Examples
    --------
    >>> Frame(np.zeros((480, 640, 3), np.uint8)).size_wh
    (640, 480)
    """

    image: NDArray[np.uint8] | Planes
    index: int = 0
    captured_ns: int = field(default_factory=time.monotonic_ns)
    source: str = ""
    time_ns: int = -1
    independent: bool = False
    wall_ns: int = field(default_factory=time.time_ns)
    _pixels: NDArray[np.uint8] | None = field(default=None, init=False, repr=False, compare=False)
    _luma: NDArray[np.uint8] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.time_ns < 0:
            object.__setattr__(self, "time_ns", self.captured_ns)
        image = self.image
        if isinstance(image, Planes):
            return
        found = f"{getattr(image, 'shape', type(image).__name__)} {getattr(image, 'dtype', '')}".strip()
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            raise ShapeMismatch("A frame holds 8-bit pixels", expected="(H, W, 3) uint8 BGR", found=found)
        if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ShapeMismatch("A frame holds color pixels", expected="(H, W, 3) uint8 BGR", found=found)

    @property
    def planes(self) -> Planes | None:
        """The decoder's own planes, or None for an image that came as BGR."""
        return self.image if isinstance(self.image, Planes) else None

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self.image, Planes):
            return self.image.size_wh
        return self.image.shape[1], self.image.shape[0]

    @property
    def num_bytes(self) -> int:
        """Memory of the image as it was given, in bytes."""
        image = self.image
        if not isinstance(image, Planes):
            return int(image.nbytes)
        return sum(plane.nbytes for plane in (image.y, image.u, image.v) if plane is not None)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """BGR, (H, W, 3) uint8, read-only where it was made from planes, which happens at first use."""
        if not isinstance(self.image, Planes):
            return self.image
        pixels = self._pixels
        if pixels is None:
            pixels = self.image.to_bgr()
            pixels.flags.writeable = False
            object.__setattr__(self, "_pixels", pixels)  # two threads at once would only convert twice
        return pixels

    def drawable(self) -> NDArray[np.uint8]:
        """BGR to draw on, (H, W, 3) uint8: a new array, made of the planes unless somebody asked for `pixels`."""
        if isinstance(self.image, Planes) and self._pixels is None:
            return self.image.to_bgr()
        return np.array(self.pixels)

    @property
    def luma(self) -> NDArray[np.uint8]:
        """Luma, (H, W) uint8, read-only: the decoder's own Y plane, in the range it has there, or BT.601 of BGR."""
        luma = self._luma
        if luma is None:
            if isinstance(self.image, Planes):
                luma = self.image.y.view()
            else:
                luma = np.asarray(cv2.cvtColor(self.image, cv2.COLOR_BGR2GRAY), np.uint8)
            luma.flags.writeable = False
            object.__setattr__(self, "_luma", luma)
        return luma

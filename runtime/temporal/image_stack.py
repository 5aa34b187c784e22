"""Several earlier images that one motion path leads back to.

Owns `ImageStack`. Knows where its images lie in memory, not what they show.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch
from ..motion.flow import positions, sample
from .motion_path import MotionPath, rims_of

MOST = 12  # images; who needs more begins again with what is shown now
_RIM = 3  # rows of border that are repeated around each, so that cubic weights never reach the next one


class ImageStack:
    """Images of one size, one below the other, so that a frame made of parts of all of them is read at once.

    Parameters
    ----------
    first : image number 0, (h, w) or (h, w, C), uint8 or float32; it is not changed

    Examples
    --------
    >>> stack = ImageStack(np.zeros((4, 6), np.uint8))
    >>> stack.add(np.full((4, 6), 9, np.uint8))
    1
    """

    def __init__(self, first: NDArray[Any]) -> None:
        self._first = first
        self._rows: NDArray[Any] | None = None  # of all images with their borders; made for the second one
        self.count = 1

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self._first.shape[0], self._first.shape[1]

    @property
    def full(self) -> bool:
        """Whether there is no room for another image."""
        return self.count >= MOST

    def add(self, image: NDArray[Any]) -> int:
        """Add an image, (h, w) or (h, w, C) like the first, and give its number.

        Raises
        ------
        ShapeMismatch
            If it has another shape or type than the first.
        """
        first = self._first
        if image.shape != first.shape or image.dtype != first.dtype:
            found, expected = f"{image.shape} {image.dtype}", f"{first.shape} {first.dtype}"
            raise ShapeMismatch("The images of a stack are alike", expected=expected, found=found)
        if self._rows is None:
            high = first.shape[0] + 2 * _RIM
            self._rows = np.empty((MOST * high, *first.shape[1:]), first.dtype)
            self._put(0, first)
        self._put(self.count, image)
        self.count += 1
        return self.count - 1

    def _put(self, number: int, image: NDArray[Any]) -> None:
        assert self._rows is not None
        high = image.shape[0] + 2 * _RIM
        place = self._rows[number * high : (number + 1) * high]
        place[_RIM:-_RIM] = image
        place[:_RIM], place[-_RIM:] = image[:1], image[-1:]

    def read(self, path: MotionPath, *, cubic: bool = True) -> NDArray[Any]:
        """Read the current frame, (h, w) or (h, w, C), from where a path leads, with cubic or bilinear weights."""
        first = self._first
        if path.flow is None:
            return first
        height, width = first.shape[:2]
        at = positions(path.flow.scaled((width, height)))
        if path.source is None or self._rows is None:
            return sample(first, at, cubic=cubic)
        _lead_rims(at, path)
        numbers = cv2.resize(path.source, (width, height), interpolation=cv2.INTER_NEAREST)
        rows = at[..., 1]
        np.clip(rows, 0, height - 1, out=rows)
        rows += numbers * np.float32(height + 2 * _RIM) + np.float32(_RIM)
        return sample(self._rows, at, cubic=cubic)


def _lead_rims(at: NDArray[np.float32], path: MotionPath) -> None:
    """Correct positions, (H, W, 2), in place where two images meet: between their ways a mean leads nowhere."""
    assert path.flow is not None and path.source is not None
    height, width = at.shape[:2]
    wide, high = path.flow.size_wh
    rims = cv2.resize(rims_of(path.source).view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    y, x = np.nonzero(rims)
    own = path.flow.vectors[y * high // height, x * wide // width]
    at[y, x, 0] = x + own[:, 0] * np.float32(width / wide)
    at[y, x, 1] = y + own[:, 1] * np.float32(height / high)

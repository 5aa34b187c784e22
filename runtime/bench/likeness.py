"""How much what is shown looks like the network's own result, where things move.

Owns `local_correlation`, `moving_mask`, `sharpness` and `Likeness`. E_warp judges only where a flow is reliable; a
moving thing that was propagated wrongly is not reliable, and so melts unseen by it. These look exactly there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch

_WINDOW = 11  # pixels
_FLOOR = 4.0  # grey levels squared: below this variance a window is flat, and two flat windows are alike
_FRAMES = 4  # over which a pixel may have changed
_CHANGE = 10.0  # grey levels, of a 5x5 mean, that count as a change
_GROWN = 9  # pixels by which the changed area is grown


def local_correlation(
    one: NDArray[np.uint8], other: NDArray[np.uint8], window: int = _WINDOW
) -> NDArray[np.float32]:  # fmt: skip
    """Correlate two images in a window around every pixel.

    Parameters
    ----------
    one, other : (H, W) uint8, luma
    window : side of the window in pixels

    Returns
    -------
    (H, W) float32 in -1..1
        1 where both are the same but for brightness and contrast, or both are flat.

    Raises
    ------
    ShapeMismatch
        If their sizes differ.

    References
    ----------
    Normalized cross-correlation; the floor under the variances is ours.

    Examples
    --------
    >>> ramp = np.tile(np.arange(40, dtype=np.uint8), (40, 1))
    >>> float(local_correlation(ramp, ramp // 2 + 9)[20, 20]) > 0.9
    True
    """
    if one.shape != other.shape:
        raise ShapeMismatch("The images differ in size", expected=one.shape, found=other.shape)
    first, second = one.astype(np.float32), other.astype(np.float32)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(values, (window, window), borderType=cv2.BORDER_REFLECT_101), np.float32)

    mean_1, mean_2 = mean(first), mean(second)
    variance_1 = np.maximum(mean(first * first) - mean_1 * mean_1, 0)
    variance_2 = np.maximum(mean(second * second) - mean_2 * mean_2, 0)
    covariance = mean(first * second) - mean_1 * mean_2
    return np.asarray((covariance + _FLOOR) / (np.sqrt(variance_1 * variance_2) + _FLOOR), np.float32)


def moving_mask(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Tell which pixels of the last frame changed within the frames before it, and their surroundings.

    Parameters
    ----------
    frames : (H, W) uint8 luma of the input, oldest first, one or more

    Returns
    -------
    (H, W) bool
        True where a 5x5 mean differs by more than 10 grey levels from any of the earlier ones, grown by 9 pixels.
    """
    means = [cv2.blur(frame.astype(np.float32), (5, 5)) for frame in frames]
    changed = np.zeros(frames[-1].shape, np.uint8)
    for earlier in means[:-1]:
        changed |= (np.abs(means[-1] - earlier) > _CHANGE).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _GROWN + 1, 2 * _GROWN + 1))
    return np.asarray(cv2.dilate(changed, kernel) > 0, np.bool_)


def sharpness(image: NDArray[np.uint8]) -> float:
    """Give the standard deviation of the Laplacian of a luma, (H, W) uint8, in grey levels."""
    return float(cv2.Laplacian(image, cv2.CV_32F, ksize=3).std())


@dataclass(slots=True)
class Likeness:
    """Likeness and sharpness of one mode beside the network on every frame; one entry a frame in which things move.

    Parameters
    ----------
    likeness : mean local correlation with `off` over the moving pixels of a frame
    sharpness : of the whole image over that of `off`
    """

    likeness: list[float] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    _inputs: deque[NDArray[np.uint8]] = field(default_factory=lambda: deque(maxlen=_FRAMES + 1), repr=False)

    def add(
        self, frame: NDArray[np.uint8], shown: NDArray[np.uint8], off: NDArray[np.uint8]
    ) -> None:  # fmt: skip
        """Take in the next frame.

        Parameters
        ----------
        frame : (H, W) uint8, luma of the input
        shown : (H, W, 3) uint8 BGR, what the mode shows
        off : (H, W, 3) uint8 BGR, what the network alone gives
        """
        self._inputs.append(np.array(frame))
        ours, theirs = (np.asarray(cv2.cvtColor(each, cv2.COLOR_BGR2GRAY), np.uint8) for each in (shown, off))
        plain = sharpness(theirs)
        if plain > 0:
            self.sharpness.append(sharpness(ours) / plain)
        moving = moving_mask(list(self._inputs))
        if moving.mean() > 0.001:
            self.likeness.append(float(local_correlation(ours, theirs)[moving].mean()))

    @property
    def mean(self) -> float:
        """Mean likeness over the frames in which things move; NaN if there are none."""
        return float(np.mean(self.likeness)) if self.likeness else float("nan")

    @property
    def p5(self) -> float:
        """5th percentile of the likeness over the frames: the worst moments."""
        return float(np.percentile(self.likeness, 5)) if self.likeness else float("nan")

    @property
    def mean_sharpness(self) -> float:
        """Mean sharpness over that of `off`."""
        return float(np.mean(self.sharpness)) if self.sharpness else float("nan")

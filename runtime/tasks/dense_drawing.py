"""How segmentations and depth maps are drawn over a frame.

Owns `Palette` and `draw_depth`. Pure functions over arrays; knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..frame import Frame

_OPACITY = 0.55  # of classes over the frame
_BITS = 5  # of each channel, by which a blended color finds its class
_GOLDEN = 0.618  # of a turn from hue to hue: neighbors differ, however many classes there are


class Palette:
    """The colors of classes, and the way back from a color to its class.

    A segmentation is propagated as an image of these colors: a color between two is the class it is nearer to.

    Parameters
    ----------
    classes : names, one a class
    colors : (R, G, B) of each, 0 to 255; empty makes colors, black for the first class

    Raises
    ------
    BundleError
        If there is not one color for each class, or they are out of range.

    Examples
    --------
    >>> palette = Palette(["nothing", "person"], [(0, 0, 0), (255, 0, 0)])
    >>> palette.labels(np.array([[[10, 0, 240]]], np.uint8)).tolist()
    [[1]]
    """

    def __init__(self, classes: Sequence[str], colors: Sequence[Sequence[int]] = ()) -> None:
        self.classes = tuple(classes)
        if not colors:
            colors = _colors(len(self.classes))
        table = np.array(colors)
        fits = table.shape == (len(self.classes), 3) and table.size and table.min() >= 0 and table.max() <= 255
        if not fits:
            raise BundleError(
                "The palette does not fit the classes",
                expected=f"{len(self.classes)} colors of three figures 0 to 255",
                found=f"{len(colors)} colors",
            )
        self.bgr = np.ascontiguousarray(table[:, ::-1], np.uint8)
        levels = (np.arange(2**_BITS) + 0.5) * 2 ** (8 - _BITS)
        grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 1, 3)
        far = np.square(grid - self.bgr[None].astype(np.float64)).sum(-1)  # (32768, classes)
        self._nearest = far.argmin(1).astype(np.uint8 if len(self.classes) <= 256 else np.uint16)

    def image(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Color labels, (h, w), as (h, w, 3) uint8 BGR; a label beyond the classes is the last one."""
        colors: NDArray[np.uint8] = self.bgr[np.minimum(labels, len(self.bgr) - 1)]
        return colors

    def labels(self, image: NDArray[np.uint8]) -> NDArray[np.integer]:
        """Find the class of each color, (h, w, 3) uint8 BGR: (h, w)."""
        cells = image >> (8 - _BITS)
        index = (
            (cells[..., 0].astype(np.int32) << 2 * _BITS) | (cells[..., 1].astype(np.int32) << _BITS) | cells[..., 2]
        )
        found: NDArray[np.integer] = self._nearest[index]
        return found

    def draw(self, frame: Frame, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lay colored classes, (h, w, 3) uint8 BGR, over a frame: (H, W, 3). Black lets it through."""
        large = cv2.resize(image, frame.size_wh, interpolation=cv2.INTER_LINEAR)
        shown = large.max(2) > 0
        mixed = cv2.addWeighted(frame.pixels, 1 - _OPACITY, large, _OPACITY, 0)
        return np.where(shown[..., None], mixed, frame.pixels)


def draw_depth(frame: Frame, depth: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Color a depth map, (h, w), from `low` to `high`, at the size of a frame: (H, W, 3) uint8 BGR."""
    scale = 255 / max(high - low, 1e-12)
    grey = np.clip((np.nan_to_num(depth, nan=low) - low) * scale, 0, 255).astype(np.uint8)
    large = cv2.resize(grey, frame.size_wh, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.applyColorMap(large, cv2.COLORMAP_INFERNO), np.uint8)


def _colors(count: int) -> list[tuple[int, int, int]]:
    """Make colors, (R, G, B), that differ: black, then hues a golden section apart, light and dark in turns."""
    colors = [(0, 0, 0)]
    for number in range(1, count):
        pixel = np.array([[[round(180 * (number * _GOLDEN % 1)), 200, 255 - 70 * (number % 3)]]], np.uint8)
        blue, green, red = (int(v) for v in cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0])
        colors.append((red, green, blue))
    return colors[:count]

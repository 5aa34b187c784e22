"""Where what is propagated does not look like the frame any more, and must be painted anew.

Owns `Repaint`, the check that finds it, and the tiles that cover it. A flow says of itself that it is reliable; the
input says whether it is right: earlier input is propagated along the very path that carries the result, and compared
with the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..motion.flow import Flow, positions

_WINDOW = 9  # pixels of the flow's image
_SOLID = 5  # pixels of the flow's image
_RIM = 2.0  # pixels of the flow's image beyond the border, over which repeating the border is not seen
_CELL = 4  # pixels of the flow's image; tiles are laid on cells, which are 16 times fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class RepaintOptions:
    """When a place counts as unlike.

    Parameters
    ----------
    correlation : local correlation below which a textured place is unlike
    texture : variance, in grey levels squared, from which a place is textured
    difference : change of the local mean, in grey levels, from which any place is unlike
    grow : pixels of the flow's image by which unlike places are grown
    blend : pixels of the flow's image over which the new paint comes in
    tile : side of a tile, which the network paints as one image of a batch, in pixels of the flow's image
    margin : of a tile, on every side: the network looks at it, and what it paints there is not shown
    most : share of the image that the tiles may cover; beyond, the whole frame is a keyframe instead, which costs
        little more and sets the path back to nothing
    alarm : share of the image that may be unlike in a live stream, where nothing is painted anew between keyframes;
        beyond, the frame is a keyframe
    """

    correlation: float = 0.75
    texture: float = 100.0
    difference: float = 10.0
    grow: int = 5
    blend: int = 4
    tile: int = 48
    margin: int = 8
    most: float = 0.6
    alarm: float = 0.01

    def __post_init__(self) -> None:
        shares = 0 < self.correlation <= 1 and 0 < self.most <= 1 and 0 <= self.alarm <= 1
        sides = self.grow >= 0 and self.margin >= 0 and 2 * self.margin + _CELL <= self.tile
        if not (shares and sides and self.difference > 0):
            expected = (
                "correlation, most and alarm in 0..1, difference above 0, grow 0 or more, a tile beyond its margins"
            )
            raise UsageError("The options of repainting are out of range", expected=expected, found=self)


@dataclass(frozen=True, slots=True)
class Repaint:
    """Places of a frame that the network paints anew.

    Parameters
    ----------
    weight : (h, w) float32 in 0..1 at the flow's size, 1 where the new paint is shown
    tiles : (N, 2) int64, x and y of the upper left corner, in pixels of `weight`; all that is above 0 is inside of
        the margin of one, or at the border of the image
    side, margin : of every tile, in pixels of `weight`
    number : of the image that the new paint becomes a part of, among those that the path leads to; 0 where all that
        is shown becomes the only one
    """

    weight: NDArray[np.float32]
    tiles: NDArray[np.int64]
    side: int
    margin: int
    number: int = 0

    @property
    def share(self) -> float:
        """Share of the image that is painted anew, 0 to 1."""
        return float(self.weight.mean())

    @property
    def cost(self) -> float:
        """Share of the image that the network looks at for it, 0 to 1 and above where tiles overlap."""
        height, width = self.weight.shape
        pixels = len(self.tiles) * min(self.side, int(height)) * min(self.side, int(width))
        return pixels / float(width * height)


def unlike(
    flow: Flow, propagated: NDArray[np.uint8], current: NDArray[np.uint8], options: RepaintOptions
) -> NDArray[np.bool_]:
    """Tell where propagated input does not look like the frame.

    Parameters
    ----------
    flow : where each pixel comes from
    propagated, current : (h, w) uint8, reduced luma along that flow and of the frame, at the flow's size

    Returns
    -------
    (h, w) bool

    References
    ----------
    Ours. Normalized cross-correlation in 9x9 windows where there is texture, the local mean elsewhere.
    """
    first, second = current.astype(np.float32), propagated.astype(np.float32)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(values, (_WINDOW, _WINDOW)), np.float32)

    mean_1, mean_2 = mean(first), mean(second)
    variance_1 = np.maximum(mean(first * first) - mean_1 * mean_1, 0)
    variance_2 = np.maximum(mean(second * second) - mean_2 * mean_2, 0)
    covariance = mean(first * second) - mean_1 * mean_2
    correlation = covariance / np.sqrt(np.maximum(variance_1 * variance_2, 1.0))
    textured = np.maximum(variance_1, variance_2) > options.texture
    found = (correlation < options.correlation) & textured
    found |= np.abs(mean_1 - mean_2) > options.difference
    height, width = current.shape
    beyond = cv2.inRange(positions(flow), (-_RIM, -_RIM), (width - 1 + _RIM, height - 1 + _RIM)) == 0
    # What is wrong fills a window; single pixels and lines are noise, and would each take a tile.
    solid = cv2.medianBlur(found.astype(np.uint8), _SOLID) > 0
    return np.asarray(solid | beyond, np.bool_)


def repaint_of(found: NDArray[np.bool_], options: RepaintOptions, *, number: int = 0) -> Repaint | None:
    """Grow unlike places, (h, w) bool, soften their rim, and cover them with tiles; None if there are none."""
    if not found.any():
        return None
    mask = found.astype(np.uint8)
    if options.grow:
        side = 2 * options.grow + 1
        mask = np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))), np.uint8)
    side = 2 * options.blend + 1
    weight = np.asarray(cv2.blur(mask.astype(np.float32), (side, side)), np.float32)
    tiles = _tiles((weight > 0).astype(np.uint8), options.tile, options.margin)
    return Repaint(weight, tiles, options.tile, options.margin, number)


def _tiles(mask: NDArray[np.uint8], side: int, margin: int) -> NDArray[np.int64]:
    """Cover a mask, (h, w) 0 or 1, with tiles of one size, (N, 2), each around what it covers."""
    height, width = mask.shape
    down, right = -height % _CELL, -width % _CELL
    whole = cv2.copyMakeBorder(mask, 0, down, 0, right, cv2.BORDER_CONSTANT, value=0) if down or right else mask
    left = whole.reshape((height + down) // _CELL, _CELL, -1, _CELL).max(axis=(1, 3)) > 0  # what is not yet covered
    cells = (side - 2 * margin) // _CELL
    corners = []
    while left.any():
        top = int(left.any(1).argmax())
        start = int(left[top : top + cells].any(0).argmax())
        top += int(left[top : top + cells, start : start + cells].any(1).argmax())
        inside = left[top : top + cells, start : start + cells]
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        x = (start + (columns[0] + columns[-1] + 1) / 2) * _CELL - side / 2
        y = (top + (rows[0] + rows[-1] + 1) / 2) * _CELL - side / 2
        corners.append((max(0, min(int(x), width - side)), max(0, min(int(y), height - side))))
        inside[:] = False
    return np.array(corners, np.int64).reshape(-1, 2)

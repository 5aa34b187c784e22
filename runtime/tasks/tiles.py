"""Tiles of a frame that a network paints as one batch, and how their paint is laid side by side.

Pure functions over arrays; knows no network.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..temporal.repaint import Repaint

Window = tuple[slice, slice]  # rows and columns


def tile_windows(repaint: Repaint, size_hw: tuple[int, ...], multiple: int) -> tuple[list[Window], int]:
    """Scale the tiles of a repaint to a frame.

    Parameters
    ----------
    repaint : its tiles lie in pixels of its own weight
    size_hw : height and width of the frame
    multiple : pixels; corners and sides become multiples of it

    Returns
    -------
    rows and columns of each tile, all of one size, and the width of their margin in pixels
    """
    height, width = size_hw
    ratio_y, ratio_x = height / repaint.weight.shape[0], width / repaint.weight.shape[1]
    side = -(-round(repaint.side * max(ratio_x, ratio_y)) // multiple) * multiple
    high, wide = min(side, height), min(side, width)
    windows = []
    for x, y in repaint.tiles.tolist():
        top = min(round(y * ratio_y / multiple) * multiple, height - high)
        left = min(round(x * ratio_x / multiple) * multiple, width - wide)
        windows.append((slice(top, top + high), slice(left, left + wide)))
    return windows, round(repaint.margin * min(ratio_x, ratio_y))


def lay_tile(image: NDArray[np.uint8], tile: NDArray[np.uint8], window: Window, margin: int) -> None:
    """Lay a tile, (h, w, 3) uint8, into an image, (H, W, 3), in place; over its margin it comes in gradually.

    So where two tiles meet, no seam shows. At the border of the image a tile has no margin.
    """
    rows, columns = window
    share = np.outer(_ramp(rows, image.shape[0], margin), _ramp(columns, image.shape[1], margin))
    beneath = np.ascontiguousarray(image[rows, columns])
    image[rows, columns] = cv2.blendLinear(beneath, tile, 1 - share, share)


def _ramp(span: slice, length: int, margin: int) -> NDArray[np.float32]:
    """Share of a tile along one side: 1, less over the margin, but not at the border of the image."""
    at = np.arange(span.start, span.stop, dtype=np.float32)
    share = np.ones(len(at), np.float32)
    if span.start > 0:
        share = np.minimum(share, (at - span.start + 1) / (margin + 1))
    if span.stop < length:
        share = np.minimum(share, (span.stop - at) / (margin + 1))
    return share

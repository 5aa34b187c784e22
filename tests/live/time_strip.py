"""Reads the time that `rtsp_server.py` and `mjpeg_server.py` write into their frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 48


def time_ms_of(luma: NDArray[np.uint8]) -> int:
    """UNIX time in milliseconds that is written along the upper edge of a frame, (H, W) luma."""
    height, width = luma.shape
    block, rows = width // BITS, max(8, height // 24)
    centers = luma[rows // 4 : 3 * rows // 4, block // 2 : block * BITS : block].mean(axis=0)
    return sum(1 << bit for bit in range(BITS) if centers[bit] > 128)


def write_time(pixels: NDArray[np.uint8], milliseconds: int) -> None:
    """Write a time into an (H, W, 3) frame, as `time_ms_of` reads it."""
    height, width = pixels.shape[:2]
    block, rows = width // BITS, max(8, height // 24)
    for bit in range(BITS):
        pixels[:rows, bit * block : (bit + 1) * block] = 235 if milliseconds >> bit & 1 else 16

"""A synthetic test image with known motion.

Owns `TestPattern`: for trying a pipeline without a camera, and for tests that need to know where everything is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from ...frame import Frame
from ..address import size_option, split_options, whole_number
from ..info import Signal, SourceInfo
from .descriptor import SourceDescriptor

_OPTIONS = ("size", "fps", "frames")
# The eight color bars of a television test card: every corner of BGR, from light to dark.
_BARS = np.array([(blue, green, red) for green in (255, 0) for red in (255, 0) for blue in (255, 0)], np.uint8)
_STEP_PX = 2  # the ground moves this far to the right a frame


class TestPattern:
    """Color bars that move 2 px to the right a frame, a disc that crosses them, and the frame's number.

    Parameters
    ----------
    address : ``test://?size=640x480&fps=30&frames=300``; ``frames=0`` never ends
    """

    __test__ = False  # for pytest, which takes every Test… for a test

    notes = ()

    def __init__(self, address: str) -> None:
        options = split_options(address, _OPTIONS)
        self._size_wh = size_option(options, (640, 480))
        fps = whole_number(options, "fps", 30, low=1, high=1000)
        count = whole_number(options, "frames", 300)
        self._stopped = False
        self.signal = Signal.LIVE
        self.info = SourceInfo(address=address, fps=float(fps), count=count or None)
        width, height = self._size_wh
        bar_of_column = np.arange(width) * len(_BARS) // width
        self._ground = np.ascontiguousarray(np.broadcast_to(_BARS[bar_of_column], (height, width, 3)))

    def __iter__(self) -> Iterator[Frame]:
        """Draw one frame after the other, as fast as they are taken."""
        index = 0
        while not self._stopped and index != self.info.count:
            started_ns = time.monotonic_ns()
            time_ns = round(index * 1e9 / (self.info.fps or 30.0))
            yield Frame(self.draw(index), index, started_ns, self.info.address, time_ns, independent=False)
            index += 1
        self.signal = Signal.ENDED

    def draw(self, index: int) -> NDArray[np.uint8]:
        """Draw a frame, (H, W, 3) BGR."""
        width, height = self._size_wh
        pixels = np.roll(self._ground, index * _STEP_PX, axis=1)
        radius = max(1, min(width, height) // 8)
        phase = (index * 3) % (2 * max(1, width))
        centre = (phase if phase < width else 2 * width - phase, height // 2)
        cv2.circle(pixels, centre, radius, (128, 128, 128), -1, cv2.LINE_AA)
        corner, grey = (8, height - 8), (64, 64, 64)
        cv2.putText(pixels, str(index), corner, cv2.FONT_HERSHEY_SIMPLEX, height / 480, grey, 2, cv2.LINE_AA)
        return pixels

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held open."""


def open_pattern(address: str, *, sequence: bool = False) -> TestPattern:
    """Open the source."""
    del sequence  # it is one anyway
    return TestPattern(address)


descriptor = SourceDescriptor(open=open_pattern)

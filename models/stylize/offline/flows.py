"""How any two frames of a video lie to each other: flow, and where to trust it.

Owns the flow at full size for the optimization, measured here or read from `.flo` files. Images are numpy here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ....runtime.errors import ShapeMismatch, SourceNotFound
from ....runtime.motion.flow import Flow
from ....runtime.motion.masks import reliable, reliable_smooth
from ....runtime.motion.warp import warp

_FLO_MAGIC = 202021.25
MEAN_BGR = np.array((103.939, 116.779, 123.68), np.float32)  # of ImageNet, in grey levels: what unknown pixels get


@dataclass(slots=True)
class Motion:
    """Flows and masks between frames, measured when they are asked for.

    Parameters
    ----------
    frames : (H, W, 3) uint8 BGR each
    folder : of `flow_<from>_<to>.flo` files (Middlebury format, frame numbers from 0) to use instead of measuring
    smooth : the released code's soft masks instead of the paper's binary ones
    """

    frames: Sequence[NDArray[np.uint8]]
    folder: Path | None = None
    smooth: bool = True
    _kept: dict[tuple[int, int], NDArray[np.float32]] = field(default_factory=dict)

    def vectors(self, here: int, there: int) -> NDArray[np.float32]:
        """Where each pixel of frame `here` is in frame `there`: (H, W, 2) float32 pixels."""
        if (here, there) not in self._kept:
            while len(self._kept) > 16:
                self._kept.pop(next(iter(self._kept)))
            self._kept[here, there] = self._read(here, there) if self.folder else self._measure(here, there)
        return self._kept[here, there]

    def propagate(self, image: NDArray[np.float32], source: int, target: int) -> NDArray[np.float32]:
        """Warp an image (H, W, 3) of frame `source` to frame `target`; pixels from outside get the mean color."""
        warped = warp(image, Flow(self.vectors(target, source)))
        pixels = np.asarray(warped.pixels, np.float32).copy()
        pixels[~warped.valid] = MEAN_BGR / 255
        return pixels

    def mask(self, source: int, target: int) -> NDArray[np.float32]:
        """Where in frame `target` the warp from `source` may be trusted, (H, W) float32 in 0..1.

        References
        ----------
        Ruder et al. 2016, equations 5 and 6.
        """
        flow = Flow(self.vectors(target, source))
        opposite = Flow(self.vectors(source, target), forward=True)
        if self.smooth:
            return reliable_smooth(flow, opposite)
        return reliable(flow, opposite).astype(np.float32)

    def _measure(self, here: int, there: int) -> NDArray[np.float32]:
        grey = [cv2.cvtColor(self.frames[index], cv2.COLOR_BGR2GRAY) for index in (here, there)]
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        dis.setFinestScale(0)  # full resolution: time does not matter here
        return np.asarray(dis.calc(grey[0], grey[1], None), np.float32)

    def _read(self, here: int, there: int) -> NDArray[np.float32]:
        assert self.folder is not None
        vectors = read_flo(self.folder / f"flow_{here}_{there}.flo")
        if vectors.shape[:2] != self.frames[here].shape[:2]:
            expected, found = self.frames[here].shape[:2], vectors.shape[:2]
            raise ShapeMismatch("A flow file does not fit the frames", expected=expected, found=found)
        return vectors


def read_flo(path: Path) -> NDArray[np.float32]:
    """Read a Middlebury `.flo` file: (H, W, 2) float32.

    Raises
    ------
    SourceNotFound
        If it is missing or is no flow file.
    """
    content = path.read_bytes() if path.is_file() else b""
    if len(content) < 12 or np.frombuffer(content[:4], "<f4")[0] != np.float32(_FLO_MAGIC):
        raise SourceNotFound(f"{path} is missing or is no .flo file", expected="Middlebury format")
    width, height = (int(side) for side in np.frombuffer(content[4:12], "<i4"))
    if len(content) != 12 + 8 * width * height:
        raise SourceNotFound(f"{path} is cut off", expected=12 + 8 * width * height, found=len(content))
    return np.frombuffer(content[12:], "<f4").reshape(height, width, 2).astype(np.float32)

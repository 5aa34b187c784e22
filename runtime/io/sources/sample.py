"""A moving camera over real photographs, without a camera.

Owns `SampleCamera`. The photographs come inside scikit-image's wheel (extra `[demo]`); nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import SourceNotFound
from ...frame import Frame
from ...image_file import read_image
from ..address import size_option, split_options, whole_number
from ..info import Signal, SourceInfo
from .descriptor import SourceDescriptor

# The color photographs in the wheel that are in the public domain or CC0, as scikit-image documents them: coffee
# (Rachel Michetti), a NASA astronaut, a cat (Stefan van der Walt), a rocket (SpaceX). With each, how far across and
# down the view stands when it shows its subject.
_PHOTOS = {
    "coffee.png": (0.5, 0.5),
    "astronaut.png": (0.5, 0.1),
    "chelsea.png": (0.5, 0.5),
    "rocket.jpg": (0.4, 0.6),
}
_OPTIONS = ("size", "fps", "frames", "seed")
_SHOT_FRAMES = 75  # 2.5 s a photograph, then a hard cut
_SHAKE_PX = 1.2  # of the output, about what two hands do to a phone
_WIDEST, _CLOSEST = 0.95, 0.70  # part of the photograph in view at either end of a zoom
_STRAY = 0.3  # how far the view strays from the subject, as a part of its room to move
# Photographs are enlarged once to this many times the output's size, so that linear sampling stays sharp and quick.
_OVERSIZE = 1.4


class SampleCamera:
    """Pan and zoom smoothly over photographs, with a little hand shake, and cut from one to the next.

    The same address always gives the same pixels.

    Parameters
    ----------
    address : ``sample://?size=640x480&fps=30&frames=300&seed=0``; ``frames=0`` never ends

    Raises
    ------
    SourceNotFound
        If scikit-image is not installed.
    """

    notes = ()

    def __init__(self, address: str) -> None:
        options = split_options(address, _OPTIONS)
        self._size_wh = size_option(options, (640, 480))
        self._seed = whole_number(options, "seed", 0)
        fps = whole_number(options, "fps", 30, low=1, high=1000)
        count = whole_number(options, "frames", 300)
        self._photos = [(_enlarge(read_image(path), self._size_wh), _PHOTOS[path.name]) for path in _photo_paths()]
        self._stopped = False
        self.signal = Signal.LIVE
        self.info = SourceInfo(address=address, fps=float(fps), count=count or None)

    def __iter__(self) -> Iterator[Frame]:
        """Film one frame after the other, as fast as they are taken."""
        index = 0
        while not self._stopped and index != self.info.count:
            started_ns = time.monotonic_ns()
            time_ns = round(index * 1e9 / (self.info.fps or 30.0))
            yield Frame(self.film(index), index, started_ns, self.info.address, time_ns, independent=False)
            index += 1
        self.signal = Signal.ENDED

    def film(self, index: int) -> NDArray[np.uint8]:
        """Take the frame of an index, (H, W, 3) BGR."""
        shot, position = divmod(index, _SHOT_FRAMES)
        photo, subject = self._photos[shot % len(self._photos)]
        across, down, view = self._path(shot, position / _SHOT_FRAMES, subject)
        width, height = self._size_wh
        # Photograph pixels an output pixel, such that the view always fits inside.
        scale = view * min(photo.shape[1] / width, photo.shape[0] / height)
        shake_x, shake_y, tilt = self._shake(index)
        left = across * (photo.shape[1] - scale * width) + scale * shake_x
        top = down * (photo.shape[0] - scale * height) + scale * shake_y
        cosine, sine = scale * math.cos(tilt), scale * math.sin(tilt)
        # cv2 wants, for every output pixel, where it lies in the photograph.
        to_photo = np.array(((cosine, -sine, left), (sine, cosine, top)), np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        filmed = cv2.warpAffine(photo, to_photo, self._size_wh, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(filmed, np.uint8)

    def _path(self, shot: int, time_share: float, subject: tuple[float, float]) -> tuple[float, float, float]:
        """Where the view stands, 0..1 across and down, and which part of the photograph it takes in."""
        draw = np.random.default_rng((self._seed, shot))
        start, end = (np.clip(subject + draw.uniform(-_STRAY, _STRAY, 2), 0.0, 1.0) for _ in range(2))
        views = (_WIDEST, _CLOSEST) if draw.random() < 0.5 else (_CLOSEST, _WIDEST)
        eased = time_share * time_share * (3 - 2 * time_share)  # slow at both ends, as a hand on a tripod
        across, down = start + (end - start) * eased
        return float(across), float(down), views[0] + (views[1] - views[0]) * eased

    def _shake(self, index: int) -> tuple[float, float, float]:
        """Hand shake: two slow waves an axis, in output pixels, and a tilt in radians."""
        draw = np.random.default_rng((self._seed, 1 << 20))
        seconds = index / (self.info.fps or 30.0)
        phases, rates = draw.uniform(0, 2 * math.pi, 6), draw.uniform(0.7, 3.1, 6)
        waves = np.sin(2 * math.pi * rates * seconds + phases)
        pixels = _SHAKE_PX * self._size_wh[0] / 640
        return float(waves[0] + 0.5 * waves[1]) * pixels, float(waves[2] + 0.5 * waves[3]) * pixels, 0.003 * waves[4]

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held open."""


def _enlarge(photo: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a photograph so that the widest view has a little more pixels than the output."""
    height, width = photo.shape[:2]
    factor = _OVERSIZE / min(width / size_wh[0], height / size_wh[1])
    kernel = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(photo, None, fx=factor, fy=factor, interpolation=kernel), np.uint8)


def _photo_paths() -> list[Path]:
    """Paths of the photographs, found without importing scikit-image."""
    todo = "pip install 'steadyframe[demo]'"
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise SourceNotFound("sample:// shows photographs of scikit-image, which is not installed", todo=todo)
    folder = Path(next(iter(found.submodule_search_locations))) / "data"
    paths = [folder / name for name in _PHOTOS]
    present = [path for path in paths if path.is_file()]
    if not present:
        raise SourceNotFound(f"This scikit-image has no photographs in {folder}", expected=list(_PHOTOS), todo=todo)
    return present


def open_sample(address: str, *, sequence: bool = False) -> SampleCamera:
    """Open the source."""
    del sequence  # it is one anyway
    return SampleCamera(address)


descriptor = SourceDescriptor(open=open_sample)

"""Notices a camera that delivers the same image for ever.

Owns `Stillness`. Imports numpy and the planes only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...planes import Planes
from .feed import Taken

_LOOK = 16  # every so many pixels are compared first; only where they are equal, all of them are


class Stillness:
    """Counts byte-identical frames. A sensor's noise changes every frame, so a working camera never repeats one.

    Examples
    --------
    >>> still, image = Stillness(), np.zeros((32, 32, 3), np.uint8)
    >>> [still.count(Taken(image, 0)), still.count(Taken(image.copy(), 1)), still.count(Taken(image + 1, 2))]
    [1, 2, 1]
    """

    def __init__(self) -> None:
        self._last: Taken | None = None
        self._look: NDArray[np.uint8] | None = None
        self._count = 0

    def count(self, taken: Taken) -> int:
        """Count the frames in a row, this one included, that are equal byte for byte."""
        look = _first_plane(taken)[::_LOOK, ::_LOOK].copy()
        equal = self._look is not None and np.array_equal(look, self._look) and self._same(taken)
        self._count = self._count + 1 if equal else 1
        if not equal:
            self._last, self._look = taken, look
        return self._count

    def _same(self, taken: Taken) -> bool:
        """Compare every byte of every plane."""
        last = self._last
        if last is None:
            return False
        mine, others = _planes(taken), _planes(last)
        return len(mine) == len(others) and all(map(np.array_equal, mine, others))


def _planes(taken: Taken) -> list[NDArray[np.uint8]]:
    image = taken.image
    if isinstance(image, Planes):
        return [plane for plane in (image.y, image.u, image.v) if plane is not None]
    return [image]


def _first_plane(taken: Taken) -> NDArray[np.uint8]:
    return taken.image.y if isinstance(taken.image, Planes) else taken.image[..., 1]

"""Test cards: frames from whose pixels orientation, color, order and loss can be read.

Every card has four colored corners (red, green / blue, white) on a moving gradient, and eight black or white blocks
along its lower edge, between the corners, that spell the number of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]
Pixels = NDArray[np.uint8]

CORNERS: tuple[Rgb, ...] = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
BITS = 8


@dataclass(frozen=True)
class Layout:
    """Where the parts of a card of one size lie."""

    width: int
    height: int

    @property
    def side(self) -> int:
        """Edge of a corner patch in pixels; even, so that chroma blocks do not cross it."""
        return max(1, min(self.width, self.height) // 5 // 2 * 2)

    @property
    def block(self) -> int:
        """Width of one block of the number."""
        return max(1, (self.width - 2 * self.side) // BITS // 2 * 2)

    def corner(self, place: int) -> tuple[slice, slice]:
        """Rows and columns of a corner: upper left, upper right, lower left, lower right."""
        down, across = divmod(place, 2)
        top = down * (self.height - self.side)
        left = across * (self.width - self.side)
        return slice(top, top + self.side), slice(left, left + self.side)

    def bit(self, place: int) -> tuple[slice, slice]:
        """Rows and columns of one block, the highest bit first."""
        left = self.side + place * self.block
        return slice(self.height - self.side, self.height), slice(left, left + self.block)


def card(width: int, height: int, number: int = 0) -> Pixels:
    """Draw a card, (H, W, 3) uint8 RGB."""
    layout = Layout(width, height)
    across = (np.arange(width)[None, :] + 3 * number) * (512 / max(width, 2))
    ramp = np.abs((across % 510) - 255) * 0.6 + 40  # a triangle wave: no edge where it begins anew
    down = np.linspace(40, 200, height)[:, None]
    image = np.stack(np.broadcast_arrays(ramp, down, (ramp + down) / 2), axis=2).astype(np.uint8)
    for place, color in enumerate(CORNERS):
        image[layout.corner(place)] = color
    for place in range(BITS):
        image[layout.bit(place)] = 255 * (number >> (BITS - 1 - place) & 1)
    return image


def number_of(bgr: Pixels) -> int:
    """Read the number of a card from BGR pixels."""
    layout = Layout(bgr.shape[1], bgr.shape[0])
    number = 0
    for place in range(BITS):
        number = number << 1 | int(_middle(bgr[layout.bit(place)]).mean() > 127)
    return number


def corners_of(bgr: Pixels) -> list[Rgb]:
    """Mean RGB of the four corners of BGR pixels."""
    layout = Layout(bgr.shape[1], bgr.shape[0])
    patches = [_middle(bgr[layout.corner(place)]) for place in range(len(CORNERS))]
    return [tuple(round(float(mean)) for mean in patch.reshape(-1, 3).mean(0)[::-1]) for patch in patches]


def _middle(patch: Pixels) -> Pixels:
    """Leave out the rim, which compression blurs."""
    rows, columns = patch.shape[0] // 4, patch.shape[1] // 4
    return patch[rows : patch.shape[0] - rows, columns : patch.shape[1] - columns]


def is_upright(bgr: Pixels, within: int = 12) -> bool:
    """Whether every corner has its color, to within some levels."""
    return worst_corner(bgr) <= within


def worst_corner(bgr: Pixels) -> int:
    """Largest error of a corner's color in levels."""
    return max(
        abs(found - wanted)
        for corner, color in zip(corners_of(bgr), CORNERS, strict=True)
        for found, wanted in zip(corner, color, strict=True)
    )

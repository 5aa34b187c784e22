"""Measures of colorized photos that a grey or a sepia colorizer cannot pass.

Owns what is measured on one photo and how a set of photos is summed up, with intervals. Knows no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
WHITE_LIGHTNESS, WHITE_CHROMA = 80.0, 5.0  # CIELAB; a true white is at least as light and at most as colored
ORANGE_DEGREES = (30.0, 80.0)  # hue angle of a*, b*: from red-brown over orange to ocher
_BOOTSTRAP = 1000
_ROUNDING = 0.25  # squared CIELAB units that 8-bit pixels cost even an exactly grey photo


@dataclass(frozen=True, slots=True)
class PhotoFigures:
    """Sums over the pixels of one photo and its colorized version; CIELAB units.

    Parameters
    ----------
    error, grey : mean squared ab distance to the truth of the colorized photo, and of an always-grey one
    colorfulness, true_colorfulness : Hasler-Suesstrunk M3
    white_chroma, whites : sum of the chroma over true whites, and their number as a share of the photo
    orange, chroma : sum of the chroma of orange-brown pixels, and of all, in the colorized photo
    true_orange, true_chroma : the same in the truth
    """

    error: float
    grey: float
    colorfulness: float
    true_colorfulness: float
    white_chroma: float
    whites: float
    orange: float
    chroma: float
    true_orange: float
    true_chroma: float


def compare_photos(colorized: Pixels, truth: Pixels) -> PhotoFigures:
    """Measure one photo.

    Parameters
    ----------
    colorized, truth : (H, W, 3) uint8 BGR of one size
    """
    found, wanted = lab(colorized), lab(truth)
    chroma, true_chroma = (np.linalg.norm(image[..., 1:], axis=-1) for image in (found, wanted))
    white = (wanted[..., 0] >= WHITE_LIGHTNESS) & (true_chroma <= WHITE_CHROMA)
    return PhotoFigures(
        error=float(np.square(found[..., 1:] - wanted[..., 1:]).sum(-1).mean()),
        grey=float(np.square(true_chroma).mean()),
        colorfulness=colorfulness(colorized),
        true_colorfulness=colorfulness(truth),
        white_chroma=float(chroma[white].sum()) / white.size,
        whites=float(white.mean()),
        orange=float(chroma[_is_orange(found)].sum()) / white.size,
        chroma=float(chroma.mean()),
        true_orange=float(true_chroma[_is_orange(wanted)].sum()) / white.size,
        true_chroma=float(true_chroma.mean()),
    )


def measure_photos(truths: Sequence[Pixels], colorize: Callable[[Pixels], Pixels]) -> list[PhotoFigures]:
    """Measure a colorizer on photos, (H, W, 3) uint8 BGR each."""
    return [compare_photos(colorize(truth), truth) for truth in truths]


def summarize(figures: Sequence[PhotoFigures]) -> dict[str, float]:
    """Sum up a set of photos.

    Returns
    -------
    dict
        `mse_to_grey`, squared ab error over that of always-grey, over all pixels; `worse_than_grey`, share of photos
        whose error exceeds grey's; `colorfulness`, mean over the truth's mean; `white_chroma`, mean chroma on true
        whites; `orange_share`, share of all chroma that is orange to brown, and `true_orange_share`
    """
    table = {name: np.array([getattr(f, name) for f in figures]) for name in PhotoFigures.__slots__}
    return _summary(table, slice(None))


def intervals(figures: Sequence[PhotoFigures], *, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % intervals of `summarize`, by drawing photos with replacement 1,000 times."""
    table = {name: np.array([getattr(f, name) for f in figures]) for name in PhotoFigures.__slots__}
    random = np.random.default_rng(seed)
    drawn = [_summary(table, random.integers(0, len(figures), len(figures))) for _ in range(_BOOTSTRAP)]
    bounds = {name: np.percentile([row[name] for row in drawn], (2.5, 97.5)) for name in drawn[0]}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def lab(pixels: Pixels) -> NDArray[np.float32]:
    """CIELAB of an image, (H, W, 3) float32."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_BGR2LAB), np.float32)


def colorfulness(pixels: Pixels) -> float:
    """Measure the colorfulness of an image, (H, W, 3) uint8 BGR.

    References
    ----------
    Hasler and Suesstrunk 2003, metric M3.
    """
    blue, green, red = (pixels[..., i].astype(np.float64) for i in range(3))
    red_green, yellow_blue = red - green, 0.5 * (red + green) - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def _is_orange(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    angle = np.degrees(np.arctan2(image[..., 2], image[..., 1]))
    low, high = ORANGE_DEGREES
    return np.asarray((angle >= low) & (angle <= high))


def _summary(table: Mapping[str, NDArray[np.float64]], rows: slice | NDArray[np.int64]) -> dict[str, float]:
    total = {name: float(values[rows].sum()) for name, values in table.items()}
    tiny = 1e-12  # a set without any white or color gives 0, not an error
    return {
        "mse_to_grey": total["error"] / max(total["grey"], tiny),
        "worse_than_grey": float((table["error"][rows] > table["grey"][rows] + _ROUNDING).mean()),
        "colorfulness": total["colorfulness"] / max(total["true_colorfulness"], tiny),
        "white_chroma": total["white_chroma"] / max(total["whites"], tiny),
        "orange_share": total["orange"] / max(total["chroma"], tiny),
        "true_orange_share": total["true_orange"] / max(total["true_chroma"], tiny),
    }

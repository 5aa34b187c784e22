"""What a stylized image keeps of its teacher's: edges, contrast, and no weave of its own.

Owns measures on single images. Steadiness from frame to frame is measured elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
_TILE = 64  # pixels; a pattern of 4 pixels lies at a sixteenth of them
_PERIOD = 4  # of the network's last sub-pixel planes


@dataclass(frozen=True, slots=True)
class Likeness:
    """A stylized image beside its teacher's.

    Parameters
    ----------
    edges : energy of the gradient of luma over the teacher's; blurred by 1.5 pixels, so that a weave is no edge
    contrast : standard deviation of luma over the teacher's
    weave : `weave_peak` over the teacher's; 1 is no weave of its own
    """

    edges: float
    contrast: float
    weave: float


def compare_styled(styled: Pixels, taught: Pixels) -> Likeness:
    """Measure one image, (H, W, 3) uint8 BGR like the teacher's, of at least 64 x 64 pixels."""
    ours, theirs = (_luma(image) for image in (styled, taught))
    return Likeness(
        edges=_edge_energy(ours) / max(_edge_energy(theirs), 1e-6),
        contrast=float(ours.std()) / max(float(theirs.std()), 1e-6),
        weave=weave_peak(styled) / weave_peak(taught),
    )


def weave_peak(image: Pixels) -> float:
    """How far the spectrum stands out at a period of 4 pixels, across and down; about 1 without a weave.

    Parameters
    ----------
    image : (H, W, 3) uint8 BGR, at least 64 x 64 pixels

    Returns
    -------
    float
        Median over tiles of 64 pixels of the power at that frequency over its mean at the neighboring frequencies;
        the larger one of both directions
    """
    luma = _luma(image)
    window = np.hanning(_TILE)[:, None] * np.hanning(_TILE)
    at = _TILE // _PERIOD
    near = [at - 4, at - 3, at + 3, at + 4]  # the window spreads a line over two neighbors on either side
    peaks = []
    for top in range(0, luma.shape[0] - _TILE + 1, _TILE):
        for left in range(0, luma.shape[1] - _TILE + 1, _TILE):
            tile = luma[top : top + _TILE, left : left + _TILE]
            power = np.abs(np.fft.rfft2((tile - tile.mean()) * window)) ** 2
            rows = power[[at, -at], :3].sum(), power[[*near, *(-n for n in near)], :3].sum() / len(near)
            columns = power[:3, at].sum(), power[:3, near].sum() / len(near)
            peaks.append([(line + 1e-3) / (rest + 1e-3) for line, rest in (rows, columns)])
    return float(np.median(peaks, axis=0).max())


def _edge_energy(luma: NDArray[np.float32]) -> float:
    smooth = cv2.GaussianBlur(luma, (0, 0), 1.5)
    return float(np.mean([np.square(cv2.Sobel(smooth, cv2.CV_32F, *axis)).mean() for axis in ((1, 0), (0, 1))]))


def _luma(image: Pixels) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.float32)

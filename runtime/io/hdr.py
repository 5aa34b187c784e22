"""High dynamic range shown on a screen of BT.709.

Owns the transfer curves of BT.2100 and the tone curve. Pure functions over numpy arrays.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18  # transfer codes of ITU-T H.273
_REFERENCE_WHITE_NITS = 203.0  # ITU-R BT.2408
_PEAK_NITS = 1000.0
# Linear BT.2020 to linear BT.709, in BGR order (ITU-R BT.2087).
_TO_709_BGR = np.array(
    ((1.1187, -0.1006, -0.0182), (-0.0083, 1.1329, -0.1246), (-0.0728, -0.5876, 1.6605)), np.float32
)
_DISPLAY_GAMMA = 2.4


def is_hdr(transfer: int) -> bool:
    """Whether frames of this transfer are too bright for a usual screen."""
    return transfer in (PQ, HLG)


def to_sdr(bgr16: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Show an HDR frame on a BT.709 screen.

    Parameters
    ----------
    bgr16 : (H, W, 3) uint16, full range, BT.2020 primaries, in the signal of `transfer`
    transfer : 16 PQ, 18 HLG

    Returns
    -------
    (H, W, 3) uint8 BGR

    References
    ----------
    HLG is shown as a usual screen shows it, which it was made for (ITU-R BT.2100, note on compatibility); PQ goes
    from nits to parts of reference white (ITU-R BT.2408) with an extended Reinhard curve that ends at 1000 nits.
    """
    linear = _linear_of(transfer)[bgr16 >> 6]
    narrow = np.clip(cv2.transform(linear, _TO_709_BGR), 0, 1)
    return np.asarray(_encoded()[np.rint(narrow * 4095).astype(np.uint16)], np.uint8)


@lru_cache(maxsize=2)
def _linear_of(transfer: int) -> NDArray[np.float32]:
    """Light, 0..1, of 1024 steps of signal."""
    signal = np.arange(1024) / 1023
    if transfer != PQ:
        return (signal**_DISPLAY_GAMMA).astype(np.float32)
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = signal ** (1 / m2)
    nits = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    light = nits / _REFERENCE_WHITE_NITS
    peak = _PEAK_NITS / _REFERENCE_WHITE_NITS
    return np.clip(light * (1 + light / peak**2) / (1 + light), 0, 1).astype(np.float32)


@lru_cache(maxsize=1)
def _encoded() -> NDArray[np.uint8]:
    """Grey level of 4096 steps of light."""
    return np.rint(255 * (np.arange(4096) / 4095) ** (1 / _DISPLAY_GAMMA)).astype(np.uint8)

"""Flicker of a video, and its distance to another one.

Owns the warping error in both its usual forms, PSNR, and CIEDE2000. Pure functions over arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch
from ..motion.flow import Flow, shrinking_kernel
from ..motion.warp import warp_pixels


class WarpingError(NamedTuple):
    """Mean squared change along the motion between two frames.

    Parameters
    ----------
    masked : over the reliable pixels only (NaN if there are none)
    all_pixels : unreliable pixels count as no change, and in the denominator
    """

    masked: float
    all_pixels: float


def warping_error(
    here: NDArray[np.float32], there: NDArray[np.float32], flow: Flow, reliable: NDArray[np.bool_]
) -> WarpingError:
    """Measure the flicker between two neighbouring frames.

    Parameters
    ----------
    here, there : (h, w, C) float32 in 0..1, of any one size; brought to the flow's size
    flow : (H, W) sampling flow from `here` to `there`; for E_warp, measured on the *input* video from frame t to
        t + 1, and so passed as the backward flow of a video that runs the other way
    reliable : (H, W) bool, the flow's mask

    Returns
    -------
    WarpingError
        Squared differences averaged over pixels and channels.

    Raises
    ------
    ShapeMismatch
        If the frames, or the flow and the mask, differ in size.

    References
    ----------
    `masked`: Lai et al. 2018, E_warp as in the released evaluation; `all_pixels`: Ruder et al. 2018, released
    evaluation.
    """
    if here.shape != there.shape or reliable.shape != flow.vectors.shape[:2]:
        expected, found = (here.shape, flow.vectors.shape[:2]), (there.shape, reliable.shape)
        raise ShapeMismatch("Frames, or flow and mask, differ in size", expected=expected, found=found)
    size_wh, own_wh = flow.size_wh, (here.shape[1], here.shape[0])
    if own_wh != size_wh:
        kernel = shrinking_kernel(own_wh, size_wh)
        here, there = (
            np.asarray(cv2.resize(each, size_wh, interpolation=kernel), np.float32) for each in (here, there)
        )
    pixels = reliable.size
    change = (here - warp_pixels(there, flow)).reshape(pixels, -1)
    total = float((change * change).sum(axis=1, dtype=np.float64) @ reliable.reshape(pixels))
    channels, known = change.shape[1], int(reliable.sum())
    masked = total / (known * channels) if known else float("nan")
    return WarpingError(masked, total / (pixels * channels))


def psnr(found: NDArray[Any], expected: NDArray[Any], peak: float = 255.0) -> float:
    """Compute the peak signal-to-noise ratio in dB of two arrays of one shape, any shape; infinite if they are equal.

    Raises
    ------
    ShapeMismatch
        If their shapes differ.
    """
    if found.shape != expected.shape:
        raise ShapeMismatch("Images differ in size", expected=expected.shape, found=found.shape)
    difference = found.astype(np.float32) - expected.astype(np.float32)
    error = float(np.mean(difference * difference, dtype=np.float64))
    return float("inf") if error == 0 else 10 * float(np.log10(peak * peak / error))


def delta_e_2000(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Perceived color difference of every pixel, CIEDE2000.

    Parameters
    ----------
    found, expected : (H, W, 3) uint8 BGR (sRGB, D65)

    Returns
    -------
    (H, W) float32; 1 is about the smallest difference one can see side by side

    Raises
    ------
    ShapeMismatch
        If the images differ in size.
    """
    if found.shape != expected.shape:
        raise ShapeMismatch("Images differ in size", expected=expected.shape, found=found.shape)
    lab = [
        np.asarray(cv2.cvtColor(each.astype(np.float32) / 255, cv2.COLOR_BGR2LAB), np.float32)
        for each in (found, expected)
    ]
    return delta_e_2000_lab(lab[0], lab[1])


def delta_e_2000_lab(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """CIEDE2000 of CIELAB colors, (..., 3) each.

    References
    ----------
    Sharma, Wu, Dalal 2005, "The CIEDE2000 Color-Difference Formula", equations 2-22; tested on its table 1.
    """
    l_1, a_1, b_1 = np.moveaxis(np.asarray(first, np.float64), -1, 0)
    l_2, a_2, b_2 = np.moveaxis(np.asarray(second, np.float64), -1, 0)
    mean_chroma7 = ((np.hypot(a_1, b_1) + np.hypot(a_2, b_2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma7 / (mean_chroma7 + 25.0**7))
    chroma_1, chroma_2 = np.hypot(a_1 * stretch, b_1), np.hypot(a_2 * stretch, b_2)
    hue_1, hue_2 = (np.mod(np.arctan2(b, a * stretch), 2 * np.pi) for a, b in ((a_1, b_1), (a_2, b_2)))
    grey = chroma_1 * chroma_2 == 0  # a grey has no hue, and so no hue difference

    turn = hue_2 - hue_1
    turn = np.where(grey, 0, turn - 2 * np.pi * np.sign(turn) * (np.abs(turn) > np.pi))
    d_l, d_chroma = l_2 - l_1, chroma_2 - chroma_1
    d_hue = 2 * np.sqrt(chroma_1 * chroma_2) * np.sin(turn / 2)

    l_mean, chroma = (l_1 + l_2) / 2, (chroma_1 + chroma_2) / 2
    hue = np.where(grey, hue_1 + hue_2, hue_1 + turn / 2)
    degree = np.pi / 180
    t = (
        1
        - 0.17 * np.cos(hue - 30 * degree)
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + 6 * degree)
        - 0.20 * np.cos(4 * hue - 63 * degree)
    )
    l_offset = (l_mean - 50) ** 2
    s_l = 1 + 0.015 * l_offset / np.sqrt(20 + l_offset)
    s_chroma, s_hue = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    chroma7 = chroma**7
    blue = 30 * degree * np.exp(-(((np.mod(hue, 2 * np.pi) / degree - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(chroma7 / (chroma7 + 25.0**7)) * np.sin(2 * blue)
    lightness, purity, tint = d_l / s_l, d_chroma / s_chroma, d_hue / s_hue
    squared = lightness**2 + purity**2 + tint**2 + rotation * purity * tint
    return np.asarray(np.sqrt(np.maximum(squared, 0)), np.float32)

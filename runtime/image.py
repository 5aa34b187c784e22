"""Resizes and color arithmetic, written once for training, calibration, parity and run.

Owns every resize that happens outside a graph, and the luma-preserving composition of predicted chroma. Pure
functions over numpy arrays; imports cv2 only.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .bundle.manifest import Preprocess
from .errors import ShapeMismatch
from .planes import ColorTags, Planes, stretched

OUTSIDE = 128  # grey level that networks see beyond the border of an image

_LAST_REDUCTION = 1.5  # what is left to the kernel itself after a whole factor
NEUTRAL = 128.0  # Cr and Cb of grey
_OFFSETS = np.array([[0, 1.773], [-0.714, -0.344], [1.403, 0]], np.float32)  # BGR minus luma, BT.601
_CRCB_TO_OFFSETS = np.column_stack((_OFFSETS, -NEUTRAL * _OFFSETS.sum(1))).astype(np.float32)  # and of neutral, none

_KERNELS = {
    "area": cv2.INTER_AREA,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
}


def network_size_wh(size_wh: tuple[int, int], preprocess: Preprocess) -> tuple[int, int]:
    """Width and height at which the network sees a frame of `size_wh`.

    With `short_side`, the frame's shape is kept up to rounding to `multiple`, and no side is ever below one
    multiple: a very long and thin frame is squeezed rather than refused.

    Examples
    --------
    >>> network_size_wh((640, 480), Preprocess("area", short_side=192, multiple=8))
    (256, 192)
    """
    if preprocess.size_hw is not None:
        height, width = preprocess.size_hw
        return width, height
    assert preprocess.short_side is not None  # the manifest allows exactly one of the two
    scale = preprocess.short_side / min(size_wh)
    longest = 4 * preprocess.short_side  # beyond 4:1 the image is squeezed, so that memory stays bounded
    step = preprocess.multiple
    width, height = (max(step, round(min(side * scale, longest) / step) * step) for side in size_wh)
    return width, height


def resize(pixels: NDArray[np.uint8], size_wh: tuple[int, int], kernel: str) -> NDArray[np.uint8]:
    """Resize uint8 pixels, (H, W) or (H, W, C), with a named cv2 kernel.

    The kernel `area` averages when shrinking; where it would enlarge, cv2 falls back to nearest pixels, so `linear`
    is used there instead. Large reductions go by a whole factor first, which is several times cheaper and moves the
    result by 0.7 levels in the mean.
    """
    width, height = size_wh
    if (pixels.shape[1], pixels.shape[0]) == size_wh:
        return pixels
    enlarges = width > pixels.shape[1] or height > pixels.shape[0]
    if kernel == "area" and not enlarges:
        factor = _whole_factor((pixels.shape[1], pixels.shape[0]), size_wh)
        if factor > 1:
            between_wh = (pixels.shape[1] // factor, pixels.shape[0] // factor)
            pixels = np.asarray(cv2.resize(pixels, between_wh, interpolation=cv2.INTER_AREA), np.uint8)
    flag = cv2.INTER_LINEAR if kernel == "area" and enlarges else _KERNELS[kernel]
    return np.asarray(cv2.resize(pixels, size_wh, interpolation=flag), dtype=np.uint8)


def _whole_factor(from_wh: tuple[int, int], to_wh: tuple[int, int]) -> int:
    """Largest factor that divides both sides and leaves a reduction by 1.5 or more; 1 without need or choice."""
    if from_wh[0] % to_wh[0] == 0 and from_wh[1] % to_wh[1] == 0:
        return 1  # areas of whole pixels are cheap as they are
    most = int(min(from_wh[0] / to_wh[0], from_wh[1] / to_wh[1]) / _LAST_REDUCTION)
    return next((factor for factor in range(most, 1, -1) if from_wh[0] % factor == 0 and from_wh[1] % factor == 0), 1)


def preprocess_image(image: NDArray[np.uint8] | Planes, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Resize a frame's image as described in the manifest; only the small planes are converted.

    Returns
    -------
    (h, w, 3) uint8 BGR
    """
    if not isinstance(image, Planes):
        return preprocess_pixels(image, preprocess)
    size_wh = network_size_wh(image.size_wh, preprocess)
    if image.u is None or image.v is None:
        return preprocess_luma(image, preprocess)
    y, u, v = (resize(plane, size_wh, preprocess.kernel) for plane in (image.y, image.u, image.v))
    return Planes(y, u, v, image.tags).to_bgr()


def preprocess_luma(image: NDArray[np.uint8] | Planes, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Resize the luma of a frame's image as described in the manifest, (h, w, 3) uint8 of three equal channels."""
    size_wh = network_size_wh(
        image.size_wh if isinstance(image, Planes) else (image.shape[1], image.shape[0]), preprocess
    )
    if isinstance(image, Planes):
        small = stretched(resize(image.y, size_wh, preprocess.kernel), image.tags)
    else:
        small = luma(resize(image, size_wh, preprocess.kernel))
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), np.uint8)


def preprocess_pixels(pixels: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Resize (H, W, 3) BGR pixels as described in the manifest; all else happens inside the graph."""
    height, width = pixels.shape[:2]
    return resize(pixels, network_size_wh((width, height), preprocess), preprocess.kernel)


def crop_roi(
    pixels: NDArray[np.uint8] | Planes, corner_xy: tuple[int, int], side: int, size: int
) -> NDArray[np.uint8]:
    """Crop an ROI and resize it; outside the image it is mid-grey.

    Parameters
    ----------
    pixels : (H, W, 3) uint8, or planes, of which only the small crop is converted
    corner_xy : upper left corner in pixels, may lie outside; whole pixels, so that mapping back is exact
    side : of the ROI, in pixels of `pixels`
    size : of the result; averaged, to within some levels, when it is smaller than `side`, linear when it is larger

    Returns
    -------
    (size, size, 3) uint8
    """
    if not isinstance(pixels, Planes):
        return _fit(_crop(pixels, corner_xy, side, OUTSIDE), size)
    y = _fit(_crop(pixels.y, corner_xy, side, _stored_grey(pixels.tags)), size)
    if pixels.u is None or pixels.v is None:
        return np.asarray(cv2.cvtColor(stretched(y, pixels.tags), cv2.COLOR_GRAY2BGR), np.uint8)
    # Chroma of half a size begins and ends on half a pixel; color may lie so much beside its edge.
    wide, high = (-(-whole // small) for whole, small in zip(pixels.size_wh, pixels.u.shape[::-1], strict=True))
    if wide != high:
        return crop_roi(pixels.to_bgr(), corner_xy, side, size)
    corner, extent = (corner_xy[0] // wide, corner_xy[1] // wide), max(1, round(side / wide))
    u, v = (_fit(_crop(plane, corner, extent, int(NEUTRAL)), size) for plane in (pixels.u, pixels.v))
    return Planes(y, u, v, pixels.tags).to_bgr()


def _stored_grey(tags: ColorTags) -> int:
    """Luma of the grey level that networks see outside, in the range of a frame."""
    return OUTSIDE if tags.full_range else round(16 + OUTSIDE * 219 / 255)


def _crop(plane: NDArray[np.uint8], corner_xy: tuple[int, int], side: int, outside: int) -> NDArray[np.uint8]:
    """Crop a square ROI of (H, W[, C]); outside the image it has one level. Copies only where some of it does."""
    height, width = plane.shape[:2]
    left, top = corner_xy
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if (x0, y0, x1, y1) == (left, top, left + side, top + side):
        return plane[y0:y1, x0:x1]
    crop = np.full((side, side, *plane.shape[2:]), outside, np.uint8)
    if x1 > x0 and y1 > y0:
        crop[y0 - top : y1 - top, x0 - left : x1 - left] = plane[y0:y1, x0:x1]
    return crop


def _fit(crop: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize a crop. Averaging areas of whole pixels is far faster, so it is resized to such a size first."""
    side = crop.shape[0]
    if side > size:
        whole = max(2, side // size) * size
        crop = resize(crop, (whole, whole), "linear")
    return resize(crop, (size, size), "area")


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 luma, (H, W) uint8, of (H, W, 3) BGR pixels."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def crcb_from_ab(luma_small: NDArray[np.uint8], ab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert predicted CIELAB a* and b* to Cr and Cb for an image with this luma.

    Parameters
    ----------
    luma_small : (h, w) uint8, luma at the resolution of `ab`
    ab : (h, w, 2), CIELAB a* and b* in their own units (about -100 to 100)

    Returns
    -------
    (h, w, 2) float32: Cr and Cb in grey levels, 128 is neutral

    Raises
    ------
    ShapeMismatch
        If `luma_small` and `ab` differ in size.

    Notes
    -----
    L* comes from the luma as if the pixel were grey, as in the authors' released code; colors outside the gamut are
    clipped here, at low resolution, and not at full size.

    References
    ----------
    Iizuka et al. 2016, released inference code; composition in YCrCb is ours.
    """
    if ab.shape != (*luma_small.shape, 2):
        raise ShapeMismatch("Luma and ab differ in size", expected=(*luma_small.shape, 2), found=ab.shape)
    a, b = cv2.split(np.asarray(ab, np.float32))
    lab = cv2.merge((_LIGHTNESS[luma_small], a, b))
    bgr = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), 0, 1)
    return np.asarray(cv2.transform(bgr, _BGR_TO_CRCB), np.float32)


def _lightness() -> NDArray[np.float32]:
    """CIELAB L* of every grey level, (256,)."""
    grey = np.arange(256, dtype=np.float32) * np.float32(1 / 255)
    linear = np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.where(linear > 0.008856, 116 * np.cbrt(linear) - 16, 903.3 * linear), np.float32)


_LIGHTNESS = _lightness()
_CR, _CB = 255 * 0.713, 255 * 0.564  # OpenCV's factors of red minus luma and blue minus luma, here in grey levels
_LUMA = np.array((0.114, 0.587, 0.299))  # of blue, green, red
_BGR_TO_CRCB = np.array(
    [[*(_CR * ((0, 0, 1) - _LUMA)), NEUTRAL], [*(_CB * ((1, 0, 0) - _LUMA)), NEUTRAL]], np.float32
)


def merge_chroma(grey: NDArray[np.uint8], crcb: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Give the luma of a frame new chroma.

    Parameters
    ----------
    grey : (H, W) uint8, its luma
    crcb : (h, w, 2) float32 at any, usually lower, resolution; 128 is neutral

    Returns
    -------
    (H, W, 3) uint8 BGR. Its luma is `grey` to rounding, except where the color leaves the RGB gamut.
    """
    height, width = grey.shape
    # Chroma becomes an offset on each channel while it is small; at full size one saturating addition is left. It is
    # faster than a merge and a conversion there, and a difference in the last bit of chroma moves blue by one level
    # where rounded Cb would move it by two.
    small = np.rint(cv2.transform(crcb, _CRCB_TO_OFFSETS)).astype(np.int16)
    offsets = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    pixels = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    cv2.add(pixels, offsets, pixels, dtype=cv2.CV_8U)
    return pixels

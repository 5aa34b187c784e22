"""Image files as 8-bit BGR pixels.

Owns the reading of one image file, whatever its depth, channels and orientation. Imports cv2 only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import SourceError, SourceNotFound
from .quiet import quiet

IMAGE_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jp2", "png", "webp", "avif", "tif", "tiff", "bmp", "dib"),
        *("ppm", "pgm", "pbm", "pnm", "exr", "hdr"),
    )
)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 BGR.

    Grey becomes three equal channels. 16-bit values are scaled from 0..65535, floating-point ones from 0..1 (beyond
    is clipped). Transparent images are laid over black, so that no color hidden under full transparency comes up.
    The orientation that a camera noted in a JPEG is obeyed.

    Raises
    ------
    SourceNotFound
        If there is no such file, or it cannot be opened.
    SourceError
        If the content is no image, or is cut off.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceNotFound(f"Image {path} cannot be read ({error.strerror})") from error
    if not _is_whole(content):
        raise SourceError(f"Image {path} is cut off", found=f"{len(content)} bytes", todo="Copy the file again")
    pixels = _decode(content)
    if pixels is None:
        raise SourceError(f"{path} cannot be decoded as an image", found=f"{len(content)} bytes")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return over_black(_to_8_bit(pixels, path))
    return _to_8_bit(pixels, path)


def _decode(content: bytes) -> NDArray[Any] | None:
    """Decode to BGR, or BGRA where the image has alpha, at its own depth."""
    if not content:
        return None
    encoded = np.frombuffer(content, np.uint8)
    with quiet():
        try:
            if content[:2] != b"\xff\xd8":  # a JPEG has no alpha, and its EXIF orientation is obeyed below only
                pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
                if pixels is None or (pixels.ndim == 3 and pixels.shape[2] == 4):
                    return pixels
            return cv2.imdecode(encoded, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
        except cv2.error:
            return None


def _is_whole(content: bytes) -> bool:
    """Whether a JPEG or PNG has its end mark; decoders fill what is missing with grey and say nothing."""
    if content.startswith(b"\xff\xd8"):
        return content.rfind(b"\xff\xd9") > content.rfind(b"\xff\xda")
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" in content[-1024:]
    return True


def _to_8_bit(pixels: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """Scale any depth that OpenCV reads to 0..255."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if pixels.dtype == np.uint16:
        return np.asarray(cv2.convertScaleAbs(pixels, alpha=1 / 257), np.uint8)
    if pixels.dtype == np.float32:
        finite = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
        return np.asarray(np.rint(np.clip(finite, 0.0, 1.0) * 255), np.uint8)
    raise SourceError(
        f"Image {path} has a depth that is not understood", expected="8 or 16 bits, or float", found=pixels.dtype
    )


def over_black(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay (H, W, 4) BGRA over black."""
    alpha = cv2.merge([pixels[..., 3]] * 3)
    return np.asarray(cv2.multiply(np.ascontiguousarray(pixels[..., :3]), alpha, scale=1 / 255), np.uint8)

"""The reading of one image file, whatever its format, depth, channels and orientation.

Owns `read_image` and `decode_image`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError, SourceNotFound
from ..opencv_settings import quiet
from ..orientation import turned_upright
from .header import announced_wh, is_animated, is_whole, orientation_of
from .sniff import Kind, sniff
from .webp import first_still

IMAGE_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "jp2", "png", "apng", "webp", "avif", "heic", "heif", "tif", "tiff"),
        *("bmp", "dib", "gif", "ppm", "pgm", "pbm", "pnm", "exr", "hdr"),
    )
)
MOST_PIXELS = 300_000_000  # phones make 200 million; beyond lie mistakes and attacks
_DARK_16 = 4095  # of 65535: what a camera of 12 bits writes at most
_FLOAT_WHITE = 1.5


def read_image(path: Path, notes: list[str] | None = None) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 BGR.

    The format follows from the content, not from the file name. Grey becomes three equal channels. 16-bit values are
    scaled from 0..65535, floating-point ones from 0..1 (beyond is clipped). Transparent images are laid over black,
    so that no color hidden under full transparency comes up. The orientation that a camera noted is obeyed in every
    format. Of an animated file the first frame is read.

    Parameters
    ----------
    path : of the file
    notes : takes what the user should know, one line each

    Raises
    ------
    SourceNotFound
        If there is no such file, or it cannot be opened.
    SourceError
        If the content is no image, is cut off, is too large, or needs a library that is not installed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceNotFound(f"Image {path} cannot be read ({error.strerror})") from error
    return decode_image(content, f"Image {path}", notes)


def decode_image(content: bytes, shown: str, notes: list[str] | None = None) -> NDArray[np.uint8]:
    """Decode the content of an image file to (H, W, 3) uint8 BGR, as `read_image` does.

    `shown` names it in errors and notes.

    Raises
    ------
    SourceError
        If it is no image, is damaged, or is too large.
    """
    said: list[str] = [] if notes is None else notes
    kind = sniff(content[:4096])
    _refuse(kind, content, shown)
    if is_animated(kind, content):
        said.append(f"{shown} has several frames or pages; only the first is used")
    if kind is Kind.HEIC:
        return _heic(content, shown)
    pixels = _decode(kind, content)
    if pixels is None:
        form = kind.value if kind.is_image else "an unknown format"
        raise SourceError(f"{shown} cannot be decoded as an image", found=f"{len(content)} bytes of {form}")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        made = over_black(_to_8_bit(pixels, shown, said))
    else:
        made = _to_8_bit(pixels, shown, said)
    return turned_upright(made, 1 if _is_turned_by_decoder(kind) else orientation_of(kind, content))


def _refuse(kind: Kind, content: bytes, shown: str) -> None:
    """Refuse what is no image, is cut off or would take too much memory, before it is decoded."""
    if not content:
        raise SourceError(f"{shown} is empty", found="0 bytes")
    if kind in (Kind.WEB_PAGE, Kind.SVG, Kind.PDF, Kind.JPEG_XL):
        todo = "Download the image itself" if kind is Kind.WEB_PAGE else "Convert it to PNG or JPEG"
        raise SourceError(f"{shown} is no image that can be read", found=f"{kind.value} content", todo=todo)
    if not is_whole(kind, content):
        raise SourceError(f"{shown} is cut off", found=f"{len(content)} bytes", todo="Copy the file again")
    size = announced_wh(kind, content)
    if size is not None and size[0] * size[1] > MOST_PIXELS:
        raise SourceError(
            f"{shown} is too large",
            expected=f"up to {MOST_PIXELS // 1_000_000} million pixels",
            found=f"{size[0]}x{size[1]} in {len(content):,} bytes",
            todo="Reduce it first",
        )


def _is_turned_by_decoder(kind: Kind) -> bool:
    """OpenCV's TIFF decoder obeys the orientation itself, whatever it is asked for."""
    return kind is Kind.TIFF


def _decode(kind: Kind, content: bytes) -> NDArray[Any] | None:
    """Decode to grey, BGR, or BGRA where the image has alpha, at its own depth, as it is stored."""
    if kind is Kind.GIF:
        return _decode_by_av(content)
    encoded = np.frombuffer(content, np.uint8)
    with quiet():
        try:
            pixels = None
            if kind is not Kind.JPEG:  # a JPEG has no alpha
                pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
            if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
                pixels = cv2.imdecode(encoded, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            pixels = None
    if pixels is None and kind is Kind.WEBP:
        still = first_still(content)
        return None if still is None else _decode(kind, still)
    return _decode_by_av(content) if pixels is None and kind in (Kind.AVIF, Kind.ICO) else pixels


def _decode_by_av(content: bytes) -> NDArray[np.uint8] | None:
    """Decode the first frame by PyAV, as BGRA; for what OpenCV reads in some of its versions only."""
    import av

    try:
        with av.open(io.BytesIO(content)) as container:
            frame = next(iter(container.decode(video=0)))
    except (av.FFmpegError, StopIteration, IndexError, ValueError):
        return None
    return np.asarray(frame.to_ndarray(format="bgra"), np.uint8)


def _heic(content: bytes, shown: str) -> NDArray[np.uint8]:
    """Decode a HEIC, tiles assembled and upright, by libheif."""
    try:
        import pillow_heif
    except ImportError as error:
        raise SourceError(
            f"{shown} is HEIC, which needs pillow-heif", todo="pip install 'steadyframe[heif]', or save it as JPEG"
        ) from error
    try:
        image = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=True, bgr_mode=True)
        pixels = np.asarray(image)
    except (ValueError, RuntimeError, EOFError, SyntaxError) as error:
        raise SourceError(f"{shown} cannot be decoded as an image", found=f"damaged HEIC ({error})") from error
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    return over_black(pixels) if pixels.shape[2] == 4 else np.ascontiguousarray(pixels, np.uint8)


def _to_8_bit(pixels: NDArray[Any], shown: str, notes: list[str]) -> NDArray[np.uint8]:
    """Scale any depth that OpenCV reads to 0..255."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if pixels.dtype == np.uint16:
        most = int(pixels.max())
        if 0 < most <= _DARK_16:
            notes.append(
                f"{shown} is nearly black: its 16-bit values reach {most} of 65535. If it holds fewer bits, shift "
                "them up"
            )
        return np.asarray(cv2.convertScaleAbs(pixels, alpha=1 / 257), np.uint8)
    if pixels.dtype in (np.float32, np.float64):
        finite = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
        if float(np.median(finite)) > _FLOAT_WHITE:
            notes.append(f"{shown} is nearly white: floats are read as 0..1, and its values reach {finite.max():g}")
        return np.asarray(np.rint(np.clip(finite, 0.0, 1.0) * 255), np.uint8)
    raise SourceError(
        f"{shown} has a depth that is not understood", expected="8 or 16 bits, or float", found=pixels.dtype
    )


def over_black(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay (H, W, 4) BGRA over black."""
    alpha = cv2.merge([pixels[..., 3]] * 3)
    return np.asarray(cv2.multiply(np.ascontiguousarray(pixels[..., :3]), alpha, scale=1 / 255), np.uint8)

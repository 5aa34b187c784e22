"""A frame as its decoder gave it: luma and chroma planes, and what their numbers mean.

Owns `ColorTags`, `Planes`, and the arithmetic between YCbCr of any matrix and range and BGR. Imports numpy, OpenCV
and PyAV; PyAV only where a whole plane is converted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import ShapeMismatch

# Codes of ITU-T H.273, which containers, codecs and FFmpeg share.
BT709, UNSPECIFIED, BT601_625, BT601_525, BT2020 = 1, 2, 5, 6, 9
_KR_KB = {BT709: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), BT2020: (0.2627, 0.0593)}
_KR_KB_601 = (0.299, 0.114)
_NEUTRAL = 128


@dataclass(frozen=True, slots=True)
class ColorTags:
    """What the numbers of a frame mean, as codes of ITU-T H.273.

    Parameters
    ----------
    matrix : between RGB and YCbCr: 1 BT.709, 5 and 6 BT.601, 9 BT.2020; 2 is not stated and read as BT.601, as
        FFmpeg does
    full_range : 0..255 stand for black and white, not 16..235
    primaries, transfer : 2 where the file does not say
    """

    matrix: int = UNSPECIFIED
    full_range: bool = False
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @property
    def kr_kb(self) -> tuple[float, float]:
        """Weights of red and blue in luma."""
        return _KR_KB.get(self.matrix, _KR_KB_601)


@dataclass(frozen=True, slots=True)
class Planes:
    """An 8-bit YCbCr frame.

    Parameters
    ----------
    y : (H, W) uint8
    u, v : Cb and Cr, uint8, each (ceil(H / 2), ceil(W / 2)) of 4:2:0, (H, ceil(W / 2)) of 4:2:2 or (H, W) of 4:4:4;
        both None for grey
    tags : what the numbers mean

    Raises
    ------
    ShapeMismatch
        If the planes do not fit together.

    Examples
    --------
    >>> grey = Planes(np.full((4, 6), 126, np.uint8), None, None)
    >>> grey.to_bgr().shape, int(grey.to_bgr()[0, 0, 0])
    ((4, 6, 3), 128)
    """

    y: NDArray[np.uint8]
    u: NDArray[np.uint8] | None
    v: NDArray[np.uint8] | None
    tags: ColorTags = field(default_factory=ColorTags)

    def __post_init__(self) -> None:
        if self.u is None and self.v is None:
            return
        if self.u is None or self.v is None or self.u.shape != self.v.shape:
            raise ShapeMismatch("A frame has two chroma planes of one size, or none")
        fitting = _chroma_shapes(*self.y.shape)
        if self.u.shape not in fitting.values():
            raise ShapeMismatch("Luma and chroma planes do not fit", expected=fitting, found=self.u.shape)

    @property
    def format(self) -> str:
        """FFmpeg's name of the layout."""
        if self.u is None:
            return "gray"
        return next(name for name, shape in _chroma_shapes(*self.y.shape).items() if shape == self.u.shape)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.y.shape[1], self.y.shape[0]

    def to_bgr(self) -> NDArray[np.uint8]:
        """Convert to (H, W, 3) uint8 BGR."""
        if self.u is None or self.v is None:
            return np.asarray(cv2.cvtColor(full_range_luma(self), cv2.COLOR_GRAY2BGR), np.uint8)
        return bgr_of(video_frame(self))

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> Planes:
        """Cut a rectangle; its upper left corner must be even. Copies nothing.

        Raises
        ------
        ShapeMismatch
            If the upper left corner is not at even pixels.
        """
        if x0 % 2 or y0 % 2:
            raise ShapeMismatch("Chroma covers two pixels: a crop begins at even ones", found=(x0, y0))
        y = self.y[y0:y1, x0:x1]
        if self.u is None or self.v is None:
            return replace(self, y=y)
        down, across = (2 if small < whole else 1 for small, whole in zip(self.u.shape, self.y.shape, strict=True))
        part = (slice(y0 // down, -(-y1 // down)), slice(x0 // across, -(-x1 // across)))
        return replace(self, y=y, u=self.u[part], v=self.v[part])

    def with_chroma(self, u: NDArray[np.uint8], v: NDArray[np.uint8]) -> Planes:
        """Keep the luma plane itself, and replace the chroma by `u` and `v`, (H/2, W/2) uint8 each, rounded up."""
        return replace(self, u=u, v=v)


def size_wh_of(image: NDArray[np.uint8] | Planes) -> tuple[int, int]:
    """Width and height of planes or of an (H, W[, C]) array."""
    return image.size_wh if isinstance(image, Planes) else (image.shape[1], image.shape[0])


def cropped_bgr(
    image: NDArray[np.uint8] | Planes, low_xy: tuple[int, int], high_xy: tuple[int, int]
) -> NDArray[np.uint8]:
    """Cut a rectangle, (h, w, 3) uint8 BGR; of planes only this part is converted."""
    (x0, y0), (x1, y1) = low_xy, high_xy
    if not isinstance(image, Planes):
        return image[y0:y1, x0:x1]
    if x1 <= x0 or y1 <= y0:
        return np.zeros((0, 0, 3), np.uint8)
    return image.crop(x0 - x0 % 2, y0 - y0 % 2, x1, y1).to_bgr()[y0 % 2 :, x0 % 2 :]


def _chroma_shapes(height: int, width: int) -> dict[str, tuple[int, int]]:
    """Layout -> shape of its chroma planes."""
    half_w = (width + 1) // 2
    return {"yuv420p": ((height + 1) // 2, half_w), "yuv422p": (height, half_w), "yuv444p": (height, width)}


def full_range_luma(planes: Planes) -> NDArray[np.uint8]:
    """Luma of planes in 0..255, whatever the range they are stored in; (H, W) uint8."""
    return stretched(planes.y, planes.tags)


def stretched(luma: NDArray[np.uint8], tags: ColorTags) -> NDArray[np.uint8]:
    """Scale luma, (H, W) uint8, from the stored range to 0..255."""
    return luma if tags.full_range else np.asarray(cv2.LUT(luma, _STRETCH), np.uint8)


_STRETCH = np.rint(np.clip((np.arange(256) - 16) * (255 / 219), 0, 255)).astype(np.uint8)


@lru_cache(maxsize=32)
def chroma_matrix(tags: ColorTags) -> NDArray[np.float32]:
    """Matrix that turns full-range BT.601 (Cr, Cb, 1) into the stored (Cb, Cr) of `tags`, (2, 3) float32.

    Cr and Cb name a color offset, red, green and blue minus luma. Stored under another matrix, the same offset
    has another luma of its own, which is taken out, so that the luma plane stays as it is.
    """
    kr, kb = tags.kr_kb
    red = np.array((1.403, 0.0))  # minus BT.601 luma, for one unit of (Cr, Cb)
    green = np.array((-0.714, -0.344))
    blue = np.array((0.0, 1.773))
    own_luma = kr * red + (1 - kr - kb) * green + kb * blue
    cb = (blue - own_luma) / (2 * (1 - kb))
    cr = (red - own_luma) / (2 * (1 - kr))
    scale = 1.0 if tags.full_range else 224 / 255
    linear = scale * np.stack((cb, cr))
    matrix = np.column_stack((linear, _NEUTRAL - _NEUTRAL * linear.sum(1))).astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def stored_chroma(crcb: NDArray[np.float32], planes: Planes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Turn predicted chroma into the two chroma planes that fit `planes`.

    Parameters
    ----------
    crcb : (h, w, 2) float32 at any resolution, full-range BT.601 Cr and Cb, 128 is neutral
    planes : whose size and tags the result takes

    Returns
    -------
    Cb and Cr, each (ceil(H / 2), ceil(W / 2)) uint8
    """
    width, height = planes.size_wh
    half_wh = ((width + 1) // 2, (height + 1) // 2)
    u, v = (
        # One plane after the other, rounded once at full size: half the memory to move of both at once.
        _rounded(np.asarray(cv2.resize(plane, half_wh, interpolation=cv2.INTER_LINEAR), np.float32))
        for plane in cv2.split(np.clip(cv2.transform(crcb, chroma_matrix(planes.tags)), 0, 255))
    )
    return u, v


def _rounded(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round values that are not negative, (h, w), to uint8; twice as fast as numpy."""
    return np.asarray(cv2.convertScaleAbs(plane), np.uint8)


_local = threading.local()


def reformatter() -> Any:
    """Give this thread its converter, which keeps its tables from one frame to the next."""
    found = getattr(_local, "reformatter", None)
    if found is None:
        from av.video.reformatter import VideoReformatter

        found = _local.reformatter = VideoReformatter()
    return found


def tag(frame: Any, tags: ColorTags) -> Any:
    """Write the color tags into a PyAV frame."""
    frame.colorspace = tags.matrix
    frame.color_range = 2 if tags.full_range else 1
    if hasattr(frame, "color_primaries"):  # PyAV 14 had none of these on frames
        frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer
    return frame


def plane_view(plane: Any, height: int, width: int, depth: int = 1) -> NDArray[np.uint8]:
    """Look at one plane of a PyAV frame, (H, W * depth) uint8, without its padding; keeps the frame alive."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[:height, : width * depth]


def video_frame(planes: Planes) -> Any:
    """Copy planes into a PyAV frame, for the encoder or for a conversion."""
    import av

    width, height = planes.size_wh
    layout = "yuv420p" if planes.u is None else planes.format
    frame = av.VideoFrame(width, height, layout)
    plane_view(frame.planes[0], height, width)[:] = planes.y
    shape = _chroma_shapes(height, width)[layout]
    for place, plane in ((1, planes.u), (2, planes.v)):
        plane_view(frame.planes[place], *shape)[:] = _NEUTRAL if plane is None else plane
    return tag(frame, planes.tags)


def bgr_of(frame: Any) -> NDArray[np.uint8]:
    """Convert a tagged PyAV frame of any format to (H, W, 3) uint8 BGR, by its own matrix and range."""
    made = reformatter().reformat(frame, format="bgr24", src_colorspace=_sws_matrix(frame), threads=1)
    view = plane_view(made.planes[0], made.height, made.width, 3)
    return np.ascontiguousarray(view).reshape(made.height, made.width, 3)


def _sws_matrix(frame: Any) -> int:
    """Code of swscale's own table for a frame's matrix."""
    code = int(frame.colorspace)
    return sws_matrix(code)


def sws_matrix(code: int) -> int:
    """Code of swscale's table for a matrix; PyAV takes 6 for BT.709 in some directions, so BT.601 is always 5."""
    return code if code in (BT709, 4, 7, BT2020) else BT601_625

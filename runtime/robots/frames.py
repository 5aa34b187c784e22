"""Frames that come from messages, and the stamps and images of both.

Owns `StampedFrame`, `Stamps`, `frame_of` and `pixels_of`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..frame import Frame
from ..image_file import decode_image

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
DEFAULT_FRAME_ID = "camera"

# encoding -> bytes a pixel, and OpenCV's conversion to BGR; None is BGR already
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "bgr8": (3, None),
    "8UC3": (3, None),
    "rgb8": (3, cv2.COLOR_RGB2BGR),
    "bgra8": (4, cv2.COLOR_BGRA2BGR),
    "rgba8": (4, cv2.COLOR_RGBA2BGR),
    "mono8": (1, cv2.COLOR_GRAY2BGR),
    "8UC1": (1, cv2.COLOR_GRAY2BGR),
    "yuv422": (2, cv2.COLOR_YUV2BGR_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2BGR_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2BGR_YUY2),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2BGR),
    "mono16": (2, None),
    "16UC1": (2, None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedFrame(Frame):
    """A frame with the header of the message that it came in.

    Parameters
    ----------
    stamp_ns : of the header, which every message made of it repeats
    frame_id : of the header
    """

    stamp_ns: int
    frame_id: str


class Stamps:
    """Give the header of the messages that are made of a frame.

    A frame that came in a message keeps its header. Of a live source it is the time of capture on the UNIX clock. Of
    a file it is the file's own time line, which begins when its first frame is read.

    Parameters
    ----------
    live : whether the source is live
    frame_id : of frames that came in no message
    """

    def __init__(self, *, live: bool, frame_id: str = DEFAULT_FRAME_ID) -> None:
        self._live = live
        self._frame_id = frame_id
        self._zero_ns: int | None = None

    def of(self, frame: Frame) -> tuple[int, str]:
        """Return stamp in nanoseconds on the UNIX clock, and frame_id."""
        if isinstance(frame, StampedFrame):
            return frame.stamp_ns, frame.frame_id
        if self._live:
            return frame.wall_ns, self._frame_id
        if self._zero_ns is None:
            self._zero_ns = frame.wall_ns - frame.time_ns
        return self._zero_ns + frame.time_ns, self._frame_id


def frame_of(body: Any, typename: str, index: int, source: str, *, time_ns: int = -1) -> StampedFrame:
    """Make a frame of an image message.

    With `time_ns`, the message comes from a file, and the age counts from now, as for every file. Without, it counts
    from the header's stamp, as long as that lies within the last minute of this machine's clock; from the arrival
    otherwise, because the sender's clock is another one.

    Raises
    ------
    SourceError
        If the image cannot be decoded.
    """
    header = body.header
    stamp_ns = int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
    now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
    past_ns = wall_ns - stamp_ns
    captured_ns = now_ns - past_ns if time_ns < 0 and 0 <= past_ns < 60_000_000_000 else now_ns
    return StampedFrame(
        pixels_of(body, typename), index, captured_ns, source, time_ns if time_ns >= 0 else captured_ns,
        wall_ns=stamp_ns or wall_ns, stamp_ns=stamp_ns, frame_id=str(header.frame_id),
    )  # fmt: skip


def pixels_of(body: Any, typename: str) -> NDArray[np.uint8]:
    """Decode an image message.

    Returns
    -------
    (H, W, 3) uint8 BGR

    Raises
    ------
    SourceError
        If it is damaged, or in an encoding that is not known.
    """
    if typename == COMPRESSED:
        return decode_image(bytes(body.data), f"the message's image ({body.format})")
    height, width, step = int(body.height), int(body.width), int(body.step)
    found = _ENCODINGS.get(str(body.encoding))
    if found is None:
        raise SourceError(
            f"Images in the encoding {body.encoding!r} cannot be read", available=_ENCODINGS, kind="CODEC"
        )
    size, conversion = found
    data = np.asarray(body.data, np.uint8)
    if not (width > 0 and height > 0 and width * size <= step and step * height <= data.size):
        raise SourceError(
            "An image message is damaged", expected=f"{height} rows of {step} bytes for {width} pixels",
            found=f"{data.size} bytes", kind="CODEC",
        )  # fmt: skip
    rows = data[: step * height].reshape(height, step)[:, : width * size]
    if size == 2 and conversion is None:  # 16 bits: the upper ones
        wide = rows.reshape(height, width, 2)[..., 0 if body.is_bigendian else 1]
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(wide), cv2.COLOR_GRAY2BGR), np.uint8)
    pixels = np.ascontiguousarray(rows.reshape((height, width) if size == 1 else (height, width, size)))
    return pixels if conversion is None else np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)

"""Animated images as videos.

Owns `open_animation`: GIF and APNG through FFmpeg, WebP through OpenCV where it can.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ...image_file import Kind, over_black
from ...opencv_settings import quiet
from ..info import Source
from .images import ImagesInMemory
from .video import open_video

_MILLI = 1_000_000
_USUAL_MS = 100  # what players take where a frame says nothing


def open_animation(path: Path, text: str, kind: Kind) -> Source | None:
    """Open an animated image as a video, or return None where it cannot be read as one."""
    if kind is Kind.GIF:
        return open_video(path, text)
    if kind is Kind.PNG:
        return open_video(path, text, container_format="apng")
    if kind is Kind.AVIF:
        return open_video(path, text)
    if kind is Kind.WEBP and hasattr(cv2, "imdecodeanimation"):
        return _webp(path, text)
    return None


def _webp(path: Path, text: str) -> Source | None:
    encoded = np.frombuffer(path.read_bytes(), np.uint8)
    with quiet():
        try:
            good, animation = cv2.imdecodeanimation(encoded)
        except (cv2.error, TypeError):
            return None
    if not good or not animation.frames:
        return None
    frames = [np.asarray(one, np.uint8) for one in animation.frames]
    images = [over_black(one) if one.shape[2] == 4 else one for one in frames]
    steps_ns = [(int(step) or _USUAL_MS) * _MILLI for step in animation.durations]
    times_ns = [sum(steps_ns[:place]) for place in range(len(images))]
    return ImagesInMemory(images, text, times_ns=times_ns, folders=(str(path.resolve().parent),))

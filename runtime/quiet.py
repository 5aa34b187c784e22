"""Keep OpenCV and FFmpeg from writing to stderr.

Owns nothing but `quiet`. What goes wrong is said by our errors, once and in words.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_AV_LOG_QUIET = "-8"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence OpenCV inside the block, and FFmpeg from then on, unless the user has set a log level for it."""
    # FFmpeg's level is read from the environment once, when OpenCV opens its first video.
    os.environ.setdefault(_FFMPEG_LEVEL, _AV_LOG_QUIET)
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)

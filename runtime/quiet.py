"""Keep what is not ours from writing to stderr.

Owns `quiet` for OpenCV and FFmpeg, whose troubles our errors tell, once and in words; and `drop_stdout` for a reader
that has gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_AV_LOG_QUIET = "-8"
_CV_LOG_SILENT = 0
_levels: Any = getattr(cv2.utils, "logging", cv2)  # where OpenCV 5 has it; OpenCV 4.8 has it in cv2 itself


@contextmanager
def quiet() -> Iterator[None]:
    """Silence OpenCV inside the block, and FFmpeg from then on, unless the user has set a log level for it."""
    # FFmpeg's level is read from the environment once, when OpenCV opens its first video.
    os.environ.setdefault(_FFMPEG_LEVEL, _AV_LOG_QUIET)
    before = _levels.getLogLevel()
    _levels.setLogLevel(_CV_LOG_SILENT)
    try:
        yield
    finally:
        _levels.setLogLevel(before)


def drop_stdout() -> None:
    """Send what is still to come on stdout nowhere, so that the last flush does not complain of a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)

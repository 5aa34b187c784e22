"""OpenCV's settings of the whole process, changed for a while and put back.

Owns `SharedSetting`, `quiet` and `one_opencv_thread`. Several streams and threads may ask at once: the first one
changes a setting, the last one puts back what was there before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import cv2

_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_AV_LOG_QUIET = "-8"
_CV_LOG_SILENT = 0
_levels: Any = getattr(cv2.utils, "logging", cv2)  # where OpenCV 5 has it; OpenCV 4.8 has it in cv2 itself

Before = TypeVar("Before")


class SharedSetting(Generic[Before]):
    """A setting of the process with a count of those who need it changed.

    Parameters
    ----------
    change : changes it and returns what was there before
    restore : puts that back

    Examples
    --------
    >>> before = cv2.getNumThreads()
    >>> one_opencv_thread.enter(); one_opencv_thread.enter(); one_opencv_thread.leave(); inside = cv2.getNumThreads()
    >>> one_opencv_thread.leave(); (inside, cv2.getNumThreads() == before)
    (1, True)
    """

    def __init__(self, change: Callable[[], Before], restore: Callable[[Before], None]) -> None:
        self._change = change
        self._restore = restore
        self._lock = threading.Lock()
        self._users = 0
        self._before: list[Before] = []

    def enter(self) -> None:
        """Count one more; the first one changes the setting."""
        with self._lock:
            if self._users == 0:
                self._before = [self._change()]
            self._users += 1

    def leave(self) -> None:
        """Count one less; the last one puts back what was there."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._restore(self._before.pop())


def _one_thread() -> int:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    return before


def _silence() -> tuple[int, str | None]:
    before = (_levels.getLogLevel(), os.environ.get(_FFMPEG_LEVEL))
    # FFmpeg's level is read from the environment when OpenCV opens its first video.
    os.environ.setdefault(_FFMPEG_LEVEL, _AV_LOG_QUIET)
    _levels.setLogLevel(_CV_LOG_SILENT)
    return before


def _speak(before: tuple[int, str | None]) -> None:
    level, ffmpeg_level = before
    _levels.setLogLevel(level)
    if ffmpeg_level is None:
        os.environ.pop(_FFMPEG_LEVEL, None)


# While a stream runs its stages are the threads. OpenCV's own workers wait for each other by spinning: on two cores
# they doubled the processor time of flow and resizing, took it from the network, and made neither any faster.
one_opencv_thread = SharedSetting(_one_thread, cv2.setNumThreads)
_silent = SharedSetting(_silence, _speak)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence OpenCV and its FFmpeg inside the block: our errors say what is wrong, once and in words."""
    _silent.enter()
    try:
        yield
    finally:
        _silent.leave()

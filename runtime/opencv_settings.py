"""OpenCV in one thread per call while a stream runs: its stages are the threads.

Owns `OpenCvThreads`. OpenCV's own workers wait for each other by spinning: on two cores they doubled the processor
time of flow and resizing, took it from the network, and made neither any faster.
"""

from __future__ import annotations

import threading
from typing import ClassVar

import cv2


class OpenCvThreads:
    """How many streams run, and what OpenCV was set to before the first of them; the setting is the process's.

    Examples
    --------
    >>> before = cv2.getNumThreads()
    >>> OpenCvThreads.enter(); inside = cv2.getNumThreads(); OpenCvThreads.leave()
    >>> inside, cv2.getNumThreads() == before
    (1, True)
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _streams: ClassVar[int] = 0
    _before: ClassVar[int] = 0

    @classmethod
    def enter(cls) -> None:
        """Count a stream that starts; the first one takes OpenCV's threads away."""
        with cls._lock:
            if cls._streams == 0:
                cls._before = cv2.getNumThreads()
                cv2.setNumThreads(1)
            cls._streams += 1

    @classmethod
    def leave(cls) -> None:
        """Count a stream that has ended; the last one gives them back."""
        with cls._lock:
            cls._streams -= 1
            if cls._streams == 0:
                cv2.setNumThreads(cls._before)

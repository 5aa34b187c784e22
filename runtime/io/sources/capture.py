"""Opening an OpenCV capture.

Owns the time limits of network captures. Everything that reads through `cv2.VideoCapture` opens it here.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from ...opencv_settings import quiet

_OPEN_TIMEOUT_MS = 8_000
_READ_TIMEOUT_MS = 5_000
# Up to this many pixels a frame, FFmpeg's threads cost a quarter more processor time and deliver no sooner.
_SMALL = 640 * 480
NETWORK_OPTIONS = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS)


def open_capture(
    target: str | int, backend: int = cv2.CAP_ANY, options: Sequence[int] = ()
) -> cv2.VideoCapture | None:
    """Open a capture, or return None; never prints."""
    with quiet():
        try:
            capture = cv2.VideoCapture(target, backend, list(options))
        except cv2.error:
            return None
    if not capture.isOpened():
        capture.release()
        return None
    return capture


def open_file(address: str) -> cv2.VideoCapture | None:
    """Open a video file, or return None; small images are decoded in one thread."""
    capture = open_capture(address, cv2.CAP_FFMPEG)
    if capture is None or capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT) > _SMALL:
        return capture
    single = open_capture(address, cv2.CAP_FFMPEG, (cv2.CAP_PROP_N_THREADS, 1))
    if single is None:
        return capture
    capture.release()
    return single


def has_backend(backend: int) -> bool:
    """Whether this build of OpenCV can read through a backend."""
    return backend in cv2.videoio_registry.getBackends() and cv2.videoio_registry.hasBackend(backend)

"""Opening an OpenCV capture.

Everything that reads through `cv2.VideoCapture` opens it here: cameras on V4L2 and GStreamer.
"""

from __future__ import annotations

import cv2

from ...opencv_settings import quiet


def open_capture(target: str | int, backend: int = cv2.CAP_ANY) -> cv2.VideoCapture | None:
    """Open a capture, or return None; never prints."""
    with quiet():
        try:
            capture = cv2.VideoCapture(target, backend)
        except cv2.error:
            return None
    if not capture.isOpened():
        capture.release()
        return None
    return capture


def has_backend(backend: int) -> bool:
    """Whether this build of OpenCV can read through a backend."""
    return backend in cv2.videoio_registry.getBackends() and cv2.videoio_registry.hasBackend(backend)

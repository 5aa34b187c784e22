"""Cameras on V4L2, CSI and GStreamer, through OpenCV.

Owns `CaptureFeed`, its stamps, and the opening of cameras.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ...errors import SourceNotFound
from ..address import redact
from ..info import Media
from .capture import has_backend, open_capture
from .descriptor import SourceDescriptor
from .live import LiveSource, Taken

_MAX_FAILED_READS = 3  # a camera drops a frame now and then; this many in a row are a loss
_OLDEST_STAMP_S = 1.0


class CaptureFeed:
    """A camera that OpenCV reads, through V4L2 or GStreamer.

    Parameters
    ----------
    capture : open
    driver_clock : `CAP_PROP_POS_MSEC` may be a stamp of the monotonic clock, as V4L2 gives it
    """

    media: Media | None = None

    def __init__(self, capture: cv2.VideoCapture, *, driver_clock: bool = False) -> None:
        self._capture = capture
        self._driver_clock = driver_clock
        self.fps: float | None = float(capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Taken]:
        """Take the frames as they come; ends when several in a row fail."""
        failed = 0
        while failed < _MAX_FAILED_READS:
            failed += 1
            if not self._capture.grab():
                continue
            # The stamp is taken between waiting for the frame and decoding it.
            captured_ns = time.monotonic_ns()
            if self._driver_clock:
                captured_ns = capture_stamp(self._capture.get(cv2.CAP_PROP_POS_MSEC), captured_ns)
            with_pixels, pixels = self._capture.retrieve()
            if with_pixels:
                failed = 0
                yield Taken(np.asarray(pixels, np.uint8), captured_ns)

    def close(self) -> None:
        """Close the device."""
        self._capture.release()


def _connected(
    address: str, target: str | int, backend: int, todo: str, *, driver_clock: bool = False
) -> CaptureFeed:
    """Open a camera, or say that it cannot be opened."""
    capture = open_capture(target, backend)
    if capture is None:
        raise SourceNotFound(f"{redact(address)} cannot be opened", todo=todo)
    return CaptureFeed(capture, driver_clock=driver_clock)


def capture_stamp(position_ms: float, now_ns: int) -> int:
    """Choose the driver's own time stamp if it is one of the monotonic clock, else the time of the grab.

    V4L2 stamps a frame when its exposure ends, on the clock of `time.monotonic_ns`; others count from the start of
    the stream, or not at all.

    Examples
    --------
    >>> capture_stamp(4_990.0, 5_000_000_000), capture_stamp(33.3, 5_000_000_000)
    (4990000000, 5000000000)
    """
    age_s = now_ns / 1e9 - position_ms / 1e3
    if 0 <= age_s <= _OLDEST_STAMP_S:
        return round(position_ms * 1e6)
    return now_ns


_TO_BGR = "! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"


def cameras() -> tuple[str, ...]:
    """Device files of the cameras of this machine; empty where the system has no such files."""
    return tuple(str(path) for path in sorted(Path("/dev").glob("video*")) if re.fullmatch(r"video\d+", path.name))


def open_camera(address: str, *, sequence: bool = False) -> LiveSource:
    """Open ``0``, ``/dev/video0``, ``v4l2:///dev/video0``, ``csi://0`` or ``gst://PIPELINE``.

    Raises
    ------
    SourceNotFound
        If there is no such camera, or it cannot be opened.
    """
    del sequence  # a camera is one anyway
    if address.startswith("csi://"):
        return _open_csi(address)
    if address.startswith("gst://"):
        return _open_pipeline(address)
    device = address.split("://", 1)[-1]
    number = int(device) if device.isdecimal() else None
    path = f"/dev/video{number}" if number is not None else device
    if sys.platform.startswith("linux"):
        if not Path(path).exists():
            found = cameras()
            raise SourceNotFound(
                f"There is no camera {address}", expected=f"a device {path}", available=found or ("no camera",),
                todo="Plug it in, or try sample:// which needs none",
            )  # fmt: skip
        todo = f"See that no other program uses it and that you may read {path} (group 'video')"
        return LiveSource(address, lambda: _connected(address, path, cv2.CAP_V4L2, todo, driver_clock=True))
    if number is None:
        raise SourceNotFound(f"There is no camera {address}", expected="a number, such as 0, on this system")
    todo = "See that no other program uses it"
    return LiveSource(address, lambda: _connected(address, number, cv2.CAP_ANY, todo))


def csi_pipeline(sensor: int) -> str:
    """Build the GStreamer pipeline of a CSI camera on Jetson; the newest frame wins already in its sink."""
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 "
        f"! nvvidconv ! video/x-raw,format=BGRx {_TO_BGR}"
    )


def own_pipeline(address: str) -> str:
    """Complete the pipeline behind ``gst://``: what it ends in is turned to BGR, and the newest frame wins."""
    pipeline = address.split("://", 1)[1].strip()
    return pipeline if "appsink" in pipeline else f"{pipeline} {_TO_BGR}"


def _open_csi(address: str) -> LiveSource:
    sensor = address.split("://", 1)[1] or "0"
    if not sensor.isdecimal():
        raise SourceNotFound(f"There is no CSI camera {address}", expected="a number, as in csi://0")
    _require_gstreamer(address)
    pipeline = csi_pipeline(int(sensor))
    todo = "See that the camera is seated and that nvargus-daemon runs"
    return LiveSource(address, lambda: _connected(address, pipeline, cv2.CAP_GSTREAMER, todo))


def _open_pipeline(address: str) -> LiveSource:
    """Open a pipeline of the user's own, such as one that decodes in hardware."""
    _require_gstreamer(address)
    pipeline = own_pipeline(address)
    todo = "Try the pipeline with gst-launch-1.0, and `fakesink` at its end"
    return LiveSource(address, lambda: _connected(address, pipeline, cv2.CAP_GSTREAMER, todo))


def _require_gstreamer(address: str) -> None:
    """Refuse where this OpenCV cannot read through GStreamer."""
    if not has_backend(cv2.CAP_GSTREAMER):
        raise SourceNotFound(
            f"{redact(address)} is read through GStreamer, and this OpenCV was built without it",
            expected="OpenCV with GStreamer, as JetPack brings it",
            todo="Remove the opencv-python wheel so that the system's cv2 is found, or use a USB camera",
        )


descriptor = SourceDescriptor(open=open_camera)

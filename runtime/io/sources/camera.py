"""Live sources: cameras and network streams.

Owns `LiveSource`: capture stamps, honest loss of signal, and the way back.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ...errors import SignalLost, SourceNotFound
from ...frame import Frame
from ..address import redact
from ..info import Signal, Source, SourceInfo
from .capture import NETWORK_OPTIONS, has_backend, open_capture
from .descriptor import SourceDescriptor
from .video import VideoFile

# Waits between attempts to reconnect; after the last one the signal counts as lost for good (62 s in all).
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_MAX_FAILED_READS = 3  # a camera drops a frame now and then; this many in a row are a loss
_OLDEST_STAMP_S = 1.0
_MAX_FPS = 240  # what drivers and containers say beyond is a time base, not a rate


class LiveSource:
    """A camera or a network stream that delivers at its own pace.

    When frames stop, the state is `Signal.NO_SIGNAL`, no frame is made up, and the source is opened again after
    growing waits. When the last attempt fails, `SignalLost` is raised.

    Parameters
    ----------
    address : as given; shown without credentials
    connect : opens a capture, or returns None
    todo : what to do if there is nothing
    first : a capture that is open already
    driver_clock : `CAP_PROP_POS_MSEC` may be a stamp of the monotonic clock, as V4L2 gives it
    backoff_s : waits between attempts

    Raises
    ------
    SourceNotFound
        If it cannot be opened the first time.
    """

    def __init__(
        self,
        address: str,
        connect: Callable[[], cv2.VideoCapture | None],
        *,
        todo: str,
        first: cv2.VideoCapture | None = None,
        driver_clock: bool = False,
        backoff_s: tuple[float, ...] = BACKOFF_S,
    ) -> None:
        shown = redact(address)
        capture = first if first is not None else connect()
        if capture is None:
            raise SourceNotFound(f"{shown} cannot be opened", todo=todo)
        self._connect = connect
        self._capture: cv2.VideoCapture | None = capture
        self._driver_clock = driver_clock
        self._backoff_s = backoff_s
        self._stop = threading.Event()
        self.signal = Signal.GOOD
        self.reconnects = 0
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.info = SourceInfo(address=shown, live=True, fps=fps if 0 < fps <= _MAX_FPS else None)

    def __iter__(self) -> Iterator[Frame]:
        """Deliver frames until `stop`.

        Raises
        ------
        SignalLost
            If the source stays silent through every attempt to open it again.
        """
        index = failed = 0
        while not self._stop.is_set():
            capture = self._capture
            # The stamp is taken between waiting for the frame and decoding it.
            if capture is not None and capture.grab():
                captured_ns = time.monotonic_ns()
                if self._driver_clock:
                    captured_ns = capture_stamp(capture.get(cv2.CAP_PROP_POS_MSEC), captured_ns)
                with_pixels, pixels = capture.retrieve()
                if with_pixels:
                    failed = 0
                    yield Frame(
                        np.asarray(pixels, np.uint8),
                        index,
                        captured_ns,
                        self.info.address,
                        captured_ns,
                        independent=False,
                    )
                    index += 1
                    continue
            failed += 1
            if failed >= _MAX_FAILED_READS and not self._stop.is_set():
                self._reconnect(index)
                failed = 0
        self.signal = Signal.ENDED

    def _reconnect(self, delivered: int) -> None:
        """Open the source again, with growing waits."""
        self.signal = Signal.NO_SIGNAL
        self.close()
        for wait_s in self._backoff_s:
            if self._stop.wait(wait_s):
                return
            self._capture = self._connect()
            if self._capture is not None:
                self.signal = Signal.GOOD
                self.reconnects += 1
                return
        self.signal = Signal.ENDED
        raise SignalLost(
            f"{self.info.address} stopped delivering and did not come back",
            found=f"{delivered} frames, then {len(self._backoff_s)} failed attempts to open it again",
            todo="See the cable, the power and the network, then start again",
        )

    def stop(self) -> None:
        """Ask the iteration to end; wakes it from waiting between attempts."""
        self._stop.set()

    def close(self) -> None:
        """Give the device back."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


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
    """Open ``0``, ``/dev/video0``, ``v4l2:///dev/video0``, ``csi://0`` or ``gst://PIPELINE``."""
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
        return LiveSource(address, lambda: open_capture(path, cv2.CAP_V4L2), todo=todo, driver_clock=True)
    if number is None:
        raise SourceNotFound(f"There is no camera {address}", expected="a number, such as 0, on this system")
    return LiveSource(address, lambda: open_capture(number, cv2.CAP_ANY), todo="See that no other program uses it")


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
    return LiveSource(address, lambda: open_capture(pipeline, cv2.CAP_GSTREAMER), todo=todo)


def _open_pipeline(address: str) -> LiveSource:
    """Open a pipeline of the user's own, such as one that decodes in hardware."""
    _require_gstreamer(address)
    pipeline = own_pipeline(address)
    todo = "Try the pipeline with gst-launch-1.0, and `fakesink` at its end"
    return LiveSource(address, lambda: open_capture(pipeline, cv2.CAP_GSTREAMER), todo=todo)


def _require_gstreamer(address: str) -> None:
    """Refuse where this OpenCV cannot read through GStreamer."""
    if not has_backend(cv2.CAP_GSTREAMER):
        raise SourceNotFound(
            f"{redact(address)} is read through GStreamer, and this OpenCV was built without it",
            expected="OpenCV with GStreamer, as JetPack brings it",
            todo="Remove the opencv-python wheel so that the system's cv2 is found, or use a USB camera",
        )


def open_network(address: str, *, sequence: bool = False) -> Source:
    """Open a network stream; a whole file behind http is read as a file, and drops nothing."""
    del sequence  # a network stream is one anyway

    def connect() -> cv2.VideoCapture | None:
        return open_capture(address, cv2.CAP_FFMPEG, NETWORK_OPTIONS)

    todo = "See that the address is right and that the machine answers"
    capture = connect()
    if capture is None:
        raise SourceNotFound(f"{redact(address)} cannot be opened", todo=todo)
    if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return VideoFile(address, capture)
    return LiveSource(address, connect, todo=todo, first=capture)


camera = SourceDescriptor(open=open_camera)
network = SourceDescriptor(open=open_network)

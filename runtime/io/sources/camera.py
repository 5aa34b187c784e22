"""Cameras on V4L2, through OpenCV.

Owns `CaptureFeed`, its stamps, the options of a camera, and its opening, also under another number.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import cv2
import numpy as np

from ...errors import SourceNotFound, UsageError
from ..address import redact, size_option, whole_number
from ..failures import Failure
from ..info import Media
from ..live.feed import Taken
from ..live.policy import LivePolicy
from ..live.source import LiveSource
from .camera_identity import CameraIdentity, find_again, identity_of
from .capture import open_capture
from .descriptor import SourceDescriptor

_MAX_FAILED_READS = 3  # a camera drops a frame now and then; this many in a row are a loss
_OLDEST_STAMP_S = 1.0
_OPTIONS = ("size", "fps", "format")


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraOptions:
    """What a camera is asked for; None leaves it to the driver.

    Parameters
    ----------
    size_wh : width and height in pixels
    fps : frames a second
    pixel_format : four letters of V4L2, such as ``MJPG`` or ``YUYV``
    """

    size_wh: tuple[int, int] | None = None
    fps: int | None = None
    pixel_format: str | None = None

    @classmethod
    def of(cls, address: str) -> CameraOptions:
        """Read ``?size=1280x720&fps=30&format=mjpg`` of an address.

        Raises
        ------
        UsageError
            If an option is not known or out of range.

        Examples
        --------
        >>> CameraOptions.of("0?size=1280x720&format=mjpg")
        CameraOptions(size_wh=(1280, 720), fps=None, pixel_format='MJPG')
        """
        options = dict(parse_qsl(address.partition("?")[2], keep_blank_values=True))
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise UsageError(
                f"{address!r} has an option that a camera does not", found=unknown[0], available=_OPTIONS
            )
        wanted = options.get("format")
        if wanted is not None and not re.fullmatch(r"[A-Za-z0-9]{3,4}", wanted):
            raise UsageError("Option 'format' is four letters of V4L2", expected="mjpg, yuyv, nv12, …", found=wanted)
        return cls(
            size_wh=size_option(options, (640, 480)) if "size" in options else None,
            fps=whole_number(options, "fps", 30, low=1, high=1000) if "fps" in options else None,
            pixel_format=None if wanted is None else wanted.upper().ljust(4),
        )

    def apply(self, capture: cv2.VideoCapture) -> tuple[str, ...]:
        """Ask a camera for them; returns what the driver gives instead, in words."""
        if self.pixel_format is not None:  # first of all: it decides which sizes there are
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self.pixel_format))
        if self.size_wh is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self.size_wh[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self.size_wh[1])
        if self.fps is not None:
            capture.set(cv2.CAP_PROP_FPS, self.fps)
        return self._refused(capture)

    def _refused(self, capture: cv2.VideoCapture) -> tuple[str, ...]:
        refused = []
        size_wh = round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if self.size_wh is not None and size_wh != self.size_wh:
            refused.append("size {}x{} was asked for; the driver gives {}x{}".format(*self.size_wh, *size_wh))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        if self.fps is not None and abs(fps - self.fps) > 0.5:
            refused.append(f"{self.fps} fps were asked for; the driver gives {fps:g}")
        code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        given = code.to_bytes(4, "little").decode("ascii", "replace")
        if self.pixel_format is not None and given != self.pixel_format:
            refused.append(f"format {self.pixel_format} was asked for; the driver gives {given}")
        return tuple(refused)


class CaptureFeed:
    """A camera that OpenCV reads, through V4L2 or GStreamer.

    Parameters
    ----------
    capture : open
    driver_clock : `CAP_PROP_POS_MSEC` may be a stamp of the monotonic clock, as V4L2 gives it
    notes : what the driver refused
    """

    media: Media | None = None
    frozen_frames = 60

    def __init__(self, capture: cv2.VideoCapture, *, driver_clock: bool = False, notes: tuple[str, ...] = ()) -> None:
        self._capture = capture
        self._driver_clock = driver_clock
        self.notes = notes
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


def cameras() -> tuple[str, ...]:
    """Device files of the cameras of this machine; empty where the system has no such files."""
    return tuple(str(path) for path in sorted(Path("/dev").glob("video*")) if re.fullmatch(r"video\d+", path.name))


def open_camera(address: str, *, sequence: bool = False, policy: LivePolicy | None = None) -> LiveSource:
    """Open ``0``, ``/dev/video0`` or ``v4l2:///dev/video0``, with ``?size=1280x720&fps=30&format=mjpg``.

    Parameters
    ----------
    address : of the camera
    sequence : of no use here
    policy : how long it is waited for

    Raises
    ------
    SourceNotFound
        If there is no such camera, or it cannot be opened.
    UsageError
        If it has no such option.
    """
    del sequence  # a camera is one anyway
    device = address.split("://", 1)[-1].partition("?")[0]
    options = CameraOptions.of(address)
    number = int(device) if device.isdecimal() else None
    path = f"/dev/video{number}" if number is not None else device
    if sys.platform.startswith("linux"):
        if not Path(path).exists() and not (policy is not None and policy.wait):
            raise _missing(address, path)
        finder = _Finder(address, path, options)
        return LiveSource(address, finder.connect, policy=policy)
    if number is None:
        raise SourceNotFound(f"There is no camera {address}", expected="a number, such as 0, on this system")
    return LiveSource(address, lambda: _connected(address, number, cv2.CAP_ANY, options), policy=policy)


class _Finder:
    """Opens the same camera again, whatever number it has by then."""

    def __init__(self, address: str, path: str, options: CameraOptions) -> None:
        self._address, self._path, self._options = address, path, options
        self._identity: CameraIdentity | None = None

    def connect(self) -> CaptureFeed:
        """Open the camera.

        Raises
        ------
        SourceNotFound
            If it is not there, or cannot be opened.
        """
        path = self._path
        if self._identity is not None:
            node = find_again(self._identity)
            if node is None:
                raise _missing(self._address, path)
            path = f"/dev/{node}"
        if not Path(path).exists():
            raise _missing(self._address, path)
        # OpenCV waits ten seconds for a frame in a call that nothing can interrupt.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")
        feed = _connected(self._address, path, cv2.CAP_V4L2, self._options, driver_clock=True)
        if self._identity is None:
            self._identity = identity_of(Path(os.path.realpath(path)).name)
        return feed


def _connected(
    address: str, target: str | int, backend: int, options: CameraOptions, *, driver_clock: bool = False
) -> CaptureFeed:
    """Open a camera, or say that it cannot be opened."""
    capture = open_capture(target, backend)
    if capture is None:
        todo = "See that no other program uses it"
        if isinstance(target, str):
            todo += f" and that you may read {target} (group 'video')"
        raise SourceNotFound(f"{redact(address)} cannot be opened", todo=todo)
    return CaptureFeed(capture, driver_clock=driver_clock, notes=options.apply(capture))


def _missing(address: str, path: str) -> SourceNotFound:
    return SourceNotFound(
        f"There is no camera {address}", expected=f"a device {path}", available=cameras() or ("no camera",),
        todo="Plug it in, or try sample:// which needs none", kind=Failure.NOT_FOUND.name,
    )  # fmt: skip


descriptor = SourceDescriptor(open=open_camera, live=True)

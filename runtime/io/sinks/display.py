"""A window on the screen.

Owns `DisplaySink` and the test whether there is a screen at all.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

import cv2

from ...errors import SinkError
from ...tasks.task import Result
from ..info import SourceInfo
from .descriptor import SinkDescriptor
from .sink import StopStream, image_of
from .video_options import VideoOptions

_QUIT_KEYS = (ord("q"), ord("Q"), 27)


def display_problem() -> str:
    """Why no window can be shown, or an empty string.

    OpenCV's window library ends the whole process when it finds no screen, so this is asked before.
    """
    if not sys.platform.startswith("linux"):
        return ""
    display = os.environ.get("DISPLAY", "")
    if not display:
        return "there is no screen: DISPLAY is not set"
    try:
        _knock(display)
    except (OSError, ValueError) as error:
        return f"no screen answers at DISPLAY {display} ({error})"
    return ""


def _knock(display: str) -> None:
    """Connect to an X server and hang up; `OSError` or `ValueError` if that is not possible."""
    host, _, number = display.rpartition(":")
    screen = int(number.split(".")[0])
    if host not in ("", "unix"):
        socket.create_connection((host, 6000 + screen), timeout=2.0).close()
        return
    path = f"/tmp/.X11-unix/X{screen}"
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(1.0)
        if link.connect_ex("\0" + path) != 0:  # the abstract name is what most servers listen on
            link.connect(path)


class DisplaySink:
    """Show the results in a window; ``q``, ESC or closing the window end the stream.

    A file is shown at its own rate, a live source at once.

    Raises
    ------
    SinkError
        If there is no screen, or OpenCV was built without windows.
    """

    in_callers_thread = True
    wants = "newest"
    notes = ()

    def __init__(self, address: str, info: SourceInfo) -> None:
        self.address = address
        self._title = f"steadyframe - {info.address}"
        self._live = info.live
        self._step_s = 0.0 if info.live or not info.fps else 1.0 / info.fps
        self._due_s = 0.0
        self._pause = info.independent
        problem = display_problem()
        if problem:
            raise SinkError(f"No window can be shown: {problem}", todo="Name an output file, or pass --headless")
        # OpenCV's wheel brings Qt without fonts, and Qt says so four times.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise SinkError(
                "No window can be shown: this OpenCV was built without windows",
                todo="pip install opencv-python instead of opencv-python-headless, or pass --headless",
            ) from error
        self._shown = False

    def write(self, result: Result[Any]) -> None:
        """Show one image, at its time."""
        pixels = image_of(result)
        if not self._shown:
            cv2.resizeWindow(self._title, min(pixels.shape[1], 1600), min(pixels.shape[0], 900))
            self._shown = True
        cv2.imshow(self._title, pixels)
        now = time.monotonic()
        wait_s = max(0.0, self._due_s - now)
        self._due_s = max(self._due_s, now - self._step_s) + self._step_s
        # Independent images wait for a key: a folder of them would otherwise flash by.
        key = cv2.waitKey(0 if self._pause else max(1, round(wait_s * 1000)))
        closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        if (key & 0xFF) in _QUIT_KEYS or closed:
            raise StopStream

    def close(self) -> None:
        """Close the window."""
        try:
            cv2.destroyWindow(self._title)
        except cv2.error:
            return  # the user has closed it already

    def discard(self) -> None:
        """Close the window."""
        self.close()


def open_display(address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> DisplaySink:
    """Open a window for the results of a source."""
    del task, video
    return DisplaySink(address, info)


descriptor = SinkDescriptor(open=open_display)

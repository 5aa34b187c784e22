"""A window on the screen.

Owns `DisplaySink` and the test whether there is a screen at all.
"""

from __future__ import annotations

import os
import socket
import sys
import textwrap
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import SinkError
from ...tasks.task import Result
from ..info import SourceInfo
from ..live.signal import Signal, SignalEvent
from .descriptor import SinkDescriptor
from .sink import StopStream, image_of
from .video_options import VideoOptions

_LARGEST_WH = (1600, 900)
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
    """Show the results in a window; ``q``, ESC or closing the window end the stream, also while no frame comes.

    A file is shown at its own rate, a live source at once. While a live source has no signal, its last image is shown
    darkened, with the state and its cause.

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
        self._step_s = 0.0 if info.live or not info.fps else 1.0 / info.fps
        self._due_s = 0.0
        self._pause = info.independent
        self._image: NDArray[np.uint8] | None = None
        self._said = ""  # state that is drawn over the last image
        self._size_wh: tuple[int, int] | None = None
        problem = display_problem()
        if problem:
            raise SinkError(f"No window can be shown: {problem}", todo="Name an output file, or pass --headless")
        # OpenCV's wheel brings Qt without fonts, and Qt says so four times.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise SinkError(
                "No window can be shown: this OpenCV was built without windows",
                todo="pip install opencv-python instead of opencv-python-headless, or pass --headless",
            ) from error

    def write(self, result: Result[Any]) -> None:
        """Show one image, at its time.

        Raises
        ------
        StopStream
            If the user has seen enough.
        """
        self._image, self._said = image_of(result), ""
        self._show(self._image)
        now = time.monotonic()
        wait_s = max(0.0, self._due_s - now)
        self._due_s = max(self._due_s, now - self._step_s) + self._step_s
        # Independent images wait for a key: a folder of them would otherwise flash by.
        self._listen(0 if self._pause else max(1, round(wait_s * 1000)))

    def idle(self, event: SignalEvent | None) -> None:
        """Listen to the user while no result comes, and show why none does.

        Parameters
        ----------
        event : state of the source; None where it has none

        Raises
        ------
        StopStream
            If the user has seen enough.
        """
        if event is not None and event.signal not in (Signal.LIVE, Signal.ENDED):
            said = event.text
            if said != self._said:
                self._said = said
                self._show(without_signal(self._image, event))
        self._listen(1)

    def close(self) -> None:
        """Close the window."""
        try:
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
        except cv2.error:
            return  # the user has closed it already

    def discard(self) -> None:
        """Close the window."""
        self.close()

    def _show(self, pixels: NDArray[np.uint8]) -> None:
        """Show an image in its own size, as far as it fits onto a screen."""
        size_wh = (pixels.shape[1], pixels.shape[0])
        if size_wh != self._size_wh:
            shrink = max(1.0, size_wh[0] / _LARGEST_WH[0], size_wh[1] / _LARGEST_WH[1])
            cv2.resizeWindow(self._title, round(size_wh[0] / shrink), round(size_wh[1] / shrink))
            self._size_wh = size_wh
        cv2.imshow(self._title, pixels)

    def _listen(self, milliseconds: int) -> None:
        """Wait for a key or for the window to be closed."""
        key = cv2.waitKey(milliseconds)
        try:
            closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:  # OpenCV 5, where the window is not there any more
            closed = True
        if (key & 0xFF) in _QUIT_KEYS or closed:
            raise StopStream


def without_signal(image: NDArray[np.uint8] | None, event: SignalEvent) -> NDArray[np.uint8]:
    """Draw a state over the last image, darkened; (H, W, 3) uint8 BGR, a dark one of 640x480 without an image."""
    ground = np.full((480, 640, 3), 32, np.uint8) if image is None else np.asarray(image * np.float32(0.35), np.uint8)
    height, width = ground.shape[:2]
    head = event.signal.name.replace("_", " ") + (f"  {event.cause.name}" if event.cause is not None else "")
    lines = [(head, 1.0), *((part, 0.5) for part in textwrap.wrap(event.detail, 60)[:3])]
    y = height // 2
    for text, size in lines:
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)
        scale = min(size * max(0.5, width / 640), 0.92 * width / max(1, wide))
        at = (round((width - wide * scale) / 2), y)
        for color, thick in (((0, 0, 0), 5), ((255, 255, 255), 1 + (size == 1.0))):
            cv2.putText(ground, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thick, cv2.LINE_AA)
        y += round(2.0 * high * scale) + 6
    return ground


def open_display(address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> DisplaySink:
    """Open a window for the results of a source."""
    del task, video
    return DisplaySink(address, info)


descriptor = SinkDescriptor(open=open_display)

"""Video files.

Owns `VideoFile`, and the judgement whether a file ended where it should.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ...errors import SignalLost, SourceNotFound
from ...frame import Frame
from ..address import redact
from ..info import Signal, SourceInfo
from .capture import open_file

# Matroska stores a duration, not a count, and OpenCV's count from it is up to one frame too high on sound files.
_COUNT_SLACK_FRAMES = 2
_COUNT_SLACK_SHARE = 0.01
_NO_FPS = 1000.0  # what OpenCV answers when the container has no rate is 0, or the time base


class VideoFile:
    """Frames of a video, by path or by the http address of a file.

    Parameters
    ----------
    address : path or URL
    capture : of the URL, open already

    Raises
    ------
    SourceNotFound
        If there is no such file, or nothing in it that OpenCV can decode.
    """

    def __init__(self, address: str, capture: cv2.VideoCapture | None = None) -> None:
        self._shown = redact(address)
        local = capture is None
        if local and Path(address).stat().st_size == 0:
            raise SourceNotFound(f"{self._shown} is empty", expected="a video", found="0 bytes")
        if capture is None:
            capture = open_file(address)
        if capture is None:
            raise SourceNotFound(
                f"{self._shown} cannot be read as a video",
                expected="a video or image that OpenCV can decode",
                todo="If it is a video, it may be cut off: an .mp4 keeps its index at the end",
            )
        self._capture = capture
        self._stopped = False
        self.signal = Signal.GOOD
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.info = SourceInfo(
            address=self._shown,
            fps=fps if 0 < fps < _NO_FPS else None,
            count=count if count > 0 else None,
            folders=(str(Path(address).resolve().parent),) if local else (),
        )

    def __iter__(self) -> Iterator[Frame]:
        """Decode to the end.

        Raises
        ------
        SignalLost
            After the last good frame, if the file holds fewer frames than its container promises.
        """
        index, seen_ms = 0, 0.0
        frame_ns = 1e9 / (self.info.fps or 30.0)
        while not self._stopped:
            started_ns = time.monotonic_ns()
            with_pixels, pixels = self._capture.read()
            if not with_pixels:
                break
            seen_ms = max(seen_ms, self._capture.get(cv2.CAP_PROP_POS_MSEC))
            yield Frame(
                np.asarray(pixels, np.uint8),
                index,
                started_ns,
                self._shown,
                round(index * frame_ns),
                independent=False,
            )
            index += 1
        self.signal = Signal.ENDED
        if not self._stopped:
            self._judge_end(index, seen_ms)

    def _judge_end(self, decoded: int, seen_ms: float) -> None:
        """Raise if the file is cut off: frames and time are both missing at its end."""
        promised = self.info.count or 0
        if decoded == 0:
            raise SignalLost(
                f"{self._shown} holds no frame that can be decoded",
                expected=f"{promised or 'some'} frames",
                found="0",
            )
        missing = promised - decoded
        if missing <= max(_COUNT_SLACK_FRAMES, _COUNT_SLACK_SHARE * promised):
            return
        # A variable rate makes the count an estimate; the time stamps then reach the end all the same.
        frame_ms = 1000.0 / (self.info.fps or 30.0)
        if promised * frame_ms - seen_ms <= (_COUNT_SLACK_FRAMES + 1) * frame_ms:
            return
        raise SignalLost(
            f"{self._shown} is cut off: it ends before its container says so",
            expected=f"about {promised} frames",
            found=f"{decoded} frames; they were all delivered",
            todo="Copy or record the file again",
        )

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopped = True

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

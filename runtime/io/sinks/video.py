"""Video files.

Owns `VideoSink`: one file, written under another name and renamed when it is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import SinkError
from ...files import remove, unfinished_name
from ...opencv_settings import quiet
from ...tasks.task import Result
from ..info import SourceInfo
from ..sources.capture import open_capture
from .descriptor import SinkDescriptor
from .sink import image_of, make_folder

# Every OpenCV wheel can write these without a further library; H.264 it cannot.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_PROBE_WH = (64, 64)
_FALLBACK_FPS = 30.0
_MAX_HELD = 300  # frames written for one gap at most: ten seconds at 30 fps


class VideoSink:
    """Write the result's images as a video.

    A recording of a live source keeps real time: where frames were dropped, the last image is held, and an image
    that comes too early for the rate is left out. Codecs store color at half size: an odd side grows by one pixel, a
    copy of its last.

    Parameters
    ----------
    path : .mp4, .mkv, .avi, .mov or .m4v
    info : of the source; gives the rate

    Raises
    ------
    SinkError
        On opening, if the folder cannot be written or OpenCV lacks the codec; later, if an image has another size
        than the first one, or the finished file cannot be read back.
    """

    in_callers_thread = False
    wants = "every"

    def __init__(self, path: Path, info: SourceInfo) -> None:
        self.address = str(path)
        self._path = path
        self._unfinished = unfinished_name(path)
        self._live = info.live
        self._fps = info.fps or _FALLBACK_FPS
        self._size_wh: tuple[int, int] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._start_ns = 0
        self._written = 0
        if path.is_dir():
            raise SinkError(f"{path} is a folder, not a video file")
        make_folder(path.parent)
        # The real size is known with the first result only; the codec and the disk are proven now.
        self._open(_PROBE_WH).release()
        self.discard()

    def _open(self, size_wh: tuple[int, int]) -> cv2.VideoWriter:
        codec = CODECS[self._path.suffix.lower()]
        with quiet():
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(self._unfinished), cv2.CAP_FFMPEG, fourcc, self._fps, size_wh)
        if not writer.isOpened():
            remove(self._unfinished)
            raise SinkError(
                f"OpenCV cannot write {self._path}",
                expected=f"the codec {codec} at {size_wh[0]}x{size_wh[1]}, {self._fps:g} fps",
                todo="Write numbered images instead, such as 'out_%05d.png'",
            )
        return writer

    def write(self, result: Result[Any]) -> None:
        """Append one image."""
        pixels = _with_even_sides(image_of(result.output))
        size_wh = (pixels.shape[1], pixels.shape[0])
        if self._writer is None:
            self._writer = self._open(size_wh)
            self._size_wh = size_wh
            self._start_ns = result.frame.captured_ns
        if size_wh != self._size_wh:
            raise SinkError(
                f"{self._path} is a video of one size, and the images changed theirs",
                expected="{}x{}".format(*(self._size_wh or (0, 0))),
                found="{}x{}".format(*size_wh),
                todo="Write to a folder/ or to numbered images, which may differ in size",
            )
        for _ in range(self._repeats(result)):
            self._writer.write(pixels)
            self._written += 1

    def _repeats(self, result: Result[Any]) -> int:
        """How often an image is written so that a live recording keeps real time."""
        if not self._live or self._written == 0:
            return 1
        due = round((result.frame.captured_ns - self._start_ns) * 1e-9 * self._fps) + 1
        return min(max(0, due - self._written), _MAX_HELD)

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        capture = open_capture(str(self._unfinished), cv2.CAP_FFMPEG)
        readable = capture is not None and capture.grab()
        if capture is not None:
            capture.release()
        if not readable:  # OpenCV's writer reports no error, not even a full disk
            self.discard()
            raise SinkError(f"{self._path} could not be finished", todo="See whether the disk is full")
        try:
            self._unfinished.replace(self._path)
        except OSError as error:
            self.discard()
            raise SinkError(f"{self._path} cannot be written ({error.strerror})") from error

    def discard(self) -> None:
        """Remove what was begun; a file that lay there before stays as it was."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        remove(self._unfinished)


def _with_even_sides(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row or column where a side is odd; OpenCV's writer would cut it off."""
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return pixels
    return np.asarray(cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)


def open_video(address: str, info: SourceInfo, task: str) -> VideoSink:
    """Open a video file.

    Raises
    ------
    SinkError
        If it is the input.
    """
    del task
    path, given = Path(address), Path(info.address)
    if path.exists() and given.exists() and path.samefile(given):
        raise SinkError(f"{path} is the input", todo="Name another output")
    return VideoSink(path, info)


descriptor = SinkDescriptor(open=open_video)

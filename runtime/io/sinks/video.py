"""Video files.

Owns `VideoSink`: which frames go into a file at which time, and when the file gets its name. How they are encoded is
the business of `io.encode`.
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import SinkError
from ...files import Presence, behind_link, refuse_long_name, remove, sweep, unfinished_name
from ...planes import Planes
from ...tasks.task import Result
from ..encode import ENCODERS, VideoPlan, VideoWriter, free_bytes, refuse_missing_encoder
from ..info import Media, SourceInfo
from ..soundtrack import Soundtrack
from .descriptor import SinkDescriptor
from .sink import image_of, make_folder, planes_of
from .video_options import VideoOptions

_FALLBACK_FPS = 30.0
_LEAST_FREE = 1 << 20


class VideoSink:
    """Write the result's images as a video.

    A file keeps the time stamps, the pixel aspect and the sound of the file it was made from, and appears when it is
    whole. A recording of a live source is stamped with the time of capture and written in fragments under its own
    name, so that a crash costs a second at most. Codecs store color at half size: an odd side grows by one pixel, a
    copy of its last.

    Parameters
    ----------
    path : .mp4, .mkv, .webm, .avi, .mov or .m4v
    info : of the source
    options : quality and encoder

    Raises
    ------
    SinkError
        On opening, if the folder cannot be written or is full; later, as soon as a write fails, or if an image has
        another size than the first one.
    """

    in_callers_thread = False
    wants = "every"

    def __init__(self, path: Path, info: SourceInfo, options: VideoOptions | None = None) -> None:
        self.address = str(path)
        self.notes: list[str] = []
        self._path = path
        self._info = info
        self._options = options or VideoOptions()
        refuse_long_name(path)
        refuse_missing_encoder(path.suffix.lower(), self._options.encoder)
        if path.is_dir():
            raise SinkError(f"{path} is a folder, not a video file")
        self._target = behind_link(path)
        make_folder(self._target.parent)
        sweep(self._target.parent)
        self._writes_to = self._target if info.live else unfinished_name(self._target)
        self._presence = Presence(self._writes_to, path)
        self._size_wh: tuple[int, int] | None = None
        self._writer: VideoWriter | None = None
        self._beside: Soundtrack | None = None
        self._start_ns = 0
        self._written = 0
        free = free_bytes(self._target.parent)
        if free is not None and free < _LEAST_FREE:
            raise SinkError(f"There is no room for {path}", found=f"{free} free bytes", todo="Make room on the disk")

    def write(self, result: Result[Any]) -> None:
        """Append one image.

        Raises
        ------
        SinkError
            If it cannot be written, or the size of the images changed.
        """
        image = self._image(result)
        size_wh = image.size_wh if isinstance(image, Planes) else (image.shape[1], image.shape[0])
        if self._writer is None:
            self._start_ns = result.frame.captured_ns
            self._writer = self._open(size_wh, image)
            self._size_wh = size_wh
        if self._info.live and self._size_wh is not None and size_wh != self._size_wh:
            image = fitted(image_of(result), self._size_wh)
            self._note_size(size_wh)
        elif size_wh != self._size_wh:
            raise SinkError(
                f"{self._path} is a video of one size, and the images changed theirs",
                expected="{}x{}".format(*(self._size_wh or (0, 0))),
                found="{}x{}".format(*size_wh),
                todo="Write to a folder/ or to numbered images, which may differ in size",
            )
        self._presence.check()
        self._writer.write(image, self._time_ns(result))
        self._written += 1

    def _note_size(self, size_wh: tuple[int, int]) -> None:
        """Say once that images of another size were fitted in."""
        note = "{}: images of {}x{} were fitted into {}x{}".format(self._path, *size_wh, *(self._size_wh or (0, 0)))
        if note not in self.notes:
            self.notes.append(note)

    def _image(self, result: Result[Any]) -> Planes | NDArray[np.uint8]:
        """Take planes where there are any: nothing is converted that the encoder does not want."""
        planes = planes_of(result)
        return image_of(result) if planes is None else planes

    def _time_ns(self, result: Result[Any]) -> int:
        """Time of a result on the output's own time line."""
        if self._info.live:
            return result.frame.captured_ns - self._start_ns
        if self._info.media is not None:
            return result.frame.time_ns
        return round(self._written * 1e9 / (self._info.fps or _FALLBACK_FPS))

    def _open(self, size_wh: tuple[int, int], image: Planes | NDArray[np.uint8]) -> VideoWriter:
        media = self._info.media
        plan = VideoPlan(
            fps=self._info.fps,
            time_base=None if media is None or self._info.live else media.time_base,
            sample_aspect=Fraction(1) if media is None else media.sample_aspect,
            quality=self._options.quality,
            encoder=self._options.encoder,
            live=self._info.live,
        )
        self._beside = self._soundtrack(media)
        tags = image.tags if isinstance(image, Planes) else None
        return VideoWriter(self._writes_to, size_wh, tags, plan, self._beside, shown=self._path)

    def _soundtrack(self, media: Media | None) -> Soundtrack | None:
        """Open what goes along; say what cannot."""
        if media is None or not media.others:
            return None
        what = " and ".join(sorted(set(media.others)))
        if self._info.live or not media.target:
            kind = "live" if self._info.live else "a pipe"
            self.notes.append(f"{self._path}: {what} not kept: the input is {kind}")
            return None
        try:
            return Soundtrack(media.target, media.options, media.start_ns, media.video_index)
        except OSError:
            self.notes.append(f"{self._path}: {what} not kept: it could not be read a second time")
            return None

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises
        ------
        SinkError
            If it cannot be written.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.finish()
            if self._writes_to != self._target:
                os.replace(self._writes_to, self._target)
        except OSError as error:
            self.discard()
            raise SinkError(f"{self._path} cannot be written ({error.strerror})") from error
        except SinkError:
            self.discard()
            raise
        if self._beside is not None:
            self.notes += [f"{self._path}: {note}" for note in self._beside.notes]

    def discard(self) -> None:
        """Remove what was begun; a file that lay there before stays. What was recorded live is kept as it is."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        if self._writes_to != self._target:
            remove(self._writes_to)


CODECS = ENCODERS


def fitted(pixels: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Fit an image, (H, W, 3), into a size with its shape kept; what it does not cover is black."""
    height, width = pixels.shape[:2]
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner_wh = max(1, round(width * scale)), max(1, round(height * scale))
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    left, top = (size_wh[0] - inner_wh[0]) // 2, (size_wh[1] - inner_wh[1]) // 2
    canvas[top : top + inner_wh[1], left : left + inner_wh[0]] = cv2.resize(pixels, inner_wh, interpolation=kernel)
    return canvas


def open_video(address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> VideoSink:
    """Open a video file.

    Raises
    ------
    SinkError
        If it is the input.
    """
    del task
    path = Path(address)
    target = info.media.target.removeprefix("file:") if info.media is not None else ""
    given = Path(target or info.address)
    if os.path.exists(path) and os.path.exists(given) and path.samefile(given):
        raise SinkError(f"{path} is the input", todo="Name another output")
    return VideoSink(path, info, video)


descriptor = SinkDescriptor(open=open_video)

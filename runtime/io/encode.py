"""The one way from results to a video file that plays everywhere.

Owns `VideoWriter` and the choice of codecs by the file's ending. Imports PyAV.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError
from ..planes import (
    BT601_525,
    BT709,
    BT2020,
    UNSPECIFIED,
    ColorTags,
    Planes,
    reformatter,
    sws_matrix,
    tag,
    video_frame,
)
from .names import ffmpeg_name
from .soundtrack import Soundtrack

_SECOND = 1_000_000_000
_KEYFRAME_S = 2.0  # a player that seeks decodes at most so much
_LIVE_KEYFRAME_S = 1.0
_FRAGMENT_S = 0.5
_COARSEST, _FINEST = 10_000, 1_000_000  # ticks a second that containers and players take
_HD_HEIGHT = 720  # from here on players that do not read tags take BT.709, below it BT.601
_BGR_TAGS = ColorTags(matrix=BT709, full_range=True)  # of what comes as BGR
_QUALITY = 20  # x264's crf: what is hardly told from the original
_FALLBACK_FPS = 30.0
# Pixels above which x264 looks less far ahead: at 4K it then holds 240 MB of frames less, for 5 % more bytes.
_LARGE = 4_000_000
_FRUGAL = {"x264-params": "bframes=0:ref=1:rc-lookahead=2:sync-lookahead=0:threads=2"}

# Output suffix -> encoder of its image.
ENCODERS = {
    ".mp4": "libx264",
    ".m4v": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx-vp9",
    ".avi": "mjpeg",
}
# Name on the command line -> H.264 encoder.
HARDWARE = {"x264": "libx264", "nvenc": "h264_nvenc", "v4l2m2m": "h264_v4l2m2m"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPlan:
    """How a video is to be written.

    Parameters
    ----------
    fps : nominal frames a second
    time_base : unit of the source's time stamps in seconds
    sample_aspect : width of a pixel over its height
    quality : 0 (lossless) to 51, x264's constant rate factor; None for the usual
    encoder : ``x264``, ``nvenc`` or ``v4l2m2m``
    live : written in fragments, so that a crash costs a second at most
    """

    fps: float | None = None
    time_base: Fraction | None = None
    sample_aspect: Fraction = Fraction(1)
    quality: int | None = None
    encoder: str = "x264"
    live: bool = False


class VideoWriter:
    """Writes frames of one size, with the time of each.

    Parameters
    ----------
    path : file to write, as it is; its ending chooses the container
    size_wh : of the frames; an odd side grows by one pixel, a copy of its last
    tags : of the first frame, if it comes as planes: they are written as they are
    plan : all else
    beside : what travels along from the input, or None
    shown : name for messages, where it is written under another one

    Raises
    ------
    SinkError
        If the encoder or the file cannot be opened; later, as soon as a write fails.
    """

    def __init__(
        self,
        path: Path,
        size_wh: tuple[int, int],
        tags: ColorTags | None,
        plan: VideoPlan,
        beside: Soundtrack | None = None,
        *,
        shown: Path | None = None,
    ) -> None:
        self._path = shown or path
        self._tags = stated(tags or bgr_tags(size_wh))
        self._plan = plan
        self._beside = beside
        self._suffix = path.suffix.lower()
        fps = plan.fps or _FALLBACK_FPS
        self._time_base = time_base_for(plan.time_base, fps, constant=self._suffix == ".avi")
        self._frame_ticks = max(1, round(1 / fps / self._time_base))
        self._last: int | None = None
        self._delta = self._frame_ticks
        self._closed = False
        try:
            self._container = av.open(
                ffmpeg_name(path), "w", format=_muxer(self._suffix), container_options=self._container_options()
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._failed(error) from error
        try:
            self._stream = self._add_video(size_wh, fps)
            if beside is not None:
                beside.begin(self._container, self._suffix)
            self._container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            self.abandon()
            raise self._failed(error) from error

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return str(self._stream.codec_context.name)

    def write(self, image: Planes | NDArray[np.uint8], time_ns: int) -> None:
        """Append a frame, as planes or (H, W, 3) BGR, at its time on the output's own time line."""
        frame = self._frame(image)
        ticks = round(time_ns / _SECOND / self._time_base)
        if self._last is not None:
            if ticks <= self._last:
                ticks = self._last + 1
            self._delta = ticks - self._last
        self._last = ticks
        frame.pts, frame.time_base = ticks, self._time_base
        try:
            self._mux(self._stream.encode(frame))
            if self._beside is not None:
                self._beside.follow(self._container, time_ns)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Write what the encoder still holds, the rest of the sound, and the index.

        Raises
        ------
        SinkError
            If it cannot be written; the file is closed all the same.
        """
        if self._closed:
            return
        try:
            self._mux(self._stream.encode(None))
            if self._beside is not None:
                ends = round(((self._last or 0) + self._delta) * self._time_base * _SECOND)
                self._beside.finish(self._container, ends, round(self._delta * self._time_base * _SECOND) // 2)
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            self.abandon()
            raise self._failed(error) from error
        self._closed = True
        if self._beside is not None:
            self._beside.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        if self._closed:
            return
        self._closed = True
        if self._beside is not None:
            self._beside.close()
        try:
            self._container.close()
        except (av.FFmpegError, OSError):
            return  # the first failure was told already

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            packet.duration = self._delta if packet.pts == self._last else self._frame_ticks
            self._container.mux(packet)

    def _add_video(self, size_wh: tuple[int, int], fps: float) -> Any:
        """Add and set up the stream of the image."""
        name = ENCODERS[self._suffix]
        if name == "libx264":
            name = HARDWARE[self._plan.encoder]
        stream: Any = self._container.add_stream(name, rate=_fraction(fps))
        context = stream.codec_context
        context.width, context.height = (side + side % 2 for side in size_wh)
        context.pix_fmt = "yuvj420p" if name == "mjpeg" else "yuv420p"
        context.time_base = self._time_base
        context.sample_aspect_ratio = self._plan.sample_aspect
        if name != "mjpeg":
            context.color_range = 2 if self._tags.full_range else 1
            context.colorspace, context.color_primaries = self._tags.matrix, self._tags.primaries
            context.color_trc = self._tags.transfer
        context.gop_size = max(1, round(fps * (_LIVE_KEYFRAME_S if self._plan.live else _KEYFRAME_S)))
        context.options = self._encoder_options(name, context)
        context.open()
        return stream

    def _encoder_options(self, name: str, context: Any) -> dict[str, str]:
        quality = _QUALITY if self._plan.quality is None else self._plan.quality
        if name == "libx264":
            options = {"preset": "veryfast", "crf": str(quality)}
            if context.width * context.height > _LARGE:
                options |= _FRUGAL
            return options | ({"tune": "zerolatency"} if self._plan.live else {})
        if name == "h264_nvenc":
            return {"preset": "p4", "rc": "constqp", "qp": str(quality)}
        if name == "libvpx-vp9":
            return {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": str(quality + 8), "b": "0"}
        if name == "mjpeg":
            return {"qmin": "2", "qmax": "2"}
        return {"b": "8M"}

    def _container_options(self) -> dict[str, str]:
        micros = str(round(_FRAGMENT_S * 1e6))
        if self._suffix in (".mp4", ".m4v", ".mov"):
            if self._plan.live:
                flags = "empty_moov+default_base_moof"
                return {"movflags": flags, "frag_duration": micros, "flush_packets": "1"}
            return {"movflags": "faststart"}
        if self._plan.live and self._suffix in (".mkv", ".webm"):
            return {"cluster_time_limit": str(round(_FRAGMENT_S * 1e3)), "flush_packets": "1"}
        return {}

    def _frame(self, image: Planes | NDArray[np.uint8]) -> Any:
        """Bring a frame to the encoder's format; planes of 4:2:0 are taken over as they are."""
        target = self._stream.codec_context.pix_fmt
        if isinstance(image, Planes):
            planes = even_planes(image)
            same = _same(planes.tags, self._tags)
            frame = video_frame(replace(planes, tags=self._tags) if same else planes)
            if same and frame.format.name == target:
                return frame
        else:
            pixels = even_pixels(image)
            frame = tag(av.VideoFrame.from_ndarray(pixels, format="bgr24"), _BGR_TAGS)
        full = self._tags.full_range or str(target) == "yuvj420p"
        made = reformatter().reformat(
            frame,
            format=target,
            dst_colorspace=sws_matrix(self._tags.matrix),
            dst_color_range=2 if full else 1,
            threads=1,
        )
        return tag(made, replace(self._tags, full_range=full))

    def _failed(self, error: BaseException) -> SinkError:
        """Say why a write failed."""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        todo = "See whether the disk is full" if getattr(error, "errno", 0) in _FULL else ""
        name = ENCODERS.get(self._suffix, "")
        if isinstance(error, ValueError) or type(error).__name__ in (
            "ExternalError",
            "UnknownError",
            "ArgumentError",
        ):
            todo = f"See whether this machine has the encoder {HARDWARE.get(self._plan.encoder, name)}"
        return SinkError(f"{self._path} cannot be written ({reason.rstrip('.')})", todo=todo)


_BT2020_TRANSFER = 14
_FULL = (28, 122)  # ENOSPC, EDQUOT


def bgr_tags(size_wh: tuple[int, int]) -> ColorTags:
    """Choose how BGR is stored: as players take a video of this size that has no tags."""
    return ColorTags(matrix=BT709 if size_wh[1] >= _HD_HEIGHT or size_wh[0] >= 1280 else BT601_525)


def stated(tags: ColorTags) -> ColorTags:
    """Fill in the tags that a source leaves open, as they were read; browsers ignore a matrix that stands alone."""
    matrix = BT601_525 if tags.matrix == UNSPECIFIED else tags.matrix
    wide = matrix == BT2020
    primaries = (BT2020 if wide else BT709) if tags.primaries == UNSPECIFIED else tags.primaries
    transfer = (_BT2020_TRANSFER if wide else BT709) if tags.transfer == UNSPECIFIED else tags.transfer
    return ColorTags(matrix, tags.full_range, primaries, transfer)


def _same(one: ColorTags, other: ColorTags) -> bool:
    """Whether the numbers mean the same color."""
    return one.full_range == other.full_range and one.kr_kb == other.kr_kb


def even_planes(planes: Planes) -> Planes:
    """Repeat the last row or column of luma where a side is odd; chroma has it already."""
    width, height = planes.size_wh
    if width % 2 == 0 and height % 2 == 0:
        return planes
    y = cv2.copyMakeBorder(planes.y, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    if planes.u is None or planes.v is None:
        return replace(planes, y=np.asarray(y, np.uint8))
    down = height % 2 if planes.u.shape[0] == height else 0
    across = width % 2 if planes.u.shape[1] == width else 0
    u, v = (cv2.copyMakeBorder(one, 0, down, 0, across, cv2.BORDER_REPLICATE) for one in (planes.u, planes.v))
    return replace(planes, y=np.asarray(y, np.uint8), u=np.asarray(u, np.uint8), v=np.asarray(v, np.uint8))


def even_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row or column of (H, W, 3) pixels where a side is odd: codecs store chroma at half size."""
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)


def refuse_missing_encoder(suffix: str, encoder: str) -> None:
    """Refuse a hardware encoder that this machine does not have, by opening it once.

    Raises
    ------
    SinkError
        If it cannot be opened.
    """
    if encoder == "x264" or ENCODERS.get(suffix) != "libx264":
        return
    name = HARDWARE[encoder]
    try:
        context: Any = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = 640, 480, "yuv420p"
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.open()
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SinkError(
            f"This machine has no encoder {name}", todo="Leave out --encoder: x264 encodes on the processor"
        ) from error


def time_base_for(source: Fraction | None, fps: float, *, constant: bool = False) -> Fraction:
    """Choose the unit of time stamps: the source's own if it is fine enough, else 1/90000 s.

    Examples
    --------
    >>> time_base_for(Fraction(1, 30000), 29.97), time_base_for(Fraction(1, 1000), 30.0)
    (Fraction(1, 30000), Fraction(1, 90000))
    """
    if constant:
        return 1 / _fraction(fps)
    if source is not None and source.numerator == 1 and _COARSEST <= source.denominator <= _FINEST:
        return source
    return Fraction(1, 90_000)


def _fraction(fps: float) -> Fraction:
    """Frame rate as the fraction it was meant to be (29.97 is 30000/1001)."""
    whole = Fraction(fps).limit_denominator(1001)
    return whole if whole > 0 else Fraction(30)


def _muxer(suffix: str) -> str:
    return {".mkv": "matroska", ".m4v": "mp4"}.get(suffix, suffix[1:])


def free_bytes(folder: Path) -> int | None:
    """Free bytes in a folder, or None where the system does not say."""
    try:
        facts = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    return facts.f_bavail * facts.f_frsize

"""The one way from a file, a pipe or a network stream to frames.

Owns `Decoder` and what it knows of a video before its first frame. Imports PyAV; OpenCV's VideoCapture is only for
cameras on V4L2 and GStreamer.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..orientation import UPRIGHT, code_of_display_matrix, swaps_sides, turned_upright
from ..planes import UNSPECIFIED, ColorTags, Planes, bgr_of, plane_view, reformatter, tag
from .deinterlace import Deinterlacer
from .failures import Failure, kind_of, lost, not_opened
from .growing import GrowingFile
from .hdr import is_hdr, to_sdr
from .timeline import Timeline

# Up to this many pixels a frame, FFmpeg's threads cost a quarter more processor time and deliver no sooner.
_SMALL = 640 * 480
_SECOND = 1_000_000_000
_ATTACHED_PICTURE = 1 << 10
_CONTAINERS_WITH_CLOCK_FAULTS = ("mpegts", "mpeg", "flv", "hls")
_CUT_SLACK_S = 0.5  # a container's duration may be so much too long
_CUT_SLACK_SHARE = 0.01
_DEFAULT_FPS = 25.0
_UNDECODED = 64  # packets whose frames have not left the decoder, at most
_PRODUCER_TIME = struct.Struct("<qi")  # AVProducerReferenceTime: microseconds on the UNIX clock, flags


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What a container says of its video.

    Parameters
    ----------
    fps : nominal frames a second; None where nothing is said
    count : frames, where the container counts them
    duration_s : None where it is not known
    time_base : unit of the time stamps in seconds
    sample_aspect : width of a pixel over its height, after it was turned upright
    codec, container : FFmpeg's names
    start_ns : time stamp at which the container begins
    """

    fps: float | None
    count: int | None
    duration_s: float | None
    time_base: Fraction
    sample_aspect: Fraction
    codec: str
    container: str
    start_ns: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a packet of a live stream arrived.

    Parameters
    ----------
    at_ns, wall_ns : when it was here, on the monotonic and on the UNIX clock
    waited_ns : for how long it was waited for
    stamp_ns : its time stamp; None if it has none
    sender_ns : capture by the sender's UNIX clock, where it tells it (RTCP); None otherwise
    """

    at_ns: int
    wall_ns: int
    waited_ns: int
    stamp_ns: int | None
    sender_ns: int | None


@dataclass(frozen=True, slots=True)
class Decoded:
    """One upright frame: `planes` of a YUV or grey video, else `pixels`, (H, W, 3) uint8 BGR; and its times.

    Parameters
    ----------
    time_ns : on the video's own time line
    taken_ns : monotonic clock when its own packet had arrived, before it was decoded
    arrival : of its packet, for live sources; None for files
    """

    planes: Planes | None
    pixels: NDArray[np.uint8] | None
    time_ns: int
    taken_ns: int = 0
    arrival: Arrival | None = None


class Decoder:
    """Frames of one video, decoded once, in order.

    Broken frames are left out and counted. Interlaced frames are made whole, rotated ones upright, HDR is brought to
    BT.709; each is said in `notes`.

    Parameters
    ----------
    target : name for FFmpeg (see `names.ffmpeg_name`), or an open file
    shown : address for messages, without a password
    options : of FFmpeg's demuxer and protocol
    timeout_s : for opening and for each read; None waits for ever
    low_delay : decode every frame at once, for live sources

    Raises
    ------
    SourceNotFound
        If it cannot be opened or holds no video; `kind` says why.
    """

    def __init__(
        self,
        target: str | BinaryIO | RawIOBase,
        shown: str,
        *,
        options: dict[str, str] | None = None,
        container_format: str | None = None,
        timeout_s: tuple[float, float] | None = None,
        low_delay: bool = False,
    ) -> None:
        self._shown = shown
        try:
            self._container = av.open(
                target,
                "r",
                format=container_format,
                options=options or {},
                metadata_errors="replace",
                timeout=timeout_s,
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise not_opened(shown, kind_of(error), _detail(error)) from error
        try:
            self._stream = self._choose_stream()
            self._threads(low_delay=low_delay)
            self.facts = self._facts()
        except BaseException:
            self._container.close()
            raise
        self.broken = 0
        self.decoded = 0
        self._said: dict[str, None] = {}
        self._packets = 0
        self._damaged = 0
        self._seen_s = 0.0
        self._timeline = self._new_timeline()
        self._deinterlacer: Deinterlacer | None = None
        self._taken_ns = 0
        self._low_delay = low_delay
        self._arrivals: dict[int | None, Arrival] = {}  # by the time stamps of packets that were not decoded yet
        self._file = target if isinstance(target, GrowingFile) else None

    @property
    def video_index(self) -> int:
        """Index of the video among the streams of its container."""
        return int(self._stream.index)

    @property
    def others(self) -> tuple[str, ...]:
        """Kinds of the other streams of the container, covers left out."""
        return tuple(
            one.type
            for one in self._container.streams
            if one.index != self._stream.index and not _disposition(one) & _ATTACHED_PICTURE
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the frames, or missing, in words."""
        broken = (f"{self.broken} broken frames were left out",) if self.broken else ()
        damaged = (f"{self._damaged} frames are damaged in the file",) if self._damaged else ()
        return (*self._said, *broken, *damaged)

    def __iter__(self) -> Iterator[Decoded]:
        """Decode to the end.

        Raises
        ------
        SignalLost
            If reading fails before the end.
        """
        try:
            for frame in self._frames():
                self.decoded += 1
                yield self._finished(frame)
        finally:
            self._deinterlacer = None

    def judge_end(self) -> None:
        """Raise if the file ended before its container says so, or frames were broken; after the last frame.

        Raises
        ------
        SignalLost
            With what was expected and what was found. All good frames were delivered.
        """
        if self.decoded == 0:
            expected = f"{self.facts.count or 'some'} frames"
            raise _incomplete(f"{self._shown} holds no frame that can be decoded", expected, "0")
        missing = (self.facts.count or 0) - self._packets
        promised_s = self.facts.duration_s or 0.0
        short_s = promised_s - self._seen_s
        cut = missing > 2 if self.facts.count else short_s > max(_CUT_SLACK_S, _CUT_SLACK_SHARE * promised_s)
        if cut:
            expected = f"{self.facts.count} frames" if self.facts.count else f"{promised_s:.2f} s"
            raise _incomplete(
                f"{self._shown} is cut off: it ends before its container says so",
                expected,
                f"{self.decoded} frames, {self._seen_s:.2f} s; they were all delivered",
                todo="Copy or record the file again",
            )
        if self.broken:
            total = self.decoded + self.broken
            raise _incomplete(
                f"{self.broken} of {total} frames of {self._shown} are broken and were left out",
                f"{total} frames",
                f"{self.decoded} frames, which were all delivered",
            )

    def stop(self) -> None:
        """Wake a read that waits for a file to grow."""
        if self._file is not None:
            self._file.stopped = True

    def stamps(self) -> list[tuple[int | None, bool]]:
        """Read to the end without decoding: time stamp and keyframe flag of every packet, in the file's order."""
        return [(packet.pts, packet.is_keyframe) for packet in self._demux() if packet.size and not packet.is_discard]

    def seek(self, stamp: int) -> None:
        """Go on at the last keyframe that is not later than a time stamp, in units of `facts.time_base`."""
        self._container.seek(stamp, stream=self._stream)
        self._timeline = self._new_timeline()

    def close(self) -> None:
        """Close the file or the connection."""
        self._container.close()
        if self._file is not None:
            self._file.close()

    def _choose_stream(self) -> Any:
        """Take the best video that is no cover image."""
        videos = [one for one in self._container.streams.video if not int(_disposition(one)) & _ATTACHED_PICTURE]
        if not videos:
            kinds = sorted({one.type for one in self._container.streams})
            raise not_opened(
                self._shown, Failure.NOT_MEDIA, "it holds no video", todo=f"It holds {', '.join(kinds) or 'nothing'}"
            )
        best = max(videos, key=lambda one: (_area(one), -one.index))
        if best.codec_context is None:
            raise not_opened(self._shown, Failure.CODEC, "no decoder for its video")
        return best

    def _threads(self, *, low_delay: bool) -> None:
        context = self._stream.codec_context
        if low_delay:
            context.thread_type = "SLICE"
            context.flags |= 0x80000  # AV_CODEC_FLAG_LOW_DELAY
        else:
            context.thread_type = "AUTO"
        if context.width * context.height <= _SMALL:
            context.thread_count = 1

    def _facts(self) -> VideoFacts:
        stream, container = self._stream, self._container
        context = stream.codec_context
        rate = stream.guessed_rate if stream.average_rate is None or container.duration is None else None
        if stream.average_rate is None and context.framerate:
            rate = context.framerate
        rate = rate or stream.average_rate or stream.guessed_rate
        length = stream.duration * stream.time_base if stream.duration else None
        if length is None and container.duration:
            length = Fraction(container.duration, av.time_base)
        aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
        return VideoFacts(
            fps=float(rate) if rate else None,
            count=stream.frames or None,
            duration_s=float(length) if length else None,
            time_base=stream.time_base or Fraction(1, 90_000),
            sample_aspect=Fraction(aspect) if aspect > 0 else Fraction(1),
            codec=context.name,
            container=container.format.name,
            start_ns=_origin_ns(container.start_time, stream),
        )

    def _new_timeline(self) -> Timeline:
        gaps = self.facts.container not in _CONTAINERS_WITH_CLOCK_FAULTS
        return Timeline(self.facts.start_ns, round(_SECOND / (self.facts.fps or _DEFAULT_FPS)), gaps=gaps)

    def _frames(self) -> Iterator[Any]:
        """Yield the decoded frames, whole and progressive."""
        for packet in self._demux():
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.broken += 1
                continue
            except av.FFmpegError as error:
                raise lost(self._shown, kind_of(error), f"{self.decoded} frames") from error
            for frame in frames:
                self._damaged += bool(getattr(frame, "is_corrupt", False))
                yield from self._progressive(frame)
        if self._deinterlacer is not None:
            yield from self._deinterlacer.push(None)

    def _demux(self) -> Iterator[Any]:
        """Packets of the video; those of other streams only show how far the file goes."""
        packets = self._container.demux()
        asked_ns = time.monotonic_ns()
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.EOFError):
                return
            except av.error.InvalidDataError:
                continue
            except (av.FFmpegError, OSError) as error:
                raise lost(self._shown, kind_of(error), f"{self.decoded} frames") from error
            if packet.pts is not None and packet.time_base:
                end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self._seen_s = max(self._seen_s, end_s - self.facts.start_ns / _SECOND)
            if packet.stream_index == self._stream.index:
                self._taken_ns = time.monotonic_ns()
                self._packets += packet.size > 0
                if self._low_delay:
                    self._note_arrival(packet, self._taken_ns - asked_ns)
                yield packet
                asked_ns = time.monotonic_ns()

    def _note_arrival(self, packet: Any, waited_ns: int) -> None:
        """Note when a packet came: its frame may leave the decoder with a later one."""
        base = packet.time_base
        stamp_ns = round(packet.pts * base * _SECOND) if packet.pts is not None and base else None
        while len(self._arrivals) >= _UNDECODED:
            del self._arrivals[next(iter(self._arrivals))]
        self._arrivals[packet.pts] = Arrival(self._taken_ns, time.time_ns(), waited_ns, stamp_ns, _sender_ns(packet))

    def _progressive(self, frame: Any) -> list[Any]:
        """Send interlaced frames through the filter, and from the first of them on all others too."""
        waiting = self._deinterlacer
        if waiting is not None and not waiting.fits(frame):
            ready = waiting.push(None)
            self._deinterlacer = None
            return [*ready, *self._progressive(frame)]
        if waiting is None:
            if not frame.interlaced_frame:
                return [frame]
            self._say("interlaced frames were made whole (bwdif)")
            waiting = self._deinterlacer = Deinterlacer(frame, frame.time_base or self.facts.time_base)
        return waiting.push(frame)

    def _finished(self, frame: Any) -> Decoded:
        """Turn upright, bring to 8 bits, and stamp."""
        time_ns = self._timeline.place(frame.pts, frame.time_base or self.facts.time_base)
        code = _orientation(frame)
        tags = _tags(frame, self._stream.codec_context)
        if is_hdr(tags.transfer):
            self._say("HDR was brought to BT.709")
        image = planes_or_pixels(frame, tags, code)
        arrival = self._arrivals.pop(frame.pts, None)
        taken_ns = self._taken_ns if arrival is None else arrival.at_ns
        if isinstance(image, Planes):
            return Decoded(image, None, time_ns, taken_ns, arrival)
        return Decoded(None, image, time_ns, taken_ns, arrival)

    def _say(self, note: str) -> None:
        self._said.setdefault(note)


def _origin_ns(start: int | None, stream: Any) -> int:
    """Time stamp that counts as the beginning; sound that is padded to begin before zero does not move it."""
    if start is not None and start >= 0:
        return int(start) * (_SECOND // av.time_base)
    return min(0, round((stream.start_time or 0) * stream.time_base * _SECOND)) if stream.time_base else 0


def planes_or_pixels(frame: Any, tags: ColorTags, code: int = UPRIGHT) -> Planes | NDArray[np.uint8]:
    """Turn a decoded frame upright, as planes where it has any, else as (H, W, 3) uint8 BGR."""
    if is_hdr(tags.transfer):
        return turned_upright(_sdr(frame, tags), code)
    target = _plane_format(frame.format, turned=swaps_sides(code))
    if target is None:
        return turned_upright(_pixels(frame, tags), code)
    made = frame if frame.format.name == target else _converted(frame, target, tags)
    return _planes(made, tags, code)


def _incomplete(problem: str, expected: str, found: str, *, todo: str = "") -> SourceError:
    from ..errors import SignalLost

    return SignalLost(problem, expected=expected, found=found, todo=todo, kind=Failure.LOST.name)


def _detail(error: BaseException) -> str:
    """FFmpeg's own words, without the address, which may hold a password."""
    return (getattr(error, "strerror", None) or type(error).__name__).rstrip(".")


def _sender_ns(packet: Any) -> int | None:
    """Capture by the sender's UNIX clock, which FFmpeg puts beside a packet where RTCP tells it."""
    if not hasattr(packet, "has_sidedata") or not packet.has_sidedata("prft"):
        return None
    beside = bytes(packet.get_sidedata("prft"))
    return None if len(beside) < _PRODUCER_TIME.size else int(_PRODUCER_TIME.unpack_from(beside)[0]) * 1000


def _disposition(stream: Any) -> int:
    return int(getattr(stream, "disposition", 0) or 0)


def _area(stream: Any) -> int:
    context = stream.codec_context
    return 0 if context is None else context.width * context.height


def _orientation(frame: Any) -> int:
    """Orientation code of a frame, from the display matrix beside it."""
    if not frame.rotation and not frame.side_data:
        return UPRIGHT
    for beside in frame.side_data:
        if getattr(beside.type, "name", "") == "DISPLAYMATRIX":
            return code_of_display_matrix(struct.unpack("=9i", bytes(beside)[:36]))
    return UPRIGHT


def _tags(frame: Any, context: Any) -> ColorTags:
    """Color tags of a frame."""
    name = frame.format.name
    grey = name.startswith(("gray", "ya", "mono"))
    full = frame.color_range == 2 or name.startswith("yuvj") or (grey and frame.color_range != 1)
    primaries = getattr(frame, "color_primaries", context.color_primaries)
    transfer = getattr(frame, "color_trc", context.color_trc)
    return ColorTags(
        matrix=int(frame.colorspace) or UNSPECIFIED,
        full_range=bool(full),
        primaries=int(primaries) or UNSPECIFIED,
        transfer=int(transfer) or UNSPECIFIED,
    )


def _plane_format(found: Any, *, turned: bool) -> str | None:
    """8-bit planar format that a frame's planes are kept in; None for what has none (RGB, palettes, alpha)."""
    name = found.name
    if name.startswith("gray"):
        return "gray"
    alpha = any(part.is_alpha for part in found.components)
    if found.is_rgb or found.has_palette or alpha or not name.startswith(("yuv", "nv", "p0", "p2", "p4", "uy", "yu")):
        return None
    wide, high = found.chroma_width(16), found.chroma_height(16)
    if (wide, high) == (8, 8):
        return name if name == "yuvj420p" else "yuv420p"
    if (wide, high) == (8, 16) and not turned:
        return name if name == "yuvj422p" else "yuv422p"
    return name if name == "yuvj444p" else "yuv444p"


def _converted(frame: Any, target: str, tags: ColorTags) -> Any:
    """Bring a YUV or grey frame to another depth or subsampling; matrix and range stay."""
    spread = 2 if tags.full_range else 1
    return reformatter().reformat(frame, format=target, src_color_range=spread, dst_color_range=spread, threads=1)


def _planes(frame: Any, tags: ColorTags, code: int) -> Planes:
    """Look at the planes of a frame; nothing is copied unless it is turned."""
    height, width = frame.height, frame.width
    views = [plane_view(frame.planes[0], height, width)]
    if len(frame.planes) >= 3:
        size = (frame.format.chroma_height(height), frame.format.chroma_width(width))
        views += [plane_view(frame.planes[place], *size) for place in (1, 2)]
    y, u, v = (*(turned_upright(view, code) for view in views), None, None)[:3]
    assert y is not None
    return Planes(y, u, v, tags)


def _pixels(frame: Any, tags: ColorTags) -> NDArray[np.uint8]:
    """Convert to BGR; what is transparent lies over black."""
    if not any(part.is_alpha for part in frame.format.components) and not frame.format.has_palette:
        return bgr_of(tag(frame, tags) if not frame.format.is_rgb else frame)
    from ..image_file import over_black

    made = reformatter().reformat(frame, format="bgra", threads=1)
    view = plane_view(made.planes[0], made.height, made.width, 4)
    return over_black(np.ascontiguousarray(view).reshape(made.height, made.width, 4))


def _sdr(frame: Any, tags: ColorTags) -> NDArray[np.uint8]:
    made = reformatter().reformat(tag(frame, tags), format="bgr48le", src_colorspace=9, threads=1)
    view = np.frombuffer(made.planes[0], np.uint16).reshape(made.height, -1)[:, : made.width * 3]
    return to_sdr(np.ascontiguousarray(view).reshape(made.height, made.width, 3), tags.transfer)


def open_path(path: Path, shown: str) -> Decoder:
    """Open a local file, FIFO or device; a file that is being written is read as it grows."""
    from .growing import may_grow
    from .names import ffmpeg_name

    if may_grow(path):
        return Decoder(GrowingFile(path), shown)
    return Decoder(ffmpeg_name(path), shown)

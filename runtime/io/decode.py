"""The one way from a file, a pipe or a network stream to frames.

Owns `Decoder`. Imports PyAV; OpenCV's VideoCapture is only for cameras on V4L2 and GStreamer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import RawIOBase
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from ..errors import SignalLost
from ..orientation import swaps_sides
from ..planes import Planes
from .arrivals import Arrival, Arrivals
from .av_frame import image_of, orientation_of, tags_of
from .deinterlace import Deinterlacer
from .failures import Failure, kind_of, lost, not_opened
from .growing import GrowingFile, may_grow
from .hdr import is_hdr
from .names import ffmpeg_name
from .timeline import Timeline
from .video_facts import best_video, facts_of, is_cover

# Up to this many pixels a frame, FFmpeg's threads cost a quarter more processor time and deliver no sooner.
_SMALL = 640 * 480
_MOST_THREADS = 8
_THREAD_BYTES = 32 << 20  # of the frames that the decoder's threads hold, each one at least
_SECOND = 1_000_000_000
_CONTAINERS_WITH_CLOCK_FAULTS = ("mpegts", "mpeg", "flv", "hls")
_CUT_SLACK_S = 0.5  # a container's duration may be so much too long
_CUT_SLACK_SHARE = 0.01
_DEFAULT_FPS = 25.0


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
            self._stream = best_video(self._container, shown)
            self._threads(low_delay=low_delay)
            self.facts = facts_of(self._container, self._stream)
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
        self._turns: dict[int, int] = {}  # a frame's rotation -> its orientation code
        self._low_delay = low_delay
        self._reading: Iterator[Any] | None = None  # frames, where reading began
        self._ahead: list[Any] = []  # the first of them, if it was looked at before the others
        self._arrivals = Arrivals()
        self._file = target if isinstance(target, GrowingFile) else None

    @property
    def video_index(self) -> int:
        """Index of the video among the streams of its container."""
        return int(self._stream.index)

    @property
    def others(self) -> tuple[str, ...]:
        """Kinds of the other streams of the container, covers left out."""
        return tuple(
            one.type for one in self._container.streams if one.index != self._stream.index and not is_cover(one)
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
        reading = self._begin()
        ahead, self._ahead = self._ahead, []
        try:
            for frame in chain(ahead, reading):
                self.decoded += 1
                made = self._finished(frame)
                ahead.clear()
                del frame  # a large frame is not kept while the next one is decoded
                yield made
                del made
        finally:
            self._deinterlacer = self._reading = None

    def upright_aspect(self) -> Fraction:
        """Width of a pixel over its height in the upright frames; where it is not 1, the first frame is read for it.

        Raises
        ------
        SignalLost
            If reading fails.
        """
        aspect = self.facts.sample_aspect
        if aspect == 1:
            return aspect
        self._ahead = self._ahead or list(islice(self._begin(), 1))
        turned = any(swaps_sides(self._orientation(frame)) for frame in self._ahead)
        return 1 / aspect if turned else aspect

    def _begin(self) -> Iterator[Any]:
        if self._reading is None:
            self._reading = self._frames()
        return self._reading

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
        self._reading, self._ahead = None, []
        self._timeline = self._new_timeline()

    def close(self) -> None:
        """Close the file or the connection."""
        self._container.close()
        if self._file is not None:
            self._file.close()

    def _threads(self, *, low_delay: bool) -> None:
        context = self._stream.codec_context
        if low_delay:
            context.thread_type = "SLICE"
            context.flags |= 0x80000  # AV_CODEC_FLAG_LOW_DELAY
        else:
            context.thread_type = "AUTO"
        if context.width * context.height <= _SMALL:
            context.thread_count = 1
        elif not low_delay:  # the other half of the processor has work as well
            held = _THREAD_BYTES // (context.width * context.height * 3 // 2)
            context.thread_count = max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2, held))

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
            while frames:
                self._damaged += bool(getattr(frames[0], "is_corrupt", False))
                yield from self._progressive(frames.pop(0))
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
                base = packet.time_base
                end_s = (packet.pts + (packet.duration or 0)) * base.numerator / base.denominator
                self._seen_s = max(self._seen_s, end_s - self.facts.start_ns / _SECOND)
            if packet.stream is self._stream:  # what flushes another stream has the index 0 as well
                self._taken_ns = time.monotonic_ns()
                self._packets += packet.size > 0
                if self._low_delay:
                    self._arrivals.note(packet, self._taken_ns, self._taken_ns - asked_ns)
                yield packet
                asked_ns = time.monotonic_ns()

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
        code = self._orientation(frame)
        tags = tags_of(frame, self._stream.codec_context)
        if is_hdr(tags.transfer):
            self._say("HDR was brought to BT.709")
        image = image_of(frame, tags, code)
        arrival = self._arrivals.of(frame)
        taken_ns = self._taken_ns if arrival is None else arrival.at_ns
        if isinstance(image, Planes):
            return Decoded(image, None, time_ns, taken_ns, arrival)
        return Decoded(None, image, time_ns, taken_ns, arrival)

    def _orientation(self, frame: Any) -> int:
        code = self._turns.get(frame.rotation)
        if code is None:
            # Once for each rotation: PyAV's list of what lies beside a frame keeps the frame in a circle of
            # references, so that its memory would wait for the garbage collector.
            code = self._turns[frame.rotation] = orientation_of(frame)
        return code

    def _say(self, note: str) -> None:
        self._said.setdefault(note)


def _incomplete(problem: str, expected: str, found: str, *, todo: str = "") -> SignalLost:
    return SignalLost(problem, expected=expected, found=found, todo=todo, kind=Failure.LOST.name)


def _detail(error: BaseException) -> str:
    """FFmpeg's own words, without the address, which may hold a password."""
    return (getattr(error, "strerror", None) or type(error).__name__).rstrip(".")


def open_path(path: Path, shown: str) -> Decoder:
    """Open a local file, FIFO or device; a file that is being written is read as it grows."""
    if may_grow(path):
        return Decoder(GrowingFile(path), shown)
    return Decoder(ffmpeg_name(path), shown)

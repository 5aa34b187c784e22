"""Network addresses: endless streams, and files and images behind http.

Owns `open_network`, which distinguishes them by the answer of the server, and the two feeds of live streams.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from typing import Any

import av

from ...errors import SourceError, SourceNotFound
from ...image_file import decode_image
from ...planes import ColorTags
from ..address import redact, scheme_of, unencoded_password
from ..av_frame import image_of
from ..decode import Decoder
from ..failures import Failure, not_opened
from ..http import Answer, Content, ask, tls_problem
from ..info import Media, Source
from ..live.clock import CaptureClock, Settling
from ..live.feed import Feed, Taken
from ..live.policy import LivePolicy
from ..live.source import LiveSource
from ..motion_jpeg import jpegs_of, stamp_ns_of
from .descriptor import SourceDescriptor
from .images import ImagesInMemory
from .video import VideoFile

_OPEN_S, _READ_S = 8.0, 5.0  # of a file behind http
# Of a stream: an abandoned connection ends itself after so long. What counts as a loss is told by `LivePolicy`.
_CONNECT_S, _SILENCE_S = 6.0, 3.0
_MICROS = 1_000_000
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay"}
# The description of an RTSP stream holds all that is needed: FFmpeg need not watch it for a second.
_UNWATCHED = {"analyzeduration": "0", "probesize": "32"}
_PAUSE_NS = 2_000_000  # bytes of one image follow each other faster
_SENDERS_CLOCK = "capture times are those of the sender's clock"
_BUFFERED = ("http", "https")  # playlists come in segments, which are no backlog


def open_network(address: str, *, sequence: bool = False, policy: LivePolicy | None = None) -> Source:
    """Open a stream, or a whole file behind http, which is read as a file and drops nothing.

    Parameters
    ----------
    address : of the network
    sequence : of no use here
    policy : how long a live source is waited for

    Raises
    ------
    SourceNotFound
        If there is nothing to read; `kind` says why.
    """
    del sequence  # a network stream is one anyway
    shown = redact(address)
    letters = unencoded_password(address)
    if letters:
        codes = ", ".join(f"{letter} as %{ord(letter):02X}" for letter in letters)
        raise not_opened(shown, Failure.AUTH, "the password holds letters of an address", todo=f"Write {codes} in it")
    if scheme_of(address) not in ("http", "https"):
        return LiveSource(address, lambda: StreamFeed(address, shown), policy=policy)
    if policy is not None and policy.wait:
        return LiveSource(address, lambda: _http_feed(address, shown, ask(address, shown)), policy=policy)
    answer = ask(address, shown)
    if answer.content is Content.IMAGE:
        return _image(answer, shown)
    if not _is_live(answer):
        answer.response.close()
        return _remote_file(address, shown, answer)
    answers = [answer]

    def connect() -> Feed:
        return _http_feed(address, shown, answers.pop() if answers else ask(address, shown))

    return LiveSource(address, connect, policy=policy)


def _is_live(answer: Answer) -> bool:
    """Whether what stands behind an http address comes at its own pace."""
    endless = answer.content is Content.PLAYLIST and b"#EXT-X-ENDLIST" not in answer.head
    return endless or answer.content in (Content.MOTION_JPEG, Content.STREAM)


def _http_feed(address: str, shown: str, answer: Answer) -> Feed:
    """Open the feed of a live stream behind http.

    Raises
    ------
    SourceNotFound
        If it is a file or an image.
    """
    if answer.content is Content.MOTION_JPEG:
        return MotionJpegFeed(answer)
    live = _is_live(answer)
    answer.response.close()
    if not live:
        raise not_opened(shown, Failure.NOT_MEDIA, f"it is no live stream but one {answer.content.value}")
    return StreamFeed(address, shown)


def _image(answer: Answer, shown: str) -> Source:
    """Fetch one image."""
    try:
        content = answer.body()
    except (OSError, http.client.HTTPException) as error:
        raise not_opened(shown, Failure.LOST) from error
    finally:
        answer.response.close()
    notes: list[str] = []
    return ImagesInMemory([decode_image(content, shown, notes)], shown, notes=notes)


def _remote_file(address: str, shown: str, answer: Answer) -> Source:
    if not answer.seekable and _index_is_last(answer.head):
        raise not_opened(
            shown,
            Failure.NOT_MEDIA,
            "its index is at its end, and the server gives no part of a file",
            todo="Download it first, or move its index with `ffmpeg -i IN -c copy -movflags faststart OUT`",
        )
    options = {"rw_timeout": str(round(_READ_S * _MICROS)), "reconnect": "1", "reconnect_on_network_error": "1"}
    decoder = Decoder(address, shown, options=options, timeout_s=(_OPEN_S, _READ_S))
    return VideoFile(decoder, shown, target=address, options=options)


def _index_is_last(head: bytes) -> bool:
    """Whether the boxes of an .mp4 begin with the images, not with their index."""
    at = 0
    while at + 8 <= len(head) and head[4:8] == b"ftyp":
        if head[at + 4 : at + 8] in (b"mdat", b"moov"):
            return head[at + 4 : at + 8] == b"mdat"
        at += max(8, int.from_bytes(head[at : at + 4], "big"))
    return False


class StreamFeed:
    """A connection that FFmpeg makes: RTSP, RTMP, SRT, UDP, HLS, transport streams.

    Frames of a backlog, which a server may begin with, are left out; the others are stamped by the sender's clock.
    """

    frozen_frames = 150  # an encoder may repeat a still image until its next keyframe

    def __init__(self, address: str, shown: str) -> None:
        options = dict(_LOW_DELAY)
        if scheme_of(address) in ("rtsp", "rtsps"):
            options |= {"rtsp_transport": "tcp", "timeout": str(round(_SILENCE_S * _MICROS)), **_UNWATCHED}
        try:
            self._decoder = Decoder(
                address, shown, options=options, timeout_s=(_CONNECT_S, _SILENCE_S), low_delay=True
            )
        except SourceNotFound as error:
            problem = tls_problem(address) if error.kind == Failure.OTHER.name else ""
            if problem:
                raise not_opened(shown, Failure.TLS, problem) from None
            raise
        self._clock = CaptureClock()
        self._settling = None if scheme_of(address) in _BUFFERED else Settling()
        self.fps = self._decoder.facts.fps
        self.media: Media | None = Media(
            time_base=self._decoder.facts.time_base,
            sample_aspect=self._decoder.facts.sample_aspect,
            others=self._decoder.others,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the frames, and whose clock stamps them."""
        return (*self._decoder.notes, *((_SENDERS_CLOCK,) if self._clock.of_sender else ()))

    def __iter__(self) -> Iterator[Taken]:
        """Take the frames as they are decoded."""
        for decoded in self._decoder:
            image = decoded.planes if decoded.planes is not None else decoded.pixels
            assert image is not None  # one of the two
            arrival = decoded.arrival
            if arrival is None:  # a frame that has no packet of its own, such as a field of an interlaced one
                yield Taken(image, decoded.taken_ns)
                continue
            captured_ns = self._clock.captured(
                arrival.stamp_ns, arrival.at_ns, sender_ns=arrival.sender_ns, wall_ns=arrival.wall_ns
            )
            settling = self._settling
            if settling is None or settling.is_current(arrival.stamp_ns, arrival.at_ns, arrival.waited_ns):
                yield Taken(image, captured_ns)

    def close(self) -> None:
        """Hang up."""
        self._decoder.close()


class MotionJpegFeed:
    """Images of an http camera."""

    fps: float | None = None
    media: Media | None = None
    frozen_frames = 60

    def __init__(self, answer: Answer) -> None:
        self._response = answer.response
        self._head = answer.head
        self._clock = CaptureClock()
        socket_of = _socket_of(answer.response)
        if socket_of is not None:
            socket_of.settimeout(_SILENCE_S)

    def __iter__(self) -> Iterator[Taken]:
        """Decode each image as its last byte comes; broken ones are left out."""
        decoder: Any = av.CodecContext.create("mjpeg", "r")
        rest = _Rest(self._head, self._response)
        try:
            for content, head in jpegs_of(rest):
                began_ns = rest.took()
                if not content:
                    continue
                wall_ns = time.time_ns() - (time.monotonic_ns() - began_ns)
                captured_ns = self._clock.captured(None, began_ns, sender_ns=stamp_ns_of(head), wall_ns=wall_ns)
                try:
                    frames = decoder.decode(av.Packet(content))
                except av.FFmpegError:
                    continue
                for frame in frames:
                    yield Taken(image_of(frame, ColorTags(matrix=5, full_range=True)), captured_ns)
        except TimeoutError as error:
            raise SourceError("The stream stalled", kind=Failure.STALLED.name) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceError("The stream ended", kind=Failure.LOST.name) from error

    @property
    def notes(self) -> tuple[str, ...]:
        """Whose clock stamps the frames."""
        return (_SENDERS_CLOCK,) if self._clock.of_sender else ()

    def cancel(self) -> None:
        """Wake the thread that waits for an image."""
        connection = _socket_of(self._response)
        if connection is not None:
            with contextlib.suppress(OSError):  # it has ended already
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up."""
        self._response.close()


def _socket_of(response: Any) -> socket.socket | None:
    """Socket that a response is read from; None where there is none any more."""
    found = getattr(getattr(getattr(response, "fp", None), "raw", None), "_sock", None)
    return found if isinstance(found, socket.socket) else None


class _Rest:
    """What was read off a response already, and the rest of it; and when an image began to arrive."""

    def __init__(self, head: bytes, response: Any) -> None:
        self._head, self._response = head, response
        self._began_ns = 0

    def took(self) -> int:
        """Note that an image is whole; returns when its first bytes came, on the monotonic clock."""
        began_ns, self._began_ns = self._began_ns, 0
        return began_ns or time.monotonic_ns()

    def read1(self, size: int) -> bytes:
        """Read what is there."""
        if self._head:
            head, self._head = self._head, b""
            return head
        asked_ns = time.monotonic_ns()
        found = bytes(self._response.read1(size))
        now_ns = time.monotonic_ns()
        if not self._began_ns or now_ns - asked_ns > _PAUSE_NS:
            self._began_ns = now_ns
        return found


descriptor = SourceDescriptor(open=open_network, live=True)

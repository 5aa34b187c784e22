"""Network addresses: endless streams, and files and images behind http.

Owns `open_network`, which distinguishes them by the answer of the server, and the two feeds of live streams.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import Any

import av

from ...errors import SourceError
from ...image_file import decode_image
from ...planes import ColorTags
from ..address import redact, scheme_of, unencoded_password
from ..decode import Decoder, planes_or_pixels
from ..failures import Failure, not_opened
from ..http import Answer, Content, ask
from ..info import Media, Source
from ..motion_jpeg import jpegs_of
from .descriptor import SourceDescriptor
from .images import ImagesInMemory
from .live import LiveSource, Taken
from .video import VideoFile

_OPEN_S, _READ_S = 8.0, 5.0
_MICROS = 1_000_000
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay"}


def open_network(address: str, *, sequence: bool = False) -> Source:
    """Open a stream, or a whole file behind http, which is read as a file and drops nothing.

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
        return LiveSource(address, lambda: StreamFeed(address, shown))
    answer = ask(address, shown)
    if answer.content is Content.MOTION_JPEG:
        first = MotionJpegFeed(answer)
        return LiveSource(address, lambda: MotionJpegFeed(ask(address, shown)), first=first)
    if answer.content is Content.IMAGE:
        return _image(answer, shown)
    answer.response.close()
    if answer.content is Content.STREAM:
        return LiveSource(address, lambda: StreamFeed(address, shown))
    if answer.content is Content.PLAYLIST and b"#EXT-X-ENDLIST" not in answer.head:
        return LiveSource(address, lambda: StreamFeed(address, shown))
    return _remote_file(address, shown, answer)


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
    """A connection that FFmpeg makes: RTSP, RTMP, SRT, UDP, HLS, transport streams."""

    def __init__(self, address: str, shown: str) -> None:
        options = dict(_LOW_DELAY)
        if scheme_of(address) in ("rtsp", "rtsps"):
            options |= {"rtsp_transport": "tcp", "timeout": str(round(_READ_S * _MICROS))}
        self._decoder = Decoder(address, shown, options=options, timeout_s=(_OPEN_S, _READ_S), low_delay=True)
        self.fps = self._decoder.facts.fps
        self.media: Media | None = Media(
            time_base=self._decoder.facts.time_base,
            sample_aspect=self._decoder.facts.sample_aspect,
            others=self._decoder.others,
        )

    def __iter__(self) -> Iterator[Taken]:
        """Take the frames as they are decoded."""
        for decoded in self._decoder:
            image = decoded.planes if decoded.planes is not None else decoded.pixels
            assert image is not None  # one of the two
            yield Taken(image, decoded.taken_ns)

    def close(self) -> None:
        """Hang up."""
        self._decoder.close()


class MotionJpegFeed:
    """Images of an http camera."""

    fps: float | None = None
    media: Media | None = None

    def __init__(self, answer: Answer) -> None:
        self._response = answer.response
        self._head = answer.head

    def __iter__(self) -> Iterator[Taken]:
        """Decode each image as its last byte comes; broken ones are left out."""
        decoder: Any = av.CodecContext.create("mjpeg", "r")
        try:
            for content in jpegs_of(_Rest(self._head, self._response)):
                captured_ns = time.monotonic_ns()
                if not content:
                    continue
                try:
                    frames = decoder.decode(av.Packet(content))
                except av.FFmpegError:
                    continue
                for frame in frames:
                    yield Taken(planes_or_pixels(frame, ColorTags(matrix=5, full_range=True)), captured_ns)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceError("The stream ended", kind=Failure.LOST.name) from error

    def close(self) -> None:
        """Hang up."""
        self._response.close()


class _Rest:
    """What was read off a response already, and the rest of it."""

    def __init__(self, head: bytes, response: Any) -> None:
        self._head, self._response = head, response

    def read1(self, size: int) -> bytes:
        """Read what is there."""
        if self._head:
            head, self._head = self._head, b""
            return head
        return bytes(self._response.read1(size))


descriptor = SourceDescriptor(open=open_network)

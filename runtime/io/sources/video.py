"""Video files, pipes and animated images.

Owns `VideoFile` and the opening of what lies on the disk or comes through a pipe.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ...errors import SourceNotFound
from ...frame import Frame
from ..address import redact
from ..decode import Decoder
from ..failures import Failure, not_opened
from ..growing import GrowingFile, may_grow
from ..info import Media, Signal, SourceInfo
from ..names import ffmpeg_name, shown


class VideoFile:
    """Frames of a video, each of them, in order.

    Parameters
    ----------
    decoder : open
    address : for messages, without a password
    target, options : by which its sound can be read a second time; empty where it cannot
    folders : that it lies in
    """

    def __init__(
        self,
        decoder: Decoder,
        address: str,
        *,
        target: str = "",
        options: dict[str, str] | None = None,
        folders: tuple[str, ...] = (),
    ) -> None:
        self._decoder = decoder
        self._stopped = False
        self.signal = Signal.LIVE
        facts = decoder.facts
        count = facts.count
        if count is None and facts.fps and facts.duration_s:
            count = round(facts.fps * facts.duration_s)
        self.info = SourceInfo(
            address=address,
            fps=facts.fps,
            count=count,
            folders=folders,
            media=Media(
                time_base=facts.time_base,
                sample_aspect=decoder.upright_aspect(),
                target=target,
                options=options or {},
                start_ns=facts.start_ns,
                video_index=decoder.video_index,
                others=decoder.others,
            ),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the frames, and what is missing."""
        return self._decoder.notes

    def __iter__(self) -> Iterator[Frame]:
        """Decode to the end.

        Raises
        ------
        SignalLost
            After the last good frame, if the file holds fewer frames than its container promises, or broken ones.
        """
        started_ns = time.monotonic_ns()
        for index, decoded in enumerate(self._decoder):
            if self._stopped:
                break
            image = decoded.planes if decoded.planes is not None else decoded.pixels
            assert image is not None  # one of the two
            yield Frame(image, index, started_ns, self.info.address, decoded.time_ns, independent=False)
            del decoded, image  # not kept while the next one is decoded
            started_ns = time.monotonic_ns()
        self.signal = Signal.ENDED
        if not self._stopped:
            self._decoder.judge_end()

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopped = True
        self._decoder.stop()

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()


def open_video(path: Path, text: str, *, container_format: str | None = None) -> VideoFile:
    """Open a video on the disk, a FIFO, or an animated image.

    Parameters
    ----------
    path : to open
    text : address as given
    container_format : of FFmpeg, where the content would be taken for something else

    Raises
    ------
    SourceNotFound
        If it is empty or holds no video that can be decoded.
    """
    address = shown(redact(text))
    if not path.is_file():
        return VideoFile(Decoder(ffmpeg_name(path), address), address)
    if path.stat().st_size == 0:
        raise SourceNotFound(f"{address} is empty", expected="a video", found="0 bytes")
    target = ffmpeg_name(path)
    opened: str | GrowingFile = GrowingFile(path) if may_grow(path) else target
    try:
        decoder = Decoder(opened, address, container_format=container_format)
    except SourceNotFound as error:
        if error.kind != Failure.NOT_MEDIA.name:
            raise
        raise SourceNotFound(
            f"{address} cannot be read as a video",
            expected="a video or image that FFmpeg can decode",
            found=error.todo if error.todo.startswith("It holds") else None,
            todo="If it is a video, it may be cut off: an .mp4 keeps its index at the end",
            kind=error.kind,
        ) from error
    return VideoFile(decoder, address, target=target, folders=(str(path.resolve().parent),))


def open_stdin() -> VideoFile:
    """Open the video that is piped into the program.

    Raises
    ------
    SourceNotFound
        If nothing is piped in, or it is no video.
    """
    descriptor = sys.stdin.fileno() if sys.stdin is not None else 0
    if os.isatty(descriptor):
        raise not_opened("-", Failure.NOT_MEDIA, "nothing is piped in", todo="cat clip.ts | steadyframe run … - …")
    device = Path("/dev/stdin")
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and device.exists():
        return VideoFile(Decoder(ffmpeg_name(device), "-"), "-")
    return VideoFile(Decoder("pipe:0", "-"), "-")

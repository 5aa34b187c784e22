"""Where results go: windows, videos, images, lines of JSON, nowhere.

Owns the choice of a sink by its address; each kind lives in a file of its own.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import SinkError, UsageError
from ..address import redact, scheme_of
from ..info import SourceInfo
from .images import WRITABLE, ImageSink, is_numbered
from .jsonl import JsonLinesSink
from .null import NullSink
from .sink import Sink, StopStream
from .video import CODECS, VideoSink

__all__ = ["Sink", "StopStream", "open_sink"]

KINDS = (
    "display://",
    "out.mp4",
    "out.mkv",
    "out.avi",
    "folder/",
    "'out_%05d.png'",
    "out.png",
    "out.jsonl",
    "-",
    "null://",
)


def open_sink(address: str, info: SourceInfo, *, task: str = "") -> Sink:
    """Open a sink by its address, and prove that it can be written.

    Parameters
    ----------
    address : one of ``display://``, a video file, ``folder/``, ``'out_%05d.png'``, ``out.png`` (for one image),
        ``out.jsonl``, ``-`` (JSON lines on stdout), ``null://``
    info : of the source: its rate, its count, the folders that must not be written over
    task : name of the task, for lines of JSON

    Raises
    ------
    SinkError
        If nothing could be written there.
    UsageError
        If there is no such kind of output.
    """
    scheme = scheme_of(address)
    suffix = Path(address).suffix.lower()
    if scheme == "null":
        return NullSink()
    if scheme == "display":
        from .display import DisplaySink

        return DisplaySink(address, info)
    if scheme:
        raise UsageError(f"There is no kind of output {scheme}:// ({redact(address)})", available=KINDS)
    if address == "-" or suffix == ".jsonl":
        return JsonLinesSink(address, task)
    if address.endswith("/") or Path(address).is_dir() or is_numbered(address) or suffix in WRITABLE:
        return ImageSink(address, info)
    if suffix in CODECS:
        _refuse_input(Path(address), info)
        return VideoSink(Path(address), info)
    raise UsageError(f"The ending of output {address!r} says nothing", available=KINDS)


def _refuse_input(path: Path, info: SourceInfo) -> None:
    """Refuse to write a video over the one that is read."""
    given = Path(info.address)
    if path.exists() and given.exists() and path.samefile(given):
        raise SinkError(f"{path} is the input", todo="Name another output")
